//! How many threads in how many processes, and where they are: from the command line and the host file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Threads per process, and processes. Far above what pays; a slip of the finger should not start thousands.
const MOST: usize = 256;

/// How long the processes wait for each other at the start, unless told otherwise.
pub const JOIN_TIMEOUT: Duration = Duration::from_secs(60);

/// The division of a run's work. It never changes the answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    threads: usize,
    processes: Processes,
    join_timeout: Duration,
}

/// Which processes take part and which of them this one is.
#[derive(Clone, Debug, PartialEq)]
pub enum Processes {
    /// This one alone.
    One,
    /// This one is process 0 and starts the others on this machine: its own program with `arguments`, after which
    /// [`execute`](super::execute) puts `--child-index INDEX --child-of COUNT`.
    Children { count: usize, arguments: Vec<OsString> },
    /// Started by process 0, with the two hidden options above.
    Child { index: usize, count: usize },
    /// Each process was started by hand or by a scheduler, with the same host file.
    Hosts(Hosts),
}

/// The addresses of all processes, and which of them is this one.
#[derive(Clone, Debug, PartialEq)]
pub struct Hosts {
    addresses: Vec<String>,
    index: usize,
}

/// What is wrong with a layout; exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    #[error("{threads} threads: -w takes 1 to {MOST}")]
    Threads { threads: usize },
    #[error("{count} processes: --processes takes 1 to {MOST}")]
    Count { count: usize },
    #[error("process {index} of {count}: --child-index takes 1 to {}; only process 0 hands it out", .count - 1)]
    Child { index: usize, count: usize },
    #[error("cannot read the host file {path:?}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path:?} line {line}: {text:?} is not host:port with a port from 1 to 65535 (IPv6 as [::1]:7000)")]
    Address { path: PathBuf, line: usize, text: String },
    #[error("{path:?} line {line}: {text:?} is also on line {first}; every process needs an address of its own")]
    Duplicate { path: PathBuf, line: usize, first: usize, text: String },
    #[error("{path:?} lists {count} processes; a host file has 1 to {MOST} lines of host:port")]
    Hosts { path: PathBuf, count: usize },
    #[error("--process {index}: {path:?} lists {count} processes, numbered 0 to {}", .count - 1)]
    Index { path: PathBuf, index: usize, count: usize },
}

impl Layout {
    /// `threads` workers in each of the processes.
    pub fn new(threads: usize, processes: Processes) -> Result<Layout, LayoutError> {
        if !(1..=MOST).contains(&threads) {
            return Err(LayoutError::Threads { threads });
        }
        match processes {
            Processes::Children { count, .. } | Processes::Child { count, .. } if !(1..=MOST).contains(&count) => {
                return Err(LayoutError::Count { count });
            }
            Processes::Child { index, count } if !(1..count).contains(&index) => {
                return Err(LayoutError::Child { index, count });
            }
            _ => {}
        }
        Ok(Layout { threads, processes, join_timeout: JOIN_TIMEOUT })
    }

    /// One process of `threads` workers.
    pub fn threads(threads: usize) -> Result<Layout, LayoutError> {
        Layout::new(threads, Processes::One)
    }

    /// With another limit for all processes to find each other.
    pub fn joining_within(mut self, join_timeout: Duration) -> Layout {
        self.join_timeout = join_timeout;
        self
    }

    /// Workers in each process.
    pub fn threads_per_process(&self) -> usize {
        self.threads
    }

    pub fn processes(&self) -> &Processes {
        &self.processes
    }

    pub fn process_count(&self) -> usize {
        match &self.processes {
            Processes::One => 1,
            Processes::Children { count, .. } | Processes::Child { count, .. } => *count,
            Processes::Hosts(hosts) => hosts.addresses.len(),
        }
    }

    /// Workers in all processes.
    pub fn workers(&self) -> usize {
        self.threads * self.process_count()
    }

    /// Which process this is; process 0 writes the outputs.
    pub fn process_index(&self) -> usize {
        match &self.processes {
            Processes::One | Processes::Children { .. } => 0,
            Processes::Child { index, .. } => *index,
            Processes::Hosts(hosts) => hosts.index,
        }
    }

    pub(super) fn join_timeout(&self) -> Duration {
        self.join_timeout
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
        let processes = plural(self.process_count(), "process", "processes");
        write!(f, "{processes} of {}", plural(self.threads, "thread", "threads"))
    }
}

