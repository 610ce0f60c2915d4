//! Which columns of the table a job reads, and as what.

use glob::Pattern;

use super::codebook::Feature;
use super::coder::fits;
use super::period::PeriodInput;
use crate::job::{
    BinSpec, DatePart, FeatureKind, FeatureSpec, Job, MetricMissing, MetricSpec, Missing, OneOrMany, Scalar,
};
use crate::source::{Column, ColumnKind, SourceError, Table};
use crate::stats::MetricKind;

/// The columns to scan and the role of each. Positions are places in `columns`.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Places in the table's columns, increasing.
    pub columns: Vec<usize>,
    pub id: Option<usize>,
    pub latest_by: Option<usize>,
    /// The primary metric, then the secondary ones.
    pub metrics: Vec<MetricInput>,
    /// Where the job compares two periods.
    pub period: Option<PeriodInput>,
    /// The features, then the columns that groups are only told by.
    pub features: Vec<FeatureInput>,
    /// How many of them are features.
    pub combined: usize,
    /// Those that groups are told by, by their places.
    pub by: Vec<usize>,
    /// Columns that the job includes but that cannot be features, with the reason.
    pub refused: Vec<(String, String)>,
}

/// How a metric is read.
#[derive(Clone, Debug)]
pub struct MetricInput {
    /// What settings and reports call it.
    pub name: String,
    pub setting: String,
    pub kind: MetricKind,
    pub column: usize,
    pub denominator: Option<usize>,
    pub positive: Positive,
    pub missing: MetricMissing,
    pub decimals: Option<u8>,
    /// Shares of the quantiles that an amount is cut at.
    pub winsorise: Option<[f64; 2]>,
}

/// Which values of a rate mean yes.
#[derive(Clone, Debug)]
pub struct Positive {
    values: Vec<Scalar>,
    /// The values are the default ones, compared in any case.
    default: bool,
}

impl Positive {
    fn of(values: &Option<OneOrMany>) -> Positive {
        match values {
            Some(values) => Positive { values: values.values().to_vec(), default: false },
            None => {
                Positive { values: vec![Scalar::Bool(true), Scalar::Int(1), Scalar::Text("yes".into())], default: true }
            }
        }
    }

    pub fn text(&self, text: &str) -> bool {
        if self.default {
            return ["1", "yes", "true"].iter().any(|yes| text.eq_ignore_ascii_case(yes));
        }
        self.values.iter().any(|value| match value {
            Scalar::Text(yes) => text == yes,
            Scalar::Bool(yes) => text.eq_ignore_ascii_case(if *yes { "true" } else { "false" }),
            Scalar::Int(yes) => text.parse::<i64>().is_ok_and(|v| v == *yes),
            Scalar::Float(yes) => text.parse::<f64>().is_ok_and(|v| v == *yes),
        })
    }

    /// The numbers that mean yes.
    pub fn numbers(&self) -> Vec<f64> {
        let number = |value: &Scalar| match value {
            Scalar::Int(yes) => Some(*yes as f64),
            Scalar::Float(yes) => Some(*yes),
            Scalar::Text(yes) => yes.parse().ok(),
            Scalar::Bool(_) => None,
        };
        self.values.iter().filter_map(number).collect()
    }

    pub fn bool(&self, value: bool) -> bool {
        self.values.iter().any(|yes| match yes {
            Scalar::Bool(yes) => *yes == value,
            Scalar::Text(yes) => yes.eq_ignore_ascii_case(if value { "true" } else { "false" }),
            Scalar::Int(_) | Scalar::Float(_) => false,
        })
    }
}

/// How a feature is made.
#[derive(Clone, Debug)]
pub struct FeatureInput {
    pub name: String,
    pub column: usize,
    pub column_name: String,
    pub kind: Option<FeatureKind>,
    pub bin: Option<BinSpec>,
    pub part: Option<DatePart>,
    /// What stands between the tags of a text; none where a text is one value.
    pub separator: Option<String>,
    pub missing: Missing,
    /// Values, beside null, that mean missing.
    pub null_values: Vec<String>,
}

