//! Layers with their forward and backward, losses, optimizers, checkpoints.
