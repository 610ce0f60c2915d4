//! What people call a group.

use std::collections::BTreeSet;

use crate::encode::Codebook;
use crate::profile::ProfileItem;
use crate::segment::{Item, Segment};

/// Items a name has at the most.
const MOST_ITEMS: usize = 3;
/// An item is named when its standard score is at least this share of the strongest one's.
const LEAST_SCORE: f64 = 0.5;

/// A group's name: the one to three items most over-represented in it among those that its segments say, one a feature (of
/// tags several), as `feature=item · feature=item`: traits that mark it, not a conjunction, as a group is a union of segments.
///
/// `profile` is sorted as [`profile()`](crate::profile::profile()) leaves it, `segments` strongest first; if none of
/// their items is over-represented, the first segment is the name.
pub fn name(codebook: &Codebook, segments: &[Segment], profile: &[ProfileItem]) -> String {
    let mut named: Vec<&ProfileItem> = Vec::new();
    for item in profile {
        let strong = item.z > 0.0 && named.first().is_none_or(|first| item.z >= LEAST_SCORE * first.z);
        if named.len() == MOST_ITEMS || !strong {
            // Sorted by score; what follows is weaker.
            break;
        }
        let said = |item: Item| segments.iter().any(|s| s.items().any(|own| own == item));
        let several = codebook.feature(item.item.feature).tags.is_some();
        if said(item.item) && (several || named.iter().all(|n| n.item.feature != item.item.feature)) {
            named.push(item);
        }
    }
    if named.is_empty() {
        return segments.first().map(|&s| codebook.text(s)).unwrap_or_default();
    }
    named.iter().map(|n| codebook.item_text(n.item)).collect::<Vec<_>>().join(" · ")
}

/// The names with a number after the second and later of those alike: `a`, `b`, `a (2)`.
pub fn distinct(names: Vec<String>) -> Vec<String> {
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
    use crate::encode::{Feature, ItemValue, TagSource};

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
    fn a_name_says_the_strongest_items_of_the_segments_one_a_feature() {
        let segments = [segment(&[(0, 0), (1, 0), (2, 0)]), segment(&[(0, 1), (2, 0)])];
        // housing=no is the strongest of all, but no segment says it; student comes after retired of the same feature.
        let strong = [(3, 0, 40.0), (2, 0, 30.0), (0, 0, 25.0), (0, 1, 24.0), (1, 0, 20.0)];
        assert_eq!(name(&codebook(), &segments, &profile(&strong)), "last=success · job=retired · contact=mobile");
        // 14 is less than half of 30.
        let weaker = [(2, 0, 30.0), (0, 0, 15.0), (1, 0, 14.0)];
        assert_eq!(name(&codebook(), &segments, &profile(&weaker)), "last=success · job=retired");
    }

    #[test]
    fn a_name_may_say_several_tags_of_one_feature() {
        let mut codebook = codebook();
        codebook.features[0].tags = Some(TagSource::List);
        let items = [(0, 0, 30.0), (0, 1, 24.0), (1, 0, 20.0)];
        assert_eq!(name(&codebook, &[segment(&[(0, 0), (0, 1)])], &profile(&items)), "job=retired · job=student");
    }

    #[test]
    fn a_group_without_over_represented_items_is_called_by_its_first_segment() {
        let segments = [segment(&[(0, 1), (2, 0)]), segment(&[(1, 0)])];
        assert_eq!(name(&codebook(), &segments, &profile(&[(0, 1, 0.0), (2, 0, -1.0)])), "job=student & last=success");
        assert_eq!(name(&codebook(), &[], &[]), "");
    }

    #[test]
    fn names_alike_are_numbered() {
        let names = ["a", "b", "a", "a", "b (2)", "b"].map(String::from).to_vec();
        assert_eq!(distinct(names), ["a", "b", "a (2)", "a (3)", "b (2)", "b (3)"]);
    }
}
