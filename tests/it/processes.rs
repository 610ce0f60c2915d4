//! Real processes that end in every way, and what the others say and leave behind.
//!
//! The processes are this test program itself, told by `ACTOR` to play a part: see [`actor`]. All processes of a play
//! write to one pipe, so the end of that pipe is the end of the last of them.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use nichemine::cluster::{self, Exit, Hosts, Layout, Processes};
use timely::dataflow::InputHandle;
use timely::dataflow::operators::{Exchange, Input, Inspect, Probe};
use timely::worker::Worker;

/// No step of these plays takes a second; a busy machine may be slow.
const LIMIT: Duration = Duration::from_secs(60);
const ARGUMENTS: [&str; 7] = ["--exact", "processes::actor", "--quiet", "--nocapture", "--test-threads", "1", "--"];

/// A part in a play: `ACTOR` has its name, then threads, then processes or else the host file and the process index.
#[test]
fn actor() {
    let Ok(part) = std::env::var("ACTOR") else { return };
    cluster::install_panic_hook(|| false);
    cluster::install_signal_handler().unwrap();
    let part: Vec<_> = part.split(' ').collect();
    let options: Vec<_> = std::env::args().collect();
    let option = |name: &str| Some(options[options.iter().position(|o| o == name)? + 1].parse().unwrap());
    let processes = match (option("--child-index"), part.get(3)) {
        (Some(index), _) => Processes::Child { index, count: option("--child-of").unwrap() },
        (None, Some(index)) => Processes::Hosts(Hosts::read(Path::new(part[2]), index.parse().unwrap()).unwrap()),
        (None, None) => {
            let arguments = if part[0] == "absent" { ["--exact", "nobody", "--"].to_vec() } else { ARGUMENTS.to_vec() };
            let arguments = arguments.into_iter().map(Into::into).collect();
            Processes::Children { count: part[2].parse().unwrap(), arguments }
        }
    };
    let layout = Layout::new(part[1].parse().unwrap(), processes).unwrap();
    if layout.process_index() == 0 {
        cluster::on_exit(|| say("cleaned up".into()));
    }
    let play = match part[0] {
        "sum" | "absent" => sum,
        "wait" => wait,
        "panic" => panic_in_the_last_worker,
        "lose_the_last" => leave_in_the_last_worker,
        other => panic!("no part {other:?}"),
    };
    let index = layout.process_index();
    let exit = match cluster::execute(&layout, "the play", play) {
        Ok(sums) => {
            say(format!("process {index} has {sums:?}"));
            Exit::Published
        }
        Err(error) => {
            say(format!("error: {error}"));
            error.exit()
        }
    };
    std::process::exit(i32::from(exit.code()));
}

/// In one piece: `eprintln!` writes several, and those of another process may come between.
fn say(line: String) {
    std::io::stderr().write_all((line + "\n").as_bytes()).unwrap();
}

/// Every worker sends 0..100 round; what arrives is summed over all.
fn sum(worker: &mut Worker) -> u64 {
    let (send, receive) = channel();
    let mut input = InputHandle::new();
    let probe = worker.dataflow::<u64, _, _>(|scope| {
        let stream = scope.input_from(&mut input).container::<Vec<u64>>();
        stream.exchange(|n| *n).inspect(move |n| send.send(*n).unwrap()).probe().0
    });
    (0..100).for_each(|n| input.send(n));
    input.close();
    while !probe.done() {
        worker.step_or_park(None);
    }
    receive.try_iter().sum()
}

/// Says that it runs, once all workers do, and then waits for ever.
fn wait(worker: &mut Worker) -> u64 {
    sum(worker);
    say(format!("running {} {}", worker.index(), std::process::id()));
    stay(worker)
}

fn panic_in_the_last_worker(worker: &mut Worker) -> u64 {
    sum(worker);
    if worker.index() + 1 == worker.peers() {
        panic!("the sums do not add up");
    }
    stay(worker)
}

fn leave_in_the_last_worker(worker: &mut Worker) -> u64 {
    sum(worker);
    if worker.index() + 1 == worker.peers() {
        cluster::leave(Exit::Input, Some("the file is gone"));
    }
    stay(worker)
}

