//! Who is in a group, said in as few alternatives as its segments allow.

use super::Group;
use super::traits::Trait;
use crate::encode::Codebook;
use crate::profile::ProfileItem;
use crate::segment::{Item, Segment};

/// An item that this share of a group's customers have is said of the group as a whole.
pub const NEARLY_ALL: f64 = 0.95;

/// From this index (TGI) on an item says something of a group: what nearly everybody has does not tell it apart.
pub(super) const TELLING: f64 = 120.0;

/// More segments than this, as groups of cells have, are not looked at one by one.
const MOST_SEGMENTS: usize = 64;

/// Customers who are in a group by the same conditions, or by conditions that differ in the items of one feature.
#[derive(Clone, Debug, PartialEq)]
pub struct Kind {
    /// All of these hold, each by any of its items.
    pub traits: Vec<Trait>,
    /// What is said so.
    pub segments: Vec<Segment>,
    /// Customers that these took.
    pub uv: i64,
}

/// A group as conditions of which all hold, and alternatives of which one does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kinds {
    /// What nearly all customers have and segments say.
    pub common: Vec<Trait>,
    /// What else each kind has, the one with the most customers first; of a group of one kind, one that has nothing else.
    pub kinds: Vec<Kind>,
}

/// The kinds of a group; none where there are too many segments.
///
/// A segment that says more than another one of the group adds nobody. Those that are left and differ in one feature are one kind.
pub fn kinds(codebook: &Codebook, group: &Group) -> Option<Kinds> {
    if group.segments.len() > MOST_SEGMENTS {
        return None;
    }
    Some(kinds_of(codebook, &group.segments, &group.taken, &group.profile))
}

/// Segments with the customers that they took, and a profile of these, as kinds.
pub(super) fn kinds_of(codebook: &Codebook, segments: &[Segment], taken: &[i64], profile: &[ProfileItem]) -> Kinds {
    let mut kinds = joined(codebook, segments, taken);
    let common = common(codebook, profile, &kinds);
    for kind in &mut kinds {
        kind.traits.retain(|own| !common.contains(own));
    }
    Kinds { common, kinds }
}

/// Places of the segments that no other one is a part of, with the customers that they took and those that were taken by what adds
/// nobody to them: most customers first.
pub(super) fn without_refinements(segments: &[Segment], taken: &[i64]) -> Vec<(usize, i64)> {
    let parts = |at: usize| {
        let says_less = move |other: usize| segments[at] != segments[other] || other < at;
        let part = move |&other: &usize| other != at && segments[at].contains(segments[other]) && says_less(other);
        (0..segments.len()).filter(part)
    };
    let mut uv = taken.to_vec();
    uv.resize(segments.len(), 0);
    let (mut whole, refined): (Vec<usize>, Vec<usize>) =
        (0..segments.len()).partition(|&at| parts(at).next().is_none());
    for at in refined {
        let home = parts(at).find(|part| whole.contains(part)).expect("a smallest part is no refinement");
        uv[home] += uv[at];
    }
    whole.sort_by_key(|&at| (std::cmp::Reverse(uv[at]), at));
    whole.into_iter().map(|at| (at, uv[at])).collect()
}

