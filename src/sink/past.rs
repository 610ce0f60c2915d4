//! The run that a new one is compared with.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use xxhash_rust::xxh3::Xxh3;

use super::common::{Customers, in_common};
use super::documents::{Manifest, read_features, read_json, read_manifest};
use super::migration::MIGRATION;
use super::publish::{SUCCESS, age, is_run_id, names};
use super::standing::Written;
use super::verify::verify_file;
use super::{VerifyError, audience_folder};
use crate::audience::Assigned;
use crate::encode::{Codebook, ItemValue};
use crate::enumerate::Answer;
use crate::highlight::Direction;
use crate::job::{Continuity, Job};
use crate::merge::{Before, Former, Grouping, Identity, Status, settle, stands};
use crate::segment::{FeatureId, Item, ItemCode, Segment};

/// What a run has of those before it: the run it is compared with, if any, and the numbers of groups that were given.
#[derive(Clone, Debug, Default)]
pub struct Previous {
    /// What the exact sums of the run itself hash to.
    pub fingerprint: String,
    past: Option<Past>,
    /// Whether a customer's id means the same in both.
    same_ids: bool,
    /// The next number that no group ever had.
    next_id: u32,
    /// The same where groups are numbered from 1 again, for the runs to come.
    given: u32,
    /// Why there is nothing to compare with, where there might have been.
    notes: Vec<String>,
}

/// A published run, as far as it is compared.
#[derive(Clone, Debug)]
pub(super) struct Past {
    pub path: PathBuf,
    pub manifest: Manifest,
    groups: PastGroups,
    /// What the segments of its groups mean.
    codebook: Codebook,
}

/// What is read of `groups.json`, also of an earlier version.
#[derive(Clone, Debug, Deserialize)]
struct PastGroups {
    base: PastBase,
    groups: Vec<Former>,
    #[serde(default)]
    assignment: Vec<PastAsked>,
    #[serde(default)]
    next_id: u32,
}

#[derive(Clone, Debug, Deserialize)]
struct PastBase {
    metric_mean: f64,
}

#[derive(Clone, Debug, Deserialize)]
struct PastAsked {
    segment: String,
    group: u32,
}

/// The groups of two runs and who went where.
#[derive(Clone, Debug, PartialEq)]
pub struct Migration {
    /// The earlier run.
    pub run_id: String,
    /// Size of its base.
    pub customers: u64,
    pub identity: Identity,
}

impl Previous {
    /// Looks for the newest run in an output folder that is of another table, of another job, or of another version of the program.
    ///
    /// A run of the same job on the same table is passed over: it was compared with the run before it, and so will this one be, that
    /// both have the same bytes. A table is the same whose digest is, which does not cover all of it, and that gave the same sums. A run
    /// that cannot be read is passed over with a note.
    pub fn find(dir: &Path, job: &Job, digest: &str, answer: &Answer) -> Previous {
        let mut previous = Previous { fingerprint: fingerprint(answer), ..Previous::default() };
        let runs = dir.join("runs");
        let mut ids: Vec<String> = names(&runs).unwrap_or_default();
        ids.retain(|id| is_run_id(id) && runs.join(id).join(SUCCESS).is_file());
        if job.merge.keep == Continuity::Nothing {
            // Its own groups are numbered from 1, those of the runs after it are not.
            previous.given = ids.iter().map(|id| next_of_folders(&runs.join(id))).max().unwrap_or(0);
            return previous;
        }
        ids.sort_by(|a, b| age(b).cmp(&age(a)).then_with(|| b.cmp(a)));
        let mut same = Vec::new();
        for id in ids {
            let path = runs.join(&id);
            match read_manifest(&path) {
                Ok(manifest) if previous.is(&manifest, job, digest) => same.push((path, manifest)),
                Ok(manifest) => {
                    if previous.compare(path, manifest, job, digest) {
                        return previous;
                    }
                }
                Err(error) => previous.unreadable(&runs.join(&id), &error.to_string()),
            }
        }
        // The run that those were compared with was removed by hand: what has their ids is better than none.
        for (path, manifest) in same {
            if path.join(MIGRATION).is_file() && previous.compare(path, manifest, job, digest) {
                break;
            }
        }
        previous
    }

    /// Whether a run is of this job on this table.
    fn is(&self, manifest: &Manifest, job: &Job, digest: &str) -> bool {
        manifest.version == env!("CARGO_PKG_VERSION")
            && manifest.input.digest == digest
            && manifest.fingerprint == self.fingerprint
            && question(&manifest.job) == question(&serde_json::to_value(&**job).expect("a job has text keys only"))
    }

