//! A job file's text and the command line's overrides to a `Job` that can be run.

use std::path::{Path, PathBuf};

use super::mismatch::{Mismatch, mismatches};
use super::*;
use crate::segment::MAX_LEVEL;

/// A job that has passed every check that needs no table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    spec: JobSpec,
}

impl std::ops::Deref for Job {
    type Target = JobSpec;
    fn deref(&self) -> &JobSpec {
        &self.spec
    }
}

/// What is wrong with a job file or an override; exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    #[error("cannot read the job file {path:?}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path:?}{}: {message}{}", at(.line), did_you_mean(.suggestion))]
    Syntax { path: PathBuf, line: Option<usize>, message: String, suggestion: Option<String> },
    #[error("--set {text:?}: {message}{}", did_you_mean(.suggestion))]
    Override { text: String, message: String, suggestion: Option<String> },
    #[error("{setting} = {value}: {allowed}")]
    Range { setting: String, value: String, allowed: String },
}

fn at(line: &Option<usize>) -> String {
    line.map_or(String::new(), |line| format!(" line {line}"))
}

/// A setting as a job file would have it.
fn shown<T: Serialize>(setting: &Option<T>) -> String {
    let value = setting.as_ref().and_then(|value| toml::Value::try_from(value).ok());
    value.map_or("(absent)".to_owned(), |value| value.to_string())
}

fn did_you_mean(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map_or(String::new(), |s| format!("; did you mean `{s}`?"))
}

/// `section.key=value` from the command line; the value is TOML, or text where it is not valid TOML.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    text: String,
    path: Vec<String>,
    value: toml::Value,
}

impl Override {
    /// Sections and key; two parts at the least.
    pub fn path(&self) -> &[String] {
        &self.path
    }
}

impl std::fmt::Display for Override {
    /// As it was given.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

impl std::str::FromStr for Override {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, value) = text.split_once('=').ok_or("expected section.key=value, as in enumerate.max_level=2")?;
        let path: Vec<String> = path.trim().split('.').map(|part| part.trim().to_owned()).collect();
        if path.len() < 2 || path.iter().any(String::is_empty) {
            return Err("expected section.key=value, as in enumerate.max_level=2".into());
        }
        let value = format!("v = {value}")
            .parse::<toml::Table>()
            .ok()
            .and_then(|mut table| table.remove("v"))
            .unwrap_or_else(|| toml::Value::String(value.trim().to_owned()));
        Ok(Override { text: text.to_owned(), path, value })
    }
}

impl Job {
    /// Reads and checks a job file, with overrides applied in order.
    pub fn load(path: &Path, overrides: &[Override]) -> Result<Job, JobError> {
        let text = std::fs::read_to_string(path).map_err(|source| JobError::Read { path: path.to_owned(), source })?;
        Job::parse(&text, path, overrides)
    }

    /// The same from text; `path` is what errors call it.
    pub fn parse(text: &str, path: &Path, overrides: &[Override]) -> Result<Job, JobError> {
        // The text is typed by itself first, as only then do errors have a line.
        let mut table: toml::Table = text.parse().map_err(|error| syntax(&error, path, text, None))?;
        misplaced_feature_keys(&table, path, text)?;
        // Text is typed for the line that errors then have, but a list may be too long for it.
        toml::from_str::<JobSpec>(text).map_err(|error| syntax(&error, path, text, Some(&table)))?;
        let typed = toml::Value::Table(table.clone()).try_into::<JobSpec>();
        let mut spec = typed.map_err(|error| syntax(&error, path, text, Some(&table)))?;
        let mut lacking = None;
        for change in overrides {
            change.apply(&mut table)?;
            misplaced_feature_keys(&table, path, "")?;
            match toml::Value::Table(table.clone()).try_into::<JobSpec>() {
                Ok(changed) => (spec, lacking) = (changed, None),
                // What a new section needs may be in those that follow.
                Err(error) if error.message().starts_with("missing field") => {
                    lacking = Some(change.refused(&error, &table));
                }
                Err(error) => return Err(change.refused(&error, &table)),
            }
        }
        if let Some(error) = lacking {
            return Err(error);
        }
        Job::check(spec)
    }

