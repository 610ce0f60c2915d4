//! Trees of reducible linkages: whoever are each other's nearest merge at once, in rounds.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::OnceLock;

use rayon::prelude::*;

use super::super::distances::{Distances, chain};
use super::super::tiles::{Nearest, ROWS, Tiles, neighbours};
use crate::job::Linkage;
use crate::simd::{self, LANES};

/// Neighbours that a cluster keeps. After a merge these and a bound for all others mostly tell the nearest one, without a search. A
/// search by leaves takes longer, so more is kept of it.
const KEPT: usize = 16;
const KEPT_BY_LEAVES: usize = 128;

/// The centroids of large clusters say little of how far their leaves are apart: with no more clusters than this,
/// and so large ones, the distances of all pairs of clusters are computed.
const FEW: usize = 6000;
/// Leaves a cluster then has at the least on average.
const LARGE: usize = 8;

/// Points with weights, on their way to one cluster.
///
/// Under a reducible linkage no merge brings two clusters nearer to a third than the nearer of them was (Bruynooghe, 1978). So all
/// pairs that are each other's nearest may merge at once, and the tree is that of merging the nearest pair again and again
/// (reciprocal agglomerative clustering; Sumengen, Rajagopalan et al., 2021). For the same reason a bound below which a cluster has
/// no neighbours beside those that it keeps holds on after others have merged.
///
/// No matrix of distances is held. How far clusters are apart is known from their centroids under Ward's linkage; the mean or largest
/// distance between the points of two clusters is never less than that of their centroids, so few pairs have to be looked at closely;
/// only at the end is there a matrix, of the few clusters that are left then.
#[derive(Debug)]
pub(super) struct Reducible {
    linkage: Linkage,
    /// The centroids by place.
    tiles: Tiles,
    /// By place; none where a cluster has merged into another.
    clusters: Vec<Option<Cluster>>,
    there: usize,
    /// By leaf, where the linkage looks at them.
    points: Vec<Vec<f64>>,
    /// By leaf.
    weights: Vec<f64>,
    /// Places whose neighbours are not known, ascending.
    wanted: Vec<u32>,
    /// With so few clusters left, where leaves are looked at, the distances of all pairs are.
    few: usize,
    /// The leaves of all clusters, once they are looked at in this round.
    leaves: OnceLock<Leaves>,
    joins: Vec<(usize, usize, f64)>,
}

#[derive(Clone, Debug)]
struct Cluster {
    /// The lowest of its leaves.
    leaf: usize,
    weight: f64,
    /// Leaves, where the linkage looks at them; of points that are alike only the lowest.
    members: Vec<u32>,
    /// Distances as in [`Tiles`] under Ward's linkage, else those of the linkage.
    near: Vec<(f64, u32)>,
    bound: f64,
}

/// The leaves of all clusters, cluster by cluster, in tiles of points side by side.
#[derive(Debug, Default)]
struct Leaves {
    tiles: Vec<f64>,
    /// By leaf, the place of its cluster.
    of: Vec<u32>,
    weights: Vec<f64>,
}

/// One of the clusters that have just merged into one.
struct Part {
    place: u32,
    cluster: Cluster,
}

impl Reducible {
    /// Of at least one point.
    pub fn new(linkage: Linkage, points: Vec<Vec<f64>>, weights: &[f64]) -> Reducible {
        let mut joins = Vec::new();
        let mut weights = weights.to_vec();
        // Points that are alike merge first of all, and at once.
        let mut first: HashMap<Vec<u64>, usize> = HashMap::with_capacity(points.len());
        let mut leaves = Vec::with_capacity(points.len());
        for (leaf, point) in points.iter().enumerate() {
            let bits = point.iter().map(|value| (value + 0.0).to_bits()).collect();
            match *first.entry(bits).or_insert(leaf) {
                own if own == leaf => leaves.push(leaf),
                other => {
                    joins.push((other, leaf, 0.0));
                    weights[other] += weights[leaf];
                }
            }
        }
        let of: Vec<&[f64]> = leaves.iter().map(|&leaf| points[leaf].as_slice()).collect();
        let order = neighbours(&of);
        let by_place: Vec<&[f64]> = order.iter().map(|&i| of[i as usize]).collect();
        let leaf_of = |i: &u32| leaves[*i as usize];
        let place_weights: Vec<f64> = order.iter().map(|i| weights[leaf_of(i)]).collect();
        let tiles = Tiles::new(&by_place, &place_weights, linkage == Linkage::Ward);
        let cluster = |i: &u32| {
            let leaf = leaf_of(i);
            let members = if linkage == Linkage::Ward { Vec::new() } else { vec![leaf as u32] };
            Some(Cluster { leaf, weight: weights[leaf], members, near: Vec::new(), bound: f64::NEG_INFINITY })
        };
        let clusters: Vec<Option<Cluster>> = order.iter().map(cluster).collect();
        let there = clusters.len();
        let (points, few) = if linkage == Linkage::Ward { (Vec::new(), 0) } else { (points, FEW.min(there / LARGE)) };
        let wanted = if there > 1 { (0..there as u32).collect() } else { Vec::new() };
        Reducible { linkage, tiles, clusters, there, points, weights, wanted, few, leaves: OnceLock::new(), joins }
    }

