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
    /// Segments of up to so many items were counted, and those with this many customers kept if nothing else was asked of them.
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
                None if frequent.unlisted.is_none() => shared = shared.min(bounds.min_uv - 1),
                // Or it has too little impact, with however many customers.
                None => {}
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::highlight::tests::candidate as candidate_of;
    use crate::highlight::{Direction, Unlisted};
    use crate::score::{Spread, measures};

    const PLAIN: Scale = Scale { decimals: 0, den_decimals: 0 };

    fn stats(kind: MetricKind, value: i128) -> Stats {
        let value = if kind == MetricKind::Rate { value & 1 } else { value };
        Stats { uv: 1, sum: value, sq: value * value, ..Stats::default() }
    }

    /// A candidate as far as pairs look at it.
    fn candidate(segment: Segment, kind: MetricKind, whole: &Stats, own: &Stats, base: &Stats) -> Highlight {
        let discovery = measures(kind, PLAIN, own, base);
        let direction = if discovery.effect < 0.0 { Direction::Under } else { Direction::Over };
        let measures = measures(kind, PLAIN, whole, base);
        Highlight { segment, measures, discovery, ..candidate_of(0, direction) }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
        #[test]
        fn pairs_left_out_share_too_few_to_explain_or_to_fold(
            rows in proptest::collection::vec((proptest::collection::vec(0u16..3, 5), -9i128..9, any::<bool>()), 30..200),
            amount in any::<bool>(),
            max_level in 2usize..4,
            min_uv in 2i64..8,
            max_overlap in 0.1..0.9,
            all_listed in any::<bool>(),
        ) {
            let kind = if amount { MetricKind::Amount } else { MetricKind::Rate };
            let mut cells: BTreeMap<Segment, (Stats, Stats)> = BTreeMap::new();
            let sum = |chosen: &dyn Fn(&[u16]) -> bool, all: bool| -> Stats {
                let of = rows.iter().filter(|(codes, _, discovery)| chosen(codes) && (all || *discovery));
                of.map(|(_, value, _)| stats(kind, *value)).sum()
            };
            for (codes, value, discovery) in &rows {
                for mask in 1u32..1 << codes.len() {
                    let items: Vec<Item> = (0..codes.len() as u16).filter(|f| mask >> f & 1 == 1)
                        .map(|feature| Item { feature, code: codes[usize::from(feature)] }).collect();
                    if items.len() <= max_level {
                        let cell = cells.entry(Segment::of_items(&items)).or_default();
                        cell.0 = cell.0 + stats(kind, *value);
                        if *discovery {
                            cell.1 = cell.1 + stats(kind, *value);
                        }
                    }
                }
            }
            // What is not listed for another reason may have any number of customers.
            cells.retain(|_, (whole, _)| whole.uv >= min_uv && (all_listed || whole.uv % 3 > 0));
            let (segments, sums): (Vec<Segment>, Vec<(Stats, Stats)>) = cells.into_iter().unzip();
            let (whole, discovery): (Vec<Stats>, Vec<Stats>) = sums.into_iter().unzip();
            let (base_whole, base_discovery) = (sum(&|_| true, true), sum(&|_| true, false));
            let unlisted = (!all_listed).then(|| Unlisted { hypotheses: 1000, spread: [Spread::default(), Spread::default()] });
            let frequent =
                Frequent { segments: &segments, whole: &whole, discovery: &discovery, base_whole, base_discovery, unlisted: unlisted.as_ref() };
            let bounds = Bounds { frequent: &frequent, max_level, min_uv, exclusive: &[true; 5] };
            let spec = HighlightSpec { max_overlap, ..HighlightSpec::default() };
            let ranked: Vec<Highlight> = (0..segments.len())
                .map(|i| candidate(segments[i], kind, &whole[i], &discovery[i], &base_discovery))
                .collect();
            let n = ranked.len().min(60);
            let kept = pairs(&ranked, n, &bounds, &spec, kind, PLAIN);
            for i in 0..n {
                for j in (0..i).filter(|&j| kept.binary_search(&[i as u32, j as u32]).is_err()) {
                    let (a, b) = (&ranked[i], &ranked[j]);
                    let has = |codes: &[u16], s: Segment| s.items().all(|x| codes[usize::from(x.feature)] == x.code);
                    let both = |codes: &[u16]| has(codes, a.segment) && has(codes, b.segment);
                    let shared = sum(&both, true).uv;
                    let impact = measures(kind, PLAIN, &sum(&both, false), &base_discovery).impact.abs();
                    let effects = [a, b].map(|h| h.discovery.effect.abs());
                    // Of two with the same effect neither explains the other.
                    let weaker = [a, b].into_iter().zip(effects).filter(|(_, effect)| *effect < effects[0].max(effects[1]));
                    let explains = weaker.map(|(h, _)| h.discovery.impact.abs()).any(|i| shared > 0 && impact >= 0.5 * i);
                    let folds = jaccard(shared, a.measures.uv, b.measures.uv) >= max_overlap;
                    prop_assert!(a.direction != b.direction || !(explains || folds), "{:?} and {:?}", a.segment, b.segment);
                }
            }
        }
    }
}
