//! The documents against the program: `docs/job-spec.md` is rendered from the job's own types, the README's commands run,
//! and what documents point at is there.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nichemine::job::{Job, JobSpec};
use serde_json::Value;

/// The shortest job, with one of each section that may be there several times.
const MINIMAL: &str = r#"
[input]
path = "customers.parquet"

[metric]
column = "converted"
kind = "rate"

[output]
dir = "out"
"#;
const REPEATED: &str = r#"
[[secondary]]
name = "NAME"
column = "COLUMN"
kind = "amount"

[compare]
column = "COLUMN"
before = "BEFORE"
after = "AFTER"

[features.NAME]
"#;

/// Sections in the order of a job file: heading, type, place of its defaults, whether it must be there.
const SECTIONS: [(&str, &str, &str, bool); 13] = [
    ("[input]", "InputSpec", "input", true),
    ("[input.csv]", "CsvSpec", "input.csv", false),
    ("[metric]", "MetricSpec", "metric", true),
    ("[[secondary]]", "SecondarySpec", "secondary", false),
    ("[compare]", "CompareSpec", "compare", false),
    ("[features]", "FeaturesSpec", "features", false),
    ("[features.NAME]", "FeatureSpec", "features.NAME", false),
    ("[screen]", "ScreenSpec", "screen", false),
    ("[enumerate]", "EnumerateSpec", "enumerate", false),
    ("[highlight]", "HighlightSpec", "highlight", false),
    ("[merge]", "MergeSpec", "merge", false),
    ("[profile]", "ProfileSpec", "profile", false),
    ("[output]", "OutputSpec", "output", true),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn documents() -> Vec<(PathBuf, String)> {
    let mut paths: Vec<PathBuf> =
        ["README.md", "ARCHITECTURE.md", "cluster-config/README.md", "benches/README.md", "benches/peers/README.md"]
            .map(PathBuf::from)
            .into();
    let docs = std::fs::read_dir(root().join("docs")).unwrap();
    paths.extend(docs.map(|entry| Path::new("docs").join(entry.unwrap().file_name())));
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), read(path.to_str().unwrap()))).collect()
}

fn effective(job: &str) -> toml::Table {
    let job = Job::parse(job, Path::new("job.toml"), &[]).unwrap();
    job.effective().parse().unwrap()
}

#[test]
fn the_reference_of_the_job_file_is_rendered_from_its_types() {
    let rendered = reference();
    let path = root().join("docs/job-spec.md");
    if std::env::var("NICHEMINE_WRITE_DOCS").as_deref() == Ok("1") {
        std::fs::write(&path, &rendered).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let first = rendered.lines().zip(found.lines()).position(|(a, b)| a != b);
    assert!(
        found == rendered,
        "docs/job-spec.md is not what the job's types say, first at line {}; write it again with\n\
         NICHEMINE_WRITE_DOCS=1 cargo test --test it docs",
        first.map_or_else(|| rendered.lines().count().min(found.lines().count()) + 1, |line| line + 1)
    );
}

fn reference() -> String {
    let schema = serde_json::to_value(schemars::schema_for!(JobSpec)).unwrap();
    let types = &schema["$defs"];
    let defaults = effective(&format!("{MINIMAL}{REPEATED}"));
    let mut page = String::from(
        "# The job file\n\n\
         <!-- Rendered from the types in src/job/mod.rs by tests/it/docs.rs. Do not edit: NICHEMINE_WRITE_DOCS=1 cargo test --test it docs -->\n\n\
         A job is one TOML file. A key that is not on this page is an error that names the nearest key that is. `nichemine plan`\n\
         prints a job with every default filled in, `nichemine schema` prints the JSON Schema behind this page, and\n\
         `--set section.key=value` on the command line changes any key of one run.\n\n\
         In the tables, *required* marks a key without which the job is refused; *–* means that the key has no default and may\n\
         be left out.\n",
    );
    for (heading, name, place, required) in SECTIONS {
        let section = &types[name];
        assert!(section.is_object(), "{name} is a type of the job");
        writeln!(page, "\n## `{heading}`\n").unwrap();
        writeln!(page, "{}{}\n", text(section), if required { " Required." } else { "" }).unwrap();
        page.push_str("| key | type | default | meaning |\n| --- | --- | --- | --- |\n");
        let empty = toml::Table::new();
        let defaults = at(&defaults, place).unwrap_or(&empty);
        let mut values = String::new();
        for (key, property) in properties(section) {
            let must = section["required"].as_array().is_some_and(|keys| keys.iter().any(|k| k == key));
            // A default that is another section of this page is told there.
            let default = match (must, defaults.get(key)) {
                (true, _) => "*required*".to_owned(),
                (false, Some(toml::Value::Table(_))) => "see below".to_owned(),
                (false, Some(value)) => format!("`{}`", value.to_string().replace('\n', " ")),
                (false, None) => "–".to_owned(),
            };
            let meaning =
                Some(text(property)).filter(|text| !text.is_empty()).unwrap_or_else(|| text(resolved(types, property)));
            writeln!(page, "| `{key}` | {} | {} | {} |", kind(types, property), cell(&default), cell(&meaning))
                .unwrap();
            values.push_str(&choices(types, key, property));
        }
        if !values.is_empty() {
            write!(page, "\n{values}").unwrap();
        }
    }
    let shortest = Job::parse(MINIMAL, Path::new("job.toml"), &[]).unwrap().effective();
    writeln!(page, "\n## The shortest job, as it runs\n\n```toml\n{shortest}```").unwrap();
    page
}

fn at<'a>(table: &'a toml::Table, place: &str) -> Option<&'a toml::Table> {
    place.split('.').try_fold(table, |table, key| match table.get(key)? {
        toml::Value::Table(inner) => Some(inner),
        toml::Value::Array(tables) => tables.first()?.as_table(),
        _ => None,
    })
}

