//! Who may use whom: the table itself, and a check of `src` against it, read as text.
//!
//! Data passes through the modules in the order of `src/lib.rs`, and they use each other in the other direction. Code
//! under `#[cfg(test)]` may use what it likes; all else follows the table. A new module or dependency gets a row here.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Modules, what each may use beside itself, and what it is. `above`: every module above it.
const MODULES: &str = "
    vocabulary
    segment   |                                      | features, items and segments by number
    stats     |                                      | exact integer sums
    block     | stats                                | the sums of many cells, as narrow as they fit
    job       | segment stats                        | what the user asked for
    audience  | segment stats encode simd            | bitmaps of items, which are cut from an encoded shard
    simd      |                                      | loops compiled for the processor at hand
    memory    |                                      | sizes, and what the system gives
    telemetry |                                      | records of plain figures, for whoever makes or prints them

    stages: vocabulary and the output types of earlier stages; none knows how many workers there are
    source    | job                                  | a worker's share of the files
    encode    | segment stats simd audience job source | record batches to rows of items
    screen    | segment stats job encode             | which features are worth combining
    enumerate | segment stats block encode simd      | a pure plan, and the counting of rows
    score     | segment stats                        | measures follow from sums alone
    highlight | segment stats job score              | high impact, low uv, not said by a simpler segment
    change    | segment stats job encode enumerate score highlight | what explains the change between two periods
    profile   | segment stats simd encode score      | what sets an audience apart
    mix       | segment stats encode score           | how groups divide by a column
    merge     | segment stats audience simd job encode score highlight profile | groups, named and compared by their profiles
    alternatives | segment stats simd audience encode score profile | other methods, to compare groups with
    sink      | above                                | what is published
    assign    | segment job audience source encode sink | a table's customers into a published run's groups

    the stages, spread over workers
    dataflow  | above                                | fills the sink's documents, publishes nothing
    cluster   |                                      | starts workers and knows nothing of what they run

    tables with known niches: no stage, and nothing of how niches are found
    planted   | segment stats job score highlight    | compares a run with the truth in the words of its outputs

    the edge
    cli       | above                                | parses, runs, prints
    main      | above                                | calls cli
";

/// Outside crates as code names them, the modules they are found in, and what for.
const CRATES: &str = "
    timely                | dataflow cluster cli         | operators; workers on sockets of ours; what a worker runs
    differential_dataflow | dataflow                     | operators
    arrow                 | source encode sink planted   | record batches
    parquet               | source sink planted          | files
    csv                   | source sink planted          | files
    memchr                | source                       | quotes and line ends of CSV
    flate2                | source planted               | compressed CSV
    zstd                  | source planted               | compressed CSV
    glob                  | source encode job            | input paths; patterns of feature names and of values
    rayon                 | enumerate highlight change merge sink planted | where no dataflow runs: inside it, workers own the cores
    hashbrown             | encode enumerate assign sink | maps with a fixed seed
    foldhash              | encode enumerate assign dataflow sink | their seed
    xxhash_rust           | source encode sink planted   | hashes that mean the same in every run
    statrs                | score                        | distributions
    askama                | sink                         | the report's template
    comfy_table           | sink planted cli             | tables on a terminal
    sha2                  | sink cluster planted         | checksums; the proof of a shared key
    serde_json            | job sink planted cli         | the schema of job files as data; documents
    toml                  | job cli                      | job files
    strsim                | job                          | suggestions for unknown keys
    schemars              | stats job cli                | the schema of job files
    bincode               | cluster                      | the handshake, with a limit on lengths
    hdrhistogram          | dataflow telemetry           | latencies
    signal_hook           | cluster cli                  | interrupts
    indicatif             | cli                          | progress bars
    tracing_subscriber    | cli                          | where log lines go
    clap                  | cli main                     | the command line
    clap_complete         | cli main                     | the command line
    clap_mangen           | cli main                     | the command line
    serde                 | all                          | plain types that are written or sent
    thiserror             | all                          | an error type for each module that can fail
    tracing               | all                          | log lines
";

/// The rows of a table above: name, names that it lists, why.
fn rows(table: &'static str) -> impl Iterator<Item = (&'static str, Vec<&'static str>, &'static str)> {
    table.lines().filter_map(|line| {
        let mut cells = line.split('|').map(str::trim);
        Some((cells.next()?, cells.next()?.split_whitespace().collect(), cells.next()?))
    })
}

/// The modules with those that each may use, `above` written out.
fn modules() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    for (name, uses, _) in rows(MODULES) {
        let uses = if uses == ["above"] { found.iter().map(|m| m.0).collect() } else { uses };
        found.push((name, uses));
    }
    found
}

/// A stage is a file until about this many lines, then a folder.
const MOST_LINES: usize = 600;

