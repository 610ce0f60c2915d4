//! How the program ends: its exit codes, and the one way out that cleans up first, whoever takes it.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::Write;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

use super::children;

/// What an exit code says. Scripts rely on the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The outputs are published, or nothing had changed.
    Published = 0,
    /// A bug of this program.
    Bug = 1,
    /// The command line, the job file or the host file is wrong.
    Usage = 2,
    /// The input is missing, unreadable or not as declared.
    Input = 3,
    /// The input was read and is not good enough.
    Quality = 4,
    /// Another run holds the output.
    Taken = 5,
    /// Not enough memory or disk.
    Resources = 6,
    /// A peer was lost or did not join.
    Peer = 7,
    /// SIGINT.
    Interrupted = 130,
    /// SIGTERM.
    Terminated = 143,
}

impl Exit {
    /// The number the operating system is given.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Where this process stands among its peers; what the panic hook can know about a thread's peer.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    pub index: usize,
    /// By index, as a sentence calls them: `process 2 (10.0.0.3:7000)`. Empty for a single process.
    pub peers: Vec<String>,
    /// Started by process 0, which speaks for all: the loss of a peer is not reported here as well.
    pub child: bool,
}

type Cleanup = Box<dyn FnOnce() + Send>;

static PLACE: Mutex<Place> = Mutex::new(Place { index: 0, peers: Vec::new(), child: false });
static CLEANUPS: Mutex<(u64, Vec<(u64, Cleanup)>)> = Mutex::new((0, Vec::new()));
static LEAVING: AtomicBool = AtomicBool::new(false);

const CLEANUP_THREAD: &str = "nichemine:clean-up";
/// For all clean-ups together. Stopping the children takes at most 4 s of it.
const CLEANUP_LIMIT: Duration = Duration::from_secs(10);

/// No code panics while it holds one of these locks half way through a change, so a poisoned one is still good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn take_place(place: Place) {
    *lock(&PLACE) = place;
}

/// A clean-up that waits for the end of the program.
#[derive(Debug)]
pub struct Registered(u64);

impl Registered {
    /// There is nothing left to clean up.
    pub fn cancel(self) {
        lock(&CLEANUPS).1.retain(|(id, _)| *id != self.0);
    }
}

/// Has `f` run once, before the program ends by a signal, a panic, a lost peer or [`leave`]; the last registered first.
/// Dropping what is returned leaves `f` in place.
///
/// `f` runs in a thread of its own while the others still run, and the program ends without it after 10 s.
pub fn on_exit(f: impl FnOnce() + Send + 'static) -> Registered {
    let mut cleanups = lock(&CLEANUPS);
    cleanups.0 += 1;
    let id = cleanups.0;
    cleanups.1.push((id, Box::new(f)));
    Registered(id)
}

/// Says the sentence, if any, cleans up and ends the program. Of several callers only the first is heard.
pub fn leave(exit: Exit, sentence: Option<&str>) -> ! {
    leave_because(|| (exit, sentence.map(str::to_owned)))
}

/// As [`leave`]; only the caller who is heard looks for the reason.
pub(super) fn leave_because(reason: impl FnOnce() -> (Exit, Option<String>)) -> ! {
    if LEAVING.swap(true, Ordering::SeqCst) {
        wait_for_the_end();
    }
    let (exit, sentence) = reason();
    if let Some(sentence) = sentence {
        // `eprintln!` panics when stderr is closed, and a panic inside a panic hook aborts the program. It also writes
        // piece by piece, and another process's pieces may come between.
        let _ = std::io::stderr().write_all(format!("error: {sentence}\n").as_bytes());
    }
    clean_up();
    std::process::exit(i32::from(exit.code()))
}

/// To be called before a result is handed on: while another thread is ending the program, there is none.
pub(super) fn give_way() {
    if LEAVING.load(Ordering::SeqCst) {
        wait_for_the_end();
    }
}

pub(super) fn wait_for_the_end() -> ! {
    loop {
        thread::park();
    }
}

/// A thread of its own, because the caller may be a panicking thread, or hold a lock that a clean-up waits for.
fn clean_up() {
    let (done, finished) = mpsc::channel::<()>();
    let spawned = thread::Builder::new().name(CLEANUP_THREAD.into()).spawn(move || {
        loop {
            let Some((_, cleanup)) = lock(&CLEANUPS).1.pop() else { break };
            let _ = catch_unwind(AssertUnwindSafe(cleanup));
        }
        drop(done);
    });
    if spawned.is_ok() {
        let _ = finished.recv_timeout(CLEANUP_LIMIT);
    }
}