    /// Checks what types cannot say.
    pub fn check(spec: JobSpec) -> Result<Job, JobError> {
        let range = |setting: &str, value: String, ok: bool, allowed: &str| {
            if ok { Ok(()) } else { Err(JobError::Range { setting: setting.into(), value, allowed: allowed.into() }) }
        };
        macro_rules! within {
            ($value:expr, $ok:expr, $allowed:expr) => {{
                let ok = $ok;
                range(stringify!($value).trim_start_matches("spec."), format!("{:?}", $value), ok, $allowed)?
            }};
        }
        let share = |v: f64| (0.0..=1.0).contains(&v);

        within!(spec.input.path, !spec.input.path.is_empty(), "expected a file, a folder or a glob");
        within!(spec.input.csv.delimiter, spec.input.csv.delimiter.is_ascii(), "expected one ASCII character");
        within!(spec.input.csv.quote, spec.input.csv.quote.is_ascii(), "expected one ASCII character");
        within!(
            spec.input.csv.header,
            spec.input.csv.header || !spec.input.csv.names.is_empty(),
            "without a header line the columns need input.csv.names"
        );
        within!(
            spec.input.csv.encoding,
            matches!(spec.input.csv.encoding.to_ascii_lowercase().as_str(), "utf-8" | "utf8"),
            "only utf-8 is read; convert the file first, e.g. iconv -f GB18030 -t UTF-8"
        );
        if let Some(max) = spec.input.max_bad_share {
            range("input.max_bad_share", max.to_string(), share(max), "expected a share from 0 to 1")?;
        }
        range(
            "input.latest_by",
            shown(&spec.input.latest_by),
            (spec.input.on_duplicate_id == OnDuplicateId::Latest) == spec.input.latest_by.is_some(),
            "input.latest_by and on_duplicate_id = \"latest\" go together",
        )?;
        range(
            "input.on_duplicate_id",
            shown(&Some(spec.input.on_duplicate_id)),
            spec.input.id.is_some() || spec.input.on_duplicate_id == OnDuplicateId::Fail,
            "needs input.id, the column that identifies a customer",
        )?;

        check_metric("metric", &spec.metric, range)?;
        for (i, secondary) in spec.secondary.iter().enumerate() {
            check_metric(&format!("secondary[{i}]"), &secondary.metric(), range)?;
        }
        for (i, secondary) in spec.secondary.iter().enumerate() {
            range(
                &format!("secondary[{i}].name"),
                format!("{:?}", secondary.name),
                !secondary.name.is_empty()
                    && secondary.name != "metric"
                    && spec.secondary[..i].iter().all(|other| other.name != secondary.name),
                "expected a name that no other metric has; the primary one is called \"metric\"",
            )?;
        }

        if let Some(compare) = &spec.compare {
            compare.check(range)?;
            range(
                "enumerate.keep",
                shown(&Some(spec.enumerate.keep)),
                spec.enumerate.keep == Keep::All,
                "a comparison of two periods ([compare]) looks at all segments, not only at those that may be highlights",
            )?;
        }

        for (name, feature) in &spec.features.by_name {
            let setting = format!("features.{name}.bin");
            match &feature.bin {
                Some(BinSpec::Width(w)) => {
                    range(&setting, w.to_string(), w.is_finite() && *w > 0.0, "expected a width above 0")?
                }
                Some(BinSpec::Quantiles(n)) => {
                    range(&setting, n.to_string(), (2..=1000).contains(n), "expected 2 to 1000 bands")?
                }
                Some(BinSpec::Edges(edges)) => range(
                    &setting,
                    format!("{edges:?}"),
                    !edges.is_empty()
                        && edges.len() <= 10_000
                        && edges.iter().all(|e| e.is_finite())
                        && edges.windows(2).all(|w| w[0] < w[1]),
                    "expected 1 to 10000 strictly increasing finite borders",
                )?,
                None => {}
            }
            range(
                &setting,
                shown(&feature.bin),
                feature.bin.is_none() || matches!(feature.kind, None | Some(FeatureKind::Number)),
                "only numbers are banded; leave out kind or say kind = \"number\"",
            )?;
            range(
                &format!("features.{name}.part"),
                shown(&feature.part),
                feature.part.is_none()
                    || (matches!(feature.kind, None | Some(FeatureKind::Date)) && feature.bin.is_none()),
                "only dates have parts; leave out kind and bin",
            )?;
        }

        for (name, feature) in spec.features.by_name.iter().filter(|(_, feature)| feature.separator().is_some()) {
            let setting = format!("features.{name}.separator");
            let white = |separator: &str| separator.chars().count() > 1 && separator.trim() != separator;
            let separator = feature.separator().unwrap_or_default();
            range(&setting, format!("{separator:?}"), !separator.is_empty(), "expected what stands between two tags")?;
            range(
                &setting,
                format!("{separator:?}"),
                !white(separator),
                "leave out the white space around it: it is dropped around tags anyway",
            )?;
            range(
                &setting,
                format!("{separator:?}"),
                matches!(feature.kind, None | Some(FeatureKind::Tags))
                    && feature.bin.is_none()
                    && feature.part.is_none(),
                "only text with several tags is separated; leave out bin and part, and kind or say kind = \"tags\"",
            )?;
            range(
                &format!("features.{name}.missing"),
                shown(&Some(feature.missing)),
                feature.missing == Missing::Level,
                "a customer without tags has none; leave it out",
            )?;
        }

        within!(spec.screen.max_features, (1..=1000).contains(&spec.screen.max_features), "expected 1 to 1000");
        within!(spec.screen.min_entropy, spec.screen.min_entropy >= 0.0, "expected 0 bits or more");
        within!(spec.screen.max_null_share, share(spec.screen.max_null_share), "expected a share from 0 to 1");
        within!(spec.screen.max_rest_share, share(spec.screen.max_rest_share), "expected a share from 0 to 1");
        within!(spec.screen.max_redundancy, spec.screen.max_redundancy > 0.0, "expected a share above 0");
        within!(
            spec.screen.max_distinct,
            (2..=10_000_000).contains(&spec.screen.max_distinct),
            "expected 2 to 10000000"
        );
        within!(spec.enumerate.max_level, (1..=MAX_LEVEL).contains(&spec.enumerate.max_level), "expected 1 to 8 items");
        within!(
            spec.enumerate.min_share,
            spec.enumerate.min_share > 0.0 && spec.enumerate.min_share <= 1.0,
            "expected a share above 0, at most 1"
        );
        if let Some(min_uv) = spec.enumerate.min_uv {
            range(
                "enumerate.min_uv",
                min_uv.to_string(),
                min_uv >= 1 && (min_uv >= PRIVACY_FLOOR || spec.enumerate.allow_small),
                "the privacy floor is 10 customers; enumerate.allow_small = true lifts it",
            )?;
        }
        spec.highlight.check(range)?;
        spec.merge.check(range)?;
        spec.profile.check(&spec.input, &spec.metric, range)?;
        within!(spec.output.keep_runs, spec.output.keep_runs >= 1, "expected 1 or more");
        Ok(Job { spec })
    }

