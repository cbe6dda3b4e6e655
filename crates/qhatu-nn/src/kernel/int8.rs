//! Product with weights and inputs of 8 bits, summed in whole numbers: `y ≈ x Wᵀ + b`.
//!
//! Each output has a scale of its own for its weights (symmetric, −127 … 127), each row of `x` a scale and a zero of
//! its own (0 … 255), found when it comes (dynamic quantization; Jacob et al., "Quantization and Training of Neural
//! Networks for Efficient Integer-Arithmetic-Only Inference", 2018):
//! `Σ x w ≈ s_row s_output (Σ q_x q_w − zero Σ q_w)`.
//!
//! VNNI multiplies and adds four bytes at a time. AVX2's instruction for bytes adds two products in 16 bits and cuts
//! off what does not fit, so there (and in plain code) the same whole numbers are kept in words of 16 bits, of which
//! two are multiplied and added at a time without loss, as many in a cycle. All ways give the same answer to the bit.

use super::lane::LANES;
use super::level::{dispatched, level};
use super::packed::share;
use super::team::Team;

/// Largest whole number of a weight.
const LARGEST: f32 = 127.0;
/// Rows of a tile.
const ROWS: usize = 6;
/// Adding it rounds a small number to the nearest whole one.
const ROUND: f32 = 12_582_912.0;
/// Bytes, and words, that one instruction takes together.
const FOUR: usize = 4;
const TWO: usize = 2;

/// Weights of [`LANES`] outputs for some inputs, output after output; a cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line<T, const N: usize>([T; N]);

type Bytes = Line<i8, { LANES * FOUR }>;
type Words = Line<i16, { LANES * TWO }>;

/// The sums of a tile.
type Sums<const R: usize> = [[i32; LANES]; R];

/// Panel after panel, of each a line for each group of inputs; what lies beyond is 0.
#[derive(Debug, Clone)]
enum Lines {
    Bytes(Vec<Bytes>),
    Words(Vec<Words>),
}

/// A matrix outputs × inputs in whole numbers, in panels of [`LANES`] outputs.
#[derive(Debug, Clone)]
pub(crate) struct Int8Panels {
    inputs: usize,
    outputs: usize,
    dot: Dot,
    lines: Lines,
    /// Of each output: its scale, and the sum of its whole numbers.
    scales: Vec<f32>,
    totals: Vec<i32>,
}

/// Rows in whole numbers; room that is kept from product to product.
#[derive(Debug, Clone, Default)]
pub(crate) struct Int8Rows {
    bytes: Vec<u8>,
    words: Vec<i16>,
    /// Of each row: its scale and what stands for 0.
    scales: Vec<(f32, i32)>,
}

/// Which instructions multiply and add.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dot {
    Portable,
    /// The layout of bytes without its instructions, to test it anywhere.
    #[cfg(test)]
    PortableBytes,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
}

/// What this processor has, the best first.
fn dots() -> Vec<Dot> {
    let mut found = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512vl") {
            found.push(Dot::Avx512Vnni);
        }
        if is_x86_feature_detected!("avxvnni") {
            found.push(Dot::AvxVnni);
        }
        if is_x86_feature_detected!("avx2") {
            found.push(Dot::Avx2);
        }
    }
    found.push(Dot::Portable);
    found
}

impl Dot {
    /// Inputs of a line.
    fn group(self) -> usize {
        match self {
            Self::Portable => TWO,
            #[cfg(test)]
            Self::PortableBytes => FOUR,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => TWO,
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni | Self::Avx512Vnni => FOUR,
        }
    }
}

fn best() -> Dot {
    static BEST: std::sync::OnceLock<Dot> = std::sync::OnceLock::new();
    *BEST.get_or_init(|| dots()[0])
}

impl Int8Panels {
    /// Rounds and lays out `weights` (outputs × inputs).
    ///
    /// # Panics
    /// Where they are not as many as that, or a row is longer than 65,536: sums would not fit.
    pub(crate) fn new(weights: &[f32], inputs: usize, outputs: usize) -> Self {
        Self::laid_out(weights, inputs, outputs, best())
    }

