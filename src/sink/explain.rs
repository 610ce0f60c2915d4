//! What a published run says of any segment: its figures, each condition of the rule, and where it was folded.

use std::path::Path;

use serde::Serialize;

use super::documents::{Manifest, read_features, read_manifest};
use super::known::Known;
use super::verify::verify_file;
use super::{VerifyError, visible};
use crate::encode::Codebook;
use crate::highlight::Reading;
use crate::job::{Job, JobSpec, closest};
use crate::score::Measures;
use crate::screen::Verdict;
use crate::segment::{Item, MAX_LEVEL, Segment};
use crate::stats::MetricKind;

/// Everything that a run says of a segment.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    pub segment: String,
    pub level: usize,
    /// As in `segments.parquet`; none for a segment that is not listed there.
    pub status: Option<String>,
    /// In one sentence.
    pub verdict: String,
    /// Each condition, in the order in which they are asked, as far as they can be told.
    pub conditions: Vec<Asked>,
    #[serde(flatten)]
    pub figures: Option<Figures>,
    /// The rank of the highlight that this segment is, or is folded under, and that highlight.
    pub highlight: Option<(i64, String)>,
    pub sql: String,
}

/// The figures of a listed segment.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    pub whole: Measures,
    /// None where too few customers are in one of the parts.
    pub discovery: Option<Measures>,
    /// None also where nothing was held out.
    pub validation: Option<Measures>,
    /// Against the rest of the discovery part.
    pub test: Option<Tested>,
    pub q: Option<f64>,
    pub cautious_q: Option<f64>,
    /// Natural logarithm of the p-value on the validation part.
    pub validation_log_p: Option<f64>,
    pub shrunken_lift: Option<f64>,
    pub shrunken_effect: Option<f64>,
    /// By name, on the whole base.
    pub secondary: Vec<(String, Measures)>,
    #[serde(skip)]
    pub kind: MetricKind,
    #[serde(skip)]
    pub unit: Option<String>,
}

/// A test as the tables have it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Tested {
    /// Natural logarithm of the p-value.
    pub log_p: f64,
    pub effect_low: f64,
    pub effect_high: f64,
    pub lift_low: Option<f64>,
    pub lift_high: Option<f64>,
}

/// A condition of the rule and what it found.
#[derive(Clone, Debug, Serialize)]
pub struct Asked {
    #[serde(flatten)]
    pub reading: Reading,
    /// The simpler segment that it was compared with.
    pub against: Option<String>,
}

/// Why a segment cannot be explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    #[error(transparent)]
    Run(#[from] VerifyError),
    #[error("{0}")]
    Segment(String),
    #[error(
        "this run has no sums.parquet; it was made by an earlier build of version {version}, which did not write it"
    )]
    Old { version: String },
}

/// Explains `text`, a segment as `feature=item & feature=item` in any order, by the run `DIR/latest` or `DIR/runs/<run id>`.
pub fn explain(run: &Path, text: &str) -> Result<Explanation, ExplainError> {
    if !run.join("_SUCCESS").is_file() {
        return Err(VerifyError::Unpublished { path: run.to_owned() }.into());
    }
    let manifest = read_manifest(run)?;
    if manifest.metrics.is_empty() && !manifest.files.iter().any(|file| file.path == "sums.parquet") {
        return Err(ExplainError::Old { version: manifest.version });
    }
    // A damaged file is told as such rather than read.
    for name in ["features.json", "segments.parquet", "sums.parquet", "highlights.parquet"] {
        let file = manifest.files.iter().find(|file| file.path == name);
        let file = file.ok_or_else(|| VerifyError::Unlisted { path: name.to_owned() })?;
        verify_file(run, file)?;
    }
    let (codebook, verdicts) = read_features(run)?;
    let job = job_of(run, &manifest)?;
    let segment = parse(text, &codebook, &verdicts).map_err(ExplainError::Segment)?;
    let known = Known::read(run, &manifest, &codebook, segment)?;
    let sql = codebook.sql(segment);
    let blank = |verdict: String| Explanation {
        segment: codebook.text(segment),
        level: segment.level(),
        status: None,
        verdict,
        conditions: Vec::new(),
        figures: None,
        highlight: None,
        sql: sql.clone(),
    };
    let Some(listed) = known.listed(segment) else { return Ok(blank(unlisted(segment, &job, &manifest))) };
    let (highlight, verdict) = known.verdict(run, &codebook, &job, listed)?;
    Ok(Explanation {
        status: Some(known.status(listed).to_owned()),
        conditions: known.conditions(&job, &codebook, listed),
        figures: Some(known.figures(&job, listed)),
        highlight,
        ..blank(verdict)
    })
}

