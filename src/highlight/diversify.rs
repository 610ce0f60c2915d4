//! The list of highlights, so that those at its top are different niches: greedy by what is not covered yet.

use super::{Direction, Highlight, Ranking};
use crate::stats::{DISCOVERY, PARTS, Parts, Stats};

/// Picks candidates again and again: the one whose figure is largest, discounted by the share of its impact that the candidates of
/// its direction picked before already cover ([`Ranking::discounted`]); of equal ones the first.
///
/// The greedy choice is that of maximum coverage (Nemhauser, Wolsey and Fisher, 1978), with impact for the number covered. Which
/// customers a pick newly covers, and what the others have of them, is counted between two picks by whoever holds the rows.
pub struct Diversity<'a> {
    ranking: &'a Ranking<'a>,
    /// Of each candidate.
    directions: Vec<Direction>,
    own: &'a [Parts<Stats>],
    figure: Vec<f64>,
    /// Over the customers that no pick of its direction covers.
    left: Vec<Parts<Stats>>,
    worth: Vec<f64>,
    waiting: Vec<usize>,
}

impl<'a> Diversity<'a> {
    /// Of candidates with these sums.
    pub fn new(candidates: &[Highlight], own: &'a [Parts<Stats>], ranking: &'a Ranking) -> Diversity<'a> {
        let figure: Vec<f64> = own.iter().map(|sums| ranking.figure(&sums[DISCOVERY])).collect();
        Diversity {
            ranking,
            directions: candidates.iter().map(|candidate| candidate.direction).collect(),
            own,
            left: own.to_vec(),
            worth: figure.clone(),
            figure,
            waiting: (0..candidates.len()).collect(),
        }
    }

    /// The next pick; none when all are picked.
    pub fn pick(&mut self) -> Option<usize> {
        let better = |&a: &usize, &b: &usize| self.worth[a].total_cmp(&self.worth[b]).then(b.cmp(&a));
        let best = self.waiting.iter().copied().max_by(better)?;
        self.waiting.retain(|&candidate| candidate != best);
        Some(best)
    }

    /// The candidates that are still to be picked and whose worth a pick may change: those of its direction.
    pub fn others(&self, pick: usize) -> Vec<usize> {
        self.waiting.iter().copied().filter(|&other| self.directions[other] == self.directions[pick]).collect()
    }

    /// Takes from some candidates what they have of the customers that a pick newly covers.
    pub fn cover(&mut self, others: &[usize], fresh: &[Parts<Stats>]) {
        for (&other, fresh) in others.iter().zip(fresh).filter(|(_, fresh)| fresh.iter().any(|part| part.uv > 0)) {
            (0..PARTS).for_each(|part| self.left[other][part] = self.left[other][part] - fresh[part]);
            let (own, left) = (&self.own[other][DISCOVERY], &self.left[other][DISCOVERY]);
            self.worth[other] = self.ranking.discounted(self.figure[other], own, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::highlight::Frequent;
    use crate::highlight::tests::candidate;
    use crate::job::HighlightSpec;
    use crate::score::measures;
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
        ) {
            let directions: Vec<Direction> =
                directions.iter().map(|&over| if over { Direction::Over } else { Direction::Under }).collect();
            let candidates: Vec<Highlight> = (0u16..).zip(&directions).map(|(i, &d)| candidate(i, d)).collect();
            let base = sums(customers.iter())[DISCOVERY];
            let spec = HighlightSpec::default();
            let (base_whole, base_discovery) = (base, base);
            let none = Frequent { segments: &[], whole: &[], discovery: &[], base_whole, base_discovery, unlisted: None };
            let ranking = Ranking::new(&spec, &none, MetricKind::Amount, PLAIN);
            let own: Vec<Parts<Stats>> = (0..6).map(|c| sums(customers.iter().filter(|x| x.0[c]))).collect();
            let mut diversity = Diversity::new(&candidates, &own, &ranking);
            let (mut picked, mut covered) = (Vec::new(), [vec![false; customers.len()], vec![false; customers.len()]]);
            while let Some(pick) = diversity.pick() {
                picked.push((pick, diversity.left[pick]));
                let covered = &mut covered[usize::from(directions[pick] == Direction::Over)];
                let fresh: Vec<&Customer> = customers.iter().zip(covered)
                    .filter_map(|(x, covered)| (x.0[pick] && !std::mem::replace(covered, true)).then_some(x)).collect();
                let others = diversity.others(pick);
                let of: Vec<Parts<Stats>> =
                    others.iter().map(|&c| sums(fresh.iter().copied().filter(|x| x.0[c]))).collect();
                diversity.cover(&others, &of);
            }
            prop_assert_eq!(picked.len(), 6);
            let impact = |sums: &Parts<Stats>| measures(MetricKind::Amount, PLAIN, &sums[DISCOVERY], &base).impact;
            let mut before: Vec<usize> = Vec::new();
            for (pick, left) in picked {
                let fresh = |c: usize| {
                    let mut same = before.iter().filter(|&&b| directions[b] == directions[c]);
                    let covered: Vec<usize> = same.by_ref().copied().collect();
                    sums(customers.iter().filter(|x| x.0[c] && !covered.iter().any(|&b| x.0[b])))
                };
                let worth = |c: usize| {
                    let (all, new) = (impact(&own[c]), impact(&fresh(c)));
                    all.abs() * if all == 0.0 { 0.0 } else { (new / all).clamp(0.0, 1.0) }
                };
                prop_assert_eq!(fresh(pick), left);
                let best = worth(pick);
                for c in (0..6).filter(|c| !before.contains(c)) {
                    prop_assert!(worth(c) <= best * (1.0 + 1e-12), "{c} has {} and {} {best}", worth(c), pick);
                }
                before.push(pick);
            }
        }
    }
}
