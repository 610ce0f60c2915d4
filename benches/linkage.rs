//! Trees of points: how long they take, and what they are, for other programs to compare.
//!
//! - `cargo bench --bench linkage`: seconds and peak memory of the exact linkages over 2,000 points of 130 coordinates, distances
//!   included, the median of seven runs in turns; another number of points as `-- 5000`.
//! - `-- tree LINKAGE [WORKERS] < POINTS`: the merges of points, one a line with its coordinates between commas, as
//!   `left,right,height`; in rounds by so many workers, else from a matrix.
//! - `-- rounds LINKAGE POINTS CLUSTERS WORKERS`: seconds and peak memory in rounds, of points of 130 coordinates around so many
//!   centres; 0 for points everywhere alike, of which nothing tells which are near each other.

use std::io::{BufRead, Write};
use std::sync::Mutex;
use std::time::Instant;

use nichemine::dataflow::{Shared, grow};
use nichemine::job::Linkage;
use nichemine::memory::{self, Size};
use nichemine::merge::{Merge, Rounds, merge_points};

const LINKAGES: [(&str, Linkage); 3] =
    [("ward", Linkage::Ward), ("average", Linkage::Average), ("complete", Linkage::Complete)];
const RUNS: usize = 7;

fn main() {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let linkage = |name: &String| {
        let named = LINKAGES.into_iter().find(|(known, _)| known == name);
        named.expect("ward, average or complete").1
    };
    let count = |text: &String| text.parse::<usize>().expect("a number");
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["tree", ..] => {
            let lines = std::io::stdin().lock().lines().map(|line| line.expect("text"));
            let number = |text: &str| text.trim().parse::<f64>().expect("numbers between commas");
            let points: Vec<Vec<f64>> = lines.map(|line| line.split(',').map(number).collect()).collect();
            let merges = match arguments.get(2) {
                None => merge_points(linkage(&arguments[1]), &points),
                Some(workers) => in_rounds(linkage(&arguments[1]), points, count(workers)),
            };
            let mut out = std::io::BufWriter::new(std::io::stdout().lock());
            for merge in merges {
                writeln!(out, "{},{},{:?}", merge.left, merge.right, merge.distance).expect("written");
            }
            return;
        }
        ["rounds", name, _, _, _] => {
            let [n, clusters, workers] = [2, 3, 4].map(|i| count(&arguments[i]));
            let points = points(n, clusters);
            let started = Instant::now();
            let merges = in_rounds(linkage(&arguments[1]), points, workers);
            let (seconds, last) = (started.elapsed().as_secs_f64(), merges.last().map_or(0.0, |merge| merge.distance));
            assert_eq!(merges.len(), n - 1);
            println!("{name}: {n} points around {clusters}, {workers} workers, {seconds:.2} s, last height {last:.6}");
            println!("peak: {} MiB", peak().map_or("unknown".to_owned(), |peak| (peak >> 20).to_string()));
            return;
        }
        _ => {}
    }
    let n = arguments.first().map_or(2000, |n| n.parse().expect("a number of points"));
    let points = points(n, 0);
    let mut seconds = vec![Vec::new(); LINKAGES.len()];
    for _ in 0..RUNS {
        for ((_, linkage), seconds) in LINKAGES.iter().zip(&mut seconds) {
            let started = Instant::now();
            let merges = merge_points(*linkage, &points);
            seconds.push(started.elapsed().as_secs_f64());
            assert_eq!(merges.len(), n - 1);
        }
    }
    for ((name, _), seconds) in LINKAGES.iter().zip(&mut seconds) {
        seconds.sort_by(f64::total_cmp);
        println!("{name}: {n} points, {:.4} s (least {:.4})", seconds[RUNS / 2], seconds[0]);
    }
    println!("held at the end: {}", memory::resident().map_or("unknown".to_owned(), |held| held.to_string()));
}

/// The tree that so many workers of one process grow.
fn in_rounds(linkage: Linkage, points: Vec<Vec<f64>>, workers: usize) -> Vec<Merge> {
    let shared = Shared::new(workers, Size(4 << 30));
    let points = Mutex::new(Some(points));
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let start = (worker.index() == 0).then(|| points.lock().expect("not poisoned").take()).flatten();
        grow(worker, &shared, start, |points| Rounds::of_points(linkage, points))
    });
    let trees = guards.expect("workers").join().into_iter().map(|result| result.expect("no panic"));
    trees.flatten().next().expect("worker 0 has the tree").merges
}

/// Points of 130 coordinates, each from 0 to 0.3 away from one of so many centres in a cube of side 3; in a cube of side 1 without any.
fn points(n: usize, clusters: usize) -> Vec<Vec<f64>> {
    // SplitMix64 (Steele, Lea and Flood, 2014).
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut many = |count: usize, side: f64| -> Vec<f64> { (0..count).map(|_| side * next()).collect() };
    let centres: Vec<Vec<f64>> = (0..clusters).map(|_| many(130, 3.0)).collect();
    (0..n)
        .map(|_| {
            if clusters == 0 {
                return many(130, 1.0);
            }
            let centre = many(1, clusters as f64)[0] as usize;
            many(130, 0.3).iter().zip(&centres[centre]).map(|(x, centre)| x + centre).collect()
        })
        .collect()
}

/// The most bytes that this process has held, where the system tells.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib << 10)
}
