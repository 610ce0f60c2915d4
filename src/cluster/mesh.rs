//! Addresses to one connection between any two processes, in spite of strangers and late starters.
//!
//! A process accepts from those with a higher index and calls those with a lower one, again and again until the
//! deadline. A stranger costs one thread for at most two seconds; a port scan, a health check or a process of another
//! run is refused and noted, and the true peers join all the same.

use std::collections::BTreeMap;
use std::io;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::ClusterError;
use super::handshake::{self, Ours, PATIENCE, Refusal};

/// Connections whose handshake may be under way at once.
const PENDING: usize = 64;
/// Refusals kept for the error message.
const NOTED: usize = 5;
const BETWEEN_CALLS: Duration = Duration::from_millis(100);
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

struct Mesh {
    ours: Ours,
    addresses: Vec<String>,
    deadline: Instant,
    seats: Mutex<Seats>,
    changed: Condvar,
}

#[derive(Default)]
struct Seats {
    sockets: Vec<Option<TcpStream>>,
    failure: Option<ClusterError>,
    refused: Vec<String>,
    /// Why the last call to a process failed.
    unreached: BTreeMap<usize, Refusal>,
    /// Nobody joins any more: all are there, or it is over.
    closed: bool,
}

/// One socket per process, in order, `None` for this one. `listener` is bound to this process's address, and to no
/// other; it is closed on return.
pub(super) fn form(
    listener: TcpListener,
    ours: Ours,
    addresses: &[String],
    join_timeout: Duration,
) -> Result<Vec<Option<TcpStream>>, ClusterError> {
    listener.set_nonblocking(true).map_err(ClusterError::Network)?;
    let (me, processes) = (ours.index, ours.processes);
    let mesh = Arc::new(Mesh {
        ours,
        addresses: addresses.to_vec(),
        deadline: Instant::now() + join_timeout,
        seats: Mutex::new(Seats { sockets: (0..processes).map(|_| None).collect(), ..Seats::default() }),
        changed: Condvar::new(),
    });
    let start = |name: String, f: Box<dyn FnOnce() + Send>| {
        thread::Builder::new().name(name).spawn(f).map_err(|error| ClusterError::Threads(error.to_string()))
    };
    let accepting = {
        let mesh = Arc::clone(&mesh);
        start("nichemine:accept".into(), Box::new(move || mesh.accept(&listener)))?
    };
    let mut started = Ok(());
    for peer in 0..me {
        let mesh = Arc::clone(&mesh);
        started = started.and(start(format!("nichemine:call-{peer}"), Box::new(move || mesh.call(peer))).map(drop));
    }
    let joined = started.and_then(|()| mesh.wait(join_timeout));
    mesh.seats().closed = true;
    // The next run of this process may want the address.
    let _ = accepting.join();
    let mut sockets = joined?;
    for socket in sockets.iter_mut().flatten() {
        ready(socket).map_err(ClusterError::Network)?;
    }
    Ok(sockets)
}

/// timely blocks on its sockets for as long as a computation is silent, and sends small messages that are urgent.
fn ready(socket: &TcpStream) -> io::Result<()> {
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(None)?;
    socket.set_write_timeout(None)?;
    socket.set_nodelay(true)
}