    /// Takes a run to compare with, if it can be; says whether to look no further.
    fn compare(&mut self, path: PathBuf, manifest: Manifest, job: &Job, digest: &str) -> bool {
        let past = match Past::read(path.clone(), manifest) {
            Ok(past) => past,
            Err(error) => {
                self.unreadable(&path, &error.to_string());
                return false;
            }
        };
        let first = past.groups.groups.iter().map(|group| group.id + 1).max().unwrap_or(1);
        self.next_id = self.next_id.max(past.groups.next_id).max(first);
        // A day without groups is no reason to forget those of the day before.
        if past.groups.groups.is_empty() {
            return false;
        }
        let comparable = past.comparable(job.input.id.as_deref(), digest);
        self.same_ids = comparable.is_ok();
        self.notes.extend(
            comparable
                .err()
                .map(|reason| format!("Who went from which group of the previous run to which is not told: {reason}.")),
        );
        self.past = Some(past);
        true
    }

    fn unreadable(&mut self, run: &Path, error: &str) {
        // Numbers that it gave are told by its folders and its list, whatever else is damaged.
        self.next_id = self.next_id.max(next_of_folders(run)).max(next_of_list(run));
        self.notes.push(format!("Groups are not compared with those of a run that cannot be read: {error}."));
    }

    /// Plain statements for the reader.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The run whose groups these may be.
    pub fn run_id(&self) -> Option<&str> {
        self.past.as_ref().map(|past| past.manifest.run_id.as_str())
    }

    /// What the groups were made of, in the items of this run; none unless the same job ran on another table and is to keep them.
    pub fn before(&self, job: &Job, codebook: &Codebook) -> Option<Before> {
        let kept = job.merge.keep == Continuity::Groups;
        let past = self.past.as_ref().filter(|past| kept && past.same_job(job))?;
        let written = Written::of(&past.codebook);
        let direction = |id: u32| past.groups.groups.iter().find(|g| g.id == id).map(|g| g.direction);
        let segment = |asked: &PastAsked| {
            let old = written.segment(&past.codebook, &asked.segment)?;
            Some((translated(old, &past.codebook, codebook)?, direction(asked.group)?, asked.group))
        };
        Some(Before { asked: past.groups.assignment.iter().filter_map(segment).collect() })
    }

    /// Gives groups the ids and names of the previous run's that they are, and the others numbers of their own; says who went where.
    pub fn settle(
        &mut self,
        job: &Job,
        codebook: &Codebook,
        grouping: &mut Grouping,
        assigned: &mut Assigned,
    ) -> Option<Migration> {
        let called: Vec<String> = grouping.groups.iter().map(|group| group.name.clone()).collect();
        let started = std::time::Instant::now();
        let shared = self.past.as_ref().filter(|_| self.same_ids).map(|past| past.in_common(grouping, assigned));
        tracing::debug!(seconds = started.elapsed().as_secs_f64(), "customers in common counted");
        let shared = shared.transpose().unwrap_or_else(|error| {
            self.notes.push(format!("Groups are not compared with those of a run that cannot be read: {error}."));
            None
        });
        let told = shared.is_some();
        let migration = self.past.as_ref().map(|past| past.migration(grouping, shared));
        let (nobody, none) = (vec![None; grouping.groups.len()], Vec::new());
        let (same, former) = migration.as_ref().map_or((&nobody, &none), |m| (&m.identity.same, &m.identity.former));
        let written = self.past.as_ref().map(|past| Written::of(&past.codebook));
        let standing = |(at, old): (usize, &Option<usize>)| {
            let (identity, past) = (&migration.as_ref()?.identity, self.past.as_ref()?);
            // Words of another language would be in the midst of these.
            let language = serde_json::to_value(job.output.language).expect("a name");
            let spoken = past.manifest.job["output"]["language"] == language;
            let named = past.named(&former[(*old)?], written.as_ref()?, codebook).filter(|_| spoken)?;
            let group = &grouping.groups[at];
            let stands = former[(*old)?].named.is_empty() || stands(job.merge.of, &named, group);
            (identity.status[at] != Status::Joined && stands).then_some(named)
        };
        let standing = same.iter().enumerate().map(standing).collect();
        grouping.next_id = settle(same, former, standing, self.next_id, grouping, assigned).max(self.given);
        grouping.called = called;
        migration.filter(|_| told)
    }
}

/// Group numbers are less than this; a larger one was not given by this program, and would be no number to count on from.
const MOST_IDS: u32 = 1 << 24;

/// The number after the largest that a run's folders of groups have.
fn next_of_folders(run: &Path) -> u32 {
    let given = names(&run.join("audience")).unwrap_or_default().into_iter();
    let given = given.filter_map(|name| name.strip_prefix("group=")?.parse::<u32>().ok());
    given.filter(|id| *id < MOST_IDS).max().map_or(0, |id| id + 1)
}

