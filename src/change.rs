//! Which segments explain the change of the metric between two periods.

use rayon::prelude::*;

use crate::encode::Codebook;
use crate::enumerate::Answer;
use crate::highlight::q_values;
use crate::job::HighlightSpec;
use crate::score::{Change, change, change_reference, change_weights};
use crate::segment::{FeatureId, Item, ItemCode, Segment};
use crate::stats::{AFTER, BEFORE, MetricKind, Moments, Parts, Scale, Stats};

/// The frequent segments of two periods, and which of them explain the change.
#[derive(Clone, Debug)]
pub struct Changes {
    kind: MetricKind,
    scale: Scale,
    /// Fewer customers than this, but some, are not told, in either period.
    floor: i64,
    /// The sums of the primary metric over all customers of each period.
    pub base: Parts<Stats>,
    /// The base against itself: its contribution is the whole change.
    pub whole: Change,
    /// With enough customers in both periods together, sorted, without the base.
    pub segments: Vec<Segment>,
    own: Vec<Parts<Stats>>,
    pub changes: Vec<Change>,
    /// Of the change of a segment's mean, where it can be tested, and of its share; adjusted for all of these tests together.
    pub mean_q: Vec<Option<f64>>,
    pub share_q: Vec<f64>,
    /// The largest log p that is told: with as many tests as there are, one so small by chance is as rare as `highlight.alpha`
    /// (Bonferroni). A rate of false discoveries would not do: once something truly changed, thousands of segments that share
    /// customers with it are true discoveries, and let in those that do not.
    sure: f64,
    /// Segments that explain most, one after the other.
    pub steps: Vec<Step>,
    /// Customers of none of these.
    pub rest: Change,
    /// The whole change over the items of one feature at a time, the features first whose items explain most.
    pub features: Vec<FeatureChange>,
}

/// A segment that explains what is left to explain.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Place among the segments.
    pub place: usize,
    /// Of those of its customers that no step before has.
    pub own: Change,
    /// The same against the customers of no step before: what it was picked by.
    pub of_rest: Change,
}

/// The change over all customers, divided by one feature.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureChange {
    pub feature: FeatureId,
    /// Those that are told; perhaps none.
    pub items: Vec<(Item, Change)>,
    /// Customers of no item that is told; none if there are none.
    pub others: Option<Change>,
}

impl FeatureChange {
    /// All parts, which no customer is in two of.
    pub fn parts(&self) -> impl Iterator<Item = &Change> {
        self.items.iter().map(|(_, change)| change).chain(&self.others)
    }
}

/// Candidates for steps at the most: what each has of a pick's customers is counted for every pick.
const CANDIDATES: usize = 10_000;

impl Changes {
    /// Scores every segment. The parts of the answer are the periods.
    pub fn of(answer: &Answer, moments: &Moments, scale: Scale, rule: &HighlightSpec, floor: i64) -> Changes {
        let kind = moments.kinds()[0];
        let stats = |i: usize| [BEFORE, AFTER].map(|period| answer.stats(moments, 0, i, period));
        let base = stats(0);
        let own: Vec<Parts<Stats>> = (1..answer.segments.len()).into_par_iter().map(stats).collect();
        let changes: Vec<Change> = own.par_iter().map(|own| change(kind, scale, own, &base)).collect();
        let means: Vec<f64> = changes.iter().filter_map(|change| change.mean_log_p).collect();
        let shares: Vec<f64> = changes.iter().map(|change| change.share_log_p).collect();
        // One family: what is told rests on either.
        let tests = [&means[..], &shares].concat();
        let mut of_means = q_values(rule.adjust, &tests, tests.len() as u64);
        let share_q = of_means.split_off(means.len());
        let sure = rule.alpha.ln() - (tests.len().max(1) as f64).ln();
        let mut of_means = of_means.into_iter();
        let mean_q = changes.iter().map(|change| change.mean_log_p.and_then(|_| of_means.next())).collect();
        let whole = change(kind, scale, &base, &base);
        Changes {
            kind,
            scale,
            floor,
            base,
            whole,
            segments: answer.segments[1..].to_vec(),
            own,
            changes,
            mean_q,
            share_q,
            sure,
            steps: Vec::new(),
            rest: whole,
            features: Vec::new(),
        }
    }

