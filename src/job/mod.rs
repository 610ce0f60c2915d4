//! What a run is asked to do: the job file's sections, every default, and the checks that make a `Job` of them.

mod by;
mod compare;
mod highlight;
mod load;
mod merge;
mod mismatch;
mod profile;

pub use by::Offered;
pub use compare::CompareSpec;
pub use highlight::{Adjust, HighlightSpec, RankBy};
pub use load::{Job, JobError, Override, closest};
pub use merge::{Continuity, DistanceSpec, Linkage, MergeOf, MergeSpec};
pub use profile::ProfileSpec;

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stats::MetricKind;

/// A job file as written. Unknown keys are errors; every default is in the `Default` of its section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobSpec {
    pub input: InputSpec,
    pub metric: MetricSpec,
    /// Further metrics, carried along for every segment and group; they decide nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secondary: Vec<SecondarySpec>,
    /// Two periods of the table, and which segments explain the change of the metric between them. Absent: one period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare: Option<CompareSpec>,
    #[serde(default)]
    pub features: FeaturesSpec,
    #[serde(default)]
    pub screen: ScreenSpec,
    #[serde(default)]
    pub enumerate: EnumerateSpec,
    #[serde(default)]
    pub highlight: HighlightSpec,
    #[serde(default)]
    pub merge: MergeSpec,
    #[serde(default)]
    pub profile: ProfileSpec,
    pub output: OutputSpec,
}

/// Where the customer table is and how to read it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InputSpec {
    /// A file, a folder, or a glob. Relative paths start at the working directory. Names that start with `_` or `.`
    /// are skipped in folders.
    pub path: String,
    /// `parquet` or `csv`; absent: by the file names (`.parquet`, `.csv`, `.tsv`, `.txt`, each also `.gz` or `.zst`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<TableFormat>,
    /// The column that identifies a customer; UV counts its distinct values. Absent: every row is a customer and is
    /// known by its number, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(default)]
    pub csv: CsvSpec,
    /// What happens to a row that cannot be used as it is.
    #[serde(default)]
    pub on_bad_row: OnBadRow,
    /// With `on_bad_row = "quarantine"`: more quarantined rows than this end the run with exit code 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bad_rows: Option<u64>,
    /// The same as a share of the rows read, 0 to 1. Default 0.01, unless `max_bad_rows` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bad_share: Option<f64>,
    /// What happens when several rows carry one customer id.
    #[serde(default)]
    pub on_duplicate_id: OnDuplicateId,
    /// With `on_duplicate_id = "latest"`: the row with the greatest value of this column is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_by: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TableFormat {
    Parquet,
    Csv,
}

/// How CSV files are written. Ignored for Parquet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CsvSpec {
    /// One byte between fields.
    pub delimiter: char,
    /// The byte that encloses fields which hold delimiters, quotes or line ends; doubled inside.
    pub quote: char,
    /// Whether the first line names the columns.
    pub header: bool,
    /// The columns' names when there is no header line (or to replace it).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Values that mean missing, beside the empty field. They hold for Parquet text columns too.
    pub null_values: Vec<String>,
    /// Remove white space around fields.
    pub trim: bool,
    /// Lines to skip at the start of each file, before the header.
    pub skip_lines: usize,
    /// Only `utf-8` is read; other encodings are refused with the command that converts the file.
    pub encoding: String,
}

