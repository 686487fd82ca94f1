//! What must hold for every method, on a tiny model whose cache really overflows.
#![allow(clippy::float_cmp, reason = "means of equal counts are exact")]

mod support;

use runner::{Model, Outcome};
use support::{bits, every_arm, job, prefill, prompt, tiny, together};
use zoo::methods::{Full, Never, Random, Slide};
use zoo::{
    Allocate, Arm, Context, Decode, Granularity, Layer, Mode, Policies, Prefill, PrefillPolicy,
};

const PROMPT: usize = 300;
const OUTPUT: usize = 120;
/// Entries in a page of the cache.
const PAGE: usize = 64;

fn full() -> Arm {
    arm(Prefill::Full(Full {}), Decode::None(Never {}))
}

fn arm(prefill: Prefill, decode: Decode) -> Arm {
    Arm::new("arm", prefill, decode)
}

/// Runs arms together over one prompt.
fn run(model: &Model, tokens: &[u32], arms: &[Arm], new_tokens: usize) -> Vec<Outcome> {
    let jobs: Vec<_> = arms.iter().map(|arm| job(arm, new_tokens)).collect();
    together(model, &prefill(model, tokens, &jobs), &jobs, jobs.len())
}

fn pages(entries: usize) -> usize {
    entries.next_multiple_of(PAGE)
}

#[test]
fn a_budget_that_covers_the_run_changes_no_token() {
    let tokens = prompt(1, PROMPT);
    let expected = &run(tiny(), &tokens, &[full()], OUTPUT)[0];
    let just_enough = every_arm((PROMPT, PROMPT / 3), (OUTPUT, OUTPUT / 3));
    let plenty = every_arm((2048, 1024), (512, 256));
    for arms in [just_enough, plenty] {
        assert!(arms.len() >= 60, "{} arms", arms.len());
        for (arm, outcome) in arms.iter().zip(run(tiny(), &tokens, &arms, OUTPUT)) {
            assert_eq!(outcome.tokens, expected.tokens, "{}", arm.label);
            assert_eq!(outcome.evictions, 0, "{}", arm.label);
            assert_eq!(outcome.kept_end_decode, (PROMPT + OUTPUT - 1) as f64, "{}", arm.label);
        }
    }
}

#[test]
fn a_budget_that_does_not_cover_the_run_changes_some() {
    let tokens = prompt(1, PROMPT);
    let expected = &run(tiny(), &tokens, &[full()], OUTPUT)[0];
    let arms = every_arm((128, 32), (48, 16));
    for (arm, outcome) in arms.iter().zip(run(tiny(), &tokens, &arms, OUTPUT)) {
        let compresses = *arm != Arm { label: arm.label.clone(), ..full() };
        assert_eq!(outcome.tokens != expected.tokens, compresses, "{}", arm.label);
    }
}

#[test]
fn what_is_kept_and_allocated_stays_within_the_budget() {
    let model = tiny();
    let (layers, kv_heads) = (model.config().layers, model.config().kv_heads);
    let entry_bytes = model.config().token_bytes(model.cache_number_bytes());
    let arms = every_arm((128, 32), (48, 16));
    for (arm, outcome) in arms.iter().zip(run(model, &prompt(2, PROMPT), &arms, OUTPUT)) {
        let policies = arm.policies(Context { max_new_tokens: OUTPUT }).unwrap();
        let Policies { prefill, decode, .. } = &policies;
        let mean = |of: &dyn Fn(Layer) -> usize| {
            Layer::all(layers).map(of).sum::<usize>() as f64 / layers as f64
        };
        let pool = mean(&|layer| prefill.pool(PROMPT, layer));
        let peak = mean(&|layer| decode.schedule.peak(prefill.pool(PROMPT, layer), OUTPUT, layer));
        assert_eq!(outcome.kept_end_prefill, pool, "{}", arm.label);
        assert!(outcome.kept_end_decode <= peak, "{}: {}", arm.label, outcome.kept_end_decode);
        let most = outcome.trace.iter().copied().fold(0.0, f32::max);
        assert!(f64::from(most) <= peak + 1e-3, "{}: {most}", arm.label);

        let fed = OUTPUT - 1; // the last token is never read back
        let gone = pool + fed as f64 - outcome.kept_end_decode;
        assert_eq!(outcome.evictions as f64, gone * (layers * kv_heads) as f64, "{}", arm.label);

        let slots = |layer| {
            let pool = prefill.pool(PROMPT, layer);
            let within_a_step = decode.schedule.peak(pool, OUTPUT, layer) - pool + 1; // this step's own entry is in before another goes
            if decode.spares_prompt() {
                pages(pool) + pages(within_a_step)
            } else {
                pages(pool + within_a_step)
            }
        };
        let slots: usize = Layer::all(layers).map(slots).sum();
        let sums = if decode.accumulates() { kv_heads * size_of::<f32>() } else { 0 };
        let most = slots * (entry_bytes / layers + sums);
        assert!(outcome.bytes_peak <= most, "{}: {} bytes", arm.label, outcome.bytes_peak);
    }
}