    /// The job as it will run, every default filled in, as TOML.
    pub fn effective(&self) -> String {
        toml::to_string_pretty(&self.spec).expect("a job that was parsed can be written")
    }

    /// Everything that the answer depends on, as text that two processes can compare: not where the output goes.
    pub fn identity(&self) -> String {
        let mut spec = self.spec.clone();
        spec.output = OutputSpec { dir: PathBuf::new(), keep_runs: 1, language: Language::En };
        toml::to_string(&spec).expect("a job that was parsed can be written")
    }

    /// Customers a segment needs, of a base of `customers`.
    pub fn min_uv(&self, customers: u64) -> u64 {
        match self.spec.enumerate.min_uv {
            Some(min_uv) => min_uv,
            // The tolerance keeps 0.001 * 1000 from being 1.0000000000000002 and rounded up to 2.
            None => {
                let share = (self.spec.enumerate.min_share * customers as f64 - 1e-9).ceil().max(1.0) as u64;
                if self.spec.enumerate.allow_small { share } else { share.max(PRIVACY_FLOOR) }
            }
        }
    }
}

/// What is wrong with a job file; `table` is what it says, where it is TOML at all.
fn syntax(error: &toml::de::Error, path: &Path, text: &str, table: Option<&toml::Table>) -> JobError {
    let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count());
    let on_line = line.and_then(|line| text.lines().nth(line)).unwrap_or_default();
    let (message, suggestion) = match table.and_then(|table| mistyped(error, table, on_line)) {
        Some(Mismatch { setting, value, expected, suggestion, .. }) => {
            (format!("{setting} = {value}: {expected}"), suggestion)
        }
        None => {
            let message = error.message().replace('\n', " ");
            let quoted = (table.is_none()).then(|| quoted_key(on_line)).flatten();
            let hint =
                quoted.map_or(String::new(), |key| format!("; a name with other characters stands in quotes: {key}"));
            (format!("{message}{hint}"), suggestion(error.message()))
        }
    };
    JobError::Syntax { path: path.to_owned(), line: line.map(|line| line + 1), message, suggestion }
}

