//! Laws that every method obeys, on synthetic caches.
use proptest::prelude::*;
use zoo::methods::{
    Adaptive, Discontinuous, H2oCumulative, H2oDecode, H2oPrefill, Pooling, PyramidInferDecode,
    PyramidInferPrefill, PyramidKv, Random, Recency, Slide, SnapKv, StreamingLlmDecode,
    StreamingLlmPrefill,
};
use zoo::{
    Arm, Context, Counters, Decode, DecodePolicy, Layer, Method, Mode, Moment, Phase, Pin, Prefill,
    Selection, View,
};

const LAYER: Layer = Layer { index: 1, count: 4 };

/// Every decode method at one budget.
fn decodes(budget: usize, recent: usize) -> Vec<Decode> {
    vec![
        Decode::Slide(Slide { budget, recent }),
        Decode::Adaptive(Adaptive { budget, recent, interval: None }),
        Decode::Discontinuous(Discontinuous { budget, recent, interval: None }),
        Decode::H2o(H2oDecode { budget, recent }),
        Decode::H2oCumulative(H2oCumulative { budget, recent }),
        Decode::Pyramidinfer(PyramidInferDecode { budget, recent }),
        Decode::StreamingLlm(StreamingLlmDecode { budget, sinks: None, recent: Some(recent) }),
        Decode::StreamingLlm(StreamingLlmDecode { budget, sinks: Some(recent), recent: None }),
        Decode::Random(Random { budget, recent }),
        Decode::Recency(Recency { budget }),
    ]
}

/// Every prefill method at one budget.
fn prefills(budget: usize, window: usize) -> Vec<Prefill> {
    vec![
        Prefill::H2o(H2oPrefill { budget, window }),
        Prefill::Snapkv(SnapKv { budget, window, pool: 5, pooling: Pooling::Max }),
        Prefill::Snapkv(SnapKv { budget, window, pool: 3, pooling: Pooling::Avg }),
        Prefill::Pyramidkv(PyramidKv { budget, window, pool: 3, pooling: Pooling::Avg, slope: 2 }),
        Prefill::Pyramidinfer(PyramidInferPrefill { budget, window, slope: 20 }),
        Prefill::StreamingLlm(StreamingLlmPrefill { budget, sinks: Some(window), recent: None }),
        Prefill::StreamingLlm(StreamingLlmPrefill { budget, sinks: None, recent: Some(window) }),
    ]
}

/// Attention of a step: any numbers at all, NaN among them.
fn attention(seed: u64, entries: usize) -> Vec<f32> {
    (0..entries as u64)
        .map(|i| match (seed ^ i).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60 {
            0 => f32::NAN,
            n => n as f32 / 4.0,
        })
        .collect()
}

/// Runs one KV head's bookkeeping for `steps` steps; `check` sees the positions after each.
fn simulate(
    policy: &DecodePolicy,
    pool: usize,
    steps: usize,
    seed: u64,
    mut check: impl FnMut(usize, &[u32]),
) {
    let mut positions: Vec<u32> = (0..pool as u32).collect();
    let mut counters = Counters::default();
    for step in 0..steps {
        positions.push((pool + step) as u32);
        let moment = Moment {
            layer: LAYER,
            prompt_tokens: pool,
            generated: step + 1,
            pool,
            entries: positions.len(),
        };
        if let Some(Selection::Evict(due)) = policy.due(moment, &mut counters) {
            assert!(due > 0, "a sound selection evicts");
            let row = attention(seed + step as u64, positions.len());
            let view = View {
                positions: &positions,
                attention: &[&row],
                prompt_tokens: pool,
                tokens: pool + step + 1,
                seed: seed ^ step as u64,
            };
            let evicted = policy.selector.evict(&view, due);
            assert_eq!(evicted.len(), due, "exact count");
            assert!(evicted.is_sorted_by(|a, b| a < b), "ascending, no repeats");
            for &entry in &evicted {
                assert!(
                    !policy.selector.pins.iter().any(|pin| pin.holds(&view, entry)),
                    "pins survive"
                );
            }
            for entry in evicted.into_iter().rev() {
                positions.swap_remove(entry);
            }
        }
        check(step, &positions);
    }
}

