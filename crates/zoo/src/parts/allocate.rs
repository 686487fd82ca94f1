use std::fmt;

/// How a prompt's budget is shared over the layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocate {
    /// The same number of entries in every layer.
    Uniform(usize),
    /// Fewer entries the deeper the layer.
    Pyramid(Pyramid),
}

/// A budget that falls linearly with depth (Cai et al. 2024, `PyramidKV`, §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pyramid {
    /// Entries per layer, mean over layers.
    pub budget: usize,
    /// Of them, entries that every layer keeps for their age; the rest, the history, falls with depth.
    pub window: usize,
    /// Steepness: the last layer's history is the mean's divided by this (`PyramidKV`: β).
    pub slope: usize,
    /// Entries of each layer for a prompt too short for a pyramid, below twice the history.
    pub shallow: usize,
    /// How histories are rounded.
    pub steps: Steps,
}

/// How a history that falls linearly over the layers is rounded to whole entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steps {
    /// From the largest history in the first layer to the smallest in the last, with exactly the mean on average.
    Exact,
    /// By the same whole number from layer to layer, the span divided by the layers: the published code's, whose sum exceeds the
    /// budget.
    Published,
}

/// Which layer of how many, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    /// Place from the bottom.
    pub index: usize,
    /// Layers in all.
    pub count: usize,
}

impl Layer {
    /// All layers of a model, bottom first.
    pub fn all(count: usize) -> impl Iterator<Item = Self> {
        (0..count).map(move |index| Self { index, count })
    }
}

impl Allocate {
    /// Entries per KV head that `layer` may keep of a prompt of `tokens`. More than `tokens` only where the published code asks for more
    /// than there are, and fails.
    pub fn entries(self, tokens: usize, layer: Layer) -> usize {
        match self {
            Self::Uniform(budget) => tokens.min(budget),
            Self::Pyramid(pyramid) => pyramid.entries(tokens, layer),
        }
    }

    /// Entries per KV head and layer, mean over layers, for a prompt that is long enough.
    pub fn budget(self) -> usize {
        match self {
            Self::Uniform(budget) => budget,
            Self::Pyramid(pyramid) => pyramid.budget,
        }
    }
}

impl Pyramid {
    fn entries(self, tokens: usize, layer: Layer) -> usize {
        let Self { budget, window, slope, shallow, steps } = self;
        let mean = budget.saturating_sub(window);
        if tokens < budget {
            tokens
        } else if tokens < mean.saturating_mul(2) {
            shallow
        } else {
            let most = (2 * mean - mean / slope.max(1)).min(tokens - window);
            steps.history(mean, most, layer) + window
        }
    }
}

impl Steps {
    /// The history of `layer` where the first layer has `most` and the mean is `mean`; what `most` has more, the last layer has less.
    pub fn history(self, mean: usize, most: usize, layer: Layer) -> usize {
        let Layer { index, count } = layer;
        let span = most.saturating_sub(mean).saturating_mul(2);
        match self {
            Self::Published => most - index * (span / count.max(1)),
            Self::Exact => {
                let mirrored = count - 1 - index;
                let fall = |index| (span as u128 * index as u128 / (count as u128 - 1)) as usize;
                match index.cmp(&mirrored) {
                    std::cmp::Ordering::Less => most - fall(index),
                    std::cmp::Ordering::Equal => mean,
                    std::cmp::Ordering::Greater => 2 * mean - (most - fall(mirrored)),
                }
            }
        }
    }
}

impl fmt::Display for Allocate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform(budget) => write!(f, "{budget}"),
            Self::Pyramid(Pyramid { budget, window, slope, shallow, steps }) => {
                let mean = budget - window;
                let most = 2 * mean - mean / slope;
                let last = steps.history(mean, most, Layer { index: 31, count: 32 });
                let all = Layer::all(32).map(|layer| steps.history(mean, most, layer) + window);
                let average = all.sum::<usize>() as f64 / 32.0;
                write!(
                    f,
                    "{average} on average, falling from {} to {} over 32 layers, of prompts from {} tokens on; of shorter ones {shallow}",
                    most + window,
                    last + window,
                    2 * mean
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `PyramidKV` at SCOPE's 4K settings, as its code has it.
    const PUBLISHED: Pyramid =
        Pyramid { budget: 2048, window: 8, slope: 20, shallow: 2048, steps: Steps::Published };

    fn all(pyramid: Pyramid, tokens: usize, layers: usize) -> Vec<usize> {
        Layer::all(layers).map(|layer| Allocate::Pyramid(pyramid).entries(tokens, layer)).collect()
    }

    #[test]
    fn the_published_budgets_are_those_of_its_formulas() {
        let deep = all(PUBLISHED, 5000, 32);
        assert_eq!((deep[0], deep[1], deep[31]), (3986, 3986 - 121, 235));
        assert_eq!(all(PUBLISHED, 4079, 32), [2048; 32], "too short for a pyramid");
        assert_eq!(all(PUBLISHED, 2000, 32), [2000; 32]);
        let clamped = all(Pyramid { budget: 40, ..PUBLISHED }, 66, 4); // 2h = 64, hi = 63 clamped to 58, lo = 6, step 13
        assert_eq!(clamped, [66, 53, 40, 27]);
    }

    #[test]
    fn exact_steps_spend_the_budget_to_the_entry() {
        for layers in 1..40 {
            for tokens in [4080, 4081, 4500, 9000] {
                let kept = all(Pyramid { steps: Steps::Exact, ..PUBLISHED }, tokens, layers);
                assert_eq!(kept.iter().sum::<usize>(), 2048 * layers, "{layers} layers");
                assert!(kept.is_sorted_by(|a, b| a >= b) && kept[0] <= tokens);
            }
        }
    }
}
