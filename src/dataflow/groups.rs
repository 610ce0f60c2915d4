//! Groups out of what is merged, highlights or cells: what worker 0 does around the tree.

use std::collections::HashMap;

use super::cells::Cells;
use super::found::{Found, floor};
use super::target::{Listed, Overlaps, Taken};
use crate::audience::Assigned;
use crate::encode::Codebook;
use crate::highlight::Direction;
use crate::job::{Job, Language, MergeOf};
use crate::merge::{
    self, Apart, Asked, Before, CLEARLY, CLEARLY_OF_CELLS, Clusters, Group, Grouping, Judge, Leaf, Rounds, ShortRule,
    Space, Tree, Weights, cell_rules, cut, in_order, short_rule,
};
use crate::profile::{Profile, profile};
use crate::score::{average_customers, measures, test};
use crate::segment::Segment;
use crate::stats::{DISCOVERY, Parts, Stats, VALIDATION};

/// A list of [`Merged::listed`], with what each segment of it selects and how many of these are the group's.
pub type Selected = (Vec<u32>, Vec<[i64; 2]>);

/// What is merged.
pub struct Merged {
    of: MergeOf,
    /// Highlights as they rank, or cells by number.
    pub leaves: Vec<Leaf>,
    /// Leaves in the order in which a customer is asked for them.
    asked: Vec<usize>,
    /// Of each leaf, the group of the previous run that it was of.
    home: Vec<Option<u32>>,
    pub space: Space,
    /// By leaf, over the customers that it takes: those of the leaves are disjoint.
    taken: Vec<Taken>,
}

impl Merged {
    /// The highlights that are merged, given how the customers of each spread over the items, and what each takes, in the order in which
    /// customers are asked for them.
    pub fn highlights(found: &Found, spreads: Vec<Profile>, taken: Vec<Taken>, influences: &[f64]) -> Merged {
        let mut all: Vec<(usize, Profile, Taken)> = (found.targets.iter().zip(spreads).zip(taken))
            .map(|((&highlight, spread), taken)| (highlight, spread, taken))
            .collect();
        all.sort_by_key(|(highlight, ..)| *highlight);
        let leaf_of = |highlight: &usize| {
            all.binary_search_by_key(highlight, |(highlight, ..)| *highlight).expect("every target is a leaf")
        };
        let asked = found.targets.iter().map(leaf_of).collect();
        let home = all.iter().map(|(target, ..)| found.home[*target]).collect();
        let (mut leaves, mut own) = (Vec::new(), Vec::new());
        for (target, profile, taken) in all {
            let (segment, direction) = found.target(target);
            let stats = found.whole_of(segment);
            leaves.push(Leaf { segment, direction, uv: stats.uv, stats, profile, weight: 1.0 });
            own.push(taken);
        }
        let space = Space::new(found.kind, found.scale, found.base(0), influences);
        Merged { of: MergeOf::Highlights, leaves, asked, home, space, taken: own }
    }

    /// Cells with their sums. Each counts as much as it has customers, and where it stands is said by the discovery part alone: what its
    /// group shows on the other is not chosen.
    pub fn cells(found: &Found, cells: &Cells, taken: Vec<Taken>, influences: &[f64], before: &Before) -> Merged {
        let leaf = |(&segment, taken): (&Segment, &Taken)| {
            let uv = taken.stats[0].iter().map(|stats| stats.uv).sum();
            let stats = taken.stats[0][DISCOVERY];
            let profile = taken.profile.clone();
            Leaf { segment, direction: Direction::Over, uv, stats, profile, weight: uv as f64 }
        };
        let leaves: Vec<Leaf> = cells.segments.iter().zip(&taken).map(leaf).collect();
        let base = found.bases[0][DISCOVERY];
        let means: Vec<Stats> = leaves.iter().map(|leaf| leaf.stats).collect();
        let added = average_customers(found.kind, found.scale, &means, &base);
        tracing::debug!(added, "average customers added to each cell");
        let space = Space::new(found.kind, found.scale, base, influences).with_average_customers(added);
        let homes: HashMap<Segment, u32> = before.asked.iter().map(|&(segment, _, group)| (segment, group)).collect();
        let home = cells.segments.iter().map(|segment| homes.get(segment).copied()).collect();
        let asked = (0..taken.len()).collect();
        Merged { of: MergeOf::Cells, leaves, asked, home, space, taken }
    }

