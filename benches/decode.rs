//! The yardstick of reading: what decoding a Parquet table costs when nothing is done with it.
//!
//! Decodes every row group of a file, or of the `.parquet` files of a folder, with the parquet crate's arrow reader
//! (default options, batches of 16,384 rows as `src/source` has them) and drops the batches. The row groups are shared by
//! the threads, whole; each thread takes the next one when it is done. Prints the seconds of every repetition and their
//! median, and the rows and values read, which are the same in every repetition.
//!
//! ```text
//! cargo bench --bench decode -- FILE [COLUMN ...] [--threads N] [--repetitions N]
//! ```
//!
//! Without columns, all are decoded. Stages `source` and `encode` of a run with as many threads, whose seconds are in its
//! `manifest.json`, are read against the median. Without a file there is nothing to do: it says `skipped`.

use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

const BATCH: usize = 16_384;

struct Args {
    path: PathBuf,
    columns: Vec<String>,
    threads: usize,
    repetitions: usize,
}

/// A row group of one file, with the leaves to decode.
struct Unit<'a> {
    path: &'a Path,
    metadata: &'a ArrowReaderMetadata,
    mask: &'a ProjectionMask,
    group: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let Some(args) = args()? else {
        println!("decode: skipped, no Parquet file was given");
        return Ok(());
    };
    let paths = if args.path.is_dir() {
        let entries = std::fs::read_dir(&args.path)?.collect::<Result<Vec<_>, _>>()?;
        let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|suffix| suffix == "parquet"));
        paths.sort();
        paths
    } else {
        vec![args.path.clone()]
    };
    let mut files = Vec::new();
    for path in &paths {
        let metadata = ArrowReaderMetadata::load(&File::open(path)?, ArrowReaderOptions::new())?;
        let mask = if args.columns.is_empty() { ProjectionMask::all() } else { mask(&metadata, &args.columns)? };
        files.push((path, metadata, mask));
    }
    let units: Vec<Unit> = files
        .iter()
        .flat_map(|(path, metadata, mask)| {
            let groups = 0..metadata.metadata().num_row_groups();
            groups.map(move |group| Unit { path, metadata, mask, group })
        })
        .collect();

    let mut seconds = Vec::new();
    for repetition in 1..=args.repetitions {
        let started = Instant::now();
        let (rows, values) = decode(&units, args.threads)?;
        seconds.push(started.elapsed().as_secs_f64());
        println!("{repetition}: {:.3} s, {rows} rows, {values} values", seconds[seconds.len() - 1]);
    }
    seconds.sort_by(f64::total_cmp);
    println!("median: {:.3} s on {} thread(s)", seconds[seconds.len() / 2], args.threads);
    Ok(())
}

/// None when there is nothing to read.
fn args() -> Result<Option<Args>, Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let mut rest = Vec::new();
    let (mut threads, mut repetitions) = (1, 5);
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0);
        match word.as_str() {
            // What `cargo bench` and `cargo test` add of themselves.
            "--bench" => {}
            "--test" => return Ok(None),
            "--threads" => threads = number().ok_or("--threads needs a number from 1")?,
            "--repetitions" => repetitions = number().ok_or("--repetitions needs a number from 1")?,
            flag if flag.starts_with("--") => {
                return Err(format!("{flag:?}: expected --threads or --repetitions").into());
            }
            _ => rest.push(word),
        }
    }
    let mut rest = rest.into_iter();
    let Some(path) = rest.next() else { return Ok(None) };
    Ok(Some(Args { path: path.into(), columns: rest.collect(), threads, repetitions }))
}

fn mask(metadata: &ArrowReaderMetadata, columns: &[String]) -> Result<ProjectionMask, Box<dyn Error>> {
    let places = columns.iter().map(|name| metadata.schema().index_of(name)).collect::<Result<Vec<_>, _>>()?;
    Ok(ProjectionMask::roots(metadata.parquet_schema(), places))
}

/// Rows and values read by all threads.
fn decode(units: &[Unit], threads: usize) -> Result<(usize, usize), Box<dyn Error>> {
    let next = AtomicUsize::new(0);
    let read = Mutex::new((0, 0));
    let failure = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(unit) = units.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match decode_one(unit) {
                        Ok((rows, values)) => {
                            let mut read = read.lock().expect("no thread panics while it holds this");
                            *read = (read.0 + rows, read.1 + values);
                        }
                        Err(error) => {
                            let text = format!("{}: {error}", unit.path.display());
                            *failure.lock().expect("no thread panics while it holds this") = Some(text);
                        }
                    }
                }
            });
        }
    });
    match failure.into_inner()? {
        Some(text) => Err(text.into()),
        None => Ok(read.into_inner()?),
    }
}

fn decode_one(unit: &Unit) -> Result<(usize, usize), Box<dyn Error>> {
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(File::open(unit.path)?, unit.metadata.clone())
        .with_projection(unit.mask.clone())
        .with_row_groups(vec![unit.group])
        .with_batch_size(BATCH)
        .build()?;
    let (mut rows, mut values) = (0, 0);
    for batch in reader {
        let batch = batch?;
        rows += batch.num_rows();
        values += batch.num_rows() * batch.num_columns();
    }
    Ok((rows, values))
}
