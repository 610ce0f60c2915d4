//! What a group is in short: the fewest of its segments that say nearly all of it.

use serde::{Deserialize, Serialize};

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

/// A rule that is this much worse than the best is as good, if it is shorter: in the harmonic mean of precision and recall.
pub(super) const AS_GOOD: f64 = 0.02;

/// The shortest rule among those of the first, the first two ... of these segments that is as good as the best of them, by the harmonic
/// mean of precision and recall (van Rijsbergen, 1979). `selected` has, of each segment, the customers it selects beside those before
/// it, and how many of these are in the group, which has `uv`.
pub fn short_rule(segments: &[Segment], selected: &[[i64; 2]], uv: i64) -> ShortRule {
    let share = |part: i64, of: i64| if of == 0 { 0.0 } else { part as f64 / of as f64 };
    let (mut all, mut own) = (0, 0);
    let rules: Vec<ShortRule> = (1..=segments.len())
        .zip(selected)
        .map(|(first, [more, of_group])| {
            (all, own) = (all + more, own + of_group);
            let segments = segments[..first].to_vec();
            ShortRule { segments, uv: all, precision: share(own, all), recall: share(own, uv) }
        })
        .collect();
    let good = |rule: &ShortRule| {
        let sum = rule.precision + rule.recall;
        if sum == 0.0 { 0.0 } else { 2.0 * rule.precision * rule.recall / sum }
    };
    let best = rules.iter().map(good).fold(0.0, f64::max);
    rules.into_iter().find(|rule| good(rule) >= best - AS_GOOD).unwrap_or_default()
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
}