    /// Whether there are so many that all workers grow the tree.
    pub fn in_rounds(&self, job: &Job) -> bool {
        let [_, overlap, items] = job.merge.distance.weights();
        self.leaves.len() > job.merge.max_matrix && overlap == 0.0 && items == 0.0
    }

    /// What has to be said where the matrix is larger than was asked for.
    pub fn beyond_matrix(&self, job: &Job) -> Option<String> {
        let (leaves, most) = (self.leaves.len(), job.merge.max_matrix);
        (leaves > most && !self.in_rounds(job)).then(|| {
            format!(
                "{leaves} highlights are more than merge.max_matrix allows ({most}), but distances other than \"profile\" need the \
                 matrix, so it was made all the same."
            )
        })
    }

    /// The tree, from a matrix of distances.
    pub fn tree(&self, job: &Job, shared: &Overlaps) -> Tree {
        self.with_distances(job, shared, |apart| merge::merge(job.merge.linkage, &self.leaves, apart))
    }

    /// What all workers grow the tree from.
    pub fn start(&self) -> (Vec<Leaf>, Space) {
        (self.leaves.clone(), self.space.clone())
    }

    fn with_distances<T>(&self, job: &Job, shared: &Overlaps, then: impl FnOnce(&Apart) -> T) -> T {
        let shared = |i: usize, j: usize| if i == j { self.leaves[i].uv } else { shared.uv(i, j) };
        then(&Apart { space: &self.space, weights: Weights::of(&job.merge.distance), shared: &shared })
    }

    /// Cuts the tree.
    pub fn cut(&self, job: &Job, found: &Found, tree: &Tree, shared: &Overlaps) -> Clusters {
        let taken: Vec<Stats> = self.taken.iter().map(|taken| taken.stats[0].iter().copied().sum()).collect();
        let base = found.base(0);
        let least = (job.merge.min_group_share * base.uv as f64 - 1e-9).ceil() as i64;
        let (leaves_are, clearly) = match self.of {
            MergeOf::Highlights => ("highlights", CLEARLY),
            MergeOf::Cells => ("cells", CLEARLY_OF_CELLS),
        };
        self.with_distances(job, shared, |apart| {
            let judge = Judge::new(found.kind, base, &taken, &self.leaves, apart);
            let worth = |groups: &[Vec<usize>]| judge.worth(groups);
            let asked = Asked { groups: job.merge.groups, least, leaves_are, clearly };
            let fresh = cut(tree, asked, worth);
            let joined = || match self.of {
                MergeOf::Highlights => merge::join_near(&self.leaves, &self.home, apart, asked.groups[1]),
                MergeOf::Cells => (merge::join_nearest(&self.leaves, &self.home, &self.space), Vec::new()),
            };
            let clusters = merge::keep(&self.leaves, &self.home, joined, fresh, asked, worth);
            match self.of {
                MergeOf::Highlights => clusters,
                MergeOf::Cells => merge::absorb(clusters, &self.leaves, &self.space, floor(job)),
            }
        })
    }

    /// The segments as customers are asked for them, and for each group those of its own, as a rule takes them.
    pub fn listed(&self, clusters: &Clusters) -> Listed {
        let mut place = vec![0u32; self.leaves.len()];
        (0..).zip(&self.asked).for_each(|(at, &leaf)| place[leaf] = at);
        let asked = self.asked.iter().map(|&leaf| self.leaves[leaf].segment).collect();
        let list = |members: &Vec<usize>| {
            let leaves = self.by_size(members);
            let segments: Vec<Segment> = leaves.iter().map(|&leaf| self.leaves[leaf].segment).collect();
            let taken: Vec<i64> = leaves.iter().map(|&leaf| self.uv(leaf)).collect();
            in_order(&segments, &taken).into_iter().map(|at| place[leaves[at]]).collect()
        };
        (asked, clusters.members.iter().map(list).collect())
    }

