//! The JSON documents of a run: `groups.json`, `features.json`, `quality.json` and `manifest.json`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::alternatives::AlternativeEntry;
use super::migration::Origin;
use super::mix::{self, ByColumn, MixEntry, ValueEntry};
use super::publish::rfc3339;
use super::staging::{Staging, WriteError};
use super::tables::Texts;
use super::{RowAccounts, RunResult, SinkError, TableInfo, VerifyError, audience_folder, privacy, report};
use crate::encode::{Codebook, Feature};
use crate::highlight::{Direction, Funnel};
use crate::job::{MergeOf, PRIVACY_FLOOR};
use crate::merge::{Choice, Merge, Worth};
use crate::profile::ProfileItem;
use crate::score::{Component, Measures, Test};
use crate::screen::Verdict;
use crate::segment::{FeatureId, Item, ItemCode};
use crate::stats::{MetricKind, Scale};
use crate::telemetry::{LevelRecord, StageRecord};

pub(super) fn write_json(staging: &Staging, name: &str, document: &impl Serialize) -> Result<(), SinkError> {
    staging.write(name, |out| {
        serde_json::to_writer_pretty(&mut *out, document)?;
        out.write_all(b"\n")?;
        Ok::<(), WriteError>(())
    })
}

pub(super) fn read_json<T: DeserializeOwned>(path: PathBuf) -> Result<T, VerifyError> {
    let bytes = std::fs::read(&path).map_err(|source| VerifyError::Read { path: path.clone(), source })?;
    serde_json::from_slice(&bytes).map_err(|error| VerifyError::Malformed { path, message: error.to_string() })
}

/// `groups.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupsFile {
    pub base: Measures,
    /// None when nothing was held out.
    pub base_validation: Option<Measures>,
    pub groups: Vec<GroupEntry>,
    /// How all customers divide by the columns of `profile.by`.
    #[serde(default)]
    pub mix: ByColumn<ValueEntry>,
    /// The number that the next new group gets: none is given twice.
    #[serde(default)]
    pub next_id: u32,
    /// What the groups are worth where they were kept from the run before rather than chosen among `choices`.
    #[serde(default)]
    pub kept: Option<WorthEntry>,
    /// The group of each customer as an SQL expression over the table's columns, null for those in none: exactly as assigned.
    pub assignment_sql: String,
    /// The same as data: the first of these segments that covers a customer decides. Empty also in a run of an earlier build.
    #[serde(default)]
    pub assignment: Vec<AssignmentEntry>,
    /// Leaves of the merge tree, in the order in which `merges` numbers them from 0.
    pub leaves: Vec<String>,
    pub merges: Vec<MergeEntry>,
    pub choices: Vec<ChoiceEntry>,
    pub reason: String,
    /// The groups beside other methods, where these are compared.
    #[serde(default)]
    pub alternatives: Vec<AlternativeEntry>,
}

/// [`Merge`], without a count of cells: these are disjoint, so one would follow from another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MergeEntry {
    pub step: usize,
    pub left: usize,
    pub right: usize,
    pub distance: f64,
    pub uv: Option<i64>,
}

/// [`Choice`], as far as it may be told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChoiceEntry {
    pub groups: usize,
    pub next_distance: Option<f64>,
    pub jump: Option<f64>,
    #[serde(flatten)]
    pub worth: WorthEntry,
    pub chosen: bool,
}

/// [`Worth`]: the smallest group has no count where it is too small to be told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorthEntry {
    pub explained: Option<f64>,
    pub silhouette: Option<f64>,
    pub smallest: Option<i64>,
}

impl MergeEntry {
    pub(super) fn of(merge: &Merge, result: &RunResult) -> MergeEntry {
        let Merge { step, left, right, distance, uv } = *merge;
        let disjoint = result.job.merge.of == MergeOf::Cells && result.floor() > 1;
        MergeEntry { step, left, right, distance, uv: (!disjoint).then_some(uv) }
    }
}

impl ChoiceEntry {
    pub(super) fn of(choice: &Choice, result: &RunResult) -> ChoiceEntry {
        let Choice { groups, next_distance, jump, worth, chosen } = *choice;
        ChoiceEntry { groups, next_distance, jump, worth: WorthEntry::of(worth, result), chosen }
    }
}

