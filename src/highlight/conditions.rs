//! The conditions of the rule, asked of one segment.

use serde::Serialize;

use super::rule::Frequent;
use super::{Condition, Direction, Scored};
use crate::job::HighlightSpec;
use crate::score::{Measures, Test, impact_reference, measures, test};
use crate::segment::Segment;
use crate::stats::{MetricKind, Scale};

/// The rule, for the segments of one base.
pub struct Rule<'a> {
    spec: &'a HighlightSpec,
    frequent: &'a Frequent<'a>,
    kind: MetricKind,
    scale: Scale,
    /// In the unit of impact.
    least_impact: f64,
}

/// One segment before the rule.
pub struct Case<'a> {
    rule: &'a Rule<'a>,
    scored: &'a Scored,
    /// Position among the frequent segments.
    at: usize,
    /// On the discovery part.
    pub found: Measures,
    pub direction: Direction,
}

/// What a condition found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Reading {
    pub condition: Condition,
    pub met: bool,
    /// What the segment has; none where there is nothing to compare.
    pub value: Option<f64>,
    /// What is asked for.
    pub limit: Option<f64>,
    /// The simpler segment that it is compared with, where there is one: the one it fails against, or else the hardest.
    #[serde(skip)]
    pub against: Option<Segment>,
    /// Of the gain: whether it is surely one.
    pub sure: Option<bool>,
}

impl<'a> Rule<'a> {
    pub fn new(spec: &'a HighlightSpec, frequent: &'a Frequent, kind: MetricKind, scale: Scale) -> Rule<'a> {
        let least_impact = spec.min_impact_share * impact_reference(kind, scale, &frequent.base_discovery);
        Rule { spec, frequent, kind, scale, least_impact }
    }

    /// The frequent segment in this place.
    pub fn case(&'a self, at: usize, scored: &'a Scored) -> Case<'a> {
        let found = self.on_discovery(at);
        let direction = if found.effect < 0.0 { Direction::Under } else { Direction::Over };
        Case { rule: self, scored, at, found, direction }
    }

    fn on_discovery(&self, at: usize) -> Measures {
        measures(self.kind, self.scale, &self.frequent.discovery[at], &self.frequent.base_discovery)
    }
}

impl Case<'_> {
    /// The conditions that are asked of a segment by itself, and what each found: all but the last of [`Condition::ALL`].
    pub fn readings(&self) -> impl Iterator<Item = Reading> {
        Condition::ALL.into_iter().filter(|condition| *condition != Condition::Top).map(|condition| self.ask(condition))
    }

    /// The first of them that the segment fails.
    pub fn failed(&self) -> Option<Condition> {
        self.readings().find(|reading| !reading.met).map(|reading| reading.condition)
    }

    /// What one of them finds.
    pub fn ask(&self, condition: Condition) -> Reading {
        let Case { rule: Rule { spec, frequent, .. }, found, scored, .. } = self;
        let plain = |met: bool, value: Option<f64>, limit: Option<f64>| Reading {
            condition,
            met,
            value,
            limit,
            against: None,
            sure: None,
        };
        let least = |value: f64, limit: f64| plain(value >= limit, Some(value), Some(limit));
        let most = |value: f64, limit: f64| plain(value <= limit, Some(value), Some(limit));
        match condition {
            Condition::UvShare => most(found.uv_share, spec.max_uv_share),
            Condition::Impact => least(found.impact.abs(), self.rule.least_impact),
            Condition::Testable => plain(scored.test.is_some() && scored.q.is_some(), None, None),
            Condition::Fdr => match scored.q.zip(scored.cautious_q) {
                Some((q, cautious)) => most(q.max(cautious), spec.fdr),
                None => plain(false, None, Some(spec.fdr)),
            },
            Condition::Bound => match scored.test {
                Some(test) => {
                    let (value, limit) = nearest_bound(&test, self.direction, spec.min_lift);
                    plain(bounded(&test, self.direction, spec.min_lift), Some(value), Some(limit))
                }
                None => plain(false, None, None),
            },
            Condition::NewCustomers => {
                let uv = |at: usize| frequent.whole[at].uv;
                // Dropping one item at a time suffices for the segments further up: each of them contains one of these.
                let Some(fewest) = self.parents().min_by_key(|&p| uv(p)) else { return plain(true, None, None) };
                let (own, limit) = (uv(self.at) as f64, uv(fewest) as f64);
                let against = Some(frequent.segments[fewest]);
                Reading { against, ..plain(own < limit, Some(own), Some(limit)) }
            }
            Condition::Gain => self.gain(),
            Condition::Top => unreachable!("it is asked of all candidates together"),
        }
    }

    fn parents(&self) -> impl Iterator<Item = usize> {
        self.rule.frequent.segments[self.at].parents().map(|p| self.rule.frequent.position(p))
    }

    /// Against a parent of its own direction the gain must be large, and surely one: among the many parts of a niche some do better
    /// than the whole by luck.
    fn gain(&self) -> Reading {
        let Rule { spec, frequent, kind, scale, .. } = *self.rule;
        let own = self.found.effect;
        let mut hardest = Reading {
            condition: Condition::Gain,
            met: true,
            value: Some(own.abs()),
            limit: None,
            against: None,
            sure: None,
        };
        for p in self.parents() {
            let parent = self.rule.on_discovery(p).effect;
            if parent * own <= 0.0 {
                continue;
            }
            let limit = spec.min_gain * parent.abs();
            let sure = || {
                let within = test(kind, scale, &frequent.discovery[self.at], &frequent.discovery[p]);
                within.is_some_and(|t| match self.direction {
                    Direction::Over => t.effect_low > 0.0,
                    Direction::Under => t.effect_high < 0.0,
                })
            };
            let large = own.abs() >= limit;
            let sure = large.then(sure);
            let met = large && sure == Some(true);
            if !met || hardest.limit.is_none_or(|hardest| limit > hardest) {
                hardest = Reading { met, limit: Some(limit), against: Some(frequent.segments[p]), sure, ..hardest };
            }
            if !met {
                break;
            }
        }
        hardest
    }
}

/// The bound of lift (without lift, of the effect) nearest to no influence, and what is asked of it.
fn nearest_bound(test: &Test, direction: Direction, min_lift: f64) -> (f64, f64) {
    match (direction, test.lift_low, test.lift_high) {
        (Direction::Over, Some(low), _) => (low, min_lift),
        (Direction::Under, _, Some(high)) => (high, min_lift.recip()),
        (Direction::Over, None, _) => (test.effect_low, 0.0),
        (Direction::Under, _, None) => (test.effect_high, 0.0),
    }
}

/// Whether the bound nearest to no influence is far enough on its side.
pub(super) fn bounded(test: &Test, direction: Direction, min_lift: f64) -> bool {
    let (bound, limit) = nearest_bound(test, direction, min_lift);
    let strict = test.lift_low.is_none();
    match direction {
        Direction::Over => bound > limit || (bound == limit && !strict),
        Direction::Under => bound < limit || (bound == limit && !strict),
    }
}
