//! Journal records, scored and put in order: what rows, plots and findings are computed from.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use evaluator::score::Scores;
use evaluator::statistics::{Paired, SEED, paired};
use evaluator::{Dataset, Task};
use zoo::{Decode, Prefill};

use crate::journal::Record;

/// One record and its scores.
#[derive(Debug)]
pub(crate) struct Scored<'a> {
    pub(crate) record: &'a Record,
    pub(crate) scores: Scores,
}

/// All finished prompts of one arm, by sample index.
#[derive(Debug)]
pub(crate) struct ArmSamples<'a> {
    pub(crate) arm: String,
    /// Never empty.
    pub(crate) samples: Vec<Scored<'a>>,
}

/// What arms are compared within: one model on one data set, under one choice from each list.
#[derive(Debug)]
pub(crate) struct Setting<'a> {
    pub(crate) model: String,
    pub(crate) weights: String,
    pub(crate) dataset: Dataset,
    pub(crate) questions: usize,
    /// What was picked from lists, as `key=value`; empty without any.
    pub(crate) swept: String,
    /// In the order of the experiment, without arms that have no record yet.
    pub(crate) arms: Vec<ArmSamples<'a>>,
}

/// One of the two ways to score a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Pairs the k-th answer found with the k-th key, as published.
    Official,
    /// Pairs answers and keys by number.
    Aligned,
}

impl Rule {
    pub(crate) const ALL: [Self; 2] = [Self::Official, Self::Aligned];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Official => "official",
            Self::Aligned => "aligned",
        }
    }
}

impl<'a> Scored<'a> {
    fn new(record: &'a Record, task: &Task) -> Self {
        Self { record, scores: Scores::new(task, &record.text, &record.answers) }
    }

    pub(crate) const fn accuracy(&self, rule: Rule) -> f64 {
        match rule {
            Rule::Official => self.scores.official,
            Rule::Aligned => self.scores.aligned,
        }
    }
}

impl<'a> ArmSamples<'a> {
    /// Records of one arm differ in sample only, so any of them tells the methods.
    pub(crate) fn methods(&self) -> (&'a Prefill, &'a Decode) {
        let record = self.samples[0].record;
        (&record.prefill, &record.decode)
    }

    /// Whether this is the full-cache arm that all others are compared with.
    pub(crate) fn is_reference(&self) -> bool {
        matches!(self.methods(), (Prefill::Full(_), Decode::None(_)))
    }

    pub(crate) fn accuracies(&self, rule: Rule) -> Vec<f64> {
        self.samples.iter().map(|sample| sample.accuracy(rule)).collect()
    }

    /// Mean over prompts of a number in the record.
    pub(crate) fn mean(&self, number: impl Fn(&Record) -> f64) -> f64 {
        let sum: f64 = self.samples.iter().map(|sample| number(sample.record)).sum();
        sum / self.samples.len() as f64
    }

    /// Prompts whose record has a property.
    pub(crate) fn count(&self, has: impl Fn(&Record) -> bool) -> usize {
        self.samples.iter().filter(|sample| has(sample.record)).count()
    }

    /// Prompts that both arms have finished, side by side.
    pub(crate) fn shared<'s>(&'s self, other: &'s Self) -> Vec<(&'s Scored<'a>, &'s Scored<'a>)> {
        let others: BTreeMap<usize, &Scored> =
            other.samples.iter().map(|sample| (sample.record.sample, sample)).collect();
        let pair = |sample: &'s Scored<'a>| Some((sample, *others.get(&sample.record.sample)?));
        self.samples.iter().filter_map(pair).collect()
    }

    /// The paired difference to another arm, over the prompts that both have; none if they share no prompt.
    pub(crate) fn against(&self, other: &Self, rule: Rule) -> Option<Paired> {
        let pairs = self.shared(other).into_iter();
        let (left, right): (Vec<_>, Vec<_>) =
            pairs.map(|(left, right)| (left.accuracy(rule), right.accuracy(rule))).unzip();
        paired(&left, &right, SEED).ok()
    }
}

impl Setting<'_> {
    /// Its name among others, in words.
    pub(crate) fn title(&self) -> String {
        let Self { model, weights, dataset, questions, swept, .. } = self;
        let swept = if swept.is_empty() { String::new() } else { format!(", {swept}") };
        format!("{model} ({weights}) on {dataset}, {questions} questions per prompt{swept}")
    }

    pub(crate) fn reference(&self) -> Option<&ArmSamples<'_>> {
        self.arms.iter().find(|arm| arm.is_reference())
    }

    /// Most prompts that any arm has finished.
    pub(crate) fn prompts(&self) -> usize {
        self.arms.iter().map(|arm| arm.samples.len()).max().unwrap_or_default()
    }
}

/// Scores records and groups them by setting, arm (in the order given) and sample, whatever order they come in.
///
/// # Errors
/// An unknown data set, an arm that the experiment does not name, or two different cells of one arm and sample.
pub(crate) fn settings<'a>(arms: &[String], records: &'a [Record]) -> Result<Vec<Setting<'a>>> {
    let mut groups = BTreeMap::<_, BTreeMap<usize, Vec<&Record>>>::new();
    for record in records {
        let place = arms.iter().position(|arm| *arm == record.arm);
        let place = place.with_context(|| {
            format!("the journal has the arm `{}`, which the experiment does not name", record.arm)
        })?;
        let Record { model, weights, dataset, questions, swept, .. } = record;
        let setting = (model, weights, dataset, *questions, by_number(swept), swept);
        groups.entry(setting).or_default().entry(place).or_default().push(record);
    }
    let settings =
        groups.into_iter().map(|((model, weights, dataset, questions, _, swept), places)| {
            let dataset = dataset.parse()?;
            let task = Task::of(dataset)?;
            let arms = places.into_iter().map(|(place, records)| arm(&arms[place], records, task));
            Ok(Setting {
                model: model.clone(),
                weights: weights.clone(),
                dataset,
                questions,
                swept: swept.clone(),
                arms: arms.collect::<Result<_>>()?,
            })
        });
    settings.collect()
}

/// A text in pieces to sort by, so that numbers stand in the order of their values.
fn by_number(text: &str) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    let pieces = letters.chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit());
    let text = |piece: &[char]| match piece.iter().collect::<String>() {
        number if number.starts_with(|c: char| c.is_ascii_digit()) => format!("{number:0>24}"),
        word => word,
    };
    pieces.map(text).collect()
}

fn arm<'a>(label: &str, mut records: Vec<&'a Record>, task: &Task) -> Result<ArmSamples<'a>> {
    records.sort_by(|a, b| (a.sample, &a.cell).cmp(&(b.sample, &b.cell)));
    records.dedup_by(|later, first| later.cell == first.cell);
    for pair in records.windows(2) {
        if let [first, second] = pair
            && first.sample == second.sample
        {
            bail!(
                "the arm `{label}` has two cells of sample {}, `{}` and `{}`",
                first.sample,
                first.cell,
                second.cell
            );
        }
    }
    let samples = records.into_iter().map(|record| Scored::new(record, task)).collect();
    Ok(ArmSamples { arm: label.to_owned(), samples })
}

#[cfg(test)]
mod tests {
    use super::by_number;

    #[test]
    fn numbers_stand_in_the_order_of_their_values() {
        let texts = ["n=8 x=b", "n=80", "n=80 x=a", "n=80 x=b", "n=120", "n=120 x=a"];
        assert!(texts.is_sorted_by_key(|text| by_number(text)));
    }
}
