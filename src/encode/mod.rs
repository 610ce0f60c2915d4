//! A worker's rows to rows of items: sketches of the columns, the codebook agreed from them, the codes.

mod book;
mod codebook;
mod coder;
mod fixed;
mod intake;
mod features;
mod ids;
mod local;
mod metrics;
mod numbers;
mod origin;
mod period;
mod reading;
mod text;
mod values;

/// A hash map with a fixed seed: nothing is listed in its order.
type Map<K, V> = hashbrown::HashMap<K, V, foldhash::fast::FixedState>;
mod shard;
mod sketch;
mod strangers;
mod tags;

pub use book::{Draft, TooManyBands, band_counts, feature};
pub use codebook::{Codebook, Feature, ItemValue, MISSING, OTHER, civil};
pub use coder::Coder;
pub use features::{LocalFeature, Place};
pub use fixed::{Coded, Coding};
pub use ids::{IdRef, LocalIds, hash};
pub use intake::{BadRow, Intake};
pub use metrics::{LocalMetric, LocalNumbers, Overflow};
pub use period::LocalPeriods;
pub use reading::{FeatureInput, MetricInput, Reading, ReadingError};
pub use shard::{Codes, MetricColumn, RUN_RATES, Run, Shard};
pub use sketch::{Sketch, Values};
pub use strangers::Strangers;
pub use tags::{Tag, TagCodes, TagLoad, TagSource};
