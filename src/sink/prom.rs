//! `metrics.prom`: a run's figures for a Prometheus text-file collector.

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use super::RunResult;
use super::documents::Manifest;

/// One sample: labels and value.
type Sample<'a> = (Vec<(&'a str, String)>, f64);

/// Writes the text exposition format (Prometheus, "Exposition formats", version 0.0.4).
pub(super) fn write(out: &mut impl Write, result: &RunResult, manifest: &Manifest) -> io::Result<()> {
    let mut family = |name: &str, help: &str, samples: Vec<Sample>| -> io::Result<()> {
        writeln!(out, "# HELP nichemine_{name} {help}\n# TYPE nichemine_{name} gauge")?;
        for (labels, value) in samples {
            let labels: Vec<String> =
                labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            writeln!(out, "nichemine_{name}{labels} {value}")?;
        }
        Ok(())
    };
    let one = |value: f64| vec![(vec![], value)];
    let rows = result.quality.rows;
    let state = |(name, rows): (&str, u64)| (vec![("state", name.to_owned())], rows as f64);
    let states = [("read", rows.read), ("kept", rows.kept), ("quarantined", rows.quarantined), ("merged", rows.merged)];
    family("rows", "Rows of the table by what became of them.", states.map(state).to_vec())?;
    family("customers", "Size of the base.", one(manifest.customers as f64))?;
    family("base_metric_mean", "Mean of the metric over the base.", one(result.base.metric_mean))?;
    let stages = manifest.stages.iter();
    let stage = |name: &str| vec![("stage", name.to_owned())];
    family("stage_seconds", "Time of each stage.", stages.clone().map(|s| (stage(&s.name), s.seconds)).collect())?;
    family("stage_out", "What each stage put out.", stages.map(|s| (stage(&s.name), s.out as f64)).collect())?;
    let level = |of: fn(&crate::telemetry::LevelRecord) -> f64| -> Vec<Sample> {
        result.levels.iter().map(|l| (vec![("level", l.level.to_string())], of(l))).collect()
    };
    family("level_feature_sets", "Feature sets counted at each level.", level(|l| l.feature_sets as f64))?;
    family("level_candidates", "Candidates of each level.", level(|l| l.candidates as f64))?;
    family("level_cells", "Cells counted at each level.", level(|l| l.cells as f64))?;
    let passes = "Passes over the rows at each level; 0 where it was counted with a deeper one.";
    family("level_passes", passes, level(|l| l.covering_blocks as f64))?;
    family("level_segments", "Frequent segments of each level.", level(|l| l.kept as f64))?;
    family("level_seconds", "Time of each level.", level(|l| l.seconds))?;
    family("level_bytes_exchanged", "Bytes sent between workers at each level.", level(|l| l.bytes_exchanged as f64))?;
    family("segments", "Frequent segments.", one(result.segments.len() as f64))?;
    family("highlights", "Highlights.", one(result.highlights.len() as f64))?;
    let validated = result.funnel.validated.map_or(vec![], |validated| one(validated as f64));
    family("highlights_validated", "Highlights that held-out customers confirm.", validated)?;
    family("groups", "Target groups.", one(manifest.groups as f64))?;
    family("assigned_customers", "Customers assigned to a group.", one(manifest.assigned as f64))?;
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let duration = SystemTime::now().duration_since(result.started).map_or(0.0, |since| since.as_secs_f64());
    family("run_seconds", "Time from start to publication.", one(duration))?;
    family("last_success_timestamp_seconds", "When the run was published, seconds since 1970.", one(seconds as f64))
}

fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::sample::Sample;

    #[test]
    fn every_family_has_help_and_type_and_every_sample_a_number() {
        let sample = Sample::new();
        let result = sample.result();
        let manifest = Manifest::of(&result, "20240229T123456Z-00000000", result.started, Vec::new());
        let mut bytes = Vec::new();
        write(&mut bytes, &result, &manifest).expect("memory");
        let text = String::from_utf8(bytes).expect("text");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            value.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
            let family = name.split('{').next().expect("a name");
            assert!(text.contains(&format!("# HELP {family} ")) && text.contains(&format!("# TYPE {family} gauge\n")));
        }
        assert!(text.contains("nichemine_rows{state=\"read\"} 1003\n"), "{text}");
        assert!(text.contains("nichemine_level_candidates{level=\"2\"} 12\n"), "{text}");
        assert!(text.contains("nichemine_highlights 2\n"), "{text}");
    }

    #[test]
    fn a_label_cannot_end_early() {
        assert_eq!(escaped("a\"b\\c\nd"), r#"a\"b\\c\nd"#);
    }
}
