//! Commands that run a model over one text.

use std::path::Path;

use anyhow::Result;
use runner::{Engine, Job, Limits, Message, Model, Outcome, read_up_to};
use serde_json::json;
use zoo::{Arm, Context, Counters};

use super::{print, print_json};
use crate::arm::parse_arm;
use crate::cli::{GenerateArgs, NllArgs, TextFormat};
use crate::fault::Fault;
use crate::models;

/// The longest text, ten times what the longest context holds.
const TEXT_BYTES: u64 = 16 << 20;

/// `bench generate`
pub(crate) fn generate(args: &GenerateArgs) -> Result<()> {
    let context = Context { max_new_tokens: args.max_new_tokens };
    let policies = parse_arm(args.arm.as_deref())?.policies(context)?;
    if args.max_new_tokens == 0 {
        return Err(Fault::usage("`--max-new-tokens` must be at least 1").into());
    }
    let prompt = match (&args.prompt, &args.prompt_file) {
        (Some(prompt), _) => prompt.clone(),
        (None, Some(path)) => read_text(path)?,
        (None, None) => return Err(Fault::usage("give `--prompt` or `--prompt-file`").into()),
    };
    let model = models::load(&args.model)?;
    let tokenizer = model.tokenizer();
    let tokens = if args.raw || tokenizer.template().is_none() {
        tokenizer.encode(&prompt)?
    } else {
        tokenizer.encode_chat(&[Message::new("user", prompt)])?
    };
    let limits = Limits {
        max_new_tokens: args.max_new_tokens,
        end_tokens: tokenizer.end_tokens().to_vec(),
        min_new_tokens: 0,
        stop_on_loop: false,
    };
    let prefilled = model.prefill(&tokens, &policies.observations().collect::<Vec<_>>())?;
    let counters = Counters::default();
    let job = Job { policies, counters, limits, forced: None, seed: args.seed };
    let outcome = Engine::run(&model, &prefilled, &job)?;
    let text = tokenizer.decode(&outcome.tokens)?;
    match args.format {
        TextFormat::Json => print_json(&json!({
            "prompt_tokens": tokens,
            "tokens": outcome.tokens,
            "text": text,
            "stop": outcome.stop.as_str(),
            "ttft_ms": prefilled.elapsed().as_secs_f64() * 1e3,
            "decode_tok_s": decode_rate(&outcome),
            "kv_bytes_peak": outcome.bytes_peak,
            "evictions": outcome.evictions,
            "kept_end_prefill": outcome.kept_end_prefill,
            "kept_end_decode": outcome.kept_end_decode,
        })),
        TextFormat::Table => print(&format!("{text}\n")),
    }
}

/// Tokens per second after the first; none where there was only one.
fn decode_rate(outcome: &Outcome) -> Option<f64> {
    let steps = outcome.tokens.len() - 1;
    (steps > 0).then(|| steps as f64 / outcome.decode.as_secs_f64())
}

/// `bench nll`
pub(crate) fn nll(args: &NllArgs) -> Result<()> {
    let arm = parse_arm(args.arm.as_deref())?;
    let model = models::load(&args.model)?;
    let tokens = model.tokenizer().encode(&read_text(&args.text_file)?)?;
    if tokens.len() < 2 {
        return Err(Fault::usage(format!(
            "`{}` holds fewer than two tokens",
            args.text_file.display()
        ))
        .into());
    }
    let (prompt, logprobs) = if args.arm.is_some() {
        let prompt = args.prompt_tokens.unwrap_or(tokens.len() / 2);
        if prompt == 0 || prompt >= tokens.len() {
            let message = format!(
                "`--prompt-tokens` = {prompt}: give 1 to {} for this text",
                tokens.len() - 1
            );
            return Err(Fault::usage(message).into());
        }
        (prompt, decode_under(&model, &tokens, prompt, &arm, args.seed)?)
    } else {
        (1, model.log_probabilities(&tokens)?)
    };
    let mean = |values: &[f32]| {
        -values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len() as f64
    };
    let (all, decoded) = (mean(&logprobs), mean(&logprobs[prompt - 1..]));
    match args.format {
        TextFormat::Json => print_json(&json!({
            "tokens": tokens,
            "logprobs": std::iter::once(None).chain(logprobs.iter().map(|&value| Some(value))).collect::<Vec<_>>(),
            "nll": all,
            "nll_decoded": decoded,
            "positions": logprobs.len(),
            "prompt_tokens": prompt,
        })),
        TextFormat::Table => print(&format!(
            "{} tokens, nll {all:.6}, behind the first {prompt} {decoded:.6}\n",
            tokens.len()
        )),
    }
}

/// Log-probabilities of all tokens but the first: those of the prompt with the full cache, the rest decoded under an arm.
fn decode_under(
    model: &Model,
    tokens: &[u32],
    prompt: usize,
    arm: &Arm,
    seed: u64,
) -> Result<Vec<f32>> {
    let (head, tail) = tokens.split_at(prompt);
    let policies = arm.policies(Context { max_new_tokens: tail.len() })?;
    let prefilled = model.prefill(head, &policies.observations().collect::<Vec<_>>())?;
    let job = Job {
        policies,
        counters: Counters::default(),
        limits: Limits::exactly(tail.len()),
        forced: Some(tail.to_vec()),
        seed,
    };
    let mut logprobs = model.log_probabilities(head)?;
    logprobs.extend(Engine::run(model, &prefilled, &job)?.logprobs);
    Ok(logprobs)
}

/// A text from a file of the user's.
pub(super) fn read_text(path: &Path) -> Result<String> {
    let fault = |error: &dyn std::fmt::Display| {
        Fault::data(format!("cannot read `{}`: {error}", path.display()))
    };
    let bytes = read_up_to(path, TEXT_BYTES).map_err(|error| fault(&error))?;
    String::from_utf8(bytes).map_err(|error| fault(&error).into())
}
