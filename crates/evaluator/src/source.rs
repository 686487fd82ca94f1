//! Whose texts a set's prompts are made of: what decides whether a score may stand beside a published one.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whose questions and worked examples prompts show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Source {
    /// A published set: its checksum is the one in `task.toml`.
    #[serde(rename = "published")]
    Published,
    /// The data set's questions after worked examples of this program, since the published ones were absent.
    #[serde(rename = "own demonstrations")]
    OwnDemonstrations,
    /// Questions of this program's own.
    #[serde(rename = "own problems")]
    OwnProblems,
    /// Questions made by rule.
    #[serde(rename = "synthetic")]
    Synthetic,
    /// Neither: a set at another size, of other rows, or changed; its checksum is that of no published set.
    #[serde(rename = "unverified")]
    Unverified,
}

impl Source {
    /// The word used in files and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::OwnDemonstrations => "own demonstrations",
            Self::OwnProblems => "own problems",
            Self::Synthetic => "synthetic",
            Self::Unverified => "unverified",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
