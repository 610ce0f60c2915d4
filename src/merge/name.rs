//! What people call a group.

use std::collections::{BTreeMap, BTreeSet};

use super::Group;
use super::kinds::{Kind, Kinds, NEARLY_ALL, TELLING, is_nearly_all, kinds, kinds_of};
use super::rule::PRECISE;
use super::traits::{Trait, traits};
use crate::encode::{Codebook, ItemValue};
use crate::job::{Language, MergeOf};
use crate::profile::ProfileItem;
use crate::segment::{FeatureSet, Item, Segment};

/// Columns that a name takes at the most, unless what has to be said takes more.
const WIDEST: usize = 64;
/// Kinds that a name says at the most.
const MOST_KINDS: usize = 2;
/// Traits of a group of many cells that a name says, beside those that nearly all of its customers have.
const MOST_TRAITS: usize = 3;
/// Least share of a group's customers who are mostly something.
const MOSTLY: f64 = 0.6;

/// What joins the parts of a name.
struct Words {
    language: Language,
    or: &'static str,
    comma: &'static str,
    around: [&'static str; 2],
    mostly: [&'static str; 2],
    often: &'static str,
    /// After alternatives that are not all.
    others: &'static str,
}

fn words(language: Language) -> Words {
    match language {
        Language::En => Words {
            language,
            or: " or ",
            comma: ", ",
            around: ["(", ")"],
            mostly: ["mostly ", ""],
            often: "often ",
            others: " or others",
        },
        Language::Zh => Words {
            language,
            or: " 或 ",
            comma: "、",
            around: ["（", "）"],
            mostly: ["以", "为主"],
            often: "多见",
            others: " 或其他",
        },
    }
}

impl Words {
    /// With a space where Chinese characters meet others.
    fn joined(&self, parts: &[&str]) -> String {
        let is_apart =
            |a: char, b: char| (a >= '\u{2e80}') != (b >= '\u{2e80}') && !(a.is_whitespace() || b.is_whitespace());
        let mut all = String::new();
        for part in parts {
            let meet = all.chars().next_back().zip(part.chars().next());
            let apart = self.language == Language::Zh && meet.is_some_and(|(a, b)| is_apart(a, b));
            all.push_str(if apart { " " } else { "" });
            all.push_str(part);
        }
        all
    }
}

/// How a group is called, and by which of its segments: any of these; or, where a group of cells is called by its traits, for each
/// feature any of these items.
pub type Called = (String, Vec<Segment>);

/// Names of groups, none twice: those that would be called alike have a number.
pub fn names(codebook: &Codebook, of: MergeOf, language: Language, groups: &[&Group]) -> Vec<Called> {
    let called = |group: &&Group| {
        let (mut called, named) = name(codebook, of, &words(language), group);
        if let ([one], MergeOf::Highlights) = (&named[..], of) {
            for item in taken_before(codebook, *one, group, groups) {
                let Item { feature, .. } = item;
                called = format!("{called}{AND}{}≠{}", codebook.feature_label(feature), codebook.item_label(item));
            }
        }
        (called, named)
    };
    let (names, named): (Vec<String>, Vec<Vec<Segment>>) = groups.iter().map(called).unzip();
    distinct(names).into_iter().zip(named).collect()
}

/// What nobody has of a group of one segment, as whoever met that beside it went to another group: values, and none of tags.
fn taken_before(codebook: &Codebook, one: Segment, group: &Group, groups: &[&Group]) -> BTreeSet<Item> {
    let whole = group.segments.iter().all(|segment| segment.contains(one));
    let nobody = |item: Item| group.profile.iter().any(|p| p.item == item && p.uv == 0);
    let is_value = |item: &Item| {
        let feature = codebook.feature(item.feature);
        let value = feature.items.get(usize::from(item.code));
        feature.tags.is_none() && matches!(value, Some(ItemValue::Text(_) | ItemValue::Bool(_) | ItemValue::Int(_)))
    };
    let others = groups.iter().filter(|other| whole && !std::ptr::eq(**other, group)).flat_map(|other| &other.segments);
    let refined = others.filter(|other| other.level() == one.level() + 1 && other.contains(one));
    let beside = |other: &Segment| other.items().find(|item| one.items().all(|own| own != *item));
    refined.filter_map(beside).filter(|&item| is_value(&item) && nobody(item)).collect()
}

/// A group's name. Items joined by `·` all hold, of alternatives joined by `or` one does, and `·` binds closer:
/// `housing=no · (month=apr or pdays <90 or others)`.
///
/// What nearly all of its customers have and its segments say is always there, and all that the largest kind says. A group of
/// many cells is called by the conditions of its rule in short, where these say who is in it, else by the traits that are most
/// over-represented. There are no figures in names.
fn name(codebook: &Codebook, of: MergeOf, words: &Words, group: &Group) -> Called {
    let own = || kinds(codebook, group).map(|kinds| by_kinds(codebook, words, &kinds));
    if of == MergeOf::Highlights {
        return own().map_or_else(|| first(codebook, words, group), |(called, _)| called);
    }
    own()
        .filter(|(called, whole)| *whole && columns(&called.0) <= WIDEST)
        .map(|(called, _)| called)
        .or_else(|| by_rule(codebook, words, group))
        .or_else(|| by_traits(codebook, words, group))
        .or_else(|| own().map(|(called, _)| called))
        .unwrap_or_else(|| first(codebook, words, group))
}

/// By its first segment.
fn first(codebook: &Codebook, words: &Words, group: &Group) -> Called {
    let Some(&segment) = group.segments.first() else { return Called::default() };
    let items: Vec<String> = segment.items().map(|item| Trait::of(item).name(codebook, words.language)).collect();
    (items.join(AND), vec![segment])
}

const AND: &str = " · ";

/// By its largest kinds, and whether that is all of it.
fn by_kinds(codebook: &Codebook, words: &Words, kinds: &Kinds) -> (Called, bool) {
    let all = |traits: &[Trait]| traits.iter().map(|own| own.name(codebook, words.language)).collect::<Vec<_>>();
    let common = all(&kinds.common);
    // One that has nothing else is whoever has what all have.
    let bare = kinds.kinds.first().is_none_or(|kind| kind.traits.is_empty());
    let said = |most: usize| {
        let shown: Vec<String> = kinds.kinds.iter().take(most).map(|kind| all(&kind.traits).join(AND)).collect();
        let mut parts = common.clone();
        if !bare {
            let more = kinds.kinds.len() > shown.len();
            let alternatives = words.joined(&[&shown.join(words.or), if more { words.others } else { "" }]);
            let [open, close] = words.around;
            let apart = (more || shown.len() > 1) && !common.is_empty();
            parts.push(if apart { format!("{open}{alternatives}{close}") } else { alternatives });
        }
        let segments: Vec<Segment> = kinds.kinds.iter().take(most).flat_map(|kind| kind.segments.clone()).collect();
        (parts.join(AND), segments)
    };
    let told = |kind: &Kind| !bare && !kind.traits.is_empty();
    let most = kinds.kinds.iter().take(MOST_KINDS).take_while(|kind| told(kind)).count().max(1);
    let fits = |most: &usize| *most == 1 || columns(&said(*most).0) <= WIDEST;
    let most = (1..=most).rev().find(fits).expect("one always fits");
    let called = said(most);
    let whole = (bare || most == kinds.kinds.len()) && !called.0.contains('…');
    (called, whole)
}

/// By the conditions of its rule in short, those with the most customers first; none where more than every fifth customer whom it selects
/// is of another group, or it finds less than half.
fn by_rule(codebook: &Codebook, words: &Words, group: &Group) -> Option<Called> {
    let rule = &group.short;
    if rule.segments.is_empty() || rule.precision < PRECISE || rule.recall < 0.5 {
        return None;
    }
    let cells = || group.segments.iter().zip(&group.taken);
    let met = |condition: &Segment| cells().filter(|(cell, _)| cell.contains(*condition)).map(|(_, taken)| taken).sum();
    let taken: Vec<i64> = rule.segments.iter().map(met).collect();
    Some(by_kinds(codebook, words, &kinds_of(codebook, &rule.segments, &taken, &[])).0)
}

/// By what nearly all of its customers have and cells say, and what most of them have more often than others; none where no item is
/// surely over-represented.
fn by_traits(codebook: &Codebook, words: &Words, group: &Group) -> Option<Called> {
    let Marks { common, mut others, mostly } = marking(codebook, group);
    loop {
        let all = |traits: &[Trait]| traits.iter().map(|own| own.name(codebook, words.language)).collect::<Vec<_>>();
        let mut parts = all(&common);
        if !others.is_empty() {
            let [before, after] = words.mostly;
            parts.push(match mostly {
                true => words.joined(&[before, &all(&others).join(words.comma), after]),
                false => words.joined(&[words.often, &all(&others).join(words.or)]),
            });
        }
        let name = parts.join(AND);
        if columns(&name) <= WIDEST || common.len() + others.len() <= 1 || others.is_empty() {
            let items = common.iter().chain(&others).flat_map(|own| {
                own.codes.iter().map(|&code| Segment::of_items(&[Item { feature: own.feature, code }]))
            });
            return Some((name, items.collect())).filter(|(name, _)| !name.is_empty());
        }
        others.pop();
    }
}

/// What marks a group of many cells, of what these say.
pub struct Marks {
    /// What nearly all of its customers have.
    pub common: Vec<Trait>,
    /// What is most over-represented beside that.
    pub others: Vec<Trait>,
    /// Whether most customers have each of these; if not, nothing is had by so many.
    pub mostly: bool,
}

/// What a group of many cells is called by and described by.
pub fn marking(codebook: &Codebook, group: &Group) -> Marks {
    let said: BTreeSet<Item> = group.segments.iter().flat_map(|segment| segment.items()).collect();
    let marks: Vec<&ProfileItem> = group
        .profile
        .iter()
        .filter(|p| p.z > 0.0 && p.index >= TELLING && p.is_sure() && said.contains(&p.item))
        .collect();
    let mut common: Vec<&ProfileItem> = marks.iter().copied().filter(|p| is_nearly_all(p)).collect();
    common.sort_by_key(|p| p.item);
    let others = marks.iter().copied().filter(|p| common.iter().all(|own| own.item.feature != p.item.feature));
    let others = traits(codebook, apart(others).into_iter()).into_iter().take(MOST_TRAITS);
    let (most, often): (Vec<Trait>, Vec<Trait>) = others.partition(|own| own.share >= MOSTLY);
    // Several items of a feature may be what nearly all have one of.
    let (all, most): (Vec<Trait>, Vec<Trait>) = most.into_iter().partition(|own| own.share >= NEARLY_ALL);
    let common = apart(common.into_iter()).into_iter().map(|p| Trait::of(p.item));
    let mut common: Vec<Trait> = common.chain(all).collect();
    common.sort_by_key(|own| own.feature);
    let mostly = !(most.is_empty() && common.is_empty());
    Marks { common, others: if mostly { most } else { often }, mostly }
}

/// Items of which no two are the same customers', here and everywhere: such would be said twice.
pub fn apart<'p>(items: impl Iterator<Item = &'p ProfileItem>) -> Vec<&'p ProfileItem> {
    let mut seen = BTreeSet::new();
    items.filter(|p| seen.insert((p.uv, p.base_share.to_bits()))).collect()
}

