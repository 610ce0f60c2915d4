//! Trees of points: how long they take, and what they are, for other programs to compare.
//!
//! - `cargo bench --bench linkage`: seconds and peak memory of the exact linkages over 2,000 points of 130 coordinates, distances
//!   included, the median of seven runs in turns; another number of points as `-- 5000`.
//! - `-- tree LINKAGE < POINTS`: the merges of points, one a line with its coordinates between commas, as `left,right,height`.

use std::io::{BufRead, Write};
use std::time::Instant;

use nichemine::job::Linkage;
use nichemine::memory;
use nichemine::merge::merge_points;

const LINKAGES: [(&str, Linkage); 3] =
    [("ward", Linkage::Ward), ("average", Linkage::Average), ("complete", Linkage::Complete)];
const RUNS: usize = 7;

fn main() {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [command, name] = &arguments[..]
        && command == "tree"
    {
        let (_, linkage) = LINKAGES.into_iter().find(|(known, _)| known == name).expect("ward, average or complete");
        let lines = std::io::stdin().lock().lines().map(|line| line.expect("text"));
        let number = |text: &str| text.trim().parse::<f64>().expect("numbers between commas");
        let points: Vec<Vec<f64>> = lines.map(|line| line.split(',').map(number).collect()).collect();
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        for merge in merge_points(linkage, &points) {
            writeln!(out, "{},{},{:?}", merge.left, merge.right, merge.distance).expect("written");
        }
        return;
    }
    let n = arguments.first().map_or(2000, |n| n.parse().expect("a number of points"));
    // SplitMix64 (Steele, Lea and Flood, 2014).
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    };
    let points: Vec<Vec<f64>> = (0..n).map(|_| (0..130).map(|_| next()).collect()).collect();
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
