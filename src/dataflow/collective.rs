//! Agreements between workers around the long-running dataflow: each a small dataflow of its own that ends at once.
//!
//! Every worker must make the same calls in the same order. What is sent is kept whole in memory, so it should be
//! sums, sketches and decisions, not rows.

use std::cell::RefCell;
use std::rc::Rc;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::InputHandle;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange as ExchangePact;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::{Input, Probe};
use timely::worker::Worker;

/// Sends each value to the worker beside it; gives what arrived here, by sender, in the order it was sent.
pub fn exchange<T>(worker: &mut Worker, outgoing: Vec<(usize, T)>) -> Vec<(usize, T)>
where
    T: timely::ExchangeData + Clone,
{
    let me = worker.index();
    let mut input = InputHandle::new();
    let arrived = Rc::new(RefCell::new(Vec::new()));
    let kept = Rc::clone(&arrived);
    let probe = worker.dataflow::<u64, _, _>(|scope| {
        let sent = scope.input_from(&mut input).container::<Vec<(u64, u64, u64, T)>>();
        collect(sent, |message| message.0, kept).probe().0
    });
    for (nth, (target, value)) in outgoing.into_iter().enumerate() {
        input.send((target as u64, me as u64, nth as u64, value));
    }
    input.close();
    while !probe.done() {
        worker.step_or_park(None);
    }
    let mut arrived = arrived.take();
    arrived.sort_by_key(|&(_, sender, nth, _)| (sender, nth));
    arrived.into_iter().map(|(_, sender, _, value)| (sender as usize, value)).collect()
}

/// Puts what is routed to this worker into a list. It is moved, not copied: it may be the customers of all groups.
pub fn collect<'scope, D: timely::ExchangeData>(
    stream: StreamVec<'scope, u64, D>,
    route: impl Fn(&D) -> u64 + 'static,
    into: Rc<RefCell<Vec<D>>>,
) -> StreamVec<'scope, u64, ()> {
    stream.unary::<CapacityContainerBuilder<Vec<()>>, _, _, _>(ExchangePact::new(route), "Collect", move |_, _| {
        move |input, _| input.for_each(|_, messages| into.borrow_mut().append(messages))
    })
}

/// Collects one value a worker at worker 0, in worker order; the other workers get nothing.
pub fn gather<T>(worker: &mut Worker, value: T) -> Vec<T>
where
    T: timely::ExchangeData + Clone,
{
    // Worker 0's own value, which may be large, stays where it is.
    let (own, sent) = if worker.index() == 0 { (Some(value), None) } else { (None, Some((0, value))) };
    let arrived = exchange(worker, sent.into_iter().collect());
    own.into_iter().chain(arrived.into_iter().map(|(_, value)| value)).collect()
}

/// Gives every worker the value that worker 0 has; the others' is not looked at.
pub fn broadcast<T>(worker: &mut Worker, value: Option<T>) -> T
where
    T: timely::ExchangeData + Clone,
{
    let outgoing = match (worker.index(), value) {
        (0, Some(value)) => (0..worker.peers()).map(|target| (target, value.clone())).collect(),
        (0, None) => unreachable!("worker 0 has the value"),
        _ => Vec::new(),
    };
    let (_, value) = exchange(worker, outgoing).pop().expect("worker 0 sent one to everybody");
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_arrive_by_sender_and_in_order() {
        let guards = timely::execute(timely::Config::process(3), |worker| {
            let me = worker.index();
            let outgoing = (0..3).flat_map(|to| (0..2).map(move |n| (to, format!("{me}->{to} {n}")))).collect();
            let arrived = exchange(worker, outgoing);
            let everybody = gather(worker, me * 10);
            let total = (me == 0).then(|| everybody.iter().sum::<usize>());
            (arrived, broadcast(worker, total))
        })
        .expect("three threads");
        for (me, result) in guards.join().into_iter().enumerate() {
            let (arrived, total) = result.expect("no panic");
            let expected: Vec<(usize, String)> =
                (0..3).flat_map(|from| (0..2).map(move |n| (from, format!("{from}->{me} {n}")))).collect();
            assert_eq!((arrived, total), (expected, 30));
        }
    }
}