    fn laid_out(weights: &[f32], inputs: usize, outputs: usize, dot: Dot) -> Self {
        assert_eq!(weights.len(), inputs * outputs, "outputs × inputs weights");
        assert!(inputs <= 1 << 16, "sums of 32 bits");
        let group = dot.group();
        let groups = inputs.div_ceil(group);
        let mut whole = vec![0_i8; outputs.div_ceil(LANES) * groups * LANES * group];
        let (mut scales, mut totals) = (Vec::with_capacity(outputs), Vec::with_capacity(outputs));
        for (output, row) in weights.chunks_exact(inputs.max(1)).enumerate() {
            let largest = row.iter().fold(0.0_f32, |largest, weight| largest.max(weight.abs()));
            let scale = if largest > 0.0 { largest / LARGEST } else { 1.0 };
            let panel = output / LANES * groups;
            let mut total = 0;
            for (input, weight) in row.iter().enumerate() {
                let near = (weight / scale).round().clamp(-LARGEST, LARGEST) as i8;
                let line = (panel + input / group) * LANES * group;
                whole[line + output % LANES * group + input % group] = near;
                total += i32::from(near);
            }
            scales.push(scale);
            totals.push(total);
        }
        let lines = if group == FOUR {
            Lines::Bytes(whole.as_chunks().0.iter().map(|line| Line(*line)).collect())
        } else {
            Lines::Words(whole.as_chunks().0.iter().map(|line| Line(line.map(i16::from))).collect())
        };
        Self { inputs, outputs, dot, lines, scales, totals }
    }

    /// `y ← x Wᵀ + bias` about; the team shares the outputs out, which changes nothing in the result. `room` is kept from call to call.
    ///
    /// # Shapes
    /// `x` rows × inputs, `bias` outputs, `y` rows × outputs.
    ///
    /// # Panics
    /// When shapes do not fit: a fault of the calling code, never of data.
    pub(crate) fn multiply(
        &self,
        x: &[f32],
        bias: &[f32],
        y: &mut [f32],
        (team, room): (&Team, &mut Int8Rows),
    ) {
        let rows = y.len() / self.outputs.max(1);
        assert!(y.len() == rows * self.outputs && x.len() == rows * self.inputs, "x and y have equal rows");
        assert_eq!(bias.len(), self.outputs, "a bias for each output");
        if rows == 0 {
            return;
        }
        room.fill(x, self.inputs, self.dot.group());
        let out = Out { start: y.as_mut_ptr(), columns: self.outputs };
        let panels = self.outputs.div_ceil(LANES);
        let share = share(panels, team.threads());
        let room = &*room;
        team.each(panels.div_ceil(share), &|part| {
            for panel in part * share..((part + 1) * share).min(panels) {
                // SAFETY: `y` has rows × outputs numbers and is borrowed for as long as this runs; each part has
                // panels, and so columns, of its own.
                unsafe { self.panel(panel, (room, bias), out) };
            }
        });
    }

    /// One panel's columns of all rows.
    ///
    /// # Safety
    /// `out` has as many rows as `rows` and nobody else uses the panel's columns.
    unsafe fn panel(&self, panel: usize, (rows, bias): (&Int8Rows, &[f32]), out: Out) {
        let count = rows.scales.len();
        let mut row = 0;
        while row < count {
            let left = count - row;
            // SAFETY: handed on; as many rows are left.
            row += unsafe {
                match left {
                    ROWS.. => self.tile::<ROWS>(panel, row, (rows, bias), out),
                    4.. => self.tile::<4>(panel, row, (rows, bias), out),
                    _ => self.tile::<1>(panel, row, (rows, bias), out),
                }
            };
        }
    }

    /// `R` rows of a panel; how many they are.
    ///
    /// # Safety
    /// As [`Int8Panels::panel`]; the rows are there.
    unsafe fn tile<const R: usize>(
        &self,
        panel: usize,
        row: usize,
        (rows, bias): (&Int8Rows, &[f32]),
        out: Out,
    ) -> usize {
        let sums = self.sums::<R>(panel, row, rows);
        let column = panel * LANES;
        let width = LANES.min(self.outputs - column);
        let columns = column..column + width;
        let of = Columns {
            scales: &self.scales[columns.clone()],
            totals: &self.totals[columns.clone()],
            bias: &bias[columns],
        };
        for (r, sums) in sums.iter().enumerate() {
            let place = (row + r) * out.columns + column;
            // SAFETY: the row and `width` columns from `column` on lie within the result, and are this thread's own.
            let out = unsafe { std::slice::from_raw_parts_mut(out.start.add(place), width) };
            put_at(level(), sums, rows.scales[row + r], of, out);
        }
        R
    }

