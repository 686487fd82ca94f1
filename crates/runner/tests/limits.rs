//! What fits into a model, and that the blocks in which a prompt is read leave no trace.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use runner::{Engine, Error, Job, Limits, Stop};
use support::{bits, job, logits, prefill, prompt, relative_error, tiny};
use zoo::methods::{Full, Never};
use zoo::{Arm, Decode, Mask, Observation, Prefill};

const ALL: Observation = Observation::AllQueries(Mask::Causal);

fn full(new_tokens: usize) -> Job {
    job(&Arm::new("full", Prefill::Full(Full {}), Decode::None(Never {})), new_tokens)
}

#[test]
fn what_exceeds_the_context_is_refused_with_the_numbers() {
    let model = tiny();
    let context = model.config().context;
    let prefilled = model.prefill(&prompt(51, 2000), &[]).unwrap();
    let refused = |new_tokens: usize| Engine::new(model, 1).start(&prefilled, &full(new_tokens));
    assert!(refused(context - 2000).is_ok());
    let error = refused(context - 2000 + 1).unwrap_err();
    assert!(
        matches!(error, Error::Context { prompt: 2000, output: 49, context: 2048 }),
        "{error:?}"
    );
    for number in ["2000", "49", "2048", "max_new_tokens"] {
        assert!(error.to_string().contains(number), "{error}");
    }
    let error = model.prefill(&prompt(51, context + 1), &[]).unwrap_err();
    assert!(matches!(error, Error::Context { prompt: 2049, .. }), "{error:?}");
}

#[test]
fn a_text_may_fill_the_context_to_the_last_position() {
    let model = tiny();
    let outcome = Engine::run(model, &prefill(model, &prompt(52, 2040), &[]), &full(8)).unwrap();
    assert_eq!(outcome.tokens.len(), 8);
}

#[test]
fn an_empty_prompt_is_refused() {
    let model = tiny();
    assert!(matches!(model.prefill(&[], &[]), Err(Error::EmptyPrompt)));
    assert!(matches!(model.logits(&[], |_| Ok(())), Err(Error::EmptyPrompt)));
    assert!(matches!(model.log_probabilities(&[]), Err(Error::EmptyPrompt)));
}

#[test]
fn a_token_that_the_vocabulary_lacks_is_refused() {
    let model = tiny();
    assert!(model.prefill(&[1, 96], &[]).is_err());
    let at_the_start_of_a_block = [prompt(57, 256), vec![96]].concat();
    assert!(model.log_probabilities(&at_the_start_of_a_block).is_err());

    let prefilled = model.prefill(&[1, 2], &[]).unwrap();
    let forced = |tokens: &[u32]| {
        Engine::run(model, &prefilled, &Job { forced: Some(tokens.to_vec()), ..full(3) })
    };
    assert!(forced(&[1, 2, 95]).is_ok());
    assert!(matches!(forced(&[1, 96, 1]), Err(Error::Forced { vocabulary: 96, .. })));
    assert!(matches!(forced(&[1, 2]), Err(Error::Forced { forced: 2, output: 3, .. })));
}

#[test]
fn an_end_token_ends_a_lane_and_a_limit_of_one_asks_for_no_step() {
    let model = tiny();
    let prefilled = prefill(model, &prompt(53, 40), &[]);
    let free = Engine::run(model, &prefilled, &full(20)).unwrap().tokens;
    let end = free[9];
    let first = free.iter().position(|&token| token == end).unwrap();
    let ended = Job { limits: Limits { end_tokens: vec![end], ..Limits::exactly(20) }, ..full(20) };
    assert_eq!(Engine::run(model, &prefilled, &ended).unwrap().tokens, free[..=first]);
    // The most likely first token is made an end token: with a token due before it, the next most likely one comes.
    let at_once = |min_new_tokens| {
        let end_tokens = vec![free[0]];
        let limits = Limits { end_tokens, min_new_tokens, ..Limits::exactly(20) };
        Engine::run(model, &prefilled, &Job { limits, ..full(20) }).unwrap()
    };
    assert_eq!((at_once(0).tokens, at_once(0).stop), (vec![free[0]], Stop::Eos));
    assert!(at_once(1).tokens.len() > 1 && at_once(1).tokens[0] != free[0]);
    let one = Engine::run(model, &prefilled, &full(1)).unwrap();
    assert_eq!((one.tokens, one.kept_end_decode), (free[..1].to_vec(), 40.0));
}

#[test]
fn a_prompt_read_in_blocks_equals_one_decoded_token_by_token() {
    let model = tiny();
    let tokens = prompt(54, 600);
    let in_blocks = model.log_probabilities(&tokens).unwrap();
    let forced = Job { forced: Some(tokens[1..].to_vec()), ..full(599) };
    let one_by_one =
        Engine::run(model, &model.prefill(&tokens[..1], &[]).unwrap(), &forced).unwrap().logprobs;
    let worst = in_blocks.iter().zip(&one_by_one).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("largest difference in log-probability {worst:.1e}");
    assert_eq!(in_blocks.len(), one_by_one.len());
    assert!(worst < 1e-4, "{worst}");
}

#[test]
fn a_row_of_logits_does_not_see_what_comes_after_it() {
    let model = tiny();
    let tokens = prompt(55, 600);
    let rows = logits(model, &tokens);
    for length in [1, 2, 255, 256, 257, 511, 512, 513, 600] {
        let error = relative_error(
            &rows[length - 1],
            model.prefill(&tokens[..length], &[]).unwrap().logits(),
        );
        assert!(error < 1e-5, "{length} tokens: {error}");
    }
}

#[test]
fn what_is_observed_changes_no_bit_of_the_text() {
    let model = tiny();
    let tokens = prompt(56, 300);
    let unobserved = model.prefill(&tokens, &[]).unwrap();
    let observed = model.prefill(&tokens, &[ALL, Observation::LastQueries(8), ALL]).unwrap();
    let run = |prefilled| bits(&Engine::run(model, prefilled, &full(20)).unwrap());
    assert_eq!(observed.logits(), unobserved.logits());
    assert_eq!(run(&observed), run(&unobserved));
}
