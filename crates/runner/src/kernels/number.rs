use half::f16;
use half::slice::HalfFloatSliceExt;

use super::lanes::Lanes;
use super::region::Plain;

/// Numbers that are rounded at a time.
const PART: usize = 64;

/// What a cache holds its numbers in.
pub(crate) trait Number:
    Plain + Default + PartialEq + std::fmt::Debug + Send + Sync + 'static
{
    /// Whether they are floats, so that nothing is gained by widening them.
    const IS_FLOAT: bool;

    /// Rounds floats to such numbers, as many of each; what is too large becomes the largest.
    fn round(from: &[f32], to: &mut [Self]);

    /// Eight of them as they are.
    fn eight(x: &[Self; 8]) -> Eight<'_>;

    /// Sixteen of them as they are.
    fn sixteen(x: &[Self; 16]) -> Sixteen<'_>;
}

/// Eight numbers of a cache, by reference: copies would be made number by number.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Eight<'a> {
    Floats(&'a Lanes),
    Halves(&'a [f16; 8]),
}

/// Sixteen numbers of a cache.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sixteen<'a> {
    Floats(&'a [f32; 16]),
    Halves(&'a [f16; 16]),
}

impl Number for f32 {
    const IS_FLOAT: bool = true;

    fn round(from: &[f32], to: &mut [Self]) {
        to.copy_from_slice(from);
    }

    #[inline(always)]
    fn eight(x: &[Self; 8]) -> Eight<'_> {
        Eight::Floats(x)
    }

    #[inline(always)]
    fn sixteen(x: &[Self; 16]) -> Sixteen<'_> {
        Sixteen::Floats(x)
    }
}

impl Number for f16 {
    const IS_FLOAT: bool = false;

    fn round(from: &[f32], to: &mut [Self]) {
        let most = Self::MAX.to_f32();
        let mut within = [0.0f32; PART];
        for (from, to) in from.chunks(PART).zip(to.chunks_mut(PART)) {
            for (within, from) in within.iter_mut().zip(from) {
                *within = from.clamp(-most, most);
            }
            to.convert_from_f32_slice(&within[..from.len()]);
        }
    }

    #[inline(always)]
    fn eight(x: &[Self; 8]) -> Eight<'_> {
        Eight::Halves(x)
    }

    #[inline(always)]
    fn sixteen(x: &[Self; 16]) -> Sixteen<'_> {
        Sixteen::Halves(x)
    }
}

impl Eight<'_> {
    /// As floats, by instructions that every machine has.
    pub(super) fn lanes(self) -> Lanes {
        match self {
            Self::Floats(floats) => *floats,
            Self::Halves(halves) => halves.map(f16::to_f32),
        }
    }
}
