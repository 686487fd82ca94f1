//! When a class cuts and to what length: none of it depends on a score.

use crate::case::{Case, Counters, Method, Strategy};

/// What happens to one layer's cache, in cache order.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    Nothing,
    /// Leaves the first `protected` entries, the `taken` best of those that follow, and the last `recent`.
    Ranked {
        protected: usize,
        taken: usize,
        recent: usize,
    },
    /// Leaves the first `first` and the last `recent` entries.
    Ends {
        first: usize,
        recent: usize,
    },
}

impl Cut {
    pub(crate) fn ran(self) -> bool {
        !matches!(self, Self::Nothing)
    }

    fn leaves(self, entries: usize) -> usize {
        match self {
            Self::Nothing => entries,
            Self::Ranked { protected, taken, recent } => protected + taken + recent,
            Self::Ends { first, recent } => first + recent,
        }
    }
}

/// The prompt is one on which the published class raises.
#[derive(Debug)]
pub(crate) struct Raises;

/// What one layer does at one step.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) before: usize,
    pub(crate) cut: Cut,
    pub(crate) after: usize,
}

/// A whole case: each layer's cut at prefill, then every step's calls and the counters it leaves.
#[derive(Debug)]
pub(crate) struct Schedule {
    pub(crate) prefill: Vec<Cut>,
    pub(crate) lengths: Vec<usize>,
    pub(crate) steps: Vec<Vec<Call>>,
    pub(crate) counters: Vec<Counters>,
}

pub(crate) fn schedule(case: &Case) -> Result<Schedule, Raises> {
    let prefill =
        (0..case.num_layers).map(|layer| at_prefill(case, layer)).collect::<Result<Vec<_>, _>>()?;
    let lengths: Vec<usize> = prefill.iter().map(|cut| cut.leaves(case.prompt_len)).collect();
    let mut now = lengths.clone();
    let mut shared = at_start(case);
    let (mut steps, mut counters) = (vec![], vec![]);
    for _ in 0..case.decode_steps {
        let mut calls = vec![];
        for (layer, entries) in now.iter_mut().enumerate() {
            let before = *entries + 1;
            let cut = at_step(case, layer, before, &mut shared);
            *entries = cut.leaves(before);
            calls.push(Call { before, cut, after: *entries });
        }
        steps.push(calls);
        counters.push(shared);
    }
    Ok(Schedule { prefill, lengths, steps, counters })
}

/// Two classes have no counters, two set those of steps and skips back at prefill, two carry all.
fn at_start(case: &Case) -> Counters {
    match case.method {
        Method::PyramidInfer | Method::StreamingLLM => Counters::default(),
        Method::H2O | Method::Everything => {
            Counters { jump_layer: case.initial_counters.jump_layer, ..Counters::default() }
        }
        Method::SnapKV | Method::PyramidKV => case.initial_counters,
    }
}

fn at_prefill(case: &Case, layer: usize) -> Result<Cut, Raises> {
    let (prompt, capacity, window) = (case.prompt_len, case.max_capacity_prompt, case.window_size);
    if case.method == Method::Everything || prompt < capacity {
        return Ok(Cut::Nothing);
    }
    let history = case.history();
    let taken = match case.method {
        Method::StreamingLLM => return Ok(Cut::Ends { first: history, recent: window }),
        Method::PyramidKV | Method::PyramidInfer if prompt >= 2 * history => {
            let (mut low, mut high) = (history / case.beta, 2 * history - history / case.beta);
            if high >= prompt - window {
                high = prompt - window;
                low = 2 * history - high;
            }
            high - layer * ((high - low) / case.num_layers)
        }
        Method::PyramidInfer if prompt < capacity + window => return Err(Raises),
        Method::PyramidInfer => capacity,
        Method::H2O | Method::SnapKV | Method::PyramidKV | Method::Everything => history,
    };
    Ok(Cut::Ranked { protected: 0, taken, recent: window })
}

/// `entries` counts the step's own; `shared` moves with every call of any layer.
fn at_step(case: &Case, layer: usize, entries: usize, shared: &mut Counters) -> Cut {
    let (boundary, window, recent) =
        (case.boundary(), case.decoding_window_size, case.decoding_recent_size);
    let round = case.delta * case.num_layers;
    let separate = |room: usize| Cut::Ranked { protected: boundary, taken: room - recent, recent };
    let unified = |taken: usize| Cut::Ranked { protected: 0, taken, recent };
    let full = entries >= boundary + window;
    match case.decode_strategy {
        Strategy::Slide if full => separate(window),
        Strategy::H2O if full => unified(boundary + window - recent),
        Strategy::Slm if full => Cut::Ends { first: boundary + window - recent, recent },
        Strategy::PyramidInfer if full && entries + 2 * recent < 2 * boundary + window => {
            unified(boundary + window - recent)
        }
        Strategy::PyramidInfer if full => {
            let base = boundary + window - recent;
            let (low, high) = (base / 2, 2 * base - base / 2);
            let of_layer = high - layer * ((high - low) / case.num_layers);
            unified((of_layer + window).min(entries - recent))
        }
        Strategy::Adaptive | Strategy::Discontinuous => {
            let room = recent + shared.current_decoding_step / round;
            shared.current_decoding_step += 1;
            if entries < boundary + room {
                Cut::Nothing
            } else if case.decode_strategy == Strategy::Adaptive {
                separate(room)
            } else if shared.jump_step < round {
                shared.jump_step += 1;
                Cut::Nothing
            } else {
                shared.jump_layer += 1;
                if shared.jump_layer == case.num_layers {
                    shared.jump_step = 0;
                    shared.jump_layer = 0;
                }
                separate(room)
            }
        }
        _ => Cut::Nothing,
    }
}