    /// How many searches this round needs; none at the end.
    pub fn wanted(&self) -> usize {
        self.wanted.len()
    }

    /// Some of the searches of this round, by number.
    pub fn search(&self, some: Range<usize>) -> Vec<Nearest> {
        let places = &self.wanted[some];
        if self.linkage == Linkage::Ward {
            return self.tiles.search(places, KEPT);
        }
        places.chunks(ROWS).flat_map(|places| self.search_exactly(places)).collect()
    }

    /// By the distances of the linkage: those whose centroids are nearest are looked at, and of all others it is known that they are not
    /// nearer than that. Where that tells nothing all leaves are looked at.
    fn search_exactly(&self, places: &[u32]) -> Vec<Nearest> {
        if self.there <= self.few {
            let lower = self.rows(places, |place| place as usize).into_iter();
            return lower
                .map(|row| Nearest { near: row.into_iter().zip(0..).collect(), bound: f64::INFINITY })
                .collect();
        }
        let by_centroid = self.tiles.search(places, 2 * KEPT_BY_LEAVES).into_iter().zip(places);
        let mut found: Vec<Nearest> = by_centroid.map(|(found, &place)| self.by_leaves(place, found)).collect();
        let unknown: Vec<usize> = (0..places.len()).filter(|&i| found[i].near.is_empty()).collect();
        let of: Vec<u32> = unknown.iter().map(|&i| places[i]).collect();
        for (i, row) in unknown.into_iter().zip(self.rows(&of, |_| self.clusters.len())) {
            let others =
                (0..).zip(row).filter(|&(other, _)| other != places[i] && self.clusters[other as usize].is_some());
            found[i] = nearest(others.map(|(other, distance)| (distance, other)).collect(), KEPT_BY_LEAVES);
        }
        found
    }

    /// Of those found by their centroids, those that are not farther than all that were not found may be.
    fn by_leaves(&self, place: u32, found: Nearest) -> Nearest {
        let mut near: Vec<(f64, u32)> =
            found.near.iter().map(|&(_, other)| (self.between(place, other), other)).collect();
        near.sort_by(by_distance);
        let mut bound = found.bound.sqrt();
        near.truncate(near.partition_point(|other| other.0 <= bound));
        cut(&mut near, &mut bound, KEPT_BY_LEAVES);
        Nearest { near, bound }
    }

    fn cluster(&self, place: u32) -> &Cluster {
        self.clusters[place as usize].as_ref().expect("lists name clusters that are there")
    }

    /// How far two clusters that are there are apart, from their leaves.
    fn between(&self, i: u32, j: u32) -> f64 {
        let (i, j) = (i.min(j), i.max(j));
        match self.linkage {
            Linkage::Ward => self.tiles.between(i as usize, j as usize),
            _ => self.of_leaves(self.cluster(i), self.cluster(j)),
        }
    }

    fn of_leaves(&self, a: &Cluster, b: &Cluster) -> f64 {
        let apart = |i: u32, j: u32| simd::square(&self.points[i as usize], &self.points[j as usize]).sqrt();
        if self.linkage == Linkage::Complete {
            let all = a.members.iter().flat_map(|&i| b.members.iter().map(move |&j| apart(i, j)));
            return all.fold(0.0, f64::max);
        }
        let row = |&i: &u32| {
            let all = b.members.iter().map(|&j| self.weights[j as usize] * apart(i, j));
            self.weights[i as usize] * all.sum::<f64>()
        };
        a.members.iter().map(row).sum::<f64>() / (a.weight * b.weight)
    }