/// The value that serde cannot type, unless serde says in words of the job file what is wrong: a name is not known, or is missing.
fn mistyped(error: &toml::de::Error, table: &toml::Table, line: &str) -> Option<Mismatch> {
    if ["unknown field", "unknown variant", "missing field"].iter().any(|known| error.message().starts_with(known)) {
        return None;
    }
    let mut found = mismatches(table);
    let meant = found.iter().position(|mismatch| line.contains(mismatch.key())).unwrap_or(0);
    (!found.is_empty()).then(|| found.swap_remove(meant))
}

/// The header or key of a line with quotes around the names that need them; none where none does.
fn quoted_key(line: &str) -> Option<String> {
    let line = line.trim();
    let (open, key, close) = match (line.strip_prefix("[["), line.strip_prefix('['), line.split_once('=')) {
        (Some(rest), ..) => ("[[", rest.split("]]").next()?, "]]"),
        (None, Some(rest), _) => ("[", rest.split(']').next()?, "]"),
        (None, None, Some((key, _))) => ("", key, " = ..."),
        (None, None, None) => return None,
    };
    let bare = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    let parts: Vec<&str> = key.split('.').map(str::trim).collect();
    // What is in quotes, or has some, is not this mistake.
    if key.contains(['"', '\'', '{']) || parts.iter().any(|part| part.is_empty()) || parts.iter().all(|part| bare(part))
    {
        return None;
    }
    let quoted = parts.iter().map(|part| if bare(part) { (*part).to_owned() } else { format!("\"{part}\"") });
    Some(format!("{open}{}{close}", quoted.collect::<Vec<_>>().join(".")))
}

/// What a metric's section may say.
fn check_metric(
    section: &str,
    metric: &MetricSpec,
    range: impl Fn(&str, String, bool, &str) -> Result<(), JobError>,
) -> Result<(), JobError> {
    let MetricSpec { kind, positive, denominator, decimals, winsorise, .. } = metric;
    range(
        &format!("{section}.denominator"),
        shown(denominator),
        denominator.is_some() == (*kind == MetricKind::Ratio),
        "a ratio needs a denominator, and only a ratio has one",
    )?;
    range(
        &format!("{section}.positive"),
        shown(positive),
        positive.is_none() || *kind == MetricKind::Rate,
        "only a rate has values that mean yes",
    )?;
    range(
        &format!("{section}.decimals"),
        shown(decimals),
        decimals.is_none_or(|d| d <= 9 && *kind != MetricKind::Rate),
        "expected 0 to 9, and none for a rate",
    )?;
    let shares = |[low, high]: [f64; 2]| (0.0..1.0).contains(&low) && low < high && high <= 1.0;
    range(
        &format!("{section}.winsorise"),
        shown(winsorise),
        winsorise.is_none_or(|both| *kind == MetricKind::Amount && shares(both)),
        "expected two increasing shares from 0 to 1, as in [0.0, 0.999], and none but for an amount",
    )
}

impl Override {
    /// Why a table cannot be typed since this was applied to it.
    fn refused(&self, error: &toml::de::Error, table: &toml::Table) -> JobError {
        let own = self.path.join(".");
        let (message, suggestion) = match mistyped(error, table, "") {
            Some(Mismatch { setting, expected, suggestion, .. }) if setting == own => (expected, suggestion),
            Some(Mismatch { setting, value, expected, suggestion, .. }) => {
                (format!("{setting} = {value}: {expected}"), suggestion)
            }
            None => (error.message().replace('\n', " "), suggestion(error.message())),
        };
        JobError::Override { text: self.text.clone(), message, suggestion }
    }

    fn apply(&self, table: &mut toml::Table) -> Result<(), JobError> {
        let (last, sections) = self.path.split_last().expect("parsed with at least two parts");
        let mut at = table;
        for section in sections {
            at = at
                .entry(section.clone())
                .or_insert_with(|| toml::Value::Table(toml::Table::new()))
                .as_table_mut()
                .ok_or_else(|| JobError::Override {
                    text: self.text.clone(),
                    message: format!("{section:?} is a value, not a section"),
                    suggestion: None,
                })?;
        }
        at.insert(last.clone(), self.value.clone());
        Ok(())
    }
}

/// `[features]` holds a table for each feature beside its two lists, so a misspelt list would read as a feature.
fn misplaced_feature_keys(table: &toml::Table, path: &Path, text: &str) -> Result<(), JobError> {
    let Some(features) = table.get("features").and_then(toml::Value::as_table) else { return Ok(()) };
    for (key, value) in features {
        if !value.is_table() && !matches!(key.as_str(), "include" | "exclude") {
            return Err(JobError::Syntax {
                path: path.to_owned(),
                line: text.lines().position(|line| line.trim_start().starts_with(key.as_str())).map(|i| i + 1),
                message: format!(
                    "unknown key `{key}` in [features]: expected include, exclude, or a section [features.NAME]"
                ),
                suggestion: closest(key, ["include", "exclude"].into_iter()),
            });
        }
    }
    Ok(())
}

