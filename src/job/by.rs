//! Whether a table has the features that `merge.by` names.

use glob::Pattern;

use super::{Job, JobError, closest};

/// Of a table, what `merge.by` may name and what it might name by mistake.
#[derive(Debug)]
pub struct Offered<'a> {
    pub columns: Vec<&'a str>,
    /// The features that are combined, and of each whether a customer has several items of it, as of tags.
    pub features: Vec<(&'a str, bool)>,
    /// Columns that cannot be features, with the reason.
    pub refused: &'a [(String, String)],
}

/// Names that an error lists.
const LISTED: usize = 20;

impl Job {
    /// Refuses a name that can make no cells, before a run counts for nothing.
    pub fn check_by(&self, offered: &Offered) -> Result<(), JobError> {
        let fit = || offered.features.iter().filter(|(_, several)| !several).map(|(name, _)| *name);
        for name in &self.merge.by {
            let Some(why) = self.unfit(name, offered) else { continue };
            let all: Vec<&str> = fit().collect();
            let listed = all.iter().take(LISTED).map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
            let more = if all.len() > LISTED { format!(" and {} more", all.len() - LISTED) } else { String::new() };
            let hint = closest(name, fit()).map_or(String::new(), |near| format!("; did you mean {near:?}?"));
            let allowed = format!("{why}; expected features of this job: {listed}{more}{hint}");
            return Err(JobError::Range { setting: "merge.by".into(), value: format!("{name:?}"), allowed });
        }
        Ok(())
    }

    /// Why a name is none of a feature that makes cells.
    fn unfit(&self, name: &str, offered: &Offered) -> Option<String> {
        match offered.features.iter().find(|(feature, _)| *feature == name) {
            Some((_, false)) => return None,
            Some((_, true)) => {
                let why =
                    "this feature is of tags, of which customers have several or none, so they are in no one cell";
                return Some(why.into());
            }
            None => {}
        }
        let is = |column: &Option<String>| column.as_deref() == Some(name);
        if !offered.columns.contains(&name) {
            return Some("the table has no such column, and no section of [features] makes such a feature".into());
        }
        if is(&self.input.id) {
            return Some("this is the id (input.id), so that every cell would be one customer".into());
        }
        if self.metric.column == name || is(&self.metric.denominator) {
            return Some("this is the metric, which cells are to explain".into());
        }
        let mut others = self.secondary.iter().enumerate();
        if let Some((i, _)) = others.find(|(_, other)| other.column == name || is(&other.denominator)) {
            return Some(format!("this is a metric that is carried along (secondary[{i}]), and no feature"));
        }
        if is(&self.input.latest_by) {
            return Some("this is input.latest_by, and no feature".into());
        }
        if self.compare.as_ref().is_some_and(|compare| compare.column == name) {
            return Some("this is compare.column, which tells the periods apart".into());
        }
        if let Some((_, reason)) = offered.refused.iter().find(|(column, _)| column == name) {
            return Some(reason.clone());
        }
        let of = |text: &&String| *text == name || Pattern::new(text).is_ok_and(|pattern| pattern.matches(name));
        if let Some(pattern) = self.features.exclude.iter().find(of) {
            return Some(format!("it is left out by features.exclude ({pattern:?})"));
        }
        if self.features.by_name.contains_key(name) {
            return Some(format!("[features.{name}] makes a feature of another column"));
        }
        Some("it is a column that features.include leaves out".into())
    }
}
