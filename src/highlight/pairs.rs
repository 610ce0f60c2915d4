//! Which candidates have to be held against each other, customer by customer: few of all pairs, as the counted segments bound
//! what two of them can share.

use rayon::prelude::*;

use super::rule::Frequent;
use super::{Highlight, jaccard};
use crate::job::HighlightSpec;
use crate::score::impact_at_most;
use crate::segment::{Item, Segment};
use crate::stats::{MetricKind, Scale, Stats};

/// What bounds the customers that two segments share.
#[derive(Clone, Copy, Debug)]
pub struct Bounds<'a> {
    pub frequent: &'a Frequent<'a>,
    /// Segments of up to so many items were counted, and those with this many customers kept.
    pub max_level: usize,
    pub min_uv: i64,
    /// Features of which a customer has one item at the most.
    pub exclusive: &'a [bool],
}

/// The pairs of the first `n` ranked candidates, as positions `(i, j)` with `j < i`, whose common customers may decide
/// whether one is [`explained`](super::explained) by the other or folds under it; sorted.
///
/// Of every other pair it is certain that they share too few: they are of different directions; or have different items of one
/// feature; or some counted segment that contains their common customers is too small. So leaving them out changes nothing.
pub fn pairs(
    ranked: &[Highlight],
    n: usize,
    bounds: &Bounds,
    spec: &HighlightSpec,
    kind: MetricKind,
    scale: Scale,
) -> Vec<[u32; 2]> {
    let frequent = bounds.frequent;
    let own: Vec<&Stats> = ranked[..n].iter().map(|h| &frequent.discovery[frequent.position(h.segment)]).collect();
    let matter = |i: usize, j: usize| {
        let (a, b) = (&ranked[i], &ranked[j]);
        if a.direction != b.direction {
            return false;
        }
        let Some(both) = union(a.segment, b.segment, bounds.exclusive) else { return false };
        let weaker = if a.discovery.effect.abs() < b.discovery.effect.abs() { a } else { b };
        let (least_impact, uv) = (0.5 * weaker.discovery.impact.abs(), [a.measures.uv, b.measures.uv]);
        let matters = |shared, impact| jaccard(shared, uv[0], uv[1]) >= spec.max_overlap || impact >= least_impact;
        let at_most = |stats: &Stats, uv| impact_at_most(kind, scale, stats, &frequent.base_discovery, uv);
        let (mut shared, mut impact) = (uv[0].min(uv[1]), f64::INFINITY);
        bounds.each(&both, |counted| {
            match counted {
                Some(at) => {
                    shared = shared.min(frequent.whole[at].uv);
                    impact = impact.min(at_most(&frequent.discovery[at], shared));
                }
                // It was counted and found too rare.
                None => shared = shared.min(bounds.min_uv - 1),
            }
            impact = impact.min(at_most(own[i], shared)).min(at_most(own[j], shared));
            matters(shared, impact)
        })
    };
    (0..n as u32)
        .into_par_iter()
        .flat_map_iter(|i| (0..i).filter(move |&j| matter(i as usize, j as usize)).map(move |j| [i, j]))
        .collect()
}

/// The items of both, sorted; none where no customer can have them all.
fn union(a: Segment, b: Segment, exclusive: &[bool]) -> Option<Vec<Item>> {
    let mut items: Vec<Item> = a.items().chain(b.items()).collect();
    items.sort_unstable();
    items.dedup();
    let clash = |w: &[Item]| w[0].feature == w[1].feature && exclusive[usize::from(w[0].feature)];
    (!items.windows(2).any(clash)).then_some(items)
}

impl Bounds<'_> {
    /// Calls `each` with the position of every counted segment that contains all customers with these items, or with none if it
    /// is not frequent, until it says no; says whether it never did.
    fn each(&self, items: &[Item], mut each: impl FnMut(Option<usize>) -> bool) -> bool {
        let level = self.max_level.min(items.len());
        choices(items, level, &mut Vec::with_capacity(level), &mut |part| {
            each(self.frequent.segments.binary_search(&Segment::of_items(part)).ok())
        })
    }
}

/// Calls `each` with every choice of `k` of `items` until it says no; says whether it never did.
fn choices(items: &[Item], k: usize, chosen: &mut Vec<Item>, each: &mut impl FnMut(&[Item]) -> bool) -> bool {
    if k == 0 {
        return each(chosen);
    }
    for (i, &item) in items.iter().enumerate().take(items.len() + 1 - k) {
        chosen.push(item);
        let on = choices(&items[i + 1..], k - 1, chosen, each);
        chosen.pop();
        if !on {
            return false;
        }
    }
    true
}