    /// Whether these are so few customers of one of the periods that nothing may be told of them.
    fn few(&self, own: &Parts<Stats>) -> bool {
        own.iter().any(|own| (1..self.floor).contains(&own.uv))
    }

    /// Whether the segment in this place may be told: enough customers, or none, are in it and outside of it, in both periods; and no
    /// item that is hidden among the others of its feature.
    pub fn told(&self, place: usize) -> bool {
        let own = &self.own[place];
        let segment = self.segments[place];
        let hidden = segment.level() == 1 && segment.items().any(|item| self.hides(item));
        !hidden && !self.few(own) && !self.few(&less(&self.base, own))
    }

    /// Whether an item is hidden among the others of its feature, so that nothing follows from what is told of those.
    pub fn hides(&self, item: Item) -> bool {
        let of_feature = self.features.iter().find(|feature| feature.feature == item.feature);
        of_feature.is_some_and(|feature| feature.items.iter().all(|(told, _)| *told != item))
    }

    /// Features whose values follow from the period: of at least half of the customers of a period nobody in the other has theirs.
    /// Comparing these says nothing but that time has passed.
    pub fn periodical(&self) -> impl Iterator<Item = FeatureId> + '_ {
        let gone = |feature: &&FeatureChange| {
            [BEFORE, AFTER].iter().any(|&period| {
                let alone = feature
                    .items
                    .iter()
                    .filter(|(_, change)| change.uv[BEFORE] + change.uv[AFTER] == change.uv[period]);
                2 * alone.map(|(_, change)| change.uv[period]).sum::<i64>() >= self.base[period].uv
            })
        };
        self.features.iter().filter(gone).map(|feature| feature.feature)
    }

    /// The places of the segments that may become steps: what is certain of their excess, or of the change of their own mean, is at
    /// least `least`; the largest first.
    pub fn candidates(&self, least: f64) -> Vec<usize> {
        let certain = |change: &Change| change.certain(self.sure).abs().max(change.certain_rate(self.sure).abs());
        let certain: Vec<f64> = self.changes.par_iter().map(certain).collect();
        let wanted = |&place: &usize| certain[place] > 0.0 && certain[place] >= least && self.told(place);
        let mut places: Vec<usize> = (0..self.segments.len()).filter(wanted).collect();
        places.sort_by(|&a, &b| certain[b].total_cmp(&certain[a]).then_with(|| self.simpler(a).cmp(&self.simpler(b))));
        places.truncate(CANDIDATES);
        places
    }

    /// Small for what is told first where nothing else decides: few items, few customers.
    fn simpler(&self, place: usize) -> (usize, i64, Segment) {
        let uv = self.own[place].iter().map(|own| own.uv).sum();
        (self.segments[place].level(), uv, self.segments[place])
    }

    /// What of the excess has to be certain for a step, in the metric's unit.
    pub fn least(&self, rule: &HighlightSpec) -> f64 {
        rule.min_impact_share * change_reference(self.kind, self.scale, &self.base)
    }

    /// Picks up to `top` steps among the candidates, one after the other: each the most telling of those that explain enough of what is
    /// left. `fresh` is given a pick and others, by position among the candidates, and asked what each of the others has of the pick's
    /// customers whom no pick before has.
    pub fn choose(
        &mut self,
        candidates: &[usize],
        top: usize,
        least: f64,
        mut fresh: impl FnMut(usize, &[usize]) -> Vec<Parts<Stats>>,
    ) {
        let mut left: Vec<Parts<Stats>> = candidates.iter().map(|&place| self.own[place]).collect();
        let mut rest = self.base;
        let mut open: Vec<usize> = (0..candidates.len()).collect();
        while self.steps.len() < top {
            // Each against those who are not explained yet: what others did is no reason to expect the same of it.
            let sure = self.sure;
            let [w0, w1] = change_weights(self.kind, &rest, &self.base);
            let weight = (w0 + w1) / 2.0;
            let certain = |&at: &usize| {
                let step = change(self.kind, self.scale, &left[at], &rest);
                (at, step, weight * step.certain(sure).abs())
            };
            let tellable = |at: &usize| {
                let (own, before) = (&left[*at], less(&self.own[candidates[*at]], &left[*at]));
                !self.few(own) && !self.few(&before) && !self.few(&less(&rest, own))
            };
            let known: Vec<(usize, Change, f64)> = open.par_iter().filter(|at| tellable(at)).map(certain).collect();
            // How much it explains, times the root of the variance that dividing the rest into it and all others explains. By the
            // first alone a region would be told for the niche in it, by the second alone a niche would come in pieces.
            let telling = |known: &(usize, Change, f64)| {
                let share = (known.1.uv_share[BEFORE] + known.1.uv_share[AFTER]) / 2.0;
                known.2 * known.2 / (share * (1.0 - share)).sqrt()
            };
            let enough = known.iter().filter(|known| known.2 > 0.0 && known.2 >= least);
            let best = enough.max_by(|a, b| {
                let (of_a, of_b) = (telling(a), telling(b));
                // Of two halves of all customers each explains as much.
                match (of_a - of_b).abs() <= 1e-9 * of_a.max(of_b) {
                    true => self.simpler(candidates[b.0]).cmp(&self.simpler(candidates[a.0])),
                    false => of_a.total_cmp(&of_b),
                }
            });
            let Some(&(pick, of_rest, _)) = best else { break };
            self.steps.push(Step {
                place: candidates[pick],
                own: change(self.kind, self.scale, &left[pick], &self.base),
                of_rest,
            });
            rest = less(&rest, &left[pick]);
            open.retain(|&at| at != pick);
            let fresh = fresh(pick, &open);
            open.iter().zip(&fresh).for_each(|(&at, fresh)| left[at] = less(&left[at], fresh));
        }
        self.rest = change(self.kind, self.scale, &rest, &self.base);
    }

    /// Divides the change by each feature whose customers have one item each.
    pub fn divide(&mut self, codebook: &Codebook) {
        let features = codebook.features.iter().zip(0..).filter(|(feature, _)| feature.tags.is_none());
        let mut divided: Vec<FeatureChange> =
            features.map(|(feature, number)| self.by_feature(number, feature.items.len())).collect();
        let explained =
            |feature: &FeatureChange| -> f64 { feature.parts().map(|part| part.certain(self.sure).abs()).sum() };
        divided.sort_by(|a, b| explained(b).total_cmp(&explained(a)).then(a.feature.cmp(&b.feature)));
        self.features = divided;
    }

    fn by_feature(&self, feature: FeatureId, items: usize) -> FeatureChange {
        let mut told: Vec<(Item, Parts<Stats>)> = Vec::new();
        for code in 0..items {
            let item = Item { feature, code: code as ItemCode };
            if let Ok(place) = self.segments.binary_search(&Segment::of_items(&[item])) {
                told.push((item, self.own[place]));
            }
        }
        told.retain(|(_, own)| !self.few(own));
        let others = |told: &[(Item, Parts<Stats>)]| told.iter().fold(self.base, |rest, (_, own)| less(&rest, own));
        // Who is in no item that is told would be told by what the items leave.
        while self.few(&others(&told)) {
            let uv = |own: &Parts<Stats>| own.iter().map(|own| own.uv).sum::<i64>();
            let smallest = told.iter().enumerate().min_by_key(|(_, (_, own))| uv(own)).map(|(at, _)| at);
            let Some(smallest) = smallest else { break };
            told.remove(smallest);
        }
        let others = others(&told);
        let of = |own: &Parts<Stats>| change(self.kind, self.scale, own, &self.base);
        FeatureChange {
            feature,
            items: told.iter().map(|(item, own)| (*item, of(own))).collect(),
            others: others.iter().any(|own| own.uv > 0).then(|| of(&others)),
        }
    }
}

fn less(all: &Parts<Stats>, some: &Parts<Stats>) -> Parts<Stats> {
    [all[BEFORE] - some[BEFORE], all[AFTER] - some[AFTER]]
}
