//! The runs of one job as tables in Markdown.

use std::fmt::Write as _;

use hdrhistogram::Histogram;
use nichemine::telemetry::LevelRecord;

use super::measured::Run;

/// The runs of one layout, and ratios of the layouts' medians if there are several.
pub fn report(layouts: &[Vec<Run>]) -> String {
    let mut text = String::new();
    for runs in layouts {
        let manifest = &runs[0].manifest;
        writeln!(text, "\n## {}\n\n{}", manifest.layout, stages(runs)).expect("memory takes text");
        writeln!(text, "{}\n{}", levels(runs), blocks(runs)).expect("memory takes text");
        let peaks: Option<Vec<u64>> = runs.iter().map(|run| run.peak_bytes).collect();
        let largest = peaks.and_then(|peaks| peaks.into_iter().max());
        let memory = largest.map_or("unknown".into(), |bytes| format!("{} MB", grouped(bytes / 1_000_000)));
        writeln!(text, "Peak memory, the largest of the runs: {memory}.").expect("memory takes text");
    }
    if layouts.len() > 1 {
        writeln!(text, "\n## Scaling\n\n{}", scaling(layouts)).expect("memory takes text");
    }
    text
}

/// Times in microseconds, to three significant digits.
fn times(seconds: impl Iterator<Item = f64>) -> Histogram<u64> {
    let mut histogram = Histogram::new(3).expect("three significant digits are allowed");
    seconds.for_each(|s| histogram.record((s * 1e6) as u64).expect("a histogram that resizes holds any value"));
    histogram
}

fn at(histogram: &Histogram<u64>, quantile: f64) -> String {
    format!("{:.4}", histogram.value_at_quantile(quantile) as f64 / 1e6)
}

fn quantiles(histogram: &Histogram<u64>) -> [String; 3] {
    [0.5, 0.99, 1.0].map(|quantile| at(histogram, quantile))
}

fn stages(runs: &[Run]) -> String {
    let first = &runs[0].manifest.stages;
    let mut rows: Vec<Vec<String>> = (0..first.len())
        .map(|i| {
            let seconds = times(runs.iter().map(|run| run.manifest.stages[i].seconds));
            [vec![first[i].name.clone(), grouped(first[i].out)], quantiles(&seconds).into()].concat()
        })
        .collect();
    let whole = times(runs.iter().map(|run| run.seconds));
    rows.push([vec!["whole job".into(), String::new()], quantiles(&whole).into()].concat());
    table(&["stage", "out", "p50 s", "p99 s", "max s"], &rows)
}

fn levels(runs: &[Run]) -> String {
    let customers = runs[0].manifest.customers;
    let row = |i: usize| {
        let record = &runs[0].manifest.levels[i];
        let mut cells: Vec<String> = vec![record.level.to_string()];
        cells.extend([record.feature_sets, record.candidates, record.cells, record.kept].map(grouped));
        // A level without passes was counted with a deeper one, which tells what both took.
        if record.covering_blocks == 0 {
            cells.extend(["with the next", "", "", "", ""].map(String::from));
            return cells;
        }
        let seconds = times(runs.iter().map(|run| run.manifest.levels[i].seconds));
        let rate = (customers * record.covering_blocks) as f64 / (seconds.value_at_quantile(0.5).max(1) as f64 / 1e6);
        let bytes = runs.iter().map(|run| run.manifest.levels[i].bytes_exchanged).max().unwrap_or(0);
        cells.extend([grouped(record.covering_blocks), at(&seconds, 0.5), at(&seconds, 1.0), grouped(bytes)]);
        cells.push(format!("{:.1}", rate / 1e6));
        cells
    };
    let header = [
        "level",
        "feature sets",
        "candidates",
        "cells",
        "kept",
        "passes",
        "p50 s",
        "max s",
        "bytes exchanged",
        "M rows x passes / s",
    ];
    table(&header, &(0..runs[0].manifest.levels.len()).map(row).collect::<Vec<_>>())
}

/// Times of counting a block over the rows of some workers, over all workers and runs.
fn blocks(runs: &[Run]) -> String {
    let merged = |of: &dyn Fn(&LevelRecord) -> bool| {
        let mut histogram = Histogram::<u64>::new(3).expect("three significant digits are allowed");
        let records = runs.iter().flat_map(|run| &run.manifest.levels).filter(|record| of(record));
        for [us, passes] in records.flat_map(|record| record.block_us_counts.iter().copied()) {
            histogram.record_n(us, passes).expect("a histogram that resizes holds any value");
        }
        histogram
    };
    let row = |name: String, histogram: Histogram<u64>| {
        let quantiles = [0.5, 0.99, 1.0].map(|quantile| grouped(histogram.value_at_quantile(quantile)));
        (!histogram.is_empty()).then(|| [vec![name, grouped(histogram.len())], quantiles.into()].concat())
    };
    let levels = &runs[0].manifest.levels;
    let mut rows: Vec<Vec<String>> =
        levels.iter().filter_map(|l| row(l.level.to_string(), merged(&|other| other.level == l.level))).collect();
    rows.extend(row("all".into(), merged(&|_| true)));
    table(&["blocks of level", "times", "p50 us", "p99 us", "max us"], &rows)
}

/// How many times as fast as the first layout, by medians.
fn scaling(layouts: &[Vec<Run>]) -> String {
    let enumerate = |run: &Run| run.manifest.stages.iter().find(|stage| stage.name == "enumerate").map(|s| s.seconds);
    let median =
        |runs: &[Run], of: &dyn Fn(&Run) -> f64| times(runs.iter().map(of)).value_at_quantile(0.5) as f64 / 1e6;
    let parts: [&dyn Fn(&Run) -> f64; 2] = [&|run| run.seconds, &|run| enumerate(run).unwrap_or(0.0)];
    let row = |runs: &Vec<Run>| {
        let mut cells = vec![runs[0].manifest.layout.clone()];
        for part in parts {
            let (first, own) = (median(&layouts[0], part), median(runs, part));
            cells.extend([format!("{own:.4}"), format!("{:.2}", first / own)]);
        }
        cells
    };
    let rows: Vec<Vec<String>> = layouts.iter().map(row).collect();
    table(&["layout", "whole job p50 s", "times as fast", "enumerate p50 s", "times as fast"], &rows)
}

/// A number with commas between thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A table in Markdown that can be read as it is; all columns but the first are numbers.
fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |i: usize| rows.iter().map(|row| row[i].len()).chain([header[i].len(), 4]).max().unwrap_or(4);
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::from("|");
        for (i, (cell, width)) in cells.zip(&widths).enumerate() {
            match i {
                0 => write!(text, " {cell:<width$} |"),
                _ => write!(text, " {cell:>width$} |"),
            }
            .expect("memory takes text");
        }
        text + "\n"
    };
    let rules: Vec<String> = widths
        .iter()
        .enumerate()
        .map(|(i, w)| "-".repeat(w - usize::from(i > 0)) + if i > 0 { ":" } else { "" })
        .collect();
    let mut text = line(&mut header.iter().copied()) + &line(&mut rules.iter().map(String::as_str));
    rows.iter().for_each(|row| text.push_str(&line(&mut row.iter().map(String::as_str))));
    text
}
