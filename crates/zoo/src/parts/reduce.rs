use std::fmt;

/// How the scores of a group's query heads become the one score of their KV head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reduce {
    /// Sum over the group: an entry counts for all that the group attends to it.
    #[default]
    Sum,
    /// The most that any query head of the group gives.
    Max,
}

impl Reduce {
    /// One value per entry from one row per query head.
    ///
    /// # Shapes
    /// - `rows`: `(group, entries)`
    /// - returns `(entries,)`
    pub fn apply(self, rows: &[&[f32]], entries: usize) -> Vec<f32> {
        let mut rows = rows.iter();
        let mut reduced = rows.next().map_or_else(|| vec![0.0; entries], |row| row.to_vec());
        for row in rows {
            for (value, &other) in reduced.iter_mut().zip(*row) {
                *value = match self {
                    Self::Sum => *value + other,
                    Self::Max => value.max(other),
                };
            }
        }
        reduced
    }
}

impl fmt::Display for Reduce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sum => "sum over the group",
            Self::Max => "maximum of the group",
        })
    }
}