#[test]
fn modules_use_only_what_the_table_lets_them() {
    let modules = modules();
    let mut broken = Vec::new();
    for file in sources() {
        let own = file.module.as_str();
        let Some((_, allowed)) = modules.iter().find(|m| m.0 == own) else {
            broken.push(file.says(1, &format!("module `{own}` has no row in MODULES of tests/it/layering.rs")));
            continue;
        };
        for (line, code) in &file.code {
            let used = ["crate::", "nichemine::"].into_iter().flat_map(|root| names_after(code, root));
            for used in used.filter(|used| *used != own && !allowed.contains(used)) {
                let allowed = if allowed.is_empty() { "no other".to_owned() } else { allowed.join(", ") };
                broken.push(file.says(*line, &format!("`{own}` uses `{used}`; it may use {allowed}")));
            }
            if file.is_top && code.starts_with("use super::") {
                broken.push(file.says(*line, "a module names another by `crate::`, not by `super::`"));
            }
        }
    }
    assert!(broken.is_empty(), "who may use whom:\n{}", broken.join("\n"));
}

#[test]
fn outside_crates_are_found_only_in_their_modules() {
    let mut broken = Vec::new();
    for file in sources() {
        for (name, modules, what_for) in rows(CRATES) {
            if modules == ["all"] || modules.contains(&file.module.as_str()) {
                continue;
            }
            for (line, _) in file.code.iter().filter(|(_, code)| names_crate(code, name)) {
                let modules = modules.join(", ");
                broken.push(file.says(*line, &format!("`{name}` ({what_for}) is found only in {modules}")));
            }
        }
    }
    assert!(broken.is_empty(), "outside crates:\n{}", broken.join("\n"));
}

#[test]
fn every_dependency_and_every_module_has_its_row() {
    let manifest: toml::Table = read(&root().join("Cargo.toml")).parse().expect("Cargo.toml is TOML");
    let declared = manifest["dependencies"].as_table().expect("dependencies is a table").keys();
    let declared: BTreeSet<String> = declared.map(|name| name.replace('-', "_")).collect();
    let listed: BTreeSet<String> = rows(CRATES).map(|(name, ..)| name.to_owned()).collect();
    assert_eq!(declared, listed, "left: [dependencies] of Cargo.toml; right: CRATES of tests/it/layering.rs");

    let known: Vec<&str> = modules().into_iter().map(|m| m.0).collect();
    let named = rows(MODULES).chain(rows(CRATES)).flat_map(|(_, named, _)| named);
    let unknown: Vec<&str> = named.filter(|name| !["above", "all"].contains(name) && !known.contains(name)).collect();
    assert!(unknown.is_empty(), "named in tests/it/layering.rs but without a row of their own: {unknown:?}");
}

#[test]
fn nothing_outside_tests_unwraps() {
    let mut broken = Vec::new();
    for file in sources() {
        for (line, _) in file.code.iter().filter(|(_, code)| code.contains(".unwrap()")) {
            broken.push(file.says(*line, "say why it cannot fail with `expect`, or return an error"));
        }
    }
    assert!(broken.is_empty(), "unwraps:\n{}", broken.join("\n"));
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    let long: Vec<String> = rust_files()
        .into_iter()
        .map(|path| (read(&path).lines().count(), path))
        .filter(|(lines, _)| *lines > MOST_LINES)
        .map(|(lines, path)| format!("{}:{MOST_LINES}: {lines} lines; make it a folder", path.display()))
        .collect();
    assert!(long.is_empty(), "files beyond {MOST_LINES} lines:\n{}", long.join("\n"));
}

/// A file of `src`, without comments, texts and tests.
struct Source {
    path: PathBuf,
    /// The module of the library that it belongs to.
    module: String,
    /// Whether `super` is the crate's root here.
    is_top: bool,
    /// Lines by their number, counted from 1.
    code: Vec<(usize, String)>,
}

