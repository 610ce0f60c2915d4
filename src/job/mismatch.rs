//! Values of the wrong type to what their settings may be, by the schema of the job file: what serde says of them is about types of Rust.

use serde_json::Value as Schema;
use toml::Value;

use super::{Job, JobError, JobSpec, closest};

/// A value that its setting cannot have.
#[derive(Debug)]
pub(super) struct Mismatch {
    /// As in `merge.distance.profile`.
    pub setting: String,
    /// As TOML.
    pub value: String,
    pub expected: String,
    pub suggestion: Option<String>,
    at: Vec<Step>,
}

#[derive(Clone, Debug)]
enum Step {
    Key(String),
    Place(usize),
}

impl Mismatch {
    /// The key as a line of the job file has it.
    pub fn key(&self) -> &str {
        let keys = self.at.iter().rev().find_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Place(_) => None,
        });
        keys.unwrap_or_default()
    }

    /// With the range instead of the type where it is only out of it.
    fn ranged(self, table: &toml::Table) -> Mismatch {
        let mut changed = Value::Table(table.clone());
        let place = self.at.iter().try_fold(&mut changed, |at, step| match step {
            Step::Key(key) => at.get_mut(key.as_str()),
            Step::Place(place) => at.get_mut(*place),
        });
        match place {
            Some(value) => raise_to_zero(value),
            None => return self,
        }
        // Nothing below 0 is allowed anywhere that a whole number is, so that 0 tells the range unless it is in it.
        match changed.try_into::<JobSpec>().map(Job::check) {
            Ok(Err(JobError::Range { setting, allowed, .. })) if setting == self.setting => {
                Mismatch { expected: allowed, ..self }
            }
            _ => self,
        }
    }
}

/// Puts 0 in the place of every whole number that is below.
fn raise_to_zero(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(raise_to_zero),
        Value::Integer(number) => *number = (*number).max(0),
        _ => {}
    }
}

/// All such values of a job file.
pub(super) fn mismatches(table: &toml::Table) -> Vec<Mismatch> {
    let schema = Schema::from(schemars::schema_for!(JobSpec));
    let mut found = Vec::new();
    Walk { types: &schema["$defs"] }.look(&schema, &Value::Table(table.clone()), &mut Vec::new(), &mut found);
    found.into_iter().map(|mismatch| mismatch.ranged(table)).collect()
}

struct Walk<'a> {
    types: &'a Schema,
}

impl<'a> Walk<'a> {
    /// What a schema stands for: several, where a value may be one of them.
    fn alternatives(&self, schema: &'a Schema) -> Vec<&'a Schema> {
        if let Some(name) = schema["$ref"].as_str() {
            return self.alternatives(&self.types[name.trim_start_matches("#/$defs/")]);
        }
        match schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
            Some(schemas) => schemas.iter().flat_map(|schema| self.alternatives(schema)).collect(),
            None if schema["type"] == "null" => Vec::new(),
            None => vec![schema],
        }
    }

    fn fits(&self, schema: &'a Schema, value: &Value) -> bool {
        let mut found = Vec::new();
        self.look(schema, value, &mut Vec::new(), &mut found);
        found.is_empty()
    }

    fn look(&self, schema: &'a Schema, value: &Value, at: &mut Vec<Step>, found: &mut Vec<Mismatch>) {
        let all = self.alternatives(schema);
        match all.as_slice() {
            [only] => self.look_at(only, value, at, found),
            several if several.iter().any(|schema| self.fits(schema, value)) => {}
            several => {
                // Of a table the one that knows a key of it is meant, and then the fault lies within.
                let keys = |schema: &&&Schema| {
                    let known = |key: &String| schema["properties"].get(key).is_some();
                    value.as_table().is_some_and(|table| table.keys().any(known))
                };
                let mut tables = several.iter().filter(|schema| value.is_table() && type_of(schema) == "object");
                let only = tables.next().filter(|_| tables.next().is_none());
                match several.iter().find(keys).or(only) {
                    Some(meant) => self.look_at(meant, value, at, found),
                    None => found.push(self.mismatch(schema, value, at)),
                }
            }
        }
    }

