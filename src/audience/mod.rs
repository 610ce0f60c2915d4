//! Which customers: by their own ids, for what is written, and as bitmaps over rows, for what is computed.

mod ids;
mod tile;

pub use ids::{Assigned, CustomerIds, RowRuns};
pub use tile::{BitSums, Covers, TILE, Tile, list};
