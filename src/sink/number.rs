//! Numbers as people read them: grouped, with as many digits as they mean, in the report's language.

use crate::job::Language;
use crate::stats::MetricKind;

/// How the figures of one metric are written.
#[derive(Clone, Copy)]
pub(super) struct Numbers<'a> {
    pub language: Language,
    pub kind: MetricKind,
    /// After means of an amount and after sums.
    pub unit: Option<&'a str>,
}

impl Numbers<'_> {
    /// A mean: per cent for a rate, the metric's unit otherwise.
    pub fn mean(self, value: f64) -> String {
        match self.kind {
            MetricKind::Rate => percent(value),
            MetricKind::Amount | MetricKind::Ratio => self.with_unit(decimal(value)),
        }
    }

    /// A difference of means, signed; of rates in percentage points.
    pub fn effect(self, value: f64) -> String {
        match (self.kind, self.language) {
            (MetricKind::Rate, Language::En) => format!("{} pp", signed(value * 100.0)),
            (MetricKind::Rate, Language::Zh) => format!("{} 个百分点", signed(value * 100.0)),
            (MetricKind::Amount | MetricKind::Ratio, _) => self.with_unit(signed(value)),
        }
    }

    /// What a segment adds, signed, in the metric's unit. Customers are whole, so a rate's impact is rounded to one.
    pub fn impact(self, value: f64) -> String {
        let value = if self.kind == MetricKind::Rate && value.abs() >= 10.0 { value.round() } else { value };
        self.with_unit(signed(value))
    }

    /// The same without its sign, for sentences that say `more` or `fewer`.
    pub fn amount(self, value: f64) -> String {
        self.impact(value.abs()).trim_start_matches('+').to_owned()
    }

    pub fn lift(self, value: f64) -> String {
        match self.language {
            Language::En => format!("{}x", times(value)),
            Language::Zh => format!("{} 倍", times(value)),
        }
    }

    /// A factor that somebody set, with the digits they set.
    pub fn factor(self, value: f64) -> String {
        match self.language {
            Language::En => format!("{}x", decimal(value)),
            Language::Zh => format!("{} 倍", decimal(value)),
        }
    }

    /// The lift, or where it has no meaning the effect.
    pub fn lift_or_effect(self, lift: Option<f64>, effect: f64) -> String {
        lift.map_or_else(|| self.effect(effect), |lift| self.lift(lift))
    }

    /// Two ends of an interval.
    pub fn interval(self, lift: Option<(f64, f64)>, effect: (f64, f64)) -> String {
        let end = |value: f64, of: &dyn Fn(f64) -> String| if value.is_finite() { of(value) } else { "∞".into() };
        match lift {
            Some((low, high)) => format!("{} – {}", end(low, &times), end(high, &times)),
            None => {
                let of = |v: f64| signed(if self.kind == MetricKind::Rate { v * 100.0 } else { v });
                format!("{} – {}", end(effect.0, &of), end(effect.1, &of))
            }
        }
    }

    fn with_unit(self, number: String) -> String {
        self.unit.map_or(number.clone(), |unit| format!("{number} {unit}"))
    }
}

/// `1,234,567`.
pub(super) fn count(value: impl Into<i128>) -> String {
    let value: i128 = value.into();
    let digits = value.unsigned_abs().to_string();
    let mut grouped = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if value < 0 { format!("−{grouped}") } else { grouped }
}

/// A number without a unit: whole from 1,000 on, otherwise at least three digits that mean something.
pub(super) fn decimal(value: f64) -> String {
    if !value.is_finite() {
        return "–".into();
    }
    let size = value.abs();
    let places = match size {
        s if s == 0.0 || s >= 999.5 => 0,
        s if s >= 99.95 => 1,
        s if s >= 0.995 => 2,
        s => (2 - s.log10().floor() as i32).clamp(3, 9) as usize,
    };
    let text = format!("{size:.places$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let fraction = fraction.trim_end_matches('0');
    let whole = whole.parse::<i128>().map_or(whole.to_owned(), count);
    let number = if fraction.is_empty() { whole } else { format!("{whole}.{fraction}") };
    if value < 0.0 && number != "0" { format!("−{number}") } else { number }
}

/// `+12`, `−3.5`, `0`.
pub(super) fn signed(value: f64) -> String {
    let number = decimal(value);
    if value > 0.0 && number != "0" { format!("+{number}") } else { number }
}

/// A share as per cent: one decimal from 10 % on, two below, and two digits where those would be zeros; nobody and all without any. So
/// shares side by side have equally many digits.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if !percent.is_finite() {
        return "–".into();
    }
    let size = percent.abs();
    let places = match size {
        s if s == 0.0 || s == 100.0 => 0,
        s if s >= 9.995 => 1,
        s if s >= 0.095 => 2,
        s => (1 - s.log10().floor() as i32).clamp(2, 9) as usize,
    };
    let sign = if percent < 0.0 { "−" } else { "" };
    format!("{sign}{size:.places$}%")
}

/// A factor, without its mark.
pub(super) fn times(value: f64) -> String {
    match value {
        v if !v.is_finite() => "–".into(),
        v if v >= 99.5 => count(v.round() as i128),
        v if v >= 1.995 => format!("{v:.1}"),
        0.0 => "0".into(),
        v if v >= 0.095 => format!("{v:.2}"),
        v => format!("{v:.3}"),
    }
}

/// A p- or q-value.
pub(super) fn chance(value: f64) -> String {
    match value {
        v if v < 0.0001 => "< 0.0001".into(),
        v if v < 0.01 => format!("{v:.4}"),
        v => format!("{v:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_the_digits_that_mean_something() {
        assert_eq!(
            [0, 7, 999, 1000, 1_234_567, -45_000].map(count),
            ["0", "7", "999", "1,000", "1,234,567", "−45,000"]
        );
        assert_eq!(
            [0.0, 1234.56, 123.456, 12.3456, 1.0, 0.12345, 0.00012345, -2.5, f64::NAN].map(decimal),
            ["0", "1,235", "123.5", "12.35", "1", "0.123", "0.000123", "−2.5", "–"]
        );
        assert_eq!([12.0, -0.004, 0.0].map(signed), ["+12", "−0.004", "0"]);
        assert_eq!(
            [0.0, 0.5, 0.1234, 0.0412, 0.0041, 0.000041, 1.0].map(percent),
            ["0%", "50.0%", "12.3%", "4.12%", "0.41%", "0.0041%", "100%"]
        );
        assert_eq!(
            [0.0, 0.0123, 0.433, 1.124, 4.12, 12.34, 1234.4].map(times),
            ["0", "0.012", "0.43", "1.12", "4.1", "12.3", "1,234"]
        );
        assert_eq!([0.0, 0.00321, 0.0312].map(chance), ["< 0.0001", "0.0032", "0.031"]);
    }

    #[test]
    fn a_metric_is_written_in_its_own_unit() {
        let rate = Numbers { language: Language::En, kind: MetricKind::Rate, unit: Some("orders") };
        assert_eq!(rate.mean(0.117), "11.7%");
        assert_eq!(rate.impact(1899.6), "+1,900 orders");
        assert_eq!(rate.impact(-4.25), "−4.25 orders");
        assert_eq!(rate.effect(-0.013), "−1.3 pp");
        let amount = Numbers { language: Language::Zh, kind: MetricKind::Amount, unit: Some("元") };
        assert_eq!(amount.mean(1234.5), "1,234 元");
        assert_eq!(amount.lift_or_effect(Some(4.1), 0.0), "4.1 倍");
        assert_eq!(amount.lift_or_effect(None, -20.5), "−20.5 元");
    }
}
