//! One word problem and its worked solution, in tokens.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::draw::Draw;
use super::vocabulary::{GAINS, ITEMS, LOSSES, NAMES, PACKS, Vocabulary};
use crate::error::{Error, Result};

/// The largest weight that a choice is drawn by.
pub(super) const MOST_WEIGHT: usize = 1_000_000;

/// No value is above this.
pub(super) const MOST: u8 = 90;

/// What a question needs to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Its own text, and one sum, difference or product.
    Direct,
    /// Its own text, and two of them.
    MultiStep,
    /// A price from the list at the head of the prompt.
    Price,
    /// The value of an earlier answer.
    Back,
    /// The values of two earlier answers.
    Pair,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Direct, Self::MultiStep, Self::Price, Self::Back, Self::Pair];

    /// The word used in files and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::MultiStep => "multi-step",
            Self::Price => "price",
            Self::Back => "back",
            Self::Pair => "pair",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How often each kind is asked, and what references point at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Mix {
    /// Weight of each kind. References fall back to other kinds while there is too little to refer to.
    pub direct: usize,
    #[allow(missing_docs, reason = "as above")]
    pub multi_step: usize,
    #[allow(missing_docs, reason = "as above")]
    pub price: usize,
    #[allow(missing_docs, reason = "as above")]
    pub back: usize,
    #[allow(missing_docs, reason = "as above")]
    pub pair: usize,
    /// Thousandths of references that point at an answer which was pointed at before; the others point anywhere.
    pub again: usize,
    /// References point no further back than so many questions, one at least.
    pub reach: usize,
}

impl Default for Mix {
    fn default() -> Self {
        let reach = super::vocabulary::LAST_INDEX;
        Self { direct: 34, multi_step: 20, price: 16, back: 18, pair: 12, again: 500, reach }
    }
}

impl Mix {
    /// # Errors
    /// [`Error::Unmade`] if no kind has a weight, or a weight is beyond reason.
    pub fn check(&self) -> Result<()> {
        let weights = [self.direct, self.multi_step, self.price, self.back, self.pair];
        let fault = |reason: &str| Err(Error::Unmade { reason: format!("`mix`: {reason}") });
        match weights {
            [0, 0, 0, 0, 0] => fault("one kind of question at least needs a weight"),
            _ if weights.iter().any(|weight| *weight > MOST_WEIGHT) => {
                fault("a weight is above 1000000")
            }
            _ if self.again > 1000 => fault("`again` is in thousandths: at most 1000"),
            _ if self.reach == 0 => fault("`reach` is in questions: at least 1"),
            _ => Ok(()),
        }
    }
}

/// A question, its solution and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) kind: Kind,
    /// From the name on to the full stop.
    pub(super) question: Vec<u16>,
    /// From the name on; neither full stop nor conclusion.
    pub(super) solution: Vec<u16>,
    pub(super) value: u8,
}

/// What a question may refer to.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// Items and their prices.
    pub(super) prices: Vec<(&'static str, u8)>,
    /// Indices and values of the answers so far.
    pub(super) answers: Vec<(u8, u8)>,
    /// Those that questions have referred to.
    pub(super) referred: Vec<(u8, u8)>,
}

/// Tokens, appended piece by piece.
#[derive(Debug, Clone)]
pub(super) struct Words(pub(super) Vec<u16>);

impl Words {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Pieces with their leading blanks.
    pub(super) fn say(mut self, pieces: &[&str]) -> Self {
        self.0.extend(pieces.iter().map(|piece| Vocabulary::get().id(piece)));
        self
    }

    /// A word, a blank in front of it.
    pub(super) fn word(mut self, word: &str) -> Self {
        self.0.push(Vocabulary::get().id(&format!(" {word}")));
        self
    }

    pub(super) fn number(mut self, number: u8) -> Self {
        self.0.push(Vocabulary::get().number(number));
        self
    }

    /// A question, mentioned; its value may follow.
    pub(super) fn mention(mut self, index: u8) -> Self {
        self.0.push(Vocabulary::get().mention(index));
        self
    }

