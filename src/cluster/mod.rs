//! A layout and a worker's program to the workers' results: every socket, process and exit code of the program.
//!
//! timely fails as a whole: when one process is gone, the others cannot go on. So each of them ends, with one sentence
//! about the first loss and a documented exit code, and nothing is published. A peer that hangs without ending (SIGSTOP,
//! a network that swallows packets) is not noticed: whoever starts the processes has to set a limit to the run's time.
//!
//! There is no encryption, and processes of a host file share no secret yet: they belong on a private network.

mod children;
mod exit;
mod handshake;
mod layout;
mod mesh;

use std::any::Any;
use std::io;
use std::net::{TcpListener, TcpStream};

use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};
use timely::communication::{Config, Hooks};
use timely::worker::Worker;

use self::children::Meeting;
use self::exit::Place;
use self::handshake::Ours;

pub use self::exit::{Exit, Registered, install_panic_hook, install_signal_handler, leave, on_exit};
pub use self::layout::{Hosts, JOIN_TIMEOUT, Layout, LayoutError, Processes};

/// Why the processes did not come to an answer together.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error("cannot listen on {address}; is another process using it, and is it an address of this machine?")]
    Bind {
        address: String,
        #[source]
        source: io::Error,
    },
    #[error("{} did not join within {seconds} s{}", list(.missing), also(.meanwhile))]
    NeverJoined {
        missing: Vec<(usize, String)>,
        seconds: f64,
        /// Why the last calls to them failed, and the first connections that were refused: they may be theirs.
        meanwhile: Vec<String>,
    },
    #[error("process {peer} ({address}) refused by this process: {what}")]
    Differs { peer: usize, address: String, what: String },
    #[error("process {peer} ({address}) has another process {index} already; each --process is started once")]
    IndexTaken { index: usize, peer: usize, address: String },
    #[error("cannot start process {index}")]
    Start {
        index: usize,
        #[source]
        source: io::Error,
    },
    #[error("{process} {how}")]
    Child { process: String, how: String },
    #[error("cannot prepare the connections to the other processes")]
    Network(#[source] io::Error),
    #[error("cannot start a thread: {0}; fewer of them are asked for with -w")]
    Threads(String),
    #[error("worker {worker} of this process panicked")]
    Panicked { worker: usize },
}

fn list(missing: &[(usize, String)]) -> String {
    missing.iter().map(|(index, at)| format!("process {index} ({at})")).collect::<Vec<_>>().join(", ")
}

fn also(meanwhile: &[String]) -> String {
    meanwhile.iter().map(|what| format!("; {what}")).collect()
}

impl ClusterError {
    pub fn exit(&self) -> Exit {
        match self {
            ClusterError::Panicked { .. } => Exit::Bug,
            ClusterError::Threads(_) => Exit::Resources,
            ClusterError::Bind { .. }
            | ClusterError::NeverJoined { .. }
            | ClusterError::Differs { .. }
            | ClusterError::IndexTaken { .. }
            | ClusterError::Start { .. }
            | ClusterError::Child { .. }
            | ClusterError::Network(_) => Exit::Peer,
        }
    }
}

