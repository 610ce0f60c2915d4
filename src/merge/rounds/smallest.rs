//! The smallest group joins its most similar neighbour, again and again; the neighbours of many small ones are looked for at once.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use super::super::space::{Leaf, Space, distance};
use super::super::tiles::{Nearest, Tiles, neighbours};
use crate::profile::Profile;
use crate::stats::Stats;

/// Neighbours that a small cluster is given.
const KEPT: usize = 16;
/// The share of the clusters that are looked at together, and how many at the least and at the most.
const TOGETHER: (usize, [usize; 2]) = (32, [32, 1024]);
/// Squared distances are computed in two ways, which differ by less than this.
const SLACK: f64 = 1.0 - 1e-12;

/// Clusters of one direction, on their way to one.
///
/// Merging pools profiles, so distances may fall and the merges depend on their order: they are done one after the other. What takes
/// long is to look for neighbours, and that is done for the smallest clusters together. Between two rounds few clusters change; their
/// distances are computed anew, and the others are as far away as they were.
#[derive(Debug)]
pub(super) struct SmallestFirst {
    space: Space,
    tiles: Tiles,
    /// By place.
    clusters: Vec<Option<Cluster>>,
    /// Those that are there by their customers, then by their number: as [`super::super::linkage`] takes them.
    queue: BTreeSet<(i64, usize, u32)>,
    wanted: Vec<u32>,
    next: usize,
    joins: Vec<Join>,
}

#[derive(Debug)]
struct Cluster {
    leaf: usize,
    number: usize,
    uv: i64,
    stats: Stats,
    profile: Profile,
    point: Vec<f64>,
}

/// The smallest cluster joins another.
#[derive(Debug)]
pub(super) struct Join {
    /// A leaf of the smallest and one of the other.
    pub leaves: [usize; 2],
    /// Customers of the smallest.
    pub uv: i64,
    pub height: f64,
}

impl SmallestFirst {
    /// Of these leaves, at least one.
    pub fn new(leaves: &[Leaf], members: &[usize], space: &Space) -> SmallestFirst {
        let point = |&leaf: &usize| space.point(&leaves[leaf].stats, &leaves[leaf].profile);
        let points: Vec<Vec<f64>> = members.iter().map(point).collect();
        let of: Vec<&[f64]> = points.iter().map(Vec::as_slice).collect();
        let order = neighbours(&of);
        let cluster = |&i: &u32| {
            let leaf = members[i as usize];
            let Leaf { uv, stats, profile, .. } = &leaves[leaf];
            let point = points[i as usize].clone();
            Some(Cluster { leaf, number: leaf, uv: *uv, stats: *stats, profile: profile.clone(), point })
        };
        let mut own = SmallestFirst {
            space: space.clone(),
            tiles: Tiles::new(&[], &[], false),
            clusters: order.iter().map(cluster).collect(),
            queue: BTreeSet::new(),
            wanted: Vec::new(),
            next: leaves.len(),
            joins: Vec::new(),
        };
        own.place();
        own.choose();
        own
    }

    /// Puts all clusters, which lie near each other, into tiles.
    fn place(&mut self) {
        let points: Vec<&[f64]> = self.clusters.iter().flatten().map(|cluster| cluster.point.as_slice()).collect();
        self.tiles = Tiles::new(&points, &vec![1.0; points.len()], false);
        let entry = |(place, cluster): (usize, &Cluster)| (cluster.uv, cluster.number, place as u32);
        self.queue = self.clusters.iter().flatten().enumerate().map(entry).collect();
    }

    /// The smallest ones are looked at next.
    fn choose(&mut self) {
        let (share, [least, most]) = TOGETHER;
        let together = if self.queue.len() > 1 { (self.queue.len() / share).clamp(least, most) } else { 0 };
        self.wanted = self.queue.iter().take(together).map(|&(_, _, place)| place).collect();
        // By place, as those near each other are found fastest together.
        self.wanted.sort_unstable();
    }

    pub fn wanted(&self) -> usize {
        self.wanted.len()
    }

    pub fn search(&self, some: Range<usize>) -> Vec<Nearest> {
        self.tiles.search(&self.wanted[some], KEPT)
    }

    fn cluster(&self, place: u32) -> Option<&Cluster> {
        self.clusters[place as usize].as_ref()
    }

    /// Merges as far as what was found tells the nearest neighbour of the smallest.
    pub fn advance(&mut self, found: Vec<Nearest>) {
        let mut found: HashMap<u32, Nearest> = self.wanted.iter().copied().zip(found).collect();
        let mut changed: BTreeSet<u32> = BTreeSet::new();
        let mut first = true;
        while self.queue.len() > 1 {
            let &(_, _, smallest) = self.queue.first().expect("two are there");
            let Some(Nearest { near, bound }) = found.get(&smallest) else { break };
            let known = near.iter().map(|&(_, place)| place).filter(|place| !changed.contains(place));
            let others = known.chain(changed.iter().copied()).filter(|&place| place != smallest);
            let mut nearest = self.nearest(smallest, others);
            // Beyond the bound there may be one as near, of a lower number.
            let sure = nearest.is_some_and(|(height, ..)| height * height < SLACK * bound) || bound.is_infinite();
            if !sure {
                if !first {
                    break;
                }
                let all = (0..self.clusters.len() as u32).filter(|&place| place != smallest);
                nearest = self.nearest(smallest, all);
            }
            let Some((height, _, into)) = nearest else { break };
            self.join(smallest, into, height);
            changed.remove(&smallest);
            changed.insert(into);
            found.remove(&into);
            first = false;
        }
        if self.queue.len() <= self.clusters.len() / 2 && self.queue.len() > 1 {
            self.draw_together();
        }
        self.choose();
    }

    /// The nearest of those of these that are there: how far, its number, and its place.
    fn nearest(&self, own: u32, others: impl Iterator<Item = u32>) -> Option<(f64, usize, u32)> {
        let point = &self.cluster(own)?.point;
        let there = others.filter_map(|place| Some((place, self.cluster(place)?)));
        let all = there.map(|(place, cluster)| (distance(point, &cluster.point), cluster.number, place));
        all.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)))
    }

    fn join(&mut self, smallest: u32, into: u32, height: f64) {
        let cluster = self.clusters[smallest as usize].take().expect("it is there");
        let partner = self.clusters[into as usize].as_mut().expect("it is there");
        self.queue.remove(&(cluster.uv, cluster.number, smallest));
        self.queue.remove(&(partner.uv, partner.number, into));
        self.joins.push(Join { leaves: [cluster.leaf, partner.leaf], uv: cluster.uv, height });
        partner.uv += cluster.uv;
        partner.stats = partner.stats + cluster.stats;
        partner.profile.add(&cluster.profile);
        partner.point = self.space.point(&partner.stats, &partner.profile);
        partner.number = self.next;
        self.next += 1;
        self.queue.insert((partner.uv, partner.number, into));
        self.tiles.remove(smallest as usize);
        self.tiles.put(into as usize, &partner.point, 1.0);
    }

    /// Gives those that are left new places, near each other again.
    fn draw_together(&mut self) {
        let mut left: Vec<Option<Cluster>> =
            std::mem::take(&mut self.clusters).into_iter().flatten().map(Some).collect();
        let points: Vec<&[f64]> = left.iter().flatten().map(|cluster| cluster.point.as_slice()).collect();
        let order = neighbours(&points);
        self.clusters = order.iter().map(|&i| left[i as usize].take()).collect();
        self.place();
    }

    pub fn into_joins(self) -> Vec<Join> {
        self.joins
    }
}