    /// Enters what was found, of all searches in order, and merges who are each other's nearest until the neighbours of some have to be
    /// searched for again.
    pub fn advance(&mut self, found: Vec<Nearest>) {
        if self.there <= self.few {
            return self.finish(&found);
        }
        for (&place, Nearest { near, bound }) in self.wanted.iter().zip(found) {
            let cluster = self.clusters[place as usize].as_mut().expect("only clusters that are there are wanted");
            (cluster.near, cluster.bound) = (near, bound);
        }
        self.wanted.clear();
        self.leaves.take();
        while self.wanted.is_empty() && self.there > 1 {
            self.merge_pairs();
            let at_last = (2..=self.few).contains(&self.there);
            if (at_last || self.there <= self.clusters.len() / 2) && self.there > 1 {
                self.draw_together();
            }
            if at_last {
                self.wanted = (0..self.there as u32).collect();
                return;
            }
            let places = 0..self.clusters.len() as u32;
            let unknown = |cluster: &Cluster| cluster.near.first().is_none_or(|first| first.0 > cluster.bound);
            let wanted = places.filter(|&place| self.clusters[place as usize].as_ref().is_some_and(unknown));
            self.wanted = if self.there > 1 { wanted.collect() } else { Vec::new() };
        }
    }

    fn leaves(&self) -> Leaves {
        let (mut leaves, mut points) = (Leaves::default(), Vec::new());
        for (place, cluster) in (0..).zip(&self.clusters) {
            for &leaf in cluster.iter().flat_map(|cluster| &cluster.members) {
                leaves.of.push(place);
                leaves.weights.push(self.weights[leaf as usize]);
                points.push(self.points[leaf as usize].as_slice());
            }
        }
        for points in points.chunks(LANES) {
            let start = leaves.tiles.len();
            leaves.tiles.resize(start + points[0].len() * LANES, 0.0);
            for (lane, point) in points.iter().enumerate() {
                point.iter().enumerate().for_each(|(d, &value)| leaves.tiles[start + d * LANES + lane] = value);
            }
        }
        leaves
    }

    /// How far some clusters are from those in the first places, of each as many as wanted, from all their leaves. Each row is the same
    /// whichever others are asked for.
    fn rows(&self, places: &[u32], many: impl Fn(u32) -> usize) -> Vec<Vec<f64>> {
        let mut rows: Vec<Vec<f64>> = places.iter().map(|&place| vec![0.0; many(place)]).collect();
        let of = |(row, &place): (usize, &u32)| self.cluster(place).members.chunks(ROWS).map(move |part| (row, part));
        let mut parts = places.iter().enumerate().flat_map(of).peekable();
        // A tile is read once for many leaves: all tiles together are more than a processor keeps at hand.
        while parts.peek().is_some() {
            let mut some = 0;
            let few = std::iter::from_fn(|| parts.next_if(|_| some < ROWS).inspect(|(_, part)| some += part.len()));
            self.add_leaves(&few.collect::<Vec<_>>(), &mut rows);
        }
        for (&place, row) in places.iter().zip(&mut rows).filter(|_| self.linkage != Linkage::Complete) {
            let weight = self.cluster(place).weight;
            let others = row.iter_mut().zip(&self.clusters);
            others.for_each(|(sum, other)| *sum /= weight * other.as_ref().map_or(1.0, |other| other.weight));
        }
        rows
    }

    /// Adds the distances of some leaves, or puts their largest, to the rows that they belong to.
    fn add_leaves(&self, parts: &[(usize, &[u32])], rows: &mut [Vec<f64>]) {
        let all = self.leaves.get_or_init(|| self.leaves());
        let mut squares = [0.0; LANES];
        let width = self.points.first().map_or(0, Vec::len) * LANES;
        for ((tile, of), weights) in all.tiles.chunks(width).zip(all.of.chunks(LANES)).zip(all.weights.chunks(LANES)) {
            for &(row, part) in parts {
                let row = &mut rows[row];
                if of[0] as usize >= row.len() {
                    continue;
                }
                for &leaf in part {
                    let (point, weight) = (&self.points[leaf as usize], self.weights[leaf as usize]);
                    simd::squares(point, tile, &mut squares);
                    simd::roots(&mut squares);
                    for ((&of, distance), other) in of.iter().zip(squares).zip(weights) {
                        let Some(found) = row.get_mut(of as usize) else { break };
                        match self.linkage {
                            Linkage::Complete => *found = found.max(distance),
                            _ => *found += weight * other * distance,
                        }
                    }
                }
            }
        }
    }

