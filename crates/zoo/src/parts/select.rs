use std::cmp::Ordering;

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

/// The candidate that [`lowest`] would take alone, found in one look at each.
pub(crate) fn lowest_one(
    scores: &[f32],
    positions: &[u32],
    candidates: impl Iterator<Item = usize>,
) -> Option<usize> {
    let worse = |a: usize, b: usize| match scores[a].partial_cmp(&scores[b]) {
        Some(Ordering::Less) => true,
        Some(Ordering::Greater) => false,
        _ => rank(scores[a], scores[b]).then(positions[b].cmp(&positions[a])) == Ordering::Less,
    };
    candidates.reduce(|lowest, entry| if worse(entry, lowest) { entry } else { lowest })
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

    #[test]
    fn ties_go_to_the_older_entry_and_nan_ranks_last() {
        let positions = [0, 1, 2, 3];
        assert_eq!(lowest(&[1.0, 1.0, 1.0, 2.0], &positions, vec![0, 1, 2, 3], 2), [1, 2]);
        assert_eq!(
            lowest(&[0.0, f32::NAN, -1.0, f32::NAN], &positions, vec![0, 1, 2, 3], 2),
            [1, 3]
        );
        assert_eq!(lowest(&[0.0, f32::NAN, -1.0, 5.0], &positions, vec![0, 1, 2, 3], 1), [1]);
        for scores in [[1.0, 1.0, 1.0, 2.0], [0.0, f32::NAN, -1.0, 5.0], [f32::NAN; 4], [3.0; 4]] {
            let one = lowest_one(&scores, &positions, 0..4).unwrap();
            assert_eq!([one], *lowest(&scores, &positions, vec![0, 1, 2, 3], 1));
        }
        assert_eq!(lowest(&[0.0; 4], &positions, vec![2], 3), [2]);
        assert_eq!(lowest(&[0.0; 4], &positions, vec![2], 0), [0usize; 0]);
    }
}
