//! Registers of channels as numbers, so that transforms are written once.

use pulp::Simd;
use std::ops::{Add, Mul, Neg, Sub};

/// Lanes of the widest register.
pub(super) const MOST_LANES: usize = 16;

/// What linear maps are written for: numbers, or registers of them.
pub(super) trait Number:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<f32, Output = Self>
{
    /// `self · factor + addend`, rounded once where the machine can.
    fn mul_add(self, factor: f32, addend: Self) -> Self;
}

impl Number for f32 {
    #[inline(always)]
    fn mul_add(self, factor: f32, addend: Self) -> Self {
        f32::mul_add(self, factor, addend)
    }
}

impl<S: Simd> Number for Lanes<S> {
    #[inline(always)]
    fn mul_add(self, factor: f32, addend: Self) -> Self {
        let factor = self.simd.splat_f32s(factor);
        let value = self.simd.mul_add_e_f32s(self.value, factor, addend.value);
        Self { value, ..self }
    }
}

/// A register: the same number of neighbouring channels.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Lanes<S: Simd> {
    simd: S,
    value: S::f32s,
}

impl<S: Simd> Lanes<S> {
    /// Zero in every lane.
    #[inline(always)]
    pub(super) fn zero(simd: S) -> Self {
        let value = simd.splat_f32s(0.0);
        Self { simd, value }
    }

    /// The first elements of `from`, which has at least as many as a register.
    #[inline(always)]
    pub(super) fn load(simd: S, from: &[f32]) -> Self {
        let value = S::as_simd_f32s(&from[..S::F32_LANES]).0[0];
        Self { simd, value }
    }

    /// The first elements of `from` in a register like this one.
    #[inline(always)]
    pub(super) fn load_like(self, from: &[f32]) -> Self {
        Self::load(self.simd, from)
    }

    /// Writes the first elements of `to`, which has at least as many as a register.
    #[inline(always)]
    pub(super) fn store(self, to: &mut [f32]) {
        S::as_mut_simd_f32s(&mut to[..S::F32_LANES]).0[0] = self.value;
    }

    /// Zero in the first `count` lanes and one in the others.
    #[inline(always)]
    pub(super) fn ones_after(simd: S, count: usize) -> Self {
        let mut ones = [1.0; MOST_LANES];
        ones[..count].fill(0.0);
        Self::load(simd, &ones)
    }
}

impl<S: Simd> Mul for Lanes<S> {
    type Output = Self;

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        let value = self.simd.mul_f32s(self.value, other.value);
        Self { value, ..self }
    }
}

impl<S: Simd> Add for Lanes<S> {
    type Output = Self;

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        let value = self.simd.add_f32s(self.value, other.value);
        Self { value, ..self }
    }
}

impl<S: Simd> Sub for Lanes<S> {
    type Output = Self;

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        let value = self.simd.sub_f32s(self.value, other.value);
        Self { value, ..self }
    }
}

impl<S: Simd> Mul<f32> for Lanes<S> {
    type Output = Self;

    #[inline(always)]
    fn mul(self, factor: f32) -> Self {
        let factor = self.simd.splat_f32s(factor);
        let value = self.simd.mul_f32s(self.value, factor);
        Self { value, ..self }
    }
}

impl<S: Simd> Neg for Lanes<S> {
    type Output = Self;

    #[inline(always)]
    fn neg(self) -> Self {
        let value = self.simd.neg_f32s(self.value);
        Self { value, ..self }
    }
}
