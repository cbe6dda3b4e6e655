//! What a model sees: declarations, the fold, windows, point-in-time rows, encoders.
