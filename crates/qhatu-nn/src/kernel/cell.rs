//! What a GRU's and an LSTM's cell does to rows, forward and backward, a lane's width at a time.

use super::lane::{LANES, multiply_add, sigmoid, tanh};
use super::level::{dispatched, level};

dispatched! {
    /// [`gru`] at a level.
    fn gru_at(width: usize, gates: &mut [f32], hidden: &[f32], before: &[f32], out: &mut [f32]) = gru_body
}
dispatched! {
    /// [`gru_backward`] at a level.
    fn gru_backward_at(width: usize, gates: &mut [f32], hidden: &mut [f32], before: &[f32], d: &mut [f32]) =
        gru_backward_body
}
dispatched! {
    /// [`lstm`] at a level.
    fn lstm_at(width: usize, gates: &mut [f32], before: &[f32], cell: &mut [f32], out: &mut [f32]) = lstm_body
}
dispatched! {
    /// [`lstm_backward`] at a level.
    fn lstm_backward_at(width: usize, gates: &mut [f32], cells: [&[f32]; 2], d: &[f32], d_cell: &mut [f32]) =
        lstm_backward_body
}

/// Rows of a GRU: `gates` holds what the input says of r, z and n, `hidden` what the state before says. Leaves r,
/// z and n in `gates` and the new state in `out`.
pub(crate) fn gru(width: usize, gates: &mut [f32], hidden: &[f32], before: &[f32], out: &mut [f32]) {
    check(width, out.len(), [gates.len(), hidden.len(), 3 * before.len()], 3);
    gru_at(level(), width, gates, hidden, before, out);
}

/// Its gradients: `gates` and `hidden`, as the forward pass left them, become the gradients of themselves,
/// and `d`, the gradient of the new state, becomes what of it falls directly on the state before.
pub(crate) fn gru_backward(
    width: usize,
    gates: &mut [f32],
    hidden: &mut [f32],
    before: &[f32],
    d: &mut [f32],
) {
    check(width, d.len(), [gates.len(), hidden.len(), 3 * before.len()], 3);
    gru_backward_at(level(), width, gates, hidden, before, d);
}

/// Rows of an LSTM: `gates` holds the sums of i, f, g and o. Leaves these in `gates`, the new cell in
/// `cell` and the new state in `out`.
pub(crate) fn lstm(width: usize, gates: &mut [f32], before: &[f32], cell: &mut [f32], out: &mut [f32]) {
    check(width, out.len(), [gates.len(), 4 * before.len(), 4 * cell.len()], 4);
    lstm_at(level(), width, gates, before, cell, out);
}

/// Its gradients: `gates` becomes the gradient of its sums, and `d_cell`, that of the new cell by what comes
/// after, becomes that of the cell before. `cells` are the cell before and the new one, `d` is the gradient
/// of the new state.
pub(crate) fn lstm_backward(
    width: usize,
    gates: &mut [f32],
    cells: [&[f32]; 2],
    d: &[f32],
    d_cell: &mut [f32],
) {
    check(width, d.len(), [gates.len(), 4 * cells[0].len(), 4 * cells[1].len()], 4);
    assert_eq!(d.len(), d_cell.len(), "a gradient for each number of the cell");
    lstm_backward_at(level(), width, gates, cells, d, d_cell);
}

fn check(width: usize, states: usize, gates: [usize; 3], count: usize) {
    assert!(width > 0 && states.is_multiple_of(width), "whole rows");
    assert!(gates.iter().all(|length| *length == count * states), "as many rows of each");
}

/// Up to a lane's width of numbers, the rest 0.
#[inline(always)]
fn load(from: &[f32], at: usize, count: usize) -> [f32; LANES] {
    let mut lane = [0.0; LANES];
    if count == LANES {
        lane.copy_from_slice(&from[at..at + LANES]);
    } else {
        lane[..count].copy_from_slice(&from[at..at + count]);
    }
    lane
}