impl WorthEntry {
    fn of(worth: Worth, result: &RunResult) -> WorthEntry {
        let Worth { explained, silhouette, smallest } = worth;
        WorthEntry { explained, silhouette, smallest: (!result.few(smallest)).then_some(smallest) }
    }
}

/// A segment whose customers go to a group, but those of the segments before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AssignmentEntry {
    pub segment: String,
    pub group: u32,
}

/// One group of `groups.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupEntry {
    pub id: u32,
    pub name: String,
    /// What it would be called if it had no name from earlier runs.
    #[serde(default)]
    pub typical: String,
    /// What it is to the groups of the run before; none without one.
    #[serde(flatten)]
    pub origin: Option<Origin>,
    pub direction: Direction,
    #[serde(flatten)]
    pub measures: Measures,
    /// 95 %: its customers against all others. It was chosen by the metric, so these are optimistic.
    pub interval: Option<IntervalEntry>,
    /// On the validation part.
    pub validation: Option<Measures>,
    pub validation_interval: Option<IntervalEntry>,
    pub secondary: Vec<SecondaryEntry>,
    /// One paragraph, in the job's language.
    pub description: String,
    /// What the name says: any of these; of a name by traits, for each feature any of these items.
    #[serde(default)]
    pub named: Vec<String>,
    /// The strongest first.
    pub segments: Vec<String>,
    /// Items of fewer customers than the privacy floor are left out.
    pub profile: Vec<ProfileEntry>,
    /// How it divides by the columns of `profile.by`.
    #[serde(default)]
    pub mix: ByColumn<MixEntry>,
    /// Customers who meet any of the segments. A customer who meets segments of several groups is assigned to one of
    /// them, so this may cover more than the audience.
    pub sql: String,
    /// The fewest of its segments that say nearly all of it.
    pub rule: RuleEntry,
    /// Folder of the customers' ids, below the run.
    pub audience: String,
}

/// Ends of 95 % intervals; of the lift none where there is no lift.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct IntervalEntry {
    pub effect_low: f64,
    pub effect_high: f64,
    pub lift_low: Option<f64>,
    pub lift_high: Option<f64>,
}

impl IntervalEntry {
    fn of(test: &Test) -> Option<IntervalEntry> {
        let Test { effect_low, effect_high, lift_low, lift_high, .. } = *test;
        let finite = effect_low.is_finite() && effect_high.is_finite();
        let end = |end: Option<f64>| end.filter(|end| end.is_finite());
        finite.then(|| IntervalEntry { effect_low, effect_high, lift_low: end(lift_low), lift_high: end(lift_high) })
    }
}

/// A rule for a group in short.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleEntry {
    pub segments: Vec<String>,
    /// Any of the segments.
    pub sql: String,
    /// Customers selected; none where so few of them are not the group's, or of the group are not selected, that these would be told.
    pub uv: Option<i64>,
    /// Share of these who are assigned to the group.
    pub precision: Option<f64>,
    /// Share of the group who are selected.
    pub recall: Option<f64>,
}

/// A secondary metric of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SecondaryEntry {
    pub name: String,
    #[serde(flatten)]
    pub measures: Measures,
    pub base_mean: f64,
}

/// An item of a group's profile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProfileEntry {
    pub item: String,
    pub uv: i64,
    pub share: f64,
    pub base_share: f64,
    /// None where it is not finite: an item that nobody of the base has.
    pub index: Option<f64>,
    pub z: Option<f64>,
    /// False discovery rate at which it counts as found, over all items of the group.
    #[serde(default)]
    pub q: Option<f64>,
}

