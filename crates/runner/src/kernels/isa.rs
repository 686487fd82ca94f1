use super::activations::{ActivationBlock, quantised};
#[cfg(target_arch = "x86_64")]
use super::avx2;
use super::lanes::{Lanes, gated};
use super::packed::{Tile4, Tile8};
use super::{BLOCK, scalar};

/// Which instructions the loops are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isa {
    /// Those that every machine has.
    Scalar,
    /// AVX2, FMA and F16C; made by [`Isa::of_machine`] alone, so that whoever holds it may use them.
    #[cfg(target_arch = "x86_64")]
    Avx2(Found),
}

/// That the instructions are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found(());

/// Calls a loop of the right kind.
macro_rules! dispatch {
    ($isa:expr, $scalar:expr, $avx2:expr) => {
        match $isa {
            Self::Scalar => $scalar,
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code, reason = "calls a function for instructions that are there")]
            // SAFETY: `Found` is made only where they are.
            Self::Avx2(Found(())) => unsafe { $avx2 },
        }
    };
}

impl Isa {
    /// The fastest that this machine has.
    pub(crate) fn of_machine() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
        {
            return Self::Avx2(Found(()));
        }
        Self::Scalar
    }

    /// Eight rows of 4-bit weights with `N` rows of activations.
    pub(super) fn four<const N: usize>(
        self,
        tiles: &[Tile4],
        rows: [&[ActivationBlock]; N],
    ) -> [Lanes; N] {
        dispatch!(self, scalar::four(tiles, rows), avx2::four(tiles, rows))
    }

    /// Eight rows of 8-bit weights with `N` rows of activations.
    pub(super) fn eight<const N: usize>(
        self,
        tiles: &[Tile8],
        rows: [&[ActivationBlock]; N],
    ) -> [Lanes; N] {
        dispatch!(self, scalar::eight(tiles, rows), avx2::eight(tiles, rows))
    }

    /// `gate · sigmoid(gate) · up`
    pub(super) fn gated(self, gate: Lanes, up: Lanes) -> Lanes {
        dispatch!(self, gated(gate, up), avx2::gated(gate, up))
    }

    /// Blocks of activations, quantised into `blocks`.
    pub(super) fn quantise(self, x: &[[f32; BLOCK]], blocks: &mut Vec<ActivationBlock>) {
        dispatch!(self, quantised(x, blocks), avx2::quantise(x, blocks));
    }
}
