//! The inner loops of the CPU, and the threads that share them: with the counting allocator, all of the program's `unsafe` code.
//!
//! Every loop exists twice, in plain Rust and for AVX2 with FMA and F16C, chosen when the program runs. Both give the same bits, and a row gives the
//! same bits in any company and on any number of threads.

#![allow(clippy::inline_always, reason = "what is inlined into a loop for AVX2 becomes AVX2")]

mod activations;
#[cfg(target_arch = "x86_64")]
mod avx2;
mod columns;
mod isa;
mod lanes;
mod packed;
mod scalar;
mod team;

pub(crate) use activations::Activations;
pub(crate) use isa::Isa;
pub(crate) use packed::{Packed, Stored, gated, products};
pub(crate) use team::Team;

/// Numbers in a block of weights or activations that share a scale.
pub(crate) const BLOCK: usize = 32;
/// Outputs that a kernel computes at once.
pub(crate) const LANES: usize = 8;