impl Mesh {
    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, join_timeout: Duration) -> Result<Vec<Option<TcpStream>>, ClusterError> {
        let mut seats = self.seats();
        loop {
            if let Some(failure) = seats.failure.take() {
                return Err(failure);
            }
            let empty = (0..self.ours.processes).filter(|&i| i != self.ours.index && seats.sockets[i].is_none());
            let missing: Vec<_> = empty.map(|index| (index, self.addresses[index].clone())).collect();
            if missing.is_empty() {
                // A caller that has hung up since then may have a successor. Those that we called have none to call.
                let mut callers = seats.sockets[self.ours.index + 1..].iter_mut();
                if let Some(gone) = callers.find(|socket| socket.as_ref().is_some_and(|socket| !is_alive(socket))) {
                    *gone = None;
                    continue;
                }
                seats.closed = true;
                return Ok(std::mem::take(&mut seats.sockets));
            }
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let calls = missing.iter().filter_map(|(index, at)| Some((at, seats.unreached.get(index)?)));
                let mut meanwhile: Vec<_> = calls.map(|(at, why)| format!("calling {at}: {why}")).collect();
                meanwhile.append(&mut seats.refused);
                return Err(ClusterError::NeverJoined { missing, seconds: join_timeout.as_secs_f64(), meanwhile });
            }
            seats = self.changed.wait_timeout(seats, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        let pending = Arc::new(());
        while !self.seats().closed {
            // An error is a caller that has hung up, or a shortage of descriptors that may pass.
            let Ok((socket, from)) = listener.accept() else {
                thread::sleep(BETWEEN_LOOKS);
                continue;
            };
            if Arc::strong_count(&pending) > PENDING {
                self.refuse(&from.to_string(), "too many connections are waiting");
                continue;
            }
            let (mesh, pending) = (Arc::clone(self), Arc::clone(&pending));
            let name = String::from("nichemine:answer");
            let _ = thread::Builder::new().name(name).spawn(move || {
                if let Err(refusal) = mesh.answer(socket) {
                    mesh.refuse(&from.to_string(), &refusal.to_string());
                }
                drop(pending);
            });
        }
    }

    fn refuse(&self, from: &str, why: &str) {
        tracing::warn!(from, why, "connection refused");
        let mut seats = self.seats();
        if seats.refused.len() < NOTED {
            seats.refused.push(format!("refused {from}: {why}"));
        }
    }

    fn answer(&self, mut socket: TcpStream) -> Result<(), Refusal> {
        // Some systems hand the listener's mode on to what it accepts.
        socket.set_nonblocking(false)?;
        let index = self.ours.answer(&mut socket)?;
        let mut seats = self.seats();
        if seats.closed || seats.sockets[index].as_ref().is_some_and(is_alive) {
            handshake::turn_away(&mut socket)?;
            return Err(Refusal::Taken(index));
        }
        // The verdict must be out before the socket is seen by others: what follows it is timely's.
        handshake::admit(&mut socket)?;
        seats.sockets[index] = Some(socket);
        self.changed.notify_all();
        Ok(())
    }

    fn call(&self, peer: usize) {
        let address = &self.addresses[peer];
        loop {
            let outcome = self.connect(address).map_err(Refusal::Io).and_then(|mut socket| {
                self.ours.call(&mut socket, peer, self.deadline)?;
                Ok(socket)
            });
            let mut seats = self.seats();
            if seats.closed {
                return;
            }
            match outcome {
                Ok(socket) => seats.sockets[peer] = Some(socket),
                Err(Refusal::Differs(what)) => {
                    seats.failure = Some(ClusterError::Differs { peer, address: address.clone(), what });
                }
                Err(Refusal::Taken(index)) => {
                    seats.failure = Some(ClusterError::IndexTaken { index, peer, address: address.clone() });
                }
                Err(why @ (Refusal::Stranger | Refusal::Key | Refusal::Io(_))) => {
                    seats.unreached.insert(peer, why);
                    drop(seats);
                    if Instant::now() >= self.deadline {
                        return;
                    }
                    thread::sleep(BETWEEN_CALLS);
                    continue;
                }
            }
            self.changed.notify_all();
            return;
        }
    }

    /// Names are looked up anew each time: a scheduler may publish a host's name only once it is up.
    fn connect(&self, address: &str) -> io::Result<TcpStream> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in address.to_socket_addrs()? {
            let left = self.deadline.saturating_duration_since(Instant::now()).min(PATIENCE);
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match TcpStream::connect_timeout(&address, left) {
                Ok(socket) => return Ok(socket),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// A process that joined, ended and was started again may have its place back.
fn is_alive(socket: &TcpStream) -> bool {
    let seen = socket.set_nonblocking(true).and_then(|()| socket.peek(&mut [0]));
    match seen {
        Ok(bytes) => bytes > 0,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    fn ours(index: usize, processes: usize) -> Ours {
        Ours { processes, index, threads: 2, identity: [3; 32], key: [9; 32] }
    }

    fn listeners(n: usize) -> (Vec<TcpListener>, Vec<String>) {
        let listeners: Vec<_> = (0..n).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let addresses = listeners.iter().map(|l| l.local_addr().unwrap().to_string()).collect();
        (listeners, addresses)
    }

    /// What a joined process has left to do: send its index to all, and hear theirs.
    fn exchange(mut sockets: Vec<Option<TcpStream>>, me: usize) -> Vec<usize> {
        for socket in sockets.iter_mut().flatten() {
            socket.write_all(&[me as u8]).unwrap();
        }
        let hear = |(index, socket): (usize, &mut Option<TcpStream>)| match socket {
            None => index,
            Some(socket) => {
                let mut byte = [0];
                socket.read_exact(&mut byte).unwrap();
                byte[0] as usize
            }
        };
        sockets.iter_mut().enumerate().map(hear).collect()
    }

    fn join(listener: TcpListener, ours: Ours, addresses: &[String]) -> thread::JoinHandle<Result<Vec<usize>, String>> {
        let addresses = addresses.to_vec();
        thread::spawn(move || {
            let me = ours.index;
            let sockets = form(listener, ours, &addresses, LONG).map_err(|error| error.to_string())?;
            Ok(exchange(sockets, me))
        })
    }

    /// Waits until the other end closes, and says whether it had sent anything before.
    fn is_closed_in_silence(mut socket: TcpStream) -> bool {
        socket.set_read_timeout(Some(LONG)).unwrap();
        match socket.read(&mut [0; 1]) {
            Ok(n) => n == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    fn spare() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").unwrap()
    }

    #[test]
    fn three_processes_join_while_strangers_come_and_go() {
        let (mut listeners, addresses) = listeners(3);
        let last = listeners.pop().unwrap();
        let others: Vec<_> = (0..).zip(listeners).map(|(i, l)| join(l, ours(i, 3), &addresses)).collect();

        let silent: Vec<_> = (0..20).map(|_| TcpStream::connect(&addresses[0]).unwrap()).collect();
        drop(TcpStream::connect(&addresses[0]).unwrap());
        for attack in [
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            vec![0; 7],
            [0xa5; 300].to_vec(),
            1u64.to_be_bytes().to_vec(),
        ] {
            let mut socket = TcpStream::connect(&addresses[0]).unwrap();
            socket.write_all(&attack).unwrap();
            assert!(is_closed_in_silence(socket), "{attack:?}");
        }
        // A true opening with an index beyond the end, and with one that does not call process 0.
        for index in [0, 3, 7] {
            let mut socket = TcpStream::connect(&addresses[0]).unwrap();
            let error = ours(index, 3).call(&mut socket, 0, Instant::now() + LONG).unwrap_err();
            assert!(matches!(error, Refusal::Io(_)), "{error}");
        }
        let stranger = |ours: Ours| form(spare(), ours, &addresses, LONG).map(drop).unwrap_err().to_string();
        let refused = format!("process 0 ({}) refused by this process: ", addresses[0]);
        assert_eq!(
            stranger(Ours { identity: [4; 32], ..ours(1, 3) }),
            format!("{refused}it has another job file, other settings or another input")
        );
        assert_eq!(
            stranger(Ours { threads: 4, ..ours(1, 3) }),
            format!("{refused}it has 2 threads a process, here they are 4")
        );
        assert_eq!(stranger(ours(1, 2)), format!("{refused}it expects 3 processes, here they are 2"));

        let mut socket = TcpStream::connect(&addresses[0]).unwrap();
        let wrong_key = Ours { key: [8; 32], ..ours(2, 3) };
        assert!(matches!(wrong_key.call(&mut socket, 0, Instant::now() + LONG), Err(Refusal::Key)));

        assert!(others.iter().all(|other| !other.is_finished()));
        let last = join(last, ours(2, 3), &addresses);
        for process in others.into_iter().chain([last]) {
            assert_eq!(process.join().unwrap().unwrap(), [0, 1, 2]);
        }
        drop(silent);
    }

    #[test]
    fn second_process_with_the_same_index_is_refused_and_the_first_stays() {
        let (mut listeners, addresses) = listeners(3);
        let last = listeners.pop().unwrap();
        let mut processes = Vec::new();
        let first = join(listeners.remove(0), ours(0, 3), &addresses);
        // Process 1's place at process 0 is taken by hand, so that the order is certain.
        let mut held = TcpStream::connect(&addresses[0]).unwrap();
        ours(1, 3).call(&mut held, 0, Instant::now() + LONG).unwrap();
        let error = form(spare(), ours(1, 3), &addresses, LONG).unwrap_err().to_string();
        let address = &addresses[0];
        assert_eq!(
            error,
            format!("process 0 ({address}) has another process 1 already; each --process is started once")
        );
        // Once that one has hung up, its successor is welcome.
        drop(held);
        processes.push(first);
        processes.push(join(listeners.remove(0), ours(1, 3), &addresses));
        processes.push(join(last, ours(2, 3), &addresses));
        for process in processes {
            assert_eq!(process.join().unwrap().unwrap(), [0, 1, 2]);
        }
    }

    #[test]
    fn missing_process_is_named_when_the_time_is_up() {
        let (mut listeners, addresses) = listeners(3);
        drop(listeners.pop());
        let (send, receive) = mpsc::channel();
        for (index, listener) in listeners.into_iter().enumerate() {
            let (send, addresses) = (send.clone(), addresses.clone());
            thread::spawn(move || {
                let outcome = form(listener, ours(index, 3), &addresses, Duration::from_millis(1500));
                send.send(outcome.map(drop)).unwrap();
            });
        }
        for _ in 0..2 {
            match receive.recv_timeout(LONG).unwrap() {
                Err(error @ ClusterError::NeverJoined { .. }) => {
                    let text = error.to_string();
                    let expected = format!("process 2 ({}) did not join within 1.5 s", addresses[2]);
                    assert!(text.starts_with(&expected), "{text}");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn missing_process_that_was_called_is_named_with_the_reason() {
        let (mut listeners, addresses) = listeners(2);
        let last = listeners.pop().unwrap();
        drop(listeners);
        let error = form(last, ours(1, 2), &addresses, Duration::from_millis(500)).unwrap_err().to_string();
        let expected = format!("process 0 ({0}) did not join within 0.5 s; calling {0}: ", addresses[0]);
        assert!(error.starts_with(&expected) && error.to_lowercase().contains("connection refused"), "{error}");
    }

    #[test]
    fn connection_to_a_stranger_in_a_peers_place_is_tried_again_until_the_peer_is_there() {
        let (mut listeners, addresses) = listeners(2);
        let last = join(listeners.pop().unwrap(), ours(1, 2), &addresses);
        let first = listeners.pop().unwrap();
        for answer in [&b""[..], b"HTTP/1.1 400 Bad Request\r\n\r\n"] {
            let (mut socket, _) = first.accept().unwrap();
            socket.write_all(answer).unwrap();
        }
        let first = join(first, ours(0, 2), &addresses);
        assert_eq!(first.join().unwrap().unwrap(), [0, 1]);
        assert_eq!(last.join().unwrap().unwrap(), [0, 1]);
    }
}
