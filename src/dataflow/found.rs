//! What worker 0 makes of the exact sums, stage by stage, between the passes over the rows.

use super::enumerate::Answer;
use super::target::TakenSums;
use crate::audience::Assigned;
use crate::encode::Codebook;
use crate::highlight::{
    self, Condition, Direction, Frequent, Funnel, Highlight, fold, jaccard, mark, pool, rule, validate,
};
use crate::job::{Job, PRIVACY_FLOOR};
use crate::merge::{self, Clusters, Group, Grouping, Leaf, Space, cut, priority};
use crate::profile::{Profile, profile};
use crate::score::{Measures, Scored, measures, standard_deviation};
use crate::segment::Segment;
use crate::stats::{DISCOVERY, MetricKind, Moments, Parts, Scale, Stats, VALIDATION};

/// The frequent segments with their sums, and what has been found among them so far.
pub struct Found {
    pub kind: MetricKind,
    pub scale: Scale,
    kinds: Vec<MetricKind>,
    segments: Vec<Segment>,
    whole: Vec<Stats>,
    discovery: Vec<Stats>,
    /// By metric, then part.
    bases: Vec<Parts<Stats>>,
    pub scored: Vec<Scored>,
    pub funnel: Funnel,
    /// Ranked: candidates until near-duplicates are folded, then highlights.
    pub highlights: Vec<Highlight>,
}

impl Found {
    /// Scores every frequent segment.
    pub fn score(answer: &Answer, moments: &Moments, scale: Scale) -> Found {
        let part = |i: usize, part: usize| answer.stats(moments, 0, i, part);
        let bases = (0..moments.kinds().len())
            .map(|metric| std::array::from_fn(|part| answer.stats(moments, metric, 0, part)))
            .collect::<Vec<Parts<Stats>>>();
        assert_eq!(answer.segments[0], Segment::BASE, "the base comes first");
        let segments = 1..answer.segments.len();
        let mut found = Found {
            kind: moments.kinds()[0],
            scale,
            kinds: moments.kinds().to_vec(),
            segments: answer.segments[1..].to_vec(),
            whole: segments.clone().map(|i| part(i, DISCOVERY) + part(i, VALIDATION)).collect(),
            discovery: segments.map(|i| part(i, DISCOVERY)).collect(),
            bases,
            scored: Vec::new(),
            funnel: Funnel::default(),
            highlights: Vec::new(),
        };
        found.scored = highlight::score(&found.frequent(), found.kind, scale);
        found
    }

