//! `summary.json`: what is left of a run once its journal is gone, and enough to compare it with another one.

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::report::study::{ArmSamples, Rule, Setting};
use crate::row::{Row, rows};

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

/// Scores prompt by prompt, as shares of 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PerPrompt {
    /// Indices of the samples in their set, ascending.
    pub(crate) samples: Vec<usize>,
    pub(crate) official: Vec<f64>,
    pub(crate) aligned: Vec<f64>,
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
        let bytes =
            std::fs::read(&path).map_err(|error| fault(format!("cannot read it: {error}")))?;
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
        let round = |values: Vec<f64>| values.iter().map(|it| (it * 1e6).round() / 1e6).collect();
        Self {
            samples: arm.samples.iter().map(|sample| sample.record.sample).collect(),
            official: round(arm.accuracies(Rule::Official)),
            aligned: round(arm.accuracies(Rule::Aligned)),
        }
    }

    pub(crate) fn of(&self, rule: Rule) -> &[f64] {
        match rule {
            Rule::Official => &self.official,
            Rule::Aligned => &self.aligned,
        }
    }

    /// Whether it has a score of each kind for every prompt, of which there is one at least.
    fn fits(&self) -> bool {
        let Self { samples, official, aligned } = self;
        let scores = || official.iter().chain(aligned);
        !samples.is_empty()
            && samples.is_sorted_by(|a, b| a < b)
            && [official.len(), aligned.len()] == [samples.len(); 2]
            && scores().all(|score| (0.0..=1.0).contains(score))
    }
}
