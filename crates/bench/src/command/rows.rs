//! `bench dataset rows` and `tokenizer`: what a model of the synthetic task is trained on, and with.

use std::io::{BufRead as _, Read as _, Write as _};

use anyhow::{Context as _, Result};
use evaluator::synthetic::{Request, Row, Vocabulary};

use super::print;
use crate::fault::Fault;

/// Most tokens that one request may ask for.
const MOST_TOKENS: usize = 1 << 24;
/// The longest request.
const LINE_BYTES: u64 = 1 << 16;

/// Answers each line of stdin, a request, with its rows: for each row its length in four bytes, its tokens in two bytes each, and
/// a byte per token for its class; least bytes first.
pub(crate) fn rows() -> Result<()> {
    let mut out = std::io::stdout().lock();
    let mut requests = std::io::stdin().lock();
    for place in 1.. {
        let fault = |reason: String| {
            Fault::data(format!("line {place} of stdin: {reason}"))
                .hint(r#"as in {"seed": 1, "split": "train", "length": 256, "rows": 8, "shares": {"document": 1}}"#)
        };
        let mut line = String::new();
        let read = requests.by_ref().take(LINE_BYTES).read_line(&mut line);
        match read.map_err(|error| fault(error.to_string()))? as u64 {
            0 => break,
            LINE_BYTES => return Err(fault("it is too long".to_owned()).into()),
            _ => {}
        }
        let request: Request =
            serde_json::from_str(&line).map_err(|error| fault(error.to_string()))?;
        request.check().map_err(|error| fault(error.to_string()))?;
        if request.length < 64 || request.rows.saturating_mul(request.length) > MOST_TOKENS {
            let reason = format!(
                "`length` must be at least 64, and `rows` of it at most {MOST_TOKENS} tokens"
            );
            return Err(fault(reason).into());
        }
        let bytes: Vec<u8> = request.rows().iter().flat_map(bytes).collect();
        out.write_all(&bytes).and_then(|()| out.flush()).context("cannot write to stdout")?;
    }
    Ok(())
}

fn bytes(row: &Row) -> Vec<u8> {
    let mut bytes = (row.tokens.len() as u32).to_le_bytes().to_vec();
    bytes.extend(row.tokens.iter().flat_map(|token| token.to_le_bytes()));
    bytes.extend(row.classes.iter().map(|class| *class as u8));
    bytes
}

/// Prints the tokenizer.
pub(crate) fn tokenizer() -> Result<()> {
    print(&format!("{:#}\n", Vocabulary::get().tokenizer()))
}