    fn frequent(&self) -> Frequent<'_> {
        Frequent {
            segments: &self.segments,
            whole: &self.whole,
            discovery: &self.discovery,
            base_whole: self.base(0),
            base_discovery: self.bases[0][DISCOVERY],
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

    /// The base of each secondary metric.
    pub fn secondary_bases(&self, scales: &[Scale]) -> Vec<Measures> {
        let of = |metric: usize| measures(self.kinds[metric], scales[metric], &self.base(metric), &self.base(metric));
        (1..self.kinds.len()).map(of).collect()
    }

    /// Applies the rule; gives the segments whose overlaps decide what is folded.
    pub fn candidates(&mut self, job: &Job) -> Vec<Segment> {
        let (ranked, funnel) = rule(&job.highlight, &self.frequent(), &self.scored, self.kind, self.scale);
        self.highlights = ranked;
        self.funnel = funnel;
        self.highlights.iter().take(pool(job.highlight.top)).map(|h| h.segment).collect()
    }

    /// Folds near-duplicates, given the customers that each two candidates share, and checks the rest on the validation part.
    pub fn fold(&mut self, job: &Job, common: &[i64]) {
        let n = self.highlights.len().min(pool(job.highlight.top));
        let uv: Vec<i64> = self.highlights.iter().map(|h| h.measures.uv).collect();
        let overlap = |i: usize, j: usize| jaccard(common[i * n + j], uv[i], uv[j]);
        let ranked = std::mem::take(&mut self.highlights);
        let folded = fold(ranked, overlap, job.highlight.max_overlap, job.highlight.top);
        self.funnel.folded(&folded);
        let mut highlights = folded.highlights;
        let mut funnel = std::mem::take(&mut self.funnel);
        validate(&mut highlights, &mut funnel, &job.highlight, &self.frequent(), self.kind, self.scale);
        (self.highlights, self.funnel) = (highlights, funnel);
        mark(&mut self.scored, &self.highlights);
    }

    /// The highlights that become groups, by position: those that held on the validation part, or all if nothing was held out.
    pub fn targets(&self) -> Vec<usize> {
        (0..self.highlights.len()).filter(|&i| self.highlights[i].validated != Some(false)).collect()
    }

    /// The targets' positions in the order in which a customer is asked for them.
    pub fn order(&self) -> Vec<usize> {
        let targets = self.targets();
        let asked: Vec<Highlight> = targets.iter().map(|&i| self.highlights[i].clone()).collect();
        priority(&asked).into_iter().map(|leaf| targets[leaf]).collect()
    }

    /// Merges the targets, given how the customers of each spread over the items, and what each takes in `order`.
    pub fn clusters(
        &self,
        job: &Job,
        spreads: Vec<Profile>,
        influences: &[f64],
        order: &[usize],
        taken: &[TakenSums],
    ) -> Clusters {
        let targets = self.targets();
        let leaves = targets.iter().zip(spreads).map(|(&i, profile)| {
            let highlight = &self.highlights[i];
            let at = self.segments.binary_search(&highlight.segment).expect("a highlight is a frequent segment");
            Leaf { direction: highlight.direction, stats: self.whole[at], profile }
        });
        let space = Space::new(self.kind, self.scale, self.base(0), influences);
        let tree = merge::merge(job.merge.linkage, &leaves.collect::<Vec<_>>(), &space);
        cut(&tree, job.merge.groups, |leaves| {
            let direction = self.highlights[targets[leaves[0]]].direction;
            let highlights: Vec<usize> = leaves.iter().map(|&leaf| targets[leaf]).collect();
            self.is_sound(job, direction, &stats_of(&highlights, order, taken))
        })
    }

    /// Whether a group that keeps these customers is worth having.
    fn is_sound(&self, job: &Job, direction: Direction, stats: &Stats) -> bool {
        let effect = measures(self.kind, self.scale, stats, &self.base(0)).effect;
        let side = match direction {
            Direction::Over => effect > 0.0,
            Direction::Under => effect < 0.0,
        };
        side && stats.uv >= floor(job)
    }

    /// The groups, numbered by absolute impact. Customers of a cluster that is not sound are put into no group.
    ///
    /// `taken` and `assigned` are by position in `order`; `assigned` leaves with groups' ids and positions of highlights.
    pub fn grouping(
        &self,
        job: &Job,
        codebook: &Codebook,
        scales: &[Scale],
        clusters: Clusters,
        order: &[usize],
        taken: &[TakenSums],
        assigned: &mut Assigned,
    ) -> Grouping {
        let targets = self.targets();
        let base = Profile { counts: codebook.uv().map(|uv| uv.iter().map(|&uv| uv as i64).collect()).collect() };
        let base_uv = self.base(0).uv;
        let mut groups: Vec<(Vec<usize>, Group)> = Vec::new();
        for members in &clusters.members {
            let highlights: Vec<usize> = members.iter().map(|&leaf| targets[leaf]).collect();
            let own = order.iter().zip(taken).filter(|(highlight, _)| highlights.contains(highlight));
            let Some(sums) = TakenSums::total(own.map(|(_, sums)| sums)) else { continue };
            let of = |metric: usize| -> Stats { sums.stats[metric].iter().copied().sum() };
            let (stats, held_out) = (of(0), sums.stats[0][VALIDATION]);
            let direction = self.highlights[highlights[0]].direction;
            if !self.is_sound(job, direction, &stats) {
                continue;
            }
            let segments: Vec<Segment> = highlights.iter().map(|&i| self.highlights[i].segment).collect();
            let profile = profile(codebook, &sums.profile, stats.uv, &base, base_uv);
            let validation = measures(self.kind, self.scale, &held_out, &self.bases[0][VALIDATION]);
            let secondary = 1..self.kinds.len();
            let group = Group {
                id: 0,
                direction,
                name: merge::name(codebook, &segments, &profile),
                segments,
                stats,
                measures: measures(self.kind, self.scale, &stats, &self.base(0)),
                validation: (held_out.uv > 0).then_some(validation),
                secondary: secondary.map(|m| measures(self.kinds[m], scales[m], &of(m), &self.base(m))).collect(),
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
        renumber(assigned, order, &id_of);
        let mut reason = clusters.reason;
        let dropped = clusters.members.len() - groups.len();
        if dropped > 0 {
            reason.push_str(&format!(
                "; {dropped} of them kept fewer than {} customers, or ended on the other side of the base, once stronger \
                 ones had taken theirs, and were left out",
                floor(job)
            ));
        }
        if let Some(validated) = self.funnel.validated {
            let all = self.highlights.len();
            reason.push_str(&format!("; {validated} of {all} highlights held on the validation part and were merged"));
        }
        Grouping {
            groups: groups.into_iter().map(|(_, group)| group).collect(),
            merges: clusters.merges,
            choices: clusters.choices,
            reason,
        }
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
        if self.highlights.is_empty() && !self.segments.is_empty() {
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
fn floor(job: &Job) -> i64 {
    if job.enumerate.allow_small { 1 } else { PRIVACY_FLOOR as i64 }
}

/// The primary metric over the customers that these highlights take.
fn stats_of(highlights: &[usize], order: &[usize], taken: &[TakenSums]) -> Stats {
    let own = order.iter().zip(taken).filter(|(highlight, _)| highlights.contains(highlight));
    own.flat_map(|(_, sums)| sums.stats[0]).sum()
}

/// From positions in `order` to positions of highlights and ids of groups; 0 is no group, and its customers are left out.
fn renumber(assigned: &mut Assigned, order: &[usize], id_of: &[u32]) {
    for (group, highlight) in assigned.group.iter_mut().zip(&mut assigned.highlight) {
        let position = order[*highlight as usize];
        *group = id_of[position];
        *highlight = position as u32;
    }
    if assigned.group.iter().all(|&group| group > 0) {
        return;
    }
    let kept: Vec<usize> = (0..assigned.group.len()).filter(|&i| assigned.group[i] > 0).collect();
    assigned.ids = assigned.ids.at(&kept);
    assigned.group = kept.iter().map(|&i| assigned.group[i]).collect();
    assigned.highlight = kept.iter().map(|&i| assigned.highlight[i]).collect();
    assigned.holdout = kept.iter().map(|&i| assigned.holdout[i]).collect();
}
