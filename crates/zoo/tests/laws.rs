//! Laws that every method obeys, on synthetic caches.
use proptest::prelude::*;
use zoo::methods::{
    Adaptive, Discontinuous, H2oDecode, H2oPrefill, Random, Recency, Slide, SnapKv,
    StreamingLlmDecode,
};
use zoo::methods::{Pooling, StreamingLlmPrefill};
use zoo::{Context, Decode, DecodePolicy, Method, Moment, Phase, Pin, Prefill, View};

/// Every decode method at one budget.
fn decodes(budget: usize, recent: usize) -> Vec<Decode> {
    vec![
        Decode::Slide(Slide { budget, recent }),
        Decode::Adaptive(Adaptive { budget, recent }),
        Decode::Discontinuous(Discontinuous { budget, recent }),
        Decode::H2o(H2oDecode { budget, recent }),
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
    for step in 0..steps {
        positions.push((pool + step) as u32);
        let due = policy.due(Moment { generated: step + 1, pool, entries: positions.len() });
        if due > 0 {
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
            let most = pool + policy.schedule.peak(steps);
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
            assert_eq!(method.policy().unwrap().keep(&view).len(), pool);
        }
    }

    #[test]
    fn prefill_keeps_exactly_its_budget_in_text_order(tokens in 20usize..90, budget in 13usize..20, seed: u64) {
        let positions: Vec<u32> = (0..tokens as u32).collect();
        let row = attention(seed, tokens);
        let view = View { positions: &positions, attention: &[&row, &row], prompt_tokens: tokens, tokens, seed };
        for method in prefills(budget, 8) {
            let kept = method.policy().unwrap().keep(&view);
            prop_assert_eq!(kept.len(), budget);
            prop_assert!(kept.is_sorted_by(|a, b| a < b));
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
        message("name = 'slide'\nbudget = 512\nrecent = 512"),
        "method `slide`: `recent` = 512 leaves no room in a budget of 512"
    );
    assert_eq!(
        message("name = 'recency'\nbudget = 0"),
        "method `recency`: `budget` = 0 must be at least 1"
    );
    assert_eq!(
        message("name = 'streaming-llm'\nbudget = 8\nsinks = 4\nrecent = 4"),
        "method `streaming-llm`: give `sinks` or `recent`, not both"
    );
    let unknown = toml::from_str::<Decode>("name = 'none'\nbudgt = 1").unwrap_err().to_string();
    assert!(unknown.contains("budgt"), "a stray key is not swallowed: {unknown}");
}
