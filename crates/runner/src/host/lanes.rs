//! Lanes on the host: a row each.

use super::attention::{CHUNK, Queries, partial, with_scratch};
use super::store::{width, with_heads};
use super::{Attend, Rows, cut};
use crate::Result;
use crate::cache::Entries;
use crate::engine::by_pool;
use crate::kernels::{Host, Isa, exp};
use crate::lane::Lane;

/// Lanes whose queries go over shared entries together: their scores stay in the nearest caches.
const SIDE_BY_SIDE: usize = 16;

/// One row per lane.
pub(crate) struct Lanes<'a>(pub(crate) &'a mut [Lane]);

/// A chunk of one head's entries that queries go over: those of several lanes where it is shared.
struct Task<'a> {
    entries: &'a Entries,
    head: usize,
    chunk: usize,
    queries: Vec<&'a [f32]>,
    /// Whether a policy wants to see the weights.
    keeps_weights: bool,
}

/// A chunk's part in a lane's result.
#[derive(Debug, Clone, Copy)]
struct Part {
    head: usize,
    /// Whether the entries are the lane's own.
    own: bool,
    /// Where its `(group, 2 + width)` numbers begin.
    partials: usize,
    /// Where its `(group, CHUNK)` weights begin, if they are kept.
    weights: usize,
}

/// All that is to be done, and where its results will lie.
#[derive(Default)]
struct Plan<'a> {
    tasks: Vec<Task<'a>>,
    parts: Vec<Vec<Part>>, // (lanes, ..): of each head, in the order in which they are merged
    partials: usize,
    weights: usize,
}

impl Attend for Lanes<'_> {
    fn attend(&mut self, host: &Host, layer: usize, rows: Rows<'_>, out: &mut [f32]) -> Result<()> {
        let (head_dim, query_width) = (rows.head_dim, rows.query_width());
        let mut q = vec![0.0; out.len()];
        let taking = self.0.iter_mut().zip(q.chunks_mut(query_width)).enumerate();
        host.team.try_each(taking, |(row, (lane, q))| {
            rows.scaled_queries(row, q);
            let heads = lane.own(layer).heads();
            lane.push(layer, |slots, store| {
                store.on_host_mut()?.write(slots, |head| rows.entry(row, head, heads));
                Ok(())
            })
        })?;
        let Plan { tasks, parts, partials, weights } =
            Plan::new(self.0, layer, (&q, query_width, head_dim));
        let (mut partials, mut weights) = (vec![0.0; partials], vec![0.0; weights]);
        let (mut rest, mut rest_of_weights) = (&mut *partials, &mut *weights);
        let tasks = tasks.into_iter().map(|task| {
            let partials = cut(&mut rest, task.partials(head_dim));
            let weights = cut(&mut rest_of_weights, task.weights());
            (task, partials, weights)
        });
        host.team
            .try_each(tasks, |(task, partials, weights)| task.run(host.isa, partials, weights))?;
        let finishing = self.0.iter_mut().zip(&parts).zip(out.chunks_mut(query_width));
        host.team.try_each(finishing, |((lane, parts), out)| {
            let heads = lane.own(layer).heads();
            let result = LaneResult { parts, partials: &partials, weights: &weights, head_dim };
            let totals = result.totals(host.isa, heads, out);
            let own = lane.own(layer).slots();
            lane.evict(layer, || Ok(result.probabilities(&totals, heads, own)))
        })
    }
}

