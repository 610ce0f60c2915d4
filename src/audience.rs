//! Customers by their own ids: who is in which group, and why.

use serde::{Deserialize, Serialize};

/// Customer ids as the input has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum CustomerIds {
    /// The job has no id column: row numbers, from 0, over the files in order.
    Row(Vec<u64>),
    Int(Vec<i64>),
    Text(Vec<String>),
}

impl CustomerIds {
    pub fn len(&self) -> usize {
        match self {
            CustomerIds::Row(ids) => ids.len(),
            CustomerIds::Int(ids) => ids.len(),
            CustomerIds::Text(ids) => ids.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The customers that were put into a group: four columns of one length, in any order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Assigned {
    pub ids: CustomerIds,
    /// `Group::id`.
    pub group: Vec<u32>,
    /// Which of the group's segments put the customer there: position in the list of highlights.
    pub highlight: Vec<u32>,
    /// Whether the customer is in the validation part.
    pub holdout: Vec<bool>,
}
