//! Product with weights that were laid out for it once, `y = x Wᵀ + b`.
//!
//! The general product packs both sides each time it is called, which for few rows costs more than the product
//! itself. Here the weights lie in panels: [`LANES`] outputs side by side, input after input, so that a panel is read
//! front to back. A tile of rows × a panel's outputs is summed in registers over [`DEPTH`] inputs at a time, and
//! [`STRIP`] rows are taken together, so that what is read again lies in cache (Goto and van de Geijn, "Anatomy of
//! High-Performance Matrix Multiplication", 2008). Sums go in the order of the inputs, whatever the rows beside: a
//! row's result does not depend on the batch it stands in.

use super::lane::{LANES, multiply_add};
use super::level::{Level, level};
use super::team::Team;

/// Inputs that are summed in registers before the sum is put down.
const DEPTH: usize = 384;
/// Rows that go through all panels together.
const STRIP: usize = 96;

/// Weights of [`LANES`] outputs for one input; a cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LANES]);

/// A matrix outputs × inputs in panels.
#[derive(Debug, Clone)]
pub(crate) struct Panels {
    inputs: usize,
    outputs: usize,
    /// Panel after panel, of each a line for each input; outputs beyond the last are 0.
    lines: Vec<Line>,
}

/// Where a row-major result lies. Whoever holds one writes to columns of its own alone.
#[derive(Clone, Copy)]
struct Out {
    start: *mut f32,
    columns: usize,
}

// SAFETY: threads that share an `Out` write to different columns (see `Panels::multiply`).
unsafe impl Send for Out {}
// SAFETY: as above.
unsafe impl Sync for Out {}

impl Panels {
    /// Lays out `weights` (outputs × inputs).
    ///
    /// # Panics
    /// Where they are not as many as that.
    pub(crate) fn new(weights: &[f32], inputs: usize, outputs: usize) -> Self {
        assert_eq!(weights.len(), inputs * outputs, "outputs × inputs weights");
        let mut lines = vec![Line([0.0; LANES]); outputs.div_ceil(LANES) * inputs];
        for (output, row) in weights.chunks_exact(inputs.max(1)).enumerate() {
            let panel = &mut lines[output / LANES * inputs..][..inputs];
            panel.iter_mut().zip(row).for_each(|(line, weight)| line.0[output % LANES] = *weight);
        }
        Self { inputs, outputs, lines }
    }

    /// `y ← x Wᵀ + bias`; the team shares the outputs out, which changes nothing in the result.
    ///
    /// # Shapes
    /// `x` rows × inputs, `bias` outputs, `y` rows × outputs.
    ///
    /// # Panics
    /// When shapes do not fit: a fault of the calling code, never of data.
    pub(crate) fn multiply(&self, x: &[f32], bias: &[f32], y: &mut [f32], team: &Team) {
        self.multiply_at(level(), x, bias, y, team);
    }

    fn multiply_at(&self, level: Level, x: &[f32], bias: &[f32], y: &mut [f32], team: &Team) {
        let rows = y.len() / self.outputs.max(1);
        assert!(y.len() == rows * self.outputs && x.len() == rows * self.inputs, "x and y have equal rows");
        assert_eq!(bias.len(), self.outputs, "a bias for each output");
        if rows == 0 {
            return;
        }
        let out = Out { start: y.as_mut_ptr(), columns: self.outputs };
        let panels = self.outputs.div_ceil(LANES);
        let share = share(panels, team.threads());
        team.each(panels.div_ceil(share), &|part| {
            let from = part * share;
            let part = Part { x, bias, out, from, to: (from + share).min(panels) };
            // SAFETY: `y` has rows × outputs numbers and is borrowed for as long as this runs; each part has panels,
            // and so columns, of its own.
            unsafe { part_at(level, self, part) }
        });
    }
}

/// Panels of a part: all for one thread, so that rows are read once; otherwise so many that a thread that comes late
/// finds some left.
pub(super) fn share(panels: usize, threads: usize) -> usize {
    if threads == 1 { panels } else { panels.div_ceil(4 * threads).next_multiple_of(2) }
}

/// The panels that one thread multiplies with.
#[derive(Clone, Copy)]
struct Part<'a> {
    x: &'a [f32],
    bias: &'a [f32],
    out: Out,
    from: usize,
    to: usize,
}

/// Multiplies tiles of as many rows and panels as registers hold; what is left over, row by row and panel by panel.
///
/// # Safety
/// `part.out` has as many rows as `part.x` and nobody else uses the columns of these panels; the processor has what
/// `level` says.
unsafe fn part_at(level: Level, panels: &Panels, part: Part) {
    let (rows, high, broad) = (part.x.len() / panels.inputs.max(1), tile_rows(level), tile_panels(level));
    for strip in (0..rows).step_by(STRIP) {
        let end = (strip + STRIP).min(rows);
        for from in (0..panels.inputs).step_by(DEPTH) {
            let inner = (from, (from + DEPTH).min(panels.inputs));
            let mut panel = part.from;
            while panel < part.to {
                let width = if panel + broad <= part.to { broad } else { 1 };
                let tiles = (end - strip).div_ceil(high);
                let mut row = strip;
                for number in 0.. {
                    let left = end - row;
                    let height = if left >= high {
                        high
                    } else if left >= 4 {
                        4
                    } else {
                        1
                    };
                    let ahead = Ahead { panels: width, tile: number, tiles };
                    let tile = Tile { row, panel, inner, ahead };
                    // SAFETY: the tile ends before `end` and `part.to`; the rest is handed on.
                    unsafe { tile_at(level, panels, part, (tile, height, width)) };
                    row += height;
                    if row == end {
                        break;
                    }
                }
                panel += width;
            }
        }
    }
}

