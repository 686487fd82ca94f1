//! `summary.json`: what is left of a run once its journal is gone, and enough to compare it with another one.

use std::path::Path;

use anyhow::Result;
use evaluator::set::sha256;
use runner::read_up_to;
use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::report::study::{ArmSamples, Rule, Setting};
use crate::report::{Conditions, Header};
use crate::row::{Row, rows};

/// The longest summary.
const SUMMARY_BYTES: u64 = 64 << 20;
/// Raised whenever a key changes its name or meaning.
const SCHEMA_VERSION: u32 = 2;

/// All rows of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    schema_version: u32,
    pub(crate) experiment: String,
    /// What the arms worked on.
    pub(crate) conditions: Vec<Conditions>,
    pub(crate) notes: Vec<String>,
    pub(crate) rows: Vec<Detailed>,
}

/// A row of `summary.csv`, and what its means are means of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Detailed {
    #[serde(flatten)]
    pub(crate) row: Row,
    pub(crate) per_prompt: Vec<PerPrompt>,
}

/// What became of a prompt: scores as shares of 1, entries per KV head as means over layers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PerPrompt {
    /// Its index in its set.
    pub(crate) sample: usize,
    /// The head of a SHA-256 over its reference answers: prompts that ask for other things differ.
    pub(crate) key: String,
    /// Tokens of the text.
    pub(crate) tokens: usize,
    pub(crate) official: f64,
    pub(crate) aligned: f64,
    pub(crate) kept_end_prefill: f64,
    pub(crate) kept_mean_decode: f64,
    pub(crate) kv_bytes_peak: f64,
}

impl Summary {
    pub(crate) fn new(header: &Header, settings: &[Setting], notes: &[String]) -> Self {
        let Header { experiment, conditions, .. } = header;
        let detailed = settings.iter().flat_map(|setting| {
            let rows = rows(experiment, setting).into_iter().zip(&setting.arms);
            rows.map(|(row, arm)| Detailed { row, per_prompt: PerPrompt::all(arm) })
        });
        Self {
            schema_version: SCHEMA_VERSION,
            experiment: experiment.clone(),
            conditions: conditions.clone(),
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
        for (place, row) in summary.rows.iter().enumerate() {
            let arm = &row.row.arm;
            if !row.fits() {
                let reason = format!("arm `{arm}` has impossible numbers, or no prompt in order");
                return Err(fault(reason).into());
            }
            if summary.rows[..place].iter().any(|other| other.row.name() == row.row.name()) {
                return Err(fault(format!("arm `{arm}` is there twice")).into());
            }
        }
        Ok(summary)
    }
}

impl Detailed {
    /// Whether its prompts are in order, each with possible numbers, and there is one at least.
    fn fits(&self) -> bool {
        let prompts = &self.per_prompt;
        !prompts.is_empty()
            && prompts.is_sorted_by(|a, b| a.sample < b.sample)
            && prompts.iter().all(PerPrompt::is_possible)
    }
}

impl PerPrompt {
    fn all(arm: &ArmSamples) -> Vec<Self> {
        let round = |value: f64| (value * 1e6).round() / 1e6;
        let scores = Rule::ALL.map(|rule| arm.accuracies(rule));
        let prompts = arm.samples.iter().enumerate().map(|(place, sample)| {
            let record = sample.record;
            let [official, aligned] = scores.each_ref().map(|scores| round(scores[place]));
            Self {
                sample: record.sample,
                key: sha256(record.answers.join("\n").as_bytes())[..16].to_owned(),
                tokens: record.tokens.len(),
                official,
                aligned,
                kept_end_prefill: round(record.kept_end_prefill),
                kept_mean_decode: round(record.kept_mean_decode),
                kv_bytes_peak: record.kv_bytes_peak as f64,
            }
        });
        prompts.collect()
    }

    fn is_possible(&self) -> bool {
        let Self { official, aligned, kept_end_prefill, kept_mean_decode, kv_bytes_peak, .. } =
            self;
        [official, aligned].into_iter().all(|score| (0.0..=1.0).contains(score))
            && [kept_end_prefill, kept_mean_decode, kv_bytes_peak]
                .into_iter()
                .all(|size| (0.0..=1e15).contains(size))
    }
}