/// What a job asks of a table that the table cannot give; exit code 3.
#[derive(Debug, thiserror::Error)]
pub enum ReadingError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("{setting}: column {column:?} is {kind}; expected {expected}")]
    Type { setting: String, column: String, kind: String, expected: &'static str },
    #[error(
        "features.{feature}.missing = \"mode\": column {column:?} is a {kind}, and a customer without tags has none; leave it out"
    )]
    Completed { feature: String, column: String, kind: String },
    #[error("features.include: {pattern:?} matches no column")]
    NoMatch { pattern: String },
    #[error("features.include: {pattern:?} is not a pattern: {message}")]
    Pattern { pattern: String, message: String },
    #[error("no feature is left to combine: features.include and features.exclude leave no usable column")]
    NoFeature,
}

impl Reading {
    /// Resolves every column the job names.
    pub fn new(job: &Job, table: &Table) -> Result<Reading, ReadingError> {
        let columns = table.columns();
        let place = |setting: &str, name: &str| table.column(setting, name);
        let id = id(job, table)?;
        let latest_by = job.input.latest_by.as_ref().map(|by| place("input.latest_by", by)).transpose()?;

        let numeric = [ColumnKind::Text, ColumnKind::Int, ColumnKind::Float, ColumnKind::Decimal, ColumnKind::Bool];
        let metric = |setting: String, name: &str, spec: &MetricSpec| -> Result<MetricInput, ReadingError> {
            let column = place(&format!("{setting}.column"), &spec.column)?;
            let expected = if spec.kind == MetricKind::Rate { "text, numbers or booleans" } else { "numbers" };
            expect(&columns[column], &format!("{setting}.column"), expected, &numeric)?;
            let denominator = match &spec.denominator {
                Some(name) => {
                    let at = place(&format!("{setting}.denominator"), name)?;
                    expect(&columns[at], &format!("{setting}.denominator"), "numbers", &numeric)?;
                    Some(at)
                }
                None => None,
            };
            Ok(MetricInput {
                name: name.to_owned(),
                setting,
                kind: spec.kind,
                column,
                denominator,
                positive: Positive::of(&spec.positive),
                missing: spec.missing,
                decimals: spec.decimals,
                winsorise: spec.winsorise,
            })
        };
        let mut metrics = vec![metric("metric".into(), &job.metric.column, &job.metric)?];
        for (i, secondary) in job.secondary.iter().enumerate() {
            metrics.push(metric(format!("secondary[{i}]"), &secondary.name, &secondary.metric())?);
        }

        let period = match &job.compare {
            Some(compare) => {
                let at = place("compare.column", &compare.column)?;
                let (expected, dates) = ("one value a row", [ColumnKind::Date, ColumnKind::Timestamp]);
                expect(&columns[at], "compare.column", expected, &[&numeric[..], &dates].concat())?;
                Some(PeriodInput::new(at, compare))
            }
            None => None,
        };

        let mut taken: Vec<usize> = id.into_iter().chain(latest_by).collect();
        taken.extend(period.as_ref().map(|period| period.column));
        taken.extend(metrics.iter().flat_map(|m| std::iter::once(m.column).chain(m.denominator)));
        let (mut features, refused) = features(job, table, &taken)?;
        let combined = features.len();
        let by = told_by(job, table, &mut features)?;

        let mut wanted = taken;
        wanted.extend(features.iter().map(|f| f.column));
        wanted.sort_unstable();
        wanted.dedup();
        let at = |place: usize| wanted.binary_search(&place).expect("every column was wanted");
        Ok(Reading {
            id: id.map(at),
            latest_by: latest_by.map(at),
            metrics: metrics
                .into_iter()
                .map(|m| MetricInput { column: at(m.column), denominator: m.denominator.map(at), ..m })
                .collect(),
            period: period.map(|period| PeriodInput { column: at(period.column), ..period }),
            features: features.into_iter().map(|f| FeatureInput { column: at(f.column), ..f }).collect(),
            combined,
            by,
            refused,
            columns: wanted,
        })
    }
}