    /// `a + b = c`
    pub(super) fn sum(self, a: u8, sign: &str, b: u8, result: u8) -> Self {
        self.number(a).say(&[sign]).number(b).say(&[" ="]).number(result)
    }
}

impl Problem {
    /// A question of a kind; of another one where this one has nothing to refer to.
    pub(super) fn new(kind: Kind, mix: &Mix, facts: &mut Facts, draw: &mut Draw) -> Self {
        let drawn = match kind {
            Kind::Pair => Self::pair(mix, facts, draw).or_else(|| Self::back(mix, facts, draw)),
            Kind::Back => Self::back(mix, facts, draw),
            Kind::Price => Self::price(facts, draw),
            Kind::Direct => Some(Self::direct(draw)),
            Kind::MultiStep => None,
        };
        match drawn {
            Some(problem) => problem,
            None if draw.chance(500) && kind != Kind::MultiStep => Self::direct(draw),
            None => Self::multi_step(draw),
        }
    }

    fn direct(draw: &mut Draw) -> Self {
        let (name, item) = (draw.pick(&NAMES), draw.pick(&ITEMS));
        let (asked, worked) =
            (Words::new().word(name).say(&[" has"]), Words::new().word(name).say(&[" has"]));
        let (question, solution, value) = match draw.weighted(&[14, 14, 10]) {
            0 => {
                let (a, b) = (draw.number(2, 50), draw.number(1, 9));
                let asked = asked.number(a).word(item).say(&[" and"]).word(draw.pick(&GAINS));
                (asked.number(b).say(&[" more", "."]), worked.sum(a, " +", b, a + b), a + b)
            }
            1 => {
                let a = draw.number(2, 50);
                let b = draw.number(1, 9.min(a - 1));
                let asked = asked.number(a).word(item).say(&[" and"]).word(draw.pick(&LOSSES));
                (asked.number(b).say(&["."]), worked.sum(a, " -", b, a - b), a - b)
            }
            _ => {
                let (a, b) = (draw.number(2, 9), draw.number(2, 9));
                let asked = asked.number(a).word(draw.pick(&PACKS)).say(&[" of"]).number(b);
                (asked.word(item).say(&["."]), worked.sum(a, " *", b, a * b), a * b)
            }
        };
        let solution = solution.word(item);
        Self { kind: Kind::Direct, question: question.0, solution: solution.0, value }
    }

    fn multi_step(draw: &mut Draw) -> Self {
        let (name, item) = (draw.pick(&NAMES), draw.pick(&ITEMS));
        let (asked, worked) =
            (Words::new().word(name).say(&[" has"]), Words::new().word(name).say(&[" has"]));
        let (question, solution, value) = match draw.weighted(&[4, 3, 3]) {
            0 => {
                let (a, b) = (draw.number(2, 50), draw.number(1, 9));
                let c = draw.number(1, 9.min(a + b - 1));
                let asked =
                    asked.number(a).word(item).say(&[","]).word(draw.pick(&GAINS)).number(b);
                let asked = asked.say(&[" and"]).word(draw.pick(&LOSSES)).number(c).say(&["."]);
                let value = a + b - c;
                (asked, worked.sum(a, " +", b, a + b).say(&[","]).sum(a + b, " -", c, value), value)
            }
            1 => {
                let (a, b) = (draw.number(2, 9), draw.number(2, 9));
                let c = draw.number(1, 9.min(a * b - 1));
                let asked =
                    asked.number(a).word(draw.pick(&PACKS)).say(&[" of"]).number(b).word(item);
                let asked = asked.say(&[" and"]).word(draw.pick(&LOSSES)).number(c).say(&["."]);
                let value = a * b - c;
                (asked, worked.sum(a, " *", b, a * b).say(&[","]).sum(a * b, " -", c, value), value)
            }
            _ => {
                let a = draw.number(2, 50);
                let b = draw.number(1, 9.min(a - 1));
                let c = draw.number(1, 9);
                let asked =
                    asked.number(a).word(item).say(&[","]).word(draw.pick(&LOSSES)).number(b);
                let asked = asked.say(&[" and"]).word(draw.pick(&GAINS)).number(c).say(&["."]);
                let value = a - b + c;
                (asked, worked.sum(a, " -", b, a - b).say(&[","]).sum(a - b, " +", c, value), value)
            }
        };
        let solution = solution.word(item);
        Self { kind: Kind::MultiStep, question: question.0, solution: solution.0, value }
    }