    /// Merges those that are left by the distances of all pairs.
    fn finish(&mut self, rows: &[Nearest]) {
        let distances = Distances::by(self.there, |i, j| rows[i.max(j)].near[i.min(j)].0);
        let clusters: Vec<&Cluster> = self.clusters.iter().flatten().collect();
        let weights: Vec<f64> = clusters.iter().map(|cluster| cluster.weight).collect();
        let joins = chain(self.linkage, distances, &weights).into_iter();
        self.joins.extend(joins.map(|(a, b, height)| (clusters[a].leaf, clusters[b].leaf, height)));
        self.there = 1;
        self.wanted.clear();
    }

    fn merge_pairs(&mut self) {
        let mut into: Vec<u32> = (0..self.clusters.len() as u32).collect();
        let mut merged: HashMap<u32, [Part; 2]> = HashMap::new();
        for (a, b, distance) in self.pairs() {
            merged.insert(a, self.join(a, b, distance));
            into[b as usize] = a;
        }
        let places = 0..self.clusters.len() as u32;
        let updated: Vec<(u32, Nearest)> =
            places.into_par_iter().filter_map(|place| self.updated(place, &into, &merged)).collect();
        for (place, Nearest { near, bound }) in updated {
            let cluster = self.clusters[place as usize].as_mut().expect("only those that are there are updated");
            (cluster.near, cluster.bound) = (near, bound);
        }
    }

    /// Those who are each other's nearest, the lower place first.
    fn pairs(&self) -> Vec<(u32, u32, f64)> {
        let nearest = |place: u32| self.cluster(place).near[0];
        let there = || (0..self.clusters.len() as u32).filter(|&place| self.clusters[place as usize].is_some());
        let pair = |a: u32| {
            let (distance, b) = nearest(a);
            (a < b && nearest(b).1 == a).then_some((a, b, distance))
        };
        let pairs: Vec<(u32, u32, f64)> = there().filter_map(pair).collect();
        if !pairs.is_empty() {
            return pairs;
        }
        // Distances alike but for their rounding may make everybody's nearest somebody else's: then the nearest of all.
        let least = there().min_by(|&a, &b| nearest(a).0.total_cmp(&nearest(b).0).then(a.cmp(&b)));
        least.map(|a| (a.min(nearest(a).1), a.max(nearest(a).1), nearest(a).0)).into_iter().collect()
    }

    /// Merges two clusters in the place of the first; gives what they were.
    fn join(&mut self, a: u32, b: u32, distance: f64) -> [Part; 2] {
        let take = |clusters: &mut Vec<Option<Cluster>>, place: u32| {
            clusters[place as usize].take().expect("only clusters that are there merge")
        };
        let (own, other) = (take(&mut self.clusters, a), take(&mut self.clusters, b));
        let weight = own.weight + other.weight;
        let mut point = self.tiles.point(a as usize);
        for (x, y) in point.iter_mut().zip(self.tiles.point(b as usize)) {
            *x = (own.weight * *x + other.weight * y) / weight;
        }
        self.tiles.put(a as usize, &point, weight);
        self.tiles.remove(b as usize);
        let height = if self.linkage == Linkage::Ward { distance.sqrt() } else { distance };
        self.joins.push((own.leaf, other.leaf, height));
        self.there -= 1;
        let bound = match self.linkage {
            // One of them keeps all that there are, so both together do.
            _ if own.bound.is_infinite() || other.bound.is_infinite() => f64::INFINITY,
            // Whoever is beyond the bounds of both is beyond a mean of the bounds, and a larger distance beyond the larger.
            Linkage::Average => (own.weight * own.bound + other.weight * other.bound) / weight,
            Linkage::Complete => own.bound.max(other.bound),
            Linkage::Ward | Linkage::SmallestFirst => own.bound.min(other.bound),
        };
        self.clusters[a as usize] = Some(Cluster {
            leaf: own.leaf.min(other.leaf),
            weight,
            members: [own.members.as_slice(), &other.members].concat(),
            near: [own.near.as_slice(), &other.near].concat(),
            bound,
        });
        [Part { place: a, cluster: own }, Part { place: b, cluster: other }]
    }