#[inline(always)]
fn store(to: &mut [f32], at: usize, count: usize, lane: &[f32; LANES]) {
    if count == LANES {
        to[at..at + LANES].copy_from_slice(lane);
    } else {
        to[at..at + count].copy_from_slice(&lane[..count]);
    }
}

#[inline(always)]
fn gru_body<const FMA: bool>(
    width: usize,
    gates: &mut [f32],
    hidden: &[f32],
    before: &[f32],
    out: &mut [f32],
) {
    let rows = gates.len() / (3 * width);
    for row in 0..rows {
        for at in (0..width).step_by(LANES) {
            let count = LANES.min(width - at);
            let (at, from) = (row * width + at, 3 * row * width + at);
            let mut r = load(gates, from, count);
            let mut z = load(gates, from + width, count);
            let mut n = load(gates, from + 2 * width, count);
            let hidden_r = load(hidden, from, count);
            let hidden_z = load(hidden, from + width, count);
            let hidden_n = load(hidden, from + 2 * width, count);
            let before = load(before, at, count);
            let mut new = [0.0; LANES];
            for lane in 0..LANES {
                r[lane] = sigmoid::<FMA>(r[lane] + hidden_r[lane]);
                z[lane] = sigmoid::<FMA>(z[lane] + hidden_z[lane]);
                n[lane] = tanh::<FMA>(multiply_add::<FMA>(r[lane], hidden_n[lane], n[lane]));
                new[lane] = multiply_add::<FMA>(z[lane], before[lane] - n[lane], n[lane]);
            }
            store(gates, from, count, &r);
            store(gates, from + width, count, &z);
            store(gates, from + 2 * width, count, &n);
            store(out, at, count, &new);
        }
    }
}

#[inline(always)]
fn gru_backward_body<const FMA: bool>(
    width: usize,
    gates: &mut [f32],
    hidden: &mut [f32],
    before: &[f32],
    d: &mut [f32],
) {
    let rows = gates.len() / (3 * width);
    for row in 0..rows {
        for at in (0..width).step_by(LANES) {
            let count = LANES.min(width - at);
            let (at, from) = (row * width + at, 3 * row * width + at);
            let mut r = load(gates, from, count);
            let mut z = load(gates, from + width, count);
            let mut n = load(gates, from + 2 * width, count);
            let mut hidden_n = load(hidden, from + 2 * width, count);
            let before = load(before, at, count);
            let mut d_lane = load(d, at, count);
            for lane in 0..LANES {
                let given = d_lane[lane];
                let d_n = given * (1.0 - z[lane]) * (1.0 - n[lane] * n[lane]);
                let d_z = given * (before[lane] - n[lane]) * z[lane] * (1.0 - z[lane]);
                let d_r = d_n * hidden_n[lane] * r[lane] * (1.0 - r[lane]);
                d_lane[lane] = given * z[lane];
                hidden_n[lane] = d_n * r[lane];
                r[lane] = d_r;
                z[lane] = d_z;
                n[lane] = d_n;
            }
            store(gates, from, count, &r);
            store(gates, from + width, count, &z);
            store(gates, from + 2 * width, count, &n);
            store(hidden, from, count, &r);
            store(hidden, from + width, count, &z);
            store(hidden, from + 2 * width, count, &hidden_n);
            store(d, at, count, &d_lane);
        }
    }
}

