//! Two words that are added together: one instruction where the processor is known to have it, and the same sums
//! everywhere.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m128i, _mm_add_epi64, _mm_cvtsi128_si64, _mm_set_epi64x, _mm_setzero_si128, _mm_unpackhi_epi64,
};

/// Two sums.
#[derive(Debug, Clone, Copy)]
#[cfg(target_arch = "x86_64")]
pub(in crate::trees) struct Cell(__m128i);

/// Two sums.
#[derive(Debug, Clone, Copy)]
#[cfg(not(target_arch = "x86_64"))]
pub(in crate::trees) struct Cell([i64; 2]);

#[cfg(target_arch = "x86_64")]
impl Cell {
    #[inline(always)]
    pub(in crate::trees) fn new(first: i64, second: i64) -> Self {
        // SAFETY: every x86-64 processor has SSE2.
        Self(unsafe { _mm_set_epi64x(second, first) })
    }

    #[inline(always)]
    pub(in crate::trees) fn add(&mut self, other: Self) {
        // SAFETY: as above.
        self.0 = unsafe { _mm_add_epi64(self.0, other.0) };
    }

    #[inline(always)]
    pub(in crate::trees) fn both(self) -> [i64; 2] {
        // SAFETY: as above.
        unsafe { [_mm_cvtsi128_si64(self.0), _mm_cvtsi128_si64(_mm_unpackhi_epi64(self.0, self.0))] }
    }
}

#[cfg(target_arch = "x86_64")]
impl Default for Cell {
    #[inline(always)]
    fn default() -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm_setzero_si128() })
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl Cell {
    pub(in crate::trees) fn new(first: i64, second: i64) -> Self {
        Self([first, second])
    }

    pub(in crate::trees) fn add(&mut self, other: Self) {
        self.0[0] += other.0[0];
        self.0[1] += other.0[1];
    }

    pub(in crate::trees) fn both(self) -> [i64; 2] {
        self.0
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl Default for Cell {
    fn default() -> Self {
        Self([0; 2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_added_apart() {
        let mut cell = Cell::default();
        [(5, -1), (-8, i64::MAX / 2), (1, 7)].into_iter().for_each(|(a, b)| cell.add(Cell::new(a, b)));
        assert_eq!(cell.both(), [-2, i64::MAX / 2 + 6]);
    }
}
