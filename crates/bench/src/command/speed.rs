//! `bench speed`: tokens per second of prefill and of decoding.

use std::time::Duration;

use anyhow::Result;
use evaluator::statistics::SplitMix64;
use runner::{Engine, Instructions, Job, Limits, Model, Prefilled};
use serde::Serialize;
use serde_json::json;
use zoo::{Context, Counters, Observation, Policies};

use super::{print, print_json};
use crate::arm::parse_arm;
use crate::cli::{IsaArg, SpeedArgs, TextFormat};
use crate::fault::Fault;
use crate::models;
use crate::report::table::Table;

/// What the tokens are drawn from: which they are does not matter to the clock.
const SEED: u64 = 7;

/// One point of the grid.
#[derive(Debug, Clone, Serialize)]
struct Speed {
    test: &'static str,
    /// Tokens that were read.
    prompt: usize,
    /// Tokens in front of the first that was measured.
    depth: usize,
    lanes: usize,
    arm: String,
    /// Tokens per second, all lanes together: the median of the rounds.
    tok_s_median: f64,
    tok_s_min: f64,
    tok_s_max: f64,
    /// Most bytes that a lane's cache took, shared entries included.
    kv_bytes: usize,
    /// Share of a step that the policy took.
    policy_share: f64,
}

/// An arm under the words that asked for it.
struct Labelled {
    label: String,
    policies: Policies,
}

/// What a round of a point measured.
struct Round {
    tokens: usize,
    elapsed: Duration,
    kv_bytes: usize,
    policy: f64,
}

/// `bench speed`
pub(crate) fn speed(args: &SpeedArgs) -> Result<()> {
    check(args)?;
    limit(args)?;
    let arms = arms(args)?;
    let model = models::load(&args.model)?;
    fits(args, &model)?;
    let mut rows = Vec::new();
    for &prompt in &args.prompt {
        for arm in &arms {
            rows.push(prefill(args, &model, prompt, arm)?);
        }
    }
    for &depth in &args.depth {
        rows.extend(decode(args, &model, depth, &arms)?);
    }
    match args.format {
        TextFormat::Json => print_json(&json!({
            "device": args.model.machine.device,
            "model": args.model.model,
            "weights": args.model.weights,
            "threads": threads(),
            "isa": on_cpu(args).then(|| isa_name(Instructions::in_use())),
            "rows": rows,
        })),
        TextFormat::Table => print(&table(&rows).markdown()),
    }
}

/// Keeps the host from instructions that were not asked for, and says so if it has not got those that were.
fn limit(args: &SpeedArgs) -> Result<()> {
    let Some(isa) = args.isa else { return Ok(()) };
    if !on_cpu(args) {
        let message = format!("`--isa` says nothing of `--device {}`", args.model.machine.device);
        return Err(Fault::usage(message).hint("it is for `cpu`").into());
    }
    let most = match isa {
        IsaArg::Scalar => Instructions::Scalar,
        IsaArg::Avx2 => Instructions::Avx2,
        IsaArg::Avx512 => Instructions::Avx512,
    };
    // Nothing has computed yet, so nothing was said before.
    let _ = Instructions::limit(most);
    let found = Instructions::in_use();
    if found == most {
        return Ok(());
    }
    let message = format!("`--isa {}`: this machine does not have them", isa_name(most));
    Err(Fault::usage(message).hint(format!("it has `{}`", isa_name(found))).into())
}

fn on_cpu(args: &SpeedArgs) -> bool {
    args.model.machine.device == "cpu"
}

/// As the command line spells it.
fn isa_name(instructions: Instructions) -> &'static str {
    match instructions {
        Instructions::Scalar => "scalar",
        Instructions::Avx2 => "avx2",
        Instructions::Avx512 => "avx512",
    }
}

/// As `threads::fix` has set them.
fn threads() -> Option<usize> {
    std::env::var("RAYON_NUM_THREADS").ok()?.parse().ok()
}

fn check(args: &SpeedArgs) -> Result<()> {
    let zero = [
        ("--prompt", args.prompt.contains(&0)),
        ("--lanes", args.lanes.contains(&0)),
        ("--gen", args.generate == 0),
        ("--repeat", args.repeat == 0),
    ];
    match zero.into_iter().find(|(_, zero)| *zero) {
        Some((flag, _)) => Err(Fault::usage(format!("`{flag}` must be at least 1")).into()),
        None => Ok(()),
    }
}

fn fits(args: &SpeedArgs, model: &Model) -> Result<()> {
    let context = model.config().context;
    let depths = args.depth.iter().map(|depth| depth.max(&1) + args.warm + args.generate + 1);
    match args.prompt.iter().copied().chain(depths).find(|tokens| *tokens > context) {
        Some(tokens) => {
            let message = format!("{tokens} tokens do not fit the model's context of {context}");
            Err(Fault::usage(message)
                .hint("lower `--prompt`, `--depth`, `--warm` or `--gen`")
                .into())
        }
        None => Ok(()),
    }
}

fn arms(args: &SpeedArgs) -> Result<Vec<Labelled>> {
    let context = Context { max_new_tokens: args.warm + args.generate };
    let texts =
        if args.arms.is_empty() { vec![None] } else { args.arms.iter().map(Some).collect() };
    let arms = texts.into_iter().map(|text| {
        let policies = parse_arm(text.map(String::as_str))?.policies(context)?;
        Ok(Labelled { label: text.map_or_else(|| "full".to_owned(), Clone::clone), policies })
    });
    arms.collect()
}