impl GroupEntry {
    fn of(at: usize, result: &RunResult, texts: &Texts) -> GroupEntry {
        let group = &result.grouping.groups[at];
        let finite = |value: f64| Some(value).filter(|v| v.is_finite());
        let profile = |p: &ProfileItem| ProfileEntry {
            item: texts.item(p.item).to_owned(),
            uv: p.uv,
            share: p.share,
            base_share: p.base_share,
            index: finite(p.index),
            z: finite(p.z),
            q: finite(p.q),
        };
        let secondary = |(measures, (name, base)): (&Measures, &(String, Measures))| SecondaryEntry {
            name: name.clone(),
            measures: *measures,
            base_mean: base.metric_mean,
        };
        GroupEntry {
            id: group.id,
            name: group.name.clone(),
            typical: result.grouping.called.get(at).unwrap_or(&group.name).clone(),
            origin: None,
            direction: group.direction,
            measures: group.measures,
            interval: group.test.as_ref().and_then(IntervalEntry::of),
            validation: result.group_validation(group),
            validation_interval: result
                .group_validation(group)
                .and(group.validation_test.as_ref())
                .and_then(IntervalEntry::of),
            secondary: group.secondary.iter().zip(&result.secondary).map(secondary).collect(),
            description: report::describe(group, result, result.job.output.language),
            named: group.named.iter().map(|s| texts.segment(*s)).collect(),
            segments: group.segments.iter().map(|s| texts.segment(*s)).collect(),
            profile: privacy::told(group, result).into_iter().map(profile).collect(),
            mix: mix::of_group(result, at),
            sql: result.any_sql(&group.segments),
            rule: {
                let shown = result.short_rule(group);
                RuleEntry {
                    segments: group.short.segments.iter().map(|s| texts.segment(*s)).collect(),
                    sql: result.any_sql(&group.short.segments),
                    uv: shown.map(|rule| rule.uv),
                    precision: shown.map(|rule| rule.precision),
                    recall: shown.map(|rule| rule.recall),
                }
            },
            audience: audience_folder(group.id),
        }
    }
}

pub(super) fn write_groups(staging: &Staging, result: &RunResult) -> Result<(), SinkError> {
    let texts = Texts::of(result.codebook);
    let grouping = result.grouping;
    let told = result.told_migration();
    let entry = |at: usize| GroupEntry {
        origin: told.as_ref().map(|told| told.origin(at)),
        ..GroupEntry::of(at, result, &texts)
    };
    let document = GroupsFile {
        base: result.base,
        base_validation: result.base_validation(),
        groups: (0..grouping.groups.len()).map(entry).collect(),
        mix: mix::of_base(result),
        next_id: grouping.next_id,
        kept: grouping.kept.map(|worth| WorthEntry::of(worth, result)),
        assignment_sql: result.assignment_sql(),
        assignment: (grouping.asked.iter())
            .map(|&(segment, group)| AssignmentEntry { segment: texts.segment(segment), group })
            .collect(),
        leaves: grouping.leaves.iter().map(|&segment| texts.segment(segment)).collect(),
        merges: grouping.merges.iter().map(|merge| MergeEntry::of(merge, result)).collect(),
        choices: grouping.choices.iter().map(|choice| ChoiceEntry::of(choice, result)).collect(),
        reason: grouping.reason.clone(),
        alternatives: AlternativeEntry::all(result),
    };
    write_json(staging, "groups.json", &document)
}

/// Reads a run's `groups.json`.
pub fn read_groups(run: &Path) -> Result<GroupsFile, VerifyError> {
    read_json(run.join("groups.json"))
}

/// `features.json`: the codebook, as `encode::Codebook` reads it, and the verdicts.
#[derive(Serialize)]
struct FeaturesFile<'a> {
    features: &'a [Feature],
    verdicts: &'a [Verdict],
}

/// Reads a run's `features.json`.
pub(super) fn read_features(run: &Path) -> Result<(Codebook, Vec<Verdict>), VerifyError> {
    #[derive(Deserialize)]
    struct Owned {
        features: Vec<Feature>,
        verdicts: Vec<Verdict>,
    }
    let Owned { features, verdicts } = read_json(run.join("features.json"))?;
    Ok((Codebook { features }, verdicts))
}

pub(super) fn write_features(staging: &Staging, result: &RunResult) -> Result<(), SinkError> {
    let mut features = result.codebook.features.clone();
    if let Some(changes) = result.changes {
        // Items have enough customers in both periods together, and perhaps few in one of them.
        for (number, feature) in features.iter_mut().enumerate() {
            let hidden = |code: usize| {
                let item = Item { feature: number as FeatureId, code: code as ItemCode };
                code < feature.items.len() && changes.hides(item)
            };
            let hidden: Vec<bool> = (0..feature.uv.len()).map(hidden).collect();
            let any = hidden.contains(&true);
            for ((code, uv), hidden) in feature.uv.iter_mut().enumerate().zip(hidden) {
                if hidden || result.few(*uv as i64) || (any && code == feature.items.len()) {
                    *uv = 0;
                }
            }
        }
    }
    let document = FeaturesFile { features: &features, verdicts: result.verdicts };
    write_json(staging, "features.json", &document)
}