/// Columns of a terminal that a text takes: those of Chinese characters and their signs are double.
fn columns(text: &str) -> usize {
    text.chars().map(|c| if c >= '\u{2e80}' { 2 } else { 1 }).sum()
}

/// Whether a group is still what a name says that was given by these segments: all of them are there, and it would be called by the same
/// today, or at least half of its customers were taken by segments that say one of them; of cells called by items, for each feature by cells that say one of its
/// items.
pub fn stands(of: MergeOf, named: &[Segment], group: &Group) -> bool {
    let all: i64 = group.taken.iter().sum();
    let most = |named: &[Segment]| {
        let says = |segment: &Segment| named.iter().any(|&own| segment.contains(own));
        let met = group.segments.iter().zip(&group.taken).filter(|(segment, _)| says(segment));
        let met: i64 = met.map(|(_, taken)| taken).sum();
        met > 0 && 2 * i128::from(met) >= i128::from(all)
    };
    if of == MergeOf::Highlights || named.iter().any(|segment| segment.level() > 1) {
        let there = named.iter().all(|own| group.segments.iter().any(|segment| segment.contains(*own)));
        // The largest of many kinds may have less than half.
        let alike = || {
            !named.is_empty() && named.len() == group.named.len() && named.iter().all(|own| group.named.contains(own))
        };
        return there && (alike() || most(named));
    }
    let mut by_feature: BTreeMap<FeatureSet, Vec<Segment>> = BTreeMap::new();
    named.iter().for_each(|&segment| by_feature.entry(segment.features()).or_default().push(segment));
    !by_feature.is_empty() && by_feature.values().all(|named| most(named))
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
    use crate::encode::Feature;
    use crate::merge::ShortRule;
    use crate::merge::sample::{self, segment};

    fn codebook() -> Codebook {
        let feature = |name: &str, items: &[&str]| Feature {
            name: name.into(),
            column: name.into(),
            items: items.iter().map(|&t| ItemValue::Text(t.into())).collect(),
            uv: vec![0; items.len()],
            ..Feature::default()
        };
        Codebook {
            features: vec![
                feature("job", &["retired", "student", "clerk"]),
                feature("contact", &["mobile", "phone"]),
                feature("last", &["success", "failure"]),
                feature("housing", &["no", "yes"]),
                feature("month", &["mar", "oct", "sep", "may", "apr", "feb"]),
                feature("a long name of a feature", &["value", "other"]),
                feature("another long one", &["value", "other"]),
            ],
        }
    }

    /// A group of segments with the customers that they took, and items with share and z.
    fn group(segments: &[(Segment, i64)], profile: &[(u16, u16, f64, f64)]) -> Group {
        let item = |&(feature, code, share, z): &(u16, u16, f64, f64)| ProfileItem {
            item: Item { feature, code },
            uv: (share * 1000.0) as i64,
            share,
            base_share: 0.1 + f64::from(feature) / 100.0,
            index: 500.0,
            z,
            q: 0.0,
        };
        Group {
            segments: segments.iter().map(|(segment, _)| *segment).collect(),
            taken: segments.iter().map(|(_, taken)| *taken).collect(),
            profile: profile.iter().map(item).collect(),
            ..sample::group(1)
        }
    }

    fn called(of: MergeOf, group: &Group) -> [String; 2] {
        [Language::En, Language::Zh].map(|language| name(&codebook(), of, &words(language), group).0)
    }

    fn highlights(segments: &[(Segment, i64)], profile: &[(u16, u16, f64, f64)]) -> [String; 2] {
        called(MergeOf::Highlights, &group(segments, profile))
    }

    #[test]
    fn a_group_of_one_segment_is_called_by_all_that_it_says() {
        // Whatever is stronger: somebody who meets one of the two only is not of the group.
        let segments = [(segment(&[(0, 0), (3, 0)]), 100)];
        assert_eq!(highlights(&segments, &[(0, 0, 1.0, 90.0), (3, 0, 1.0, 2.0)])[0], "job=retired · housing=no");
        // Segments that say more add nobody.
        let refined = [(segment(&[(0, 0), (2, 0), (3, 0)]), 60), segments[0], (segment(&[(0, 0), (1, 0), (3, 0)]), 5)];
        assert_eq!(highlights(&refined, &[])[0], "job=retired · housing=no");
        assert_eq!(highlights(&[], &[])[0], "");
    }

    #[test]
    fn a_group_says_whom_it_lacks_where_they_went_to_another_by_saying_more() {
        let [one, more] = [segment(&[(0, 0), (3, 0)]), segment(&[(0, 0), (2, 0), (3, 0)])];
        let left = group(&[(one, 100)], &[(2, 0, 0.0, -9.0), (2, 1, 1.0, 9.0)]);
        let taken = group(&[(more, 50)], &[]);
        let called = |all: &[&Group]| {
            let names = names(&codebook(), MergeOf::Highlights, Language::En, all);
            names.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        let expected = ["job=retired · housing=no · last≠success", "job=retired · last=success · housing=no"];
        assert_eq!(called(&[&left, &taken]), expected);
        assert_eq!(called(&[&left])[0], "job=retired · housing=no", "nobody took them");
        let some = group(&[(one, 100)], &[(2, 0, 0.1, -9.0)]);
        assert_eq!(called(&[&some, &taken])[0], "job=retired · housing=no", "some are left");
    }

    #[test]
    fn alternatives_are_told_from_what_holds_for_all() {
        let months = |code| segment(&[(3, 0), (4, code)]);
        let one_feature = [(months(0), 10), (months(2), 30), (months(1), 20)];
        assert_eq!(highlights(&one_feature, &[])[0], "housing=no · month=sep/oct/mar");
        let two = [(segment(&[(0, 0), (1, 0)]), 10), (segment(&[(2, 0)]), 40)];
        assert_eq!(
            highlights(&two, &[]),
            ["last=success or job=retired · contact=mobile", "last=success 或 job=retired · contact=mobile"]
        );
        let with_more = [two[0], two[1], (segment(&[(4, 0)]), 3), (segment(&[(4, 1)]), 2)];
        let expected = [
            "last=success or job=retired · contact=mobile or others",
            "last=success 或 job=retired · contact=mobile 或其他",
        ];
        assert_eq!(highlights(&with_more, &[]), expected);
        let common = [(segment(&[(0, 0), (1, 0), (3, 0)]), 10), (segment(&[(2, 0), (3, 0)]), 40)];
        let expected = [
            "housing=no · (last=success or job=retired · contact=mobile)",
            "housing=no · （last=success 或 job=retired · contact=mobile）",
        ];
        assert_eq!(highlights(&common, &[]), expected);
        // 97 % of the customers have an item that only the larger kind says, and nobody another one of its feature.
        let nearly = [(segment(&[(0, 0), (1, 0)]), 90), (segment(&[(2, 0)]), 10)];
        let name = &highlights(&nearly, &[(1, 0, 0.97, 30.0)])[0];
        assert_eq!(name, "contact=mobile · (job=retired or last=success)");
        // What does not fit is there all the same.
        let long = [(segment(&[(5, 0), (6, 0)]), 90), (segment(&[(0, 0), (1, 0)]), 10)];
        assert_eq!(highlights(&long, &[])[0], "a long name of a feature=value · another long one=value or others");
    }

    #[test]
    fn a_group_of_many_cells_is_called_by_what_most_of_its_customers_have() {
        let cell = |job, month| (segment(&[(0, job), (3, 0), (4, month)]), 10);
        let cells: Vec<(Segment, i64)> =
            [(0, 0), (0, 1), (1, 2), (1, 3), (0, 4)].map(|(job, month)| cell(job, month)).to_vec();
        let profile = [(3, 0, 0.99, 40.0), (0, 0, 0.6, 30.0), (4, 0, 0.2, 25.0), (1, 0, 0.9, 20.0)];
        let expected = ["housing=no · mostly job=retired", "housing=no · 以 job=retired 为主"];
        assert_eq!(called(MergeOf::Cells, &group(&cells, &profile)), expected);
        let profile = [(4, 0, 0.3, 25.0), (0, 0, 0.4, 20.0)];
        assert_eq!(called(MergeOf::Cells, &group(&cells, &profile))[0], "often month=mar or job=retired");
        // Few cells are said as they are.
        assert_eq!(called(MergeOf::Cells, &group(&cells[..2], &[]))[0], "job=retired · housing=no · month=mar/oct");
        assert_eq!(
            called(MergeOf::Cells, &group(&cells, &[]))[0],
            "housing=no · (job=retired · month=mar/oct/apr or others)"
        );
        // What nearly everybody has tells nobody apart, and all of several items that nearly all have are said as one.
        let mut own = group(&cells, &[(3, 0, 0.99, 40.0), (4, 0, 0.5, 30.0), (4, 1, 0.48, 29.0)]);
        own.profile[0].index = 110.0;
        assert_eq!(called(MergeOf::Cells, &own)[0], "month=mar/oct");
    }

    #[test]
    fn a_group_of_many_cells_is_called_by_its_rule_where_that_says_who_they_are() {
        let cells: Vec<(Segment, i64)> = [(0, 0, 10), (1, 0, 40), (0, 1, 20), (1, 2, 5), (0, 3, 1), (2, 4, 1)]
            .map(|(job, month, taken)| (segment(&[(0, job), (3, 0), (4, month)]), taken))
            .to_vec();
        let rule = |precision, recall| ShortRule {
            segments: vec![segment(&[(0, 0), (4, 1)]), segment(&[(4, 0)]), segment(&[(1, 1), (3, 1)])],
            uv: 80,
            precision,
            recall,
        };
        let profile = [(3, 0, 0.7, 40.0)];
        let by = |precision, recall| {
            called(MergeOf::Cells, &Group { short: rule(precision, recall), ..group(&cells, &profile) })
        };
        assert_eq!(
            by(0.9, 0.9),
            ["month=mar or job=retired · month=oct or others", "month=mar 或 job=retired · month=oct 或其他"]
        );
        // Nothing is put apart that is apart already.
        let apart = ["a", "缺失", " 或其他", "b", "缺失"];
        assert_eq!(words(Language::Zh).joined(&apart), "a 缺失 或其他 b 缺失");
        assert_eq!(by(0.7, 0.9), ["mostly housing=no", "以 housing=no 为主"]);
        assert_eq!(by(0.9, 0.4)[0], "mostly housing=no");
    }

    #[test]
    fn a_name_stands_while_what_it_says_is_most_of_the_group() {
        let [a, b] = [segment(&[(0, 0), (3, 0)]), segment(&[(1, 0)])];
        let refined = segment(&[(0, 0), (2, 0), (3, 0)]);
        let group = group(&[(refined, 30), (a, 20), (b, 50)], &[]);
        assert!(stands(MergeOf::Highlights, &[a], &group) && stands(MergeOf::Highlights, &[b], &group));
        assert!(!stands(MergeOf::Highlights, &[refined], &group), "30 of 100");
        let by_refined = Group { named: vec![refined], ..group.clone() };
        assert!(stands(MergeOf::Highlights, &[refined], &by_refined), "it is called by it today, too");
        let by_more = Group { named: vec![refined, b], ..group.clone() };
        assert!(!stands(MergeOf::Highlights, &[refined], &by_more), "it is called by more today");
        assert!(!stands(MergeOf::Highlights, &[], &group));
        assert!(!stands(MergeOf::Highlights, &[a, segment(&[(4, 0)])], &group), "the second is of another group now");
        let item = |feature| segment(&[(feature, 0)]);
        assert!(stands(MergeOf::Cells, &[item(0), item(3)], &group), "50 have each");
        assert!(!stands(MergeOf::Cells, &[item(0), item(2)], &group), "30 have the second");
    }

    #[test]
    fn names_alike_are_numbered() {
        let names = ["a", "b", "a", "a", "b (2)", "b"].map(String::from).to_vec();
        assert_eq!(distinct(names), ["a", "b", "a (2)", "a (3)", "b (2)", "b (3)"]);
    }
}
