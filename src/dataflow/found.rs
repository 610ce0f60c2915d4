//! What worker 0 makes of the exact sums, stage by stage, between the passes over the rows.

use super::target::{Asked, Listed, MetricSums, Overlaps, Pick, Taken};
use crate::audience::Assigned;
use crate::encode::Codebook;
use crate::enumerate::Answer;
use crate::highlight::{
    self, Bounds, Condition, Direction, Diversity, Frequent, Funnel, Highlight, Ranking, Scored, Secondary, Unlisted,
    explained, fold, jaccard, mark, pairs, pool, rule, validate,
};
use crate::job::{Guard, Job, PRIVACY_FLOOR};
use crate::merge::{self, Apart, Clusters, Group, Grouping, Judge, Leaf, Space, Weights, cut, priority, short_rule};
use crate::profile::{Profile, profile};
use crate::score::{Measures, Shrinkage, measures, standard_deviation, test};
use crate::segment::Segment;
use crate::stats::{DISCOVERY, MetricKind, Moments, Parts, Scale, Stats, VALIDATION};

/// The frequent segments with their sums, and what has been found among them so far.
pub struct Found {
    pub kind: MetricKind,
    pub scale: Scale,
    scales: Vec<Scale>,
    /// The exact sums of all metrics, the base first.
    pub answer: Answer,
    pub moments: Moments,
    whole: Vec<Stats>,
    discovery: Vec<Stats>,
    /// By metric, then part.
    bases: Vec<Parts<Stats>>,
    /// Where only those that may be highlights were kept.
    unlisted: Option<Unlisted>,
    /// Fitted to the whole base.
    pub shrinkage: Shrinkage,
    pub scored: Vec<Scored>,
    pub funnel: Funnel,
    /// The segments that met the rule, ranked.
    candidates: Vec<Segment>,
    /// Ranked: candidates until some of them are chosen, then highlights.
    pub highlights: Vec<Highlight>,
    /// Positions of the highlights that become groups, in the order in which a customer is asked for them.
    targets: Vec<usize>,
}

impl Found {
    /// Scores every frequent segment, or those that may be highlights, with what is known of the others.
    pub fn score(answer: Answer, moments: Moments, scales: &[Scale], job: &Job, unlisted: Option<Unlisted>) -> Found {
        assert_eq!(answer.segments[0], Segment::BASE, "the base comes first");
        let bases = (0..moments.kinds().len())
            .map(|metric| std::array::from_fn(|part| answer.stats(&moments, metric, 0, part)))
            .collect::<Vec<Parts<Stats>>>();
        let (discovery, whole) = answer.found_and_whole(&moments, 0);
        let (kind, scale) = (moments.kinds()[0], scales[0]);
        let frequent = Frequent {
            segments: &answer.segments[1..],
            whole: &whole,
            discovery: &discovery,
            base_whole: bases[0].into_iter().sum(),
            base_discovery: bases[0][DISCOVERY],
            unlisted: unlisted.as_ref(),
        };
        let shrinkage = frequent.shrinkage(kind, scale);
        let scored = highlight::score(&frequent, kind, scale, job.highlight.adjust);
        Found {
            kind,
            scale,
            scales: scales.to_vec(),
            whole,
            discovery,
            answer,
            moments,
            bases,
            unlisted,
            shrinkage,
            scored,
            funnel: Funnel::default(),
            candidates: Vec::new(),
            highlights: Vec::new(),
            targets: Vec::new(),
        }
    }

    /// The frequent ones, without the base.
    fn segments(&self) -> &[Segment] {
        &self.answer.segments[1..]
    }

