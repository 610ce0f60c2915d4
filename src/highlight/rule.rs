//! The rule: every frequent segment scored, and each that fails a condition counted under the first it fails.

use rayon::prelude::*;

use super::conditions::Rule;
use super::{Condition, Funnel, Highlight, Ranking, Scored, Status};
use crate::job::{Adjust, HighlightSpec};
use crate::score::{Shrinkage, Spread, Test, benjamini_hochberg, benjamini_yekutieli, measures, test};
use crate::segment::Segment;
use crate::stats::{MetricKind, Scale, Stats};

/// The frequent segments with their sums. With nothing held out, discovery is the whole.
#[derive(Clone, Copy, Debug)]
pub struct Frequent<'a> {
    /// In ascending order, without the base; with a segment come all segments that say less.
    pub segments: &'a [Segment],
    /// Sums of each segment over all its customers.
    pub whole: &'a [Stats],
    /// Sums of each segment over its customers in the discovery part.
    pub discovery: &'a [Stats],
    pub base_whole: Stats,
    pub base_discovery: Stats,
    /// Where not all frequent ones are listed but those that may be highlights.
    pub unlisted: Option<&'a Unlisted>,
}

/// What is known of segments that are not listed, so that those which are look no better for it.
#[derive(Clone, Debug)]
pub struct Unlisted {
    /// How many segments there could be, listed ones too: the hypotheses that the false discovery rate is taken over.
    pub hypotheses: u64,
    /// How far effects are spread among all that were counted: on the whole base, and on the discovery part.
    pub spread: [Spread; 2],
}

impl Frequent<'_> {
    pub(super) fn position(&self, segment: Segment) -> usize {
        self.segments.binary_search(&segment).expect("a segment is listed if a longer one that contains it is")
    }
}

impl Frequent<'_> {
    /// How far true effects are spread on the whole base: for figures that are told.
    pub fn shrinkage(&self, kind: MetricKind, scale: Scale) -> Shrinkage {
        let known = self.unlisted.map(|all| &all.spread[0]);
        fitted(kind, scale, self.whole, &self.base_whole, known)
    }

    /// The same on the discovery part: for what decides.
    pub fn discovery_shrinkage(&self, kind: MetricKind, scale: Scale) -> Shrinkage {
        let known = self.unlisted.map(|all| &all.spread[1]);
        fitted(kind, scale, self.discovery, &self.base_discovery, known)
    }
}

fn fitted(kind: MetricKind, scale: Scale, segments: &[Stats], base: &Stats, known: Option<&Spread>) -> Shrinkage {
    let listed = || {
        let of = |segments: &[Stats]| {
            let mut spread = Spread::default();
            segments.iter().for_each(|segment| spread.add(kind, scale, segment, base));
            spread
        };
        segments.par_chunks(1 << 12).map(of).reduce(Spread::default, |a, b| a.plus(&b))
    };
    Shrinkage::of(kind, scale, &known.cloned().unwrap_or_else(listed), base)
}

/// Every frequent segment with its measures on the whole base, and its test and q-value on the discovery part.
///
/// q is adjusted over all segments that can be tested, whatever the rule makes of them later; where not all are listed, as if
/// the others had been tested too and none of them rejected.
pub fn score(frequent: &Frequent, kind: MetricKind, scale: Scale, adjust: Adjust) -> Vec<Scored> {
    assert_eq!(frequent.segments.len(), frequent.whole.len(), "one sum a segment");
    assert_eq!(frequent.segments.len(), frequent.discovery.len(), "one sum a segment");
    let mut scored: Vec<Scored> = (0..frequent.segments.len())
        .into_par_iter()
        .map(|i| Scored {
            segment: frequent.segments[i],
            measures: measures(kind, scale, &frequent.whole[i], &frequent.base_whole),
            test: test(kind, scale, &frequent.discovery[i], &frequent.base_discovery),
            q: None,
            cautious_q: None,
            status: Status::Rejected(Condition::Testable),
        })
        .collect();
    let q = adjusted(frequent, &scored, adjust, |t| t.log_p);
    let cautious_q = match kind {
        // Its p is exact, and no more cautious one is needed.
        MetricKind::Rate => q.clone(),
        MetricKind::Amount | MetricKind::Ratio => adjusted(frequent, &scored, adjust, |t| t.cautious_log_p),
    };
    for (scored, (q, cautious_q)) in scored.iter_mut().zip(q.into_iter().zip(cautious_q)) {
        (scored.q, scored.cautious_q) = (q, cautious_q);
    }
    scored
}