proptest! {
    #[test]
    fn decode_sizes_stay_within_the_budget(pool in 1usize..40, recent in 1usize..12, heavy in 1usize..12, steps in 1usize..160, seed: u64) {
        let context = Context { max_new_tokens: steps };
        for method in decodes(recent + heavy, recent) {
            let policy = method.policy(context).unwrap();
            let most = policy.schedule.peak(pool, steps, LAYER);
            simulate(&policy, pool, steps, seed, |step, positions| {
                assert!(positions.len() <= most, "{method:?} holds {} > {most} at step {step}", positions.len());
                if policy.selector.pins.contains(&Pin::Prompt) {
                    assert_eq!(positions.iter().filter(|&&p| (p as usize) < pool).count(), pool, "{method:?} touched the prompt");
                }
            });
        }
    }

    #[test]
    fn a_budget_that_is_not_exceeded_evicts_nothing(pool in 1usize..40, recent in 1usize..12, steps in 1usize..60, seed: u64) {
        let context = Context { max_new_tokens: steps };
        for method in decodes(steps + recent, recent.min(steps)) {
            simulate(&method.policy(context).unwrap(), pool, steps, seed, |step, positions| assert_eq!(positions.len(), pool + step + 1));
        }
        for method in prefills(pool + 13, 12) {
            let positions: Vec<u32> = (0..pool as u32).collect();
            let row = attention(seed, pool);
            let view = View { positions: &positions, attention: &[&row], prompt_tokens: pool, tokens: pool, seed };
            assert_eq!(method.policy().unwrap().keep(&view, LAYER).len(), pool);
        }
    }

    #[test]
    fn prefill_keeps_exactly_its_budget_in_text_order(tokens in 20usize..90, budget in 13usize..20, layers in 1usize..7, seed: u64) {
        let positions: Vec<u32> = (0..tokens as u32).collect();
        let row = attention(seed, tokens);
        let view = View { positions: &positions, attention: &[&row, &row], prompt_tokens: tokens, tokens, seed };
        for method in prefills(budget, 8) {
            let policy = method.policy().unwrap();
            let mut kept = 0;
            for layer in Layer::all(layers) {
                let survivors = policy.keep(&view, layer);
                prop_assert_eq!(survivors.len(), policy.pool(tokens, layer));
                prop_assert!(survivors.is_sorted_by(|a, b| a < b));
                prop_assert!(survivors.contains(&(tokens - 1)), "the newest stays");
                kept += survivors.len();
            }
            prop_assert_eq!(kept, budget * layers, "{:?}", method);
        }
    }

    #[test]
    fn the_published_order_is_front_then_score_then_back(tokens in 30usize..90, budget in 13usize..30, seed: u64) {
        let positions: Vec<u32> = (0..tokens as u32).collect();
        let row: Vec<f32> = attention(seed, tokens).iter().map(|score| score.max(0.0)).collect();
        let view = View { positions: &positions, attention: &[&row], prompt_tokens: tokens, tokens, seed };
        let h2o = Arm { mode: Mode::Reference, ..Arm::new("h2o", Prefill::H2o(H2oPrefill { budget, window: 8 }), Decode::None(zoo::methods::Never {})) };
        let kept = h2o.policies(Context { max_new_tokens: 1 }).unwrap().prefill.keep(&view, LAYER);
        prop_assert_eq!(kept.len(), budget.min(tokens));
        if budget <= tokens {
            let (history, window) = kept.split_at(budget - 8);
            prop_assert!(history.is_sorted_by(|&a, &b| row[a] >= row[b]));
            prop_assert_eq!(window, (tokens - 8..tokens).collect::<Vec<_>>());
            let worst = history.iter().map(|&entry| row[entry]).fold(f32::INFINITY, f32::min);
            prop_assert!((0..tokens - 8).filter(|entry| !history.contains(entry)).all(|entry| row[entry] <= worst));
        }
    }
}

#[test]
fn discontinuous_transient_is_its_interval() {
    // SCOPE's 4K suite: T 4096, W 512, r 256, so ζ = 15.
    let Decode::Discontinuous(method) = Decode::examples().remove(3) else {
        panic!("order of the examples")
    };
    let policy = Decode::Discontinuous(method).policy(Context { max_new_tokens: 4096 }).unwrap();
    let mut peak = 0;
    simulate(&policy, 2048, 4096, 1, |_, positions| peak = peak.max(positions.len()));
    assert!((2048 + 512..=2048 + 512 + 15).contains(&peak), "{peak}");
}

