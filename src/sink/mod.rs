//! One run's result to published files: tables, audience packages, documents and the report, all at once or not at all.

mod alternatives;
mod assigned;
mod change;
mod columns;
mod common;
mod diff;
mod differences;
mod documents;
mod drift;
mod explain;
mod explained;
mod known;
mod migration;
mod mix;
mod number;
mod packages;
mod past;
mod privacy;
mod prom;
mod publish;
mod quality;
mod report;
mod staging;
mod standing;
mod sums;
mod tables;
mod terminal;
mod text;
mod verify;
mod withhold;

#[cfg(test)]
mod sample;

pub use alternatives::{AlternativeEntry, PartEntry};
pub use assigned::{AssignedFile, AssignedOrder, AssignedRows, NO_PLACE, is_csv};
pub use change::{ChangeFile, FeatureEntry, ItemEntry, StepEntry, read_change};
pub use diff::{Difference, HighlightEntry, RunEntry, diff};
pub use differences::difference;
pub use documents::{GroupEntry, GroupsFile, Manifest, ManifestFile, read_groups, read_manifest};
pub use drift::{Drift, Example, GroupDrift, ValueDrift, stability};
pub use explain::{Asked, ExplainError, Explanation, Figures, Tested, explain};
pub use explained::explained;
pub use migration::{
    MatrixCell, MatrixRow, MigrationFile, Origin, OriginEntry, PreviousRun, Shared, VanishedEntry, read_migration,
};
pub use mix::{ByColumn, MixEntry, ShareEntry, ValueEntry};
pub use packages::audience_folder;
pub use past::{Migration, Previous};
pub use publish::{ErrorKind, Published, Publisher, SinkError, clear_staging, is_run_id};
pub use quality::{ColumnQuality, Quality, RejectedRow, RowAccounts};
pub use report::report;
pub use standing::{Standing, StandingError};
pub use terminal::{group_table, highlight_table, table, terminal, visible};
pub use verify::{Check, VerifyError, VerifyReport, verify};

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::alternatives::Division;
use crate::audience::Assigned;
use crate::change::Changes;
use crate::encode::Codebook;
use crate::enumerate::Answer;
use crate::highlight::{Funnel, Highlight, Scored};
use crate::job::{Job, MergeOf, PRIVACY_FLOOR};
use crate::merge::{Group, Grouping, ShortRule};
use crate::mix::Mix;
use crate::score::{Component, Measures};
use crate::screen::Verdict;
use crate::segment::Segment;
use crate::stats::{MetricKind, Moments, Scale};
use crate::telemetry::{LevelRecord, StageRecord};

/// One file of the table that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInfo {
    /// As the job names it, or below the folder that the job names.
    pub name: String,
    pub bytes: u64,
    pub rows: u64,
}

/// The table that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableInfo {
    /// In the order in which they were read.
    pub files: Vec<FileInfo>,
    /// Of names, sizes and contents as far as they are known without reading everything; equal for equal input.
    pub digest: String,
}

/// Everything that the outputs say.
///
/// Only `started`, `stages`, `levels` and `layout` may differ between two runs of one job on one table; they reach
/// `manifest.json` and `metrics.prom` alone.
pub struct RunResult<'a> {
    pub job: &'a Job,
    /// Gives the run its id.
    pub started: SystemTime,
    pub table: TableInfo,
    /// The column that identifies a customer; none when every row is one.
    pub id_column: Option<&'a str>,
    pub codebook: &'a Codebook,
    pub verdicts: &'a [Verdict],
    pub kind: MetricKind,
    /// The whole base against itself: lift 1, effect 0.
    pub base: Measures,
    pub base_discovery: Measures,
    /// None when nothing was held out.
    pub base_validation: Option<Measures>,
    /// Name of each secondary metric and its base, in the job's order.
    pub secondary: Vec<(String, Measures)>,
    /// Sorted by segment.
    pub segments: &'a [Scored],
    /// The exact sums behind them, in the same order after the base's.
    pub answer: &'a Answer,
    /// Which sums these are, and how many decimals they are scaled by, metric by metric.
    pub moments: &'a Moments,
    pub scales: &'a [Scale],
    /// Of each metric, where it was cut, in scaled units, as far as it may be told.
    pub caps: Vec<Option<[Option<i64>; 2]>>,
    /// How true effects are spread: what shrunken figures rest on.
    pub prior: &'a [Component],
    /// Ranked.
    pub highlights: &'a [Highlight],
    pub funnel: &'a Funnel,
    pub grouping: &'a Grouping,
    /// The groups beside other methods; empty unless they are compared.
    pub alternatives: &'a [Division],
    pub assigned: &'a Assigned,
    /// How the groups divide by the columns that the job names.
    pub mix: &'a Mix,
    pub quality: &'a Quality,
    /// Those before the sink, which times itself.
    pub stages: &'a [StageRecord],
    pub levels: &'a [LevelRecord],
    /// For people, e.g. `2 processes x 2 threads`.
    pub layout: String,
    /// Where the job compares two periods.
    pub changes: Option<&'a Changes>,
    /// Where there is a run before this one to compare groups with.
    pub migration: Option<&'a Migration>,
    /// The run whose groups these may be.
    pub previous: Option<String>,
    /// Of the exact sums.
    pub fingerprint: String,
    /// Plain statements for the reader, e.g. that the metric is constant.
    pub notes: Vec<String>,
}