impl Default for CsvSpec {
    fn default() -> Self {
        CsvSpec {
            delimiter: ',',
            quote: '"',
            header: true,
            names: Vec::new(),
            null_values: Vec::new(),
            trim: false,
            skip_lines: 0,
            encoding: "utf-8".into(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnBadRow {
    /// The first bad row ends the run, exit code 4.
    #[default]
    Fail,
    /// Bad rows are left out, counted by reason and sampled in `quality.json`.
    Quarantine,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDuplicateId {
    /// The first duplicate ends the run, exit code 4.
    #[default]
    Fail,
    /// Rows that agree in every column the job reads become one; others end the run.
    MergeIdentical,
    /// The row with the greatest `latest_by` is kept; rows that tie there must be identical.
    Latest,
}

/// The business figure that decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricSpec {
    /// The column with a customer's value; of a ratio, the one above the line.
    pub column: String,
    /// `rate` (yes or no), `amount` (a number, negative too) or `ratio` (sum of `column` over sum of `denominator`).
    pub kind: MetricKind,
    /// With `rate`: the value, or values, that mean yes. Default: true, 1, "1", "yes", "true" (any case).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub positive: Option<OneOrMany>,
    /// With `ratio`: the column below the line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denominator: Option<String>,
    /// What a customer without a value is: an error, not in the base, or a zero.
    #[serde(default)]
    pub missing: MetricMissing,
    /// Decimal places kept, 0 to 9. Absent: as many as the data needs, at most 6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decimals: Option<u8>,
    /// With `amount`: values below the first and above the second of these quantiles count as if they were there, as in
    /// `[0.0, 0.999]`. Shares from 0 to 1, taken of the discovery part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub winsorise: Option<[f64; 2]>,
    /// What a report calls it, e.g. `EUR` or `orders`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// A metric that is carried along.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecondarySpec {
    /// What reports and `groups.json` call it.
    pub name: String,
    /// As in `[metric]`.
    pub column: String,
    pub kind: MetricKind,
    /// With `rate`: the value, or values, that mean yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub positive: Option<OneOrMany>,
    /// With `ratio`: the column below the line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denominator: Option<String>,
    /// What a customer without a value is: an error or a zero (never out of the base: only the primary metric decides that).
    #[serde(default)]
    pub missing: SecondaryMissing,
    /// Decimal places kept, 0 to 9.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decimals: Option<u8>,
    /// As in `[metric]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub winsorise: Option<[f64; 2]>,
    /// Marks every highlight that harms this metric: all of the 95 % interval of its effect lies on the bad side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
}

impl SecondarySpec {
    /// What it shares with the primary metric.
    pub fn metric(&self) -> MetricSpec {
        MetricSpec {
            column: self.column.clone(),
            kind: self.kind,
            positive: self.positive.clone(),
            denominator: self.denominator.clone(),
            missing: match self.missing {
                SecondaryMissing::Fail => MetricMissing::Fail,
                SecondaryMissing::Zero => MetricMissing::Zero,
            },
            decimals: self.decimals,
            winsorise: self.winsorise,
            unit: None,
        }
    }
}

/// Which side of the base's mean is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Guard {
    HigherIsBetter,
    LowerIsBetter,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MetricMissing {
    /// A customer without a value is a bad row, treated as `input.on_bad_row` says.
    #[default]
    Fail,
    /// Left out of the base, counted as quarantined for `metric missing`, never over a limit.
    Drop,
    /// Counted as zero (no, for a rate).
    Zero,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecondaryMissing {
    #[default]
    Fail,
    Zero,
}

/// A value written as text, a number or a boolean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Scalar {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany {
    One(Scalar),
    Many(Vec<Scalar>),
}

impl OneOrMany {
    pub fn values(&self) -> &[Scalar] {
        match self {
            OneOrMany::One(value) => std::slice::from_ref(value),
            OneOrMany::Many(values) => values,
        }
    }
}

/// Which columns are features, and how their values become items.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FeaturesSpec {
    /// Names or patterns (`*`, `?`) of the columns that are features. The id, the metrics and `latest_by` never are,
    /// unless a section of their own says so.
    #[serde(default = "FeaturesSpec::everything")]
    pub include: Vec<String>,
    /// Names or patterns taken out again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// `[features.NAME]`: one feature's settings. With `column`, a further feature made of that column.
    #[serde(flatten)]
    pub by_name: BTreeMap<String, FeatureSpec>,
}

impl FeatureSpec {
    /// What stands between tags that are written as text; none where the job says nothing of tags.
    pub fn separator(&self) -> Option<&str> {
        let default = (self.kind == Some(FeatureKind::Tags)).then_some("|");
        self.separator.as_deref().or(default)
    }
}

impl FeaturesSpec {
    fn everything() -> Vec<String> {
        vec!["*".into()]
    }
}

impl Default for FeaturesSpec {
    fn default() -> Self {
        FeaturesSpec { include: Self::everything(), exclude: Vec::new(), by_name: BTreeMap::new() }
    }
}

/// How one feature is made. A name with other characters than letters of English, digits, `_` and `-` stands in quotes, as in
/// `[features."年龄"]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FeatureSpec {
    /// The column it is made of; absent: the column of the feature's own name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// Absent: by the column's type and values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<FeatureKind>,
    /// How numbers are banded. Absent: few distinct values stay as they are, others make 5 quantiles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bin: Option<BinSpec>,
    /// Which part of a date or time. Absent: `year_month`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<DatePart>,
    /// Of text: what stands between the tags of a customer, as in `travel|sports`; each tag is an item. White space around a tag
    /// is dropped, and so are empty tags. Default with `kind = "tags"`: `|`. Lists need none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
    pub missing: Missing,
    /// Further values of this column that mean missing; of tags, each alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub null_values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FeatureKind {
    /// Each distinct value is an item, numbers used as codes too.
    Category,
    /// Banded.
    Number,
    /// A date or time; `part` says what of it. Text is read as ISO 8601.
    Date,
    /// A set of tags a customer, each an item: text with `separator` between them. Lists of text or whole numbers are tags by
    /// themselves.
    Tags,
}

/// Bands of a number; all are closed below and open above: `[low, high)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BinSpec {
    /// Bands of this width, with a border at 0.
    Width(f64),
    /// This many bands (2 to 1000) with about equally many customers; equal values are never split.
    Quantiles(u32),
    /// Borders, strictly increasing; n borders make n + 1 bands.
    Edges(Vec<f64>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DatePart {
    Year,
    Quarter,
    Month,
    YearMonth,
    /// Day of the month.
    Day,
    /// Monday is 1.
    Weekday,
    Hour,
    /// The calendar day.
    Date,
}

/// What a missing value becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// An item of its own, `(missing)`; a customer without tags has no item of them.
    #[default]
    Level,
    /// The most frequent item; not for tags.
    Mode,
}

/// Which features are worth combining.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ScreenSpec {
    /// Combine every included feature that has an item, whatever else would be said of it.
    pub off: bool,
    /// Features combined at the most, those with the highest information value. Range 1 to 1000.
    pub max_features: usize,
    /// Bits; a feature below says almost the same of everybody.
    pub min_entropy: f64,
    /// Share of customers without a value, 0 to 1.
    pub max_null_share: f64,
    /// Share of customers whose value is too rare to be an item (`rest`), 0 to 1; above, the column is like an identifier.
    pub max_rest_share: f64,
    /// A feature whose items follow from another kept feature's to at least this degree (share of its entropy explained,
    /// 0 to 1) is an alias of it and is left out. 1 leaves out exact aliases only; above 1 none.
    pub max_redundancy: f64,
    /// Distinct values of a text column above which it is an identifier and is not encoded. Range 2 to 10 million.
    pub max_distinct: usize,
}

impl Default for ScreenSpec {
    fn default() -> Self {
        ScreenSpec {
            off: false,
            max_features: 40,
            min_entropy: 0.02,
            max_null_share: 0.98,
            max_rest_share: 0.9,
            max_redundancy: 0.999,
            max_distinct: 100_000,
        }
    }
}

/// Which combinations are counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EnumerateSpec {
    /// Items a segment has at the most, 1 to 8.
    pub max_level: usize,
    /// Customers a segment needs; not under 10 unless `allow_small` is set. Takes precedence over `min_share`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_uv: Option<u64>,
    /// The same as a share of the base, rounded up; never below the privacy floor of 10.
    pub min_share: f64,
    /// Allow `min_uv` below the privacy floor of 10; the manifest records it.
    pub allow_small: bool,
    /// Which of the segments with enough customers are kept, listed in `segments.parquet` and counted further.
    pub keep: Keep,
}

impl Default for EnumerateSpec {
    fn default() -> Self {
        EnumerateSpec { max_level: 3, min_uv: None, min_share: 0.001, allow_small: false, keep: Keep::All }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// All of them.
    All,
    /// Those of whose customers some have at least the impact that `highlight.min_impact_share` asks for, so that the segment, or
    /// one that says more, may be a highlight. The false discovery rate is then taken over as many segments as there could be.
    Highlights,
}

/// The fewest customers anything that is written may describe.
pub const PRIVACY_FLOOR: u64 = 10;

/// Where the runs go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputSpec {
    /// Relative paths start at the working directory.
    pub dir: PathBuf,
    /// Published runs kept; older ones are removed after a new one is published. At least 1.
    #[serde(default = "OutputSpec::week")]
    pub keep_runs: usize,
    /// Of the report.
    #[serde(default)]
    pub language: Language,
}

impl OutputSpec {
    fn week() -> usize {
        7
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    #[default]
    En,
    Zh,
}
