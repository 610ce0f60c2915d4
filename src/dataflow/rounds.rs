//! Trees of many things, grown by all workers: an iterative dataflow, round by round.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange as ExchangePact;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::{Capability, Concat, ConnectLoop, Feedback, Probe, ToStream};
use timely::dataflow::{Scope, StreamVec};
use timely::worker::Worker;

use super::collective::exchange;
use super::enumerate::QUANTUM;
use super::shared::Shared;
use crate::merge::{Nearest, ROWS, Rounds, Tree};

/// Rounds since the start.
type Round = u64;

/// The worker that it is for; the number of the first search, and what it and those after it found.
type Found = (u64, u64, Vec<Nearest>);

/// Grows worker 0's tree; elsewhere the result is none.
///
/// `start` is what each process makes the same [`Rounds`] of, by `make`: points, not distances, so that each process can hold them all. Its
/// first worker keeps them. In each round all workers search, those of a process whatever is next of the process's share; what they
/// find goes to the first worker of every process, which merges when all of the round is there, and tells its own to go on:
///
/// ```text
/// begin --> search (any worker) == found, to every process ==> merge (first worker of each) --> begin the next round
///   ^                                                                                                        |
///   +--------------------------------------------------------------------------------------------------------+
/// ```
pub fn grow<S: timely::ExchangeData + Clone>(
    worker: &mut Worker,
    shared: &Arc<Shared>,
    start: Option<S>,
    make: impl FnOnce(S) -> Rounds,
) -> Option<Tree> {
    let place = Place::of(worker, shared);
    let others = (1..place.processes).flat_map(|process| start.clone().map(|start| (process * place.threads, start)));
    let arrived = exchange(worker, others.collect());
    let wanted = match start.or_else(|| arrived.into_iter().map(|(_, start)| start).next()) {
        Some(start) => shared.plant(make(start)),
        None => 0,
    };
    let begin = if wanted > 0 { place.own() } else { Vec::new() };
    let probe = worker.dataflow::<Round, _, _>(|scope| {
        let (handle, again) = scope.feedback::<Vec<u64>>(1);
        let begun = begin.to_stream(scope).container::<Vec<u64>>().concat(again);
        let found = search(scope, begun, place, Arc::clone(shared));
        let next = merge(found, place, Arc::clone(shared));
        let (probe, next) = next.probe();
        next.connect_loop(handle);
        probe
    });
    while !probe.done() {
        worker.step_or_park(None);
    }
    let own = place.is_first.then(|| shared.harvest()).flatten();
    own.filter(|_| worker.index() == 0).map(Rounds::into_tree)
}

/// Where a worker stands.
#[derive(Clone, Copy)]
struct Place {
    threads: usize,
    processes: usize,
    process: usize,
    /// Of its process.
    is_first: bool,
}

impl Place {
    fn of(worker: &Worker, shared: &Shared) -> Place {
        let (threads, me) = (shared.threads(), worker.index());
        Place { threads, processes: worker.peers() / threads, process: me / threads, is_first: me % threads == 0 }
    }

    /// All workers of the process.
    fn own(&self) -> Vec<u64> {
        (self.process * self.threads..(self.process + 1) * self.threads).map(|worker| worker as u64).collect()
    }
}

fn search<'scope>(
    scope: Scope<'scope, Round>,
    begun: StreamVec<'scope, Round, u64>,
    place: Place,
    shared: Arc<Shared>,
) -> StreamVec<'scope, Round, Found> {
    begun.unary::<CapacityContainerBuilder<Vec<Found>>, _, _, _>(
        ExchangePact::new(|worker: &u64| *worker),
        "Search: nearest neighbours",
        move |_, info| {
            let activator = scope.activator_for(info.address);
            let mut round: Option<Capability<Round>> = None;
            move |input, output| {
                input.for_each(|capability, begun| {
                    round = capability.retain_least(0);
                    begun.clear();
                });
                let Some(time) = &round else { return };
                let started = Instant::now();
                let mut session = output.session(time);
                while started.elapsed() < QUANTUM {
                    let Some((from, found)) = shared.search_next(place.process, place.processes, ROWS) else {
                        drop(session);
                        round = None;
                        return;
                    };
                    for process in 1..place.processes {
                        let other = (place.process + process) % place.processes;
                        session.give(((other * place.threads) as u64, from as u64, found.clone()));
                    }
                    session.give(((place.process * place.threads) as u64, from as u64, found));
                }
                activator.activate();
            }
        },
    )
}

fn merge<'scope>(
    found: StreamVec<'scope, Round, Found>,
    place: Place,
    shared: Arc<Shared>,
) -> StreamVec<'scope, Round, u64> {
    found.unary_frontier::<CapacityContainerBuilder<Vec<u64>>, _, _, _>(
        ExchangePact::new(|found: &Found| found.0),
        "Merge: reciprocal nearest neighbours",
        move |_, _| {
            let mut rounds: BTreeMap<Round, (Capability<Round>, Vec<Found>)> = BTreeMap::new();
            move |(input, frontier), output| {
                input.for_each(|capability, found| {
                    let Some(capability) = capability.retain_least(0) else { return };
                    rounds.entry(*capability.time()).or_insert_with(|| (capability, Vec::new())).1.append(found);
                });
                while let Some(round) = rounds.first_entry()
                    && !frontier.less_equal(round.key())
                {
                    let (capability, mut found) = round.remove();
                    found.sort_unstable_by_key(|(_, from, _)| *from);
                    if shared.merge_round(found.into_iter().flat_map(|(.., found)| found).collect()) > 0 {
                        output.session(&capability).give_iterator(place.own().into_iter());
                    }
                }
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Linkage;
    use crate::memory::Size;
    use crate::merge::{Merge, merge_points};

    /// SplitMix64 (Steele, Lea and Flood, 2014).
    fn points(n: usize) -> Vec<Vec<f64>> {
        let mut state = 7u64;
        let mut next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
        };
        (0..n).map(|_| (0..20).map(|_| next()).collect()).collect()
    }

    fn merges(threads: usize, linkage: Linkage, points: &[Vec<f64>]) -> Vec<Merge> {
        let (shared, points) = (Shared::new(threads, Size(1 << 30)), points.to_vec());
        let guards = timely::execute(timely::Config::process(threads), move |worker| {
            let start = (worker.index() == 0).then(|| points.clone());
            grow(worker, &shared, start, |points| Rounds::of_points(linkage, points))
        });
        let results = guards.expect("threads").join().into_iter();
        let trees: Vec<_> = results.map(|result| result.expect("no panic")).collect();
        assert!(trees[1..].iter().all(Option::is_none));
        trees.into_iter().flatten().next().expect("worker 0 has the tree").merges
    }

    #[test]
    fn any_number_of_workers_grows_the_same_tree() {
        let points = points(1000);
        for linkage in [Linkage::Ward, Linkage::Average, Linkage::Complete] {
            let alone = merges(1, linkage, &points);
            assert_eq!(alone, merges(3, linkage, &points));
            for (found, expected) in alone.iter().zip(merge_points(linkage, &points)) {
                assert_eq!((found.left, found.right), (expected.left, expected.right));
                assert!((found.distance - expected.distance).abs() <= 1e-9 * expected.distance);
            }
            assert_eq!(alone.len(), 999);
        }
        assert!(merges(2, Linkage::Ward, &points[..1]).is_empty() && merges(2, Linkage::Ward, &[]).is_empty());
    }
}
