//! What a model of the task is trained on: documents, and drills that ask for one skill many times over.
//!
//! A document looks one thing up every twenty to forty tokens. A drill does every four to eight, so that a skill is there long
//! before it could be learned from documents alone.

use serde::{Deserialize, Serialize};

use super::Split;
use super::document::{Document, Layout, Size, price_list, result};
use super::draw::Draw;
use super::problem::{Facts, Kind, MOST_WEIGHT, Mix, Problem, Words};
use super::vocabulary::{BOS, EOS, ITEMS, LAST_INDEX, NAMES, Vocabulary};
use crate::error::{Error, Result};

/// What a token of a row is to the training: how much it counts, and under which heading its accuracy is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Not learned: it was given, or cannot be known.
    Given = 0,
    /// None of those below.
    Other = 1,
    /// The first token of an answer, whose question must be found by its index; and the index that opens the response. In recall drills the number of a
    /// question too.
    First = 2,
    /// The value of an earlier answer.
    Reference = 3,
    /// A price from the list.
    Price = 4,
    /// The result of a sum, a difference or a product.
    Result = 5,
    /// What follows an answer: another one, or the end.
    End = 6,
}

/// Rows that are asked for. The same request always makes the same rows.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Tells requests apart.
    pub seed: u64,
    /// Whose rows: they share none with those of another split.
    pub split: Split,
    /// Most tokens of a row.
    pub length: usize,
    /// How many rows.
    pub rows: usize,
    /// How often each kind of row is drawn.
    pub shares: Shares,
    /// Thousandths of documents whose questions stand in random order, so that only their numbers tell which is meant.
    #[serde(default)]
    pub shuffled: usize,
    /// The mix of questions.
    #[serde(default)]
    pub mix: Mix,
    /// Documents alone, of exactly so many questions, as prompts of the suites are: with the split `evaluation` and this number as the seed
    /// they are those of the suite. Otherwise documents are of random sizes.
    #[serde(default)]
    pub questions: Option<usize>,
}

/// Weights of the kinds of rows.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shares {
    /// Prompts with their responses.
    pub document: usize,
    /// One-line questions, and answers that repeat them.
    pub recall: usize,
    /// Answers, then what they gave, many times.
    pub reference: usize,
    /// A price list, then what things cost, many times.
    pub price: usize,
    /// Sums, differences and products.
    pub arithmetic: usize,
}

/// Tokens of a row, and what each is to the training.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Ids.
    pub tokens: Vec<u16>,
    /// As many.
    pub classes: Vec<Class>,
}

impl Request {
    /// # Errors
    /// [`Error::Unmade`] for questions that cannot be numbered, or weights that say nothing or are beyond reason.
    pub fn check(&self) -> Result<()> {
        let Shares { document, recall, reference, price, arithmetic } = self.shares;
        let shares = [document, recall, reference, price, arithmetic];
        let fault = |reason: String| Err(Error::Unmade { reason });
        match self.questions {
            Some(questions) if !(1..=LAST_INDEX).contains(&questions) => {
                fault(format!("`questions`: {questions} is not from 1 to {LAST_INDEX}"))
            }
            None if shares == [0; 5] => {
                fault("`shares`: one of them at least is needed".to_owned())
            }
            _ if shares.iter().any(|share| *share > MOST_WEIGHT) => {
                fault(format!("`shares`: one is above {MOST_WEIGHT}"))
            }
            _ if self.shuffled > 1000 => {
                fault("`shuffled` is in thousandths: at most 1000".to_owned())
            }
            _ => self.mix.check(),
        }
    }

    /// The rows, in order, of a request that passes [`Request::check`].
    pub fn rows(&self) -> Vec<Row> {
        (0..self.rows as u64)
            .map(|row| self.row(&mut Draw::new(&[self.split.salt(), self.seed, row])))
            .collect()
    }

