//! Screening, over all workers: what each feature and each pair of features says, added up and judged by one.

use std::collections::{BTreeMap, BTreeSet};

use timely::worker::Worker;

use super::collective::{broadcast, gather};
use super::load::Loaded;
use crate::enumerate::{GRID_CELLS, LevelPlan, Shape, Survivors, count_block, count_ranked, count_tagged, cover};
use crate::job::Job;
use crate::screen::{Candidate, Verdict, screen};
use crate::segment::{FeatureId, FeatureSet};
use crate::stats::{Block, DISCOVERY, PARTS, Stats};

/// Pairs with more cells than this are not compared for aliases: such features are rarely aliases, and their cells many.
const MOST_PAIR_CELLS: usize = 1 << 12;

/// Judges the features and drops those that are not combined, from the codebook and from the rows.
///
/// What crosses between workers is one sum a code, and one count a pair of codes, to worker 0. All workers get the verdicts.
pub fn screened(worker: &mut Worker, job: &Job, loaded: &mut Loaded) -> Vec<Verdict> {
    let shape = Shape::of(&loaded.codebook);
    let moments = loaded.shard.moments();
    let singles = LevelPlan::new(1, &shape, &Survivors::new(), loaded.shard.rows());
    let mut blocks: Vec<(FeatureSet, Block)> = Vec::new();
    for block in &singles.blocks {
        blocks.extend(count_block(&loaded.shard, block, &shape));
    }
    for group in &singles.ranked {
        blocks.extend(count_ranked(&loaded.shard, group, &singles));
    }
    for group in &singles.tagged {
        blocks.extend(count_tagged(&loaded.shard, group, &singles));
    }
    let mut totals: BTreeMap<FeatureSet, Block> = BTreeMap::new();
    for (set, block) in gather(worker, blocks).into_iter().flatten() {
        totals.entry(set).or_default().add(&block);
    }

    let mut pairs: BTreeMap<FeatureSet, Vec<i64>> = BTreeMap::new();
    if !job.screen.off {
        let features = shape.features() as FeatureId;
        let card = |f: FeatureId| shape.cardinality[usize::from(f)];
        let wanted: BTreeSet<FeatureSet> = (0..features)
            .flat_map(|a| (a + 1..features).map(move |b| (a, b)))
            .filter(|&(a, b)| card(a) * card(b) <= MOST_PAIR_CELLS)
            // A set of tags is no alias of anything.
            .filter(|&(a, b)| !shape.tags[usize::from(a)] && !shape.tags[usize::from(b)])
            .map(|(a, b)| FeatureSet::new(&[a, b]))
            .collect();
        // Only customers are counted here, so the metrics are set aside.
        let metrics = std::mem::take(&mut loaded.shard.metrics);
        let mut counts: Vec<(FeatureSet, Vec<i64>)> = Vec::new();
        for block in cover(&wanted, card, loaded.shard.rows().clamp(1 << 9, GRID_CELLS)) {
            for (set, block) in count_block(&loaded.shard, &block, &shape) {
                let Block::Dense { uv, .. } = block else { unreachable!("a covering block is dense") };
                let (discovery, validation) = uv.split_at(uv.len() / PARTS);
                counts.push((set, discovery.iter().zip(validation).map(|(d, v)| d + v).collect()));
            }
        }
        loaded.shard.metrics = metrics;
        for (set, counts) in gather(worker, counts).into_iter().flatten() {
            match pairs.get_mut(&set) {
                Some(sum) => sum.iter_mut().zip(counts).for_each(|(a, b)| *a += b),
                None => {
                    pairs.insert(set, counts);
                }
            }
        }
    }

    let verdicts = (worker.index() == 0).then(|| {
        let Block::Dense { uv, sums } = &totals[&FeatureSet::EMPTY] else {
            unreachable!("the base is counted densely")
        };
        let total = moments.stats(0, uv[DISCOVERY], &sums[DISCOVERY * moments.width()..]);
        let candidates: Vec<Candidate> = (0..shape.features())
            .map(|f| {
                let Block::Dense { uv, sums } = &totals[&FeatureSet::new(&[f as FeatureId])] else {
                    unreachable!("single features are counted densely")
                };
                let cells = uv.len() / PARTS;
                let stats = |code: usize| -> Stats {
                    let at = DISCOVERY * cells + code;
                    moments.stats(0, uv[at], &sums[at * moments.width()..])
                };
                let name = &loaded.codebook.features[f].name;
                let column = loaded.columns.iter().find(|c| c.name == *name).expect("every feature was read");
                let stats = (0..cells).map(stats).collect();
                Candidate { stats, total, nulls: column.nulls, distinct: column.distinct }
            })
            .collect();
        let kind = moments.kinds()[0];
        let mut verdicts = screen(&job.screen, &loaded.codebook, &candidates, kind, loaded.customers, &pairs);
        verdicts.extend(loaded.refused.iter().map(|(name, reason)| refused(name, reason, loaded)));
        verdicts
    });
    let verdicts = broadcast(worker, verdicts);
    let mut keep = verdicts.iter().map(|v| v.kept);
    loaded.shard.features.retain(|_| keep.next() == Some(true));
    let mut keep = verdicts.iter().map(|v| v.kept);
    loaded.codebook.features.retain(|_| keep.next() == Some(true));
    verdicts
}

/// The verdict on a column that could not be encoded.
fn refused(name: &str, reason: &str, loaded: &Loaded) -> Verdict {
    let column = loaded.columns.iter().find(|c| c.name == name);
    Verdict {
        feature: name.to_owned(),
        column: name.to_owned(),
        distinct: column.map_or(0, |c| c.distinct),
        items: 0,
        null_share: column.map_or(0.0, |c| c.nulls as f64 / loaded.customers.max(1) as f64),
        rest_share: 0.0,
        entropy: 0.0,
        evenness: 0.0,
        influence: 0.0,
        kept: false,
        reason: reason.to_owned(),
    }
}
