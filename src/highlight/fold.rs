//! Near-duplicates folded under the strongest of them.

use super::Highlight;

/// Candidates whose customers are compared for every highlight wanted. Twice as many leave room for every kept
/// highlight to fold one other; the table of overlaps grows with the square.
const POOL_FACTOR: usize = 2;

/// How many of the ranked candidates are compared with each other, when `top` highlights are wanted.
pub fn pool(top: usize) -> usize {
    POOL_FACTOR.saturating_mul(top)
}

/// What folding made of the ranked candidates. Every candidate is in exactly one of the three.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Folded {
    /// Ranked as before.
    pub highlights: Vec<Highlight>,
    /// Folded under one of the highlights, which lists them.
    pub folded: u64,
    /// Ranked after the last highlight kept, or outside the pool.
    pub beyond_top: u64,
}

/// Keeps the strongest of candidates with nearly the same customers, up to `top` of them.
///
/// In rank order, a candidate that overlaps at least `max_overlap` with a highlight of its direction is folded under the
/// first such; others are kept, until there are `top`. Only the first [`pool`] are looked at. `overlap(i, j)` is the
/// [`jaccard`] overlap of the customers of the candidates ranked i and j, `j < i`, from 0.
pub fn fold(ranked: Vec<Highlight>, overlap: impl Fn(usize, usize) -> f64, max_overlap: f64, top: usize) -> Folded {
    let mut result = Folded::default();
    let mut kept: Vec<usize> = Vec::new();
    let candidates = ranked.len();
    for (rank, candidate) in ranked.into_iter().enumerate() {
        if kept.len() == top || rank == pool(top) {
            result.beyond_top = (candidates - rank) as u64;
            break;
        }
        let twin = kept.iter().zip(&mut result.highlights).find(|(other, highlight)| {
            highlight.direction == candidate.direction && overlap(rank, **other) >= max_overlap
        });
        match twin {
            Some((_, highlight)) => {
                highlight.folds.push(candidate.segment);
                result.folded += 1;
            }
            None => {
                kept.push(rank);
                result.highlights.push(candidate);
            }
        }
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
    use crate::score::{Measures, Test};
    use crate::segment::{FeatureSet, Segment};

    fn candidate(number: u16, direction: Direction) -> Highlight {
        let measures = Measures {
            uv: 10,
            uv_share: 0.01,
            metric_sum: 5.0,
            metric_mean: 0.5,
            lift: Some(2.0),
            effect: 0.25,
            impact: 2.5,
            metric_share: Some(0.02),
        };
        let test = Test {
            log_p: -9.0,
            cautious_log_p: -9.0,
            effect_low: 0.1,
            effect_high: 0.4,
            lift_low: Some(1.4),
            lift_high: Some(2.6),
        };
        Highlight {
            segment: Segment::new(FeatureSet::new(&[0]), &[number]),
            direction,
            measures,
            discovery: measures,
            test,
            q: 0.001,
            shrunken_lift: Some(1.9),
            shrunken_effect: 0.2,
            validation: None,
            validation_log_p: None,
            validated: None,
            folds: Vec::new(),
        }
    }

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
        let result = fold(ranked, overlap, 0.8, 10);
        assert_eq!(numbers(result.highlights.iter().map(|h| h.segment)), [0, 2, 4]);
        assert_eq!(numbers(result.highlights[0].folds.clone()), [1, 3, 5]);
        assert_eq!((result.folded, result.beyond_top), (3, 0));
    }

    #[test]
    fn folding_stops_at_the_top_and_at_the_pool() {
        let ranked: Vec<Highlight> = (0..9).map(|i| candidate(i, Direction::Over)).collect();
        let apart = fold(ranked.clone(), |_, _| 0.0, 0.8, 3);
        assert_eq!((apart.highlights.len(), apart.folded, apart.beyond_top), (3, 0, 6));
        // All alike: one is kept, five of the pool of six fold, three are outside.
        let alike = |i, _| {
            assert!(i < pool(3), "outside the pool nothing is known");
            1.0
        };
        let one = fold(ranked.clone(), alike, 0.8, 3);
        assert_eq!((one.highlights.len(), one.folded, one.beyond_top), (1, 5, 3));
        let none = fold(ranked, |_, _| 1.0, 0.8, 0);
        assert_eq!((none.highlights.len(), none.folded, none.beyond_top), (0, 0, 9));
    }

    #[test]
    fn overlap_is_the_common_part_of_all_customers() {
        assert_eq!(jaccard(20, 30, 40), 0.4);
        assert_eq!(jaccard(30, 30, 30), 1.0);
        assert_eq!(jaccard(0, 0, 0), 0.0);
    }
}
