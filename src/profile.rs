//! What sets a group apart: how its customers spread over the items, against the base.

use serde::{Deserialize, Serialize};

use crate::segment::Item;

/// One item's place in a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProfileItem {
    pub item: Item,
    /// Customers of the group with this item.
    pub uv: i64,
    /// Their share of the group.
    pub share: f64,
    /// The item's share of the base.
    pub base_share: f64,
    /// `share / base_share * 100` (target group index, TGI).
    pub index: f64,
    /// Standard score of the difference between group and rest of the base (two proportions, pooled).
    pub z: f64,
}