impl Source {
    fn says(&self, line: usize, rule: &str) -> String {
        format!("{}:{line}: {rule}", self.path.display())
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// All `.rs` files below `src`, in order.
fn rust_files() -> Vec<PathBuf> {
    let mut folders = vec![root().join("src")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        for entry in entries {
            let path = entry.expect("an entry of a folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// The files that are built without `cfg(test)`; `lib.rs` only lists the modules.
fn sources() -> Vec<Source> {
    let mut tests = Vec::new();
    let mut sources = Vec::new();
    for path in rust_files() {
        let below = path.strip_prefix(root().join("src")).expect("it was found there").to_owned();
        let parts: Vec<&str> = below.iter().map(|part| part.to_str().expect("our file names are UTF-8")).collect();
        let (code, modules) = without_tests(&without_texts(&read(&path)));
        let folder = match path.file_stem().and_then(|stem| stem.to_str()) {
            Some("mod" | "lib" | "main") => path.with_file_name(""),
            Some(_) | None => path.with_extension(""),
        };
        tests.extend(modules.iter().flat_map(|name| [folder.join(name), folder.join(name).with_extension("rs")]));
        if parts != ["lib.rs"] {
            sources.push(Source {
                module: parts[0].trim_end_matches(".rs").to_owned(),
                is_top: parts.len() == 1 || parts[1..] == ["mod.rs"],
                path,
                code,
            });
        }
    }
    sources.retain(|source| !tests.iter().any(|test| source.path.starts_with(test)));
    sources
}

/// `text` with its comments and the insides of its literals blanked, line by line.
fn without_texts(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let raw = rest.strip_prefix('r').map(|r| r.trim_start_matches('#')).filter(|r| r.starts_with('"'));
        let in_name = code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let len = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(body) = raw.filter(|_| !in_name) {
            let hashes = rest.len() - body.len() - 1;
            let end = format!("\"{}", "#".repeat(hashes));
            let start = rest.len() - body.len() + 1;
            rest[start..].find(&end).map_or(rest.len(), |at| start + at + end.len())
        } else if c == '"' {
            text_length(rest)
        } else if let Some(len) = character_length(rest) {
            len
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        code.extend(rest[..len].chars().filter(|&c| c == '\n'));
        rest = &rest[len..];
    }
    code
}

/// Bytes of the text literal that `rest` starts with.
fn text_length(rest: &str) -> usize {
    let mut escaped = false;
    let end = rest.char_indices().skip(1).find(|&(_, c)| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    end.map_or(rest.len(), |(at, _)| at + 1)
}

/// Bytes of the character literal that `rest` starts with; none for a lifetime.
fn character_length(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('\'')?;
    let first = inside.chars().next()?;
    let shortest = if first == '\\' { 2 } else { first.len_utf8() };
    let end = inside.get(shortest..)?.find('\'')?;
    (first == '\\' || end == 0).then_some(1 + shortest + end + 1)
}

/// The lines that are built without `cfg(test)`, and the names of the modules that are not.
fn without_tests(code: &str) -> (Vec<(usize, String)>, Vec<String>) {
    let mut kept = Vec::new();
    let mut modules = Vec::new();
    let mut lines = code.lines().enumerate();
    while let Some((i, line)) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            kept.push((i + 1, line.to_owned()));
            continue;
        }
        let Some((_, item)) = lines.find(|(_, line)| !line.trim_start().starts_with("#[")) else { break };
        if let Some(name) = item.trim().strip_prefix("mod ").and_then(|item| item.strip_suffix(';')) {
            modules.push(name.to_owned());
        } else if item.ends_with('{') {
            // rustfmt puts the end of an item where the item starts.
            let end = format!("{}}}", &item[..item.len() - item.trim_start().len()]);
            lines.find(|(_, line)| *line == end);
        }
    }
    (kept, modules)
}

/// The names that follow `root` in a line; braces are not looked into, and so are no name of a module.
fn names_after<'a>(code: &'a str, root: &'a str) -> impl Iterator<Item = &'a str> {
    let starts = code.match_indices(root).filter(|(at, _)| !ends_in_name(&code[..*at]));
    starts.map(move |(at, _)| {
        let rest = &code[at + root.len()..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        if rest.starts_with('{') { "several modules in one line" } else { &rest[..end] }
    })
}

/// Whether a line names this crate: `name::` or `use name`, but no other path's `name`.
fn names_crate(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let (before, after) = (&code[..at], &code[at + name.len()..]);
        let used = before.trim_end() == "use" && after.starts_with([';', ' ']);
        (used || after.starts_with("::")) && !ends_in_name(before) && !before.ends_with("::")
    })
}

fn ends_in_name(text: &str) -> bool {
    text.ends_with(|c: char| c.is_alphanumeric() || c == '_')
}

#[test]
fn texts_comments_and_tests_are_not_read_as_code() {
    let source = r##"use crate::a; // crate::b
let t = "crate::c \" crate::d"; let u = r#"crate::e " "#; let q = '"'; let l: &'static str = f::<'_>("crate::f");
#[cfg(test)]
mod kept;
#[cfg(test)]
mod tests {
    use crate::g;
}
use crate::h::{i};
"##;
    let (code, modules) = without_tests(&without_texts(source));
    let found: Vec<(usize, &str)> =
        code.iter().flat_map(|(line, code)| names_after(code, "crate::").map(move |name| (*line, name))).collect();
    assert_eq!(found, [(1, "a"), (9, "h")]);
    assert_eq!(modules, ["kept"]);
    assert!(names_crate("#[derive(arrow::Array)]", "arrow") && names_crate("use arrow as a;", "arrow"));
    assert!(!names_crate("crate::arrow::x(); narrow::y()", "arrow"));
}
