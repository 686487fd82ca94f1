//! A prompt with many questions, and the one response that answers them all.

use super::draw::Draw;
use super::problem::{Facts, Kind, Mix, Problem, Words};
use super::vocabulary::{BOS, EOS, ITEMS, LAST_INDEX, Vocabulary};

/// Items with a price.
const PRICES: usize = 5;

/// What a document consists of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) size: Size,
    pub(super) demonstrations: usize,
    /// Index of the first question.
    pub(super) first: usize,
    /// Whether the prompt begins with the instruction and the prices.
    pub(super) headed: bool,
    /// Whether the questions stand in random order; answers never do.
    pub(super) shuffled: bool,
}

/// When there are questions enough.
#[derive(Debug, Clone, Copy)]
pub(super) enum Size {
    Questions(usize),
    /// As many as fit into so many tokens with their answers, one at least.
    Tokens(usize),
}

/// A prompt, and the response to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Document {
    /// From the first token to the line `Answers:`.
    pub(super) prompt: Vec<u16>,
    /// From `Answer_1:` to the end token.
    pub(super) response: Vec<u16>,
    pub(super) problems: Vec<Problem>,
}

impl Document {
    pub(super) fn new(layout: &Layout, mix: &Mix, draw: &mut Draw) -> Self {
        let mut facts = Facts::default();
        let mut words = Words(vec![BOS]);
        if layout.headed {
            facts.prices = prices(draw);
            words =
                words.say(&["Solve", " every", " question", " step", " by", " step", ".", "\n"]);
            words = price_list(words, &facts.prices);
        }
        if layout.demonstrations > 0 {
            words = words.say(&["Examples", ":", "\n"]);
        }
        for _ in 0..layout.demonstrations {
            let kind = draw.pick(&[Kind::Direct, Kind::MultiStep, Kind::Price]);
            let problem = Problem::new(kind, mix, &mut facts, draw);
            words =
                words.say(&["Question", ":"]).tokens(&problem.question).say(&["\n", "Answer", ":"]);
            words = concluded(words.tokens(&problem.solution).say(&["."]), problem.value);
        }
        let mut prompt = words.say(&["Questions", ":", "\n"]).0;
        // What is still to come beside questions and answers: `Answers:`, its line's end, and the end token.
        let mut used = prompt.len() + 4;
        let mut problems = Vec::new();
        for index in layout.first..=LAST_INDEX {
            let problem = Problem::new(kind(mix, draw), mix, &mut facts, draw);
            // Two headings of two tokens, two line ends, ten tokens of conclusion, and `Finally` twice if it is the last.
            let takes = problem.question.len() + problem.solution.len() + 18;
            let enough = match layout.size {
                Size::Questions(questions) => problems.len() == questions,
                Size::Tokens(tokens) => used + takes > tokens && !problems.is_empty(),
            };
            if enough {
                break;
            }
            used += takes - 2;
            facts.answers.push((index as u8, problem.value));
            problems.push(problem);
        }
        let last = problems.len() - 1;
        let numbered = || (layout.first..).zip(&problems).enumerate();
        let mut lines: Vec<Words> = numbered()
            .map(|(place, (index, problem))| {
                let words = opened(Words::new().say(&["Question_"]), index as u8, place == last);
                words.tokens(&problem.question).say(&["\n"])
            })
            .collect();
        if layout.shuffled {
            draw.shuffle(&mut lines);
        }
        prompt.extend(lines.into_iter().flat_map(|line| line.0));
        prompt = Words(prompt).say(&["Answers", ":", "\n"]).0;
        let mut response = Words::new();
        for (place, (index, problem)) in numbered() {
            response = opened(response.say(&["Answer_"]), index as u8, place == last);
            response = result(response.tokens(&problem.solution), index as u8, problem.value);
        }
        response.0.push(EOS);
        Self { prompt, response: response.0, problems }
    }
}

/// What the items of a prompt's list cost.
pub(super) fn prices(draw: &mut Draw) -> Vec<(&'static str, u8)> {
    let mut items = ITEMS;
    draw.shuffle(&mut items);
    items.into_iter().take(PRICES).map(|item| (item, draw.number(2, 9))).collect()
}

/// `Prices: beads 9, bells 2.`
pub(super) fn price_list(words: Words, prices: &[(&'static str, u8)]) -> Words {
    let mut words = words.say(&["Prices", ":"]);
    for (place, (item, price)) in prices.iter().enumerate() {
        let mark = if place + 1 < prices.len() { "," } else { "." };
        words = words.word(item).number(*price).say(&[mark]);
    }
    words.say(&["\n"])
}

/// ` The answer is 7.` and the end of the line.
fn concluded(words: Words, value: u8) -> Words {
    words.say(&[" The", " answer", " is"]).number(value).say(&[".", "\n"])
}

/// `. So Question_4 7. The answer is 7.` and the end of the line: a value stands right behind its index, where a reference finds it.
pub(super) fn result(words: Words, index: u8, value: u8) -> Words {
    concluded(words.say(&[".", " So"]).mention(index).number(value).say(&["."]), value)
}

/// The rest of a heading. The last question, and so the last answer, opens with a word of its own: an answer can tell from itself that
/// nothing follows it.
fn opened(mut words: Words, index: u8, last: bool) -> Words {
    words.0.push(Vocabulary::get().heading(index));
    if last { words.say(&[" Finally"]) } else { words }
}

pub(super) fn kind(mix: &Mix, draw: &mut Draw) -> Kind {
    Kind::ALL[draw.weighted(&[mix.direct, mix.multi_step, mix.price, mix.back, mix.pair])]
}

impl Words {
    pub(super) fn tokens(mut self, tokens: &[u16]) -> Self {
        self.0.extend(tokens);
        self
    }
}