/// q-values as a job asks for them, see [`benjamini_hochberg`].
pub fn q_values(adjust: Adjust, log_p: &[f64], hypotheses: u64) -> Vec<f64> {
    match adjust {
        Adjust::BenjaminiHochberg => benjamini_hochberg(log_p, hypotheses),
        Adjust::BenjaminiYekutieli => benjamini_yekutieli(log_p, hypotheses),
    }
}

/// q-values over the segments that could be tested, none for the others.
fn adjusted(frequent: &Frequent, scored: &[Scored], adjust: Adjust, log_p: impl Fn(&Test) -> f64) -> Vec<Option<f64>> {
    let tested: Vec<f64> = scored.iter().filter_map(|s| s.test.as_ref().map(&log_p)).collect();
    let hypotheses = frequent.unlisted.map_or(tested.len() as u64, |all| all.hypotheses);
    let mut q = q_values(adjust, &tested, hypotheses).into_iter();
    scored.iter().map(|s| s.test.as_ref().and_then(|_| q.next())).collect()
}

/// The segments that meet every condition up to [`Condition::Gain`], ranked, and the funnel so far; the others get the first
/// condition they fail as their status.
///
/// Ranked by the figure that the job asks for ([`Ranking`]), then the fewest customers, then segment. What remains is to fold
/// near-duplicates ([`fold`](super::fold())), to pick different ones ([`Diversity`](super::Diversity)) and to
/// [`validate`](super::validate()).
pub fn rule(
    spec: &HighlightSpec,
    frequent: &Frequent,
    scored: &mut [Scored],
    kind: MetricKind,
    scale: Scale,
    shrinkage: &Shrinkage,
) -> (Vec<Highlight>, Funnel) {
    assert_eq!(frequent.segments.len(), scored.len(), "every frequent segment is scored");
    let tested = scored.iter().filter(|s| s.test.is_some()).count() as u64;
    let mut funnel = Funnel {
        segments: scored.len() as u64,
        tested: frequent.unlisted.map_or(tested, |all| all.hypotheses.max(tested)),
        rejected: Condition::ALL.map(|c| (c, 0)).to_vec(),
        ..Funnel::default()
    };
    let rule = Rule::new(spec, frequent, kind, scale);
    let ranking = Ranking::new(spec, frequent, kind, scale);
    let failed: Vec<Option<Condition>> =
        (0..scored.len()).into_par_iter().map(|i| rule.case(i, &scored[i]).failed()).collect();
    let mut ranked = Vec::new();
    for (i, failed) in failed.into_iter().enumerate() {
        if let Some(condition) = failed {
            scored[i].status = Status::Rejected(condition);
            funnel.reject(condition, 1);
            continue;
        }
        let (case, scored) = (rule.case(i, &scored[i]), &scored[i]);
        let (Some(test), Some(q)) = (scored.test, scored.q) else { unreachable!("it was asked for a test") };
        let whole = &frequent.whole[i];
        ranked.push((
            ranking.figure(&frequent.discovery[i]),
            Highlight {
                segment: scored.segment,
                direction: case.direction,
                measures: scored.measures,
                discovery: case.found,
                test,
                q,
                shrunken_lift: shrinkage.shrunken_lift(whole),
                shrunken_effect: shrinkage.shrunken_effect(whole),
                expected_profit: spec
                    .value_per_unit
                    .map(|value| shrinkage.expected_profit(whole, value, spec.cost_per_customer)),
                added: scored.measures,
                secondary: Vec::new(),
                validation: None,
                validation_log_p: None,
                validated: None,
                folds: Vec::new(),
            },
        ));
    }
    ranked.sort_by(|(a, x), (b, y)| {
        b.total_cmp(a).then(x.discovery.uv.cmp(&y.discovery.uv)).then(x.segment.cmp(&y.segment))
    });
    (ranked.into_iter().map(|(_, highlight)| highlight).collect(), funnel)
}

