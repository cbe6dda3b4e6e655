//! What the settings of a neighbour model mean to the one kernel.

/// A weight by place: 0 is the latest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decay {
    /// All alike.
    Same,
    /// `1 − place ⁄ length`.
    Linear,
    /// `(1 − place ⁄ length)²`.
    Quadratic,
    /// `1 ⁄ (place + 1)`.
    Reciprocal,
    /// `1 ⁄ (place + 1)²`.
    ReciprocalSquare,
    /// `1 ⁄ lg(place + this)`.
    Log(f32),
    /// `exp(−place ⁄ λ)`.
    Exponential(f32),
}

impl Decay {
    /// The weight at a place of so many.
    pub(super) fn at(self, place: usize, length: usize) -> f32 {
        match self {
            Self::Same => 1.0,
            Self::Linear => 1.0 - place as f32 / length as f32,
            Self::Quadratic => (1.0 - place as f32 / length as f32).powi(2),
            Self::Reciprocal => 1.0 / (place + 1) as f32,
            Self::ReciprocalSquare => 1.0 / ((place + 1) as f32).powi(2),
            Self::Log(more) => 1.0 / (place as f32 + more).log10(),
            Self::Exponential(decay) => (-(place as f32) / decay).exp(),
        }
    }
}

/// How places are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Places {
    /// Distinct items, in the query from the end, in a session from the beginning by their first occurrence; a vote
    /// fades with the distance from the latest item of the query that the session shares.
    Distinct,
    /// Moments, so that a repetition counts: in the query the times, in a session the orders; an item stands where it
    /// last occurred, and a vote fades with the distance from the last item of the session that the query shares.
    Moments,
}

/// What a model's settings come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// Most recent sessions that are looked at for each item.
    pub m: usize,
    /// Most similar sessions that vote.
    pub k: usize,
    /// Distinct items of the history that make the query.
    pub max_length: usize,
    /// How places are counted.
    pub places: Places,
    /// What an item of the query adds to a session's similarity.
    pub weighting: Decay,
    /// What a session's votes count by the place in the query of the latest item that it shares.
    pub vote_weighting: Decay,
    /// Whether similarity is divided by √(length of the query · length of the session).
    pub normalize: bool,
    /// λ of `exp(−age ⁄ λ)` by which similarity falls with a session's age in days; 0: never.
    pub recency_days: f32,
    /// λ of `exp(−distance ⁄ λ)` by which votes fade within a session; 0: never.
    pub distance_decay: f32,
    /// What a vote counts by itself.
    pub base: f32,
    /// What the idf of its item adds, `ln(sessions ⁄ sessions with it)` times this.
    pub idf: f32,
}

impl Rules {
    /// Whether the places of items within their sessions must be kept.
    pub(super) fn needs_places(&self) -> bool {
        self.places == Places::Moments && self.distance_decay > 0.0
    }

    /// Whether the order of items within a session matters.
    pub(super) fn is_ordered(&self) -> bool {
        self.distance_decay > 0.0
    }
}
