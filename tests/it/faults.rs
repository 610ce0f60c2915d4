//! Runs that are killed, interrupted, refused and cut off from each other: what they say, and what is there afterwards.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use nichemine::job::Language;
use nichemine::planted;
use nichemine::sink::Publisher;

use crate::program::{Folder, Running, answer, digests, planted, signal_pid};

/// A folder with a job for a planted table; nothing is published yet.
fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("job.toml", planted::job(&planted("en.parquet"), Path::new("out"), Language::En));
    folder
}

/// Waits until a run has taken its output, which is after it has opened the table and before it has read it.
fn holds_its_output(folder: &Folder, run: &Running) {
    run.until(|_| {
        let held = Publisher::lock(&folder.path("out"));
        held.is_err().then_some(())
    });
}

fn staged(folder: &Folder) -> Vec<String> {
    let runs = std::fs::read_dir(folder.path("out/runs")).unwrap();
    let names = runs.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with('.')).collect()
}

/// Kills runs in this layout at `kills` moments spread over the time that one takes.
fn kill_at_many_moments(layout: &str, kills: u32) {
    let folder = folder();
    let started = Instant::now();
    folder.nichemine(&format!("run job.toml {layout}")).well();
    let takes = started.elapsed();
    let latest = || std::fs::read_link(folder.path("out/latest")).unwrap();
    let mut old = (latest(), digests(&folder.path("out/latest/")));
    let expected = answer(&folder.path("out/latest/"));
    let mut killed = 0;
    for kill in 1..=kills {
        let run = folder.start(&format!("run job.toml {layout}"));
        // The moment is as good as any other; what follows holds for each.
        std::thread::sleep(takes * kill / kills);
        run.signal("-9");
        let ended = run.end();
        assert!(!ended.err.contains("bug in nichemine"), "{}", ended.err);
        folder.nichemine("verify out/latest").well();
        let found = (latest(), digests(&folder.path("out/latest/")));
        if found.0 == old.0 {
            killed += 1;
            assert_eq!(found.1, old.1, "the old run, byte for byte");
        } else {
            // It was published just before it was killed.
            assert_eq!(answer(&folder.path("out/latest/")), expected);
            old = found;
        }
    }
    assert!(killed > kills / 2, "{killed} of {kills} runs were killed before they were published");
    folder.nichemine(&format!("run job.toml {layout}")).well();
    assert_ne!(latest(), old.0, "a new run");
    assert_eq!(answer(&folder.path("out/latest/")), expected);
    assert_eq!(staged(&folder), [""; 0]);
}

#[test]
fn killing_a_run_publishes_nothing_and_the_next_run_recovers() {
    kill_at_many_moments("-w 2", 8);
}

#[test]
fn killing_a_run_of_two_processes_publishes_nothing_and_the_next_run_recovers() {
    kill_at_many_moments("-w 1 --processes 2", 6);
}

#[test]
fn killing_a_run_while_it_publishes_leaves_the_old_run_or_the_new_one() {
    let folder = folder();
    folder.nichemine("run job.toml -w 2").well();
    let expected = answer(&folder.path("out/latest/"));
    let latest = || std::fs::read_link(folder.path("out/latest")).unwrap();
    for file in ["", "segments.parquet", "groups.json", "report.html", "manifest.json"] {
        let old = latest();
        let run = folder.start("run job.toml -w 2");
        run.until(|_| {
            let written = || Some(folder.path("out/runs").join(staged(&folder).pop()?).join(file).exists());
            (written() == Some(true) || latest() != old).then_some(())
        });
        run.signal("-9");
        // The last of these files is written a moment before the run is published.
        let code = run.end().code;
        assert!(code.is_none() || latest() != old, "{file}: {code:?}");
        assert_eq!(answer(&folder.path("out/latest/")), expected, "{file}");
        folder.nichemine("verify out/latest").well();
        assert!(latest() >= old, "{file}");
    }
    folder.nichemine("run job.toml -w 2").well();
    assert_eq!(staged(&folder), [""; 0], "cleared by the next run");
}

#[test]
fn interrupted_run_says_so_and_leaves_nothing_staged() {
    let folder = folder();
    folder.nichemine("run job.toml -w 2").well();
    let before = digests(&folder.path("out"));
    for (signal, code, says) in [("-INT", 130, "interrupted"), ("-TERM", 143, "SIGTERM")] {
        for layout in ["-w 2", "-w 1 --processes 2"] {
            let run = folder.start(&format!("run job.toml {layout}"));
            holds_its_output(&folder, &run);
            run.signal(signal);
            let ended = run.end().refused(code, &[says, "nothing is published"]);
            assert_eq!(ended.err.matches("error:").count(), 1, "{}", ended.err);
            assert_eq!(digests(&folder.path("out")), before);
        }
    }
    let run = folder.start("run job.toml -w 2");
    run.until(|_| staged(&folder).pop());
    run.signal("-TERM");
    // It may just have been published; if not, nothing of it is left.
    if run.end().code == Some(143) {
        assert_eq!(digests(&folder.path("out")), before);
    }
    assert_eq!(staged(&folder), [""; 0]);
}

#[test]
fn killing_a_child_ends_the_run_with_its_name_and_no_process_is_left() {
    let folder = folder();
    let run = folder.start("run job.toml -w 1 --processes 3");
    let children = run.until(|run| Some(run.children()).filter(|children| children.len() == 2));
    holds_its_output(&folder, &run);
    signal_pid("-9", children[1]);
    let named = format!("process 2 (pid {})", children[1]);
    let ended = run.end().refused(7, &[&named, "signal 9", "nothing is published"]);
    assert_eq!(ended.out, "");
    for child in children {
        assert!(!Path::new(&format!("/proc/{child}")).exists(), "process {child} is left");
    }
    assert!(!folder.path("out/latest").exists());
    assert_eq!(staged(&folder), [""; 0]);
}

