//! What a segment must promise to be counted further, where only those that may be highlights are wanted.

use timely::worker::Worker;

use super::collective::{broadcast, gather};
use crate::block::Plane;
use crate::encode::Shard;
use crate::job::{Job, Keep};
use crate::score::{Spread, impact_at_most, impact_reference};
use crate::stats::{DISCOVERY, MetricKind, Moments, PARTS, Parts, Scale, Stats, VALIDATION};

/// A bound that holds for a segment and every one that says more: some of its customers in the discovery part have at least the
/// impact that the rule asks for. What does not reach it is no highlight and has none below it.
#[derive(Clone, Debug)]
pub struct Promise {
    kind: MetricKind,
    scale: Scale,
    moments: Moments,
    /// Of the discovery part.
    base: Stats,
    /// Of both parts.
    whole: Stats,
    /// In the unit of impact.
    least: f64,
}

impl Promise {
    /// What the job asks for, agreed by all workers; none where every frequent segment is kept.
    pub fn agree(worker: &mut Worker, job: &Job, shard: &Shard, scale: Scale) -> Option<Promise> {
        match job.enumerate.keep {
            Keep::All => None,
            Keep::Highlights => Some(Promise::of(worker, shard, scale, job.highlight.min_impact_share)),
        }
    }

    /// Of an impact of at least this share of [`impact_reference`].
    pub fn of(worker: &mut Worker, shard: &Shard, scale: Scale, min_impact_share: f64) -> Promise {
        let mut own = [Stats::default(); PARTS];
        for run in shard.runs() {
            // Where nothing but rates differs from zero, all rows of the run are alike.
            let sums = match run.zero {
                true => shard.metrics[0].stats_of(run.rows.clone().take(1)).times(run.rows.len() as i64),
                false => shard.metrics[0].stats_of(run.rows.clone()),
            };
            own[run.part] = own[run.part] + sums;
        }
        let all = gather(worker, own);
        let of = |part: usize| all.iter().map(|parts: &Parts<Stats>| parts[part]).sum::<Stats>();
        let parts = broadcast(worker, (worker.index() == 0).then(|| [of(DISCOVERY), of(VALIDATION)]));
        Promise::new(shard.moments(), scale, parts, min_impact_share)
    }

    /// Against a base of these parts.
    pub fn new(moments: Moments, scale: Scale, parts: Parts<Stats>, min_impact_share: f64) -> Promise {
        let (kind, base) = (moments.kinds()[0], parts[DISCOVERY]);
        let least = min_impact_share * impact_reference(kind, scale, &base);
        Promise { kind, scale, moments, base, whole: parts.into_iter().sum(), least }
    }

    /// Whether a segment with these sums over the discovery part may be a highlight, or contain one.
    pub fn kept(&self, discovery: &Stats) -> bool {
        impact_at_most(self.kind, self.scale, discovery, &self.base, discovery.uv) >= self.least
    }

    /// The same of the cell in this place of a block's planes.
    pub fn kept_by(&self, planes: &[Plane], place: usize) -> bool {
        self.kept(&self.stats(planes, place, DISCOVERY))
    }

    /// Adds the cell in this place, kept or not: on the whole base, and on the discovery part.
    pub fn spread(&self, planes: &[Plane], place: usize, [whole, discovery]: &mut [Spread; 2]) {
        let found = self.stats(planes, place, DISCOVERY);
        let both = found + self.stats(planes, place, VALIDATION);
        whole.add(self.kind, self.scale, &both, &self.whole);
        discovery.add(self.kind, self.scale, &found, &self.base);
    }

    /// The primary metric's sums of a cell in one part.
    fn stats(&self, planes: &[Plane], place: usize, part: usize) -> Stats {
        let figure = |plane: usize| planes[part * (1 + self.moments.width()) + plane].at(place);
        let mut sums = [0; MOST_MOMENTS];
        sums.iter_mut().zip(1..=self.kind.moments()).for_each(|(sum, plane)| *sum = figure(plane));
        self.moments.stats(0, figure(0) as i64, &sums)
    }

    /// Whether the bound of a segment may come out smaller than that of one that says more: of counts it never does.
    pub fn rounds(&self) -> bool {
        self.kind != MetricKind::Rate
    }

    /// Customers that an average segment needs to keep the promise, of `customers` in both parts: what a plan reckons with.
    pub fn typical_uv(&self, customers: u64) -> u64 {
        let most = impact_at_most(self.kind, self.scale, &self.base, &self.base, self.base.uv);
        if most > 0.0 { (self.least / most * customers as f64) as u64 } else { 0 }
    }
}

/// The sums of a ratio, of which there are most.
const MOST_MOMENTS: usize = 5;
