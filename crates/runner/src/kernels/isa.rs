use std::ops::Range;
use std::sync::OnceLock;

use super::activations::ActivationBlock;
use super::lanes;
use super::number::Number;
use super::packed::{Group, Tile4, Tile8};
use super::{BLOCK, CHUNK, KEYS, scalar};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// Which instructions the loops are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isa {
    /// Those that every machine has.
    Scalar,
    /// AVX2, FMA and F16C; made by [`Isa::all`] alone, so that whoever holds it may use them.
    #[cfg(target_arch = "x86_64")]
    Avx2(Found),
    /// AVX-512 with VNNI besides.
    #[cfg(target_arch = "x86_64")]
    Avx512(Found),
}

/// Instructions that the host computes with, the fewest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Instructions {
    /// Those that every machine has.
    Scalar,
    /// AVX2, FMA and F16C.
    Avx2,
    /// AVX-512 with VNNI besides.
    Avx512,
}

/// The most that may be used, if that was said.
static MOST: OnceLock<Instructions> = OnceLock::new();

impl Instructions {
    /// The most that this machine has and this program may use.
    pub fn in_use() -> Self {
        Isa::of_machine().instructions()
    }

    /// Uses no more than these in models that are loaded from now on, to know what a machine without the others would do. All give the same bits.
    ///
    /// # Errors
    /// What was said before, if anything was.
    pub fn limit(most: Self) -> Result<(), Self> {
        MOST.set(most).map_err(|_| *MOST.get().unwrap_or(&most))
    }
}

/// That the instructions are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found(());

/// Calls a loop of the right kind. Without one for AVX-512, AVX2's serves there too.
macro_rules! dispatch {
    ($isa:expr, $scalar:expr, $avx2:expr) => {
        dispatch!($isa, $scalar, $avx2, $avx2)
    };
    ($isa:expr, $scalar:expr, $avx2:expr, $avx512:expr) => {
        match $isa {
            Self::Scalar => $scalar,
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code, reason = "calls a function for instructions that are there")]
            // SAFETY: `Found` is made only where they are.
            Self::Avx2(Found(())) => unsafe { $avx2 },
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code, reason = "calls a function for instructions that are there")]
            // SAFETY: as above.
            Self::Avx512(Found(())) => unsafe { $avx512 },
        }
    };
}

impl Isa {
    /// The fastest that this machine has and that may be used.
    pub(crate) fn of_machine() -> Self {
        let may_be_used = |isa: &Self| MOST.get().is_none_or(|most| isa.instructions() <= *most);
        Self::all().into_iter().rfind(may_be_used).unwrap_or(Self::Scalar)
    }

    fn instructions(self) -> Instructions {
        match self {
            Self::Scalar => Instructions::Scalar,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => Instructions::Avx2,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => Instructions::Avx512,
        }
    }