    fn price(facts: &Facts, draw: &mut Draw) -> Option<Self> {
        if facts.prices.is_empty() {
            return None;
        }
        let (name, (item, price)) = (draw.pick(&NAMES), draw.pick(&facts.prices));
        let count = draw.number(2, 9);
        let value = count * price;
        let asked = Words::new().word(name).say(&[" wants"]).number(count).word(item);
        let worked = asked.clone().say(&[","]).word(item).number(price);
        let worked = worked.say(&[",", " so"]).sum(count, " *", price, value).say(&[" dollars"]);
        let question = asked.say(&["."]);
        Some(Self { kind: Kind::Price, question: question.0, solution: worked.0, value })
    }

    fn back(mix: &Mix, facts: &mut Facts, draw: &mut Draw) -> Option<Self> {
        let (index, earlier) = facts.reference(MOST, mix, draw)?;
        let (name, item) = (draw.pick(&NAMES), draw.pick(&ITEMS));
        let rises = earlier < 2 || earlier <= 80 && draw.chance(500);
        let change = draw.number(1, if rises { 9 } else { 9.min(earlier) });
        let asked = Words::new().word(name).say(&[" has"]).mention(index).word(item).say(&[" and"]);
        let worked =
            Words::new().word(name).say(&[" has"]).mention(index).number(earlier).say(&[","]);
        let (asked, worked, value) = if rises {
            let asked = asked.word(draw.pick(&GAINS)).number(change).say(&[" more", "."]);
            (asked, worked.sum(earlier, " +", change, earlier + change), earlier + change)
        } else {
            let asked = asked.word(draw.pick(&LOSSES)).number(change).say(&["."]);
            (asked, worked.sum(earlier, " -", change, earlier - change), earlier - change)
        };
        facts.referred.push((index, earlier));
        Some(Self { kind: Kind::Back, question: asked.0, solution: worked.word(item).0, value })
    }

    /// The second value is small, so that no more sums need to be known than of the other kinds.
    fn pair(mix: &Mix, facts: &mut Facts, draw: &mut Draw) -> Option<Self> {
        let (second, b) = facts.reference(9, mix, draw)?;
        let other = (0..12).find_map(|_| {
            facts.reference(MOST - b, mix, draw).filter(|(index, _)| *index != second)
        });
        let (first, a) = other?;
        let (name, item) = (draw.pick(&NAMES), draw.pick(&ITEMS));
        let asked = Words::new()
            .word(name)
            .say(&[" has"])
            .mention(first)
            .say(&[" and"])
            .mention(second)
            .word(item);
        let worked = Words::new().word(name).say(&[" has"]).mention(first).number(a);
        let worked = worked
            .say(&[" and"])
            .mention(second)
            .number(b)
            .say(&[","])
            .sum(a, " +", b, a + b)
            .word(item);
        facts.referred.extend([(first, a), (second, b)]);
        Some(Self {
            kind: Kind::Pair,
            question: asked.say(&["."]).0,
            solution: worked.0,
            value: a + b,
        })
    }
}

impl Facts {
    /// An earlier answer to refer to, of a value up to `most`.
    fn reference(&self, most: u8, mix: &Mix, draw: &mut Draw) -> Option<(u8, u8)> {
        let near = self.answers.len().saturating_sub(mix.reach);
        let near = &self.answers[near..];
        let (oldest, _) = *near.first()?;
        let small = |answers: &[(u8, u8)]| -> Vec<(u8, u8)> {
            let fits = |&(index, value): &(u8, u8)| index >= oldest && value <= most;
            answers.iter().copied().filter(fits).collect()
        };
        let (again, any) = (small(&self.referred), small(near));
        if !again.is_empty() && draw.chance(mix.again) {
            return Some(draw.pick(&again));
        }
        (!any.is_empty()).then(|| draw.pick(&any))
    }
}