    /// What the customers of each cluster sum up to, over the primary metric.
    pub fn sums(&self, clusters: &Clusters) -> Vec<Parts<Stats>> {
        let add = |a: Parts<Stats>, leaf: &usize| {
            let own = &self.taken[*leaf].stats[0];
            [DISCOVERY, VALIDATION].map(|part| a[part] + own[part])
        };
        clusters.members.iter().map(|members| members.iter().fold([Stats::default(); 2], add)).collect()
    }

    /// How many items all segments of the clusters say.
    pub fn items(&self, clusters: &Clusters) -> usize {
        clusters.members.iter().flatten().map(|&leaf| self.leaves[leaf].segment.level()).sum()
    }

    fn uv(&self, leaf: usize) -> i64 {
        self.taken[leaf].stats[0].iter().map(|stats| stats.uv).sum()
    }

    /// Leaves by what they take, most first; at ties as customers are asked.
    fn by_size(&self, members: &[usize]) -> Vec<usize> {
        let mut place = vec![0usize; self.leaves.len()];
        self.asked.iter().enumerate().for_each(|(at, &leaf)| place[leaf] = at);
        let mut leaves = members.to_vec();
        leaves.sort_by_key(|&leaf| (std::cmp::Reverse(self.uv(leaf)), place[leaf]));
        leaves
    }

    /// Of each group a few segments that say nearly all of it.
    pub fn short_rules(&self, clusters: &Clusters, lists: &[Selected]) -> Vec<ShortRule> {
        let rule = |(members, (list, selected)): (&Vec<usize>, &Selected)| {
            let listed: Vec<Segment> = list.iter().map(|&at| self.leaves[self.asked[at as usize]].segment).collect();
            short_rule(&listed, selected, members.iter().map(|&leaf| self.uv(leaf)).sum())
        };
        clusters.members.iter().zip(lists).map(rule).collect()
    }

    /// The same for cells: a few conditions on the features that make them.
    pub fn cell_rules(&self, codebook: &Codebook, clusters: &Clusters, least: i64) -> Vec<ShortRule> {
        let mut group_of = vec![0; self.leaves.len()];
        let all = clusters.members.iter().enumerate();
        all.for_each(|(group, members)| members.iter().for_each(|&leaf| group_of[leaf] = group));
        let cells: Vec<(Segment, i64, usize)> =
            self.leaves.iter().zip(group_of).map(|(leaf, group)| (leaf.segment, leaf.uv, group)).collect();
        cell_rules(codebook, &cells, clusters.members.len(), least)
    }