fn tile_rows(level: Level) -> usize {
    match level {
        Level::Avx512 => 8,
        Level::Avx2 => 6,
        Level::Portable => 4,
    }
}

fn tile_panels(level: Level) -> usize {
    if level == Level::Avx512 { 2 } else { 1 }
}

#[derive(Clone, Copy)]
struct Tile {
    row: usize,
    panel: usize,
    /// From which input to which.
    inner: (usize, usize),
    ahead: Ahead,
}

/// What a tile asks memory for, that the next panels are near when they are wanted: for few rows weights come from far, and
/// would be waited for while the first tile of a panel runs and by nobody while the others do.
#[derive(Clone, Copy)]
struct Ahead {
    /// How many panels on.
    panels: usize,
    /// Which tile this is of about how many; each asks for its share.
    tile: usize,
    tiles: usize,
}

/// Bytes of a line.
const LINE: usize = size_of::<Line>();

/// # Safety
/// As [`part_at`]; the tile's rows, panels and inputs are there.
unsafe fn tile_at(level: Level, panels: &Panels, part: Part, (tile, height, width): (Tile, usize, usize)) {
    // SAFETY: handed on; the tile's numbers lie within `x` and `lines`.
    unsafe {
        let from = Sources {
            x: part.x.as_ptr().add(tile.row * panels.inputs + tile.inner.0),
            lines: panels.lines.as_ptr().add(tile.panel * panels.inputs + tile.inner.0),
            stride: panels.inputs,
            count: tile.inner.1 - tile.inner.0,
            ahead: ahead(panels, &tile),
            ahead_step: LINE / tile.ahead.tiles.min(LINE),
        };
        match (level, height, width) {
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512, 8, 2) => put(panels, part, tile, &wide::avx512::<8, 2>(from)),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512, 4, 2) => put(panels, part, tile, &wide::avx512::<4, 2>(from)),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512, 1, 2) => put(panels, part, tile, &wide::avx512::<1, 2>(from)),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512, 8, _) => put(panels, part, tile, &wide::avx512::<8, 1>(from)),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx2, 6, _) => put(panels, part, tile, &wide::avx2::<6, 1>(from)),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx2 | Level::Avx512, 4, _) => put(panels, part, tile, &wide::avx2::<4, 1>(from)),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx2 | Level::Avx512, ..) => put(panels, part, tile, &wide::avx2::<1, 1>(from)),
            (_, 4, _) => put(panels, part, tile, &portable::<4, 1>(from)),
            _ => put(panels, part, tile, &portable::<1, 1>(from)),
        }
    }
}

/// Where a tile's numbers begin: `count` inputs of each row and of each panel, `stride` from one to the next.
#[derive(Clone, Copy)]
struct Sources {
    x: *const f32,
    lines: *const Line,
    stride: usize,
    count: usize,
    /// What memory is asked for, from input to input so many bytes on; it need not be there.
    ahead: *const u8,
    ahead_step: usize,
}

/// Where a tile's share of what comes next begins.
fn ahead(panels: &Panels, tile: &Tile) -> *const u8 {
    let Ahead { panels: on, tile: number, tiles } = tile.ahead;
    let count = tile.inner.1 - tile.inner.0;
    let line = (tile.panel + on) * panels.inputs + tile.inner.0;
    let share = number.min(tiles) * count * (LINE / tiles.min(LINE));
    panels.lines.as_ptr().wrapping_add(line).cast::<u8>().wrapping_add(share)
}

type Sums<const R: usize, const W: usize> = [[[f32; LANES]; W]; R];

/// # Safety
/// The sources hold what they say for `R` rows and `W` panels.
unsafe fn portable<const R: usize, const W: usize>(from: Sources) -> Sums<R, W> {
    let mut sums = [[[0.0; LANES]; W]; R];
    for input in 0..from.count {
        for (r, sums) in sums.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            let x = unsafe { *from.x.add(r * from.stride + input) };
            for (w, sums) in sums.iter_mut().enumerate() {
                // SAFETY: as above.
                let line = unsafe { &(*from.lines.add(w * from.stride + input)).0 };
                sums.iter_mut()
                    .zip(line)
                    .for_each(|(sum, weight)| *sum = multiply_add::<false>(x, *weight, *sum));
            }
        }
    }
    sums
}

