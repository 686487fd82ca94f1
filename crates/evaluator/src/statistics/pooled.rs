//! Shares of questions of one kind, pooled over prompts that ask different numbers of them.

use super::{Interval, Paired, Verdict, bootstrap, standard_deviation};

/// Right answers and questions of one kind, prompt by prompt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pooled {
    /// `(right, asked)` of each prompt, those included that ask none.
    pub prompts: Vec<(usize, usize)>,
}

impl Pooled {
    /// Questions of this kind in all prompts.
    pub fn asked(&self) -> usize {
        self.prompts.iter().map(|(_, asked)| asked).sum()
    }

    /// Right answers among all of them; none if none was asked.
    pub fn share(&self) -> Option<f64> {
        (self.asked() > 0).then(|| self.share_of(0..self.prompts.len()))
    }

    /// Its 95 % interval, prompts drawn whole.
    pub fn interval(&self, seed: u64) -> Option<Interval> {
        self.share()?;
        bootstrap(self.prompts.len(), seed, |draws| self.share_of(draws.iter().copied()))
    }

    /// The difference to another run over the same prompts, in the same order; none if they differ in number or ask nothing.
    pub fn against(&self, other: &Self, seed: u64) -> Option<Paired> {
        let difference = self.share()? - other.share()?;
        let prompts = self.prompts.len();
        if prompts != other.prompts.len() {
            return None;
        }
        let interval = bootstrap(prompts, seed, |draws| {
            self.share_of(draws.iter().copied()) - other.share_of(draws.iter().copied())
        });
        let each = self.prompts.iter().zip(&other.prompts).filter(|((_, asked), _)| *asked > 0);
        let each = each.map(|(left, right)| ratio(*left) - ratio(*right));
        Some(Paired {
            difference,
            interval,
            standard_deviation: standard_deviation(&each.collect::<Vec<_>>()),
            prompts,
            verdict: Verdict::of(interval, prompts),
        })
    }

    fn share_of(&self, places: impl Iterator<Item = usize>) -> f64 {
        let sum = |(right, asked), place| {
            let (more_right, more_asked) = self.prompts[place];
            (right + more_right, asked + more_asked)
        };
        ratio(places.fold((0, 0), sum))
    }
}

/// 0 where nothing was asked.
fn ratio((right, asked): (usize, usize)) -> f64 {
    right as f64 / asked.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::SEED;

    #[test]
    fn questions_are_pooled_and_prompts_drawn() {
        let run = Pooled { prompts: vec![(1, 1), (0, 3), (2, 2), (0, 0)] };
        assert_eq!((run.asked(), run.share()), (6, Some(0.5)));
        let Interval { low, high } = run.interval(SEED).unwrap();
        assert!(low < 0.1 && high > 0.9, "{low} {high}");
        assert_eq!(Pooled { prompts: vec![(0, 0); 3] }.share(), None);
    }

    #[test]
    fn a_run_is_compared_prompt_by_prompt() {
        let good = Pooled { prompts: vec![(3, 4); 8] };
        let bad = Pooled { prompts: vec![(1, 4); 8] };
        let paired = good.against(&bad, SEED).unwrap();
        assert_eq!((paired.verdict, paired.prompts), (Verdict::Better, 8));
        assert!((paired.difference - 0.5).abs() < 1e-12);
        assert_eq!(good.against(&good, SEED).unwrap().verdict, Verdict::NoSignificantDifference);
        assert_eq!(good.against(&Pooled { prompts: vec![(3, 4); 7] }, SEED), None);
        assert_eq!(good.against(&Pooled::default(), SEED), None);
    }
}
