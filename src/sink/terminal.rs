//! The tables a terminal shows when a run has ended.

use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

use super::number::{Numbers, chance, count, percent};
use super::tables::Texts;
use super::text::Text;
use super::{RunResult, report};
use crate::highlight::Direction;

/// Highlights shown; the rest is in the report.
const TOP: usize = 10;
/// Characters of a text that are shown.
const CUT: usize = 200;

/// Text that cannot steer a terminal or reorder a page: control and bidirectional characters become escapes.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        let bidirectional = matches!(character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{2028}' | '\u{2029}');
        if character.is_control() || bidirectional {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

pub(super) fn cut(text: &str) -> String {
    let text = visible(text);
    match text.char_indices().nth(CUT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// An empty table in the style of all terminal output. `width` in columns; none: as the terminal is, or as wide as the text.
pub fn table(header: &[&str], width: Option<u16>) -> Table {
    let mut table = Table::new();
    let line = LineStyle::none().fill('─').junction('─');
    let style = TableStyle::new().header_separator(line).bottom_border(line);
    table.load_style(style).set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(width) = width {
        table.set_width(width);
    }
    table.set_header(header.to_vec());
    table
}

fn numbers<'a>(result: &RunResult<'a>) -> Numbers<'a> {
    report::numbers(result, result.job.output.language)
}

/// A cell of figures.
pub(super) fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

pub(super) fn direction_mark(direction: Direction) -> &'static str {
    match direction {
        Direction::Over => "▲",
        Direction::Under => "▼",
    }
}

/// The ten highlights ranked first. `width` in columns; none: as the terminal is, or as wide as the text.
pub fn highlight_table(result: &RunResult, width: Option<u16>) -> String {
    let (t, n) = (Text::of_kind(result.job.output.language, result.kind), numbers(result));
    let texts = Texts::of(result.codebook);
    let mut table = table(&["#", t.segment, t.uv, t.uv_share, t.mean, t.lift, t.impact, t.q, t.validated], width);
    for (position, highlight) in result.highlights.iter().take(TOP).enumerate() {
        let m = &highlight.measures;
        table.add_row(vec![
            right((position + 1).to_string()),
            Cell::new(cut(&format!("{} {}", direction_mark(highlight.direction), texts.segment(highlight.segment)))),
            right(count(m.uv)),
            right(percent(m.uv_share)),
            right(n.mean(m.metric_mean)),
            right(n.lift_or_effect(m.lift, m.effect)),
            right(cut(&n.impact(m.impact))),
            right(chance(highlight.q)),
            Cell::new(match highlight.validated {
                Some(true) => t.yes,
                Some(false) => t.no,
                None => "–",
            }),
        ]);
    }
    table.to_string()
}

/// All groups.
pub fn group_table(result: &RunResult, width: Option<u16>) -> String {
    let (t, n) = (Text::of_kind(result.job.output.language, result.kind), numbers(result));
    let told = result.told_migration();
    let mut header = vec!["#", t.group, t.uv, t.uv_share, t.mean, t.lift, t.impact, t.held_out_mean];
    header.extend(told.is_some().then_some(t.status));
    let mut table = table(&header, width);
    for (at, group) in result.grouping.groups.iter().enumerate() {
        let m = &group.measures;
        let status = |told| Cell::new(report::mark(t, told, at).unwrap_or_else(|| t.status_kept.to_owned()));
        let mut row = vec![
            right(group.id.to_string()),
            Cell::new(cut(&format!("{} {}", direction_mark(group.direction), group.name))),
            right(count(m.uv)),
            right(percent(m.uv_share)),
            right(n.mean(m.metric_mean)),
            right(n.lift_or_effect(m.lift, m.effect)),
            right(cut(&n.impact(m.impact))),
            right(result.group_validation(group).map_or("–".into(), |v| n.mean(v.metric_mean))),
        ];
        row.extend(told.as_ref().map(status));
        table.add_row(row);
    }
    table.to_string()
}

/// Both tables, each under its heading.
pub fn terminal(result: &RunResult, width: Option<u16>) -> String {
    let t = Text::of_kind(result.job.output.language, result.kind);
    let mut out = String::new();
    let highlights = (t.highlights, highlight_table(result, width), result.highlights.is_empty(), t.no_highlights);
    let groups = (t.groups, group_table(result, width), result.grouping.groups.is_empty(), t.no_groups);
    for (heading, table, empty, none) in [highlights, groups] {
        out.push_str(&format!("{heading}\n{}\n", if empty { none } else { &table }));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::ItemValue;
    use crate::sink::sample::Sample;

    #[test]
    fn the_tables_name_segments_and_groups_with_their_figures() {
        let sample = Sample::new();
        let text = terminal(&sample.result(), Some(140));
        for part in ["职业=退休 & 渠道==cmd()", "4.0x", "+12 orders", "40.0%", "-x<b>=</script>", "< 0.0001"] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    #[test]
    fn a_value_cannot_steer_the_terminal() {
        let mut sample = Sample::new();
        sample.codebook.features[2].items[0] = ItemValue::Text("\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}x".into());
        sample.grouping.groups[0].name = "a\u{1b}[2Jb".into();
        let text = terminal(&sample.result(), Some(140));
        assert!(!text.contains(['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}']), "{text:?}");
        assert!(text.contains("\\u{1b}[2Jb"), "{text}");
    }

    #[test]
    fn every_line_of_a_table_is_equally_wide_whatever_the_script() {
        let sample = Sample::new();
        let table = group_table(&sample.result(), Some(100));
        // A Chinese character takes two columns.
        let width = |line: &str| line.chars().map(|c| if c >= '\u{2e80}' { 2 } else { 1 }).sum::<usize>();
        let widths: Vec<usize> = table.lines().map(width).collect();
        assert!(widths.iter().all(|w| *w == widths[0]), "{widths:?}\n{table}");
    }
}