#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::*;

    use super::{LANES, Sources, Sums};

    macro_rules! tile {
        ($name:ident, $features:literal, $vectors:literal, $zero:ident, $load:ident, $spread:ident, $fma:ident, $store:ident) => {
            /// # Safety
            /// The processor has the instructions; the sources hold what they say for `R` rows and `W` panels.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn $name<const R: usize, const W: usize>(from: Sources) -> Sums<R, W> {
                const EACH: usize = LANES / $vectors;
                let mut sums = [[[$zero(); $vectors]; W]; R];
                let mut answer = [[[0.0; LANES]; W]; R];
                // By number, for iterators over small arrays are not always unrolled, and sums then leave registers.
                // SAFETY: the caller's promise; a line has LANES numbers.
                unsafe {
                    for input in 0..from.count {
                        _mm_prefetch::<_MM_HINT_T1>(from.ahead.wrapping_add(input * from.ahead_step).cast());
                        let mut weights = [[$zero(); $vectors]; W];
                        for w in 0..W {
                            let line = from.lines.add(w * from.stride + input).cast::<f32>();
                            for v in 0..$vectors {
                                weights[w][v] = $load(line.add(v * EACH));
                            }
                        }
                        for r in 0..R {
                            let x = $spread(*from.x.add(r * from.stride + input));
                            for w in 0..W {
                                for v in 0..$vectors {
                                    sums[r][w][v] = $fma(x, weights[w][v], sums[r][w][v]);
                                }
                            }
                        }
                    }
                    for r in 0..R {
                        for w in 0..W {
                            for v in 0..$vectors {
                                $store(answer[r][w].as_mut_ptr().add(v * EACH), sums[r][w][v]);
                            }
                        }
                    }
                }
                answer
            }
        };
    }

    tile!(
        avx2,
        "avx2,fma",
        2,
        _mm256_setzero_ps,
        _mm256_load_ps,
        _mm256_set1_ps,
        _mm256_fmadd_ps,
        _mm256_storeu_ps
    );
    tile!(
        avx512,
        "avx512f,avx2,fma",
        1,
        _mm512_setzero_ps,
        _mm512_load_ps,
        _mm512_set1_ps,
        _mm512_fmadd_ps,
        _mm512_storeu_ps
    );
}

/// Puts a tile's sums down: with the bias at first, then with what lies there.
///
/// # Safety
/// As [`part_at`]; the tile's rows and panels are there.
unsafe fn put<const R: usize, const W: usize>(panels: &Panels, part: Part, tile: Tile, sums: &Sums<R, W>) {
    for (r, sums) in sums.iter().enumerate() {
        for (w, sums) in sums.iter().enumerate() {
            let column = (tile.panel + w) * LANES;
            let width = LANES.min(panels.outputs - column);
            let place = (tile.row + r) * part.out.columns + column;
            // SAFETY: the row and `width` columns from `column` on lie within the result, and are this part's own.
            let out = unsafe { std::slice::from_raw_parts_mut(part.out.start.add(place), width) };
            if tile.inner.0 == 0 {
                out.copy_from_slice(&part.bias[column..column + width]);
            }
            out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::level::levels;
    use crate::kernel::tests::{close, numbers};

    #[test]
    fn every_level_gives_the_sums_of_products() {
        for (rows, inputs, outputs) in
            [(1, 1, 1), (1, 3, 16), (5, 400, 17), (7, 384, 48), (16, 769, 33), (100, 20, 40), (199, 2, 5)]
        {
            let (x, weights) = (numbers(rows * inputs, 1), numbers(outputs * inputs, 2));
            let bias = numbers(outputs, 3);
            let mut want = Vec::new();
            for row in x.chunks_exact(inputs) {
                for (weights, bias) in weights.chunks_exact(inputs).zip(&bias) {
                    let dot: f64 = row.iter().zip(weights).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
                    want.push(dot + f64::from(*bias));
                }
            }
            let panels = Panels::new(&weights, inputs, outputs);
            for level in levels() {
                let mut y = vec![f32::NAN; rows * outputs];
                panels.multiply_at(level, &x, &bias, &mut y, &Team::alone());
                close(&y, &want, 2e-5);
                let mut shared = vec![f32::NAN; rows * outputs];
                Team::with(3, |team| panels.multiply_at(level, &x, &bias, &mut shared, team));
                assert_eq!(shared, y, "{level:?}: threads change nothing");
            }
        }
    }

    #[test]
    fn a_row_has_the_same_result_in_any_batch() {
        let (inputs, outputs) = (50, 37);
        let (x, weights, bias) = (numbers(9 * inputs, 1), numbers(outputs * inputs, 2), numbers(outputs, 3));
        let panels = Panels::new(&weights, inputs, outputs);
        for level in levels() {
            let mut all = vec![0.0; 9 * outputs];
            panels.multiply_at(level, &x, &bias, &mut all, &Team::alone());
            for (x, want) in x.chunks_exact(inputs).zip(all.chunks_exact(outputs)) {
                let mut alone = vec![0.0; outputs];
                panels.multiply_at(level, x, &bias, &mut alone, &Team::alone());
                assert_eq!(alone, want);
            }
        }
    }

    #[test]
    fn no_rows_are_no_fault() {
        Panels::new(&[0.0; 6], 2, 3).multiply(&[], &[0.0; 3], &mut [], &Team::alone());
    }
}
