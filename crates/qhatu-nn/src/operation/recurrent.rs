//! Recurrent cells over packed sequences: GRU (Cho et al., EMNLP 2014) and LSTM (Hochreiter and Schmidhuber,
//! 1997), with PyTorch's equations and order of gates, so that weights can be taken over as they are.
//!
//! GRU, gates r, z, n: `r = σ(W_ir x + b_ir + W_hr h + b_hr)`, `z` likewise,
//! `n = tanh(W_in x + b_in + r ∘ (W_hn h + b_hn))`, `h ← (1 − z) ∘ n + z ∘ h`.
//!
//! LSTM, gates i, f, g, o: each `W_i x + b_i + W_h h + b_h`, through σ, σ, tanh and σ; `c ← f ∘ c + i ∘ g`,
//! `h ← o ∘ tanh c`. State and cell of each sequence begin at 0.
//!
//! Sequences of a pack lie one behind another and have no padding, but a step is fast only for many at once.
//! So [`Steps`] lists the tokens step by step, longest sequence first: those that still go on at a step are
//! the first ones of the step before, and each step is one matrix product over rows that lie together. What
//! the inputs say is one product for all tokens, and so are the gradients of all weights.

use crate::kernel::{Layout, cell, matmul};
use crate::operation::linear::{self, Widths};

/// Which cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cell {
    /// Gated recurrent unit: three gates.
    #[default]
    Gru,
    /// Long short-term memory: four gates and a cell state.
    Lstm,
}

impl Cell {
    /// How many gates it has.
    pub fn gates(self) -> usize {
        match self {
            Self::Gru => 3,
            Self::Lstm => 4,
        }
    }
}

/// The tokens of a pack step by step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steps {
    /// The token of each row, step after step, longest sequence first.
    tokens: Vec<u32>,
    /// Where each step's rows begin, and at last their number.
    starts: Vec<usize>,
}

impl Steps {
    /// Of sequences that begin at `starts` and end with the next one: 0, …, tokens. `O(tokens)` and a sort of
    /// the sequences; those of one length keep their order.
    pub fn new(starts: &[usize]) -> Self {
        let length = |sequence: usize| starts[sequence + 1] - starts[sequence];
        let mut order: Vec<usize> = (0..starts.len().saturating_sub(1)).collect();
        order.sort_by_key(|sequence| std::cmp::Reverse(length(*sequence)));
        let mut own = Self { tokens: Vec::new(), starts: vec![0] };
        let longest = order.first().map_or(0, |sequence| length(*sequence));
        let mut active = order.len();
        for step in 0..longest {
            while length(order[active - 1]) <= step {
                active -= 1;
            }
            own.tokens.extend(order[..active].iter().map(|sequence| (starts[*sequence] + step) as u32));
            own.starts.push(own.tokens.len());
        }
        own
    }

    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.tokens.len()
    }

    /// Rows of the first step, which has the most.
    fn most(&self) -> usize {
        self.starts.get(1).copied().unwrap_or(0)
    }

    /// First row of a step, how many there are, and the first row of the step before.
    fn each(&self) -> impl DoubleEndedIterator<Item = (usize, usize, Option<usize>)> + '_ {
        let before = |step: usize| step.checked_sub(1).map(|step| self.starts[step]);
        (0..self.starts.len() - 1)
            .map(move |step| (self.starts[step], self.starts[step + 1] - self.starts[step], before(step)))
    }

    /// Rows in the order of steps, from rows in the order of the pack.
    fn gather(&self, from: &[f32], width: usize, to: &mut Vec<f32>) {
        to.clear();
        self.tokens.iter().for_each(|token| to.extend_from_slice(&from[*token as usize * width..][..width]));
    }

    /// Rows in the order of the pack, from rows in the order of steps.
    fn scatter(&self, from: &[f32], width: usize, to: &mut [f32]) {
        for (token, row) in self.tokens.iter().zip(from.chunks_exact(width.max(1))) {
            to[*token as usize * width..][..width].copy_from_slice(row);
        }
    }
}

/// The tensors of a cell, or their gradients: gates one behind another, as PyTorch keeps them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights<T> {
    /// Gates · hidden × inputs.
    pub input: T,
    /// Gates · hidden × hidden.
    pub hidden: T,
    /// Gates · hidden.
    pub input_bias: T,
    /// Gates · hidden.
    pub hidden_bias: T,
}