/// The number after those that a run's list of groups says it gave.
fn next_of_list(run: &Path) -> u32 {
    let Ok(groups) = read_json::<PastGroups>(run.join("groups.json")) else { return 0 };
    let given = groups.groups.iter().map(|group| group.id.saturating_add(1)).chain([groups.next_id]);
    given.filter(|next| *next <= MOST_IDS).max().unwrap_or(0)
}

/// A job as a manifest has it, without where its outputs go.
fn question(job: &serde_json::Value) -> serde_json::Value {
    let mut job = job.clone();
    job.as_object_mut().map(|sections| sections.remove("output"));
    job
}

/// A hash of all exact sums, the same however the work was divided.
fn fingerprint(answer: &Answer) -> String {
    let mut hash = Xxh3::new();
    answer.uv.iter().flatten().for_each(|uv| hash.update(&uv.to_le_bytes()));
    answer.sums.iter().for_each(|sum| hash.update(&sum.to_le_bytes()));
    format!("{:032x}", hash.digest128())
}

impl Past {
    /// Of a published run's folder.
    pub fn open(run: &Path) -> Result<Past, VerifyError> {
        Past::read(run.to_owned(), read_manifest(run)?)
    }

    fn read(path: PathBuf, manifest: Manifest) -> Result<Past, VerifyError> {
        let listed = |name: &str| {
            let file = manifest.files.iter().find(|file| file.path == name);
            verify_file(&path, file.ok_or_else(|| VerifyError::Unlisted { path: name.to_owned() })?)
        };
        listed("groups.json")?;
        listed("features.json")?;
        let groups: PastGroups = read_json(path.join("groups.json"))?;
        let distinct: BTreeSet<u32> = groups.groups.iter().map(|group| group.id).collect();
        if distinct.len() < groups.groups.len() {
            let message = "two groups have one id".into();
            return Err(VerifyError::Malformed { path: path.join("groups.json"), message });
        }
        if distinct.last().is_some_and(|id| *id >= MOST_IDS) || groups.next_id > MOST_IDS {
            let message = format!("a number of a group is not below {MOST_IDS}");
            return Err(VerifyError::Malformed { path: path.join("groups.json"), message });
        }
        for group in &groups.groups {
            listed(&format!("{}/part-0.parquet", audience_folder(group.id)))?;
        }
        let (codebook, _) = read_features(&path)?;
        Ok(Past { path, manifest, groups, codebook })
    }

    /// Whether it is this job on another table, or on the same.
    fn same_job(&self, job: &Job) -> bool {
        let without_table = |job: &serde_json::Value| {
            let mut job = question(job);
            job["input"].as_object_mut().map(|input| input.remove("path"));
            job
        };
        let own = serde_json::to_value(&**job).expect("a job has text keys only");
        self.manifest.version == env!("CARGO_PKG_VERSION") && without_table(&self.manifest.job) == without_table(&own)
    }

    /// The column of customers' ids; none where every row is one.
    pub fn id_column(&self) -> Option<&str> {
        self.manifest.job["input"]["id"].as_str()
    }

    pub fn metric_mean(&self) -> f64 {
        self.groups.base.metric_mean
    }

    pub fn formers(&self) -> Vec<Former> {
        self.groups.groups.clone()
    }

    /// Whether a customer's id means the same as in a run with this column of ids on a table of this digest.
    pub fn comparable(&self, id: Option<&str>, digest: &str) -> Result<(), String> {
        match (self.id_column(), id) {
            (Some(then), Some(now)) if then == now => Ok(()),
            (None, None) if self.manifest.input.digest == digest => Ok(()),
            (None, None) => {
                Err("without input.id a customer is a row, and the rows of another table are other customers".into())
            }
            (then, now) => {
                let named = |id: Option<&str>| id.map_or("their rows".to_owned(), |id| format!("{id:?}"));
                Err(format!("customers were known by {} and are known by {}", named(then), named(now)))
            }
        }
    }

    pub fn ids(&self) -> Vec<u32> {
        self.groups.groups.iter().map(|group| group.id).collect()
    }

    /// Customers that each group of this run has in common with each of another.
    fn in_common(&self, grouping: &Grouping, assigned: &Assigned) -> Result<Vec<Vec<i64>>, VerifyError> {
        let mut position = vec![0u32; grouping.groups.iter().map(|group| group.id as usize + 1).max().unwrap_or(0)];
        (0..).zip(&grouping.groups).for_each(|(at, group)| position[group.id as usize] = at);
        let groups: Vec<u32> = assigned.group.iter().map(|&id| position[id as usize]).collect();
        in_common(&self.path, &self.ids(), &Customers::Here(assigned, &groups), grouping.groups.len())
    }

    /// The direction that a group must have to be one of this run's: any where these are of cells, which have none.
    pub fn matched_by(&self, direction: Direction) -> Option<Direction> {
        (self.manifest.job["merge"]["of"] != "cells").then_some(direction)
    }