/// Runs `work` on every worker of every process and returns the results of this process's workers.
///
/// All processes must pass the same `identity`: a text with the job, a digest of its input and the program's version.
/// Processes that differ in it, or in the layout or the build, refuse each other at the start.
///
/// Process 0 of [`Processes::Children`] starts the children here, and returns when they have ended well. As a child runs
/// the program from its beginning, a program with this layout calls `execute` once.
///
/// Processes of a host file do not wait for each other after their dataflows have ended: what may still fail, and must
/// keep process 0 from publishing, belongs into `work`.
///
/// [`install_panic_hook`] comes first. Without it a panic in one worker leaves the others waiting for ever.
pub fn execute<T, F>(layout: &Layout, identity: &str, work: F) -> Result<Vec<T>, ClusterError>
where
    T: Send + 'static,
    F: Fn(&mut Worker) -> T + Send + Sync + 'static,
{
    let results = match layout.processes() {
        _ if layout.process_count() == 1 => alone(layout, work),
        Processes::One => alone(layout, work),
        Processes::Hosts(hosts) => {
            let addresses = hosts.addresses();
            let names = (0..).zip(addresses).map(|(i, address): (usize, _)| format!("process {i} ({address})"));
            exit::take_place(Place { index: layout.process_index(), peers: names.collect(), child: false });
            let address = addresses[layout.process_index()].clone();
            let listener = TcpListener::bind(&address)
                .map_err(|source| ClusterError::Bind { address: address.clone(), source })?;
            let meeting = Meeting { listener, addresses: addresses.to_vec(), key: [0; 32] };
            join(layout, identity, meeting).and_then(|sockets| together(layout, sockets, work))
        }
        Processes::Child { index, count } => {
            let names = (0..*count).map(|i| format!("process {i}")).collect();
            exit::take_place(Place { index: *index, peers: names, child: true });
            let meeting = children::meet(*count, layout.join_timeout())?;
            join(layout, identity, meeting).and_then(|sockets| together(layout, sockets, work))
        }
        Processes::Children { count, arguments } => {
            let family = children::start(*count, arguments)?;
            let names = (0..*count).map(|i| family.name(i)).collect();
            exit::take_place(Place { index: 0, peers: names, child: false });
            let stopped = {
                let family = std::sync::Arc::clone(&family);
                on_exit(move || family.stop())
            };
            let results = family
                .introduce(layout.join_timeout())
                .and_then(|meeting| join(layout, identity, meeting))
                .inspect(|_| family.has_joined())
                .and_then(|sockets| together(layout, sockets, work))
                .and_then(|results| family.finish().map(|()| results));
            if results.is_err() {
                exit::give_way();
                family.stop();
            }
            stopped.cancel();
            results
        }
    };
    exit::give_way();
    results
}

fn join(layout: &Layout, identity: &str, meeting: Meeting) -> Result<Vec<Option<TcpStream>>, ClusterError> {
    let ours = Ours {
        processes: layout.process_count(),
        index: layout.process_index(),
        threads: layout.threads_per_process(),
        identity: handshake::digest(identity),
        key: meeting.key,
    };
    mesh::form(meeting.listener, ours, &meeting.addresses, layout.join_timeout())
}

fn alone<T, F>(layout: &Layout, work: F) -> Result<Vec<T>, ClusterError>
where
    T: Send + 'static,
    F: Fn(&mut Worker) -> T + Send + Sync + 'static,
{
    exit::take_place(Place::default());
    let config = match layout.threads_per_process() {
        1 => Config::Thread,
        threads => Config::Process(threads),
    };
    let (builders, guard) = config.try_build().map_err(ClusterError::Threads)?;
    run(builders, guard, work)
}

fn together<T, F>(layout: &Layout, sockets: Vec<Option<TcpStream>>, work: F) -> Result<Vec<T>, ClusterError>
where
    T: Send + 'static,
    F: Fn(&mut Worker) -> T + Send + Sync + 'static,
{
    let (threads, hooks) = (layout.threads_per_process(), Hooks::default());
    let local = ProcessBuilder::new_typed_vector(threads, hooks.refill.clone(), hooks.spill.clone());
    let (builders, guard) = initialize_networking_from_sockets(local, sockets, layout.process_index(), threads, hooks)
        .map_err(ClusterError::Network)?;
    run(builders.into_iter().map(AllocatorBuilder::Tcp).collect(), Box::new(guard), work)
}

fn run<T, F>(builders: Vec<AllocatorBuilder>, guard: Box<dyn Any + Send>, work: F) -> Result<Vec<T>, ClusterError>
where
    T: Send + 'static,
    F: Fn(&mut Worker) -> T + Send + Sync + 'static,
{
    let workers = timely::execute::execute_from(builders, guard, timely::WorkerConfig::default(), work)
        .map_err(ClusterError::Threads)?;
    let results = workers.join().into_iter().enumerate();
    results.map(|(worker, result)| result.map_err(|_| ClusterError::Panicked { worker })).collect()
}
