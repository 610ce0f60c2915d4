//! Candidates that say what a stronger one says, folded under it.

use super::Highlight;
use super::conditions::bounded;
use crate::score::{measures, test};
use crate::segment::Segment;
use crate::stats::{MetricKind, Scale, Stats};

/// Candidates whose customers are compared for every highlight wanted: room for each to fold three others. The table of
/// overlaps grows with the square.
const POOL_FACTOR: usize = 4;

/// How many of the ranked candidates are compared with each other, when `top` highlights are wanted.
pub fn pool(top: usize) -> usize {
    POOL_FACTOR.saturating_mul(top)
}

/// For each candidate, the stronger one whose customers its effect comes from, if there is one.
///
/// A segment that overlaps a niche stands out with it: `partner & female` does when `partner & tablet` is the niche. It is
/// explained when a candidate of its direction with a larger effect has at least half of its impact, and what is left of it
/// without those customers no longer meets [`Condition::Bound`](super::Condition::Bound). `own` are the candidates' sums and
/// `common(i, j)` those of the customers that two of them share, all on the discovery part; one candidate a sum of `own`.
pub fn explained(
    ranked: &[Highlight],
    own: &[Stats],
    common: impl Fn(usize, usize) -> Stats,
    base: &Stats,
    min_lift: f64,
    kind: MetricKind,
    scale: Scale,
) -> Vec<Option<usize>> {
    let effect = |i: usize| ranked[i].discovery.effect.abs();
    let mut strongest_first: Vec<usize> = (0..own.len()).collect();
    strongest_first.sort_by(|&i, &j| effect(j).total_cmp(&effect(i)).then(i.cmp(&j)));
    let mut by = vec![None; own.len()];
    let mut standing: Vec<usize> = Vec::new();
    for i in strongest_first {
        let explains = |j: usize| {
            let shared = common(i, j);
            let half = 0.5 * ranked[i].discovery.impact.abs();
            ranked[j].direction == ranked[i].direction
                && effect(j) > effect(i)
                && shared.uv > 0
                && measures(kind, scale, &shared, base).impact.abs() >= half
                && test(kind, scale, &(own[i] - shared), base)
                    .is_none_or(|left| !bounded(&left, ranked[i].direction, min_lift))
        };
        by[i] = standing.iter().copied().filter(|&j| explains(j)).min();
        if by[i].is_none() {
            standing.push(i);
        }
    }
    by
}

/// Keeps the candidates that say something of their own, each with those that are folded under it.
///
/// A candidate that is [`explained`] is folded under the one that explains it. In rank order, another that overlaps at least
/// `max_overlap` with a kept one of its direction is folded under the first such. Only the first [`pool`] are looked at, and have an
/// entry in `explained`; the others are left out. `overlap(i, j)` is the [`jaccard`] overlap of the customers of the candidates
/// ranked i and j, `j < i`, from 0.
pub fn fold(
    ranked: Vec<Highlight>,
    explained: &[Option<usize>],
    overlap: impl Fn(usize, usize) -> f64,
    max_overlap: f64,
) -> Vec<Highlight> {
    let mut result: Vec<Highlight> = Vec::new();
    // Of each candidate: the one it is folded under; and of the kept ones, in the order of the result.
    let mut under: Vec<Option<usize>> = explained.to_vec();
    let mut kept: Vec<usize> = Vec::new();
    let segments: Vec<Segment> = ranked.iter().map(|h| h.segment).collect();
    for (rank, candidate) in ranked.into_iter().enumerate().take(explained.len()) {
        if under[rank].is_some() {
            continue;
        }
        let twin = kept.iter().zip(&result).find(|(other, highlight)| {
            highlight.direction == candidate.direction && overlap(rank, **other) >= max_overlap
        });
        match twin {
            Some((&other, _)) => under[rank] = Some(other),
            None => {
                kept.push(rank);
                result.push(candidate);
            }
        }
    }
    for rank in 0..under.len() {
        let Some(mut root) = under[rank] else { continue };
        while let Some(next) = under[root] {
            root = next;
        }
        let at = kept.binary_search(&root).expect("what nothing is above was kept");
        result[at].folds.push(segments[rank]);
    }
    result
}