/// Waits for data that never comes.
fn stay(worker: &mut Worker) -> u64 {
    let mut input: InputHandle<u64, _> = InputHandle::new();
    worker.dataflow(|scope| scope.input_from(&mut input).container::<Vec<u64>>().probe().0);
    loop {
        worker.step_or_park(None);
    }
}

struct Play {
    first: Child,
    lines: Receiver<String>,
}

impl Play {
    fn start(part: &str) -> Play {
        let mut first = Command::new(std::env::current_exe().unwrap())
            .args(ARGUMENTS)
            .env("ACTOR", part)
            .env_remove("RUST_BACKTRACE")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (send, lines) = channel();
        let stderr = BufReader::new(first.stderr.take().unwrap());
        std::thread::spawn(move || stderr.lines().for_each(|line| send.send(line.unwrap()).unwrap_or(())));
        Play { first, lines }
    }

    /// The process ids by worker index, once all of them run.
    fn running(&self, workers: usize) -> Vec<String> {
        let mut pids = vec![String::new(); workers];
        for _ in 0..workers {
            let line = self.lines.recv_timeout(LIMIT).unwrap();
            let words: Vec<_> = line.split(' ').collect();
            assert_eq!(words[0], "running", "{line}");
            pids[words[1].parse::<usize>().unwrap()] = words[2].to_owned();
        }
        pids
    }

    /// Waits until this many workers run, where one pipe does not see all of them.
    fn running_here(&self, workers: usize) -> usize {
        (0..workers).filter(|_| self.lines.recv_timeout(LIMIT).unwrap().starts_with("running ")).count()
    }

    /// The exit code of the first process and the lines since, once no process is left.
    fn end(mut self) -> (Option<i32>, Vec<String>) {
        let mut lines = Vec::new();
        loop {
            match self.lines.recv_timeout(LIMIT) {
                Ok(line) => lines.push(line),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(error) => panic!("a process is left ({error}) after {lines:?}"),
            }
        }
        (self.first.wait().unwrap().code(), lines)
    }
}

impl Drop for Play {
    fn drop(&mut self) {
        let _ = self.first.kill();
    }
}

fn kill(signal: &str, pid: &str) {
    assert!(Command::new("kill").args([signal, pid]).status().unwrap().success());
}

fn host_file(name: &str, count: usize) -> (PathBuf, Vec<String>) {
    let listeners: Vec<_> = (0..count).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let addresses: Vec<_> = listeners.iter().map(|l| l.local_addr().unwrap().to_string()).collect();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, addresses.join("\n")).unwrap();
    (path, addresses)
}

const KILLED: &str = "was killed by signal 9, as by an administrator or for lack of memory; nothing is published";

#[test]
fn processes_and_threads_give_one_answer_together() {
    let (code, mut lines) = Play::start("sum 2 3").end();
    lines.sort();
    // 6 workers send 0..100 each; n goes to worker n mod 6, so worker w receives 6 (w + (w + 6) + ...).
    let expected = |w: u64| 6 * (w..100).step_by(6).sum::<u64>();
    let by_process = |p: u64| format!("process {p} has [{}, {}]", expected(2 * p), expected(2 * p + 1));
    assert_eq!(lines, [by_process(0), by_process(1), by_process(2)]);
    assert_eq!(code, Some(0));
}

#[test]
fn killing_a_child_ends_all_with_one_sentence_that_names_it() {
    let play = Play::start("wait 1 3");
    let pids = play.running(3);
    kill("-9", &pids[2]);
    let (code, lines) = play.end();
    assert_eq!(lines, [format!("error: process 2 (pid {}) {KILLED}", pids[2]), "cleaned up".into()]);
    assert_eq!(code, Some(7));
}

#[test]
fn killing_the_first_process_ends_its_children() {
    let play = Play::start("wait 1 3");
    let pids = play.running(3);
    kill("-9", &pids[0]);
    let (code, lines) = play.end();
    assert_eq!((code, lines), (None, vec![]));
}

#[test]
fn stopped_child_is_killed_when_the_others_end() {
    let play = Play::start("wait 1 3");
    let pids = play.running(3);
    kill("-STOP", &pids[1]);
    kill("-9", &pids[2]);
    let (code, lines) = play.end();
    assert_eq!(lines, [format!("error: process 2 (pid {}) {KILLED}", pids[2]), "cleaned up".into()]);
    assert_eq!(code, Some(7));
}

