use serde::{Deserialize, Serialize};

use crate::{Context, Decode, DecodePolicy, Error, Prefill, PrefillPolicy};

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
}

impl Arm {
    /// Both halves as compositions of parts.
    ///
    /// # Errors
    /// [`Error`] if the parameters of either cannot work.
    pub fn policies(&self, context: Context) -> Result<(PrefillPolicy, DecodePolicy), Error> {
        Ok((self.prefill.policy()?, self.decode.policy(context)?))
    }

    /// Most entries per KV head and layer that the arm leaves after a step, for a prompt and an output of these many tokens.
    ///
    /// # Errors
    /// As [`Arm::policies`].
    pub fn peak_entries(&self, prompt: usize, context: Context) -> Result<usize, Error> {
        let (prefill, decode) = self.policies(context)?;
        Ok(prefill.pool(prompt) + decode.schedule.peak(context.max_new_tokens))
    }
}