impl<'a> Plan<'a> {
    /// # Shapes
    /// - `q`: `(lanes, query_width)`, scaled
    fn new(
        lanes: &'a [Lane],
        layer: usize,
        (q, query_width, head_dim): (&'a [f32], usize, usize),
    ) -> Self {
        let mut plan = Self { parts: vec![Vec::new(); lanes.len()], ..Self::default() };
        let queries = |lane: usize, head: usize, heads: usize| {
            let group = query_width / heads;
            q[lane * query_width..][head * group..(head + 1) * group].chunks(head_dim)
        };
        for (pool, members) in by_pool(lanes) {
            let Some(entries) = pool.map(|pool| &pool.layers[layer]) else { continue };
            for members in members.chunks(SIDE_BY_SIDE) {
                for (head, chunk) in chunks(entries) {
                    let of = |&lane: &usize| queries(lane, head, entries.heads());
                    let rows = members.iter().flat_map(of).collect();
                    plan.add(entries, (head, chunk), rows, members, None, head_dim);
                }
            }
        }
        for (lane, it) in lanes.iter().enumerate() {
            let entries = it.own(layer);
            for (head, chunk) in chunks(entries) {
                let rows = queries(lane, head, entries.heads()).collect();
                plan.add(entries, (head, chunk), rows, &[lane], Some(it.observes()), head_dim);
            }
        }
        plan
    }

    /// A task, and its part in each of its lanes' results. `own` says whether the entries are a lane's own, and if so whether weights are kept.
    fn add(
        &mut self,
        entries: &'a Entries,
        (head, chunk): (usize, usize),
        queries: Vec<&'a [f32]>,
        lanes: &[usize],
        own: Option<bool>,
        head_dim: usize,
    ) {
        let keeps_weights = own == Some(true);
        let task = Task { entries, head, chunk, queries, keeps_weights };
        let numbers = task.partials(head_dim);
        for (place, &lane) in lanes.iter().enumerate() {
            self.parts[lane].push(Part {
                head,
                own: own.is_some(),
                partials: self.partials + place * numbers / lanes.len(),
                weights: self.weights,
            });
        }
        self.partials += numbers;
        self.weights += task.weights();
        self.tasks.push(task);
    }
}

/// The chunks of all heads, by head.
fn chunks(entries: &Entries) -> impl Iterator<Item = (usize, usize)> + use<> {
    let chunks = entries.slots().div_ceil(CHUNK);
    (0..entries.heads()).flat_map(move |head| (0..chunks).map(move |chunk| (head, chunk)))
}

impl Task<'_> {
    /// Numbers that its queries will have.
    fn partials(&self, head_dim: usize) -> usize {
        self.queries.len() * partial(width(head_dim))
    }

    /// Weights that are kept.
    fn weights(&self) -> usize {
        if self.keeps_weights { self.queries.len() * CHUNK } else { 0 }
    }

    /// # Shapes
    /// - `partials`: `(queries, 2 + width)`, replaced
    /// - `weights`: `(queries, CHUNK)`, or none
    fn run(&self, isa: Isa, partials: &mut [f32], weights: &mut [f32]) -> Result<()> {
        let store = self.entries.store().on_host()?;
        let seen = vec![self.entries.slots(); self.queries.len()];
        let queries = Queries { rows: &self.queries, seen: &seen };
        with_scratch(|scratch| {
            with_heads!(store, heads => {
                let head = &heads[self.head];
                head.weigh_chunk(isa, self.chunk, queries, scratch, partials);
                head.add_values(isa, self.chunk, queries, scratch, partials);
            });
            weights.copy_from_slice(&scratch.weights[..weights.len()]);
        });
        Ok(())
    }
}

/// What a lane's queries have found, in parts.
struct LaneResult<'a> {
    parts: &'a [Part],
    partials: &'a [f32],
    weights: &'a [f32],
    head_dim: usize,
}

impl LaneResult<'_> {
    /// Merges the parts, and returns each query's largest score and sum of weights.
    ///
    /// # Shapes
    /// - `out`: `(query_heads * head_dim,)`
    fn totals(&self, isa: Isa, heads: usize, out: &mut [f32]) -> Vec<[f32; 2]> {
        let group = out.len() / self.head_dim / heads;
        let stride = partial(width(self.head_dim));
        let mut total = vec![0.0; stride];
        let outs = out.chunks_mut(self.head_dim).enumerate();
        let merged = outs.map(|(query, out)| {
            let mut parts = self
                .of_head(query / group)
                .map(|part| &self.partials[part.partials + query % group * stride..][..stride]);
            match parts.next() {
                Some(first) => total.copy_from_slice(first),
                None => total.fill(0.0),
            }
            parts.for_each(|part| isa.merge(&mut total, part));
            for (out, value) in out.iter_mut().zip(&total[2..]) {
                *out = value / total[1];
            }
            [total[0], total[1]]
        });
        merged.collect()
    }

    /// What each query gave to each of the lane's own entries, `(query_heads, own)`.
    fn probabilities(&self, totals: &[[f32; 2]], heads: usize, own: usize) -> Vec<f32> {
        let group = totals.len() / heads;
        let stride = partial(width(self.head_dim));
        let mut found = vec![0.0; totals.len() * own];
        for (query, ([largest, sum], found)) in totals.iter().zip(found.chunks_mut(own)).enumerate()
        {
            let own = self.of_head(query / group).filter(|part| part.own);
            for (part, found) in own.zip(found.chunks_mut(CHUNK)) {
                let of_chunk = self.partials[part.partials + query % group * stride];
                let factor = exp(of_chunk - largest) / sum;
                let weights = &self.weights[part.weights + query % group * CHUNK..];
                for (found, weight) in found.iter_mut().zip(weights) {
                    *found = weight * factor;
                }
            }
        }
        found
    }

    fn of_head(&self, head: usize) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(move |part| part.head == head)
    }
}
