//! `summary.json`: what is left of a run once its journal is gone, and enough to compare it with another one.

use std::path::Path;

use anyhow::Result;
use runner::read_up_to;
use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::journal::Record;
use crate::report::study::{ArmSamples, Rule, Setting};
use crate::row::{Row, rows};

/// The longest summary.
const SUMMARY_BYTES: u64 = 64 << 20;
/// Raised whenever a key changes its name or meaning.
const SCHEMA_VERSION: u32 = 1;

/// All rows of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    schema_version: u32,
    pub(crate) experiment: String,
    pub(crate) notes: Vec<String>,
    pub(crate) rows: Vec<Detailed>,
}

/// A row of `summary.csv`, and what its means are means of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Detailed {
    #[serde(flatten)]
    pub(crate) row: Row,
    pub(crate) per_prompt: PerPrompt,
}

/// What became of each prompt: scores as shares of 1, entries per KV head as means over layers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PerPrompt {
    /// Indices of the samples in their set, ascending.
    pub(crate) samples: Vec<usize>,
    pub(crate) official: Vec<f64>,
    pub(crate) aligned: Vec<f64>,
    pub(crate) kept_end_prefill: Vec<f64>,
    pub(crate) kept_mean_decode: Vec<f64>,
    pub(crate) kv_bytes_peak: Vec<f64>,
}

impl Summary {
    pub(crate) fn new(experiment: &str, settings: &[Setting], notes: &[String]) -> Self {
        let detailed = settings.iter().flat_map(|setting| {
            let rows = rows(experiment, setting).into_iter().zip(&setting.arms);
            rows.map(|(row, arm)| Detailed { row, per_prompt: PerPrompt::new(arm) })
        });
        Self {
            schema_version: SCHEMA_VERSION,
            experiment: experiment.to_owned(),
            notes: notes.to_vec(),
            rows: detailed.collect(),
        }
    }

    pub(crate) fn to_json(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads it from a results folder.
    ///
    /// # Errors
    /// That it is missing, malformed, of another version, or holds lists that do not fit each other, with the way to make it anew.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("summary.json");
        let fault = |reason: String| {
            Fault::data(format!("`{}`: {reason}", path.display()))
                .hint("`bench report FOLDER` writes it anew from the journal")
        };
        let bytes = read_up_to(&path, SUMMARY_BYTES)
            .map_err(|error| fault(format!("cannot read it: {error}")))?;
        let summary: Self =
            serde_json::from_slice(&bytes).map_err(|error| fault(error.to_string()))?;
        if summary.schema_version != SCHEMA_VERSION {
            let version = summary.schema_version;
            return Err(fault(format!("it is of version {version}, not {SCHEMA_VERSION}")).into());
        }
        match summary.rows.iter().find(|row| !row.per_prompt.fits()) {
            Some(odd) => {
                let reason = format!("the prompts of arm `{}` do not fit its scores", odd.row.arm);
                Err(fault(reason).into())
            }
            None => Ok(summary),
        }
    }
}

impl PerPrompt {
    fn new(arm: &ArmSamples) -> Self {
        let round = |value: f64| (value * 1e6).round() / 1e6;
        let each = |number: fn(&Record) -> f64| {
            arm.samples.iter().map(|sample| round(number(sample.record))).collect()
        };
        let scores = |rule| arm.accuracies(rule).into_iter().map(round).collect();
        Self {
            samples: arm.samples.iter().map(|sample| sample.record.sample).collect(),
            official: scores(Rule::Official),
            aligned: scores(Rule::Aligned),
            kept_end_prefill: each(|record| record.kept_end_prefill),
            kept_mean_decode: each(|record| record.kept_mean_decode),
            kv_bytes_peak: each(|record| record.kv_bytes_peak as f64),
        }
    }

    /// What it has of those prompts that are among others.
    pub(crate) fn among(&self, others: &[usize]) -> Self {
        let of = |values: &[f64]| {
            let prompts = self.samples.iter().zip(values);
            prompts.filter(|(sample, _)| others.contains(sample)).map(|(_, value)| *value).collect()
        };
        Self {
            samples: self.samples.iter().copied().filter(|it| others.contains(it)).collect(),
            official: of(&self.official),
            aligned: of(&self.aligned),
            kept_end_prefill: of(&self.kept_end_prefill),
            kept_mean_decode: of(&self.kept_mean_decode),
            kv_bytes_peak: of(&self.kv_bytes_peak),
        }
    }

    /// Whether it has a possible number of each kind for every prompt, of which there is one at least.
    fn fits(&self) -> bool {
        let Self { samples, official, aligned, kept_end_prefill, kept_mean_decode, kv_bytes_peak } =
            self;
        let within = |values: &[f64], most: f64| {
            values.len() == samples.len() && values.iter().all(|it| (0.0..=most).contains(it))
        };
        !samples.is_empty()
            && samples.is_sorted_by(|a, b| a < b)
            && [official, aligned].into_iter().all(|scores| within(scores, 1.0))
            && [kept_end_prefill, kept_mean_decode, kv_bytes_peak]
                .into_iter()
                .all(|sizes| within(sizes, 1e15))
    }
}
