//! The words of the synthetic task: one token each, so that a text can be cut in one way only.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::json;

/// Fills rows up.
pub const PAD: u16 = 0;
/// Opens every document.
pub const BOS: u16 = 1;
/// Closes every response.
pub const EOS: u16 = 2;
/// Whatever is no word of this task.
pub const UNKNOWN: u16 = 3;

/// Questions are numbered from 1 to this.
pub const LAST_INDEX: usize = 64;
/// Quantities go from 0 to this.
pub(super) const LAST_NUMBER: usize = 99;

pub(super) const NAMES: [&str; 40] = [
    "Ada", "Abel", "Bea", "Bram", "Cleo", "Cyril", "Dora", "Dirk", "Elsa", "Emil", "Fay", "Finn",
    "Greta", "Gus", "Heidi", "Henk", "Ines", "Ivo", "Jana", "Jonas", "Kira", "Knut", "Lena",
    "Lars", "Maud", "Milo", "Nadia", "Nils", "Olive", "Oskar", "Petra", "Quinn", "Rita", "Rolf",
    "Sonia", "Sven", "Thea", "Udo", "Vita", "Yuri",
];

pub(super) const ITEMS: [&str; 24] = [
    "beads", "bells", "belts", "bowls", "candles", "chairs", "corks", "dolls", "drums", "figs",
    "forks", "gloves", "kites", "lemons", "maps", "mugs", "nails", "peaches", "ropes", "scarves",
    "seeds", "spoons", "tiles", "wheels",
];

pub(super) const GAINS: [&str; 3] = ["buys", "finds", "gets"];
pub(super) const LOSSES: [&str; 3] = ["sells", "loses", "gives"];
pub(super) const PACKS: [&str; 3] = ["bags", "boxes", "crates"];

/// All other pieces, as they stand in a text.
const PIECES: [&str; 33] = [
    "\n",
    ":",
    ".",
    ",",
    "Question_",
    "Answer_",
    "Question",
    "Answer",
    "Questions",
    "Answers",
    "Examples",
    "Prices",
    "Solve",
    " every",
    " question",
    " step",
    " by",
    " +",
    " -",
    " *",
    " =",
    " The",
    " answer",
    " is",
    " has",
    " and",
    " more",
    " of",
    " so",
    " wants",
    " dollars",
    " Finally",
    " So",
];

/// The pieces in the order of their ids.
#[derive(Debug)]
pub struct Vocabulary {
    pieces: Vec<String>,
    ids: HashMap<String, u16>,
    /// Of the quantity 0, the mention of question 1, and the heading of question 1; the others follow.
    first: [u16; 3],
}

static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(Vocabulary::new);

impl Vocabulary {
    /// The one there is.
    pub fn get() -> &'static Self {
        &VOCABULARY
    }

    fn new() -> Self {
        let mut pieces: Vec<String> =
            ["<pad>", "<bos>", "<eos>", "<unk>"].map(str::to_owned).into();
        pieces.extend(PIECES.map(str::to_owned));
        let words = GAINS.iter().chain(&LOSSES).chain(&PACKS).chain(&NAMES).chain(&ITEMS);
        pieces.extend(words.map(|word| format!(" {word}")));
        let mut first = [0; 3];
        let mut list =
            |pieces: &mut Vec<String>, texts: &mut dyn Iterator<Item = String>, of: usize| {
                first[of] = u16::try_from(pieces.len()).unwrap_or(UNKNOWN);
                pieces.extend(texts);
            };
        list(&mut pieces, &mut (0..=LAST_NUMBER).map(|number| format!(" {number}")), 0);
        list(&mut pieces, &mut (1..=LAST_INDEX).map(|index| format!(" Question_{index}")), 1);
        // A heading's colon belongs to its index: the token in front of the content is then the same in a question and in its answer.
        list(&mut pieces, &mut (1..=LAST_INDEX).map(|index| format!("{index}:")), 2);
        let ids = pieces.iter().cloned().zip(0..).collect();
        Self { pieces, ids, first }
    }

    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Never.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The token of a piece with its leading blank; [`UNKNOWN`] for a stranger.
    pub fn id(&self, piece: &str) -> u16 {
        self.ids.get(piece).copied().unwrap_or(UNKNOWN)
    }

    /// Whether a token is a quantity.
    pub(super) fn is_number(&self, token: u16) -> bool {
        (self.first[0]..self.first[1]).contains(&token)
    }

    /// Whether a token mentions a question.
    pub(super) fn is_mention(&self, token: u16) -> bool {
        (self.first[1]..self.first[2]).contains(&token)
    }

    /// Whether a token is something that can be counted or bought.
    pub(super) fn is_item(&self, token: u16) -> bool {
        let end = self.first[0];
        (end - ITEMS.len() as u16..end).contains(&token)
    }

    /// The token of a quantity.
    pub(super) const fn number(&self, number: u8) -> u16 {
        self.first[0] + number as u16
    }

    /// The token of a question's index where it is mentioned.
    pub(super) const fn mention(&self, index: u8) -> u16 {
        self.first[1] + index as u16 - 1
    }

    /// The token of a question's index where it is a heading.
    pub(super) const fn heading(&self, index: u8) -> u16 {
        self.first[2] + index as u16 - 1
    }

    /// The text of tokens: their pieces, one after the other; what opens, closes and fills is left out.
    pub fn text(&self, tokens: &[u16]) -> String {
        let words = tokens.iter().filter(|token| **token > UNKNOWN);
        words.filter_map(|token| self.pieces.get(usize::from(*token)).map(String::as_str)).collect()
    }

    /// `tokenizer.json` in the format of the library `tokenizers`.
    pub fn tokenizer(&self) -> serde_json::Value {
        let vocabulary: serde_json::Map<String, serde_json::Value> =
            self.pieces.iter().cloned().zip((0..).map(|id: u16| id.into())).collect();
        let special = |id: u16| {
            json!({
                "id": id, "content": self.pieces[usize::from(id)], "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true,
            })
        };
        let bos = &self.pieces[usize::from(BOS)];
        let opened = |texts: &[&str]| {
            let texts = texts.iter().map(|text| json!({"Sequence": {"id": text, "type_id": 0}}));
            let bos = json!({"SpecialToken": {"id": bos, "type_id": 0}});
            std::iter::once(bos).chain(texts).collect::<Vec<_>>()
        };
        json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": [special(PAD), special(BOS), special(EOS), special(UNKNOWN)],
            "normalizer": null,
            "pre_tokenizer": {
                "type": "Split",
                "pattern": {"Regex": r"\n| Question_[0-9]+| ?[A-Za-z]+_?|[0-9]+:| ?[0-9]+| ?[+\-*=]|[:.,]"},
                "behavior": "Isolated",
                "invert": false,
            },
            "post_processor": {
                "type": "TemplateProcessing",
                "single": opened(&["A"]),
                "pair": opened(&["A", "B"]),
                "special_tokens": {bos: {"id": bos, "ids": [BOS], "tokens": [bos]}},
            },
            "decoder": {"type": "Fuse"},
            "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": self.pieces[usize::from(UNKNOWN)]},
        })
    }
}
