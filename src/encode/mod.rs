//! A worker's rows to rows of items: sketches of the columns, the codebook agreed from them, the codes.

mod codebook;
mod shard;

pub use codebook::{Codebook, Feature, ItemValue, MISSING, civil};
pub use shard::{Codes, MetricColumn, Shard};