#[test]
fn second_run_on_an_output_that_is_held_is_refused() {
    let folder = folder();
    let first = folder.start("run job.toml -w 1");
    holds_its_output(&folder, &first);
    first.signal("-STOP");
    let second = folder.nichemine("run job.toml -w 1");
    first.signal("-CONT");
    second.refused(5, &["another run holds", "\"out\"", "output.dir"]);
    first.end().well();
    folder.nichemine("verify out/latest").well();
}

/// A host file with free ports of this machine.
fn hosts(folder: &Folder, count: usize) -> Vec<String> {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let addresses: Vec<String> = listeners.iter().map(|l| l.local_addr().unwrap().to_string()).collect();
    folder.write("hosts.txt", format!("# two machines\n\n{}\n", addresses.join("\n")));
    addresses
}

#[test]
fn processes_of_a_host_file_give_the_same_bytes_as_one_process() {
    let folder = folder();
    folder.nichemine("run job.toml -w 1").well();
    let expected = answer(&folder.path("out/latest/"));
    hosts(&folder, 2);
    let start = |process| folder.start(&format!("run job.toml -w 2 --hostfile hosts.txt --process {process}"));
    let (second, first) = (start(1), start(0));
    let (first, second) = (first.end().well(), second.end().well());
    assert!(first.out.contains("report: "), "{}", first.out);
    assert_eq!(second.out, "", "process 0 alone tells");
    let runs: BTreeMap<_, _> = digests(&folder.path("out/runs"));
    assert_eq!(runs.keys().filter(|name| name.ends_with("_SUCCESS")).count(), 2);
    assert_eq!(answer(&folder.path("out/latest/")), expected);
}

#[test]
fn process_of_a_host_file_that_never_joins_is_named() {
    let folder = folder();
    let addresses = hosts(&folder, 2);
    let named = format!("process 1 ({}) did not join within 2 s", addresses[1]);
    let run = folder.nichemine("run job.toml -w 1 --hostfile hosts.txt --process 0 --join-timeout 2");
    run.refused(7, &[&named]);
    assert!(!folder.path("out/latest").exists());
}

#[test]
fn processes_with_different_jobs_refuse_each_other_and_say_what_differs() {
    let folder = folder();
    hosts(&folder, 2);
    let start = |process, set: &str| {
        folder.start(&format!("run job.toml -w 1 --hostfile hosts.txt --process {process} --join-timeout 5 {set}"))
    };
    let (first, second) = (start(0, ""), start(1, "--set enumerate.max_level=2"));
    let (first, second) = (first.end(), second.end());
    assert_eq!((first.code, second.code), (Some(7), Some(7)), "{first:?} {second:?}");
    let told = format!("{}{}", first.err, second.err);
    assert!(told.contains("refused by this process") && told.contains("job"), "{told}");
    assert!(!told.contains("bug in nichemine"), "{told}");
    assert!(!folder.path("out/latest").exists());
}

#[test]
fn output_that_cannot_be_written_is_named() {
    let folder = folder();
    folder.write("taken", "a file").write("holds/latest/keep.txt", "a folder of somebody");
    let run = |dir: &str| folder.start_with(&["run", "job.toml", "--set", &format!("output.dir={dir}")]).end();
    run("taken").refused(3, &["cannot write", "taken", "output.dir"]);
    run("taken/below").refused(3, &["cannot write", "taken/below", "output.dir"]);
    // No one, not even root, makes a folder there.
    run("/proc/nichemine").refused(3, &["cannot write", "/proc/nichemine", "output.dir"]);
    run("holds").refused(3, &["holds/latest", "not overwritten", "output.dir"]);
    assert_eq!(std::fs::read_to_string(folder.path("holds/latest/keep.txt")).unwrap(), "a folder of somebody");
    assert_eq!(std::fs::read_to_string(folder.path("taken")).unwrap(), "a file");
}

#[test]
fn run_without_room_for_its_files_says_so_and_leaves_nothing_staged() {
    let folder = folder();
    folder.nichemine("run job.toml -w 2").well();
    let before = digests(&folder.path("out"));
    // The limit is in blocks of 512 or 1024 bytes; segments.parquet alone has more than 64 of them.
    let script = "ulimit -f 64; exec \"$0\" run job.toml -w 2";
    let mut shell = std::process::Command::new("sh");
    let ended =
        shell.args(["-c", script, env!("CARGO_BIN_EXE_nichemine")]).current_dir(folder.path("")).output().unwrap();
    let err = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(6), "{err}");
    assert!(err.contains("cannot write") && err.contains("free space") && err.contains("segments.parquet"), "{err}");
    assert_eq!(digests(&folder.path("out")), before);
}

#[test]
fn table_that_changes_while_it_is_read_is_not_published() {
    let folder = folder();
    std::fs::copy(planted("en.parquet"), folder.path("table.parquet")).unwrap();
    folder.write("job.toml", planted::job(Path::new("table.parquet"), Path::new("out"), Language::En));
    let run = folder.start("run job.toml -w 1");
    holds_its_output(&folder, &run);
    run.signal("-STOP");
    let table = std::fs::File::options().write(true).open(folder.path("table.parquet")).unwrap();
    table.set_modified(std::time::SystemTime::now() + Duration::from_secs(5)).unwrap();
    run.signal("-CONT");
    run.end().refused(3, &["table.parquet", "changed while it was read", "nothing is published"]);
    assert!(!folder.path("out/latest").exists());
    assert_eq!(staged(&folder), [""; 0]);
}
