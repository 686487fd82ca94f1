//! A lane's numbers are its own: whoever shares its batch, in whatever order, on however many threads.

mod support;

use std::hash::{DefaultHasher, Hash, Hasher};

use runner::{Engine, Job, Limits, Model, Outcome, Prefilled, Weights};
use support::{
    Tiny, bits, every_arm, in_a_process, job, load, prefill, prompt, resized, tiny, together,
};
use zoo::{Arm, Context, Decode, Granularity, Mode, Policies, Prefill};

const OUTPUT: usize = 32;

/// Eight arms, from each prefill and each decode method, half of them with a text of their own to follow.
fn eight_jobs() -> Vec<Job> {
    let arms = every_arm((96, 24), (16, 6));
    let picked = arms.iter().step_by(arms.len() / 7 - 1).take(8);
    let jobs: Vec<Job> = picked
        .zip(0..)
        .map(|(arm, number)| Job {
            forced: (number % 2 == 0).then(|| prompt(100 + number, OUTPUT)),
            ..job(arm, OUTPUT)
        })
        .collect();
    assert_eq!(jobs.len(), 8);
    jobs
}

fn shapes() -> Vec<(&'static str, Model)> {
    vec![
        ("4 query heads on 1 KV head", load(&Tiny::new(1), Weights::F32)),
        ("4 query heads on 2 KV heads", load(&Tiny::new(2), Weights::F32)),
        ("a KV head for each query head", load(&Tiny::new(4), Weights::F32)),
        ("wider", load(&Tiny::of_width(128, 2), Weights::F32)),
    ]
}

fn assert_same(found: &[Outcome], expected: &[Outcome], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (lane, (found, expected)) in found.iter().zip(expected).enumerate() {
        let token = found.tokens.iter().zip(&expected.tokens).position(|(a, b)| a != b);
        let logprob = found
            .logprobs
            .iter()
            .zip(&expected.logprobs)
            .position(|(a, b)| a.to_bits() != b.to_bits());
        assert_eq!(
            (token, logprob),
            (None, None),
            "{what}: lane {lane} differs first at this token, this log-probability"
        );
        assert_eq!(bits(found), bits(expected), "{what}: lane {lane}");
    }
}

#[test]
fn a_lane_computes_the_same_bits_alone_and_in_company() {
    let jobs = eight_jobs();
    for (shape, model) in shapes() {
        for prompt_tokens in [1, 200] {
            let prefilled = prefill(&model, &prompt(11, prompt_tokens), &jobs);
            let alone: Vec<Outcome> =
                jobs.iter().map(|job| Engine::run(&model, &prefilled, job).unwrap()).collect();
            let what = |how: &str| format!("{shape}, prompt of {prompt_tokens}, {how}");
            assert_same(&together(&model, &prefilled, &jobs, 8), &alone, &what("all at once"));
            assert_same(&together(&model, &prefilled, &jobs, 3), &alone, &what("three at a time"));
            let backwards: Vec<Job> = jobs.iter().rev().cloned().collect();
            let mut found = together(&model, &prefilled, &backwards, 8);
            found.reverse();
            assert_same(&found, &alone, &what("backwards"));
        }
    }
}

/// Few steps: threads that wait for each other between small 8-bit products are slow on a busy machine.
#[test]
fn so_does_a_lane_with_8_bit_weights() {
    let model = load(&Tiny::new(2), Weights::Q8_0);
    let jobs: Vec<Job> = eight_jobs()
        .into_iter()
        .take(3)
        .map(|job| Job { limits: Limits::exactly(4), ..job })
        .collect();
    let prefilled = prefill(&model, &prompt(16, 120), &jobs);
    assert_same(
        &together(&model, &prefilled, &jobs, 3),
        &together(&model, &prefilled, &jobs, 1),
        "8-bit weights",
    );
}

/// A product over so many rows would take another path, were they not split.
#[test]
fn so_does_a_lane_in_a_crowd_over_a_long_prompt() {
    let one = Job {
        forced: Some(prompt(20, 4)),
        limits: Limits::exactly(4),
        ..eight_jobs().swap_remove(0)
    };
    // A cache in halves is widened for a crowd.
    for weights in [Weights::F32, Weights::Q8_0] {
        let model = load(&Tiny::new(1), weights);
        let prefilled = prefill(&model, &prompt(21, 1500), std::slice::from_ref(&one));
        let expected = Engine::run(&model, &prefilled, &one).unwrap();
        for crowd in [2, 16, 17, 40] {
            assert_same(
                &together(&model, &prefilled, &vec![one.clone(); crowd], crowd),
                &vec![expected.clone(); crowd],
                "a crowd",
            );
        }
    }
}