    /// All that this machine has, the fastest last.
    pub(crate) fn all() -> Vec<Self> {
        #[allow(unused_mut, reason = "other machines have no more")]
        let mut all = vec![Self::Scalar];
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx2") && has!("fma") && has!("f16c") {
                all.push(Self::Avx2(Found(())));
                if has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vnni") {
                    all.push(Self::Avx512(Found(())));
                }
            }
        }
        all
    }

    /// Rows of activations that a product takes at once, as many as registers hold. Dot products of whole numbers are held one half of the outputs at a time.
    pub(super) fn rows(self, quantised: bool) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) if quantised => 8,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => 8,
            _ => 4,
        }
    }

    /// Queries that a loop over a cache takes at once, as many as registers hold.
    pub(crate) fn queries(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => 6,
            _ => 3,
        }
    }

    /// Sixteen rows of 4-bit weights with `N` rows of activations.
    pub(super) fn four<const N: usize>(
        self,
        tiles: &[Tile4],
        rows: [&[ActivationBlock]; N],
        found: &mut [Group; N],
    ) {
        dispatch!(
            self,
            scalar::four(tiles, rows, found),
            avx2::four(tiles, rows, found),
            avx512::four(tiles, rows, found)
        );
    }

    /// Sixteen rows of 8-bit weights with `N` rows of activations.
    pub(super) fn eight<const N: usize>(
        self,
        tiles: &[Tile8],
        rows: [&[ActivationBlock]; N],
        found: &mut [Group; N],
    ) {
        dispatch!(
            self,
            scalar::eight(tiles, rows, found),
            avx2::eight(tiles, rows, found),
            avx512::eight(tiles, rows, found)
        );
    }

    /// Sixteen rows of unquantised weights with `N` rows of activations.
    pub(super) fn dense<const N: usize>(
        self,
        tiles: &[Group],
        rows: [&[f32]; N],
        found: &mut [Group; N],
    ) {
        dispatch!(
            self,
            scalar::dense(tiles, rows, found),
            avx2::dense(tiles, rows, found),
            avx512::dense(tiles, rows, found)
        );
    }

    /// As [`scalar::gated`].
    pub(super) fn gated(self, gates: &mut [Group], ups: &[Group]) {
        dispatch!(
            self,
            scalar::gated(gates, ups),
            avx2::gated(gates, ups),
            avx512::gated(gates, ups)
        );
    }

    /// Blocks of activations, quantised into `blocks`, as many of each.
    pub(super) fn quantise(self, x: &[[f32; BLOCK]], blocks: &mut [ActivationBlock]) {
        dispatch!(self, scalar::quantise(x, blocks), avx2::quantise(x, blocks));
    }

    /// As [`lanes::normed`].
    pub(super) fn normed(self, x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
        dispatch!(
            self,
            lanes::normed(x, weight, epsilon, out),
            avx2::normed(x, weight, epsilon, out)
        );
    }

    /// As [`scalar::scores`]. With each row of keys asks for one of what is read some time `ahead`, as far as both reach, and
    /// for what stands a little behind the keys themselves.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        allow(unused_variables, reason = "who asks for memory")
    )]
    pub(crate) fn scores<T: Number, const N: usize>(
        self,
        tile: &[[T; KEYS]],
        queries: [&[f32]; N],
        chunk: (usize, &mut [[f32; CHUNK]; N]),
        ahead: &[T],
    ) {
        dispatch!(
            self,
            scalar::scores(tile, queries, chunk),
            avx2::scores(tile, queries, chunk, ahead),
            avx512::scores(tile, queries, chunk, ahead)
        );
    }

    /// As [`scalar::soften`].
    pub(crate) fn soften(self, scores: &mut [f32], count: usize) -> [f32; 2] {
        dispatch!(
            self,
            scalar::soften(scores, count),
            avx2::soften(scores, count),
            avx512::soften(scores, count)
        )
    }

    /// As [`scalar::weigh`]. Asks for memory as [`Self::scores`] does.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        allow(unused_variables, reason = "who asks for memory")
    )]
    pub(crate) fn weigh<T: Number, const N: usize>(
        self,
        values: &[T],
        width: usize,
        weights: (&[[f32; CHUNK]; N], Range<usize>),
        out: (&mut [f32], usize),
        ahead: &[T],
    ) {
        dispatch!(
            self,
            scalar::weigh(values, width, weights, out),
            avx2::weigh(values, width, weights, out, ahead),
            avx512::weigh(values, width, weights, out, ahead)
        );
    }

    /// As [`scalar::widen`].
    pub(crate) fn widen<T: Number>(self, from: &[T], to: &mut [f32]) {
        dispatch!(self, scalar::widen(from, to), avx2::widen(from, to), avx512::widen(from, to));
    }

    /// As [`lanes::merge`].
    pub(crate) fn merge(self, into: &mut [f32], from: &[f32]) {
        dispatch!(self, lanes::merge(into, from), avx2::merge(into, from));
    }

    /// As [`lanes::add_scaled`].
    pub(crate) fn add_scaled(self, into: &mut [f32], from: &[f32], factor: f32) {
        dispatch!(
            self,
            lanes::add_scaled(into, from, factor),
            avx2::add_scaled(into, from, factor)
        );
    }
}