    /// The same of a schema that is one thing.
    fn look_at(&self, schema: &'a Schema, value: &Value, at: &mut Vec<Step>, found: &mut Vec<Mismatch>) {
        let fits = match (type_of(schema), value) {
            ("string", Value::String(text)) => match texts(schema) {
                Some(allowed) => allowed.contains(&text.as_str()),
                None => schema["maxLength"] != 1 || text.chars().count() == 1,
            },
            ("boolean", Value::Boolean(_)) | ("number", Value::Integer(_) | Value::Float(_)) => true,
            ("integer", Value::Integer(number)) => schema["minimum"].as_i64().is_none_or(|least| *number >= least),
            ("array", Value::Array(values)) => {
                let length = |limit: &str| schema[limit].as_u64();
                let items = values.len() as u64;
                let long = length("minItems").is_none_or(|least| items >= least);
                let short = length("maxItems").is_none_or(|most| items <= most);
                let scalars = values.iter().all(|value| !value.is_table() && !value.is_array());
                if long && short && !scalars {
                    for (place, value) in values.iter().enumerate() {
                        at.push(Step::Place(place));
                        self.look(&schema["items"], value, at, found);
                        at.pop();
                    }
                    return;
                }
                long && short && values.iter().all(|value| self.fits(&schema["items"], value))
            }
            ("object", Value::Table(table)) => {
                for (key, value) in table {
                    let own = schema["properties"].get(key);
                    let own = own.or(schema.get("additionalProperties").filter(|schema| schema.is_object()));
                    at.push(Step::Key(key.clone()));
                    match own {
                        Some(own) => self.look(own, value, at, found),
                        None => found.push(unknown(schema, key, value, at)),
                    }
                    at.pop();
                }
                true
            }
            _ => false,
        };
        if !fits {
            found.push(self.mismatch(schema, value, at));
        }
    }

    fn mismatch(&self, schema: &'a Schema, value: &Value, at: &[Step]) -> Mismatch {
        let all = self.alternatives(schema);
        let allowed: Vec<&str> = all.iter().filter_map(|schema| texts(schema)).flatten().collect();
        let written = value.as_str().and_then(|text| closest(text, allowed.into_iter()));
        let mut expected = format!("expected {}", self.kind(&all));
        let list = all.iter().find(|schema| type_of(schema) == "array");
        if let Some(list) = list.filter(|list| !value.is_array() && self.fits(&list["items"], value)) {
            let times = list["minItems"].as_u64().unwrap_or(1) as usize;
            expected.push_str(&format!(", as in {}", Value::Array(vec![value.clone(); times])));
        } else if value.is_datetime() && all.iter().any(|schema| type_of(schema) == "string") {
            expected.push_str(&format!(", as in \"{value}\""));
        }
        Mismatch { setting: named(at), value: shown(value), expected, suggestion: written, at: at.to_vec() }
    }

