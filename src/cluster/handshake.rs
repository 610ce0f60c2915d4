//! Two processes at the ends of a new connection to the certainty that they belong to one run, or to what differs.
//!
//! The caller says hello, the answerer says hello and proves that it holds the run's key, the caller proves the same,
//! and the answerer admits it. Each side is then certain that the other one is too. The proofs cover both hellos, each
//! with a nonce, so that nothing recorded from another connection is of use.
//!
//! The key never crosses the connection. The children of one process share a random one. Processes of a host file have
//! none yet: theirs is all zeros, and a proof says only that both ends saw the same hellos. A secret shared by the
//! hosts belongs in [`Ours::key`], hashed to 32 bytes; nothing else has to change.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bincode::Options;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const MAGIC: [u8; 8] = *b"nicheMNE";
/// To be raised with any change to the messages below.
const PROTOCOL: u32 = 1;
/// No message is longer, in bytes.
const LIMIT: u64 = 256;
/// For the whole of what a stranger may keep us busy with.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// What this process is sure of, and wants of its peers.
#[derive(Clone, Debug)]
pub(super) struct Ours {
    pub processes: usize,
    pub index: usize,
    pub threads: usize,
    /// Of the text that names the job, its input and the program's version.
    pub identity: [u8; 32],
    pub key: [u8; 32],
}

/// The first bytes in each direction, the same in every version of the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Opening {
    magic: [u8; 8],
    protocol: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Hello {
    processes: u32,
    threads: u32,
    index: u32,
    build: [u8; 32],
    identity: [u8; 32],
    nonce: [u8; 16],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Proof([u8; 32]);

/// The answerer's last word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
enum Verdict {
    #[default]
    Admitted,
    /// Another process has joined under the caller's index.
    Taken,
}

/// Why a connection does not become part of the mesh.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("it does not speak nichemine's protocol")]
    Stranger,
    #[error("{0}")]
    Differs(String),
    #[error("it does not hold this run's key")]
    Key,
    #[error("another process has joined as process {0}")]
    Taken(usize),
    #[error("the connection broke or stayed silent: {0}")]
    Io(#[from] io::Error),
}

fn codec() -> impl Options {
    bincode::DefaultOptions::new().with_fixint_encoding().with_limit(LIMIT).reject_trailing_bytes()
}

fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    codec().serialize(message).expect("a message has a fixed length far below the limit")
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    codec().deserialize(bytes).map_err(|_| Refusal::Stranger)
}

fn send<T: Serialize>(stream: &mut TcpStream, message: &T) -> Result<(), Refusal> {
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream.write_all(&encode(message))?)
}

/// Every message has one length, so that not a byte of what follows the handshake is read.
fn receive<T: Serialize + DeserializeOwned + Default>(stream: &mut TcpStream, until: Instant) -> Result<T, Refusal> {
    let mut bytes = vec![0; encode(&T::default()).len()];
    let mut filled = 0;
    while filled < bytes.len() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::from(io::ErrorKind::TimedOut).into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut bytes[filled..]) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    decode(&bytes)
}

impl Ours {
    fn hello(&self) -> io::Result<Hello> {
        let number = |n: usize| u32::try_from(n).expect("a layout has at most 256 of everything");
        Ok(Hello {
            processes: number(self.processes),
            threads: number(self.threads),
            index: number(self.index),
            build: build(),
            identity: self.identity,
            nonce: random()?,
        })
    }

    fn proof(&self, role: &str, caller: &Hello, answerer: &Hello) -> Proof {
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update(role);
        hash.update(encode(caller));
        hash.update(encode(answerer));
        Proof(hash.finalize().into())
    }

    /// What keeps a process that says `theirs` out of this run, if anything does.
    fn difference(&self, ours: &Hello, theirs: &Hello) -> Result<(), Refusal> {
        let differs = |text: String| Err(Refusal::Differs(text));
        if theirs.build != ours.build {
            return differs(format!(
                "it runs another version or build of nichemine than {}",
                env!("CARGO_PKG_VERSION")
            ));
        }
        if theirs.processes != ours.processes {
            return differs(format!("it expects {} processes, here they are {}", theirs.processes, ours.processes));
        }
        if theirs.threads != ours.threads {
            return differs(format!("it has {} threads a process, here they are {}", theirs.threads, ours.threads));
        }
        if theirs.identity != ours.identity {
            return differs(String::from("it has another job file, other settings or another input"));
        }
        Ok(())
    }