#[test]
fn every_method_is_listed_and_has_a_page() {
    let tag = |value: serde_json::Value| value["name"].as_str().unwrap().to_owned();
    let prefill = Prefill::examples()
        .iter()
        .map(|m| tag(serde_json::to_value(m).unwrap()))
        .collect::<Vec<_>>();
    let decode = Decode::examples()
        .iter()
        .map(|m| tag(serde_json::to_value(m).unwrap()))
        .collect::<Vec<_>>();
    let listed = |phase| {
        Method::all()
            .filter(move |m| m.phase == phase)
            .map(|m| m.name.to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(prefill, listed(Phase::Prefill));
    assert_eq!(decode, listed(Phase::Decode));
    for method in Method::all() {
        assert!(
            method.summary().ends_with('.') && method.page().lines().count() > 2,
            "{}",
            method.name
        );
    }
}

#[test]
fn parameters_that_cannot_work_are_refused_with_the_reason() {
    let message =
        |toml: &str| toml::from_str::<Decode>(toml).unwrap().check().unwrap_err().to_string();
    assert_eq!(
        message("name = 'slide'\nbudget = 512\nrecent = 513"),
        "method `slide`: `recent` = 513 exceeds `budget` = 512"
    );
    assert_eq!(
        message("name = 'recency'\nbudget = 0"),
        "method `recency`: `budget` = 0 must be at least 1"
    );
    assert_eq!(
        message("name = 'adaptive'\nbudget = 8\nrecent = 4\ninterval = 0"),
        "method `adaptive`: `interval` = 0 must be at least 1"
    );
    assert_eq!(
        message("name = 'streaming-llm'\nbudget = 8\nsinks = 4\nrecent = 4"),
        "method `streaming-llm`: give `sinks` or `recent`, not both"
    );
    let unknown = toml::from_str::<Decode>("name = 'none'\nbudgt = 1").unwrap_err().to_string();
    assert!(unknown.contains("budgt"), "a stray key is not swallowed: {unknown}");
}

#[test]
fn reference_mode_is_for_what_the_study_ran() {
    let context = Context { max_new_tokens: 4096 };
    let arm = |prefill: usize, decode: Decode, mode| Arm {
        mode,
        ..Arm::new("x", Prefill::examples().remove(prefill), decode)
    };
    for prefill in 0..Prefill::examples().len() {
        for decode in Decode::examples() {
            let published = !["random", "recency", "h2o-cumulative"].contains(&decode.name());
            let policies = arm(prefill, decode, Mode::Reference).policies(context);
            assert_eq!(policies.is_ok(), published, "{policies:?}");
        }
    }
    let message =
        |decode: Decode, mode| arm(0, decode, mode).policies(context).unwrap_err().to_string();
    assert_eq!(
        message(Decode::Random(Random { budget: 512, recent: 256 }), Mode::Reference),
        "method `random`: `mode` = \"reference\" reproduces published code, and there is none; leave `mode` out"
    );
    let adaptive = Decode::Adaptive(Adaptive { budget: 512, recent: 256, interval: Some(15) });
    assert_eq!(
        message(adaptive, Mode::Sound),
        "method `adaptive`: `interval` needs `mode` = \"reference\""
    );
}

#[test]
fn published_intervals_are_those_of_the_study() {
    let interval = |prefill: Prefill, budget, tokens| {
        let decode = Decode::Adaptive(Adaptive { budget, recent: 256, interval: None });
        let arm = Arm { mode: Mode::Reference, ..Arm::new("x", prefill, decode) };
        let policies = arm.policies(Context { max_new_tokens: tokens }).unwrap();
        match policies.decode.schedule {
            zoo::Schedule::Published(zoo::Published {
                quota: zoo::Quota::Counted { interval, .. },
                ..
            }) => (interval, policies.decode.carries_counters),
            other => panic!("{other}"),
        }
    };
    let h2o = || Prefill::H2o(H2oPrefill { budget: 2048, window: 8 });
    assert_eq!(
        [(512, 4096), (1024, 4096), (512, 7950), (1024, 7950)].map(|(w, t)| interval(h2o(), w, t)),
        [(15, false), (5, false), (30, false), (10, false)]
    );
    let snapkv = Prefill::examples().remove(2);
    assert_eq!(interval(snapkv, 1024, 4096), (15, true), "never told, never reset");
}
