//! One command to several processes of this machine: process 0 starts the others and answers for them.
//!
//! A child learns the addresses and the run's key from its standard input, so that the key is in no process list, and
//! reports its own port on its standard output. Both pipes stay open for the child's life: the end of its input tells a
//! child that process 0 is gone, however it went, and the end of its output tells process 0 that a child is.
//!
//! A process that hangs, or is stopped by SIGSTOP, ends neither pipe: it is waited for.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::exit::{self, Exit};
use super::{ClusterError, handshake};

const PORT: &str = "nichemine-port";
const JOIN: &str = "nichemine-join";
/// For children to end by themselves, and then for the system to end them.
const GRACE: Duration = Duration::from_secs(2);
/// From a broken connection to the news of the exit that broke it; a few milliseconds on an idle machine.
const NEWS: Duration = Duration::from_secs(2);

static FAMILY: OnceLock<Arc<Family>> = OnceLock::new();

/// The children of process 0; child `i` is process `i + 1`.
#[derive(Debug)]
pub(super) struct Family {
    members: Vec<Member>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct Member {
    pid: u32,
    child: Mutex<Child>,
    stdin: Mutex<Option<ChildStdin>>,
}

#[derive(Debug, Default)]
struct State {
    ports: Vec<Option<u16>>,
    ended: Vec<Option<ExitStatus>>,
    /// All processes are connected: a child may end well from here on.
    joined: bool,
    /// Process 0 has its answer and looks at the exits itself.
    finished: bool,
    /// A watcher ends the program.
    reported: bool,
}

/// What a process of a family needs to meet the others.
pub(super) struct Meeting {
    pub listener: TcpListener,
    pub addresses: Vec<String>,
    pub key: [u8; 32],
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn loopback() -> Result<(TcpListener, u16), ClusterError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let bound = TcpListener::bind(address).and_then(|listener| Ok((listener.local_addr()?.port(), listener)));
    let (port, listener) = bound.map_err(|source| ClusterError::Bind { address: address.to_string(), source })?;
    Ok((listener, port))
}

/// Starts the other `count - 1` processes. They are stopped on whatever way out this process takes.
pub(super) fn start(count: usize, arguments: &[OsString]) -> Result<Arc<Family>, ClusterError> {
    let program = std::env::current_exe().map_err(|source| ClusterError::Start { index: 1, source })?;
    let mut members = Vec::<Member>::new();
    let mut outputs = Vec::new();
    for index in 1..count {
        let started = Command::new(&program)
            .args(arguments)
            .args(["--child-index", &index.to_string(), "--child-of", &count.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = match started {
            Ok(child) => child,
            Err(source) => {
                for member in &members {
                    let mut child = lock(&member.child);
                    let _ = child.kill().and_then(|()| child.wait());
                }
                return Err(ClusterError::Start { index, source });
            }
        };
        let stdin = Mutex::new(child.stdin.take());
        outputs.push(child.stdout.take().expect("the output was asked to be a pipe"));
        members.push(Member { pid: child.id(), child: Mutex::new(child), stdin });
    }
    let state = State { ports: vec![None; members.len()], ended: vec![None; members.len()], ..State::default() };
    let family = Arc::new(Family { members, state: Mutex::new(state), changed: Condvar::new() });
    assert!(FAMILY.set(Arc::clone(&family)).is_ok(), "a process starts its children once: they run its whole program");
    for (child, output) in outputs.into_iter().enumerate() {
        let watched = Arc::clone(&family);
        let name = format!("nichemine:child-{}", child + 1);
        if let Err(error) = thread::Builder::new().name(name).spawn(move || watched.watch(child, output)) {
            family.stop();
            return Err(ClusterError::Threads(error.to_string()));
        }
    }
    Ok(family)
}

impl Family {
    /// As a sentence calls process `index`.
    pub fn name(&self, index: usize) -> String {
        match index.checked_sub(1).and_then(|child| self.members.get(child)) {
            Some(member) => format!("process {index} (pid {})", member.pid),
            None => format!("process {index} (pid {})", std::process::id()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Waits for `done` until `deadline`, and says whether it came.
    fn wait_until(&self, deadline: Option<Instant>, done: impl Fn(&State) -> bool) -> bool {
        let mut state = self.state();
        while !done(&state) {
            state = match deadline {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        true
    }

    /// Lives as long as the child. The output is read to its end because a child that prints into a closed pipe panics.
    fn watch(&self, child: usize, output: ChildStdout) {
        let mut lines = BufReader::new(output);
        let mut line = Vec::new();
        while matches!(lines.read_until(b'\n', &mut line), Ok(1..)) {
            let port =
                std::str::from_utf8(&line).ok().and_then(|line| line.trim().strip_prefix(PORT)?.trim().parse().ok());
            if let Some(port) = port {
                self.state().ports[child] = Some(port);
                self.changed.notify_all();
                let _ = io::copy(&mut lines, &mut io::sink());
            }
            line.clear();
        }
        let Ok(status) = lock(&self.members[child].child).wait() else { return };
        let report = {
            let mut state = self.state();
            state.ended[child] = Some(status);
            let report = !state.finished && (!status.success() || !state.joined);
            state.reported |= report;
            report
        };
        self.changed.notify_all();
        if report {
            exit::lost(Some(child + 1), "it ended before the run was over");
        }
    }

    /// Tells every child where the others are.
    pub fn introduce(&self, join_timeout: Duration) -> Result<Meeting, ClusterError> {
        let (listener, port) = loopback()?;
        let all_there = |state: &State| state.ports.iter().all(Option::is_some);
        if !self.wait_until(Some(Instant::now() + join_timeout), all_there) {
            let state = self.state();
            let silent = (1..).zip(&state.ports).filter(|(_, port)| port.is_none());
            let missing = silent.map(|(index, _)| (index, format!("pid {}", self.members[index - 1].pid))).collect();
            return Err(ClusterError::NeverJoined {
                missing,
                seconds: join_timeout.as_secs_f64(),
                meanwhile: Vec::new(),
            });
        }
        let ports: Vec<_> = std::iter::once(port).chain(self.state().ports.iter().copied().flatten()).collect();
        let addresses: Vec<_> =
            ports.iter().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, *port)).to_string()).collect();
        let key = handshake::random().map_err(ClusterError::Network)?;
        let line = format!("{JOIN} {} {}\n", hex(&key), addresses.join(" "));
        for member in &self.members {
            // A child that cannot be told has ended; its watcher says so.
            if let Some(stdin) = lock(&member.stdin).as_mut() {
                let _ = stdin.write_all(line.as_bytes()).and_then(|()| stdin.flush());
            }
        }
        Ok(Meeting { listener, addresses, key })
    }

    pub fn has_joined(&self) {
        self.state().joined = true;
    }

    /// Waits for the children to end well. What they still do after the dataflow is part of the run.
    pub fn finish(&self) -> Result<(), ClusterError> {
        self.state().finished = true;
        self.wait_until(None, |state| state.reported || state.ended.iter().all(Option::is_some));
        let state = self.state();
        if state.reported {
            drop(state);
            exit::wait_for_the_end();
        }
        match (1..).zip(state.ended.iter().flatten()).find(|(_, status)| !status.success()) {
            None => Ok(()),
            Some((index, status)) => Err(ClusterError::Child { process: self.name(index), how: how_it_ended(*status) }),
        }
    }

    /// Leaves no child behind: first by the end of their input, then by SIGKILL.
    pub fn stop(&self) {
        self.state().finished = true;
        for member in &self.members {
            lock(&member.stdin).take();
        }
        let all_ended = |state: &State| state.ended.iter().all(Option::is_some);
        if self.wait_until(Some(Instant::now() + GRACE), all_ended) {
            return;
        }
        for member in &self.members {
            // Its watcher holds the lock only while the child is ending.
            if let Ok(mut child) = member.child.try_lock() {
                let _ = child.kill();
            }
        }
        self.wait_until(Some(Instant::now() + GRACE), all_ended);
    }

    /// The exit that led to the others, once it is known: not that of a child who itself lost a peer.
    fn cause(&self) -> (Exit, String) {
        let is_cause = |status: &ExitStatus| !status.success() && status.code() != Some(i32::from(Exit::Peer.code()));
        self.wait_until(Some(Instant::now() + NEWS), |state| state.ended.iter().flatten().any(is_cause));
        let state = self.state();
        let ended = || (1..).zip(&state.ended).filter_map(|(index, status)| Some((index, (*status)?)));
        let found = ended().find(|(_, status)| is_cause(status)).or_else(|| ended().next());
        let Some((index, status)) = found else {
            return (Exit::Peer, String::from("a connection to another process broke; nothing is published"));
        };
        let exit = match status.code() {
            Some(130) => Exit::Interrupted,
            Some(143) => Exit::Terminated,
            _ => Exit::Peer,
        };
        (exit, format!("{} {}; nothing is published", self.name(index), how_it_ended(status)))
    }
}

/// What process 0 can say about a loss among its children; `None` without children.
pub(super) fn cause_of_loss() -> Option<(Exit, Option<String>)> {
    let (exit, sentence) = FAMILY.get()?.cause();
    Some((exit, Some(sentence)))
}

fn how_it_ended(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(9), _) => String::from("was killed by signal 9, as by an administrator or for lack of memory"),
        (Some(signal), _) => format!("was killed by signal {signal}"),
        (None, Some(130 | 143)) => String::from("was interrupted"),
        (None, Some(0)) => String::from("ended with exit code 0 before the run was over"),
        (None, Some(7)) => String::from("ended with exit code 7, having lost another process"),
        (None, code) => format!("ended with exit code {}; its message is above", code.unwrap_or_default()),
    }
}

/// The child's side: reports its port, learns the rest, and from then on ends when process 0 does.
pub(super) fn meet(count: usize, join_timeout: Duration) -> Result<Meeting, ClusterError> {
    let (listener, port) = loopback()?;
    let mut output = io::stdout().lock();
    if writeln!(output, "{PORT} {port}").and_then(|()| output.flush()).is_err() {
        exit::lost(Some(0), "it ended before the run was over");
    }
    drop(output);

    let (send, receive) = mpsc::channel();
    let listen = move || {
        let mut input = io::stdin().lock();
        let mut line = String::new();
        if let Ok(1..) = input.read_line(&mut line) {
            let _ = send.send(line);
            let _ = io::copy(&mut input, &mut io::sink());
        }
        exit::lost(Some(0), "it ended before the run was over");
    };
    let name = String::from("nichemine:parent");
    thread::Builder::new().name(name).spawn(listen).map_err(|error| ClusterError::Threads(error.to_string()))?;

    let seconds = join_timeout.as_secs_f64();
    let missing = || ClusterError::NeverJoined { missing: vec![(0, "parent".into())], seconds, meanwhile: Vec::new() };
    let line = receive.recv_timeout(join_timeout).map_err(|_| missing())?;
    let (addresses, key) = parse_join(&line).filter(|(addresses, _)| addresses.len() == count).ok_or_else(missing)?;
    Ok(Meeting { listener, addresses, key })
}

fn parse_join(line: &str) -> Option<(Vec<String>, [u8; 32])> {
    let mut words = line.strip_suffix('\n')?.split(' ');
    (words.next()? == JOIN).then_some(())?;
    let key = unhex(words.next()?)?;
    let addresses = words.map(|word| Some(word.parse::<SocketAddr>().ok()?.to_string())).collect::<Option<_>>()?;
    Some((addresses, key))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let digits = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    for (i, byte) in bytes.iter_mut().enumerate().filter(|_| digits) {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    digits.then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_to_the_children_is_read_back_and_a_damaged_one_is_not() {
        let key: [u8; 32] = std::array::from_fn(|i| 7 * i as u8);
        let line = format!("{JOIN} {} 127.0.0.1:1 127.0.0.1:65535\n", hex(&key));
        let (addresses, read) = parse_join(&line).unwrap();
        assert_eq!((addresses.as_slice(), read), (&["127.0.0.1:1".to_owned(), "127.0.0.1:65535".to_owned()][..], key));
        for end in 1..line.len() {
            assert!(parse_join(&line[..end]).is_none(), "{end}");
        }
        assert!(parse_join(&line.replace("0e", "+e")).is_none());
    }
}
