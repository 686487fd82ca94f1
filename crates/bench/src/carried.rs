//! What one sample of a run leaves to the next: the counters that the published code never resets.

use std::collections::BTreeMap;

use anyhow::Result;
use zoo::{Arm, Counters};

use crate::fault::Fault;
use crate::run::Shard;

/// Where the published counters stand, of the arms that carry them from one sample to the next: such an arm's samples run one after another.
pub(crate) struct Carried<'a>(BTreeMap<&'a str, Option<Counters>>); // none while a lane of the arm runs

impl<'a> Carried<'a> {
    /// The arms of an experiment before its first sample.
    ///
    /// # Errors
    /// If an arm carries counters and only a part of the samples is to run.
    pub(crate) fn new(all: &'a [Arm], context: zoo::Context, shard: Option<Shard>) -> Result<Self> {
        let mut arms = BTreeMap::new();
        for arm in all {
            if arm.policies(context)?.decode.depends_on_earlier_samples() {
                arms.insert(arm.label.as_str(), Some(Counters::default()));
            }
        }
        if let (Some((arm, _)), Some(_)) = (arms.first_key_value(), shard) {
            let message = format!("arm `{arm}` carries its counters from sample to sample");
            return Err(Fault::usage(message)
                .hint("run it without `--shard`, or leave `mode = \"reference\"` out")
                .into());
        }
        Ok(Self(arms))
    }

    /// The counters with which an arm's next sample starts, once they are known.
    pub(crate) fn counters(&self, arm: &str) -> Option<Counters> {
        self.0.get(arm).copied().unwrap_or_else(|| Some(Counters::default()))
    }

    /// Starts a sample of an arm, with the counters that the one before it left.
    pub(crate) fn start(&mut self, arm: &str) -> Counters {
        self.0.get_mut(arm).and_then(Option::take).unwrap_or_default()
    }

    /// Notes where a sample of an arm left the counters.
    pub(crate) fn ended(&mut self, arm: &str, at: Counters) {
        if let Some(counters) = self.0.get_mut(arm) {
            *counters = Some(at);
        }
    }
}