/// A cell over a pack.
#[derive(Debug, Clone, Copy)]
pub struct Recurrent<'a> {
    /// Which one.
    pub cell: Cell,
    /// Width of the input and of the state.
    pub widths: Widths,
    /// Its tensors.
    pub weights: Weights<&'a [f32]>,
    /// The pack.
    pub steps: &'a Steps,
}

/// What the backward pass needs, and room to work; kept from step to step. Rows in the order of steps.
#[derive(Debug, Clone, Default)]
pub struct Saved {
    x: Vec<f32>,
    gates: Vec<f32>,
    hidden_gates: Vec<f32>,
    states: Vec<f32>,
    cells: Vec<f32>,
    /// The state before each row's.
    before: Vec<f32>,
    d_states: Vec<f32>,
    d_cells: Vec<f32>,
    d_x: Vec<f32>,
    zeros: Vec<f32>,
}

impl Recurrent<'_> {
    fn gate_width(&self) -> usize {
        self.cell.gates() * self.widths.outputs
    }

    fn gate_widths(&self) -> Widths {
        Widths { inputs: self.widths.inputs, outputs: self.gate_width() }
    }

    fn check(&self, x: &[f32], out: &[f32]) {
        let Widths { inputs, outputs } = self.widths;
        let (tokens, gates) = (self.steps.tokens(), self.gate_width());
        assert!(x.len() == tokens * inputs && out.len() == tokens * outputs, "a row for each token");
        assert!(self.weights.input.len() == gates * inputs, "weights of the input for each gate");
        assert!(self.weights.hidden.len() == gates * outputs, "weights of the state for each gate");
        let biases = [self.weights.input_bias, self.weights.hidden_bias];
        assert!(biases.iter().all(|bias| bias.len() == gates), "a bias for each gate");
    }

    /// `out`, the state behind each token, from the tokens `x`.
    ///
    /// # Shapes
    /// `x` tokens × inputs, `out` tokens × hidden, both in the order of the pack.
    pub fn forward(&self, x: &[f32], out: &mut [f32], saved: &mut Saved) {
        self.check(x, out);
        let (width, tokens) = (self.widths.outputs, self.steps.tokens());
        let gate_width = self.gate_width();
        self.steps.gather(x, self.widths.inputs, &mut saved.x);
        saved.gates.resize(tokens * gate_width, 0.0);
        saved.states.resize(tokens * width, 0.0);
        saved.before.resize(tokens * width, 0.0);
        saved.zeros.resize(self.steps.most() * width, 0.0);
        match self.cell {
            Cell::Gru => {
                saved.hidden_gates.resize(tokens * gate_width, 0.0);
                let rows = saved.hidden_gates.chunks_exact_mut(gate_width.max(1));
                rows.for_each(|row| row.copy_from_slice(self.weights.hidden_bias));
                self.said_by_input(self.weights.input_bias, saved);
            }
            Cell::Lstm => {
                saved.cells.resize(tokens * width, 0.0);
                let biases = self.weights.input_bias.iter().zip(self.weights.hidden_bias);
                let both: Vec<f32> = biases.map(|(one, other)| one + other).collect();
                self.said_by_input(&both, saved);
            }
        }
        for step in self.steps.each() {
            self.step_forward(step, saved);
        }
        self.steps.scatter(&saved.states, width, out);
    }

    fn step_forward(&self, (first, rows, before): (usize, usize, Option<usize>), saved: &mut Saved) {
        let (width, gate_width) = (self.widths.outputs, self.gate_width());
        let to = if self.cell == Cell::Gru { &mut saved.hidden_gates } else { &mut saved.gates };
        if let Some(before) = before {
            matmul(
                (&mut to[first * gate_width..], Layout::dense(rows, gate_width)),
                1.0,
                (&saved.states[before * width..], Layout::dense(rows, width)),
                (self.weights.hidden, Layout::dense(gate_width, width).transposed()),
                1.0,
            );
        }
        let (here, of_gates) = (first * width, first * gate_width);
        let (done, new) = saved.states.split_at_mut(here);
        let states = before.map_or(&saved.zeros[..rows * width], |at| &done[at * width..][..rows * width]);
        saved.before[here..here + rows * width].copy_from_slice(states);
        let gates = &mut saved.gates[of_gates..][..rows * gate_width];
        let new = &mut new[..rows * width];
        match self.cell {
            Cell::Gru => {
                let hidden = &saved.hidden_gates[of_gates..][..rows * gate_width];
                cell::gru(width, gates, hidden, states, new);
            }
            Cell::Lstm => {
                let (done, cells) = saved.cells.split_at_mut(here);
                let kept =
                    before.map_or(&saved.zeros[..rows * width], |at| &done[at * width..][..rows * width]);
                cell::lstm(width, gates, kept, &mut cells[..rows * width], new);
            }
        }
    }

    /// What the inputs say of all gates.
    fn said_by_input(&self, bias: &[f32], saved: &mut Saved) {
        let widths = self.gate_widths();
        linear::forward(&saved.x, self.weights.input, Some(bias), &mut saved.gates, widths);
    }

    /// `d_x` from `d_out`; adds to the gradients of the weights. What `saved` holds is used up.
    ///
    /// # Shapes
    /// As in [`Recurrent::forward`], `saved` is that of the forward pass.
    pub fn backward(
        &self,
        d_out: &[f32],
        d_x: &mut [f32],
        gradients: Weights<&mut [f32]>,
        saved: &mut Saved,
    ) {
        self.check(d_x, d_out);
        let width = self.widths.outputs;
        self.steps.gather(d_out, width, &mut saved.d_states);
        saved.d_cells.clear();
        saved.d_cells.resize(self.steps.most() * width, 0.0);
        for step in self.steps.each().rev() {
            self.step_backward(step, saved);
        }
        let of_hidden = Widths { inputs: width, outputs: self.gate_width() };
        let d_hidden = if self.cell == Cell::Gru { &saved.hidden_gates } else { &saved.gates };
        let Weights { input, hidden, input_bias, hidden_bias } = gradients;
        linear::backward_weights(&saved.x, &saved.gates, input, Some(input_bias), self.gate_widths());
        linear::backward_weights(&saved.before, d_hidden, hidden, Some(hidden_bias), of_hidden);
        saved.d_x.resize(saved.x.len(), 0.0);
        linear::backward_input(&saved.gates, self.weights.input, &mut saved.d_x, self.gate_widths());
        self.steps.scatter(&saved.d_x, self.widths.inputs, d_x);
    }

    /// Gradients of a step's sums, and what falls on the step before.
    fn step_backward(&self, (first, rows, before): (usize, usize, Option<usize>), saved: &mut Saved) {
        let (width, gate_width) = (self.widths.outputs, self.gate_width());
        let (here, of_gates) = (first * width..(first + rows) * width, first * gate_width);
        let gates = &mut saved.gates[of_gates..][..rows * gate_width];
        let d = &mut saved.d_states[here.clone()];
        match self.cell {
            Cell::Gru => {
                let hidden = &mut saved.hidden_gates[of_gates..][..rows * gate_width];
                cell::gru_backward(width, gates, hidden, &saved.before[here], d);
            }
            Cell::Lstm => {
                // Those that go on are the first rows of every step before, so that one step's room is enough.
                let d_cells = &mut saved.d_cells[..rows * width];
                let kept = before
                    .map_or(&saved.zeros[..rows * width], |at| &saved.cells[at * width..][..rows * width]);
                cell::lstm_backward(width, gates, [kept, &saved.cells[here]], d, d_cells);
            }
        }
        let Some(before) = before else { return };
        let (d_before, d) = saved.d_states.split_at_mut(first * width);
        let d_before = &mut d_before[before * width..][..rows * width];
        if self.cell == Cell::Gru {
            d_before.iter_mut().zip(&d[..rows * width]).for_each(|(sum, d)| *sum += d);
        }
        let d_hidden = if self.cell == Cell::Gru { &saved.hidden_gates } else { &saved.gates };
        matmul(
            (d_before, Layout::dense(rows, width)),
            1.0,
            (&d_hidden[first * gate_width..], Layout::dense(rows, gate_width)),
            (self.weights.hidden, Layout::dense(gate_width, width)),
            1.0,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Numbers, differs, wide};
    use crate::kernel::tests::numbers;

    const STARTS: &[usize] = &[0, 1, 4, 4, 6, 9];
    const WIDTHS: Widths = Widths { inputs: 3, outputs: 2 };

    #[test]
    fn steps_go_longest_first() {
        let steps = Steps::new(STARTS);
        assert_eq!(steps.tokens, [1, 6, 4, 0, 2, 7, 5, 3, 8]);
        assert_eq!(steps.starts, [0, 4, 7, 9]);
        assert_eq!(Steps::new(&[0]), Steps { tokens: vec![], starts: vec![0] });
    }

    /// The sum of products of the states with `d_out`, by the formulas, in f64. Inputs: x and the weights.
    fn reference(cell: Cell, given: &Numbers, d_out: &[f32]) -> f64 {
        let Widths { inputs, outputs: width } = WIDTHS;
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let mut sum = 0.0;
        for sequence in STARTS.windows(2) {
            let (mut h, mut c) = (vec![0.0; width], vec![0.0; width]);
            for token in sequence[0]..sequence[1] {
                let x = &given[0][token * inputs..][..inputs];
                let said = |row: usize| dot_rows(&given[1], row, x) + given[3][row];
                let kept = |row: usize| dot_rows(&given[2], row, &h) + given[4][row];
                let old = h.clone();
                let mut new = old.clone();
                for at in 0..width {
                    let gate = |number: usize| said(number * width + at) + kept(number * width + at);
                    match cell {
                        Cell::Gru => {
                            let (r, z) = (sigmoid(gate(0)), sigmoid(gate(1)));
                            let n = (said(2 * width + at) + r * kept(2 * width + at)).tanh();
                            new[at] = (1.0 - z) * n + z * old[at];
                        }
                        Cell::Lstm => {
                            c[at] = sigmoid(gate(1)) * c[at] + sigmoid(gate(0)) * gate(2).tanh();
                            new[at] = sigmoid(gate(3)) * c[at].tanh();
                        }
                    }
                    sum += new[at] * f64::from(d_out[token * width + at]);
                }
                h = new;
            }
        }
        sum
    }

    fn dot_rows(weights: &[f64], row: usize, x: &[f64]) -> f64 {
        x.iter().zip(&weights[row * x.len()..]).map(|(x, w)| x * w).sum()
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let steps = Steps::new(STARTS);
        for cell in [Cell::Gru, Cell::Lstm] {
            let rows = cell.gates() * WIDTHS.outputs;
            let lengths = [9 * WIDTHS.inputs, rows * WIDTHS.inputs, rows * WIDTHS.outputs, rows, rows];
            let given: Vec<Vec<f32>> = (1..).zip(lengths).map(|(seed, count)| numbers(count, seed)).collect();
            let d_out = numbers(9 * WIDTHS.outputs, 9);
            let weights = Weights {
                input: given[1].as_slice(),
                hidden: &given[2],
                input_bias: &given[3],
                hidden_bias: &given[4],
            };
            let recurrent = Recurrent { cell, widths: WIDTHS, weights, steps: &steps };
            let (mut out, mut saved) = (vec![7.0; d_out.len()], Saved::default());
            let mut found: Vec<Vec<f32>> = given.iter().map(|input| vec![0.0; input.len()]).collect();
            // Twice, so that what was left over from the first time would be seen.
            for _ in 0..2 {
                found.iter_mut().for_each(|gradient| gradient.fill(0.0));
                recurrent.forward(&given[0], &mut out, &mut saved);
                let [d_x, input, hidden, input_bias, hidden_bias] = &mut found[..] else { unreachable!() };
                let into = Weights { input: &mut input[..], hidden, input_bias, hidden_bias };
                recurrent.backward(&d_out, d_x, into, &mut saved);
            }
            let inputs: Vec<&[f32]> = given.iter().map(Vec::as_slice).collect();
            let value: f64 = out.iter().zip(&d_out).map(|(out, d)| f64::from(*out) * f64::from(*d)).sum();
            let want = reference(cell, &wide(&inputs), &d_out);
            assert!((value - want).abs() < 1e-5, "{cell:?}: {value} is not {want}");
            let gradients: Vec<&[f32]> = found.iter().map(Vec::as_slice).collect();
            assert_eq!(
                differs(&inputs, &gradients, |given| reference(cell, given, &d_out)),
                None,
                "{cell:?}"
            );
        }
    }

    #[test]
    fn no_tokens_are_no_fault() {
        let steps = Steps::new(&[0]);
        let [input, hidden, bias] = [18, 12, 6].map(|count| vec![0.5; count]);
        let weights = Weights { input: &input[..], hidden: &hidden, input_bias: &bias, hidden_bias: &bias };
        let recurrent = Recurrent { cell: Cell::Gru, widths: WIDTHS, weights, steps: &steps };
        recurrent.forward(&[], &mut [], &mut Saved::default());
    }
}
