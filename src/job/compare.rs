//! The `[compare]` section: which rows are of which of two periods.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{JobError, OneOrMany, Scalar};

/// Two periods of one table, of which the later one is the base of everything else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompareSpec {
    /// The column that says which period a row is of. An id may stand in one row of each.
    pub column: String,
    /// What the column says of the earlier period: a value, several, or patterns (`*`, `?`, `[78]`) as in `2026-09-*`. Dates and times
    /// are compared in ISO 8601, a time also by its day.
    pub before: OneOrMany,
    /// The same of the later one. Rows of neither period are left out.
    pub after: OneOrMany,
    /// Segments told at the most, one after the other, each by what it adds to the change beside those before it. Range 0 to 100.
    #[serde(default = "CompareSpec::ten")]
    pub top: usize,
}

impl CompareSpec {
    fn ten() -> usize {
        10
    }

    /// Checks what types cannot say; `range` is given the setting, its value, whether it is allowed, and what is.
    pub(super) fn check(
        &self,
        range: impl Fn(&str, String, bool, &str) -> Result<(), JobError>,
    ) -> Result<(), JobError> {
        for (name, values) in [("compare.before", &self.before), ("compare.after", &self.after)] {
            range(name, "[]".into(), !values.values().is_empty(), "expected a value of compare.column, or several")?;
        }
        let both = self.before.values().iter().find(|value| self.after.values().contains(value));
        let shown = both.map_or(String::new(), |value| format!("{:?}", value.text()));
        range("compare.before", shown, both.is_none(), "a row is of one period, and compare.after has this value too")?;
        range("compare.top", self.top.to_string(), self.top <= 100, "expected 0 to 100")
    }
}

impl Scalar {
    /// As a table has it.
    pub fn text(&self) -> String {
        match self {
            Scalar::Bool(value) => value.to_string(),
            Scalar::Int(value) => value.to_string(),
            Scalar::Float(value) => value.to_string(),
            Scalar::Text(value) => value.clone(),
        }
    }
}