    /// What the name of a group says, in the items of another codebook; nothing of a run of an earlier build, and none where an item is
    /// no more, or a band has other borders than the name says.
    fn named(&self, former: &Former, written: &Written, codebook: &Codebook) -> Option<Vec<Segment>> {
        let texts = |segment: Segment, codebook: &Codebook| -> BTreeSet<String> {
            segment.items().map(|item| codebook.item_text(item)).collect()
        };
        let segment = |text: &String| {
            let old = written.segment(&self.codebook, text)?;
            let new = translated(old, &self.codebook, codebook)?;
            (texts(old, &self.codebook) == texts(new, codebook)).then_some(new)
        };
        former.named.iter().map(segment).collect()
    }

    /// Where customers in common are not known, groups are the same that are made of the same segments.
    fn migration(&self, grouping: &Grouping, shared: Option<Vec<Vec<i64>>>) -> Migration {
        let now: Vec<_> =
            grouping.groups.iter().map(|group| (self.matched_by(group.direction), group.stats.uv)).collect();
        let former = self.formers();
        let shared = shared.unwrap_or_else(|| vec![vec![0; now.len()]; former.len()]);
        Migration {
            run_id: self.manifest.run_id.clone(),
            customers: self.manifest.customers,
            identity: Identity::new(former, &now, &grouping.homes, shared),
        }
    }
}

/// A segment in another codebook's numbers: the same values, and of bands, as many of a feature as there were, those in the same place.
fn translated(segment: Segment, from: &Codebook, to: &Codebook) -> Option<Segment> {
    let bands = |items: &[ItemValue]| -> Vec<usize> {
        (0..items.len()).filter(|&at| matches!(items[at], ItemValue::Range { .. })).collect()
    };
    let item = |item: Item| {
        let old = from.feature(item.feature);
        let place = to.features.iter().position(|feature| feature.name == old.name)?;
        let (value, new) = (old.items.get(usize::from(item.code)), &to.features[place]);
        let items = &new.items;
        let code = match value {
            // Cells say the code of rest too.
            None => Some(items.len()).filter(|_| old.rest && new.rest)?,
            Some(ItemValue::Range { .. }) => {
                let (then, now) = (bands(&old.items), bands(items));
                let rank = then.iter().position(|&at| at == usize::from(item.code))?;
                now.get(rank).copied().filter(|_| then.len() == now.len())?
            }
            Some(value) => items.iter().position(|other| other == value)?,
        };
        Some(Item { feature: place as FeatureId, code: code as ItemCode })
    };
    let mut items: Vec<Item> = segment.items().map(item).collect::<Option<_>>()?;
    items.sort_unstable();
    Some(Segment::of_items(&items))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::Feature;
    use crate::sink::sample::Sample;

    #[test]
    fn segments_are_told_in_other_numbers_by_values_and_bands_by_their_place() {
        let feature = |name: &str, items: Vec<ItemValue>| Feature {
            name: name.into(),
            uv: vec![0; items.len()],
            items,
            ..Sample::new().codebook.features[0].clone()
        };
        let bands = |borders: &[f64]| -> Vec<ItemValue> {
            let ends = std::iter::once(None).chain(borders.iter().copied().map(Some));
            let next = borders.iter().copied().map(Some).chain([None]);
            ends.zip(next).map(|(low, high)| ItemValue::Range { low, high }).collect()
        };
        let text = |value: &str| ItemValue::Text(value.into());
        let missing_first = |borders: &[f64]| [vec![ItemValue::Missing], bands(borders)].concat();
        let old = Codebook {
            features: vec![feature("age", bands(&[30.0, 50.0])), feature("job", vec![text("nurse"), text("clerk")])],
        };
        let of = |items: [Item; 2]| Segment::of_items(&items);
        let segment = of([Item { feature: 0, code: 1 }, Item { feature: 1, code: 0 }]);
        // Another order of features and values, borders that moved, and somebody without an age.
        let jobs = feature("job", vec![text("clerk"), text("judge"), text("nurse")]);
        let new = Codebook { features: vec![jobs.clone(), feature("age", missing_first(&[31.0, 52.0]))] };
        let expected = of([Item { feature: 0, code: 2 }, Item { feature: 1, code: 2 }]);
        assert_eq!(translated(segment, &old, &new), Some(expected));
        let other = Codebook { features: vec![jobs, feature("age", bands(&[31.0, 40.0, 52.0]))] };
        assert_eq!(translated(segment, &old, &other), None, "four bands are not three");
        let gone = Codebook { features: vec![feature("age", bands(&[30.0, 50.0]))] };
        assert_eq!(translated(segment, &old, &gone), None);
    }
}
