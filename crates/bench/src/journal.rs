//! The append-only record of what was run: one JSON object per cell.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use evaluator::synthetic::Kind;
use evaluator::{Dataset, Source, SystemText};
use serde::{Deserialize, Serialize};
use zoo::{Counters, Decode, Granularity, Mode, Prefill};

use crate::experiment::StopRule;
use crate::fault::Fault;

/// What one cell produced. Everything that tables and plots show is computed from these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Identity of the cell: a hash of all that can change its output.
    pub(crate) cell: String,
    pub(crate) model: String,
    pub(crate) weights: String,
    pub(crate) dataset: String,
    /// Whose questions and worked examples the prompt shows.
    pub(crate) source: Source,
    /// How the prompt was put to the model: `chat`, or `published` and the published runs' template.
    pub(crate) prompt: String,
    /// Which system text, where there is more than one.
    pub(crate) system: Option<SystemText>,
    /// Tokens above which a prompt loses its middle.
    pub(crate) max_prompt_tokens: Option<usize>,
    /// What was picked from lists of the task and of the generation, as `key=value`; empty without such a list.
    pub(crate) swept: String,
    /// Index of the sample in its set.
    pub(crate) sample: usize,
    /// Questions in the prompt.
    pub(crate) questions: usize,
    /// Gold answers as the set has them, so that scoring needs no data.
    pub(crate) answers: Vec<String>,
    /// What each question needs, where the set tells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) kinds: Vec<Kind>,
    pub(crate) arm: String,
    pub(crate) prefill: Prefill,
    pub(crate) decode: Decode,
    #[serde(default)]
    pub(crate) mode: Mode,
    /// Whose caches were selected in.
    #[serde(default)]
    pub(crate) granularity: Granularity,
    /// Where the published counters stood at the end, for arms that carry them to the next sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) counters: Option<Counters>,
    pub(crate) max_new_tokens: usize,
    pub(crate) stop_rule: StopRule,
    pub(crate) prompt_tokens: usize,
    /// Generated ids, the end token included.
    pub(crate) tokens: Vec<u32>,
    pub(crate) text: String,
    /// `eos`, `length` or `loop`.
    pub(crate) stop: String,
    /// Reading the prompt, which all arms of the prompt share.
    pub(crate) ttft_ms: f64,
    /// Wall time of the steps that its tokens came from, beside `lanes` - 1 other lanes.
    pub(crate) decode_ms: f64,
    /// Of that, what the policy took.
    pub(crate) policy_ms: f64,
    /// Mean number of lanes in those steps; arms that share a lane count once.
    pub(crate) lanes: f64,
    /// Most bytes allocated for entries at once, shared ones included.
    pub(crate) kv_bytes_peak: usize,
    /// Bytes that every entry of the same sequence would take, in as many caches as the arm has.
    pub(crate) kv_bytes_full: usize,
    /// Entries per KV head, mean over layers.
    pub(crate) kept_end_prefill: f64,
    /// Entries per KV head, mean over layers.
    pub(crate) kept_end_decode: f64,
    /// Entries per KV head, mean over layers and steps.
    pub(crate) kept_mean_decode: f64,
    /// Entries evicted while decoding, summed over layers and KV heads.
    pub(crate) evictions: u64,
    /// Whether anything was dropped at all, at prefill or while decoding.
    pub(crate) binding: bool,
    pub(crate) seed: u64,
    /// Entries per KV head (mean over layers) after steps 1, 1 + `trace_steps`, 1 + 2·`trace_steps`, …
    pub(crate) trace: Vec<f32>,
    pub(crate) trace_steps: usize,
}

/// What tells one cell of an experiment from another: model, weights, data set, questions per prompt, what was picked
/// from lists, sample and arm.
pub(crate) type CellName<'a> = (&'a str, &'a str, &'a str, usize, &'a str, usize, &'a str);