    /// The groups, numbered by absolute impact, and the number of each cluster's; `rules` are theirs in short. `assigned` has places in
    /// the order in which customers are asked, and leaves with leaves and groups.
    pub fn grouping(
        &self,
        found: &Found,
        codebook: &Codebook,
        language: Language,
        clusters: Clusters,
        rules: Vec<ShortRule>,
        assigned: &mut Assigned,
    ) -> (Grouping, Vec<u32>) {
        let base = Profile { counts: codebook.uv().map(|uv| uv.iter().map(|&uv| uv as i64).collect()).collect() };
        let base_uv = found.base(0).uv;
        let mut groups: Vec<(&Vec<usize>, Group)> = Vec::new();
        for (members, short) in clusters.members.iter().zip(rules) {
            let sums = Taken::total(members.iter().map(|&leaf| &self.taken[leaf])).expect("a cluster has a leaf");
            let of = |metric: usize| -> Stats { sums.stats[metric].iter().copied().sum() };
            let (stats, held_out) = (of(0), sums.stats[0][VALIDATION]);
            let of_metric = |m: usize| measures(found.moments.kinds()[m], found.scales[m], &of(m), &found.base(m));
            let own = of_metric(0);
            let (direction, ranked) = match self.of {
                MergeOf::Highlights => (self.leaves[members[0]].direction, members.clone()),
                MergeOf::Cells if own.effect < 0.0 => (Direction::Under, self.by_size(members)),
                MergeOf::Cells => (Direction::Over, self.by_size(members)),
            };
            let segments: Vec<Segment> = ranked.iter().map(|&leaf| self.leaves[leaf].segment).collect();
            let taken = ranked.iter().map(|&leaf| self.uv(leaf)).collect();
            let profile = profile(codebook, &sums.profile, stats.uv, &base, base_uv);
            let validation = measures(found.kind, found.scale, &held_out, &found.bases[0][VALIDATION]);
            let group = Group {
                id: 0,
                direction,
                name: String::new(),
                named: Vec::new(),
                segments,
                taken,
                stats,
                measures: own,
                validation: (held_out.uv > 0).then_some(validation),
                test: test(found.kind, found.scale, &stats, &found.base(0)),
                validation_test: test(found.kind, found.scale, &held_out, &found.bases[0][VALIDATION]),
                short,
                secondary: (1..found.scales.len()).map(of_metric).collect(),
                profile,
            };
            groups.push((members, group));
        }
        // The discovery part made groups of cells.
        let influence = |group: &Group| group.influence(self.of == MergeOf::Cells).abs();
        groups
            .sort_by(|(_, a), (_, b)| influence(b).total_cmp(&influence(a)).then_with(|| a.segments.cmp(&b.segments)));
        let all: Vec<&Group> = groups.iter().map(|(_, group)| group).collect();
        let names = merge::names(codebook, self.of, language, &all);
        let mut id_of = vec![0u32; self.leaves.len()];
        for (id, ((members, group), (name, named))) in (1..).zip(groups.iter_mut().zip(names)) {
            (group.id, group.name, group.named) = (id, name, named);
            members.iter().for_each(|&leaf| id_of[leaf] = id);
        }
        assigned.leaf.iter_mut().for_each(|leaf| *leaf = self.asked[*leaf as usize] as u32);
        assigned.group = assigned.leaf.iter().map(|&leaf| id_of[leaf as usize]).collect();
        let reason = match self.of {
            MergeOf::Highlights => found.reason(clusters.reason),
            MergeOf::Cells => self.reason(codebook, clusters.reason),
        };
        let ids = clusters.members.iter().map(|members| id_of[members[0]]).collect();
        let home = |members: &Vec<usize>| members.iter().find_map(|&leaf| self.home[leaf]);
        let homes = groups.iter().map(|(members, _)| clusters.kept.and_then(|_| home(members))).collect();
        let grouping = Grouping {
            groups: groups.into_iter().map(|(_, group)| group).collect(),
            asked: self.asked.iter().map(|&leaf| (self.leaves[leaf].segment, id_of[leaf])).collect(),
            leaves: self.leaves.iter().map(|leaf| leaf.segment).collect(),
            merges: clusters.merges,
            choices: clusters.choices,
            reason,
            kept: clusters.kept,
            homes,
            ..Grouping::default()
        };
        (grouping, ids)
    }

    /// Why there are so many groups, from the cells on.
    fn reason(&self, codebook: &Codebook, cut: String) -> String {
        if self.leaves.is_empty() {
            return "no feature is left to divide the customers by (features, screen, merge.max_cells), so there are no groups".into();
        }
        let features: Vec<&str> = self.leaves.first().map_or(Vec::new(), |leaf| {
            leaf.segment.items().map(|item| codebook.feature(item.feature).name.as_str()).collect()
        });
        format!(
            "the customers have {} combinations of {}; these were merged: {cut}",
            self.leaves.len(),
            features.join(", ")
        )
    }
}

/// How worker 0's start becomes a tree that grows.
pub fn rounds(job: &Job, (leaves, space): (Vec<Leaf>, Space)) -> Rounds {
    Rounds::new(job.merge.linkage, &leaves, &space)
}