/// The expected name closest to the unknown one, out of serde's message.
fn suggestion(message: &str) -> Option<String> {
    let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    if !message.contains("unknown field") && !message.contains("unknown variant") {
        return None;
    }
    let (unknown, expected) = names.split_first()?;
    closest(unknown, expected.iter().copied())
}

/// The name closest to `unknown`, if it is close at all.
pub fn closest<'a>(unknown: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    names
        .map(|name| (strsim::jaro_winkler(&unknown.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(similarity, _)| *similarity > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str =
        "[input]\npath = \"t.csv\"\n[metric]\ncolumn = \"y\"\nkind = \"rate\"\n[output]\ndir = \"out\"\n";

    fn parse(text: &str, overrides: &[&str]) -> Result<Job, String> {
        let overrides: Vec<Override> = overrides.iter().map(|o| o.parse().expect("an override")).collect();
        Job::parse(text, Path::new("job.toml"), &overrides).map_err(|e| e.to_string())
    }

    #[test]
    fn a_section_may_be_given_key_by_key() {
        let keys = ["compare.before=2025", "compare.column=year", "compare.after=2026"];
        let job = parse(MINIMAL, &keys).expect("a job");
        assert_eq!(job.compare.as_ref().map(|compare| compare.column.as_str()), Some("year"));
        let error = parse(MINIMAL, &keys[..2]).expect_err("no later period");
        assert!(error.contains("missing field `after`"), "{error}");
    }

    #[test]
    fn the_effective_job_reads_back_as_itself() {
        let job = parse(MINIMAL, &["enumerate.max_level=2", "features.age.bin={width=10}"]).expect("a job");
        assert_eq!(job.enumerate.max_level, 2);
        assert_eq!(job.features.by_name["age"].bin, Some(BinSpec::Width(10.0)));
        assert_eq!(parse(&job.effective(), &[]).expect("the same job"), job);
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_the_nearest_key() {
        let error = parse(&MINIMAL.replace("column", "colum"), &[]).expect_err("unknown key");
        assert!(error.contains("line 4") && error.contains("did you mean `column`?"), "{error}");
        let error = parse(&format!("{MINIMAL}[features]\nexlude = [\"a\"]\n"), &[]).expect_err("unknown list");
        assert!(error.contains("did you mean `exclude`?"), "{error}");
        let error = parse(MINIMAL, &["enumerate.max_levl=2"]).expect_err("unknown override");
        assert!(error.contains("max_levl=2") && error.contains("did you mean `max_level`?"), "{error}");
    }

    #[test]
    fn a_value_out_of_range_names_the_setting_and_what_is_allowed() {
        let error = parse(MINIMAL, &["enumerate.max_level=9"]).expect_err("too deep");
        assert_eq!(error, "enumerate.max_level = 9: expected 1 to 8 items");
        let error = parse(MINIMAL, &["enumerate.min_uv=3"]).expect_err("under the privacy floor");
        assert!(error.contains("allow_small"), "{error}");
        parse(MINIMAL, &["enumerate.allow_small=true", "enumerate.min_uv=3"]).expect("lifted");
    }

    #[test]
    fn groups_are_not_divided_by_the_id_the_metric_or_a_column_twice() {
        let by = |columns: &str| parse(MINIMAL, &["input.id=\"nr\"", &format!("profile.by={columns}")]);
        assert_eq!(by("[\"a\", \"b\"]").expect("a job").profile.by, ["a", "b"]);
        for (columns, says) in [
            ("[\"a\", \"nr\"]", "\"nr\": this is the id"),
            ("[\"y\"]", "\"y\": this is the metric"),
            ("[\"a\", \"a\"]", "\"a\": this column is named twice"),
        ] {
            let error = by(columns).expect_err("refused");
            assert!(error.starts_with("profile.by = ") && error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_share_of_the_base_rounds_up_and_not_by_float_error() {
        let job = parse(MINIMAL, &["enumerate.min_share=0.001"]).expect("a job");
        assert_eq!(
            [job.min_uv(48_842), job.min_uv(45_211), job.min_uv(1_000_000), job.min_uv(500)],
            [49, 46, 1000, 10]
        );
    }
}
