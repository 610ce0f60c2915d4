//! Whether a segment that was found in an earlier run still is what it was found to be.

use super::Direction;
use super::rule::Frequent;
use crate::job::HighlightSpec;
use crate::score::{measures, test};
use crate::segment::Segment;
use crate::stats::{MetricKind, Scale};

/// A segment that was found before may cover this many times `max_uv_share`: who was just below the limit is not gone when just above.
const SLACK: f64 = 1.25;

/// Whether a segment of a direction still stands: it has enough customers, not many more than `max_uv_share` of them, a lift of
/// `min_lift` on the whole base (without lift, an effect of its sign), and the customers who are held out show the same direction with a
/// cautious p of at most `alpha`; where nobody is held out, all customers.
///
/// It need not be among the highlights: it is not sought among thousands, but known beforehand. So one test is made of it, which is
/// not adjusted for others, and nothing is asked of what simpler or better segments say.
pub fn stands(
    segment: Segment,
    direction: Direction,
    spec: &HighlightSpec,
    frequent: &Frequent,
    kind: MetricKind,
    scale: Scale,
) -> bool {
    let Ok(at) = frequent.segments.binary_search(&segment) else { return false };
    let (whole, base) = (frequent.whole[at], frequent.base_whole);
    let own = measures(kind, scale, &whole, &base);
    let on_side = |effect: f64| effect != 0.0 && (effect < 0.0) == (direction == Direction::Under);
    let far = match (direction, own.lift) {
        (Direction::Over, Some(lift)) => lift >= spec.min_lift,
        (Direction::Under, Some(lift)) => lift <= 1.0 / spec.min_lift,
        (_, None) => true,
    };
    let (part, of) = if spec.holdout > 0.0 {
        (whole - frequent.discovery[at], base - frequent.base_discovery)
    } else {
        (whole, base)
    };
    let holds = test(kind, scale, &part, &of).is_some_and(|t| t.cautious_log_p <= spec.alpha.ln());
    let held = measures(kind, scale, &part, &of).effect;
    own.uv_share <= SLACK * spec.max_uv_share && on_side(own.effect) && far && holds && on_side(held)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::{FeatureSet, Segment};
    use crate::stats::Stats;

    fn rate(uv: i64, yes: i128) -> Stats {
        Stats { uv, sum: yes, sq: yes, ..Stats::default() }
    }

    /// A segment of a base of 10,000 of whom 1,000 say yes, 3,000 and 300 of them held out.
    fn of(whole: Stats, discovery: Stats, direction: Direction, holdout: f64) -> bool {
        let segment = Segment::new(FeatureSet::new(&[0]), &[1]);
        let (segments, whole, discovery) = ([segment], [whole], [discovery]);
        let frequent = Frequent {
            segments: &segments,
            whole: &whole,
            discovery: &discovery,
            base_whole: rate(10_000, 1_000),
            base_discovery: rate(7_000, 700),
            unlisted: None,
        };
        let spec = HighlightSpec { holdout, min_lift: 1.5, max_uv_share: 0.04, ..HighlightSpec::default() };
        let other = Segment::new(FeatureSet::new(&[0]), &[2]);
        assert!(
            !stands(other, direction, &spec, &frequent, MetricKind::Rate, Scale::default()),
            "it has too few customers"
        );
        stands(segment, direction, &spec, &frequent, MetricKind::Rate, Scale::default())
    }

    #[test]
    fn a_segment_stands_while_all_customers_and_those_held_out_say_so() {
        assert!(of(rate(300, 90), rate(210, 63), Direction::Over, 0.3));
        assert!(!of(rate(300, 90), rate(210, 63), Direction::Under, 0.3), "it was on the other side");
        assert!(!of(rate(300, 44), rate(210, 20), Direction::Over, 0.3), "a lift of 1.47");
        assert!(!of(rate(300, 72), rate(210, 63), Direction::Over, 0.3), "9 of the 90 held out, as everybody");
        assert!(of(rate(300, 72), rate(210, 63), Direction::Over, 0.0));
        assert!(of(rate(300, 0), rate(210, 0), Direction::Under, 0.3));
        assert!(of(rate(500, 150), rate(350, 105), Direction::Over, 0.3), "5 % where 4 % are allowed");
        assert!(!of(rate(501, 150), rate(350, 105), Direction::Over, 0.3));
    }
}