pub(super) fn write_quality(staging: &Staging, result: &RunResult) -> Result<(), SinkError> {
    write_json(staging, "quality.json", result.quality)
}

/// A file of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Below the run, `/` between the parts.
    pub path: String,
    pub bytes: u64,
    pub sha256: String,
}

/// Whether the privacy floor held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivacyRecord {
    /// The fewest customers a segment may have without an override.
    pub floor: u64,
    /// The fewest it needed in this run.
    pub min_uv: u64,
    /// `enumerate.allow_small`: the floor was lifted.
    pub allow_small: bool,
    /// Segments left out of the tables as so few customers are not in them that the floor would be undercut.
    #[serde(default)]
    pub withheld: u64,
}

/// A metric as `sums.parquet` has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricRecord {
    pub name: String,
    pub kind: MetricKind,
    /// Sums are in units of 10 to the power of minus this.
    #[serde(flatten)]
    pub scale: Scale,
    /// The values that it was cut at, in its unit, each where enough customers are beyond it; none unless the job asked for it.
    pub winsorised: Option<[Option<f64>; 2]>,
}

/// `manifest.json`: what ran, on what, how long it took, and what it wrote. Clock times are here and in `metrics.prom`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub run_id: String,
    /// RFC 3339, UTC.
    pub started: String,
    pub finished: String,
    pub version: String,
    /// The job file with every default filled in.
    pub job: serde_json::Value,
    pub privacy: PrivacyRecord,
    pub input: TableInfo,
    /// Of all exact sums: with the digest of the input, whether two runs are of the same table.
    #[serde(default)]
    pub fingerprint: String,
    /// The run that groups have their ids from, if any.
    #[serde(default)]
    pub previous: Option<String>,
    pub layout: String,
    pub rows: RowAccounts,
    /// Size of the base.
    pub customers: u64,
    /// The primary metric, called `metric`, then the secondary ones.
    #[serde(default)]
    pub metrics: Vec<MetricRecord>,
    pub stages: Vec<StageRecord>,
    pub levels: Vec<LevelRecord>,
    /// How true effects are spread, a mixture of normals around none: what shrunken figures rest on.
    #[serde(default)]
    pub prior: Vec<Component>,
    /// The funnel from frequent segments to validated highlights.
    pub highlights: Funnel,
    pub groups: u64,
    /// Customers assigned to a group.
    pub assigned: u64,
    pub notes: Vec<String>,
    /// By path; all but `manifest.json`, `metrics.prom` and `_SUCCESS`.
    pub files: Vec<ManifestFile>,
}

impl Manifest {
    pub(super) fn of(result: &RunResult, run_id: &str, finished: SystemTime, files: Vec<ManifestFile>) -> Manifest {
        let job = result.job;
        let customers = result.quality.customers;
        Manifest {
            run_id: run_id.to_owned(),
            started: rfc3339(result.started),
            finished: rfc3339(finished),
            version: env!("CARGO_PKG_VERSION").into(),
            job: serde_json::to_value(&**job).expect("a job has text keys only"),
            privacy: PrivacyRecord {
                floor: PRIVACY_FLOOR,
                min_uv: job.min_uv(customers),
                allow_small: job.enumerate.allow_small,
                withheld: (result.segments.len() - result.written().len()) as u64,
            },
            input: result.table.clone(),
            fingerprint: result.fingerprint.clone(),
            previous: result.previous.clone(),
            layout: result.layout.clone(),
            rows: result.quality.rows,
            customers,
            metrics: (result.metric_names().zip(result.moments.kinds()).zip(result.scales.iter().zip(&result.caps)))
                .map(|((name, &kind), (&scale, caps))| {
                    let winsorised = caps.map(|caps| caps.map(|value| value.map(|value| value as f64 / scale.unit())));
                    MetricRecord { name: name.to_owned(), kind, scale, winsorised }
                })
                .collect(),
            stages: result.stages.to_vec(),
            levels: result.levels.to_vec(),
            prior: result.prior.to_vec(),
            highlights: result.funnel.clone(),
            groups: result.grouping.groups.len() as u64,
            assigned: result.assigned.group.len() as u64,
            notes: result.notes.clone(),
            files,
        }
    }
}

