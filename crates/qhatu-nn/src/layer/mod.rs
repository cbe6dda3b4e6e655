//! Layers: operations with their parameters. A layer holds no numbers, only where its tensors lie in a
//! [`crate::Parameters`] arena, and is made from a config; numbers, gradients and what a backward pass needs come with each call,
//! so that one layer serves any number of threads. Packed layers hold weights laid out for many forward
//! passes.

mod block;
mod embedding;
mod feed_forward;
mod last_block;
mod linear;
mod norm;
mod packed_block;
mod packed_linear;
mod recurrent;
mod self_attention;

pub use block::{Block, BlockConfig, BlockSaved, NormPlace};
pub use embedding::{Embedding, EmbeddingConfig};
pub use feed_forward::{FeedForward, FeedForwardConfig, FeedForwardSaved};
pub use last_block::{LastBlock, LastBlockRoom};
pub use linear::{Linear, LinearConfig};
pub use norm::{LayerNorm, LayerNormConfig, LayerNormSaved};
pub use packed_block::{PackedBlock, PackedBlockRoom};
pub use packed_linear::{PackedLinear, PackedLinearRoom, Precision};
pub use recurrent::{Recurrent, RecurrentConfig};
pub use self_attention::{SelfAttention, SelfAttentionConfig, SelfAttentionSaved};
