//! Random numbers by counting: each is a function of a key and a place, so that it does not matter in
//! which order or on which thread they are drawn (Salmon et al., "Parallel random numbers: as easy as
//! 1, 2, 3", SC 2011; the function here is a plainer one, the finalizer of SplitMix64).

/// A source of random numbers. [`Stream::child`] gives others that have nothing to do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    key: u64,
}

impl Stream {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self { key: finish(seed ^ 0x6a09_e667_f3bc_c908) }
    }

    /// The stream of a number within this one: an epoch, a step, a layer.
    #[must_use]
    pub fn child(self, number: u64) -> Self {
        Self { key: finish(self.key ^ finish(number.wrapping_add(1))) }
    }

    /// The random number of a place.
    pub fn at(self, place: u64) -> u64 {
        finish(self.key.wrapping_add(place.wrapping_mul(GOLDEN)))
    }

    /// A number of `0..bound` for a place; 0 where `bound` is 0. Bias: below `bound` ⁄ 2⁶⁴.
    pub fn below(self, place: u64, bound: usize) -> usize {
        ((u128::from(self.at(place)) * bound as u128) >> 64) as usize
    }

    /// The numbers `0..count` in random order (Fisher and Yates).
    pub fn shuffled(self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for place in (1..count).rev() {
            order.swap(place, self.below(place as u64, place + 1));
        }
        order
    }

    /// Normal numbers of mean 0 (Box and Muller); those beyond 2.5 deviations are drawn in to 2.5, as
    /// initial weights want it.
    pub fn fill_normal(self, values: &mut [f32], deviation: f32) {
        let unit = |bits: u64| ((bits >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        for (place, value) in (0..).zip(values) {
            let (a, b) = (unit(self.at(2 * place)), unit(self.at(2 * place + 1)));
            let normal = (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos();
            *value = normal.clamp(-2.5, 2.5) as f32 * deviation;
        }
    }

    /// Two words for kernels that count in 32 bits.
    pub(crate) fn words(self) -> [u32; 2] {
        [self.key as u32, (self.key >> 32) as u32]
    }
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

fn finish(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_numbers_have_their_mean_and_deviation() {
        let mut values = vec![0.0; 100_000];
        Stream::new(1).child(2).fill_normal(&mut values, 2.0);
        let mean = values.iter().sum::<f32>() / 1e5;
        let variance = values.iter().map(|value| value * value).sum::<f32>() / 1e5;
        assert!(mean.abs() < 0.03 && (variance - 4.0).abs() < 0.15, "{mean} {variance}");
    }

    #[test]
    fn an_order_holds_every_number_once_and_another_key_gives_another() {
        let order = Stream::new(1).shuffled(100);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
        assert_ne!(order, Stream::new(2).shuffled(100));
        assert_ne!(order, Stream::new(1).child(0).shuffled(100));
        assert!(Stream::new(3).shuffled(0).is_empty());
        assert_eq!(Stream::new(3).below(5, 0), 0);
    }
}
