//! Row accounts and data quality: what was read, what was left out and why. Becomes `quality.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Where the rows went. Every row that was read is in exactly one of the other three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowAccounts {
    pub read: u64,
    pub kept: u64,
    /// Left out for a reason that is counted in [`Quality::rejects`].
    pub quarantined: u64,
    /// Further rows of a customer who is kept already.
    pub merged: u64,
}

impl RowAccounts {
    /// Whether the accounts close: read = kept + quarantined + merged.
    pub fn balanced(&self) -> bool {
        Some(self.read)
            == self.kept.checked_add(self.quarantined).and_then(|accounted| accounted.checked_add(self.merged))
    }
}

/// One row that was left out, for whoever mends the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedRow {
    pub file: String,
    /// Within the file, from 1, a header line not counted.
    pub row: u64,
    /// The line it starts at, where it could not even be told apart into columns.
    pub line: Option<u64>,
    pub column: Option<String>,
    pub reason: String,
    /// As the table has it, cut to a length that can be read.
    pub value: Option<String>,
}

/// What is known of one column that the job reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnQuality {
    pub name: String,
    /// Rows without a value.
    pub nulls: u64,
    /// Distinct values, a lower bound when there were too many to hold.
    pub distinct: u64,
}

/// The quality of the table as the job read it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quality {
    pub rows: RowAccounts,
    /// Size of the base.
    pub customers: u64,
    /// Quarantined rows by reason.
    pub rejects: BTreeMap<String, u64>,
    /// The first few of them, in the order of the table.
    pub samples: Vec<RejectedRow>,
    /// In table order.
    pub columns: Vec<ColumnQuality>,
    /// Metric values that had more decimals than are kept and were rounded.
    pub rounded_values: u64,
}
