//! The list of highlights, so that those at its top are different niches: greedy by what is not covered yet.

use serde::{Deserialize, Serialize};

use super::{Direction, Highlight, Ranking};
use crate::stats::{DISCOVERY, PARTS, Parts, Stats};

/// Customers whom the same two or more candidates cover.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Multiple {
    /// Positions of the candidates, ascending.
    pub candidates: Vec<u16>,
    /// The primary metric over these customers.
    pub sums: Parts<Stats>,
}

/// What a highlight has that no better-ranked one of its direction has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Added {
    /// Position among the candidates.
    pub candidate: usize,
    /// Over the customers that are new.
    pub sums: Parts<Stats>,
}

/// Picks up to `top` of the candidates: again and again the one whose figure is largest, discounted by the share of its impact
/// that candidates of its direction picked before already cover ([`Ranking::discounted`]); of equal ones the first.
///
/// `own` are the candidates' sums, and `multiples` all customers that several of them cover. The greedy choice is that of maximum
/// coverage (Nemhauser, Wolsey and Fisher, 1978), with impact for the number covered.
pub fn diversify(
    candidates: &[Highlight],
    own: &[Parts<Stats>],
    multiples: &[Multiple],
    ranking: &Ranking,
    top: usize,
) -> Vec<Added> {
    let figure: Vec<f64> = own.iter().map(|sums| ranking.figure(&sums[DISCOVERY])).collect();
    let mut of_candidate: Vec<Vec<usize>> = vec![Vec::new(); candidates.len()];
    for (at, multiple) in multiples.iter().enumerate() {
        multiple.candidates.iter().for_each(|&c| of_candidate[usize::from(c)].push(at));
    }
    let mut left: Vec<Parts<Stats>> = own.to_vec();
    let mut worth = figure.clone();
    // By direction: who is covered by a low performer may still be new to a high one.
    let mut covered = [vec![false; multiples.len()], vec![false; multiples.len()]];
    let mut waiting: Vec<usize> = (0..candidates.len()).collect();
    let mut picked = Vec::new();
    while picked.len() < top {
        let better = |&a: &usize, &b: &usize| worth[a].total_cmp(&worth[b]).then(b.cmp(&a));
        let Some(best) = waiting.iter().copied().max_by(better) else { break };
        waiting.retain(|&c| c != best);
        picked.push(Added { candidate: best, sums: left[best] });
        let direction = candidates[best].direction;
        let mut changed = Vec::new();
        for &at in &of_candidate[best] {
            if std::mem::replace(&mut covered[usize::from(direction == Direction::Over)][at], true) {
                continue;
            }
            for other in multiples[at].candidates.iter().map(|&c| usize::from(c)) {
                if other != best && candidates[other].direction == direction {
                    (0..PARTS).for_each(|part| left[other][part] = left[other][part] - multiples[at].sums[part]);
                    changed.push(other);
                }
            }
        }
        changed.sort_unstable();
        changed.dedup();
        for c in changed {
            worth[c] = ranking.discounted(figure[c], &own[c][DISCOVERY], &left[c][DISCOVERY]);
        }
    }
    picked
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::highlight::tests::candidate;
    use crate::job::HighlightSpec;
    use crate::score::{Shrinkage, Spread, measures};
    use crate::stats::{MetricKind, Scale};

    const PLAIN: Scale = Scale { decimals: 0, den_decimals: 0 };

    /// A customer: the candidates that cover it, part, value.
    type Customer = (Vec<bool>, usize, i128);

    fn one(value: i128) -> Stats {
        Stats { uv: 1, sum: value, sq: value * value, ..Stats::default() }
    }

    fn sums<'a>(customers: impl Iterator<Item = &'a Customer>) -> Parts<Stats> {
        customers.fold(Parts::default(), |mut sums, (_, part, value)| {
            sums[*part] = sums[*part] + one(*value);
            sums
        })
    }

    proptest! {
        #[test]
        fn each_pick_has_the_most_that_is_new_by_definition(
            customers in prop::collection::vec((prop::collection::vec(any::<bool>(), 6), 0usize..2, -20i128..30), 1..80),
            directions in prop::collection::vec(any::<bool>(), 6),
            top in 0usize..8,
        ) {
            let directions: Vec<Direction> =
                directions.iter().map(|&over| if over { Direction::Over } else { Direction::Under }).collect();
            let candidates: Vec<Highlight> = (0u16..).zip(&directions).map(|(i, &d)| candidate(i, d)).collect();
            let base = sums(customers.iter())[DISCOVERY];
            let spec = HighlightSpec::default();
            let shrinkage = Shrinkage::of(MetricKind::Amount, PLAIN, &Spread::default(), &base);
            let ranking = Ranking::new(&spec, MetricKind::Amount, PLAIN, base, &shrinkage);
            let own: Vec<Parts<Stats>> = (0..6).map(|c| sums(customers.iter().filter(|x| x.0[c]))).collect();
            let mut of: BTreeMap<Vec<u16>, Parts<Stats>> = BTreeMap::new();
            for (covers, part, value) in &customers {
                let all: Vec<u16> = (0..6).filter(|&c| covers[usize::from(c)]).collect();
                if all.len() > 1 {
                    let sums = of.entry(all).or_default();
                    sums[*part] = sums[*part] + one(*value);
                }
            }
            let multiples: Vec<Multiple> = of.into_iter().map(|(candidates, sums)| Multiple { candidates, sums }).collect();
            let picked = diversify(&candidates, &own, &multiples, &ranking, top);
            prop_assert_eq!(picked.len(), top.min(6));
            let impact = |sums: &Parts<Stats>| measures(MetricKind::Amount, PLAIN, &sums[DISCOVERY], &base).impact;
            let mut before: Vec<usize> = Vec::new();
            for added in &picked {
                let fresh = |c: usize| {
                    let mut same = before.iter().filter(|&&b| directions[b] == directions[c]);
                    let covered: Vec<usize> = same.by_ref().copied().collect();
                    sums(customers.iter().filter(|x| x.0[c] && !covered.iter().any(|&b| x.0[b])))
                };
                let worth = |c: usize| {
                    let (all, new) = (impact(&own[c]), impact(&fresh(c)));
                    all.abs() * if all == 0.0 { 0.0 } else { (new / all).clamp(0.0, 1.0) }
                };
                prop_assert_eq!(fresh(added.candidate), added.sums);
                let best = worth(added.candidate);
                for c in (0..6).filter(|c| !before.contains(c)) {
                    prop_assert!(worth(c) <= best * (1.0 + 1e-12), "{c} has {} and {} {best}", worth(c), added.candidate);
                }
                before.push(added.candidate);
            }
        }
    }
}
