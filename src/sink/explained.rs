//! An explanation of a segment as a terminal shows it.

use super::number::{Numbers, chance, count, decimal, percent};
use super::terminal::{right, table};
use super::{Asked, Explanation, Figures, visible};
use crate::highlight::Condition;
use crate::job::Language;
use crate::score::Measures;

/// The verdict, the figures by part, and the conditions.
pub fn explained(explanation: &Explanation) -> String {
    let mut out = format!("{}\n{}\n", visible(&explanation.segment), visible(&explanation.verdict));
    if let Some(figures) = &explanation.figures {
        out.push_str(&format!("\n{}\n", by_part(figures)));
        out.push_str(&tested(figures));
        for (name, m) in &figures.secondary {
            let lift = m.lift.map_or(String::new(), |lift| format!(", lift {lift:.3}"));
            out.push_str(&format!("{}: mean {}{lift}\n", visible(name), decimal(m.metric_mean)));
        }
    }
    if !explanation.conditions.is_empty() {
        let mut rows = table(&["condition, on the discovery part", "asked for", "found", "met"], None);
        for asked in &explanation.conditions {
            let [what, limit, value] = words(asked);
            let met = if asked.reading.met { "yes" } else { "no" };
            rows.add_row(vec![what.as_str().into(), right(limit), right(value), met.into()]);
        }
        out.push_str(&format!("\n{rows}\n"));
    }
    out + &format!("\nSQL: {}", visible(&explanation.sql))
}

fn by_part(figures: &Figures) -> String {
    let n = Numbers { language: Language::En, kind: figures.kind, unit: figures.unit.as_deref() };
    let parts = [Some(figures.whole), figures.discovery, figures.validation];
    let mut rows = table(&["", "whole base", "discovery", "validation"], None);
    let mut add = |name: &str, of: &dyn Fn(&Measures) -> String| {
        let cells = parts.iter().map(|part| right(part.as_ref().map_or("–".into(), of)));
        rows.add_row(std::iter::once(name.into()).chain(cells).collect::<Vec<_>>());
    };
    add("customers", &|m| count(m.uv));
    add("share of them", &|m| percent(m.uv_share));
    add("mean", &|m| n.mean(m.metric_mean));
    add("lift", &|m| m.lift.map_or("–".into(), |lift| format!("{lift:.3}")));
    add("effect", &|m| n.lift_or_effect(None, m.effect));
    add("impact", &|m| n.impact(m.impact));
    rows.to_string()
}

fn tested(figures: &Figures) -> String {
    let mut out = String::new();
    if let (Some(test), Some(q)) = (figures.test, figures.q) {
        let interval = match test.lift_low.zip(test.lift_high) {
            Some((low, high)) => format!("lift {low:.3} to {high:.3}"),
            None => format!("effect {:.4} to {:.4}", test.effect_low, test.effect_high),
        };
        out.push_str(&format!(
            "Against the rest of the discovery part: p {} (ln p {:.2}), q {}, {interval} (95 %)\n",
            chance(test.log_p.exp()),
            test.log_p,
            chance(q)
        ));
        if let Some(cautious) = figures.cautious_q.filter(|cautious| *cautious != q) {
            out.push_str(&format!("The same by the cautious p: q {}\n", chance(cautious)));
        }
    } else {
        out.push_str("Not tested: too few customers, or a metric that is constant, on a side of the discovery part.\n");
    }
    if let Some(log_p) = figures.validation_log_p {
        out.push_str(&format!("Against the rest of the validation part: p {}\n", chance(log_p.exp())));
    }
    match (figures.shrunken_lift, figures.shrunken_effect) {
        (Some(lift), _) => out.push_str(&format!("Shrunken lift {lift:.3}, on the whole base\n")),
        (None, Some(effect)) => out.push_str(&format!("Shrunken effect {effect:.4}, on the whole base\n")),
        (None, None) => {}
    }
    out
}

/// What a condition asks, how much of it, and what it found.
fn words(asked: &Asked) -> [String; 3] {
    let reading = &asked.reading;
    let number = |value: Option<f64>| value.map_or("–".into(), |v| format!("{v:.4}"));
    let plain = [number(reading.limit), number(reading.value)];
    let against = asked.against.as_deref().map_or(String::new(), |s| format!(" {}", visible(s)));
    let (what, [limit, value]) = match reading.condition {
        Condition::UvShare => ("uv_share: share of the customers at most".to_owned(), plain),
        Condition::Impact => ("impact: absolute impact at least".into(), plain),
        Condition::Testable => ("testable: there is a test".into(), plain),
        Condition::Fdr => {
            let q = |value: Option<f64>| value.map_or("–".into(), chance);
            ("fdr: q at most".into(), [number(reading.limit), q(reading.value)])
        }
        Condition::Bound => ("bound: the end of the interval nearest to no influence".into(), plain),
        Condition::NewCustomers => {
            let whole = |value: Option<f64>| value.map_or("–".into(), |v| count(v as i64));
            let what = if against.is_empty() { " any simpler segment".to_owned() } else { against };
            (format!("new_customers: fewer than{what}"), [whole(reading.limit), whole(reading.value)])
        }
        Condition::Gain => {
            let sure = if reading.sure == Some(false) { ", and surely (it is not)" } else { "" };
            let what = if against.is_empty() { " any simpler segment".to_owned() } else { against.clone() };
            (format!("gain: absolute effect at least, over{what}{sure}"), plain)
        }
        Condition::Top => ("top".into(), plain),
    };
    [what, limit, value]
}
