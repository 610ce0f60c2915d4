//! Other methods over the same rows: what is asked of all workers, and what worker 0 makes of it.
//!
//! What crosses between workers is sums by item of each part that a tree makes, counts by item of each part of k-means and round, the
//! items of the few customers whom k-means starts from, and the sums of each part.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use timely::worker::Worker;

use super::collective::{broadcast, gather};
use super::found::Found;
use crate::alternatives::{
    Centre, Counts, Division, Drawn, Growth, Judged, Lloyd, MOST_PARTS, Method, Nearest, Seeding, Split, Told, Tree,
    Weights, count, draw, marks, move_rows, spread_over, sums,
};
use crate::encode::{Codebook, Shard};
use crate::enumerate::Shape;
use crate::job::Job;
use crate::stats::{DISCOVERY, Parts, Stats, VALIDATION};

/// What worker 0 knows before other methods are asked.
pub struct Given {
    judged: Judged,
    /// What each group takes.
    groups: Vec<Parts<Stats>>,
    /// Items that the groups' segments say.
    conditions: usize,
    /// Fewest customers of a leaf.
    least: i64,
}

impl Given {
    /// Of groups as sums over their customers, whose segments say so many items.
    pub fn of(found: &Found, job: &Job, groups: Vec<Parts<Stats>>, conditions: usize) -> Given {
        let [discovery, validation] = found.bases[0];
        let judged = Judged { kind: found.kind, scale: found.scale, base: [discovery, validation] };
        let customers = discovery.uv + validation.uv;
        let least = i64::try_from(job.min_uv(customers as u64)).unwrap_or(i64::MAX);
        Given { judged, groups, conditions, least }
    }
}

/// What all workers have to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Ask {
    parts: usize,
    weights: Weights,
    /// Customers whose hash is at most this are the sample of k-means.
    limit: u64,
}

/// The seed of the hash that chooses the sample: another than that of the hold-out.
const SAMPLE: u64 = 0x6b2d_6d65_616e_7321;

/// The run's groups, k-means and a decision tree side by side, at worker 0. None where there are fewer than two groups or too many.
pub fn alternatives(
    worker: &mut Worker,
    shard: &Shard,
    codebook: &Codebook,
    influences: &[f64],
    given: Option<Given>,
) -> Vec<Division> {
    let shape = Shape::of(codebook);
    let ask = given.as_ref().map(|given| {
        let parts = given.groups.len();
        let base = given.judged.base;
        let customers = base[DISCOVERY].uv;
        let mentions = |feature: usize| {
            let all: u64 = codebook.features[feature].uv.iter().sum();
            all as f64 / (customers + base[VALIDATION].uv).max(1) as f64
        };
        let share = Seeding::CUSTOMERS as f64 / customers.max(1) as f64;
        let limit = if share >= 1.0 { u64::MAX } else { (share * u64::MAX as f64) as u64 };
        let weights = Weights::of(influences, &shape.tags, mentions);
        (2..=MOST_PARTS).contains(&parts).then_some(Ask { parts, weights, limit }).filter(|_| customers > 0)
    });
    let Some(ask) = broadcast(worker, ask) else { return Vec::new() };
    let started = Instant::now();
    let tree = tree(worker, shard, &shape, &ask, given.as_ref());
    let grown = started.elapsed().as_secs_f64();
    let kmeans = kmeans(worker, shard, &shape, &ask, given.as_ref());
    let Some(Given { judged, groups, conditions, .. }) = given else { return Vec::new() };
    tracing::debug!(tree = grown, kmeans = started.elapsed().as_secs_f64() - grown, "seconds of other methods");
    let own = Division { conditions: Some(conditions), ..judged.division(Method::Groups, &groups, Vec::new()) };
    std::iter::once(own).chain(kmeans).chain(tree).collect()
}

/// Grows a tree of one leaf more than there are groups; without its last split it has as many.
fn tree(worker: &mut Worker, shard: &Shard, shape: &Shape, ask: &Ask, given: Option<&Given>) -> Option<Division> {
    let cardinality = &shape.cardinality;
    let mut labels = vec![0u8; shard.rows()];
    let counted = |worker: &mut Worker, labels: &[u8], label: u8| {
        let mut all = gather(worker, count(shard, cardinality, labels, label)).into_iter();
        all.next().map(|mut total: Counts| {
            all.for_each(|more| total.add(&more));
            total
        })
    };
    let all = counted(worker, &labels, 0);
    let mut tree = given.zip(all).map(|(given, all)| {
        let growth = Growth {
            kind: given.judged.kind,
            base: given.judged.base[DISCOVERY],
            items: shape.items.clone(),
            tags: shape.tags.clone(),
            least: given.least,
            leaves: ask.parts + 1,
        };
        Tree::new(growth, all)
    });
    loop {
        let split: Option<Split> = broadcast(worker, tree.as_mut().map(Tree::split));
        let Some(split) = split else { break };
        move_rows(shard, &split, &mut labels);
        let counts = counted(worker, &labels, split.counted);
        if let (Some(tree), Some(counts)) = (&mut tree, counts) {
            tree.counted(counts);
        }
    }
    let sums = summed(worker, shard, &labels, ask.parts + 1);
    let (tree, judged) = (tree?, given?.judged);
    let splits = tree.splits();
    let grown = &sums[..=splits.len()];
    let Some(last) = splits.get(ask.parts - 1) else {
        let rules = tree.rules(splits.len()).into_iter().map(Told::Rule).collect();
        return Some(judged.division(Method::Tree, grown, rules));
    };
    let mut fewer = grown[..ask.parts].to_vec();
    let part = &mut fewer[usize::from(last.part)];
    *part = [DISCOVERY, VALIDATION].map(|side| part[side] + grown[ask.parts][side]);
    let rules = tree.rules(ask.parts - 1).into_iter().map(Told::Rule).collect();
    let division = judged.division(Method::Tree, &fewer, rules);
    Some(Division { one_more: Some(judged.explained(grown)), ..division })
}

