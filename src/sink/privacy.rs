//! The privacy floor for profiles: no item that a reader could turn into a handful of customers.

use super::RunResult;
use crate::encode::Codebook;
use crate::merge::Group;
use crate::profile::ProfileItem;

/// The items of a group's profile that are told: of a column that groups are divided by, those that are told there.
pub(super) fn told<'g>(group: &'g Group, result: &RunResult) -> Vec<&'g ProfileItem> {
    let withheld = |p: &&ProfileItem| {
        let feature = result.codebook.feature(p.item.feature);
        let value = &feature.items[usize::from(p.item.code)];
        let columns = result.mix.columns.iter().filter(|column| column.name() == feature.name);
        columns.into_iter().any(|column| column.withholds(value, result.place(group)))
    };
    let mut items = writable(group, result.codebook, result.floor());
    items.retain(|p| !withheld(p));
    items
}

/// The items of a group's profile that may be written, in the profile's order.
///
/// An item is left out when it covers fewer than `floor` customers of the group but not none. The items of a feature
/// add up to the group, so what was left out can be found by subtraction: when all left out of one feature, together
/// with those the profile does not list, are fewer than `floor`, its next smallest items go too. Tags do not add up to anything:
/// each is left out, or not, by its own customers and by those of the group who do not have it.
pub(super) fn writable<'g>(group: &'g Group, codebook: &Codebook, floor: i64) -> Vec<&'g ProfileItem> {
    let mut features: Vec<u16> = group.profile.iter().map(|p| p.item.feature).collect();
    features.sort_unstable();
    features.dedup();
    let mut hidden = Vec::new();
    for feature in features {
        let mut items: Vec<&ProfileItem> =
            group.profile.iter().filter(|p| p.item.feature == feature && p.uv > 0).collect();
        items.sort_by_key(|p| (p.uv, p.item));
        if codebook.feature(feature).tags.is_some() {
            let small = |uv: i64| (1..floor).contains(&uv);
            hidden.extend(items.iter().filter(|p| small(p.uv) || small(group.stats.uv - p.uv)).map(|p| p.item));
            continue;
        }
        let unlisted = group.stats.uv - items.iter().map(|p| p.uv).sum::<i64>();
        let mut left_out = unlisted.max(0);
        for item in items {
            if item.uv >= floor && (left_out == 0 || left_out >= floor) {
                break;
            }
            left_out += item.uv;
            hidden.push(item.item);
        }
    }
    hidden.sort_unstable();
    group.profile.iter().filter(|p| hidden.binary_search(&p.item).is_err()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::TagSource;
    use crate::segment::Item;
    use crate::sink::sample::Sample;

    fn kept(uvs: &[i64], group_uv: i64) -> Vec<u16> {
        kept_of(&Sample::new(), uvs, group_uv)
    }

    fn kept_of(sample: &Sample, uvs: &[i64], group_uv: i64) -> Vec<u16> {
        let mut group = sample.grouping.groups[0].clone();
        group.stats.uv = group_uv;
        let of = |(code, &uv)| ProfileItem {
            item: Item { feature: 0, code: code as u16 },
            uv,
            share: 0.0,
            base_share: 0.1,
            index: 0.0,
            z: 0.0,
            q: 0.0,
        };
        group.profile = uvs.iter().enumerate().map(of).collect();
        writable(&group, &sample.codebook, 10).iter().map(|p| p.item.code).collect()
    }

    #[test]
    fn a_small_item_takes_the_next_with_it_so_that_subtraction_does_not_bring_it_back() {
        assert_eq!(kept(&[60, 40], 100), [0, 1]);
        assert_eq!(kept(&[60, 36, 4], 100), [0], "4 alone would follow from 100 - 96");
        assert_eq!(kept(&[60, 30, 6, 4], 100), [0, 1], "6 + 4 reach the floor together");
        assert_eq!(kept(&[60, 36, 4, 0], 100), [0, 3], "nobody is not a small number of customers");
        assert_eq!(kept(&[60, 37], 100), [0], "3 with a rare value follow from the listed items");
        assert_eq!(kept(&[97, 3], 100), [] as [u16; 0], "the complement of 97 is 3");
    }

    #[test]
    fn of_tags_those_are_left_out_that_few_have_or_few_have_not() {
        let mut sample = Sample::new();
        sample.codebook.features[0].tags = Some(TagSource::List);
        assert_eq!(kept_of(&sample, &[100, 60, 36, 4, 0], 100), [0, 1, 2, 4], "4 follows from nothing");
        assert_eq!(kept_of(&sample, &[95, 60, 9, 10], 100), [1, 3]);
    }
}
