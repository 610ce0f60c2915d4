//! What a group is in short: as few of its segments as say nearly all that any of them do.

use serde::{Deserialize, Serialize};

use super::kinds::without_refinements;
use crate::segment::Segment;

/// Some of a group's segments, as a rule for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShortRule {
    /// Any of them selects a customer.
    pub segments: Vec<Segment>,
    /// Customers selected.
    pub uv: i64,
    /// Share of these who are assigned to the group; the others went to groups that are asked before.
    pub precision: f64,
    /// Share of the group's customers who are selected.
    pub recall: f64,
}

/// A rule of less precision does not tell a group apart: more than every fifth customer that it selects is not of the group.
pub const PRECISE: f64 = 0.8;

/// A rule that is this much worse than the best is as good, if it is shorter: in the harmonic mean of precision and recall.
pub(super) const AS_GOOD: f64 = 0.02;

/// Precision and recall in one figure, their harmonic mean (van Rijsbergen, 1979), of so many customers selected, of whom some are in the
/// group of `uv`.
pub(super) fn harmonic(selected: i64, own: i64, uv: i64) -> f64 {
    if own == 0 { 0.0 } else { 2.0 * own as f64 / (selected + uv) as f64 }
}

/// Places of a group's segments with the customers that they took, as a rule takes them: most customers first, and last those that say
/// more than another one and so add nobody.
pub fn in_order(segments: &[Segment], taken: &[i64]) -> Vec<usize> {
    let mut order: Vec<usize> = without_refinements(segments, taken).into_iter().map(|(at, _)| at).collect();
    let rest: Vec<usize> = (0..segments.len()).filter(|at| !order.contains(at)).collect();
    order.extend(rest);
    order
}

/// The shortest rule among those of the first, the first two ... of these segments that is as good as the best of them, by the
/// [`harmonic`] mean of precision and recall. `selected` has, of each segment, the customers it selects beside those before it, and how
/// many of these are in the group, which has `uv`.
pub fn short_rule(segments: &[Segment], selected: &[[i64; 2]], uv: i64) -> ShortRule {
    let share = |part: i64, of: i64| if of == 0 { 0.0 } else { part as f64 / of as f64 };
    let (mut all, mut own) = (0, 0);
    let rules: Vec<(f64, ShortRule)> = (1..=segments.len())
        .zip(selected)
        .map(|(first, [more, of_group])| {
            (all, own) = (all + more, own + of_group);
            let says_less = |at: usize| {
                segments[..first].iter().enumerate().any(|(other, segment)| {
                    other != at && segments[at].contains(*segment) && (*segment != segments[at] || other < at)
                })
            };
            let segments = (0..first).filter(|&at| !says_less(at)).map(|at| segments[at]).collect();
            (
                harmonic(all, own, uv),
                ShortRule { segments, uv: all, precision: share(own, all), recall: share(own, uv) },
            )
        })
        .collect();
    let best = rules.iter().map(|(good, _)| *good).fold(0.0, f64::max);
    rules.into_iter().find(|(good, _)| *good >= best - AS_GOOD).map(|(_, rule)| rule).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::Item;

    #[test]
    fn the_shortest_of_the_good_rules_is_told() {
        let segments: Vec<Segment> = (0..4).map(|feature| Segment::of_items(&[Item { feature, code: 0 }])).collect();
        // Of a group of 100: 60 of 70, 30 of 30, 2 of 2, and 1 of 60 whom stronger groups have.
        let rule = short_rule(&segments, &[[70, 60], [30, 30], [2, 2], [60, 1]], 100);
        assert_eq!((rule.segments.len(), rule.uv), (2, 100), "two more customers are not worth a third condition");
        assert_eq!((rule.precision, rule.recall), (0.9, 0.9));
        let alone = short_rule(&segments[..1], &[[50, 50]], 50);
        assert_eq!((alone.precision, alone.recall), (1.0, 1.0));
        assert_eq!(short_rule(&[], &[], 0), ShortRule::default());
    }

    #[test]
    fn what_says_more_than_another_segment_is_not_in_a_rule() {
        let of = |features: &[u16]| {
            Segment::of_items(&features.iter().map(|&feature| Item { feature, code: 0 }).collect::<Vec<_>>())
        };
        let segments = [of(&[0, 1, 2]), of(&[3]), of(&[0, 1]), of(&[0, 1, 4])];
        // The third took 40 and those of the first and the last 55 more.
        assert_eq!(in_order(&segments, &[50, 60, 40, 5]), [2, 1, 0, 3]);
        let rule = short_rule(&[segments[0], segments[2]], &[[50, 50], [45, 45]], 95);
        assert_eq!((rule.segments, rule.uv), (vec![segments[2]], 95));
    }
}
