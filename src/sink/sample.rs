//! A result made by hand for tests: 1,000 customers, of whom 100 ordered, with hostile and Chinese names.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{ColumnQuality, FileInfo, Quality, RejectedRow, RowAccounts, RunResult, TableInfo};
use crate::alternatives::{Clause, Division, Explained, Method, Part, Told};
use crate::audience::{Assigned, CustomerIds};
use crate::encode::{Codebook, Feature, ItemValue};
use crate::enumerate::Answer;
use crate::highlight::{Condition, Direction, Funnel, Highlight, Scored, Secondary, Status};
use crate::job::Job;
use crate::merge::{Choice, Group, Grouping, Merge, ShortRule, Worth};
use crate::mix::Mix;
use crate::profile::ProfileItem;
use crate::score::{Measures, Test};
use crate::screen::Verdict;
use crate::segment::{Item, Segment};
use crate::stats::{MetricKind, Moments, Scale, Stats};
use crate::telemetry::{LevelRecord, StageRecord};

pub(super) struct Sample {
    pub job: Job,
    pub codebook: Codebook,
    pub verdicts: Vec<Verdict>,
    pub segments: Vec<Scored>,
    pub highlights: Vec<Highlight>,
    pub funnel: Funnel,
    pub grouping: Grouping,
    pub alternatives: Vec<Division>,
    pub assigned: Assigned,
    pub mix: Mix,
    pub quality: Quality,
    pub stages: Vec<StageRecord>,
    pub levels: Vec<LevelRecord>,
    pub answer: Answer,
    pub moments: Moments,
    pub scales: Vec<Scale>,
    pub id_column: Option<&'static str>,
    pub base: Measures,
    pub notes: Vec<String>,
}

const JOB: &str = r#"
[input]
path = "客户/*.csv"
id = "客户号"
[metric]
column = "下单"
kind = "rate"
unit = "orders"
[[secondary]]
name = "spend"
column = "spend"
kind = "amount"
guard = "higher_is_better"
[enumerate]
min_uv = 10
[output]
dir = "out"
"#;

/// Measures of a segment of the sample's base (1,000 customers, 100 of them yes).
fn rate(uv: i64, yes: i64) -> Measures {
    let mean = yes as f64 / uv as f64;
    // Rounded so that tests can state the values as they are written down.
    let effect = ((mean - 0.1) * 1e6).round() / 1e6;
    Measures {
        uv,
        uv_share: uv as f64 / 1000.0,
        metric_sum: yes as f64,
        metric_mean: mean,
        lift: Some((mean / 0.1 * 1e6).round() / 1e6),
        effect,
        impact: (uv as f64 * effect * 1e6).round() / 1e6,
        metric_share: Some(yes as f64 / 100.0),
    }
}

fn spend(uv: i64, mean: f64) -> Measures {
    let sum = uv as f64 * mean;
    Measures { metric_sum: sum, metric_mean: mean, lift: Some(mean / 250.0), effect: mean - 250.0, ..rate(uv, 0) }
}

fn test(log_p: f64, lift: [f64; 2]) -> Test {
    Test {
        log_p,
        cautious_log_p: log_p,
        effect_low: lift[0] / 10.0 - 0.1,
        effect_high: lift[1] / 10.0 - 0.1,
        lift_low: Some(lift[0]),
        lift_high: Some(lift[1]),
    }
}

fn segment(items: &[(u16, u16)]) -> Segment {
    Segment::of_items(&items.iter().map(|&(feature, code)| Item { feature, code }).collect::<Vec<_>>())
}

fn profile(feature: u16, code: u16, uv: i64, of: i64, base_share: f64, z: f64) -> ProfileItem {
    let share = uv as f64 / of as f64;
    ProfileItem { item: Item { feature, code }, uv, share, base_share, index: share / base_share * 100.0, z, q: 0.0 }
}

fn condition(feature: u16, within: bool, codes: &[u16]) -> Clause {
    Clause { feature, within, items: codes.iter().map(|&code| Item { feature, code }).collect() }
}

fn part(uv: i64, yes: i64, told: Told) -> Part {
    Part { measures: rate(uv, yes), validation: Some(rate(uv * 3 / 10, yes * 3 / 10)), told }
}