    /// What a cluster keeps after merges: who went `into` which place, and what `merged` there. None if nothing of it changes.
    fn updated(&self, place: u32, into: &[u32], merged: &HashMap<u32, [Part; 2]>) -> Option<(u32, Nearest)> {
        let cluster = self.clusters[place as usize].as_ref()?;
        let changed = |place: u32| merged.contains_key(&place);
        if !changed(place) && !cluster.near.iter().any(|&(_, other)| changed(into[other as usize])) {
            return None;
        }
        let mut near: Vec<(f64, u32)> = cluster.near.iter().map(|&(far, other)| (far, into[other as usize])).collect();
        near.retain(|&(_, other)| other != place);
        near.sort_unstable_by_key(|&(_, other)| other);
        near.dedup_by_key(|(_, other)| *other);
        for (distance, other) in &mut near {
            if changed(place) || changed(*other) {
                *distance = self.after(place.min(*other), place.max(*other), merged);
            }
        }
        near.sort_by(by_distance);
        let mut bound = cluster.bound;
        near.truncate(near.partition_point(|other| other.0 <= bound));
        cut(&mut near, &mut bound, 2 * if self.linkage == Linkage::Ward { KEPT } else { KEPT_BY_LEAVES });
        Some((place, Nearest { near, bound }))
    }

    /// How far two clusters are apart of which at least one has just merged.
    fn after(&self, i: u32, j: u32, merged: &HashMap<u32, [Part; 2]>) -> f64 {
        if self.linkage == Linkage::Ward {
            return self.tiles.between(i as usize, j as usize);
        }
        let parts = |place: u32| -> Vec<(u32, &Cluster)> {
            match merged.get(&place) {
                Some(parts) => parts.iter().map(|part| (part.place, &part.cluster)).collect(),
                None => vec![(place, self.cluster(place))],
            }
        };
        let known = |from: &Cluster, to: u32| from.near.iter().find(|other| other.1 == to).map(|other| other.0);
        let (mut sum, mut largest) = (0.0, 0.0f64);
        for (own_place, own) in parts(i) {
            for (other_place, other) in parts(j) {
                let known = known(own, other_place).or_else(|| known(other, own_place));
                let distance = known.unwrap_or_else(|| self.of_leaves(own, other));
                sum += own.weight * other.weight * distance;
                largest = largest.max(distance);
            }
        }
        if self.linkage == Linkage::Complete {
            return largest;
        }
        sum / (self.cluster(i).weight * self.cluster(j).weight)
    }

    /// Gives those that are left new places, near each other again.
    fn draw_together(&mut self) {
        let old: Vec<u32> =
            (0..self.clusters.len() as u32).filter(|&place| self.clusters[place as usize].is_some()).collect();
        let points: Vec<Vec<f64>> = old.iter().map(|&place| self.tiles.point(place as usize)).collect();
        let of: Vec<&[f64]> = points.iter().map(Vec::as_slice).collect();
        let order = neighbours(&of);
        let mut place_of = vec![u32::MAX; self.clusters.len()];
        (0..).zip(&order).for_each(|(place, &i)| place_of[old[i as usize] as usize] = place);
        let mut clusters: Vec<Option<Cluster>> = vec![None; old.len()];
        for (cluster, &place) in self.clusters.iter_mut().zip(&place_of) {
            if let Some(mut cluster) = cluster.take() {
                cluster.near.iter_mut().for_each(|other| other.1 = place_of[other.1 as usize]);
                cluster.near.sort_by(by_distance);
                clusters[place as usize] = Some(cluster);
            }
        }
        let weights: Vec<f64> = clusters.iter().flatten().map(|cluster| cluster.weight).collect();
        let points: Vec<&[f64]> = order.iter().map(|&i| of[i as usize]).collect();
        self.tiles = Tiles::new(&points, &weights, self.linkage == Linkage::Ward);
        self.clusters = clusters;
    }

    /// A leaf of either side and the height of every merge, in the order of the rounds.
    pub fn into_joins(self) -> Vec<(usize, usize, f64)> {
        self.joins
    }
}

/// The nearest first; of equal ones that of the lower place.
fn by_distance(a: &(f64, u32), b: &(f64, u32)) -> Ordering {
    a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
}

/// So many nearest of all others, which bound the rest.
fn nearest(mut others: Vec<(f64, u32)>, kept: usize) -> Nearest {
    let mut bound = f64::INFINITY;
    if others.len() > kept {
        bound = others.select_nth_unstable_by(kept, by_distance).1.0;
        others.truncate(kept);
    }
    others.sort_by(by_distance);
    Nearest { near: others, bound }
}

/// Keeps so many of the nearest; those that are not kept are bounded too.
fn cut(near: &mut Vec<(f64, u32)>, bound: &mut f64, kept: usize) {
    if let Some(beyond) = near.get(kept) {
        *bound = bound.min(beyond.0);
        near.truncate(kept);
    }
}