fn tokens(model: &Model, count: usize) -> Vec<u32> {
    let mut draw = SplitMix64::new(SEED);
    (0..count).map(|_| draw.below(model.config().vocabulary) as u32).collect()
}

/// Reading a prompt, with what the arm wants recorded.
fn prefill(args: &SpeedArgs, model: &Model, prompt: usize, arm: &Labelled) -> Result<Speed> {
    let tokens = tokens(model, prompt);
    let observations: Vec<Observation> = arm.policies.observations().collect();
    model.prefill(&tokens[..prompt.min(32)], &observations)?;
    let rounds = (0..args.repeat).map(|_| {
        let prefilled = model.prefill(&tokens, &observations)?;
        Ok(Round {
            tokens: prompt,
            elapsed: prefilled.elapsed(),
            kv_bytes: prompt * model.config().token_bytes(model.cache_number_bytes()),
            policy: 0.0,
        })
    });
    let rounds: Vec<Round> = rounds.collect::<Result<_>>()?;
    Ok(Speed::new("prefill", (prompt, 0, 1), arm, &rounds))
}

/// Steps behind a prompt, for all numbers of lanes and all arms, in rounds, so that a machine that slows down slows all of them.
fn decode(args: &SpeedArgs, model: &Model, depth: usize, arms: &[Labelled]) -> Result<Vec<Speed>> {
    let observations: Vec<Observation> =
        arms.iter().flat_map(|arm| arm.policies.observations()).collect();
    let prompt = depth.max(1);
    let prefilled = model.prefill(&tokens(model, prompt), &observations)?;
    let points: Vec<(usize, &Labelled)> =
        args.lanes.iter().flat_map(|&lanes| arms.iter().map(move |arm| (lanes, arm))).collect();
    let mut rounds: Vec<Vec<Round>> = points.iter().map(|_| Vec::new()).collect();
    for _ in 0..args.repeat {
        for (rounds, (lanes, arm)) in rounds.iter_mut().zip(&points) {
            rounds.push(round(args, model, &prefilled, *lanes, arm)?);
        }
    }
    let rows = points.into_iter().zip(&rounds);
    Ok(rows
        .map(|((lanes, arm), rounds)| {
            Speed::new("decode", (prompt, depth + args.warm, lanes), arm, rounds)
        })
        .collect())
}

fn round(
    args: &SpeedArgs,
    model: &Model,
    prefilled: &Prefilled,
    lanes: usize,
    arm: &Labelled,
) -> Result<Round> {
    let steps = args.warm + args.generate;
    let job = Job {
        policies: arm.policies.clone(),
        counters: Counters::default(),
        limits: Limits::exactly(steps + 1),
        forced: Some(tokens(model, steps + 1)),
        seed: SEED,
    };
    let mut engine = Engine::new(model, lanes);
    for _ in 0..lanes {
        engine.start(prefilled, &job)?;
    }
    for _ in 0..args.warm {
        engine.step()?;
    }
    let before = engine.elapsed();
    let mut outcomes = Vec::new();
    while !engine.is_idle() {
        outcomes.extend(engine.step()?);
    }
    let policy = |outcome: &runner::Outcome| {
        outcome.policy.as_secs_f64() / outcome.decode.as_secs_f64().max(f64::MIN_POSITIVE)
    };
    Ok(Round {
        tokens: lanes * args.generate,
        elapsed: engine.elapsed().saturating_sub(before),
        kv_bytes: outcomes.iter().map(|(_, outcome)| outcome.bytes_peak).max().unwrap_or(0),
        policy: outcomes.iter().map(|(_, outcome)| policy(outcome)).sum::<f64>(),
    })
}

impl Speed {
    fn new(
        test: &'static str,
        (prompt, depth, lanes): (usize, usize, usize),
        arm: &Labelled,
        rounds: &[Round],
    ) -> Self {
        let rate = |round: &Round| round.tokens as f64 / round.elapsed.as_secs_f64();
        let mut rates: Vec<f64> = rounds.iter().map(rate).collect();
        rates.sort_by(f64::total_cmp);
        let middle = rates.len() / 2;
        let median = if rates.len() % 2 == 1 {
            rates[middle]
        } else {
            f64::midpoint(rates[middle - 1], rates[middle])
        };
        Self {
            test,
            prompt,
            depth,
            lanes,
            arm: arm.label.clone(),
            tok_s_median: median,
            tok_s_min: rates[0],
            tok_s_max: rates[rates.len() - 1],
            kv_bytes: rounds.iter().map(|round| round.kv_bytes).max().unwrap_or(0),
            policy_share: rounds.iter().map(|round| round.policy).sum::<f64>()
                / rounds.len() as f64,
        }
    }
}

fn table(rows: &[Speed]) -> Table {
    let head = [
        "test",
        "arm",
        "prompt",
        "depth",
        "lanes",
        "tok/s",
        "least",
        "most",
        "cache, MB",
        "policy, %",
    ];
    let rows = rows.iter().map(|row| {
        [
            row.test.to_owned(),
            row.arm.clone(),
            row.prompt.to_string(),
            row.depth.to_string(),
            row.lanes.to_string(),
            format!("{:.1}", row.tok_s_median),
            format!("{:.1}", row.tok_s_min),
            format!("{:.1}", row.tok_s_max),
            format!("{:.1}", row.kv_bytes as f64 / 1e6),
            format!("{:.1}", 100.0 * row.policy_share),
        ]
    });
    Table::new(head, rows)
}