fn division(method: Method, count: usize, conditions: Option<usize>, parts: Vec<Part>) -> Division {
    let worth =
        |parts, explained| Explained { parts, explained: Some(explained), validation_explained: Some(explained / 2.0) };
    Division {
        method,
        worth: worth(count, 0.125),
        one_more: (!parts.is_empty()).then(|| worth(count + 1, 0.25)),
        customers: if parts.is_empty() { 90 } else { 1000 },
        conditions,
        parts,
    }
}

fn feature(name: &str, values: &[&str], uv: &[u64], rest: bool) -> Feature {
    Feature {
        name: name.into(),
        column: name.into(),
        items: values.iter().map(|v| ItemValue::Text((*v).into())).collect(),
        uv: uv.to_vec(),
        rest,
        ..Feature::default()
    }
}

fn verdict(name: &str, kept: bool, reason: &str) -> Verdict {
    Verdict {
        feature: name.into(),
        column: name.into(),
        distinct: 3,
        items: 3,
        null_share: 0.0125,
        rest_share: 0.01,
        entropy: 1.46,
        evenness: 0.92,
        influence: 0.214,
        kept,
        reason: reason.into(),
    }
}

impl Sample {
    pub fn new() -> Sample {
        Sample::with("")
    }

    /// The sample with further keys of the job file.
    pub fn with(toml: &str) -> Sample {
        let overrides: Vec<crate::job::Override> = toml
            .lines()
            .scan(String::new(), |section, line| match line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                Some(name) => {
                    *section = name.to_owned();
                    Some(None)
                }
                None => Some(Some(format!("{section}.{}", line.replacen(" = ", "=", 1)))),
            })
            .flatten()
            .map(|text| text.parse().expect("an override"))
            .collect();
        let young = segment(&[(0, 1)]);
        let retired = segment(&[(0, 0), (1, 0)]);
        let hostile = segment(&[(2, 0)]);
        let retired_test = test(-800.0, [3.1, 5.2]);
        let hostile_test = test(-12.0, [0.0, 0.42]);
        let highlight = |segment, direction, measures, test: Test, validation, folds| Highlight {
            segment,
            direction,
            measures,
            discovery: measures,
            test,
            q: (test.log_p.exp() * 3.0).min(1.0),
            shrunken_lift: Some(if direction == Direction::Over { 3.62 } else { 0.21 }),
            shrunken_effect: 0.0,
            expected_profit: None,
            added: measures,
            secondary: vec![Secondary {
                measures: spend(measures.uv, if direction == Direction::Over { 411.5 } else { 100.0 }),
                effect: Some([-160.0, -140.0]),
                harmed: direction == Direction::Under,
            }],
            validation: Some(validation),
            validation_log_p: Some(-4.0),
            validated: Some(direction == Direction::Over),
            folds,
        };
        let group = |id, direction, name: &str, segments, measures: Measures, profile| Group {
            id,
            direction,
            name: name.into(),
            named: Vec::clone(&segments),
            segments,
            taken: vec![measures.uv],
            stats: Stats { uv: measures.uv, sum: measures.metric_sum as i128, ..Stats::default() },
            measures,
            validation: Some(rate(12, if id == 1 { 5 } else { 0 })),
            test: Some(test(-50.0, [2.0, 6.0])),
            validation_test: None,
            short: ShortRule { segments: Vec::new(), uv: 50, precision: 0.8, recall: 40.0 / measures.uv as f64 },
            secondary: vec![spend(measures.uv, 411.5)],
            profile,
        };
        let mut nobody = profile(2, 1, 0, 50, 0.0, f64::NAN);
        nobody.index = f64::INFINITY;
        Sample {
            job: Job::parse(JOB, Path::new("job.toml"), &overrides).expect("a job"),
            codebook: Codebook {
                features: vec![
                    feature("职业", &["退休", "学生", "技术人员"], &[300, 100, 590], true),
                    feature("渠道", &["=cmd()", "a\"b", "a & b"], &[200, 300, 500], false),
                    feature("-x<b>", &["</script>", "\u{202e}gnp.exe"], &[50, 950], false),
                ],
            },
            verdicts: vec![
                verdict("职业", true, "information value 0.214"),
                verdict("渠道", true, "information value 0.112"),
                verdict("-x<b>", true, "information value 0.031"),
                verdict("<img src=x onerror=alert(1)>", false, "alias of 职业"),
            ],
            segments: vec![
                Scored {
                    segment: young,
                    measures: rate(100, 20),
                    test: Some(Test { lift_high: Some(f64::INFINITY), ..test(-3.5, [1.2, 2.8]) }),
                    q: Some(0.06),
                    cautious_q: Some(0.06),
                    status: Status::Rejected(Condition::UvShare),
                },
                Scored {
                    segment: retired,
                    measures: rate(40, 16),
                    test: Some(retired_test),
                    q: Some(0.0),
                    cautious_q: Some(0.0),
                    status: Status::Highlight,
                },
                Scored {
                    segment: hostile,
                    measures: rate(50, 0),
                    test: None,
                    q: None,
                    cautious_q: None,
                    status: Status::Highlight,
                },
            ],
            highlights: vec![
                highlight(retired, Direction::Over, rate(40, 16), retired_test, rate(12, 5), vec![segment(&[(1, 0)])]),
                highlight(hostile, Direction::Under, rate(50, 0), hostile_test, rate(15, 0), vec![]),
            ],
            funnel: Funnel {
                segments: 3,
                tested: 2,
                rejected: Condition::ALL.map(|c| (c, u64::from(c == Condition::UvShare))).to_vec(),
                folded: 0,
                highlights: 2,
                validated: Some(1),
            },
            grouping: Grouping {
                asked: vec![(retired, 1), (hostile, 2)],
                leaves: vec![retired, hostile],
                groups: vec![
                    group(
                        1,
                        Direction::Over,
                        "职业=退休 & 渠道==cmd()",
                        vec![retired],
                        rate(40, 16),
                        vec![
                            profile(1, 0, 40, 40, 0.2, 12.9),
                            profile(0, 0, 40, 40, 0.3, 9.8),
                            profile(2, 1, 40, 40, 0.95, 1.4),
                            profile(2, 0, 0, 40, 0.05, -1.4),
                            profile(0, 1, 0, 40, 0.1, -2.1),
                            profile(0, 2, 0, 40, 0.59, -7.7),
                        ],
                    ),
                    group(
                        2,
                        Direction::Under,
                        "-x<b>=</script>",
                        vec![hostile],
                        rate(50, 0),
                        vec![
                            nobody,
                            profile(2, 0, 50, 50, 0.05, 31.6),
                            profile(0, 0, 30, 50, 0.3, 4.8),
                            profile(0, 2, 20, 50, 0.59, -2.8),
                        ],
                    ),
                ],
                merges: vec![Merge { step: 0, left: 0, right: 1, distance: 0.73, uv: 90 }],
                choices: vec![
                    Choice { groups: 2, next_distance: None, jump: None, worth: Worth::default(), chosen: true },
                    Choice {
                        groups: 3,
                        next_distance: Some(0.73),
                        jump: Some(1.4),
                        worth: Worth::default(),
                        chosen: false,
                    },
                ],
                reason: "2 groups: fewer highlights than merge.groups asks for".into(),
                ..Grouping::default()
            },
            alternatives: vec![
                division(Method::Groups, 2, Some(3), Vec::new()),
                division(
                    Method::Kmeans,
                    2,
                    None,
                    vec![
                        part(400, 70, Told::Marks(vec![Item { feature: 1, code: 0 }, Item { feature: 2, code: 0 }])),
                        part(600, 30, Told::Marks(Vec::new())),
                    ],
                ),
                division(
                    Method::Tree,
                    2,
                    Some(2),
                    vec![
                        part(400, 80, Told::Rule(vec![condition(0, true, &[0, 1])])),
                        part(600, 20, Told::Rule(vec![condition(0, false, &[0, 1]), condition(2, false, &[1])])),
                    ],
                ),
            ],
            assigned: Assigned {
                // Not in order: the outputs must not depend on it.
                ids: CustomerIds::Text(
                    (0..90)
                        .rev()
                        .map(|i| if i % 2 == 0 { format!("=客户-{i}") } else { format!("客户-{i}") })
                        .collect(),
                ),
                group: (0..90).rev().map(|i| if i < 40 { 1 } else { 2 }).collect(),
                leaf: (0..90).rev().map(|i| u32::from(i >= 40)).collect(),
                holdout: (0..90).rev().map(|i| i % 40 < 12).collect(),
            },
            mix: Mix::default(),
            quality: Quality {
                rows: RowAccounts { read: 1003, kept: 1000, quarantined: 2, merged: 1 },
                customers: 1000,
                rejects: [("amount out of range".to_owned(), 2)].into(),
                samples: vec![RejectedRow {
                    file: "客户/一月.csv".into(),
                    row: 17,
                    line: None,
                    column: Some("spend".into()),
                    reason: "amount out of range".into(),
                    value: Some("<script>1e999</script>".into()),
                }],
                columns: vec![
                    ColumnQuality { name: "职业".into(), nulls: 12, distinct: 3 },
                    ColumnQuality { name: "渠道".into(), nulls: 0, distinct: 3 },
                ],
                rounded_values: 4,
            },
            stages: vec![
                StageRecord { name: "source".into(), seconds: 0.25, out: 1000 },
                StageRecord { name: "enumerate".into(), seconds: 0.5, out: 3 },
            ],
            levels: vec![
                LevelRecord {
                    level: 1,
                    feature_sets: 3,
                    candidates: 8,
                    kept: 8,
                    seconds: 0.1,
                    ..LevelRecord::default()
                },
                LevelRecord {
                    level: 2,
                    feature_sets: 3,
                    candidates: 12,
                    kept: 3,
                    seconds: 0.4,
                    ..LevelRecord::default()
                },
            ],
            // The base, then the segments: customers and yes of both parts, spend in hundredths and its square.
            answer: Answer {
                segments: vec![Segment::BASE, young, retired, hostile],
                uv: vec![[700, 300], [70, 30], [28, 12], [35, 15]],
                sums: [
                    [70, 17_500_000, 1 << 100, 30, 7_500_000, 1 << 99],
                    [14, 1_000_000, 1 << 98, 6, 500_000, 1 << 97],
                    [11, 1_100_000, 1 << 96, 5, 546_000, 1 << 95],
                    [0, 300_000, 1 << 94, 0, 200_000, 1 << 93],
                ]
                .concat(),
            },
            moments: Moments::of(&[MetricKind::Rate, MetricKind::Amount]),
            scales: vec![Scale::default(), Scale { decimals: 2, den_decimals: 0 }],
            id_column: Some("客户号"),
            base: rate(1000, 100),
            notes: vec!["4 metric values had more than 2 decimals and were rounded".into()],
        }
    }

    pub fn started() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(19_782 * 86_400 + 45_296)
    }

    pub fn result(&self) -> RunResult<'_> {
        RunResult {
            job: &self.job,
            started: Sample::started(),
            table: TableInfo {
                files: vec![FileInfo { name: "客户/一月.csv".into(), bytes: 40_120, rows: 1003 }],
                digest: "9f86d081".into(),
            },
            id_column: self.id_column,
            codebook: &self.codebook,
            verdicts: &self.verdicts,
            kind: MetricKind::Rate,
            base: self.base,
            base_discovery: rate(700, 70),
            base_validation: (self.job.highlight.holdout > 0.0).then(|| rate(300, 30)),
            secondary: vec![("spend".into(), spend(1000, 250.0))],
            segments: &self.segments,
            answer: &self.answer,
            moments: &self.moments,
            scales: &self.scales,
            caps: vec![None, Some([None, Some(150_000)])],
            prior: &[],
            highlights: &self.highlights,
            funnel: &self.funnel,
            grouping: &self.grouping,
            alternatives: &self.alternatives,
            assigned: &self.assigned,
            mix: &self.mix,
            quality: &self.quality,
            stages: &self.stages,
            levels: &self.levels,
            layout: "1 process x 2 threads".into(),
            changes: None,
            migration: None,
            previous: None,
            fingerprint: String::new(),
            notes: self.notes.clone(),
        }
    }
}