/// The share of the customers of two segments that both cover: `|a and b| / |a or b|` (Jaccard, 1901). 0 for nobody.
pub fn jaccard(intersection: i64, uv_a: i64, uv_b: i64) -> f64 {
    match uv_a + uv_b - intersection {
        0 => 0.0,
        union => intersection as f64 / union as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::highlight::Direction;
    use crate::highlight::tests::candidate;

    fn numbers(segments: impl IntoIterator<Item = Segment>) -> Vec<u16> {
        segments.into_iter().map(|s| s.code(0)).collect()
    }

    #[test]
    fn twins_fold_under_the_strongest_of_their_direction() {
        use Direction::{Over, Under};
        // 1 and 3 are twins of 0; 2 has the same customers but goes the other way; 4 is a twin of 1 alone, and 1 is gone;
        // 5 is a twin of both 0 and 4.
        let ranked: Vec<Highlight> =
            [Over, Over, Under, Over, Over, Over].iter().enumerate().map(|(i, &d)| candidate(i as u16, d)).collect();
        let twins = [(1, 0), (2, 0), (3, 0), (4, 1), (5, 0), (5, 4)];
        let overlap = |i, j| {
            assert!(j < i, "asked once a pair");
            if twins.contains(&(i, j)) { 0.8 } else { 0.79 }
        };
        let kept = fold(ranked, &[None; 6], overlap, 0.8);
        assert_eq!(numbers(kept.iter().map(|h| h.segment)), [0, 2, 4]);
        assert_eq!(numbers(kept[0].folds.clone()), [1, 3, 5]);
    }

    #[test]
    fn folding_stops_at_the_pool() {
        let ranked: Vec<Highlight> = (0..9).map(|i| candidate(i, Direction::Over)).collect();
        let apart = fold(ranked.clone(), &[None; 9], |_, _| 0.0, 0.8);
        assert_eq!(apart.len(), 9);
        // All alike: one is kept, five of the pool of six fold, three are outside.
        let alike = |i, _| {
            assert!(i < 6, "outside the pool nothing is known");
            1.0
        };
        let one = fold(ranked.clone(), &[None; 6], alike, 0.8);
        assert_eq!((one.len(), one[0].folds.len()), (1, 5));
        assert!(fold(ranked, &[], |_, _| 1.0, 0.8).is_empty());
    }

    #[test]
    fn a_segment_that_stands_out_by_a_niche_it_meets_is_explained_by_it() {
        // Base: 1,000 of 10,000 yes. The niche: 200 customers, 100 yes. Its shadow: 600 customers, of whom the niche's 200,
        // and the other 400 have 42 yes. A neighbour of 400 shares 100 of the niche with 50 yes, and has 100 yes elsewhere.
        let base = Stats { uv: 10_000, sum: 1_000, sq: 1_000, ..Stats::default() };
        let stats = |uv, sum| Stats { uv, sum, sq: sum, ..Stats::default() };
        let own = [stats(600, 142), stats(200, 100), stats(400, 150)];
        let ranked: Vec<Highlight> = (0..)
            .zip(&own)
            .map(|(number, own)| {
                let discovery = measures(MetricKind::Rate, Scale::default(), own, &base);
                Highlight { discovery, ..candidate(number, Direction::Over) }
            })
            .collect();
        let common = |i: usize, j: usize| match (i.min(j), i.max(j)) {
            (0, 1) => stats(200, 100),
            (1, 2) => stats(100, 50),
            _ => Stats::default(),
        };
        let by = explained(&ranked, &own, common, &base, 1.1, MetricKind::Rate, Scale::default());
        assert_eq!(by, [Some(1), None, None]);
        let kept = fold(ranked, &by, |_, _| 0.0, 0.8);
        assert_eq!(numbers(kept.iter().map(|h| h.segment)), [1, 2]);
        assert_eq!(numbers(kept[0].folds.clone()), [0]);
    }

    #[test]
    fn overlap_is_the_common_part_of_all_customers() {
        assert_eq!(jaccard(20, 30, 40), 0.4);
        assert_eq!(jaccard(30, 30, 30), 1.0);
        assert_eq!(jaccard(0, 0, 0), 0.0);
    }
}
