//! The `[profile]` section: by what groups are told beside their features.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{InputSpec, JobError, MetricSpec};

/// What groups are told by beside the features that are combined.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProfileSpec {
    /// Columns, or features by their names, that every group is divided by, as in `["channel", "city_tier"]`: which share of a group each value
    /// has, which share of a value each group has, and what the metric is in both. A column need not be a feature, and does not become one;
    /// its values are grouped as a feature's would be, by its `[features.NAME]` section if it has one
    /// (which makes it a feature unless `features.exclude` names it). At most 20, not the id, not the metric.
    pub by: Vec<String>,
}

/// Columns that groups may be divided by.
const MOST_COLUMNS: usize = 20;

impl ProfileSpec {
    /// Checks what types cannot say; `range` is given the setting, its value, whether it is allowed, and what is.
    pub(super) fn check(
        &self,
        input: &InputSpec,
        metric: &MetricSpec,
        range: impl Fn(&str, String, bool, &str) -> Result<(), JobError>,
    ) -> Result<(), JobError> {
        let shown = || format!("{:?}", self.by);
        range("profile.by", shown(), self.by.len() <= MOST_COLUMNS, "expected at most 20 columns")?;
        let twice = self.by.iter().enumerate().find(|(i, name)| self.by[..*i].contains(name));
        let allowed = "this column is named twice";
        range("profile.by", twice.map_or_else(shown, |(_, name)| format!("{name:?}")), twice.is_none(), allowed)?;
        for name in &self.by {
            let value = || format!("{name:?}");
            range(
                "profile.by",
                value(),
                input.id.as_ref() != Some(name),
                "this is the id: each value is one customer",
            )?;
            let metric = metric.column == *name || metric.denominator.as_ref() == Some(name);
            range("profile.by", value(), !metric, "this is the metric, which is told of every group anyway")?;
        }
        Ok(())
    }
}