    /// One thing, or several, in words.
    fn kind(&self, all: &[&'a Schema]) -> String {
        let mut kinds: Vec<String> = Vec::new();
        for schema in all {
            let own = match (type_of(schema), texts(schema)) {
                (_, Some(texts)) => texts.iter().map(|text| format!("{text:?}")).collect(),
                ("string", None) if schema["maxLength"] == 1 => vec!["a character".into()],
                ("string", None) => vec!["text".into()],
                ("boolean", None) => vec!["true or false".into()],
                ("integer", None) if schema["minimum"] == 0 => vec!["a whole number of 0 or more".into()],
                ("integer", None) => vec!["a whole number".into()],
                ("number", None) => vec!["a number".into()],
                ("array", None) => vec![self.list(schema)],
                _ => vec![self.table(schema)],
            };
            own.into_iter().for_each(|kind| {
                if !kinds.contains(&kind) {
                    kinds.push(kind);
                }
            });
        }
        kinds.join(" or ")
    }

    fn table(&self, schema: &'a Schema) -> String {
        match keys(schema).as_slice() {
            [] => "a table".into(),
            [only] => {
                let of = self.kind(&self.alternatives(&schema["properties"][*only]));
                format!("{{ {only} = {of} }}")
            }
            several => format!("a table of {}", several.join(", ")),
        }
    }

    fn list(&self, schema: &'a Schema) -> String {
        let items = self.alternatives(&schema["items"]);
        let of = match items.as_slice() {
            [only] if type_of(only) == "string" => "text".to_owned(),
            [only] if type_of(only) == "integer" => "whole numbers".to_owned(),
            [only] if type_of(only) == "number" => "numbers".to_owned(),
            [only] if type_of(only) == "object" => "tables".to_owned(),
            _ => "these".to_owned(),
        };
        match schema["minItems"].as_u64().filter(|least| schema["maxItems"] == *least) {
            Some(length) => format!("a list of {length} {of}"),
            None => format!("a list of {of}"),
        }
    }
}

fn unknown(schema: &Schema, key: &str, value: &Value, at: &[Step]) -> Mismatch {
    let keys = keys(schema);
    let suggestion = closest(key, keys.iter().copied());
    let expected = format!("there is no such key; expected {}", keys.join(", "));
    Mismatch { setting: named(at), value: shown(value), expected, suggestion, at: at.to_vec() }
}

fn type_of(schema: &Schema) -> &str {
    match &schema["type"] {
        // Of a setting without a default, beside null.
        Schema::Array(names) => names.iter().find_map(|name| name.as_str().filter(|name| *name != "null")),
        name => name.as_str(),
    }
    .unwrap_or_default()
}

/// Of a closed set, its texts.
fn texts(schema: &Schema) -> Option<Vec<&str>> {
    match (schema["const"].as_str(), schema["enum"].as_array()) {
        (Some(only), _) => Some(vec![only]),
        (None, Some(all)) => Some(all.iter().filter_map(Schema::as_str).collect()),
        (None, None) => None,
    }
}

fn keys(schema: &Schema) -> Vec<&str> {
    schema["properties"].as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect()
}

fn named(at: &[Step]) -> String {
    at.iter().fold(String::new(), |name, step| match step {
        Step::Key(key) if name.is_empty() => key.clone(),
        Step::Key(key) => format!("{name}.{key}"),
        Step::Place(place) => format!("{name}[{place}]"),
    })
}

/// As TOML on one line.
fn shown(value: &Value) -> String {
    value.to_string().replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const MINIMAL: &str =
        "[input]\npath = \"t.csv\"\n[metric]\ncolumn = \"y\"\nkind = \"rate\"\n[output]\ndir = \"out\"\n";

    fn refused(text: &str, overrides: &[&str]) -> String {
        let overrides: Vec<_> = overrides.iter().map(|o| o.parse().expect("an override")).collect();
        Job::parse(text, Path::new("job.toml"), &overrides).expect_err("refused").to_string()
    }

    #[test]
    fn a_value_of_another_type_is_told_what_is_allowed_in_the_words_of_a_job_file() {
        let distance = "expected \"profile\" or \"overlap\" or \"items\" or a table of items, overlap, profile";
        let linkage = "expected \"smallest_first\" or \"ward\" or \"average\" or \"complete\"";
        for (section, key, value, says) in [
            ("merge", "distance", "\"profil\"", format!("{distance}; did you mean `profile`?").as_str()),
            ("merge", "distance", "3", distance),
            ("merge", "linkage", "1", linkage),
            ("merge", "of", "1", "expected \"highlights\" or \"cells\""),
            ("merge", "keep", "true", "expected \"groups\" or \"ids\" or \"nothing\""),
            ("merge", "groups", "[-1, 6]", "expected [fewest, most], 1 to 1000"),
            ("merge", "max_matrix", "-1", "expected a number from 1 to 20000, which take 3.2 GB"),
            ("merge", "max_matrix", "2.5", "expected a whole number of 0 or more"),
            ("merge", "groups", "5", "expected a list of 2 whole numbers, as in [5, 5]"),
            ("merge", "groups", "[1, 2, 3]", "expected a list of 2 whole numbers"),
            ("profile", "by", "\"job\"", "expected a list of text, as in [\"job\"]"),
            ("screen", "off", "1", "expected true or false"),
            ("enumerate", "max_level", "\"two\"", "expected a whole number of 0 or more"),
            (
                "features",
                "age.bin",
                "5",
                "expected { width = a number } or { quantiles = a whole number of 0 or more }",
            ),
        ] {
            let error = refused(MINIMAL, &[&format!("{section}.{key}={value}")]);
            assert!(error.starts_with("--set ") && error.contains(&format!(": {says}")), "{error}");
            let error = refused(&format!("{MINIMAL}[{section}]\n{key} = {value}\n"), &[]);
            let line = match (section, value) {
                (_, "[1, 2, 3]") => "",
                ("features", _) => " line 8",
                _ => " line 9",
            };
            let whole = format!("\"job.toml\"{line}: {section}.{key} = {value}: {says}");
            assert!(error.starts_with(&whole), "{error}");
        }
        let error = refused(MINIMAL, &["merge.distance={ jaccard = 1 }"]);
        assert!(error.contains("merge.distance.jaccard = 1: there is no such key; expected items, overlap, profile"));
        let error = refused(MINIMAL, &["merge.distance={ profile = \"1\" }"]);
        assert!(error.contains("merge.distance.profile = \"1\": expected a number"), "{error}");
        let error = refused(MINIMAL, &["merge.distance={ profile = 1e300 }"]);
        assert!(error.contains("expected weights from 0 to 1e6, not all 0"), "{error}");
        let error = refused(&format!("{MINIMAL}[[secondary]]\nname = 3\n"), &[]);
        assert!(error.contains("secondary[0].name = 3: expected text"), "{error}");
    }

    #[test]
    fn a_name_that_toml_wants_in_quotes_is_shown_in_quotes() {
        for (line, says) in [
            ("[features.年龄]", "[features.\"年龄\"]"),
            ("[features.a b]", "[features.\"a b\"]"),
            ("年龄 = 3", "\"年龄\" = ..."),
        ] {
            let error = refused(&format!("{MINIMAL}{line}\n"), &[]);
            assert!(error.contains("line 8") && error.ends_with(&format!("stands in quotes: {says}")), "{error}");
        }
        assert!(!refused(&format!("{MINIMAL}[merge\n"), &[]).contains("in quotes"));
    }
}
