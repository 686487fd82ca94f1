//! A decoder's tensors, whatever file they lie in.
//!
//! One seam: a named tensor, in f32 on the host. The names are Hugging Face's; a file of another kind translates. Every name, shape
//! and stored type is checked against the configuration before the first tensor is read.

mod gguf;
mod held;
mod layout;
mod safetensors;

use std::collections::BTreeSet;

use candle_core::Tensor;

pub use self::held::Weights;
pub(crate) use self::safetensors::Safetensors;
use crate::kernels::Stored;
use crate::{Config, Error, Result};

/// Files that hold tensors.
pub(crate) trait Source {
    /// Names of all its tensors.
    fn names(&self) -> Vec<String>;

    /// A tensor's shape, if it is there; an error if it is stored in a way that is not read.
    fn shape(&self, name: &str) -> Result<Option<Vec<usize>>>;

    /// A tensor in f32.
    fn read(&mut self, name: &str) -> Result<Tensor>;

    /// A matrix in the blocks of 32 that it is stored in; in blocks of 8 bits, if it is stored in others; `None` if it is not quantised.
    fn stored(&mut self, name: &str) -> Result<Option<Stored>>;

    /// An error that names the file where a tensor lies, or should, and the tensor as the file calls it.
    fn fault(&self, name: &str, reason: &str) -> Error;
}

/// The tensors of one decoder: all there, all of the right shape.
pub(crate) struct Tensors<'a> {
    source: &'a mut dyn Source,
}

impl<'a> Tensors<'a> {
    /// Checks files against a configuration; nothing but their headers is read.
    ///
    /// # Errors
    /// [`Error::Malformed`] with the tensor that is missing, of another shape, or unknown to such a decoder.
    pub(crate) fn new(source: &'a mut dyn Source, config: &Config) -> Result<Self> {
        let mut known = BTreeSet::new();
        for (name, shape) in layout::of(config) {
            match source.shape(&name)? {
                Some(found) if found == shape => known.insert(name),
                Some(found) => {
                    return Err(source.fault(&name, &format!("is {found:?}, not {shape:?}")));
                }
                None => return Err(source.fault(&name, "is missing")),
            };
        }
        let divisors = vec![config.head_dim / 2];
        if let Some(found) = source.shape(layout::ROPE_DIVISORS)?.filter(|it| *it != divisors) {
            let reason = format!("is {found:?}, not {divisors:?}");
            return Err(source.fault(layout::ROPE_DIVISORS, &reason));
        }
        let mut names = source.names().into_iter();
        match names.find(|name| !known.contains(name) && !layout::is_ignored(name, config)) {
            Some(unknown) => {
                Err(source.fault(&unknown, "has no place in a decoder of this configuration"))
            }
            None => Ok(Self { source }),
        }
    }

    /// A tensor in f32 on the host.
    ///
    /// # Errors
    /// [`Error::Malformed`] if a number in it is not finite.
    pub(crate) fn read(&mut self, name: &str) -> Result<Tensor> {
        let tensor = self.source.read(name)?;
        // A sum is finite only if every number is, and if it overflows all of them have to be looked at.
        let finite = tensor.sum_all()?.to_scalar::<f32>()?.is_finite()
            || tensor.flatten_all()?.to_vec1::<f32>()?.into_iter().all(f32::is_finite);
        if finite { Ok(tensor) } else { Err(self.source.fault(name, "holds NaN or infinity")) }
    }

    /// A matrix in blocks, if its file quantised it.
    ///
    /// # Errors
    /// [`Error::Malformed`] if a scale in it is not finite.
    pub(crate) fn stored(&mut self, name: &str) -> Result<Option<Stored>> {
        match self.source.stored(name)? {
            Some(stored) => Ok(Some(self.finite(name, stored)?)),
            None => Ok(None),
        }
    }

    /// A matrix in blocks of 8 bits, however its file has it.
    ///
    /// # Errors
    /// [`Error::Malformed`] if a number in it is not finite, or too large for such a block.
    pub(crate) fn in_8_bits(&mut self, name: &str) -> Result<Stored> {
        let stored = Stored::in_8_bits(&self.read(name)?)?;
        self.finite(name, stored)
    }

    fn finite(&self, name: &str, stored: Stored) -> Result<Stored> {
        if stored.is_finite() {
            return Ok(stored);
        }
        Err(self.source.fault(name, "holds NaN or infinity, or what its blocks cannot hold"))
    }

    /// What GGUF divides each rotary frequency by, where it says so.
    pub(crate) fn rope_divisors(&mut self) -> Result<Option<Vec<f32>>> {
        match self.source.shape(layout::ROPE_DIVISORS)? {
            Some(_) => Ok(Some(self.read(layout::ROPE_DIVISORS)?.to_vec1()?)),
            None => Ok(None),
        }
    }
}
