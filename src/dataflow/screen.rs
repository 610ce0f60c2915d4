//! Screening, over all workers: what each feature and each pair of features says, added up and judged by one.

use std::collections::{BTreeMap, BTreeSet};

use timely::worker::Worker;

use super::collective::{broadcast, gather};
use super::enumerate::agree_load;
use super::load::Loaded;
use super::shared::Shared;
use crate::block::{Block, Figures};
use crate::encode::Shard;
use crate::enumerate::{Load, Round, Shape, Tally, Unit, count_block, count_ranked, count_tagged};
use crate::job::Job;
use crate::screen::{Candidate, Verdict, screen};
use crate::segment::{FeatureId, FeatureSet};
use crate::stats::{DISCOVERY, Moments, PARTS, Stats};

/// Pairs with more cells than this are not compared for aliases: such features are rarely aliases, and their cells many.
const MOST_PAIR_CELLS: usize = 1 << 12;

/// Judges the features and drops those that are not combined, from the codebook and from the rows.
///
/// Where two periods are compared, the codebook then counts the customers of the later one.
///
/// What crosses between workers is one sum a code, and one count a pair of codes, to worker 0. All workers get the verdicts,
/// and what the plan has to know of the rows.
pub fn screened(worker: &mut Worker, shared: &Shared, job: &Job, loaded: &mut Loaded) -> (Vec<Verdict>, Load) {
    let shape = Shape::of(&loaded.codebook);
    let shard = &loaded.shard;
    let load = agree_load(worker, shared, shard);
    // Every worker counts its own rows here: the passes are few.
    let counted = |shard: &Shard, sets: BTreeSet<FeatureSet>, figures: &Figures| {
        let load = Load { rows: shard.rows() as u64, figures: figures.clone(), ..load.clone() };
        let round = Round::of_sets(sets, &shape, &load);
        let mut tally = Tally::new(figures);
        let count = |unit: &Unit| match unit {
            Unit::Cover(block) => count_block(&[shard], block, &shape, &mut tally),
            Unit::Ranked(group) => count_ranked(&[shard], group, &round.layouts, figures),
            Unit::Tagged(group) => count_tagged(&[shard], group, &round.layouts, figures),
        };
        round.units.iter().flat_map(count).collect::<Vec<(FeatureSet, Block)>>()
    };
    let features = shape.features() as FeatureId;
    let singles = (0..features).map(|f| FeatureSet::new(&[f])).chain([FeatureSet::EMPTY]).collect();
    let totals = added(worker, counted(shard, singles, &load.figures));

    let mut pairs: BTreeMap<FeatureSet, Block> = BTreeMap::new();
    if !job.screen.off {
        let card = |f: FeatureId| shape.cardinality[usize::from(f)];
        let wanted: BTreeSet<FeatureSet> = (0..features)
            .flat_map(|a| (a + 1..features).map(move |b| (a, b)))
            .filter(|&(a, b)| card(a) * card(b) <= MOST_PAIR_CELLS)
            // A set of tags is no alias of anything.
            .filter(|&(a, b)| !shape.tags[usize::from(a)] && !shape.tags[usize::from(b)])
            .map(|(a, b)| FeatureSet::new(&[a, b]))
            .collect();
        // Only customers are counted here.
        let customers = Figures::new(Moments::of(&[]), &[], loaded.rows);
        // What does not look at the metric looks at both periods, if there are two, as items do.
        pairs = added(worker, counted(loaded.periods.as_ref().unwrap_or(shard), wanted, &customers));
    }

    let verdicts = (worker.index() == 0).then(|| {
        let moments = &load.figures.moments;
        let stats = |set: FeatureSet, code: usize| -> Stats {
            let planes = &totals[&set].planes()[DISCOVERY * load.figures.per_part()..];
            let sums: Vec<i128> = planes[1..=moments.width()].iter().map(|plane| plane.at(code)).collect();
            moments.stats(0, planes[0].at(code) as i64, &sums)
        };
        let total = stats(FeatureSet::EMPTY, 0);
        let candidates: Vec<Candidate> = (0..shape.features())
            .map(|f| {
                let set = FeatureSet::new(&[f as FeatureId]);
                let cells = shape.cardinality[f];
                let name = &loaded.codebook.features[f].name;
                let column = loaded.columns.iter().find(|c| c.name == *name).expect("every feature was read");
                let stats = (0..cells).map(|code| stats(set, code)).collect();
                Candidate { stats, total, nulls: column.nulls, distinct: column.distinct }
            })
            .collect();
        let kind = load.figures.moments.kinds()[0];
        let pairs = pairs.iter().map(|(&set, block)| (set, uv_of(block))).collect();
        let mut verdicts = screen(&job.screen, &loaded.codebook, &candidates, kind, loaded.rows, &pairs);
        verdicts.extend(loaded.refused.iter().map(|(name, reason)| refused(name, reason, loaded)));
        verdicts
    });
    let verdicts = broadcast(worker, verdicts);
    let kept: Vec<bool> = verdicts.iter().map(|v| v.kept).collect();
    std::iter::once(&mut loaded.shard).chain(&mut loaded.periods).for_each(|shard| shard.keep_features(&kept));
    if loaded.periods.is_some() {
        // Items were agreed over both periods; from here on they count the customers of the later one.
        let single = |feature| totals.get(&FeatureSet::new(&[feature])).map(uv_of).unwrap_or_default();
        let counts = (worker.index() == 0).then(|| (0..features).map(single).collect::<Vec<Vec<i64>>>());
        for (feature, counts) in loaded.codebook.features.iter_mut().zip(broadcast(worker, counts)) {
            feature.uv = counts.into_iter().map(|uv| uv as u64).collect();
        }
    }
    let mut load = load;
    let mut keep = verdicts.iter().map(|v| v.kept);
    load.tags.retain(|_| keep.next() == Some(true));
    let mut keep = verdicts.iter().map(|v| v.kept);
    loaded.codebook.features.retain(|_| keep.next() == Some(true));
    (verdicts, load)
}

/// The workers' blocks added up, at worker 0.
fn added(worker: &mut Worker, blocks: Vec<(FeatureSet, Block)>) -> BTreeMap<FeatureSet, Block> {
    let mut totals: BTreeMap<FeatureSet, Block> = BTreeMap::new();
    for (set, block) in gather(worker, blocks).into_iter().flatten() {
        totals.entry(set).or_default().add(&block);
    }
    totals
}

/// The customers of each cell, both parts together.
fn uv_of(block: &Block) -> Vec<i64> {
    let parts = block.planes().chunks(block.planes().len() / PARTS);
    let cells = block.planes()[0].len();
    let mut uv = vec![0i64; cells];
    parts.for_each(|planes| uv.iter_mut().enumerate().for_each(|(cell, uv)| *uv += planes[0].at(cell) as i64));
    uv
}

/// The verdict on a column that could not be encoded.
fn refused(name: &str, reason: &str, loaded: &Loaded) -> Verdict {
    let column = loaded.columns.iter().find(|c| c.name == name);
    Verdict {
        feature: name.to_owned(),
        column: name.to_owned(),
        distinct: column.map_or(0, |c| c.distinct),
        items: 0,
        null_share: column.map_or(0.0, |c| c.nulls as f64 / loaded.rows.max(1) as f64),
        rest_share: 0.0,
        entropy: 0.0,
        evenness: 0.0,
        influence: 0.0,
        kept: false,
        reason: reason.to_owned(),
    }
}
