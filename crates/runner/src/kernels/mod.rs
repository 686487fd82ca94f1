//! The inner loops of the CPU, the threads that share them, and the memory that they run over: with the counting allocator, all of the program's `unsafe` code.
//!
//! Loops exist in plain Rust, for AVX2 with FMA and F16C, and for AVX-512 with VNNI where that gains, chosen when the program runs. All give the same bits, and
//! a row gives the same bits in any company and on any number of threads.

#![allow(clippy::inline_always, reason = "what is inlined into a loop for AVX2 becomes AVX2")]

mod activations;
mod asking;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod columns;
mod isa;
mod items;
mod lanes;
mod number;
mod packed;
mod parted;
mod region;
#[cfg(target_arch = "x86_64")]
mod registers;
mod scalar;
mod stored;
mod team;

pub(crate) use activations::{Activations, Norm};
pub(crate) use asking::{ask_for_parts, ask_to_write};
pub use isa::Instructions;
pub(crate) use isa::Isa;
pub(crate) use lanes::exp_of as exp;
pub(crate) use number::Number;
pub(crate) use packed::{Packed, Then, gated, products};
pub(crate) use region::{Region, Run, Shelf};
pub(crate) use stored::Stored;
pub(crate) use team::Team;

/// What computes on the host: the fastest instructions that it has, and threads.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) isa: Isa,
    pub(crate) team: Team,
}

impl Host {
    /// This machine, with so many threads.
    pub(crate) fn new(threads: usize) -> Self {
        Self { isa: Isa::of_machine(), team: Team::new(threads) }
    }
}

/// Numbers in a block of weights or activations that share a scale.
pub(crate) const BLOCK: usize = 32;
/// Outputs that are computed together.
pub(crate) const OUTPUTS: usize = 16;
/// Numbers in a register of AVX2, and in an order of additions.
pub(crate) const LANES: usize = 8;
/// Bytes that the processor reads at a time.
const LINE: usize = 64;
/// Keys that stand side by side in a tile of a cache.
pub(crate) const KEYS: usize = 32;
/// Entries of a cache that are gone through at a time: what is summed up within a chunk does not depend on what other entries there are.
pub(crate) const CHUNK: usize = 256;

/// The first `count` of some things, which are taken off.
#[allow(clippy::mut_mut, reason = "the slice itself becomes shorter")]
pub(crate) fn cut<'a, T>(things: &mut &'a mut [T], count: usize) -> &'a mut [T] {
    let (first, rest) = std::mem::take(things).split_at_mut(count);
    *things = rest;
    first
}

#[cfg(test)]
mod tests;
