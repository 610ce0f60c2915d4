//! How groups divide by columns, as `groups.json` has it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::RunResult;
use crate::mix::{Share, Value};

/// By column, its values.
pub type ByColumn<T> = BTreeMap<String, Vec<T>>;

/// A value of a column over all customers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValueEntry {
    /// `(missing)` is its own; `(other)` are all values of few customers together.
    pub value: String,
    /// Customers of the base with it.
    pub uv: i64,
    pub share: f64,
    /// Over these; none where the metric has no mean.
    pub metric_mean: Option<f64>,
    /// The same of the customers in no group; none where too few would be told.
    pub nobody: Option<ShareEntry>,
}

/// A value of a column in a group. Values of which too few customers would be told are left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MixEntry {
    pub value: String,
    #[serde(flatten)]
    pub own: ShareEntry,
}

/// What some customers have of a value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShareEntry {
    /// Those of them with the value.
    pub uv: i64,
    /// The value's share of them.
    pub share: f64,
    /// Their share of all customers with the value.
    pub of_value: f64,
    /// The value's share of the base.
    pub base_share: f64,
    pub index: f64,
    pub z: f64,
    pub q: f64,
    pub metric_mean: Option<f64>,
}

impl ShareEntry {
    fn of(value: &Value, share: &Share) -> ShareEntry {
        let Share { uv, share, of_value, index, z, q, metric_mean } = *share;
        ShareEntry { uv, share, of_value, base_share: value.share, index, z, q, metric_mean }
    }
}

/// By column, its values over all customers and over those in no group.
pub(super) fn of_base(result: &RunResult) -> ByColumn<ValueEntry> {
    let columns = result.mix.columns.iter().map(|column| {
        let entry = |value: &Value| ValueEntry {
            value: column.label(value),
            uv: value.uv,
            share: value.share,
            metric_mean: value.metric_mean,
            nobody: value.sets.last().and_then(|share| share.as_ref()).map(|share| ShareEntry::of(value, share)),
        };
        (column.name().to_owned(), column.values.iter().map(entry).collect())
    });
    columns.collect()
}

/// By column, the values of the group in a place.
pub(super) fn of_group(result: &RunResult, place: usize) -> ByColumn<MixEntry> {
    let columns = result.mix.columns.iter().map(|column| {
        let entry = |value: &Value| {
            let share = value.sets[place].as_ref()?;
            Some(MixEntry { value: column.label(value), own: ShareEntry::of(value, share) })
        };
        (column.name().to_owned(), column.values.iter().filter_map(entry).collect())
    });
    columns.collect()
}