impl Reading {
    /// What the features of a run's codebook need of another table, and the id; nothing else is read. Features stay in their order.
    pub fn of_codebook(job: &Job, table: &Table, features: &[Feature]) -> Result<Reading, ReadingError> {
        let id = id(job, table)?;
        let mut inputs = Vec::new();
        for feature in features {
            let setting = format!("features.{}", feature.name);
            let place = table.column(&setting, &feature.column)?;
            let column = &table.columns()[place];
            fits(feature, &column.kind).map_err(|expected| ReadingError::Type {
                setting,
                column: column.name.clone(),
                kind: column.kind.name(),
                expected,
            })?;
            let spec = job.features.by_name.get(&feature.name).cloned().unwrap_or_default();
            inputs.push(input(job, column, place, feature.name.clone(), spec));
        }
        let mut columns: Vec<usize> = id.into_iter().chain(inputs.iter().map(|input| input.column)).collect();
        columns.sort_unstable();
        columns.dedup();
        let at = |place: usize| columns.binary_search(&place).expect("every column was wanted");
        Ok(Reading {
            id: id.map(at),
            latest_by: None,
            metrics: Vec::new(),
            period: None,
            combined: inputs.len(),
            features: inputs.into_iter().map(|f| FeatureInput { column: at(f.column), ..f }).collect(),
            by: Vec::new(),
            refused: Vec::new(),
            columns,
        })
    }
}

/// The column that identifies a customer.
fn id(job: &Job, table: &Table) -> Result<Option<usize>, ReadingError> {
    let id = job.input.id.as_ref().map(|id| table.column("input.id", id)).transpose()?;
    if let Some(id) = id {
        let expected = "text or whole numbers";
        let kinds = [ColumnKind::Text, ColumnKind::Int, ColumnKind::Float];
        expect(&table.columns()[id], "input.id", expected, &kinds)?;
    }
    Ok(id)
}

type Refused = Vec<(String, String)>;

/// The features in table order, those made of the same column by name; places are the table's.
fn features(job: &Job, table: &Table, taken: &[usize]) -> Result<(Vec<FeatureInput>, Refused), ReadingError> {
    let columns = table.columns();
    let compile = |pattern: &String| {
        Pattern::new(pattern).map_err(|e| ReadingError::Pattern { pattern: pattern.clone(), message: e.to_string() })
    };
    let include = job.features.include.iter().map(compile).collect::<Result<Vec<_>, _>>()?;
    let exclude = job.features.exclude.iter().map(compile).collect::<Result<Vec<_>, _>>()?;
    for (pattern, text) in include.iter().zip(&job.features.include) {
        // A name may hold the characters of patterns, as in `price[EUR]`.
        if !columns.iter().any(|c| pattern.matches(&c.name) || c.name == *text) {
            return Err(match text.contains(['*', '?', '[']) {
                true => ReadingError::NoMatch { pattern: text.clone() },
                false => table.column("features.include", text).expect_err("no column has this name").into(),
            });
        }
    }
    for name in &job.features.exclude {
        if !name.contains(['*', '?', '[']) {
            table.column("features.exclude", name)?;
        }
    }
    let listed = |name: &str, patterns: &[Pattern], texts: &[String]| {
        patterns.iter().any(|p| p.matches(name)) || texts.iter().any(|t| t == name)
    };
    let mut found: Vec<(usize, String, FeatureSpec)> = Vec::new();
    let mut refused = Vec::new();
    for (place, column) in columns.iter().enumerate() {
        let spec = job.features.by_name.get(&column.name);
        let made_of_itself = spec.is_some_and(|spec| spec.column.is_none());
        let included = listed(&column.name, &include, &job.features.include) && !taken.contains(&place);
        if !(included || made_of_itself) || listed(&column.name, &exclude, &job.features.exclude) {
            continue;
        }
        if spec.is_some_and(|spec| spec.column.is_some()) {
            continue;
        }
        match &column.kind {
            ColumnKind::Unsupported(kind) => refused.push((column.name.clone(), not_read(kind))),
            _ => found.push((place, column.name.clone(), spec.cloned().unwrap_or_default())),
        }
    }
    for (name, spec) in &job.features.by_name {
        let setting = format!("features.{name}");
        let place = match &spec.column {
            Some(column) => table.column(&format!("{setting}.column"), column)?,
            None => table.column(&setting, name)?,
        };
        let kind = &columns[place].kind;
        let dates = [ColumnKind::Date, ColumnKind::Timestamp, ColumnKind::Text];
        if spec.part.is_some() || spec.kind == Some(FeatureKind::Date) {
            expect(&columns[place], &setting, "a date, a time, or text in ISO 8601", &dates)?;
        }
        if spec.bin.is_some() || spec.kind == Some(FeatureKind::Number) {
            let numbers = [ColumnKind::Int, ColumnKind::Float, ColumnKind::Decimal, ColumnKind::Text];
            expect(&columns[place], &setting, "numbers", &numbers)?;
        }
        if spec.separator.is_some() {
            expect(&columns[place], &format!("{setting}.separator"), "text", &[ColumnKind::Text])?;
        }
        if spec.kind == Some(FeatureKind::Tags) {
            let several = [ColumnKind::Text, ColumnKind::TextList, ColumnKind::IntList];
            expect(&columns[place], &format!("{setting}.kind"), "text or a list", &several)?;
        }
        if kind.is_list() && spec.kind == Some(FeatureKind::Category) {
            expect(&columns[place], &format!("{setting}.kind"), "one value a row (lists are of kind tags)", &[])?;
        }
        if kind.is_list() && spec.missing == Missing::Mode {
            let column = columns[place].name.clone();
            return Err(ReadingError::Completed { feature: name.clone(), column, kind: kind.name() });
        }
        if spec.column.is_some() {
            match kind {
                ColumnKind::Unsupported(kind) => refused.push((name.clone(), not_read(kind))),
                _ => found.push((place, name.clone(), spec.clone())),
            }
        }
    }
    if found.is_empty() {
        return Err(ReadingError::NoFeature);
    }
    found.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    let features = found.into_iter().map(|(place, name, spec)| input(job, &columns[place], place, name, spec));
    Ok((features.collect(), refused))
}

