//! A published run read back as far as it says who belongs to which group.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use super::VerifyError;
use super::documents::{AssignmentEntry, GroupsFile, Manifest, read_features, read_groups, read_manifest};
use super::explain::job_of;
use super::tables::Texts;
use super::verify::verify_file;
use crate::encode::Codebook;
use crate::job::Job;
use crate::segment::{Item, MAX_LEVEL, Segment};

/// What a run says of its groups.
#[derive(Clone, Debug)]
pub struct Standing {
    pub manifest: Manifest,
    pub job: Job,
    pub codebook: Codebook,
    pub groups: GroupsFile,
    /// In which order a customer is asked, and the group of the first segment that covers them.
    pub asked: Vec<(Segment, u32)>,
}

/// Why a run does not say it.
#[derive(Debug, thiserror::Error)]
pub enum StandingError {
    #[error(transparent)]
    Run(#[from] VerifyError),
    #[error(
        "groups.json of this run has no `assignment`; it was made by an earlier build of version {version}, so run its job again"
    )]
    Old { version: String },
}

impl Standing {
    /// Reads the run `DIR/latest` or `DIR/runs/<run id>`.
    pub fn read(run: &Path) -> Result<Standing, StandingError> {
        if !run.join("_SUCCESS").is_file() {
            return Err(VerifyError::Unpublished { path: run.to_owned() }.into());
        }
        let manifest = read_manifest(run)?;
        for name in ["features.json", "groups.json"] {
            let file = manifest.files.iter().find(|file| file.path == name);
            verify_file(run, file.ok_or_else(|| VerifyError::Unlisted { path: name.to_owned() })?)?;
        }
        let (codebook, _) = read_features(run)?;
        let job = job_of(run, &manifest)?;
        let groups = read_groups(run)?;
        if groups.assignment.is_empty() && !groups.groups.is_empty() {
            return Err(StandingError::Old { version: manifest.version });
        }
        let malformed = |message| VerifyError::Malformed { path: run.join("groups.json"), message };
        let asked = asked(&codebook, &groups.groups.iter().map(|g| g.id).collect(), &groups.assignment);
        let asked = asked.map_err(malformed)?;
        Ok(Standing { manifest, job, codebook, groups, asked })
    }
}

fn asked(
    codebook: &Codebook,
    groups: &BTreeSet<u32>,
    entries: &[AssignmentEntry],
) -> Result<Vec<(Segment, u32)>, String> {
    let written = Written::of(codebook);
    let one = |entry: &AssignmentEntry| {
        let segment = written.segment(codebook, &entry.segment);
        let segment = segment.ok_or_else(|| format!("{:?} is no segment of features.json", entry.segment))?;
        match groups.contains(&entry.group) {
            true => Ok((segment, entry.group)),
            false => Err(format!("{:?} is of group {}, which is not there", entry.segment, entry.group)),
        }
    };
    entries.iter().map(one).collect()
}

/// Items by their text, as the tables write them.
pub(super) struct Written(HashMap<String, Item>);

impl Written {
    pub fn of(codebook: &Codebook) -> Written {
        let texts = Texts::of(codebook);
        let items = (0u16..).zip(&codebook.features).flat_map(|(feature, of)| {
            // Cells say the code of rest too.
            let codes = 0..u16::try_from(of.cardinality()).unwrap_or(u16::MAX);
            codes.map(move |code| Item { feature, code })
        });
        Written(items.map(|item| (texts.item(item).to_owned(), item)).collect())
    }

