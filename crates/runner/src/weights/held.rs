use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Config;
use crate::kernels::BLOCK;

/// How the weights of matrix products are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weights {
    /// Dequantised: 4 bytes a weight, exact, and fast where many lanes share a step.
    #[default]
    F32,
    /// Requantised to 8 bits in blocks of 32: about 1.06 bytes a weight; activations are quantised too.
    Q8_0,
    /// As a GGUF file has them, if in blocks of 32 (`Q4_0`, `Q4_1`, `Q8_0`); what it has in other blocks is requantised to 8 bits. Activations are
    /// quantised too. Tensors that no file quantised stay in f32. On a device, which has no such products, all are f32.
    Native,
}

impl Weights {
    /// Bytes of a number in the cache of a model whose weights are held so, on the host: where weights are rounded, keys and values are held in halves. A
    /// `native` file in which nothing is quantised has floats, too.
    pub fn cache_number_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Q8_0 | Self::Native => 2,
        }
    }

    /// Why a decoder's weights cannot be held so, if they cannot.
    pub(crate) fn fault(self, config: &Config) -> Option<String> {
        let inputs = [config.hidden, config.intermediate, config.query_heads * config.head_dim];
        let odd = inputs.into_iter().find(|width| !width.is_multiple_of(BLOCK))?;
        (self == Self::Q8_0).then(|| {
            format!("its rows of {odd} weights do not fill blocks of {BLOCK}, which `q8_0` is made of: hold them as `f32`")
        })
    }
}

impl fmt::Display for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Q8_0 => "q8_0",
            Self::Native => "native",
        })
    }
}

impl FromStr for Weights {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Self, String> {
        match name {
            "f32" => Ok(Self::F32),
            "q8_0" => Ok(Self::Q8_0),
            "native" => Ok(Self::Native),
            other => Err(format!("`{other}` is none of `f32`, `q8_0` and `native`")),
        }
    }
}