/// A feature that is made of a column in this place as its settings say.
fn input(job: &Job, column: &Column, place: usize, name: String, spec: FeatureSpec) -> FeatureInput {
    let mut null_values = spec.null_values.clone();
    if matches!(column.kind, ColumnKind::Text | ColumnKind::TextList) {
        null_values.extend(job.input.csv.null_values.iter().cloned());
    }
    null_values.sort();
    null_values.dedup();
    let separator = spec.separator().filter(|_| column.kind == ColumnKind::Text).map(str::to_owned);
    FeatureInput {
        name,
        column: place,
        column_name: column.name.clone(),
        kind: spec.kind,
        bin: spec.bin,
        part: spec.part,
        separator,
        missing: spec.missing,
        null_values,
    }
}

/// Where what groups are told by stands among the features, each by its name or its column's; what is no feature is added behind them.
fn told_by(job: &Job, table: &Table, features: &mut Vec<FeatureInput>) -> Result<Vec<usize>, ReadingError> {
    let mut places = Vec::new();
    for name in &job.profile.by {
        if let Some(place) = features.iter().position(|feature| feature.name == *name) {
            places.push(place);
            continue;
        }
        let place = table.column("profile.by", name)?;
        let column = &table.columns()[place];
        if let ColumnKind::Unsupported(kind) = &column.kind {
            let (column, expected) =
                (column.name.clone(), "text, a number, a boolean, a date, a time, or a list of tags");
            return Err(ReadingError::Type { setting: "profile.by".into(), column, kind: kind.clone(), expected });
        }
        // A feature of another column may have the name of this one.
        let spec = job.features.by_name.get(name).filter(|spec| spec.column.is_none());
        features.push(input(job, &table.columns()[place], place, name.clone(), spec.cloned().unwrap_or_default()));
        places.push(features.len() - 1);
    }
    Ok(places)
}

/// Why a column of this type is no feature.
fn not_read(kind: &str) -> String {
    let lists = if kind.contains("List(") {
        "; lists of text or of whole numbers of up to 64 bits with a sign are"
    } else {
        ""
    };
    format!("{kind} columns are not read as features{lists}")
}

fn expect(column: &Column, setting: &str, expected: &'static str, kinds: &[ColumnKind]) -> Result<(), ReadingError> {
    if kinds.contains(&column.kind) {
        return Ok(());
    }
    let (column, kind) = (column.name.clone(), column.kind.name());
    Err(ReadingError::Type { setting: setting.to_owned(), column, kind, expected })
}