    /// The caller's side, up to being admitted by the process with index `answerer`. Once that one has proved itself,
    /// its verdict is awaited until `deadline`: giving up earlier might leave a place taken by nobody.
    pub fn call(&self, stream: &mut TcpStream, answerer: usize, deadline: Instant) -> Result<(), Refusal> {
        let until = deadline.min(Instant::now() + PATIENCE);
        let ours = self.hello()?;
        send(stream, &Opening { magic: MAGIC, protocol: PROTOCOL })?;
        send(stream, &ours)?;
        expect_opening(stream, until)?;
        let theirs: Hello = receive(stream, until)?;
        if theirs.nonce == ours.nonce {
            // A connection to a port without a listener may be given that very port at our end, and reach ourselves.
            return Err(Refusal::Stranger);
        }
        self.difference(&ours, &theirs)?;
        if theirs.index as usize != answerer {
            let text = format!("it is process {}, the host file here has process {answerer} there", theirs.index);
            return Err(Refusal::Differs(text));
        }
        if receive::<Proof>(stream, until)? != self.proof("answerer", &ours, &theirs) {
            return Err(Refusal::Key);
        }
        send(stream, &self.proof("caller", &ours, &theirs))?;
        match receive(stream, deadline)? {
            Verdict::Admitted => Ok(()),
            Verdict::Taken => Err(Refusal::Taken(self.index)),
        }
    }

    /// The answerer's side, up to knowing the caller's index. [`admit`] or [`turn_away`] must follow.
    pub fn answer(&self, stream: &mut TcpStream) -> Result<usize, Refusal> {
        let until = Instant::now() + PATIENCE;
        let opening = expect_opening(stream, until);
        if matches!(opening, Err(Refusal::Differs(_))) {
            send(stream, &Opening { magic: MAGIC, protocol: PROTOCOL })?;
        }
        opening?;
        let theirs: Hello = receive(stream, until)?;
        let ours = self.hello()?;
        send(stream, &Opening { magic: MAGIC, protocol: PROTOCOL })?;
        send(stream, &ours)?;
        self.difference(&ours, &theirs)?;
        let index = theirs.index as usize;
        if !(self.index + 1..self.processes).contains(&index) {
            return Err(Refusal::Differs(format!("it says it is process {index}, which does not call this one")));
        }
        send(stream, &self.proof("answerer", &theirs, &ours))?;
        if receive::<Proof>(stream, until)? != self.proof("caller", &theirs, &ours) {
            return Err(Refusal::Key);
        }
        Ok(index)
    }
}

pub(super) fn admit(stream: &mut TcpStream) -> Result<(), Refusal> {
    send(stream, &Verdict::Admitted)
}

pub(super) fn turn_away(stream: &mut TcpStream) -> Result<(), Refusal> {
    send(stream, &Verdict::Taken)
}

fn expect_opening(stream: &mut TcpStream, until: Instant) -> Result<(), Refusal> {
    let opening: Opening = receive(stream, until)?;
    if opening.magic != MAGIC {
        return Err(Refusal::Stranger);
    }
    if opening.protocol != PROTOCOL {
        let theirs = opening.protocol;
        return Err(Refusal::Differs(format!("it speaks version {theirs} of the protocol, this build {PROTOCOL}")));
    }
    Ok(())
}

/// What two builds must share for their messages to mean the same.
fn build() -> [u8; 32] {
    let checks = if cfg!(debug_assertions) { "debug" } else { "release" };
    let facts = [env!("CARGO_PKG_VERSION"), std::env::consts::ARCH, std::env::consts::OS, checks];
    digest(&facts.join("\n"))
}

pub(super) fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// From the operating system, fit for keys.
pub(super) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_one_length_and_nothing_may_follow() {
        // 4 + 4 + 4 + 32 + 32 + 16, and 8 + 4; the verdict is its variant's number in 4 bytes.
        assert_eq!(encode(&Hello::default()).len(), 92);
        assert_eq!(encode(&Opening::default()).len(), 12);
        assert_eq!((encode(&Verdict::Admitted).len(), encode(&Verdict::Taken).len()), (4, 4));
        let mut bytes = encode(&Proof([7; 32]));
        assert_eq!(decode::<Proof>(&bytes).unwrap(), Proof([7; 32]));
        bytes.push(0);
        assert!(decode::<Proof>(&bytes).is_err());
        assert!(decode::<Verdict>(&[2, 0, 0, 0]).is_err());
    }

    #[test]
    fn proofs_differ_by_key_role_and_nonce() {
        let ours = Ours { processes: 2, index: 0, threads: 1, identity: [1; 32], key: [0; 32] };
        let (caller, answerer) = (ours.hello().unwrap(), ours.hello().unwrap());
        let proof = ours.proof("caller", &caller, &answerer);
        assert_ne!(proof, ours.proof("answerer", &caller, &answerer));
        assert_ne!(proof, ours.proof("caller", &caller, &ours.hello().unwrap()));
        assert_ne!(proof, Ours { key: [1; 32], ..ours.clone() }.proof("caller", &caller, &answerer));
        assert_eq!(proof, ours.proof("caller", &caller, &answerer));
    }
}