/// Those that must be there first, else by name.
fn properties(section: &Value) -> Vec<(&String, &Value)> {
    let required: Vec<&Value> = section["required"].as_array().into_iter().flatten().collect();
    let mut found: Vec<(&String, &Value)> = section["properties"].as_object().unwrap().iter().collect();
    found.sort_by_key(|(key, _)| (!required.iter().any(|r| *r == *key), (*key).clone()));
    found
}

fn text(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().replace('\n', " ")
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// What a reference points at, with `null` among alternatives left out.
fn resolved<'a>(types: &'a Value, schema: &'a Value) -> &'a Value {
    if let Some(name) = schema["$ref"].as_str() {
        return &types[name.trim_start_matches("#/$defs/")];
    }
    let alternatives = schema["anyOf"].as_array().into_iter().flatten();
    match alternatives.filter(|s| s["type"] != "null").collect::<Vec<_>>().as_slice() {
        [only] => resolved(types, only),
        _ => schema,
    }
}

/// A type as a job's author needs to know it.
fn kind(types: &Value, schema: &Value) -> String {
    let schema = resolved(types, schema);
    let several = |schemas: &[Value]| -> String {
        let kinds: Vec<String> = schemas.iter().map(|s| kind(types, s)).collect();
        let mut distinct: Vec<&String> = Vec::new();
        kinds.iter().for_each(|k| {
            if !distinct.contains(&k) {
                distinct.push(k);
            }
        });
        if distinct.len() > 3
            && schemas.iter().all(|s| s["type"].is_string())
            && !schemas.iter().any(|s| s["const"].is_string())
        {
            return "value".into();
        }
        distinct.into_iter().cloned().collect::<Vec<_>>().join(" or ")
    };
    if let Some(schemas) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
        return several(schemas);
    }
    if let Some(value) = schema["const"].as_str() {
        return format!("`\"{value}\"`");
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(|v| format!("`{v}`")).collect::<Vec<_>>().join(" or ");
    }
    let name = match &schema["type"] {
        Value::Array(names) => names.iter().find_map(|n| n.as_str().filter(|n| *n != "null")).unwrap(),
        name => name.as_str().unwrap_or("anything"),
    };
    match name {
        "string" if schema["maxLength"] == 1 => "one character".into(),
        "string" => "text".into(),
        "boolean" => "true or false".into(),
        "integer" => "whole number".into(),
        "array" if schema["minItems"] == schema["maxItems"] && schema["minItems"].is_u64() => {
            format!("list of {} {}s", schema["minItems"], kind(types, &schema["items"]))
        }
        "array" => match kind(types, &schema["items"]) {
            plain if plain == "value" || plain == "number" => format!("list of {plain}s"),
            other => format!("list of {other}"),
        },
        "object" => {
            let keys = schema["properties"].as_object().into_iter().flatten();
            let keys: Vec<String> = keys.map(|(key, value)| format!("{key} = {}", kind(types, value))).collect();
            if keys.len() == 1 { format!("`{{ {} }}`", keys[0]) } else { "table".into() }
        }
        other => other.into(),
    }
}

/// A line a value of a closed set that says what it is.
fn choices(types: &Value, key: &str, property: &Value) -> String {
    let mut lines = String::new();
    for choice in resolved(types, property)["oneOf"].as_array().into_iter().flatten() {
        if !text(choice).is_empty() {
            writeln!(lines, "- `{key}` {}: {}", kind(types, choice), text(choice)).unwrap();
        }
    }
    lines
}