    fn frequent(&self) -> Frequent<'_> {
        Frequent {
            segments: self.segments(),
            whole: &self.whole,
            discovery: &self.discovery,
            base_whole: self.base(0),
            base_discovery: self.bases[0][DISCOVERY],
            unlisted: self.unlisted.as_ref(),
        }
    }

    /// The base's sums of a metric.
    fn base(&self, metric: usize) -> Stats {
        self.bases[metric].iter().copied().sum()
    }

    /// The base against itself: whole, discovery, validation.
    pub fn base_measures(&self) -> [Measures; 3] {
        let [discovery, validation] = self.bases[0];
        [self.base(0), discovery, validation].map(|base| measures(self.kind, self.scale, &base, &base))
    }

    /// The base's sums of the primary metric.
    pub fn bases(&self) -> Parts<Stats> {
        self.bases[0]
    }

    /// The base of each secondary metric.
    pub fn secondary_bases(&self, scales: &[Scale]) -> Vec<Measures> {
        let of = |metric: usize| {
            measures(self.moments.kinds()[metric], scales[metric], &self.base(metric), &self.base(metric))
        };
        (1..self.scales.len()).map(of).collect()
    }

    /// Applies the rule; gives the segments of which some pairs decide what is folded, and these.
    pub fn candidates(&mut self, job: &Job, min_uv: u64, exclusive: &[bool]) -> Asked {
        let mut scored = std::mem::take(&mut self.scored);
        let frequent = self.frequent();
        let (ranked, funnel) = rule(&job.highlight, &frequent, &mut scored, self.kind, self.scale, &self.shrinkage);
        let n = ranked.len().min(pool(job.highlight.top));
        let min_uv = i64::try_from(min_uv).unwrap_or(i64::MAX);
        let bounds = Bounds { frequent: &frequent, max_level: job.enumerate.max_level, min_uv, exclusive };
        let pairs = pairs(&ranked, n, &bounds, &job.highlight, self.kind, self.scale);
        self.candidates = ranked.iter().map(|h| h.segment).collect();
        self.highlights = ranked;
        self.funnel = funnel;
        self.scored = scored;
        (self.candidates[..n].to_vec(), pairs)
    }

    /// Folds the candidates that say what a stronger one says, given what each two share; gives those that are left.
    pub fn fold(&mut self, job: &Job, common: &Overlaps) -> Vec<Segment> {
        let n = self.highlights.len().min(pool(job.highlight.top));
        let own: Vec<Stats> = self.highlights[..n].iter().map(|h| self.discovery[self.position(h.segment)]).collect();
        let (base, least) = (self.bases[0][DISCOVERY], job.highlight.min_lift);
        let discovery = |i: usize, j: usize| common.discovery(i, j);
        let by = explained(&self.highlights, &own, discovery, &base, least, self.kind, self.scale);
        let uv: Vec<i64> = self.highlights.iter().map(|h| h.measures.uv).collect();
        let overlap = |i: usize, j: usize| jaccard(common.uv(i, j), uv[i], uv[j]);
        self.highlights = fold(std::mem::take(&mut self.highlights), &by, overlap, job.highlight.max_overlap);
        self.highlights.iter().map(|h| h.segment).collect()
    }

    /// Picks the candidates that become highlights one by one, and checks them on the validation part. `fresh` is asked what other
    /// candidates have of the customers that a pick newly covers.
    pub fn choose(&mut self, job: &Job, mut fresh: impl FnMut(Pick) -> Vec<Parts<Stats>>) {
        let (candidates, mut funnel) = (std::mem::take(&mut self.highlights), std::mem::take(&mut self.funnel));
        let frequent = self.frequent();
        let ranking = Ranking::new(&job.highlight, &frequent, self.kind, self.scale);
        let parts = |h: &Highlight| {
            let at = self.position(h.segment);
            [self.discovery[at], self.whole[at] - self.discovery[at]]
        };
        let own: Vec<Parts<Stats>> = candidates.iter().map(parts).collect();
        let mut diversity = Diversity::new(&candidates, &own, &ranking);
        let mut highlights: Vec<Highlight> = Vec::new();
        while highlights.len() < job.highlight.top {
            let Some(pick) = diversity.pick() else { break };
            let secondary = self.secondary(job, self.position(candidates[pick].segment));
            highlights.push(Highlight { secondary, ..candidates[pick].clone() });
            // Those that come after are ranked by what these leave of them.
            if highlights.len() <= job.highlight.diverse && highlights.len() < job.highlight.top {
                let others = diversity.others(pick);
                let numbers = others.iter().map(|&other| other as u32).collect();
                let fresh = fresh(Pick { pick: pick as u32, side: candidates[pick].direction, others: numbers });
                diversity.cover(&others, &fresh);
            }
        }
        funnel.chosen(self.candidates.len() as u64, &highlights);
        validate(&mut highlights, &mut funnel, &job.highlight, &frequent, self.kind, self.scale);
        (self.highlights, self.funnel) = (highlights, funnel);
        mark(&mut self.scored, &self.candidates, &self.highlights);
        // Those that held on the validation part, or all if nothing was held out.
        let order = priority(&self.highlights).into_iter();
        self.targets = order.filter(|&i| self.highlights[i].validated != Some(false)).collect();
    }

    /// The highlights with their directions, ranked.
    pub fn directed(&self) -> Vec<(Direction, Segment)> {
        self.highlights.iter().map(|h| (h.direction, h.segment)).collect()
    }

    /// Enters what each highlight has of the customers that no better-ranked one of its direction covers.
    pub fn add(&mut self, added: &[Stats]) {
        let base = self.base(0);
        for (highlight, added) in self.highlights.iter_mut().zip(added) {
            highlight.added = measures(self.kind, self.scale, added, &base);
        }
    }

    fn position(&self, segment: Segment) -> usize {
        self.segments().binary_search(&segment).expect("a highlight is a frequent segment")
    }

    /// What the segment in this place does to each secondary metric.
    fn secondary(&self, job: &Job, at: usize) -> Vec<Secondary> {
        let of = |(metric, spec): (usize, &crate::job::SecondarySpec)| {
            let (kind, scale, base) = (self.moments.kinds()[metric], self.scales[metric], self.base(metric));
            let part = |part| self.answer.stats(&self.moments, metric, at + 1, part);
            let own = part(DISCOVERY) + part(VALIDATION);
            let effect = test(kind, scale, &own, &base).map(|t| [t.effect_low, t.effect_high]);
            let harmed = match (spec.guard, effect) {
                (Some(Guard::HigherIsBetter), Some([_, high])) => high < 0.0,
                (Some(Guard::LowerIsBetter), Some([low, _])) => low > 0.0,
                (None, _) | (_, None) => false,
            };
            Secondary { measures: measures(kind, scale, &own, &base), effect, harmed }
        };
        (1..).zip(&job.secondary).map(of).collect()
    }

    /// The segments that become groups, in the order in which a customer is asked for them.
    pub fn asked(&self) -> Vec<Segment> {
        self.targets.iter().map(|&i| self.highlights[i].segment).collect()
    }

    /// Drops the targets that have nothing of their own, given what each takes; says whether there were any.
    ///
    /// Customers go to the strongest of their highlights. What a weaker one is left with may be nobody, or no further from the
    /// base than `highlight.min_lift`: then stronger highlights had already said what it says. Its customers are asked for the
    /// next one.
    pub fn drop_explained(&mut self, job: &Job, taken: &[MetricSums]) -> bool {
        let before = self.targets.len();
        let targets = self.targets.iter().zip(taken).filter(|&(&i, sums)| {
            let stats: Stats = sums[0].iter().copied().sum();
            let own = measures(self.kind, self.scale, &stats, &self.base(0));
            let least = job.highlight.min_lift;
            let stands_out = match (self.highlights[i].direction, own.lift) {
                (Direction::Over, Some(lift)) => own.effect > 0.0 && lift >= least,
                (Direction::Under, Some(lift)) => own.effect < 0.0 && lift <= 1.0 / least,
                (Direction::Over, None) => own.effect > 0.0,
                (Direction::Under, None) => own.effect < 0.0,
            };
            stands_out && stats.uv >= floor(job)
        });
        self.targets = targets.map(|(&i, _)| i).collect();
        self.targets.len() < before
    }

    /// Pairs of targets whose common customers the distance between them looks at, as far as they may be merged.
    pub fn compared(&self, job: &Job) -> Asked {
        let leaves = self.leaves();
        let segments: Vec<Segment> = leaves.iter().map(|&i| self.highlights[i].segment).collect();
        let direction = |leaf: usize| self.highlights[leaves[leaf]].direction;
        let all = (0..leaves.len()).flat_map(|i| (0..i).map(move |j| [i, j]));
        let pairs = all.filter(|&[i, j]| job.merge.distance.overlaps() && direction(i) == direction(j));
        (segments, pairs.map(|pair| pair.map(|leaf| leaf as u32)).collect())
    }

    /// The highlights that are merged, by position: leaves are numbered in the order of the highlights.
    fn leaves(&self) -> Vec<usize> {
        let mut leaves = self.targets.clone();
        leaves.sort_unstable();
        leaves
    }

    /// Merges the targets, given how the customers of each spread over the items, what those that were asked for share, and what each
    /// takes of the customers.
    pub fn clusters(
        &self,
        job: &Job,
        spreads: Vec<Profile>,
        shared: &Overlaps,
        taken: &[MetricSums],
        influences: &[f64],
    ) -> Clusters {
        let mut targets: Vec<(usize, Profile, Stats)> = (self.targets.iter().zip(spreads).zip(taken))
            .map(|((&highlight, profile), sums)| (highlight, profile, sums[0].iter().copied().sum()))
            .collect();
        targets.sort_by_key(|(highlight, _, _)| *highlight);
        let taken: Vec<Stats> = targets.iter().map(|(_, _, taken)| *taken).collect();
        let leaf = |(i, profile, _): (usize, Profile, Stats)| {
            let Highlight { direction, segment, .. } = self.highlights[i];
            Leaf { segment, direction, stats: self.whole[self.position(segment)], profile }
        };
        let leaves: Vec<Leaf> = targets.into_iter().map(leaf).collect();
        let base = self.base(0);
        let space = Space::new(self.kind, self.scale, base, influences);
        let shared = |i: usize, j: usize| if i == j { leaves[i].stats.uv } else { shared.uv(i, j) };
        let apart = Apart { space: &space, weights: Weights::of(&job.merge.distance), shared: &shared };
        let judge = Judge::new(self.kind, base, &taken, &leaves, &apart);
        let least = (job.merge.min_group_share * base.uv as f64 - 1e-9).ceil() as i64;
        let tree = merge::merge(job.merge.linkage, &leaves, &apart);
        cut(&tree, job.merge.groups, least, |groups| judge.worth(groups))
    }

    /// The segments as customers are asked for them, and for each group those of its own, who takes most first.
    pub fn listed(&self, clusters: &Clusters, taken: &[MetricSums]) -> Listed {
        let leaves = self.leaves();
        let uv = |target: usize| -> i64 { taken[target][0].iter().map(|stats| stats.uv).sum() };
        let list = |members: &Vec<usize>| {
            let target =
                |&leaf: &usize| self.targets.iter().position(|&i| i == leaves[leaf]).expect("a leaf is a target");
            let mut list: Vec<usize> = members.iter().map(target).collect();
            list.sort_by_key(|&target| (std::cmp::Reverse(uv(target)), target));
            list.into_iter().map(|target| target as u32).collect()
        };
        (self.asked(), clusters.members.iter().map(list).collect())
    }

    /// The groups, numbered by absolute impact. `taken` and `assigned` are by position among the targets; `assigned` leaves
    /// with groups' ids and positions of highlights. `lists` are of [`Found::listed`], with what each selects.
    pub fn grouping(
        &self,
        codebook: &Codebook,
        scales: &[Scale],
        clusters: Clusters,
        taken: &[Taken],
        lists: &[(Vec<u32>, Vec<[i64; 2]>)],
        assigned: &mut Assigned,
    ) -> Grouping {
        let leaves = self.leaves();
        let base = Profile { counts: codebook.uv().map(|uv| uv.iter().map(|&uv| uv as i64).collect()).collect() };
        let base_uv = self.base(0).uv;
        let mut groups: Vec<(Vec<usize>, Group)> = Vec::new();
        for (members, (list, selected)) in clusters.members.iter().zip(lists) {
            let highlights: Vec<usize> = members.iter().map(|&leaf| leaves[leaf]).collect();
            let own = self.targets.iter().zip(taken).filter(|(target, _)| highlights.contains(target));
            let sums = Taken::total(own.map(|(_, sums)| sums)).expect("a cluster has a highlight");
            let of = |metric: usize| -> Stats { sums.stats[metric].iter().copied().sum() };
            let (stats, held_out) = (of(0), sums.stats[0][VALIDATION]);
            let segments: Vec<Segment> = highlights.iter().map(|&i| self.highlights[i].segment).collect();
            let profile = profile(codebook, &sums.profile, stats.uv, &base, base_uv);
            let validation = measures(self.kind, self.scale, &held_out, &self.bases[0][VALIDATION]);
            let secondary = 1..self.scales.len();
            let listed: Vec<Segment> =
                list.iter().map(|&target| self.highlights[self.targets[target as usize]].segment).collect();
            let group = Group {
                id: 0,
                direction: self.highlights[highlights[0]].direction,
                name: merge::name(codebook, &segments, &profile),
                segments,
                stats,
                measures: measures(self.kind, self.scale, &stats, &self.base(0)),
                validation: (held_out.uv > 0).then_some(validation),
                test: test(self.kind, self.scale, &stats, &self.base(0)),
                validation_test: test(self.kind, self.scale, &held_out, &self.bases[0][VALIDATION]),
                short: short_rule(&listed, selected, stats.uv),
                secondary: secondary
                    .map(|m| measures(self.moments.kinds()[m], scales[m], &of(m), &self.base(m)))
                    .collect(),
                profile,
            };
            groups.push((highlights, group));
        }
        groups.sort_by(|(_, a), (_, b)| {
            b.measures.impact.abs().total_cmp(&a.measures.impact.abs()).then_with(|| a.segments.cmp(&b.segments))
        });
        let names = merge::distinct(groups.iter().map(|(_, group)| group.name.clone()).collect());
        let mut id_of = vec![0u32; self.highlights.len()];
        for (id, ((highlights, group), name)) in (1..).zip(groups.iter_mut().zip(names)) {
            group.id = id;
            group.name = name;
            highlights.iter().for_each(|&i| id_of[i] = id);
        }
        assigned.highlight.iter_mut().for_each(|highlight| *highlight = self.targets[*highlight as usize] as u32);
        assigned.group = assigned.highlight.iter().map(|&highlight| id_of[highlight as usize]).collect();
        Grouping {
            groups: groups.into_iter().map(|(_, group)| group).collect(),
            asked: self.targets.iter().map(|&i| (self.highlights[i].segment, id_of[i])).collect(),
            leaves: leaves.iter().map(|&i| self.highlights[i].segment).collect(),
            merges: clusters.merges,
            choices: clusters.choices,
            reason: self.reason(clusters.reason),
        }
    }

    /// Why there are so many groups, from the highlights on.
    fn reason(&self, cut: String) -> String {
        let all = self.highlights.len();
        let held = self.funnel.validated.unwrap_or(all as u64) as usize;
        let mut reason = format!("{all} highlights");
        if self.funnel.validated.is_some() {
            reason.push_str(&format!(", {held} of them held on the validation part"));
        }
        if self.targets.len() < held {
            let explained = held - self.targets.len();
            reason.push_str(&format!(
                ", {explained} left out as stronger ones have the customers that made them stand out"
            ));
        }
        format!("{reason}; {} were merged: {cut}", self.targets.len())
    }

    /// Plain statements about a run that found little, or that a reader should know.
    pub fn notes(&self, job: &Job, customers: u64, min_uv: u64, features: usize) -> Vec<String> {
        let mut notes = Vec::new();
        if features == 0 {
            notes.push("No feature is worth combining; the table of features says why of each.".into());
        }
        if standard_deviation(self.kind, self.scale, &self.base(0)) == 0.0 {
            notes.push("The metric is the same for every customer, so no segment can differ.".into());
        }
        if self.kind == MetricKind::Ratio && self.base(0).den == 0 {
            notes.push("The denominators of the metric add up to zero, so the base has no mean.".into());
        }
        if customers < min_uv {
            notes.push(format!(
                "There are {customers} customers and a segment needs {min_uv}, so there are no segments."
            ));
        }
        if job.highlight.holdout == 0.0 {
            notes.push("No customers were held out (highlight.holdout = 0), so nothing was validated.".into());
        } else if self.bases[0][VALIDATION].uv == 0 {
            notes.push("No customer fell into the validation part, so nothing could be validated.".into());
        }
        if job.enumerate.allow_small {
            notes.push("The privacy floor of 10 customers is lifted (enumerate.allow_small).".into());
        }
        if let Some(Unlisted { hypotheses, .. }) = &self.unlisted {
            let kept = self.segments().len();
            notes.push(format!(
                "Only the {kept} segments that may be highlights were kept (enumerate.keep); the false discovery rate is taken \
                 over {hypotheses}, as many as could have enough customers."
            ));
        }
        if self.highlights.is_empty() && !self.segments().is_empty() {
            let most =
                self.funnel.rejected.iter().max_by_key(|(condition, count)| (*count, std::cmp::Reverse(*condition)));
            if let Some((condition, count)) = most {
                notes.push(format!("No segment is a highlight; most, {count}, {}.", failing(*condition)));
            }
        }
        notes
    }
}

/// What failing a condition means, after "most, n,".
fn failing(condition: Condition) -> &'static str {
    match condition {
        Condition::UvShare => "cover too large a share of the customers (highlight.max_uv_share)",
        Condition::Impact => "have too little impact (highlight.min_impact_share)",
        Condition::Testable => "could not be tested, as the metric does not vary in or around them",
        Condition::Fdr => "may be luck (highlight.fdr)",
        Condition::Bound => "are not surely far enough from the base (highlight.min_lift)",
        Condition::NewCustomers => "have exactly the customers of a simpler segment",
        Condition::Gain => "say little more than a simpler segment (highlight.min_gain)",
        Condition::Top => "are beyond the most that are kept (highlight.top)",
    }
}

/// Fewest customers a group may have.
pub fn floor(job: &Job) -> i64 {
    if job.enumerate.allow_small { 1 } else { PRIVACY_FLOOR as i64 }
}