    /// Sums of `R` rows from `row` on with the outputs of a panel.
    fn sums<const R: usize>(&self, panel: usize, row: usize, rows: &Int8Rows) -> Sums<R> {
        let groups = self.inputs.div_ceil(self.dot.group());
        let stride = groups * self.dot.group();
        let (from, to) = (row * stride, (row + R) * stride);
        #[cfg(target_arch = "x86_64")]
        let ahead = Ahead::of(row, rows.scales.len(), groups);
        match &self.lines {
            Lines::Bytes(lines) => {
                let (values, lines) = (&rows.bytes[from..to], &lines[panel * groups..][..groups]);
                match self.dot {
                    // SAFETY: the processor has these instructions, as `dots` found; R rows of four bytes a line.
                    #[cfg(target_arch = "x86_64")]
                    Dot::AvxVnni => unsafe { wide::avx_vnni(values, stride, lines, ahead) },
                    // SAFETY: as above.
                    #[cfg(target_arch = "x86_64")]
                    Dot::Avx512Vnni => unsafe { wide::avx512_vnni(values, stride, lines, ahead) },
                    _ => portable::<R, FOUR, _, _, { LANES * FOUR }>(values, stride, lines),
                }
            }
            Lines::Words(lines) => {
                let (values, lines) = (&rows.words[from..to], &lines[panel * groups..][..groups]);
                match self.dot {
                    // SAFETY: as above, of two words a line.
                    #[cfg(target_arch = "x86_64")]
                    Dot::Avx2 => unsafe { wide::avx2(values, stride, lines, ahead) },
                    _ => portable::<R, TWO, _, _, { LANES * TWO }>(values, stride, lines),
                }
            }
        }
    }
}

/// The share of the next panel's bytes that a tile asks memory for while it runs.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy)]
struct Ahead {
    from: usize,
    /// From group to group.
    step: usize,
}

#[cfg(target_arch = "x86_64")]
impl Ahead {
    /// That of the tile that begins at a row of so many.
    fn of(row: usize, rows: usize, groups: usize) -> Self {
        let tiles = rows.div_ceil(ROWS).clamp(1, size_of::<Bytes>());
        let step = size_of::<Bytes>() / tiles;
        Self { from: (row / ROWS).min(tiles) * groups * step, step }
    }
}

/// What belongs to some outputs.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'a> {
    scales: &'a [f32],
    totals: &'a [i32],
    bias: &'a [f32],
}

dispatched! {
    /// A row's sums become numbers again.
    fn put_at(sums: &[i32; LANES], row: (f32, i32), of: Columns, out: &mut [f32]) = put_body
}

#[inline(always)]
fn put_body<const FMA: bool>(sums: &[i32; LANES], (scale, zero): (f32, i32), of: Columns, out: &mut [f32]) {
    let width = out.len();
    let (sums, bias) = (&sums[..width], &of.bias[..width]);
    let (scales, totals) = (&of.scales[..width], &of.totals[..width]);
    for place in 0..width {
        // |Σ (q_x − zero) q_w| ≤ 255 · 127 · 65,536 fits 32 bits, so the difference is right even if its parts do not.
        let sum = sums[place].wrapping_sub(zero.wrapping_mul(totals[place]));
        // Two steps at every level, so that all give the same.
        out[place] = sum as f32 * (scale * scales[place]) + bias[place];
    }
}

impl Int8Rows {
    fn fill(&mut self, x: &[f32], inputs: usize, group: usize) {
        let stride = inputs.div_ceil(group) * group;
        let rows = x.len() / inputs.max(1);
        self.bytes.clear();
        self.bytes.resize(rows * stride, 0);
        self.scales.clear();
        for (x, values) in x.chunks_exact(inputs.max(1)).zip(self.bytes.chunks_exact_mut(stride.max(1))) {
            self.scales.push(whole_row_at(level(), x, values));
        }
        if group == TWO {
            self.words.clear();
            self.words.extend(self.bytes.iter().map(|byte| i16::from(*byte)));
        }
    }
}

dispatched! {
    /// Rounds a row between its smallest and its largest number, 0 among them.
    fn whole_row_at(x: &[f32], values: &mut [u8]) -> (f32, i32) = whole_row_body
}