pub(super) fn write_manifest(staging: &Staging, manifest: &Manifest) -> Result<(), SinkError> {
    write_json(staging, "manifest.json", manifest)
}

/// Reads a run's `manifest.json`.
pub fn read_manifest(run: &Path) -> Result<Manifest, VerifyError> {
    read_json(run.join("manifest.json"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::Publisher;
    use crate::sink::sample::Sample;

    fn published() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a folder");
        let publisher = Publisher::lock(dir.path()).expect("free");
        let path = publisher.publish(&Sample::new().result()).expect("published").path;
        (dir, path)
    }

    fn json(path: PathBuf) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("json")
    }

    #[test]
    fn groups_have_the_names_that_scripts_rely_on() {
        let (_dir, run) = published();
        let groups = json(run.join("groups.json"));
        let first = &groups["groups"][0];
        for key in ["id", "name", "uv", "uv_share", "metric_mean", "lift", "impact", "segments", "profile", "sql"] {
            assert!(!first[key].is_null(), "{key}");
        }
        assert_eq!((first["uv"].as_i64(), first["impact"].as_f64()), (Some(40), Some(12.0)));
        assert_eq!(first["segments"][0], "职业=退休 & 渠道==cmd()");
        assert_eq!(groups["groups"][1]["profile"][0]["z"], serde_json::Value::Null, "no number in JSON stands for it");
        for key in ["step", "left", "right", "distance", "uv"] {
            assert!(!groups["merges"][0][key].is_null(), "{key}");
        }
        assert_eq!(groups["choices"][0]["groups"], 2);
        let methods = ["groups", "kmeans", "tree"].map(|method| {
            let all = groups["alternatives"].as_array().expect("a list");
            all.iter().find(|entry| entry["method"] == method).expect("every method")
        });
        for (key, own) in [("count", 2.0), ("explained", 0.125), ("uv", 90.0), ("smallest", 40.0), ("conditions", 3.0)]
        {
            assert_eq!(methods[0][key].as_f64(), Some(own), "{key}");
        }
        assert_eq!(methods[1]["parts"][0]["marks"], serde_json::json!(["渠道==cmd()", "-x<b>=</script>"]));
        let rule = serde_json::json!({ "feature": "职业", "within": true, "items": ["退休", "学生"] });
        assert_eq!((&methods[2]["parts"][0]["rule"][0], &methods[2]["one_more"]["count"]), (&rule, &3.into()));
        assert_eq!(read_groups(&run).expect("typed").groups[0].measures.uv, 40);
    }

    #[test]
    fn features_read_back_as_the_codebook() {
        let (_dir, run) = published();
        let codebook: Codebook = serde_json::from_value(json(run.join("features.json"))).expect("a codebook");
        assert_eq!(codebook, Sample::new().codebook);
    }

    #[test]
    fn the_manifest_says_what_ran_and_lists_every_file() {
        let (_dir, run) = published();
        let manifest = read_manifest(&run).expect("readable");
        assert_eq!(manifest.started, "2024-02-29T12:34:56Z");
        assert_eq!(manifest.job["metric"]["column"], "下单");
        assert_eq!(manifest.privacy, PrivacyRecord { floor: 10, min_uv: 10, allow_small: false, withheld: 0 });
        let paths: Vec<&str> = manifest.files.iter().map(|f| f.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "audience/group=1/part-0.parquet",
                "audience/group=2/part-0.parquet",
                "features.json",
                "groups.json",
                "highlights.csv",
                "highlights.parquet",
                "quality.json",
                "report.html",
                "segments.parquet",
                "sums.parquet",
            ]
        );
        let raw = json(run.join("manifest.json"));
        for key in ["level", "feature_sets", "candidates", "kept", "seconds", "bytes_exchanged"] {
            assert!(!raw["levels"][0][key].is_null(), "{key}");
        }
        assert_eq!(raw["stages"][0]["name"], "source");
    }
}