/// Segments with the customers that they took as kinds, those joined that differ in the items of one feature.
pub fn joined(codebook: &Codebook, segments: &[Segment], taken: &[i64]) -> Vec<Kind> {
    let of = |(at, uv): (usize, i64)| Kind {
        traits: segments[at].items().map(Trait::of).collect(),
        segments: vec![segments[at]],
        uv,
    };
    let mut kinds: Vec<Kind> = without_refinements(segments, taken).into_iter().map(of).collect();
    let pair = |kinds: &[Kind]| {
        (0..kinds.len()).find_map(|a| {
            let differ = |b| Some((a, b, difference(codebook, &kinds[a], &kinds[b])?));
            (a + 1..kinds.len()).find_map(differ)
        })
    };
    while let Some((a, b, place)) = pair(&kinds) {
        let other = kinds.remove(b);
        let own = &mut kinds[a];
        own.uv += other.uv;
        own.segments.extend(other.segments);
        let codes = &other.traits[place].codes;
        let fresh: Vec<u16> = codes.iter().filter(|code| !own.traits[place].codes.contains(code)).copied().collect();
        own.traits[place].codes.extend(fresh);
        // Whoever has any of all items is anybody. What is left may be said by another kind, too.
        if own.traits[place].codes.len() == codebook.feature(own.traits[place].feature).cardinality()
            && own.traits.len() > 1
        {
            own.traits.remove(place);
            let (segments, traits) = (own.segments.clone(), own.traits.clone());
            if let Some(alike) = (0..kinds.len()).find(|&other| other != a && kinds[other].traits == traits) {
                kinds[alike].uv += kinds[a].uv;
                kinds[alike].segments.extend(segments);
                kinds.remove(a);
            }
        }
    }
    kinds.iter_mut().flat_map(|kind| &mut kind.traits).for_each(|own| own.sort(codebook));
    kinds.sort_by_key(|kind| std::cmp::Reverse(kind.uv));
    kinds
}

/// The place of the only trait that two kinds differ in. Tags are no alternatives: a customer has several.
fn difference(codebook: &Codebook, a: &Kind, b: &Kind) -> Option<usize> {
    let features = |kind: &Kind| kind.traits.iter().map(|own| own.feature).collect::<Vec<_>>();
    if features(a) != features(b) {
        return None;
    }
    let mut places = (0..a.traits.len()).filter(|&place| a.traits[place].codes != b.traits[place].codes);
    let place = places.next().filter(|_| places.next().is_none())?;
    codebook.feature(a.traits[place].feature).tags.is_none().then_some(place)
}

/// What every kind says, and what one of them says and nearly all customers have, more often than others.
fn common(codebook: &Codebook, profile: &[ProfileItem], kinds: &[Kind]) -> Vec<Trait> {
    let others = |own: &Trait| {
        let says_another = |other: &Trait| other.feature == own.feature && other != own;
        kinds.iter().flat_map(|kind| &kind.traits).any(says_another) && codebook.feature(own.feature).tags.is_none()
    };
    let is_common = |own: &&Trait| {
        kinds.iter().all(|kind| kind.traits.contains(own))
            || !others(own) && own.codes.iter().all(|&code| has(profile, own.feature, code))
    };
    let mut common: Vec<Trait> = kinds.iter().flat_map(|kind| &kind.traits).filter(is_common).cloned().collect();
    common.sort_by(|a, b| (a.feature, &a.codes).cmp(&(b.feature, &b.codes)));
    common.dedup();
    common
}

/// Whether nearly all customers of a group have an item, clearly more often than others.
fn has(profile: &[ProfileItem], feature: u16, code: u16) -> bool {
    profile.iter().any(|p| p.item == Item { feature, code } && is_nearly_all(p))
}

pub(super) fn is_nearly_all(p: &ProfileItem) -> bool {
    p.share >= NEARLY_ALL && p.index >= TELLING && p.z > 0.0 && p.is_sure()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::sample::{codebook, segment};

    #[test]
    fn items_of_a_feature_that_are_all_there_are_say_nothing() {
        let codebook = codebook(&[3, 2, 2]);
        let by_b = [0, 1].map(|code| segment(&[(0, 0), (1, code)]));
        let by_c = [0, 1].map(|code| segment(&[(0, 0), (2, code)]));
        let kinds = joined(&codebook, &[by_b, by_c].concat(), &[4, 3, 2, 1]);
        let traits: Vec<Vec<Trait>> = kinds.iter().map(|kind| kind.traits.clone()).collect();
        assert_eq!(traits, [vec![Trait::of(Item { feature: 0, code: 0 })]]);
        assert_eq!((kinds[0].uv, kinds[0].segments.len()), (10, 4));
    }
}