    /// The segment that a text of the tables stands for.
    ///
    /// Only text in double quotes holds ` & `, and no start of such a text up to there is an item itself: it would be in quotes too.
    pub fn segment(&self, codebook: &Codebook, text: &str) -> Option<Segment> {
        let mut items: Vec<Item> = Vec::new();
        let mut from = 0;
        loop {
            let ends = text[from..].match_indices(" & ").map(|(at, _)| from + at).chain([text.len()]);
            let (end, item) = ends.filter_map(|end| Some((end, *self.0.get(&text[from..end])?))).next()?;
            items.push(item);
            if end == text.len() {
                break;
            }
            from = end + " & ".len();
        }
        let exclusive = |item: &Item| codebook.feature(item.feature).tags.is_none();
        let fits = |pair: &[Item]| pair[0] < pair[1] && (pair[0].feature < pair[1].feature || !exclusive(&pair[0]));
        let good = (1..=MAX_LEVEL).contains(&items.len()) && items.windows(2).all(fits);
        good.then(|| Segment::of_items(&items))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{Feature, ItemValue, TagSource};
    use crate::sink::Publisher;
    use crate::sink::sample::Sample;

    fn feature(name: &str, texts: &[&str]) -> Feature {
        Feature {
            name: name.into(),
            column: name.into(),
            items: texts.iter().map(|&t| ItemValue::Text(t.into())).collect(),
            uv: vec![0; texts.len()],
            ..Feature::default()
        }
    }

    #[test]
    fn every_segment_reads_back_from_its_text() {
        let mut codebook = Codebook {
            features: vec![
                feature("城市=\"x\" & y", &["上海", "a & b", "\"q", "a", " ", "(missing)", "b=c", "a & 兴趣=x"]),
                feature("a", &["b", "\"b & a=b\"", "a\"b & c"]),
                feature("兴趣", &["x", "y", "y & a=b"]),
            ],
        };
        codebook.features[2].tags = Some(TagSource::List);
        let written = Written::of(&codebook);
        let items = |feature: u16| {
            let items = codebook.features[usize::from(feature)].items.len() as u16;
            (0..items).map(move |code| Item { feature, code })
        };
        let mut segments = Vec::new();
        for first in items(0) {
            segments.push(vec![first]);
            for second in items(1) {
                segments.push(vec![first, second]);
                for third in items(2) {
                    segments.push(vec![first, second, third]);
                    segments.extend(items(2).filter(|t| *t > third).map(|t| vec![first, second, third, t]));
                }
            }
        }
        for items in segments {
            let segment = Segment::of_items(&items);
            let text = codebook.text(segment);
            assert_eq!(written.segment(&codebook, &text), Some(segment), "{text}");
        }
        for wrong in ["", "a=b & a=b", "a=c", "a=b & ", "兴趣=x & a=b", "a=b & a=\"\\\"b & a=b\\\"\"", "a=b&兴趣=x"]
        {
            assert_eq!(written.segment(&codebook, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_run_tells_its_order_as_it_was_and_a_changed_one_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let sample = Sample::new();
        let run = Publisher::lock(dir.path()).expect("free").publish(&sample.result()).expect("published").path;
        let standing = Standing::read(&run).expect("readable");
        assert_eq!(standing.asked, sample.grouping.asked);
        assert!(!standing.asked.is_empty());
        assert_eq!(standing.codebook, sample.codebook);

        let groups = std::fs::read_to_string(run.join("groups.json")).expect("text");
        std::fs::write(run.join("groups.json"), groups.replace("\"group\": 1", "\"group\": 2")).expect("written");
        assert!(matches!(Standing::read(&run), Err(StandingError::Run(VerifyError::Checksum { .. }))));
        let ids = sample.grouping.groups.iter().map(|group| group.id).collect();
        let entry = |segment: &str, group| AssignmentEntry { segment: segment.into(), group };
        let first = sample.codebook.text(sample.grouping.asked[0].0);
        assert!(asked(&sample.codebook, &ids, &[entry(&first, 1)]).is_ok());
        assert!(asked(&sample.codebook, &ids, &[entry(&first, 99)]).expect_err("no group").contains("99"));
        assert!(asked(&sample.codebook, &ids, &[entry("x=y", 1)]).expect_err("no item").contains("x=y"));
        std::fs::remove_file(run.join("_SUCCESS")).expect("removed");
        assert!(matches!(Standing::read(&run), Err(StandingError::Run(VerifyError::Unpublished { .. }))));
    }
}