impl Record {
    pub(crate) fn name(&self) -> CellName<'_> {
        let Self { model, weights, dataset, questions, swept, sample, arm, .. } = self;
        (model, weights, dataset, *questions, swept, *sample, arm)
    }

    /// The first key whose value no run can have written. What is computed from records may rely on it: sums over them do not overflow.
    fn impossible(&self) -> Option<&'static str> {
        const COUNT: u64 = 1 << 32;
        const BYTES: u64 = 1 << 48;
        let counts = [
            ("questions", self.questions),
            ("max_new_tokens", self.max_new_tokens),
            ("prompt_tokens", self.prompt_tokens),
            ("trace_steps", self.trace_steps),
        ];
        let sizes = [
            ("kv_bytes_peak", self.kv_bytes_peak as u64),
            ("kv_bytes_full", self.kv_bytes_full as u64),
            ("evictions", self.evictions),
        ];
        let measures = [
            ("ttft_ms", self.ttft_ms),
            ("decode_ms", self.decode_ms),
            ("policy_ms", self.policy_ms),
            ("lanes", self.lanes),
            ("kept_end_prefill", self.kept_end_prefill),
            ("kept_end_decode", self.kept_end_decode),
            ("kept_mean_decode", self.kept_mean_decode),
        ];
        let counts = counts.into_iter().filter(|(_, n)| !(1..COUNT).contains(&(*n as u64)));
        let sizes = sizes.into_iter().filter(|(_, n)| *n >= BYTES);
        let measures = measures.into_iter().filter(|(_, n)| !(0.0..1e15).contains(n));
        let lists = [
            ("dataset", self.dataset.parse::<Dataset>().is_err()),
            ("answers", self.answers.is_empty()),
            ("kinds", ![0, self.answers.len()].contains(&self.kinds.len())),
            ("tokens", self.tokens.is_empty()),
            ("trace", !self.trace.iter().all(|entries| (0.0..1e15).contains(entries))),
        ];
        let lists = lists.into_iter().filter(|(_, wrong)| *wrong).map(|(key, _)| key);
        let numbers = counts.map(|(key, _)| key).chain(sizes.map(|(key, _)| key));
        numbers.chain(measures.map(|(key, _)| key)).chain(lists).next()
    }
}

/// Far more than the longest text and its trace take.
const LINE_BYTES: u64 = 16 << 20;

/// `samples.jsonl`, open for appending.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Opens or creates a journal, and returns what it holds. A last line that was cut off by a crash is removed from the file, so
    /// nobody else may be writing to it: it is locked until it is closed, where the file system can do that.
    pub(crate) fn open(path: &Path) -> Result<(Self, Vec<Record>)> {
        let context = || format!("cannot open the journal `{}`", path.display());
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(path)
            .with_context(context)?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            let message = format!("another run is writing to the journal `{}`", path.display());
            return Err(Fault::usage(message)
                .hint("wait for it, or divide the work with `--shard`")
                .into());
        }
        let records = cut_torn_line(&mut file).and_then(|()| read(path)).with_context(context)?;
        Ok((Self { path: path.to_owned(), file }, records))
    }

    /// Appends a record; when this returns, it is on the disk.
    pub(crate) fn append(&mut self, record: &Record) -> Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        let before = self.file.metadata().map(|file| file.len());
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        if let (Err(_), Ok(before)) = (&written, before) {
            // A part of a line is of no use; what could not be written is what the caller must hear of.
            let _ = self.file.set_len(before);
        }
        written.with_context(|| format!("cannot write to the journal `{}`", self.path.display()))
    }
}

/// Reads a journal, in the order of its lines. A last line without its end was cut off by a crash or is being written: it is
/// passed over.
pub(crate) fn read(path: &Path) -> Result<Vec<Record>> {
    let context = || format!("cannot read the journal `{}`", path.display());
    let mut lines = BufReader::new(File::open(path).with_context(context)?);
    let (mut records, mut line) = (Vec::new(), Vec::new());
    for number in 1_usize.. {
        let fault = |reason: String| {
            let message = format!("`{}` line {number}: {reason}", path.display());
            Fault::data(message).hint("remove the line, and its cell is computed again")
        };
        line.clear();
        lines.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line).with_context(context)?;
        if line.len() as u64 == LINE_BYTES {
            return Err(fault(format!("longer than {} MiB", LINE_BYTES >> 20)).into());
        }
        if line.pop() != Some(b'\n') {
            break;
        }
        let record: Record = serde_json::from_slice(&line)
            .map_err(|error| fault(format!("not a journal entry: {error}")))?;
        if let Some(key) = record.impossible() {
            return Err(fault(format!("no run writes such a value of `{key}`")).into());
        }
        records.push(record);
    }
    Ok(records)
}

/// Truncates the file behind its last line feed.
fn cut_torn_line(file: &mut File) -> Result<()> {
    let length = file.metadata()?.len();
    let mut end = length;
    let mut byte = [0];
    while end > 0 {
        file.seek(SeekFrom::Start(end - 1))?;
        file.read_exact(&mut byte)?;
        if byte == *b"\n" {
            break;
        }
        end -= 1;
    }
    if end < length {
        file.set_len(end)?;
    }
    Ok(())
}