    fn row(&self, draw: &mut Draw) -> Row {
        let Shares { document, recall, reference, price, arithmetic } = self.shares;
        let kinds = [document, recall, reference, price, arithmetic];
        let kind = if self.questions.is_some() { 0 } else { draw.weighted(&kinds) };
        let mut row = match kind {
            1 => Row::recall(self.length, draw),
            2 => Row::reference(self.length, &self.mix, draw),
            3 => Row::price(self.length, draw),
            4 => Row::arithmetic(self.length, draw),
            _ => self.document(draw),
        };
        row.tokens.truncate(self.length);
        row.classes.truncate(self.length);
        row
    }

    fn document(&self, draw: &mut Draw) -> Row {
        let length = self.length;
        let layout = match self.questions {
            Some(questions) => Layout::evaluation(questions),
            None => Layout {
                // Were all rows full, the end would be learned as a place.
                size: Size::Tokens(if draw.chance(300) {
                    length
                } else {
                    draw.between(length * 35 / 100, length)
                }),
                demonstrations: match length {
                    0..=160 => 0,
                    161..=400 => draw.pick(&[0, 1, 2]),
                    _ => draw.pick(&[0, 2, 4, 8]),
                },
                first: first_index(length / 38, draw),
                headed: length > 160 || length > 100 && draw.chance(500),
                shuffled: draw.chance(self.shuffled),
            },
        };
        let Document { prompt, response, .. } = Document::new(&layout, &self.mix, draw);
        let mut row = Row { classes: vec![Class::Given; prompt.len()], tokens: prompt };
        row.append(&response);
        row
    }
}

impl Layout {
    /// As prompts of the suites are.
    pub(super) const fn evaluation(questions: usize) -> Self {
        Self {
            size: Size::Questions(questions),
            demonstrations: super::DEMONSTRATIONS,
            first: 1,
            headed: true,
            shuffled: false,
        }
    }
}

/// Where numbering begins, so that about so many questions can follow.
fn first_index(questions: usize, draw: &mut Draw) -> usize {
    if draw.chance(400) {
        1
    } else {
        draw.between(1, LAST_INDEX.saturating_sub(questions.max(2) + 4).max(1))
    }
}

impl Row {
    /// Whether the row holds a whole response.
    pub fn ends(&self) -> bool {
        self.tokens.last() == Some(&EOS)
    }

    fn opened(pieces: &[&str]) -> Self {
        let tokens = Words(vec![BOS]).say(pieces).0;
        Self { classes: vec![Class::Given; tokens.len()], tokens }
    }

    /// Adds words that are given.
    fn give(&mut self, words: Words) {
        self.classes.extend(vec![Class::Given; words.0.len()]);
        self.tokens.extend(words.0);
    }

    /// Adds one token.
    fn push(&mut self, token: u16, class: Class) {
        self.tokens.push(token);
        self.classes.push(class);
    }

    /// Adds a response, each token with its class.
    fn append(&mut self, response: &[u16]) {
        let words = Vocabulary::get();
        let [heading, line, so, equals] =
            ["Answer_", "\n", " So", " ="].map(|piece| words.id(piece));
        let mut before = [heading; 3];
        for &token in response {
            let class = match before {
                // The index that opens a response must be found too, the heading before it need not.
                [_, second, _] if second == heading && token != heading => Class::First,
                [_, _, last] if last == line => Class::End,
                [_, second, last]
                    if second != so && words.is_mention(last) && words.is_number(token) =>
                {
                    Class::Reference
                }
                [_, _, last] if words.is_item(last) && words.is_number(token) => Class::Price,
                [_, _, last] if last == equals => Class::Result,
                _ => Class::Other,
            };
            self.push(token, class);
            before = [before[1], before[2], token];
        }
    }

