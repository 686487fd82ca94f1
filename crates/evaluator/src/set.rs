//! Prompts with their keys, and the file format that the published sets use.

use std::io;

use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;
use sha2::{Digest, Sha256};

use crate::demonstrations::Worked;
use crate::error::Result;
use crate::prompt;
use crate::rows::{Quirks, Rows};
use crate::source::Source;
use crate::synthetic::Kind;
use crate::task::{Dataset, Task};

/// One prompt: many questions and their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Place in the complete set, from 0; dropping others does not change it.
    pub index: usize,
    /// The exam subject, with underscores; MMLU only.
    pub subject: Option<String>,
    /// Worked examples and questions, without system text.
    pub prompt: String,
    /// The questions.
    pub questions: Vec<String>,
    /// One key per question: a worked solution ending in `#### n`, or a letter.
    pub answers: Vec<String>,
    /// What each question needs, for questions made by rule; else empty.
    pub kinds: Vec<Kind>,
}

/// All prompts of one data set at one size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Which data set.
    pub dataset: Dataset,
    /// Questions in each prompt.
    pub questions_per_sample: usize,
    /// The prompts, in source order.
    pub samples: Vec<Sample>,
    /// Whose questions and worked examples they show.
    pub source: Source,
    /// Where all this came from, in words.
    pub origin: String,
}

impl Set {
    /// Prompts from raw questions, taken in order: no shuffling, no seed. At a published size they are as many as
    /// published; at any other, every full batch is used.
    /// # Errors
    /// [`Error::NotEnoughRows`](crate::Error::NotEnoughRows), [`Error::ZeroQuestions`](crate::Error::ZeroQuestions),
    /// rows of another data set, or a subject without worked examples.
    pub fn from_rows(
        task: &Task,
        questions: usize,
        rows: &Rows,
        worked: &Worked,
        quirks: Quirks,
    ) -> Result<Self> {
        let batches = rows.batches(task, questions, quirks)?;
        let samples = batches.into_iter().enumerate().map(|(index, batch)| {
            let text = worked.text(batch.subject.as_deref())?;
            let prompt = prompt::build(task, text, &batch.questions);
            let (subject, questions, answers) = (batch.subject, batch.questions, batch.answers);
            Ok(Sample { index, subject, prompt, questions, answers, kinds: Vec::new() })
        });
        let set = Self {
            dataset: task.dataset,
            questions_per_sample: questions,
            samples: samples.collect::<Result<_>>()?,
            source: worked.source,
            origin: format!("raw questions and {}", worked.origin),
        };
        Ok(set.verified(task))
    }

    /// The set, no longer called published unless its checksum is that of the published set of its size.
    pub(crate) fn verified(mut self, task: &Task) -> Self {
        let published = task.suite(self.questions_per_sample);
        let published = published.and_then(|suite| suite.sha256.as_ref());
        let same = || published.is_some() && self.sha256().ok().as_ref() == published;
        if self.source == Source::Published && !same() {
            self.source = Source::Unverified;
        }
        self
    }

    /// The checksum of the set as a published file has it, in lower-case hexadecimal digits.
    /// # Errors
    /// As [`Set::to_json_lines`].
    pub fn sha256(&self) -> serde_json::Result<String> {
        Ok(sha256(self.to_json_lines()?.as_bytes()))
    }

    /// The set without the prompts that the published runs left out.
    #[must_use]
    pub fn without_dropped(mut self, task: &Task) -> Self {
        self.samples.retain(|sample| !task.dropped.contains(&sample.index));
        self
    }

    /// The set as the published file has it, byte for byte: one JSON object per line, a blank after `,` and `:`.
    /// # Errors
    /// Never for a set made by this crate; the JSON writer's type has errors.
    pub fn to_json_lines(&self) -> serde_json::Result<String> {
        let mut bytes = Vec::new();
        for sample in &self.samples {
            let mut writer = serde_json::Serializer::with_formatter(&mut bytes, Spaced);
            Line::from(sample).serialize(&mut writer)?;
            bytes.push(b'\n');
        }
        String::from_utf8(bytes).map_err(serde_json::Error::custom)
    }
}

/// The SHA-256 of bytes, in lower-case hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// A sample in the published order of keys.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<&'a str>,
    prompt: &'a str,
    #[serde(serialize_with = "strings")]
    questions: &'a [String],
    #[serde(serialize_with = "strings")]
    answers: &'a [String],
    #[serde(skip_serializing_if = "<[Kind]>::is_empty")]
    kinds: &'a [Kind],
}

fn strings<S: Serializer>(list: &[String], serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_seq(list)
}

impl<'a> From<&'a Sample> for Line<'a> {
    fn from(sample: &'a Sample) -> Self {
        Self {
            task: sample.subject.as_deref(),
            prompt: &sample.prompt,
            questions: &sample.questions,
            answers: &sample.answers,
            kinds: &sample.kinds,
        }
    }
}

/// JSON with a blank after every comma and colon.
struct Spaced;

impl Spaced {
    fn comma<W: io::Write + ?Sized>(writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }
}

impl Formatter for Spaced {
    fn begin_array_value<W: io::Write + ?Sized>(
        &mut self,
        w: &mut W,
        first: bool,
    ) -> io::Result<()> {
        Self::comma(w, first)
    }

    fn begin_object_key<W: io::Write + ?Sized>(
        &mut self,
        w: &mut W,
        first: bool,
    ) -> io::Result<()> {
        Self::comma(w, first)
    }

    fn begin_object_value<W: io::Write + ?Sized>(&mut self, w: &mut W) -> io::Result<()> {
        w.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::Gsm8kRow;

    #[test]
    fn lines_have_the_published_look() {
        let task = Task::of(Dataset::Gsm8k).unwrap();
        let row = Gsm8kRow { question: "é \"?\"".into(), answer: "#### 1".into() };
        let worked = Worked::own(task);
        let mut set =
            Set::from_rows(task, 2, &Rows::Gsm8k(vec![row; 5]), &worked, Quirks::default())
                .unwrap();
        assert_eq!(set.samples.len(), 2);
        for sample in &mut set.samples {
            sample.prompt = "P\n".into();
        }
        let line = r#####"{"prompt": "P\n", "questions": ["é \"?\"", "é \"?\""], "answers": ["#### 1", "#### 1"]}"#####;
        assert_eq!(set.to_json_lines().unwrap(), format!("{line}\n{line}\n"));
        assert_eq!(sha256(b"abc")[..16], *"ba7816bf8f01cfea");
    }

    #[test]
    fn only_the_published_checksum_makes_a_set_published() {
        let task = Task::of(Dataset::Gsm8k).unwrap();
        let row = Gsm8kRow { question: "q".into(), answer: "#### 1".into() };
        let mut worked = Worked::own(task);
        worked.source = Source::Published;
        let rows = Rows::Gsm8k(vec![row; 1319]);
        for questions in [30, 60, 7] {
            let set = Set::from_rows(task, questions, &rows, &worked, Quirks::Published).unwrap();
            assert_eq!(set.source, Source::Unverified);
        }
    }
}