/// Ends the program for a peer that is gone; `index` where it is known.
pub(super) fn lost(index: Option<usize>, why: &str) -> ! {
    leave_because(|| {
        let place = lock(&PLACE).clone();
        if place.child {
            return (Exit::Peer, None);
        }
        if let Some(verdict) = children::cause_of_loss() {
            return verdict;
        }
        let peer = match index.and_then(|index| place.peers.get(index)) {
            Some(peer) => peer.as_str(),
            None => "a peer process",
        };
        (Exit::Peer, Some(format!("{peer} was lost: {why}; nothing is published, its own output has the cause")))
    })
}

/// Makes every panic end the program, with [`Exit::Peer`] if timely panicked for a broken connection and with
/// [`Exit::Bug`] otherwise. Without it a worker that panics leaves the other workers waiting for ever.
///
/// Where `is_decoding` holds for the panicking thread, its caller catches the panic of a reader on a damaged file and
/// reports it as an error; the hook does nothing then.
pub fn install_panic_hook(is_decoding: fn() -> bool) {
    std::panic::set_hook(Box::new(move |panic| {
        let thread = thread::current();
        let name = thread.name().unwrap_or("without a name");
        if name == CLEANUP_THREAD || is_decoding() {
            return;
        }
        let message = message(panic);
        let peer = name.strip_prefix("timely:recv-").or_else(|| name.strip_prefix("timely:send-"));
        let communication = "timely communication error: ";
        if peer.is_some() || message.starts_with(communication.trim_end()) || message.contains("MergeQueue poisoned") {
            lost(
                peer.and_then(|index| index.parse().ok()),
                message.strip_prefix(communication).unwrap_or(message).trim_end_matches('.'),
            );
        }
        leave_because(|| (Exit::Bug, Some(report(panic, message, name))));
    }));
}

/// Timely relies on the first two kinds of payload being all there are, and so does the hook.
fn message<'a>(panic: &'a PanicHookInfo) -> &'a str {
    let payload = panic.payload();
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
}

fn report(panic: &PanicHookInfo, message: &str, thread: &str) -> String {
    let place = lock(&PLACE).clone();
    let process = if place.peers.is_empty() {
        String::new()
    } else {
        format!(" of process {} of {}", place.index, place.peers.len())
    };
    let location = panic.location().map_or(String::from("an unknown place"), ToString::to_string);
    let backtrace = Backtrace::capture();
    let backtrace = match backtrace.status() {
        BacktraceStatus::Captured => format!("\n{backtrace}"),
        _ => String::from("\n  RUST_BACKTRACE=1 would show how it got there"),
    };
    format!(
        "{message}\n  at {location}, in thread {thread}{process}{backtrace}\n\
         this is a bug in nichemine {}; please report it together with the lines above and the job file",
        env!("CARGO_PKG_VERSION")
    )
}

/// SIGINT and SIGTERM clean up and end the program with [`Exit::Interrupted`] or [`Exit::Terminated`]; a second signal
/// ends it at once.
///
/// A terminal sends its Ctrl-C to the children too: they end without a word.
///
/// SIGXFSZ is only caught: the write that goes beyond the limit of a file's size then fails as one on a full disk does.
pub fn install_signal_handler() -> std::io::Result<()> {
    signal_hook::flag::register(SIGXFSZ, Arc::default())?;
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new().name("nichemine:signals".into()).spawn(move || {
        let mut received = false;
        for signal in signals.forever() {
            let (exit, sentence) = match signal {
                SIGINT => (Exit::Interrupted, "interrupted; nothing is published"),
                _ => (Exit::Terminated, "asked to end by SIGTERM; nothing is published"),
            };
            let end = move || leave_because(|| (exit, (!lock(&PLACE).child).then(|| sentence.to_owned())));
            let name = String::from("nichemine:interrupted");
            if std::mem::replace(&mut received, true) || thread::Builder::new().name(name).spawn(end).is_err() {
                signal_hook::low_level::exit(i32::from(exit.code()));
            }
        }
    })?;
    Ok(())
}
