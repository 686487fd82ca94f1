//! The names of the data sets.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// One of the three question sets of `LongGenBench` as SCOPE uses it, the summaries of `InfiniteBench`, or our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dataset {
    /// Grade-school word problems; the answer is a number.
    Gsm8k,
    /// Exam questions in 57 subjects; the answer is one of four letters.
    Mmlu,
    /// Everyday knowledge; the answer is one of five letters.
    Csqa,
    /// A book; the answer is a summary of it.
    #[serde(rename = "en_sum")]
    EnSum,
    /// Word problems made by rule; the answer is a number.
    Synthetic,
}

impl Dataset {
    /// All of them, in the order of the published tables.
    pub const ALL: [Self; 5] = [Self::Gsm8k, Self::Mmlu, Self::Csqa, Self::EnSum, Self::Synthetic];

    /// The published ones that ask many questions in one prompt.
    pub const QUESTIONS: [Self; 3] = [Self::Gsm8k, Self::Mmlu, Self::Csqa];

    /// The name used in files, flags and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gsm8k => "gsm8k",
            Self::Mmlu => "mmlu",
            Self::Csqa => "csqa",
            Self::EnSum => "en_sum",
            Self::Synthetic => "synthetic",
        }
    }
}

impl fmt::Display for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Dataset {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|dataset| dataset.name() == given);
        found.ok_or_else(|| Error::UnknownDataset { given: given.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_strangers_are_refused() {
        for dataset in Dataset::ALL {
            assert_eq!(dataset.to_string().parse::<Dataset>().unwrap(), dataset);
        }
        let message = "GSM8K".parse::<Dataset>().unwrap_err().to_string();
        assert_eq!(
            message,
            "unknown data set `GSM8K`: use `gsm8k`, `mmlu`, `csqa`, `en_sum` or `synthetic`"
        );
    }
}