    fn recall(length: usize, draw: &mut Draw) -> Self {
        let questions = (length.saturating_sub(8) / 16).clamp(1, LAST_INDEX);
        let first = first_index(questions, draw).min(LAST_INDEX + 1 - questions);
        let mut lines: Vec<(u16, Words)> = (first..first + questions)
            .map(|index| {
                let words =
                    Words::new().word(draw.pick(&NAMES)).say(&[" has"]).number(draw.number(2, 90));
                (
                    Vocabulary::get().heading(index as u8),
                    words.word(draw.pick(&ITEMS)).say(&[".", "\n"]),
                )
            })
            .collect();
        let mut row = Self::opened(&["Questions", ":", "\n"]);
        for (heading, content) in &lines {
            row.give(Words::new().say(&["Question_"]).tokens(&[*heading]).tokens(&content.0));
        }
        row.give(Words::new().say(&["Answers", ":", "\n"]));
        let shuffled = draw.chance(800);
        if shuffled {
            draw.shuffle(&mut lines);
        }
        for (heading, content) in &lines {
            row.give(Words::new().say(&["Answer_"]));
            row.push(*heading, if shuffled { Class::Given } else { Class::Other });
            for (place, token) in content.0.iter().enumerate() {
                // The name, and the number behind `has`.
                row.push(*token, if matches!(place, 0 | 2) { Class::First } else { Class::Other });
            }
        }
        row
    }

    fn reference(length: usize, mix: &Mix, draw: &mut Draw) -> Self {
        let mut row = Self::opened(&["Answers", ":", "\n"]);
        let mut facts = Facts::default();
        // Random shares, so that values are looked up near and far.
        let block = length * draw.between(30, 80) / 100;
        for index in first_index(block / 25, draw)..=LAST_INDEX {
            let kind =
                draw.pick(&[Kind::Direct, Kind::Direct, Kind::MultiStep, Kind::Back, Kind::Pair]);
            let problem = Problem::new(kind, mix, &mut facts, draw);
            if row.tokens.len() + problem.solution.len() + 14 > block && facts.answers.len() > 1 {
                break;
            }
            let words =
                Words::new().say(&["Answer_"]).tokens(&[Vocabulary::get().heading(index as u8)]);
            row.give(result(words.tokens(&problem.solution), index as u8, problem.value));
            facts.answers.push((index as u8, problem.value));
        }
        while row.tokens.len() + 5 <= length {
            let (index, value) = draw.pick(&facts.answers);
            row.give(Words::new().mention(index));
            row.push(Vocabulary::get().number(value), Class::Reference);
            row.give(Words::new().say(&[","]));
        }
        row
    }

    fn price(length: usize, draw: &mut Draw) -> Self {
        let mut items = ITEMS;
        draw.shuffle(&mut items);
        let count = draw.between(4, 12);
        let prices: Vec<(&str, u8)> =
            items.into_iter().take(count).map(|item| (item, draw.number(2, 9))).collect();
        let mut row = Self::opened(&[]);
        row.give(price_list(Words::new(), &prices).say(&["Answers", ":", "\n"]));
        while row.tokens.len() + 4 <= length {
            let (item, price) = draw.pick(&prices);
            row.give(Words::new().word(item));
            row.push(Vocabulary::get().number(price), Class::Price);
            row.give(Words::new().say(&[","]));
        }
        row
    }

    fn arithmetic(length: usize, draw: &mut Draw) -> Self {
        let mut row = Self::opened(&[]);
        while row.tokens.len() + 6 <= length {
            let (a, sign, b, result) = match draw.weighted(&[4, 4, 2]) {
                0 => {
                    let (a, b) = (draw.number(1, 81), draw.number(1, 9));
                    (a, " +", b, a + b)
                }
                1 => {
                    let a = draw.number(1, 90);
                    let b = draw.number(1, 9.min(a));
                    (a, " -", b, a - b)
                }
                _ => {
                    let (a, b) = (draw.number(2, 9), draw.number(2, 9));
                    (a, " *", b, a * b)
                }
            };
            row.give(Words::new().number(a).say(&[sign]).number(b).say(&[" ="]));
            row.push(Vocabulary::get().number(result), Class::Result);
            row.give(Words::new().say(&[","]));
        }
        row
    }
}
