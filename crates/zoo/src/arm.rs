use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Context, Decode, DecodePolicy, Error, Layer, Observation, Prefill, PrefillPolicy};

/// One way to compress: a prefill method, a decode method, and the name it goes by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// Name in tables and plots.
    pub label: String,
    /// What survives of the prompt.
    pub prefill: Prefill,
    /// What goes while tokens are generated.
    pub decode: Decode,
    /// Whether the methods run as they should, or as the published code has them.
    #[serde(default, skip_serializing_if = "Mode::is_sound")]
    pub mode: Mode,
    /// Who selects; left out, what the mode has: KV heads when sound, query heads as published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granularity: Option<Granularity>,
}

/// Whose rules an arm follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// The methods as their papers define them.
    #[default]
    Sound,
    /// SCOPE's published code, quirk by quirk: what the study's numbers were made with.
    Reference,
}

/// The heads that hold a cache of their own and select for themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Granularity {
    /// One cache per KV head, shared by the query heads of its group.
    #[default]
    KvHead,
    /// One cache per query head: the group's keys and values are copied, at so many times the memory.
    QueryHead,
}

/// An arm as compositions of parts.
#[derive(Debug, Clone, PartialEq)]
pub struct Policies {
    /// What survives of the prompt.
    pub prefill: PrefillPolicy,
    /// What goes while tokens are generated.
    pub decode: DecodePolicy,
    /// Whose caches they act on.
    pub granularity: Granularity,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sound => "sound",
            Self::Reference => "reference",
        })
    }
}

impl fmt::Display for Granularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KvHead => "kv-head",
            Self::QueryHead => "query-head",
        })
    }
}

impl Mode {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
    fn is_sound(&self) -> bool {
        *self == Self::Sound
    }
}

impl Policies {
    /// Nothing is ever dropped.
    pub fn full() -> Self {
        Self {
            prefill: PrefillPolicy::All,
            decode: DecodePolicy::never(),
            granularity: Granularity::KvHead,
        }
    }

    /// The attention that prefill must record.
    pub fn observations(&self) -> impl Iterator<Item = Observation> {
        [self.prefill.observation(), self.decode.observation()].into_iter().flatten()
    }

    /// Most entries per head and layer that are left after a step, mean over layers, for a prompt and an output of these many tokens.
    pub fn peak_entries(&self, prompt: usize, output: usize, layers: usize) -> usize {
        let peak = |layer| {
            let pool = self.prefill.pool(prompt, layer);
            if self.decode.depends_on_earlier_samples() {
                return pool.saturating_add(output); // counters may stand so high that nothing goes
            }
            self.decode.schedule.peak(pool, output, layer)
        };
        Layer::all(layers).map(peak).fold(0, usize::saturating_add).div_ceil(layers.max(1))
    }

    /// Whether anything of a prompt of `prompt` tokens is dropped at prefill.
    pub fn compresses_prompt(&self, prompt: usize, layers: usize) -> bool {
        Layer::all(layers).any(|layer| self.prefill.pool(prompt, layer) < prompt)
    }

    /// Whether anything may be dropped in `steps` decode steps behind a prompt of `prompt` tokens, with counters that start at nought.
    pub fn compresses_output(&self, prompt: usize, steps: usize, layers: usize) -> bool {
        Layer::all(layers).any(|layer| {
            let pool = self.prefill.pool(prompt, layer);
            self.decode.schedule.peak(pool, steps, layer) < pool.saturating_add(steps)
        })
    }

    /// Caches that stand for one of a KV head, if `group` query heads share it.
    pub fn copies(&self, group: usize) -> usize {
        match self.granularity {
            Granularity::KvHead => 1,
            Granularity::QueryHead => group,
        }
    }
}

impl Arm {
    /// A sound arm.
    pub fn new(label: impl Into<String>, prefill: Prefill, decode: Decode) -> Self {
        Self { label: label.into(), prefill, decode, mode: Mode::Sound, granularity: None }
    }

    /// Both halves as compositions of parts.
    ///
    /// # Errors
    /// [`Error`] if the parameters of either cannot work, or the mode knows no such method.
    pub fn policies(&self, context: Context) -> Result<Policies, Error> {
        let (prefill, decode, granularity) = match self.mode {
            Mode::Sound => {
                (self.prefill.policy()?, self.decode.policy(context)?, Granularity::KvHead)
            }
            Mode::Reference => {
                let class = self.prefill.published()?;
                let decode = self.decode.published(&class, context)?;
                (class.policy, decode, Granularity::QueryHead)
            }
        };
        Ok(Policies { prefill, decode, granularity: self.granularity.unwrap_or(granularity) })
    }
}