#[test]
fn slide_allocates_the_prompt_and_its_window_and_not_a_page_more() {
    let model = tiny();
    let entry_bytes = model.config().token_bytes(model.cache_number_bytes());
    for budget in [40, 63, 64, 100] {
        let slide =
            arm(Prefill::Full(Full {}), Decode::Slide(Slide { budget, recent: budget / 2 }));
        let outcome = &run(model, &prompt(3, PROMPT), &[slide], OUTPUT)[0];
        assert_eq!(
            outcome.bytes_peak,
            (pages(PROMPT) + pages(budget + 1)) * entry_bytes,
            "budget {budget}"
        );
        assert_eq!(outcome.kept_end_decode, (PROMPT + budget) as f64);
    }
}

#[test]
fn a_cache_per_query_head_decides_the_same_where_nothing_is_dropped_and_costs_its_group() {
    let model = tiny();
    let tokens = prompt(7, PROMPT);
    let per_kv_head = arm(Prefill::Full(Full {}), Decode::Slide(Slide { budget: 48, recent: 16 }));
    let granularity = Some(Granularity::QueryHead);
    let per_query_head = Arm { granularity, ..per_kv_head.clone() };
    let all = Arm { granularity, ..full() };
    let outcomes = run(model, &tokens, &[full(), all, per_kv_head, per_query_head], OUTPUT);
    let group = model.config().query_heads / model.config().kv_heads;
    assert!(group > 1);
    assert_eq!(outcomes[0].tokens, outcomes[1].tokens);
    assert_eq!(outcomes[1].bytes_peak, group * outcomes[0].bytes_peak);
    assert_eq!(outcomes[3].bytes_peak, group * outcomes[2].bytes_peak);
    assert_eq!(outcomes[3].evictions, group as u64 * outcomes[2].evictions);
}

#[test]
fn every_published_pair_runs_in_reference_mode_and_evicts() {
    let arms: Vec<Arm> = every_arm((128, 32), (48, 16))
        .into_iter()
        .map(|arm| Arm { mode: Mode::Reference, ..arm })
        .filter(|arm| arm.policies(Context { max_new_tokens: OUTPUT }).is_ok())
        .collect();
    assert_eq!(arms.len(), 42, "6 prefill methods, 7 decode methods");
    let tokens = prompt(8, PROMPT);
    let full = &run(tiny(), &tokens, &[full()], OUTPUT)[0];
    for (arm, outcome) in arms.iter().zip(run(tiny(), &tokens, &arms, OUTPUT)) {
        let keeps_all = (arm.prefill.name(), arm.decode.name()) == ("full", "none");
        assert_eq!(outcome.tokens == full.tokens, keeps_all, "{}", arm.label);
    }
}

#[test]
fn the_seed_decides_what_random_keeps_and_nothing_else() {
    let model = tiny();
    let tokens = prompt(4, PROMPT);
    let by_chance = arm(Prefill::Full(Full {}), Decode::Random(Random { budget: 32, recent: 8 }));
    let by_score = arm(Prefill::Full(Full {}), Decode::Slide(Slide { budget: 32, recent: 8 }));
    let text = |arm: &Arm, seed: u64| {
        let job = runner::Job { seed, ..job(arm, OUTPUT) };
        together(model, &prefill(model, &tokens, &[]), &[job], 1).remove(0).tokens
    };
    assert_eq!(text(&by_chance, 1), text(&by_chance, 1));
    assert_ne!(text(&by_chance, 1), text(&by_chance, 2));
    assert_eq!(text(&by_score, 1), text(&by_score, 2));
}

#[test]
fn a_prefill_that_draws_draws_for_each_seed_anew() {
    let model = tiny();
    let selector = zoo::Selector::new([zoo::Pin::Recent(8)], zoo::Score::Random);
    let prefill_policy = PrefillPolicy::Budget { allocate: Allocate::Uniform(64), selector };
    let jobs = [1, 2, 1].map(|seed| runner::Job {
        policies: Policies { prefill: prefill_policy.clone(), ..Policies::full() },
        seed,
        ..job(&full(), OUTPUT)
    });
    let prefilled = prefill(model, &prompt(4, PROMPT), &jobs);
    let side_by_side = together(model, &prefilled, &jobs, 3);
    let one_by_one = together(model, &prefilled, &jobs, 1);
    for (a, b) in side_by_side.iter().zip(&one_by_one) {
        assert_eq!(a.tokens, b.tokens);
    }
    assert_ne!(side_by_side[0].tokens, side_by_side[1].tokens);
    assert_eq!(side_by_side[0].tokens, side_by_side[2].tokens);
}

#[test]
fn no_state_crosses_from_one_prompt_to_the_next() {
    let model = tiny();
    let jobs: Vec<_> = every_arm((128, 32), (48, 16)).iter().map(|arm| job(arm, OUTPUT)).collect();
    let (first, second) = (prompt(5, PROMPT), prompt(6, 280));
    let alone = together(model, &prefill(model, &second, &jobs), &jobs, jobs.len());

    let mut engine = runner::Engine::new(model, jobs.len());
    let mut after = Vec::new();
    for (number, tokens) in [first, second].iter().enumerate() {
        let prefilled = prefill(model, tokens, &jobs);
        for job in &jobs {
            engine.start(&prefilled, job).unwrap();
        }
        while !engine.is_idle() {
            let ended = engine.step().unwrap();
            after.extend(ended.into_iter().filter(|_| number == 1));
        }
    }
    after.sort_by_key(|(id, _)| *id);
    for ((_, after), alone) in after.iter().zip(&alone) {
        assert_eq!(bits(after), bits(alone));
    }
    assert_eq!(after.len(), alone.len());
}