#[inline(always)]
fn lstm_body<const FMA: bool>(
    width: usize,
    gates: &mut [f32],
    before: &[f32],
    cell: &mut [f32],
    out: &mut [f32],
) {
    let rows = gates.len() / (4 * width);
    for row in 0..rows {
        for at in (0..width).step_by(LANES) {
            let count = LANES.min(width - at);
            let (at, from) = (row * width + at, 4 * row * width + at);
            let mut i = load(gates, from, count);
            let mut f = load(gates, from + width, count);
            let mut g = load(gates, from + 2 * width, count);
            let mut o = load(gates, from + 3 * width, count);
            let before = load(before, at, count);
            let (mut c, mut new) = ([0.0; LANES], [0.0; LANES]);
            for lane in 0..LANES {
                i[lane] = sigmoid::<FMA>(i[lane]);
                f[lane] = sigmoid::<FMA>(f[lane]);
                g[lane] = tanh::<FMA>(g[lane]);
                o[lane] = sigmoid::<FMA>(o[lane]);
                c[lane] = multiply_add::<FMA>(f[lane], before[lane], i[lane] * g[lane]);
                new[lane] = o[lane] * tanh::<FMA>(c[lane]);
            }
            store(gates, from, count, &i);
            store(gates, from + width, count, &f);
            store(gates, from + 2 * width, count, &g);
            store(gates, from + 3 * width, count, &o);
            store(cell, at, count, &c);
            store(out, at, count, &new);
        }
    }
}

#[inline(always)]
fn lstm_backward_body<const FMA: bool>(
    width: usize,
    gates: &mut [f32],
    cells: [&[f32]; 2],
    d: &[f32],
    d_cell: &mut [f32],
) {
    let rows = gates.len() / (4 * width);
    for row in 0..rows {
        for at in (0..width).step_by(LANES) {
            let count = LANES.min(width - at);
            let (at, from) = (row * width + at, 4 * row * width + at);
            let mut i = load(gates, from, count);
            let mut f = load(gates, from + width, count);
            let mut g = load(gates, from + 2 * width, count);
            let mut o = load(gates, from + 3 * width, count);
            let (before, cell) = (load(cells[0], at, count), load(cells[1], at, count));
            let given = load(d, at, count);
            let mut d_c = load(d_cell, at, count);
            for lane in 0..LANES {
                let t = tanh::<FMA>(cell[lane]);
                let all = multiply_add::<FMA>(given[lane] * o[lane], 1.0 - t * t, d_c[lane]);
                let d_i = all * g[lane] * i[lane] * (1.0 - i[lane]);
                let d_f = all * before[lane] * f[lane] * (1.0 - f[lane]);
                let d_g = all * i[lane] * (1.0 - g[lane] * g[lane]);
                d_c[lane] = all * f[lane];
                o[lane] = given[lane] * t * o[lane] * (1.0 - o[lane]);
                i[lane] = d_i;
                f[lane] = d_f;
                g[lane] = d_g;
            }
            store(gates, from, count, &i);
            store(gates, from + width, count, &f);
            store(gates, from + 2 * width, count, &g);
            store(gates, from + 3 * width, count, &o);
            store(d_cell, at, count, &d_c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::level::{Level, levels};
    use crate::kernel::tests::{close, numbers, wide};

    /// The formulas are held to finite differences where whole sequences are, in
    /// [`crate::operation::recurrent`].
    #[test]
    fn every_level_gives_what_the_portable_one_gives() {
        // Two rows of each.
        for width in [1, 15, 16, 50] {
            let [gates, hidden, before, d] =
                [(8, 1), (6, 2), (2, 3), (2, 4)].map(|(times, seed)| numbers(times * width, seed));
            let run = |level: Level| {
                let (mut three, mut hidden) = (gates[..6 * width].to_vec(), hidden.clone());
                let (mut out, mut back) = (vec![0.0; 2 * width], d.clone());
                gru_at(level, width, &mut three, &hidden, &before, &mut out);
                gru_backward_at(level, width, &mut three, &mut hidden, &before, &mut back);
                let (mut four, mut cell) = (gates.clone(), vec![0.0; 2 * width]);
                let (mut new, mut d_cell) = (vec![0.0; 2 * width], d.clone());
                lstm_at(level, width, &mut four, &before, &mut cell, &mut new);
                lstm_backward_at(level, width, &mut four, [&before, &cell], &d, &mut d_cell);
                [three, hidden, out, back, four, cell, new, d_cell].concat()
            };
            let want = wide(&run(Level::Portable));
            levels().into_iter().for_each(|level| close(&run(level), &want, 2e-6));
        }
    }
}