/// Gives the segments that met the rule their status: highlight, folded under one, or beyond the top. `scored` is sorted by segment.
pub fn mark(scored: &mut [Scored], candidates: &[Segment], highlights: &[Highlight]) {
    let mut set = |segment: &Segment, status| {
        let at =
            scored.binary_search_by_key(segment, |s| s.segment).expect("a candidate is one of the scored segments");
        scored[at].status = status;
    };
    candidates.iter().for_each(|candidate| set(candidate, Status::Rejected(Condition::Top)));
    for highlight in highlights {
        set(&highlight.segment, Status::Highlight);
        highlight.folds.iter().for_each(|folded| set(folded, Status::Folded));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::highlight::conditions::bounded;
    use crate::highlight::{Direction, validate};
    use crate::job::RankBy;
    use crate::segment::Item;

    const BH: Adjust = Adjust::BenjaminiHochberg;
    const PLAIN: Scale = Scale { decimals: 0, den_decimals: 0 };

    fn ruled(
        spec: &HighlightSpec,
        frequent: &Frequent,
        scored: &mut [Scored],
        kind: MetricKind,
    ) -> (Vec<Highlight>, Funnel) {
        rule(spec, frequent, scored, kind, PLAIN, &frequent.shrinkage(kind, PLAIN))
    }

    fn rate(uv: i64, sum: i128) -> Stats {
        Stats { uv, sum, sq: sum, ..Stats::default() }
    }

    fn segment(items: &[(u16, u16)]) -> Segment {
        Segment::of_items(&items.iter().map(|&(feature, code)| Item { feature, code }).collect::<Vec<_>>())
    }

    struct Table {
        segments: Vec<Segment>,
        whole: Vec<Stats>,
        discovery: Vec<Stats>,
        base_whole: Stats,
        base_discovery: Stats,
    }

    impl Table {
        /// Segments with (uv, yes) in discovery and in validation.
        fn new(base: [Stats; 2], mut rows: Vec<(Segment, Stats, Stats)>) -> Self {
            rows.sort_by_key(|r| r.0);
            Table {
                segments: rows.iter().map(|r| r.0).collect(),
                whole: rows.iter().map(|r| r.1 + r.2).collect(),
                discovery: rows.iter().map(|r| r.1).collect(),
                base_whole: base[0] + base[1],
                base_discovery: base[0],
            }
        }

        fn frequent(&self) -> Frequent<'_> {
            Frequent {
                segments: &self.segments,
                whole: &self.whole,
                discovery: &self.discovery,
                base_whole: self.base_whole,
                base_discovery: self.base_discovery,
                unlisted: None,
            }
        }
    }

    /// Base rate 10 % in both parts, 10,000 and 5,000 customers; one segment for each condition, and two highlights.
    fn niches() -> Table {
        let half = |uv, yes| rate(uv, yes);
        Table::new(
            [rate(10_000, 1000), rate(5000, 500)],
            vec![
                // 6 % of the base: too wide.
                (segment(&[(0, 0)]), half(600, 200), half(300, 100)),
                // Impact 102 - 100 = 2 of at least 5.
                (segment(&[(0, 1)]), half(400, 42), half(200, 20)),
                // Impact 12, but p is near 0.05.
                (segment(&[(0, 2)]), half(400, 52), half(200, 60)),
                // Significant, but the lower bound of its lift stays under 1.5 (the setting below).
                (segment(&[(1, 0)]), half(490, 80), half(200, 40)),
                // A highlight: 40 %, impact 90, and one with none of 200: impact -20.
                (segment(&[(1, 1)]), half(300, 120), half(150, 60)),
                (segment(&[(1, 2)]), half(200, 0), half(100, 0)),
                // Exactly the customers of 1=1.
                (segment(&[(1, 1), (2, 0)]), half(300, 120), half(150, 60)),
                (segment(&[(2, 0)]), half(2000, 300), half(1000, 150)),
                // 42.1 % against 40 %: no gain.
                (segment(&[(1, 1), (2, 1)]), half(190, 80), half(95, 40)),
                (segment(&[(2, 1)]), half(3000, 310), half(1500, 155)),
                // 60 % against 40 % and 7.5 %: a highlight with a gain over both.
                (segment(&[(1, 1), (3, 0)]), half(100, 60), half(50, 30)),
                (segment(&[(3, 0)]), half(4000, 300), half(2000, 150)),
            ],
        )
    }

    fn spec() -> HighlightSpec {
        HighlightSpec { min_impact_share: 0.005, min_lift: 1.5, ..HighlightSpec::default() }
    }

    #[test]
    fn each_rejected_segment_counts_under_the_first_condition_it_fails() {
        let table = niches();
        let mut scored = score(&table.frequent(), MetricKind::Rate, PLAIN, BH);
        let (ranked, funnel) = ruled(&spec(), &table.frequent(), &mut scored, MetricKind::Rate);
        let found: Vec<(Segment, Direction)> = ranked.iter().map(|h| (h.segment, h.direction)).collect();
        assert_eq!(
            found,
            [
                (segment(&[(1, 1)]), Direction::Over),
                (segment(&[(1, 1), (3, 0)]), Direction::Over),
                (segment(&[(1, 2)]), Direction::Under)
            ],
            "{funnel:?}"
        );
        assert_eq!((funnel.segments, funnel.tested), (12, 12));
        assert_eq!(
            funnel.rejected,
            [
                (Condition::UvShare, 4),
                (Condition::Impact, 1),
                (Condition::Testable, 0),
                (Condition::Fdr, 1),
                (Condition::Bound, 1),
                (Condition::NewCustomers, 1),
                (Condition::Gain, 1),
                (Condition::Top, 0),
            ]
        );
        let first = &ranked[0];
        assert_eq!((first.discovery.impact, first.measures.impact, first.measures.uv), (90.0, 135.0, 450));
        assert!(first.shrunken_lift.is_some_and(|l| l > 3.0 && l < 4.0), "{first:?}");
    }

    #[test]
    fn what_the_validation_part_shows_does_not_select() {
        // The validation figures of every segment become those of noise: the same highlights in the same order.
        let mut table = niches();
        let rank = |table: &Table| {
            [RankBy::Impact, RankBy::Lift, RankBy::ImpactPerCustomer, RankBy::Profit].map(|rank_by| {
                let spec = HighlightSpec { rank_by, value_per_unit: Some(1.0), ..spec() };
                let mut scored = score(&table.frequent(), MetricKind::Rate, PLAIN, BH);
                let (ranked, funnel) = ruled(&spec, &table.frequent(), &mut scored, MetricKind::Rate);
                // The figures too, as the order of three may stay by luck.
                let (frequent, at) = (table.frequent(), |h: &Highlight| table.frequent().position(h.segment));
                let ranking = Ranking::new(&spec, &frequent, MetricKind::Rate, PLAIN);
                let figures: Vec<f64> = ranked.iter().map(|h| ranking.figure(&table.discovery[at(h)])).collect();
                let ranked = ranked.into_iter().map(|h| (h.segment, h.discovery, h.test, h.q)).collect::<Vec<_>>();
                (ranked, figures, funnel)
            })
        };
        let before = rank(&table);
        for (whole, discovery) in table.whole.iter_mut().zip(&table.discovery) {
            let yes = i128::from((whole.uv - discovery.uv) / 10);
            (whole.sum, whole.sq) = (discovery.sum + yes, discovery.sum + yes);
        }
        assert_eq!(rank(&table), before);
    }

    #[test]
    fn validation_asks_for_the_same_direction_and_an_adjusted_p() {
        let mut table = niches();
        let at = table.frequent().position(segment(&[(1, 1), (3, 0)]));
        // 60 % in discovery, none of 50 in validation: strong, but on the other side.
        table.whole[at] = table.discovery[at] + rate(50, 0);
        let at = table.frequent().position(segment(&[(1, 2)]));
        table.whole[at] = table.discovery[at] + rate(0, 0);
        let frequent = table.frequent();
        let mut scored = score(&frequent, MetricKind::Rate, PLAIN, BH);
        let (mut ranked, mut funnel) = ruled(&spec(), &frequent, &mut scored, MetricKind::Rate);
        validate(&mut ranked, &mut funnel, &spec(), &frequent, MetricKind::Rate, PLAIN);
        assert_eq!(ranked.iter().map(|h| h.validated).collect::<Vec<_>>(), [Some(true), Some(false), Some(false)]);
        assert_eq!(ranked[0].validation.map(|v| (v.uv, v.lift)), Some((150, Some(4.0))));
        assert_eq!((ranked[2].validation, ranked[2].validation_log_p), (None, None));
        assert_eq!(funnel.validated, Some(1));
    }

    #[test]
    fn holding_alpha_counts_every_highlight_asked() {
        // 26 of 150 against 10 %: p near 0.006 alone. Among one it holds, among 12 it does not.
        let mut table = niches();
        let at = table.frequent().position(segment(&[(1, 1)]));
        table.whole[at] = table.discovery[at] + rate(150, 26);
        let frequent = table.frequent();
        let mut scored = score(&frequent, MetricKind::Rate, PLAIN, BH);
        let (ranked, _) = ruled(&spec(), &frequent, &mut scored, MetricKind::Rate);
        for (asked, holds) in [(1, true), (12, false)] {
            let mut highlights = vec![ranked[0].clone(); asked];
            // The others show nothing: nobody of them was held out.
            highlights[1..].iter_mut().for_each(|h| h.segment = segment(&[(0, 1)]));
            validate(&mut highlights, &mut Funnel::default(), &spec(), &frequent, MetricKind::Rate, PLAIN);
            assert_eq!(highlights[0].validated, Some(holds), "{asked}: {:?}", highlights[0].validation_log_p);
        }
    }

    #[test]
    fn nothing_held_out_validates_nothing() {
        let table = niches();
        let frequent = Frequent { whole: &table.discovery, base_whole: table.base_discovery, ..table.frequent() };
        let mut scored = score(&frequent, MetricKind::Rate, PLAIN, BH);
        let spec = HighlightSpec { holdout: 0.0, ..spec() };
        let (mut ranked, mut funnel) = ruled(&spec, &frequent, &mut scored, MetricKind::Rate);
        validate(&mut ranked, &mut funnel, &spec, &frequent, MetricKind::Rate, PLAIN);
        assert!(!ranked.is_empty() && ranked.iter().all(|h| h.validated.is_none() && h.validation.is_none()));
        assert_eq!(funnel.validated, None);
    }

    #[test]
    fn a_metric_without_lift_is_judged_by_the_side_of_its_effect() {
        let interval = |low, high| Test {
            log_p: -9.0,
            cautious_log_p: -9.0,
            effect_low: low,
            effect_high: high,
            lift_low: None,
            lift_high: None,
        };
        assert!(
            bounded(&interval(0.1, 2.0), Direction::Over, 9.0) && !bounded(&interval(-0.1, 2.0), Direction::Over, 9.0)
        );
        assert!(bounded(&interval(-2.0, -0.1), Direction::Under, 9.0));
        assert!(!bounded(&interval(-2.0, 0.0), Direction::Under, 9.0));
    }

    #[test]
    fn under_performers_need_the_inverse_of_the_least_lift() {
        let lift = |low, high| Test {
            log_p: -9.0,
            cautious_log_p: -9.0,
            effect_low: -1.0,
            effect_high: -0.5,
            lift_low: Some(low),
            lift_high: Some(high),
        };
        assert!(bounded(&lift(0.1, 0.5), Direction::Under, 2.0) && !bounded(&lift(0.1, 0.51), Direction::Under, 2.0));
    }

    #[test]
    fn a_parent_of_the_other_direction_does_not_stand_in_the_way() {
        // 2=0 loses (2 %, effect -0.08), its part 1=0 & 2=0 wins as strongly (18 %, effect +0.08), not 1.1 times so.
        let table = Table::new(
            [rate(10_000, 1000), rate(0, 0)],
            vec![
                (segment(&[(1, 0)]), rate(700, 60), rate(0, 0)),
                (segment(&[(2, 0)]), rate(3000, 60), rate(0, 0)),
                (segment(&[(1, 0), (2, 0)]), rate(300, 54), rate(0, 0)),
            ],
        );
        let spec = HighlightSpec { min_lift: 1.1, holdout: 0.0, ..spec() };
        let mut scored = score(&table.frequent(), MetricKind::Rate, PLAIN, BH);
        let (ranked, _) = ruled(&spec, &table.frequent(), &mut scored, MetricKind::Rate);
        assert_eq!(ranked.iter().map(|h| h.segment).collect::<Vec<_>>(), [segment(&[(1, 0), (2, 0)])]);
    }

    #[test]
    fn q_is_taken_over_the_tested_segments_only_and_marks_follow_the_highlights() {
        let mut table = niches();
        table.discovery[0] = Stats::default();
        let frequent = table.frequent();
        let mut scored = score(&frequent, MetricKind::Rate, PLAIN, BH);
        assert_eq!((scored[0].test, scored[0].q), (None, None));
        let log_p: Vec<f64> = scored[1..].iter().map(|s| s.test.expect("the others vary").log_p).collect();
        let q: Vec<f64> = scored[1..].iter().map(|s| s.q.expect("as tested")).collect();
        assert_eq!(q, benjamini_hochberg(&log_p, 0));
        let (ranked, funnel) = ruled(&spec(), &frequent, &mut scored, MetricKind::Rate);
        assert_eq!(funnel.tested, 11);
        let candidates: Vec<Segment> = ranked.iter().map(|h| h.segment).collect();
        let mut kept = vec![ranked[1].clone()];
        kept[0].folds = vec![candidates[2]];
        mark(&mut scored, &candidates, &kept);
        let status = |segment: Segment| scored.iter().find(|s| s.segment == segment).map(|s| s.status.name());
        assert_eq!([0, 1, 2].map(|i| status(candidates[i])), [Some("top"), Some("highlight"), Some("folded")]);
        assert_eq!(status(segment(&[(1, 1), (2, 0)])), Some("new_customers"));
        assert_eq!(scored.iter().filter(|s| s.status == Status::Rejected(Condition::UvShare)).count(), 3);
    }

    /// A skewed amount, nine customers of ten without any, dealt out by chance: segment i has 100 customers in
    /// discovery and 50 in validation, the last has ten times the buyers.
    fn dealt_out(segments: u16) -> Table {
        let mut x = 1u64;
        let mut next = move || {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (x >> 33) as f64 / f64::from(1u32 << 31)
        };
        let mut part = |uv: i64, buyers: f64| -> Stats {
            let one = |amount: i128| Stats { uv: 1, sum: amount, sq: amount * amount, ..Stats::default() };
            // Pareto with exponent 2.2: a long tail.
            (0..uv)
                .map(|_| if next() < buyers { one((20.0 * next().max(1e-6).powf(-1.0 / 2.2)) as i128) } else { one(0) })
                .sum()
        };
        let rows: Vec<(Segment, Stats, Stats)> = (0..segments)
            .map(|i| {
                let buyers = if i + 1 == segments { 1.0 } else { 0.1 };
                (segment(&[(0, i)]), part(100, buyers), part(50, buyers))
            })
            .collect();
        let total = |of: fn(&(Segment, Stats, Stats)) -> Stats| rows.iter().map(of).sum::<Stats>();
        Table::new([total(|r| r.1), total(|r| r.2)], rows)
    }

    #[test]
    fn chance_in_a_skewed_amount_gives_no_highlight_and_a_niche_is_still_found() {
        let table = dealt_out(400);
        let frequent = table.frequent();
        // Nothing but certainty is asked for.
        let spec = HighlightSpec { min_impact_share: 0.0, min_lift: 1.0, ..HighlightSpec::default() };
        let mut scored = score(&frequent, MetricKind::Amount, PLAIN, BH);
        let by_chance = scored[..399].iter().filter(|s| s.q.is_some_and(|q| q <= spec.fdr)).count();
        assert!(by_chance > 10, "Welch alone takes chance for under-performers: {by_chance}");
        let (mut ranked, mut funnel) = ruled(&spec, &frequent, &mut scored, MetricKind::Amount);
        assert_eq!(ranked.iter().map(|h| h.segment).collect::<Vec<_>>(), [segment(&[(0, 399)])]);
        validate(&mut ranked, &mut funnel, &spec, &frequent, MetricKind::Amount, PLAIN);
        assert_eq!(ranked[0].validated, Some(true));
    }

    #[test]
    fn validation_is_cautious_with_a_skewed_amount() {
        // In validation 40 small buyers of 1: certain by Welch, not by the base's variance (see `score`).
        let amount = |uv, sum, sq| Stats { uv, sum, sq, ..Stats::default() };
        let table = Table::new(
            [amount(1000, 10_000, 1_000_000), amount(1000, 10_000, 1_000_000)],
            vec![(segment(&[(0, 0)]), amount(400, 0, 0), amount(40, 1, 1))],
        );
        let frequent = table.frequent();
        let spec = HighlightSpec { max_uv_share: 1.0, alpha: 1e-6, ..spec() };
        let mut scored = score(&frequent, MetricKind::Amount, PLAIN, BH);
        let (mut ranked, mut funnel) = ruled(&spec, &frequent, &mut scored, MetricKind::Amount);
        validate(&mut ranked, &mut funnel, &spec, &frequent, MetricKind::Amount, PLAIN);
        assert!(ranked[0].validation_log_p.is_some_and(|p| p < 1e-20f64.ln()));
        assert_eq!(ranked[0].validated, Some(false));
    }
}