/// In two steps where it multiplies and adds, so that every level gives the same.
#[inline(always)]
fn whole_row_body<const FMA: bool>(x: &[f32], values: &mut [u8]) -> (f32, i32) {
    let (mut lows, mut highs) = ([0.0_f32; LANES], [0.0_f32; LANES]);
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            lows[lane] = if chunk[lane] < lows[lane] { chunk[lane] } else { lows[lane] };
            highs[lane] = if chunk[lane] > highs[lane] { chunk[lane] } else { highs[lane] };
        }
    }
    let low = lows.iter().chain(rest).fold(0.0_f32, |low, x| low.min(*x));
    let high = highs.iter().chain(rest).fold(0.0_f32, |high, x| high.max(*x));
    let scale = if high > low { (high - low) / 255.0 } else { 1.0 };
    let inverse = 1.0 / scale;
    let zero = (-low * inverse).round();
    for (x, value) in x.iter().zip(values) {
        let near = x * inverse + zero;
        let near = if near > 255.0 { 255.0 } else { near };
        let near = if near < 0.0 { 0.0 } else { near };
        // The low bits of the sum are the whole number.
        *value = (near + ROUND).to_bits() as u8;
    }
    (scale, zero as i32)
}

/// Where a row-major result lies. Whoever holds one writes to columns of its own alone.
#[derive(Clone, Copy)]
struct Out {
    start: *mut f32,
    columns: usize,
}

// SAFETY: threads that share an `Out` write to different columns (see `Int8Panels::multiply`).
unsafe impl Send for Out {}
// SAFETY: as above.
unsafe impl Sync for Out {}

/// The sums as they are written down: `G` inputs of a line at a time.
fn portable<const R: usize, const G: usize, X, W, const N: usize>(
    values: &[X],
    stride: usize,
    lines: &[Line<W, N>],
) -> Sums<R>
where
    X: Copy + Into<i32>,
    W: Copy + Into<i32>,
{
    let mut sums = [[0; LANES]; R];
    for (r, sums) in sums.iter_mut().enumerate() {
        let row = values[r * stride..][..stride].as_chunks::<G>().0;
        for (values, line) in row.iter().zip(lines) {
            for (sum, weights) in sums.iter_mut().zip(line.0.as_chunks::<G>().0) {
                *sum += values.iter().zip(weights).map(|(x, w)| (*x).into() * (*w).into()).sum::<i32>();
            }
        }
    }
    sums
}