#[test]
fn lanes_that_join_late_and_leave_early_disturb_nobody() {
    let model = tiny();
    let mut jobs = eight_jobs();
    for (job, tokens) in jobs.iter_mut().zip([32, 10, 25, 30, 3, 32, 17, 1]) {
        job.limits.max_new_tokens = tokens;
    }
    let prefilled = prefill(model, &prompt(12, 200), &jobs);
    let alone: Vec<Outcome> =
        jobs.iter().map(|job| Engine::run(model, &prefilled, job).unwrap()).collect();
    assert_same(&together(model, &prefilled, &jobs, 3), &alone, "three at a time");
    let lengths: Vec<usize> = alone.iter().map(|outcome| outcome.tokens.len()).collect();
    assert_eq!(lengths, [32, 10, 25, 30, 3, 32, 17, 1]);
}

#[test]
fn lanes_of_two_prompts_share_an_engine() {
    let model = tiny();
    let jobs = eight_jobs();
    let prompts =
        [(13, 160), (14, 170)].map(|(seed, tokens)| prefill(model, &prompt(seed, tokens), &jobs));
    let mut engine = Engine::new(model, 16);
    for job in &jobs {
        for prefilled in &prompts {
            engine.start(prefilled, job).unwrap();
        }
    }
    let mut found = Vec::new();
    while !engine.is_idle() {
        found.extend(engine.step().unwrap());
    }
    found.sort_by_key(|(id, _)| *id);
    for (id, outcome) in found {
        let alone = Engine::run(model, &prompts[id % 2], &jobs[id / 2]).unwrap();
        assert_eq!(bits(&outcome), bits(&alone), "lane {id}");
    }
}

/// All that an outcome says of the arm, and not of the clock or the company.
fn account(outcome: &Outcome) -> impl PartialEq + std::fmt::Debug {
    let Outcome { tokens, stop, logprobs, trace, counters, .. } = outcome;
    let bits = |numbers: &[f32]| numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    (
        (tokens.clone(), *stop, bits(logprobs), bits(trace), *counters),
        (outcome.bytes_peak, outcome.evictions, outcome.entries_mean.to_bits()),
        (outcome.kept_end_prefill.to_bits(), outcome.kept_end_decode.to_bits()),
    )
}

/// Every pair of a prefill and a decode method, sound and as published, each in two sizes, since what differs in nothing but its size stays together
/// longest, and with two seeds.
fn every_job() -> Vec<Job> {
    let context = Context { max_new_tokens: OUTPUT };
    let arms = [(16, 6), (20, 8)].into_iter().flat_map(|decode| every_arm((96, 24), decode));
    arms.flat_map(|arm| [Mode::Sound, Mode::Reference].map(|mode| Arm { mode, ..arm.clone() }))
        .filter(|arm| arm.policies(context).is_ok())
        .zip((7..9).cycle())
        .map(|(arm, seed)| Job { seed, ..job(&arm, OUTPUT) })
        .collect()
}

/// Starts half of the jobs, and the others some steps later; asserts that lanes are shared, and that each job fares as alone.
#[allow(clippy::unwrap_used, reason = "a helper of tests")]
fn assert_fare_as_alone(model: &Model, jobs: &[Job], late: &[usize]) {
    let prefilled = prefill(model, &prompt(17, 200), jobs);
    let alone: Vec<Outcome> =
        jobs.iter().map(|job| Engine::run(model, &prefilled, job).unwrap()).collect();
    for &late in late {
        let mut engine = Engine::new(model, jobs.len()).sharing_lanes();
        // Neighbours differ in one thing.
        let (early, others): (Vec<_>, Vec<_>) =
            jobs.iter().enumerate().partition(|(place, _)| place / 2 % 2 == 0);
        let mut places = Vec::new();
        let mut start = |engine: &mut Engine<'_>, jobs: Vec<(usize, &Job)>| {
            for (place, job) in jobs {
                engine.start(&prefilled, job).unwrap();
                places.push(place);
            }
        };
        start(&mut engine, early);
        let mut found = Vec::new();
        (0..late).for_each(|_| found.extend(engine.step().unwrap()));
        let (lanes, count) = (engine.lanes(), others.len());
        start(&mut engine, others);
        assert_eq!(engine.jobs(), jobs.len());
        if late < 6 {
            // Before any of them selects.
            assert!(engine.lanes() - lanes <= count / 5, "{late}: {lanes} and {}", engine.lanes());
        }
        let (least, mut most) = (engine.lanes(), 0);
        while !engine.is_idle() {
            found.extend(engine.step().unwrap());
            most = most.max(engine.lanes());
        }
        assert!(late >= 6 || 2 * least < most, "{late}: from {least} to {most} lanes");
        assert_eq!(found.len(), jobs.len());
        for (id, found) in &found {
            let place = places[*id];
            assert_eq!(account(found), account(&alone[place]), "{late}: {:?}", jobs[place]);
        }
    }
}