/// What stands between backquotes, and the lines of fenced blocks with their language.
fn code(markdown: &str) -> (Vec<String>, Vec<(String, String)>) {
    let (mut spans, mut blocks) = (Vec::new(), Vec::new());
    let mut fence: Option<String> = None;
    for line in markdown.lines() {
        match (line.trim_start().strip_prefix("```"), &fence) {
            (Some(language), None) => fence = Some(language.to_owned()),
            (Some(_), Some(_)) => fence = None,
            (None, Some(language)) => blocks.push((language.clone(), line.to_owned())),
            (None, None) => spans.extend(line.split('`').skip(1).step_by(2).map(str::to_owned)),
        }
    }
    (spans, blocks)
}

fn program(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nichemine")).args(arguments).current_dir(folder).output().unwrap()
}

fn subcommands() -> Vec<String> {
    let help = program(&["--help"], root());
    let help = String::from_utf8(help.stdout).unwrap();
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let (commands, _) = commands.split_once("\nOptions:").unwrap();
    // A further line of a command's text is indented deeper.
    let first =
        |line: &str| line.strip_prefix("  ")?.split(' ').next().filter(|name| !name.is_empty()).map(str::to_owned);
    commands.lines().filter_map(first).collect()
}

#[test]
fn the_readme_names_the_commands_that_there_are() {
    let readme = read("README.md");
    let known = subcommands();
    let (spans, blocks) = code(&readme);
    let lines =
        spans.into_iter().chain(blocks.into_iter().filter(|(language, _)| language == "sh").map(|(_, line)| line));
    let mut named = BTreeMap::new();
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        let after = |i: usize| words[i] == "nichemine" || (words[i] == "--" && words[0] == "cargo");
        for i in (0..words.len().saturating_sub(1)).filter(|&i| after(i)) {
            if words[i + 1].bytes().all(|b| b.is_ascii_lowercase()) {
                named.insert(words[i + 1].to_owned(), line.clone());
            }
        }
    }
    for (name, line) in &named {
        assert!(known.contains(name), "README.md says {line:?}; the commands are {known:?}");
    }
    for name in known.iter().filter(|name| *name != "help") {
        assert!(named.contains_key(name), "README.md does not say what `nichemine {name}` does");
    }
    for command in ["cargo run --release -- demo", "cargo test"] {
        assert!(readme.lines().any(|line| line == command), "README.md has {command:?} on a line of its own");
    }
}

#[test]
fn the_first_run_of_the_readme_works_as_written() {
    let (_, blocks) = code(&read("README.md"));
    let of = |wanted: &str| -> Vec<&str> {
        blocks.iter().filter(|(language, _)| language == wanted).map(|(_, line)| line.as_str()).collect()
    };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("job.toml"), of("toml").join("\n")).unwrap();
    let mut run = 0;
    for line in of("sh").into_iter().filter(|line| line.starts_with("nichemine ")) {
        let mut words: Vec<&str> = line.split('#').next().unwrap().split_whitespace().skip(1).collect();
        if words[0] == "plant" {
            // The smallest table that can be planted: unoptimised code would take a while for more.
            words.extend(["--customers", "20000"]);
        }
        let output = program(&words, folder.path());
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        run += 1;
    }
    assert!(run >= 5, "plant, describe, check, plan and run are shown: {run}");
}

#[test]
fn links_lead_somewhere() {
    for (path, text) in documents() {
        let folder = root().join(&path).parent().unwrap().to_owned();
        let targets = text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap());
        for target in targets.filter(|target| !target.contains("://")) {
            let file = target.split('#').next().unwrap();
            assert!(file.is_empty() || folder.join(file).exists(), "{path:?}: nothing is at {target:?}");
        }
    }
}

#[test]
fn files_and_tests_that_documents_name_are_there() {
    let mut sources = String::new();
    let mut folders = vec![root().join("src"), root().join("tests"), root().join("benches")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                sources.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    for (path, text) in documents() {
        for span in code(&text).0 {
            let is_path =
                ["src/", "tests/", "benches/", "docs/", "jobs/", "cluster-config/"].iter().any(|p| span.starts_with(p));
            if is_path && !span.contains(['*', '<', ' ']) {
                assert!(root().join(&span).exists(), "{path:?}: there is no {span:?}");
            }
            // A name as long as a sentence is that of a test.
            let is_test = span.matches('_').count() >= 4
                && !span.starts_with("nichemine_")
                && span.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            if is_test {
                assert!(sources.contains(&format!("fn {span}(")), "{path:?}: there is no test {span:?}");
            }
        }
    }
}