/// The job of a run, as its manifest has it.
pub(super) fn job_of(run: &Path, manifest: &Manifest) -> Result<Job, VerifyError> {
    let malformed = |message: String| VerifyError::Malformed { path: run.join("manifest.json"), message };
    let spec: JobSpec = serde_json::from_value(manifest.job.clone()).map_err(|e| malformed(e.to_string()))?;
    let job = Job::check(spec).map_err(|e| malformed(e.to_string()))?;
    let kinds = std::iter::once(job.metric.kind).chain(job.secondary.iter().map(|s| s.kind));
    if !manifest.metrics.iter().map(|metric| metric.kind).eq(kinds) {
        return Err(malformed("its metrics are not those of its job".into()));
    }
    Ok(job)
}

/// Why a segment is not in the tables.
fn unlisted(segment: Segment, job: &Job, manifest: &Manifest) -> String {
    let (level, most) = (segment.level(), job.enumerate.max_level);
    if level > most {
        return format!("Not counted: it has {level} items and enumerate.max_level is {most}.");
    }
    let min_uv = manifest.privacy.min_uv;
    let mut verdict =
        format!("Not listed: fewer than {min_uv} customers have all of these items (enumerate.min_uv, min_share)");
    if manifest.job["enumerate"]["keep"] == "highlights" {
        verdict.push_str(", or none of its customers could have the impact of a highlight (enumerate.keep)");
    }
    if manifest.privacy.withheld > 0 {
        verdict.push_str(", or so few have not that the privacy floor would be undercut");
    }
    verdict + "."
}

/// The segment that a text stands for: `feature=item & feature=item`, written as in the tables, in any order.
fn parse(text: &str, codebook: &Codebook, verdicts: &[Verdict]) -> Result<Segment, String> {
    let mut texts: Vec<(String, Item)> = Vec::new();
    for (feature, of) in (0u16..).zip(&codebook.features) {
        let items = (0..of.items.len() as u16).map(|code| Item { feature, code });
        texts.extend(items.map(|item| (codebook.item_text(item), item)));
    }
    let mut items: Vec<Item> = Vec::new();
    let mut rest = text.trim();
    loop {
        let ends = |left: &str| left.trim_start().is_empty() || left.trim_start().starts_with('&');
        let fits = texts.iter().filter(|(text, _)| rest.strip_prefix(text.as_str()).is_some_and(ends));
        let Some((text, item)) = fits.max_by_key(|(text, _)| text.len()) else {
            return Err(unknown(rest, codebook, verdicts));
        };
        let exclusive = codebook.feature(item.feature).tags.is_none();
        if items.iter().any(|other| other == item || (exclusive && other.feature == item.feature)) {
            return Err(format!(
                "{:?}: a segment has one item of feature {:?}",
                visible(text),
                codebook.feature(item.feature).name
            ));
        }
        items.push(*item);
        rest = rest[text.len()..].trim_start();
        match rest.strip_prefix('&') {
            Some(next) => rest = next.trim_start(),
            None => break,
        }
    }
    if items.len() > MAX_LEVEL {
        return Err(format!("{} items: a segment has at most {MAX_LEVEL}", items.len()));
    }
    items.sort_unstable();
    Ok(Segment::of_items(&items))
}

/// What is wrong with the item that a text begins with.
fn unknown(text: &str, codebook: &Codebook, verdicts: &[Verdict]) -> String {
    let item = text.split(" & ").next().unwrap_or_default().trim().trim_start_matches(['&', ' ']);
    let Some((name, value)) = item.split_once('=').map(|(name, value)| (name.trim(), value.trim())) else {
        return format!(
            "{:?} is no item; a segment is written `feature=item & feature=item`, as in segments.parquet: text that holds ` & ` in \
             double quotes",
            visible(item)
        );
    };
    let named = |verdict: &&Verdict| verdict.feature == name;
    let Some((feature, of)) = (0u16..).zip(&codebook.features).find(|(_, f)| f.name == name) else {
        if let Some(verdict) = verdicts.iter().find(named) {
            return format!("feature {name:?} was not combined: {}", visible(&verdict.reason));
        }
        let names = verdicts.iter().map(|v| v.feature.as_str());
        let near = closest(name, names).map_or(String::new(), |near| format!("; did you mean {near:?}?"));
        return format!("there is no feature {:?}{near}", visible(name));
    };
    let labels: Vec<String> =
        (0..of.items.len() as u16).map(|code| codebook.item_label(Item { feature, code })).collect();
    let near = closest(value, labels.iter().map(String::as_str));
    let near = near.map_or(String::new(), |near| format!("; did you mean {near:?}?"));
    let some = labels.iter().take(12).cloned().collect::<Vec<_>>().join(", ");
    let more = if labels.len() > 12 { ", ..." } else { "" };
    let rest = if of.rest { "; values of too few customers are no items" } else { "" };
    visible(&format!("feature {name:?} has no item {value:?}{near}; it has {some}{more}{rest}"))
}