#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::*;

    use super::{Ahead, Bytes, FOUR, LANES, Sums, TWO, Words};

    /// A function of these instructions; `$dot` adds to eight sums the products of 32 bits each.
    macro_rules! tile {
        ($(#[$doc:meta])* $name:ident, $features:literal, ($value:ty, $line:ty, $group:ident), $dot:expr) => {
            $(#[$doc])*
            ///
            /// # Safety
            /// The processor has the instructions; `values` holds R rows of `stride`, a group for each line.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn $name<const R: usize>(
                values: &[$value],
                stride: usize,
                lines: &[$line],
                ahead: Ahead,
            ) -> Sums<R> {
                let mut sums = [[_mm256_setzero_si256(); 2]; R];
                let start = values.as_ptr();
                // Of the lines behind these, the next panel's, a share is asked for: with few rows they come from far.
                let (from, step) = (lines.as_ptr_range().end.cast::<u8>().wrapping_add(ahead.from), ahead.step);
                for (group, line) in lines.iter().enumerate() {
                    _mm_prefetch::<_MM_HINT_T1>(from.wrapping_add(group * step).cast());
                    let weights = line.0.as_ptr().cast::<__m256i>();
                    // SAFETY: a line has 64 bytes and is aligned to as many.
                    let weights = unsafe { [_mm256_load_si256(weights), _mm256_load_si256(weights.add(1))] };
                    for r in 0..R {
                        // SAFETY: 32 bits for each line lie in each row.
                        let some = unsafe { *start.add(r * stride + group * $group).cast::<[u8; 4]>() };
                        let x = _mm256_set1_epi32(i32::from_ne_bytes(some));
                        for half in 0..2 {
                            sums[r][half] = $dot(sums[r][half], x, weights[half]);
                        }
                    }
                }
                let mut answer = [[0; LANES]; R];
                for r in 0..R {
                    for half in 0..2 {
                        // SAFETY: sixteen numbers of 32 bits.
                        unsafe {
                            let to = answer[r].as_mut_ptr().cast::<__m256i>().add(half);
                            _mm256_storeu_si256(to, sums[r][half]);
                        }
                    }
                }
                answer
            }
        };
    }

    tile! {
        /// Two words at a time; nothing is cut off, for the words are bytes.
        avx2, "avx2", (i16, Words, TWO), |sum, x, w| _mm256_add_epi32(sum, _mm256_madd_epi16(x, w))
    }
    tile! {
        /// Four bytes at a time, on processors without AVX-512.
        avx_vnni, "avx2,avxvnni", (u8, Bytes, FOUR), |sum, x, w| _mm256_dpbusd_avx_epi32(sum, x, w)
    }
    tile! {
        /// Four bytes at a time, on processors with AVX-512.
        avx512_vnni, "avx2,avx512vnni,avx512vl", (u8, Bytes, FOUR), |sum, x, w| _mm256_dpbusd_epi32(sum, x, w)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::level::{Level, levels};
    use crate::kernel::tests::numbers;

    #[test]
    fn every_way_gives_the_same_to_the_bit() {
        for (rows, inputs, outputs) in [(1, 1, 1), (5, 7, 17), (4, 384, 48), (9, 130, 33)] {
            let (x, weights) = (numbers(rows * inputs, 1), numbers(outputs * inputs, 2));
            let bias = numbers(outputs, 3);
            let run = |dot: Dot, threads: usize| {
                let panels = Int8Panels::laid_out(&weights, inputs, outputs, dot);
                let mut y = vec![f32::NAN; rows * outputs];
                Team::with(threads, |team| {
                    panels.multiply(&x, &bias, &mut y, (team, &mut Int8Rows::default()))
                });
                y
            };
            let want = run(Dot::Portable, 1);
            for dot in [dots(), vec![Dot::PortableBytes]].concat() {
                assert_eq!(run(dot, 1), want, "{dot:?}");
                assert_eq!(run(dot, 3), want, "{dot:?}");
            }
            let length = (inputs as f32).sqrt();
            for (row, y) in x.chunks_exact(inputs).zip(want.chunks_exact(outputs)) {
                for ((weights, bias), y) in weights.chunks_exact(inputs).zip(&bias).zip(y) {
                    let exact: f32 = row.iter().zip(weights).map(|(x, w)| x * w).sum::<f32>() + bias;
                    assert!((y - exact).abs() < 0.04 * length, "{y} {exact}");
                }
            }
        }
    }

    /// All weights and inputs at their largest: nothing is cut off.
    #[test]
    fn extremes_fit() {
        let inputs = 64;
        let x = vec![3.0; inputs];
        for sign in [1.0, -1.0] {
            for dot in [dots(), vec![Dot::PortableBytes]].concat() {
                let panels = Int8Panels::laid_out(&vec![sign * 0.5; inputs], inputs, 1, dot);
                let mut y = [0.0];
                panels.multiply(&x, &[0.25], &mut y, (&Team::alone(), &mut Int8Rows::default()));
                assert!((y[0] - (sign * 96.0 + 0.25)).abs() < 1e-3, "{dot:?} {y:?}");
            }
        }
    }

    #[test]
    fn rows_of_nothing_are_nothing() {
        let panels = Int8Panels::new(&[0.0; 8], 4, 2);
        let mut y = [9.0; 2];
        panels.multiply(&[0.0; 4], &[1.0, 2.0], &mut y, (&Team::alone(), &mut Int8Rows::default()));
        assert_eq!(y, [1.0, 2.0]);
        panels.multiply(&[], &[1.0, 2.0], &mut [], (&Team::alone(), &mut Int8Rows::default()));
    }

    #[test]
    fn a_row_keeps_its_zero_and_its_ends() {
        for level in levels() {
            let mut values = [7; 4];
            let (scale, zero) = whole_row_at(level, &[-1.0, 0.0, 3.0, 1.0], &mut values);
            assert_eq!((values[0], i32::from(values[1]), values[2]), (0, zero, 255));
            assert!((f32::from(values[3]) - zero as f32) * scale - 1.0 < scale);
        }
    }

    #[test]
    fn every_level_rounds_a_row_to_the_same_numbers() {
        let x = numbers(203, 9);
        let at = |level| {
            let mut values = vec![0; 203];
            (whole_row_at(level, &x, &mut values), values)
        };
        levels().into_iter().for_each(|level| assert_eq!(at(level), at(Level::Portable), "{level:?}"));
    }
}