#[test]
fn arms_that_share_a_lane_fare_as_if_each_had_its_own() {
    assert_fare_as_alone(tiny(), &every_job(), &[0, 1, 5, 10, 20]);
}

#[test]
fn so_do_those_that_follow_a_text() {
    let text = prompt(23, OUTPUT);
    let jobs: Vec<Job> =
        every_job().into_iter().map(|job| Job { forced: Some(text.clone()), ..job }).collect();
    assert_fare_as_alone(tiny(), &jobs, &[0, 5, 10]);
}

#[test]
fn so_do_those_with_8_bit_weights() {
    let few: Vec<Job> = every_job().into_iter().take(40).collect();
    assert_fare_as_alone(&load(&Tiny::new(2), Weights::Q8_0), &few, &[3]);
}

#[test]
fn only_arms_that_compute_the_same_share_a_lane() {
    let model = tiny();
    let jobs: Vec<Job> = every_arm((96, 24), (16, 6)).iter().map(|arm| job(arm, OUTPUT)).collect();
    let [one, other] = [18, 19].map(|seed| prefill(model, &prompt(seed, 200), &jobs));
    let mut engine = Engine::new(model, 16).sharing_lanes();
    let mut lanes_after = |prefilled: &Prefilled, job: &Job| {
        engine.start(prefilled, job).unwrap();
        engine.lanes()
    };
    let first = &jobs[0];
    assert_eq!(lanes_after(&one, first), 1);
    assert_eq!(lanes_after(&one, first), 1, "the same");
    assert_eq!(lanes_after(&other, first), 2, "another prompt");
    let forced = Job { forced: Some(prompt(20, OUTPUT)), ..first.clone() };
    assert_eq!(lanes_after(&one, &forced), 3, "another text");
    let limited = Job { limits: Limits::exactly(OUTPUT - 1), ..first.clone() };
    assert_eq!(lanes_after(&one, &limited), 4, "another limit");
    let policies = Policies { granularity: Granularity::QueryHead, ..first.policies.clone() };
    assert_eq!(lanes_after(&one, &Job { policies, ..first.clone() }), 5, "other heads");
    let kept = jobs.iter().find(|job| job.policies.prefill != first.policies.prefill).unwrap();
    assert_eq!(lanes_after(&one, kept), 6, "another part of the prompt");
    let named = |decode: Decode| {
        let decode = resized(&decode, 16, 6);
        let arm = Arm::new("", resized(&Prefill::examples()[1], 96, 24), decode);
        job(&arm, OUTPUT)
    };
    let decodes = Decode::examples();
    let of =
        |name: &str| named(decodes.iter().find(|decode| decode.name() == name).unwrap().clone());
    let (slide, copied, drawn) = (of("slide"), of("streaming-llm"), of("random"));
    let before = lanes_after(&one, &slide);
    assert_eq!(lanes_after(&one, &copied), before + 1, "a copy of the prompt");
    assert_eq!(lanes_after(&one, &of("h2o-cumulative")), before + 2, "attention summed up");
    assert_eq!(lanes_after(&one, &drawn), before + 2, "what does not matter yet");
    assert_eq!(lanes_after(&one, &Job { seed: 8, ..drawn }), before + 2, "nor does its seed");
    // A place each is kept for the lanes that they may come to need.
    let mut engine = Engine::new(model, 2).sharing_lanes();
    (0..2).for_each(|_| assert!(engine.start(&one, first).is_ok()));
    assert_eq!((engine.lanes(), engine.jobs(), engine.has_room()), (1, 2, false));
    // Without being told to, an engine keeps them apart.
    let mut engine = Engine::new(model, 16);
    (0..2).for_each(|_| assert!(engine.start(&one, first).is_ok()));
    assert_eq!(engine.lanes(), 2);
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let on = |threads: &str| {
        in_a_process(
            "print_a_hash_of_every_bit",
            &[("RAYON_NUM_THREADS", threads), ("CANDLE_NUM_THREADS", threads)],
        )
    };
    let one = on("1");
    assert_eq!(on("2"), one);
    assert_eq!(on("3"), one);
}

#[test]
#[ignore = "a child process of `the_number_of_threads_changes_no_bit`"]
fn print_a_hash_of_every_bit() {
    let jobs = eight_jobs();
    for weights in [Weights::F32, Weights::Q8_0] {
        let model = load(&Tiny::of_width(256, 2), weights); // wide enough for its products to be split among threads
        let prefilled = prefill(&model, &prompt(15, 300), &jobs);
        let mut hasher = DefaultHasher::new();
        for logit in prefilled.logits() {
            logit.to_bits().hash(&mut hasher);
        }
        for outcome in together(&model, &prefilled, &jobs, 8) {
            bits(&outcome).hash(&mut hasher);
        }
        println!("answer: {weights}: {:016x}", hasher.finish());
    }
}
