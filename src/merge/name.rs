//! What people call a group.

use std::collections::BTreeSet;

use super::traits::{one, traits};
use crate::encode::Codebook;
use crate::profile::ProfileItem;
use crate::segment::{Item, Segment};

/// Names of groups, none twice: where several would be called alike, all but the first have further traits in their names, or else a number.
///
/// Of each group its segments, the strongest first, and its profile.
pub fn names<'g>(codebook: &Codebook, groups: impl Iterator<Item = (&'g [Segment], &'g [ProfileItem])>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (segments, profile) in groups {
        let short = name(codebook, segments, profile);
        let alike = names.contains(&short);
        names.push(if alike { segments.first().map_or(short, |&s| longer(codebook, s)) } else { short });
    }
    distinct(names)
}

/// A group by all that its strongest segment says.
fn longer(codebook: &Codebook, segment: Segment) -> String {
    segment.items().map(|item| one(item).name(codebook)).collect::<Vec<_>>().join(" · ")
}

/// A group's name: what its segments say that is most over-represented in it, up to three features, as `job=retired/student · age 60–70`: traits
/// that mark it, not a conjunction, as a group is a union of segments.
///
/// `profile` is sorted as [`profile()`](crate::profile::profile()) leaves it, `segments` strongest first; if none of
/// their items is surely over-represented, the first segment is the name. There are no figures of the group in it.
fn name(codebook: &Codebook, segments: &[Segment], profile: &[ProfileItem]) -> String {
    let said = |item: Item| segments.iter().any(|s| s.items().any(|own| own == item));
    let marks = profile.iter().filter(|p| p.z > 0.0 && p.is_sure() && said(p.item));
    let names: Vec<String> = traits(codebook, marks).iter().map(|own| own.name(codebook)).collect();
    if names.is_empty() {
        return segments.first().map(|&s| codebook.text(s)).unwrap_or_default();
    }
    names.join(" · ")
}

/// The names with a number after the second and later of those alike: `a`, `b`, `a (2)`.
pub(super) fn distinct(names: Vec<String>) -> Vec<String> {
    let mut taken: BTreeSet<String> = names.iter().cloned().collect();
    let mut seen = BTreeSet::new();
    let mut numbered = |name: String| {
        if seen.insert(name.clone()) {
            return name;
        }
        let mut number = 2;
        loop {
            let candidate = format!("{name} ({number})");
            if taken.insert(candidate.clone()) {
                return candidate;
            }
            number += 1;
        }
    };
    names.into_iter().map(&mut numbered).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{Feature, ItemValue};

    fn codebook() -> Codebook {
        let feature = |name: &str, items: &[&str]| Feature {
            name: name.into(),
            column: name.into(),
            items: items.iter().map(|&t| ItemValue::Text(t.into())).collect(),
            uv: vec![0; items.len()],
            rest: false,
            tags: None,
            null_values: Vec::new(),
            completed: None,
        };
        Codebook {
            features: vec![
                feature("job", &["retired", "student"]),
                feature("contact", &["mobile"]),
                feature("last", &["success"]),
                feature("housing", &["no"]),
            ],
        }
    }

    fn segment(items: &[(u16, u16)]) -> Segment {
        Segment::of_items(&items.iter().map(|&(feature, code)| Item { feature, code }).collect::<Vec<_>>())
    }

    fn profile(items: &[(u16, u16, f64)]) -> Vec<ProfileItem> {
        items
            .iter()
            .map(|&(feature, code, z)| ProfileItem {
                item: Item { feature, code },
                uv: 10,
                share: 0.5,
                base_share: 0.1,
                index: 500.0,
                z,
                q: 0.0,
            })
            .collect()
    }

    #[test]
    fn a_name_says_the_strongest_items_of_the_segments() {
        let segments = [segment(&[(0, 0), (1, 0), (2, 0)]), segment(&[(0, 1), (2, 0)])];
        // housing=no is the strongest of all, but no segment says it.
        let strong = [(3, 0, 40.0), (2, 0, 30.0), (0, 0, 25.0), (0, 1, 24.0), (1, 0, 20.0)];
        let named = "last=success · job=retired/student · contact=mobile";
        assert_eq!(name(&codebook(), &segments, &profile(&strong)), named);
        // 14 is less than half of 30.
        let weaker = [(2, 0, 30.0), (0, 0, 15.0), (1, 0, 14.0)];
        assert_eq!(name(&codebook(), &segments, &profile(&weaker)), "last=success · job=retired");
        // What may be chance is not said.
        let mut unsure = profile(&weaker);
        unsure[1].q = 0.06;
        assert_eq!(name(&codebook(), &segments, &unsure), "last=success");
    }

    #[test]
    fn a_group_without_over_represented_items_is_called_by_its_first_segment() {
        let segments = [segment(&[(0, 1), (2, 0)]), segment(&[(1, 0)])];
        assert_eq!(name(&codebook(), &segments, &profile(&[(0, 1, 0.0), (2, 0, -1.0)])), "job=student & last=success");
        assert_eq!(name(&codebook(), &[], &[]), "");
    }

    #[test]
    fn of_groups_that_would_be_called_alike_the_later_say_more() {
        let profile = profile(&[(0, 0, 30.0)]);
        let [a, b, c] = [[segment(&[(0, 0)])], [segment(&[(0, 0), (3, 0)])], [segment(&[(0, 0), (3, 0)])]];
        let groups = [&a, &b, &c].map(|segments| (&segments[..], &profile[..]));
        let expected = ["job=retired", "job=retired · housing=no", "job=retired · housing=no (2)"];
        assert_eq!(names(&codebook(), groups.into_iter()), expected);
    }

    #[test]
    fn names_alike_are_numbered() {
        let names = ["a", "b", "a", "a", "b (2)", "b"].map(String::from).to_vec();
        assert_eq!(distinct(names), ["a", "b", "a (2)", "a (3)", "b (2)", "b (3)"]);
    }
}