/// k-means of as many parts as there are groups, and of one more.
fn kmeans(worker: &mut Worker, shard: &Shard, shape: &Shape, ask: &Ask, given: Option<&Given>) -> Option<Division> {
    let (rows, hashes): (Vec<u32>, Vec<u64>) = shard.hashed_up_to(DISCOVERY, ask.limit, SAMPLE).into_iter().unzip();
    let sample = Sample { rows: shard.some(&rows), hashes, cardinality: &shape.cardinality };
    let sets = sample.fit(worker, &ask.weights, ask.parts);
    let labels = Nearest::new(&ask.weights, &sets, shard.rows()).labels(shard);
    let mut of_set = |set: usize| summed(worker, shard, &labels[set], sets[set].len());
    let (sums, more) = (of_set(0), of_set(1));
    let [centres, _] = sets;
    let judged = given?.judged;
    let mut all = Centre::none(&shape.cardinality);
    centres.iter().for_each(|centre| all.add(centre));
    let told = centres.iter().map(|part| Told::Marks(marks(part, &all, &shape.items, &shape.tags)));
    let division = judged.division(Method::Kmeans, &sums, told.collect());
    Some(Division { one_more: Some(judged.explained(&more)), ..division })
}

/// The customers of this worker that k-means is fitted on.
struct Sample<'a> {
    rows: Shard,
    hashes: Vec<u64>,
    cardinality: &'a [usize],
}

impl Sample<'_> {
    /// The centres of so many parts, and of one more, each of the best of several starts, at all workers; fewer where customers have
    /// fewer profiles. Both start from the same customers, so that they are drawn once.
    fn fit(&self, worker: &mut Worker, weights: &Weights, parts: usize) -> [Vec<Centre>; 2] {
        let mut starts: Vec<Vec<Centre>> = vec![Vec::new(); Seeding::STARTS];
        for number in 0..=parts {
            let away = (number > 0).then(|| Nearest::new(weights, &starts, self.rows.rows()).distances(&self.rows));
            let draw = |start: usize| {
                let away = away.as_ref().map(|away| &away[start][..]);
                draw(&self.rows, &self.hashes, self.cardinality, away, Seeding::of(start, number))
            };
            let drawn: Vec<Option<Drawn>> = (0..starts.len()).map(draw).collect();
            let mut all = gather(worker, drawn);
            let first = (!all.is_empty()).then(|| {
                let of = |start: usize| Drawn::first(all.iter_mut().filter_map(|drawn| drawn[start].take()));
                (0..starts.len()).map(of).collect::<Vec<Option<Drawn>>>()
            });
            let first = broadcast(worker, first);
            starts.iter_mut().zip(first).for_each(|(start, drawn)| start.extend(drawn.map(|drawn| drawn.centre)));
        }
        let fewer = starts.iter().map(|start| start[..parts.min(start.len())].to_vec()).collect();
        let mut both = (worker.index() == 0).then(|| [fewer, starts].map(|starts| Lloyd::new(weights.clone(), starts)));
        loop {
            let asked = both.as_ref().map(|both| both.each_ref().map(Lloyd::asked).concat());
            let asked = broadcast(worker, asked);
            if asked.is_empty() {
                let best = both.map(|both| both.map(Lloyd::best));
                let scatter = best.as_ref().map(|best| best.each_ref().map(|(_, scatter)| *scatter));
                tracing::debug!(parts, ?scatter, "k-means");
                return broadcast(worker, best.map(|best| best.map(|(centres, _)| centres)));
            }
            let labels = Nearest::new(weights, &asked, self.rows.rows()).labels(&self.rows);
            let parts: Vec<usize> = asked.iter().map(Vec::len).collect();
            let mut all = gather(worker, spread_over(&self.rows, self.cardinality, &labels, &parts)).into_iter();
            if let (Some([fewer, more]), Some(mut total)) = (&mut both, all.next()) {
                for other in all {
                    total.iter_mut().flatten().zip(other.iter().flatten()).for_each(|(a, b)| a.add(b));
                }
                let of_more = total.split_off(fewer.asked().len());
                fewer.counted(total);
                more.counted(of_more);
            }
        }
    }
}

/// The workers' sums by label, added up at worker 0.
fn summed(worker: &mut Worker, shard: &Shard, labels: &[u8], parts: usize) -> Vec<Parts<Stats>> {
    let mut total = vec![[Stats::default(); 2]; parts];
    for more in gather(worker, sums(shard, labels, parts)) {
        let both = total.iter_mut().flatten().zip(more.iter().flatten());
        both.for_each(|(a, b)| *a = *a + *b);
    }
    total
}