impl RunResult<'_> {
    /// The fewest customers that a written figure may describe, 1 when the job lifts the floor.
    fn floor(&self) -> i64 {
        if self.job.enumerate.allow_small { 1 } else { PRIVACY_FLOOR as i64 }
    }

    /// Whether these are so few customers that nothing may be told of them; nobody may be told.
    fn few(&self, customers: i64) -> bool {
        (1..self.floor()).contains(&customers)
    }

    /// Positions of the segments that may be written: few customers are not told by what a segment leaves of the base either.
    fn written(&self) -> Vec<usize> {
        (0..self.segments.len()).filter(|&i| !self.few(self.base.uv - self.segments[i].measures.uv)).collect()
    }

    /// The name of every metric, the primary one first.
    fn metric_names(&self) -> impl Iterator<Item = &str> {
        std::iter::once("metric").chain(self.secondary.iter().map(|(name, _)| name.as_str()))
    }

    /// Where a group stands among the groups, as the mix has it.
    fn place(&self, group: &Group) -> usize {
        self.grouping.groups.iter().position(|own| own.id == group.id).expect("it is one of them")
    }

    /// The base on the validation part; none when nothing was held out, or too few customers are in one of the parts.
    fn base_validation(&self) -> Option<Measures> {
        self.base_validation.filter(|held| !self.few(held.uv) && !self.few(self.base_discovery.uv))
    }

    /// What a group shows on the validation part, in the same way.
    fn group_validation(&self, group: &Group) -> Option<Measures> {
        group.validation.filter(|held| !self.few(held.uv) && !self.few(group.stats.uv - held.uv))
    }

    /// What a highlight shows on the validation part, in the same way.
    fn validation(&self, highlight: &Highlight) -> Option<Measures> {
        highlight.validation.filter(|held| !self.few(held.uv) && !self.few(highlight.discovery.uv))
    }

    /// What a highlight adds, unless so few customers are new, or are not, that these would be told.
    fn added(&self, highlight: &Highlight) -> Option<Measures> {
        let (all, new) = (highlight.measures.uv, highlight.added.uv);
        Some(highlight.added).filter(|_| !self.few(new) && !self.few(all - new))
    }

    /// Its rank among the highlights of its direction.
    fn direction_rank(&self, position: usize) -> usize {
        let direction = self.highlights[position].direction;
        self.highlights[..=position].iter().filter(|h| h.direction == direction).count()
    }

    /// The guarded metrics that a highlight harms.
    fn harms<'h>(&'h self, highlight: &'h Highlight) -> impl Iterator<Item = &'h str> {
        let named = self.secondary.iter().zip(&highlight.secondary);
        named.filter(|(_, s)| s.harmed).map(|((name, _), _)| name.as_str())
    }

    /// Which group each highlight was merged into, by position.
    fn group_of_highlights(&self) -> Vec<Option<u32>> {
        self.highlights
            .iter()
            .map(|h| self.grouping.groups.iter().find(|g| g.segments.contains(&h.segment)).map(|g| g.id))
            .collect()
    }

    /// Segments as a condition on the raw table's columns: any of them.
    fn any_sql(&self, segments: &[Segment]) -> String {
        match segments {
            [] => "FALSE".into(),
            [only] => self.codebook.sql(*only),
            many if self.job.merge.of == MergeOf::Cells && many.iter().all(|s| s.features() == many[0].features()) => {
                self.codebook.sql_of_cells(many)
            }
            many => many.iter().map(|s| format!("({})", self.codebook.sql(*s))).collect::<Vec<_>>().join("\nOR "),
        }
    }

    /// Which group a customer is assigned to, as an expression on the raw table's columns.
    fn assignment_sql(&self) -> String {
        if self.job.merge.of == MergeOf::Cells {
            let when = |group: &Group| format!("WHEN {} THEN {}", self.any_sql(&group.segments), group.id);
            let all: Vec<String> = self.grouping.groups.iter().map(when).collect();
            return if all.is_empty() { "NULL".into() } else { format!("CASE\n{}\nEND", all.join("\n")) };
        }
        let when = |(segment, group): &(Segment, u32)| format!("WHEN {} THEN {group}", self.codebook.sql(*segment));
        match self.grouping.asked.as_slice() {
            [] => "NULL".into(),
            asked => format!("CASE\n{}\nEND", asked.iter().map(when).collect::<Vec<_>>().join("\n")),
        }
    }

    /// A group's rule in short, unless so few customers are in the one and not in the other that these would be told.
    fn short_rule<'g>(&self, group: &'g Group) -> Option<&'g ShortRule> {
        let rule = &group.short;
        let common = (rule.recall * group.stats.uv as f64).round() as i64;
        Some(rule).filter(|_| !self.few(rule.uv - common) && !self.few(group.stats.uv - common))
    }
}
