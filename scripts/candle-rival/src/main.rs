//! candle's own quantised Llama, timed: `candle-rival MODEL.gguf prefill N` or `candle-rival MODEL.gguf decode DEPTH GEN`.
//!
//! One line of JSON is printed: how many tokens a second. Threads are rayon's: set `RAYON_NUM_THREADS`.

use std::fs::File;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use candle_core::quantized::gguf_file::Content;
use candle_core::{D, Device, Tensor};
use candle_transformers::models::quantized_llama::ModelWeights;

/// The model's own limit: it makes no more cosines and sines than this.
const POSITIONS: usize = 4096;
/// Depths are reached in pieces, since a piece of `n` makes `n × n` scores for each head.
const PIECE: usize = 512;
const WARM: usize = 4;

fn load(path: &str) -> Result<ModelWeights> {
    let mut file = File::open(path).with_context(|| format!("opening {path}"))?;
    let content = Content::read(&mut file)?;
    Ok(ModelWeights::from_gguf(content, &mut file, &Device::Cpu)?)
}

/// Any tokens will do; these are some of the vocabulary's ordinary ones.
fn tokens(count: usize) -> Vec<u32> {
    (0..count as u32).map(|place| 1000 + (7919 * place) % 40000).collect()
}

/// Feeds tokens and reads the most likely next one.
fn feed(model: &mut ModelWeights, ids: &[u32], position: usize) -> Result<u32> {
    let ids = Tensor::new(ids, &Device::Cpu)?.unsqueeze(0)?;
    let logits = model.forward(&ids, position)?;
    Ok(logits.argmax(D::Minus1)?.flatten_all()?.to_vec1::<u32>()?[0])
}

/// Leaves `depth` tokens in the cache. Position 0 empties it first.
fn fill(model: &mut ModelWeights, depth: usize) -> Result<()> {
    for (piece, ids) in tokens(depth).chunks(PIECE).enumerate() {
        feed(model, ids, piece * PIECE)?;
    }
    Ok(())
}

fn steps(model: &mut ModelWeights, from: usize, count: usize) -> Result<()> {
    let mut token = 1000;
    for position in from..from + count {
        token = feed(model, &[token], position)?;
    }
    Ok(())
}

fn prefill(model: &mut ModelWeights, count: usize) -> Result<f64> {
    fill(model, WARM)?;
    let ids = tokens(count);
    let started = Instant::now();
    feed(model, &ids, 0)?;
    Ok(count as f64 / started.elapsed().as_secs_f64())
}

fn decode(model: &mut ModelWeights, depth: usize, count: usize) -> Result<f64> {
    fill(model, depth)?;
    steps(model, depth, WARM)?;
    let started = Instant::now();
    steps(model, depth + WARM, count)?;
    Ok(count as f64 / started.elapsed().as_secs_f64())
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let [path, what, numbers @ ..] = words.as_slice() else {
        bail!("usage: MODEL.gguf prefill N | decode DEPTH GEN")
    };
    let numbers = numbers.iter().map(|word| word.parse()).collect::<Result<Vec<usize>, _>>()?;
    if numbers.iter().sum::<usize>() + WARM > POSITIONS {
        bail!("candle's quantised Llama stops at {POSITIONS} positions");
    }
    let mut model = load(path)?;
    let rate = match (*what, numbers.as_slice()) {
        ("prefill", &[count]) => prefill(&mut model, count)?,
        ("decode", &[depth, count]) => decode(&mut model, depth, count)?,
        _ => bail!("usage: MODEL.gguf prefill N | decode DEPTH GEN"),
    };
    println!("{{\"tok_s\": {rate}, \"candle\": \"{}\"}}", env!("CARGO_PKG_VERSION"));
    Ok(())
}
