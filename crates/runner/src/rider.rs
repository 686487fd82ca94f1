//! An arm at work on a lane.

use zoo::{Counters, DecodePolicy, Moment, Selection, View};

use crate::Job;
use crate::cache::Entries;

/// An arm under which a lane is generated, and what it will do in the coming step.
#[derive(Debug)]
pub(crate) struct Rider {
    pub(crate) id: usize,
    pub(crate) policy: DecodePolicy,
    pub(crate) counters: Counters,
    seed: u64,
    due: Vec<Option<Selection>>, // (layers,)
}

impl Rider {
    pub(crate) fn new(id: usize, job: &Job) -> Self {
        let policy = job.policies.decode.clone();
        let counters = policy.start(job.counters);
        Self { id, policy, counters, seed: job.seed, due: Vec::new() }
    }

    /// Asks the policy what it will do in a step, of which it may be asked but once, for it may count.
    ///
    /// # Shapes
    /// - `moments`: `(layers,)`
    pub(crate) fn look_ahead(&mut self, moments: &[Moment]) {
        let Self { policy, counters, due, .. } = self;
        due.clear();
        due.extend(moments.iter().map(|&moment| policy.due(moment, counters)));
    }

    /// Whether it will select in any layer.
    pub(crate) fn selects(&self) -> bool {
        self.due.iter().any(Option::is_some)
    }

    /// What it will do to a layer.
    pub(crate) fn due(&self, layer: usize) -> Option<Selection> {
        self.due[layer]
    }

    /// Whether it will want to see a layer's attention.
    pub(crate) fn observes(&self, layer: usize) -> bool {
        self.policy.accumulates() || (self.policy.needs_attention() && self.due(layer).is_some())
    }

    /// What goes from each head of a layer, or stays, in order, if it is to be laid out anew.
    ///
    /// # Shapes
    /// - `attention`: `(heads, group, own)`, or nothing
    /// - returns `(heads, entries)`
    pub(crate) fn select(
        &self,
        own: &Entries,
        moment: Moment,
        selection: Selection,
        attention: &[f32],
    ) -> Vec<Vec<usize>> {
        let per_head = attention.len() / own.heads();
        let choose = |head: usize| {
            let rows: Vec<&[f32]> = match own.scores(head) {
                Some(sums) => vec![sums],
                None => attention[head * per_head..][..per_head].chunks(own.slots()).collect(),
            };
            let Moment { layer, prompt_tokens, generated, .. } = moment;
            let step = [self.seed, layer.index as u64, head as u64, generated as u64];
            let view = View {
                positions: own.positions(head),
                attention: &rows,
                prompt_tokens,
                tokens: prompt_tokens + generated,
                seed: zoo::stream(&step),
            };
            match selection {
                Selection::Evict(count) => self.policy.selector.evict(&view, count),
                Selection::Arrange(count) => self.policy.selector.arrange(&view, count),
            }
        };
        (0..own.heads()).map(choose).collect()
    }
}