impl Hosts {
    /// Reads a host file for the process with this index.
    pub fn read(path: &Path, index: usize) -> Result<Hosts, LayoutError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| LayoutError::Read { path: path.to_owned(), source })?;
        Hosts::parse(&text, path, index)
    }

    /// The same from text; `path` is what errors call it.
    pub fn parse(text: &str, path: &Path, index: usize) -> Result<Hosts, LayoutError> {
        let path = || path.to_owned();
        let mut addresses = Vec::new();
        let mut lines = BTreeMap::new();
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.split('#').next().unwrap_or_default().trim();
            if text.is_empty() {
                continue;
            }
            if !is_address(text) {
                return Err(LayoutError::Address { path: path(), line, text: text.to_owned() });
            }
            if let Some(first) = lines.insert(text.to_ascii_lowercase(), line) {
                return Err(LayoutError::Duplicate { path: path(), line, first, text: text.to_owned() });
            }
            addresses.push(text.to_owned());
        }
        let count = addresses.len();
        if !(1..=MOST).contains(&count) {
            return Err(LayoutError::Hosts { path: path(), count });
        }
        if index >= count {
            return Err(LayoutError::Index { path: path(), index, count });
        }
        Ok(Hosts { addresses, index })
    }

    /// By process index.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }
}

fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_is_good = match bracketed {
        Some(host) => host.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)),
    };
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    host_is_good && digits && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, index: usize) -> Result<Hosts, String> {
        Hosts::parse(text, Path::new("hosts.txt"), index).map_err(|error| error.to_string())
    }

    #[test]
    fn host_file_numbers_its_addresses_and_skips_blanks_and_comments() {
        let hosts = parse("# three hosts\n\na.example:7000\n  10.0.0.2:7001  # rack 2\r\n[::1]:7002\n", 2).unwrap();
        assert_eq!(hosts.addresses(), ["a.example:7000", "10.0.0.2:7001", "[::1]:7002"]);
        let layout = Layout::new(4, Processes::Hosts(hosts)).unwrap();
        assert_eq!((layout.process_index(), layout.process_count(), layout.workers()), (2, 3, 12));
        assert_eq!(layout.to_string(), "3 processes of 4 threads");
    }

    #[test]
    fn host_file_errors_name_the_file_and_the_line() {
        for bad in ["host", "host:", "host:0", "host:65536", "host:+1", ":7000", "::1:7000", "a b:7000", "[x]:7000"] {
            let error = parse(&format!("a:1\n\n{bad}\n"), 0).unwrap_err();
            assert_eq!(
                error,
                format!(
                    "\"hosts.txt\" line 3: {bad:?} is not host:port with a port from 1 to 65535 (IPv6 as [::1]:7000)"
                )
            );
        }
        assert_eq!(
            parse("a:1\n#\nA:1\n", 0).unwrap_err(),
            "\"hosts.txt\" line 3: \"A:1\" is also on line 1; every process needs an address of its own"
        );
        assert_eq!(
            parse("a:1\nb:1\n", 2).unwrap_err(),
            "--process 2: \"hosts.txt\" lists 2 processes, numbered 0 to 1"
        );
        assert_eq!(
            parse("# none\n", 0).unwrap_err(),
            "\"hosts.txt\" lists 0 processes; a host file has 1 to 256 lines of host:port"
        );
    }

    #[test]
    fn layouts_that_cannot_be_are_refused() {
        let layout = |threads, processes| Layout::new(threads, processes).map_err(|error| error.to_string());
        let children = |count| Processes::Children { count, arguments: Vec::new() };
        assert_eq!(layout(0, Processes::One).unwrap_err(), "0 threads: -w takes 1 to 256");
        assert_eq!(layout(257, Processes::One).unwrap_err(), "257 threads: -w takes 1 to 256");
        assert_eq!(layout(1, children(0)).unwrap_err(), "0 processes: --processes takes 1 to 256");
        assert!(layout(1, Processes::Child { index: 0, count: 2 }).is_err());
        assert!(layout(1, Processes::Child { index: 2, count: 2 }).is_err());
        assert!(layout(1, Processes::Child { index: 0, count: 0 }).is_err());
        assert_eq!(layout(2, children(3)).unwrap().workers(), 6);
    }
}