#[test]
fn panic_of_a_thread_ends_its_process_as_a_bug() {
    let (code, lines) = Play::start("panic 2 1").end();
    assert_eq!(code, Some(1), "{lines:?}");
    assert_eq!(lines[0], "error: the sums do not add up");
    assert!(lines[1].starts_with("  at tests/it/processes.rs:"), "{lines:?}");
    assert!(lines[1].ends_with("in thread timely:work-1"), "{lines:?}");
    assert!(lines[3].starts_with("this is a bug in nichemine "), "{lines:?}");
    assert_eq!(lines[4..], ["cleaned up"]);
}

#[test]
fn panic_of_a_process_is_its_own_bug_and_a_lost_peer_to_the_first() {
    let (code, lines) = Play::start("panic 1 3").end();
    assert_eq!(code, Some(7), "{lines:?}");
    assert_eq!(lines[0], "error: the sums do not add up");
    assert!(lines[1].ends_with("in thread timely:work-0 of process 2 of 3"), "{lines:?}");
    assert!(lines[4].starts_with("error: process 2 (pid "), "{lines:?}");
    assert!(lines[4].ends_with(") ended with exit code 1; its message is above; nothing is published"), "{lines:?}");
    assert_eq!(lines[5..], ["cleaned up"]);
}

#[test]
fn child_that_ends_without_joining_is_not_waited_for() {
    let (code, lines) = Play::start("absent 1 2").end();
    assert_eq!(code, Some(7), "{lines:?}");
    assert!(lines[0].starts_with("error: process 1 (pid "), "{lines:?}");
    assert!(lines[0].ends_with(") ended with exit code 0 before the run was over; nothing is published"), "{lines:?}");
    assert_eq!(lines[1..], ["cleaned up"]);
}

#[test]
fn error_of_a_child_is_said_by_itself_and_its_exit_code_by_the_first() {
    let (code, lines) = Play::start("lose_the_last 2 2").end();
    assert_eq!(code, Some(7), "{lines:?}");
    assert_eq!(lines[0], "error: the file is gone");
    assert!(lines[1].ends_with(") ended with exit code 3; its message is above; nothing is published"), "{lines:?}");
    assert_eq!(lines[2..], ["cleaned up"]);
}

#[test]
fn signals_end_all_processes_with_their_exit_codes_in_one_sentence() {
    for (signal, expected) in [("-INT", 130), ("-TERM", 143)] {
        let play = Play::start("wait 1 3");
        let pids = play.running(3);
        kill(signal, &pids[0]);
        let (code, lines) = play.end();
        assert_eq!((code, lines.len()), (Some(expected), 2), "{lines:?}");
        assert_eq!(lines[1], "cleaned up");
    }
    // As a terminal does it: all of them get the signal, a child first.
    let play = Play::start("wait 1 3");
    let pids = play.running(3);
    // The last may have ended by itself before it is its turn, so that `kill` may complain.
    let _ = Command::new("kill").arg("-INT").args(pids.iter().rev()).stderr(Stdio::null()).status().unwrap();
    let (code, lines) = play.end();
    assert_eq!((code, lines.len()), (Some(130), 2), "{lines:?}");
}

#[test]
fn killing_a_process_of_a_host_file_is_told_by_its_address() {
    let (path, addresses) = host_file("killed-hosts.txt", 2);
    let second = Play::start(&format!("wait 2 {} 1", path.display()));
    let first = Play::start(&format!("wait 2 {} 0", path.display()));
    assert_eq!((first.running_here(2), second.running_here(2)), (2, 2));
    kill("-9", &second.first.id().to_string());
    let (code, lines) = first.end();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with(&format!("error: process 1 ({}) was lost: ", addresses[1])), "{lines:?}");
    assert_eq!((code, lines[1].as_str()), (Some(7), "cleaned up"));
}

#[test]
fn processes_of_a_host_file_may_start_in_any_order() {
    let (path, _) = host_file("hosts.txt", 3);
    let plays: Vec<_> = [2, 0, 1].map(|i| Play::start(&format!("sum 1 {} {i}", path.display()))).into();
    for (index, play) in [2, 0, 1].into_iter().zip(plays) {
        let sum = 3 * (index..100).step_by(3).sum::<u64>();
        assert_eq!(play.end(), (Some(0), vec![format!("process {index} has [{sum}]")]));
    }
}
