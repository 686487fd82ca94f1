use std::cmp::Ordering;

use super::Free;

/// The `count` candidates with the lowest score, ascending by index.
///
/// Among equal scores the younger (higher position) goes first, so ties fall to the older entry. A score that is
/// not a number ranks below every other.
///
/// # Shapes
/// - `scores`, `positions`: `(entries,)`
/// - `candidates`: entries that may go; fewer than `count` of them all go
pub fn lowest(
    scores: &[f32],
    positions: &[u32],
    mut candidates: Vec<usize>,
    count: usize,
) -> Vec<usize> {
    let worse =
        |&a: &usize, &b: &usize| rank(scores[a], scores[b]).then(positions[b].cmp(&positions[a]));
    if count < candidates.len() {
        if count > 0 {
            candidates.select_nth_unstable_by(count - 1, worse);
        }
        candidates.truncate(count);
    }
    candidates.sort_unstable();
    candidates
}

/// The free entry that [`lowest`] would take alone, if any is free, found in one look at each.
pub(crate) fn lowest_one(scores: &[f32], positions: &[u32], free: &Free) -> Option<usize> {
    let (mut lowest, mut least) = (None, f32::INFINITY);
    let numbers = scores[free.range()].iter().zip(&positions[free.range()]);
    for (entry, (&score, &position)) in free.range().zip(numbers) {
        // Most are higher, and whether they may go does not matter.
        if score > least || !free.holds(position) {
            continue;
        }
        let goes_before = |than: usize| {
            rank(score, scores[than]).then(positions[than].cmp(&position)) == Ordering::Less
        };
        if lowest.is_none_or(goes_before) {
            (lowest, least) = (Some(entry), score);
        }
    }
    lowest
}

/// The candidates by falling score, the older first among equals; a score that is not a number comes last.
pub fn ranked(scores: &[f32], positions: &[u32], mut candidates: Vec<usize>) -> Vec<usize> {
    candidates.sort_unstable_by(|&a, &b| {
        rank(scores[b], scores[a]).then(positions[a].cmp(&positions[b]))
    });
    candidates
}

/// Orders scores with NaN at the bottom.
fn rank(a: f32, b: f32) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

#[cfg(test)]
mod tests {
    use super::{lowest, lowest_one};
    use crate::parts::{Free, stream};
    use crate::{Pin, View};

    #[test]
    fn ties_go_to_the_older_entry_and_nan_ranks_last() {
        let positions = [0, 1, 2, 3];
        assert_eq!(lowest(&[1.0, 1.0, 1.0, 2.0], &positions, vec![0, 1, 2, 3], 2), [1, 2]);
        assert_eq!(
            lowest(&[0.0, f32::NAN, -1.0, f32::NAN], &positions, vec![0, 1, 2, 3], 2),
            [1, 3]
        );
        assert_eq!(lowest(&[0.0, f32::NAN, -1.0, 5.0], &positions, vec![0, 1, 2, 3], 1), [1]);
        assert_eq!(lowest(&[0.0; 4], &positions, vec![2], 3), [2]);
        assert_eq!(lowest(&[0.0; 4], &positions, vec![2], 0), [0usize; 0]);
    }

    #[test]
    fn the_lowest_one_is_what_the_lowest_of_one_would_be() {
        for entries in [1, 4, 16, 200] {
            for case in 0..200 {
                let draw = |place: usize, below: u64| stream(&[case, place as u64, below]) % below;
                // Few values, so that many are equal; some are no numbers.
                let few = [f32::NAN, 0.0, -0.0, 1.0, 2.0, 3.0];
                let of = |place| match case % 3 {
                    0 => few[draw(place, 6) as usize],
                    1 => few[1 + draw(place, 5) as usize],
                    _ => draw(place, 1 << 20) as f32,
                };
                let scores: Vec<f32> = (0..entries).map(of).collect();
                let mut positions: Vec<u32> = (0..entries as u32).collect();
                positions.sort_by_key(|&position| draw(position as usize, 1 << 40));
                let view = View {
                    positions: &positions,
                    attention: &[],
                    prompt_tokens: 0,
                    tokens: entries,
                    seed: 0,
                };
                let some = |number: usize, below| draw(entries + number, below) as usize;
                let pins = [
                    Pin::Sinks(some(0, 9)),
                    Pin::Recent(some(1, 70)),
                    Pin::FirstEntries(some(2, 40)),
                    Pin::LastEntries(some(3, 40)),
                ];
                let free = Free::of(&pins, &view);
                let all = lowest(&scores, &positions, free.entries(&positions).collect(), 1);
                assert_eq!(lowest_one(&scores, &positions, &free).as_slice(), all, "{scores:?}");
            }
        }
    }
}
