//! The difference of two runs as a terminal shows it.

use comfy_table::Cell;

use super::number::{Numbers, count, percent};
use super::terminal::{cut, direction_mark, right, table};
use super::{Difference, HighlightEntry, MigrationFile, OriginEntry, Shared, visible};
use crate::job::Language;
use crate::merge::Status;

/// Highlights listed of those gained, lost and kept; the rest is in the JSON.
const TOP: usize = 10;
/// Groups that a table of who went where is drawn for.
const WIDEST: usize = 12;

/// Bases, highlights gained and lost, groups, and who went where.
pub fn difference(difference: &Difference) -> String {
    let [then, now] = difference.metrics.each_ref().map(|(kind, unit)| Numbers {
        language: Language::En,
        kind: *kind,
        unit: unit.as_deref(),
    });
    let runs = [&difference.before, &difference.after];
    let mut rows = table(&["", "before", "after"], None);
    let mut add = |name: &str, cells: [String; 2]| {
        rows.add_row(std::iter::once(Cell::new(name)).chain(cells.map(right)).collect::<Vec<_>>());
    };
    add("run", runs.map(|run| visible(&run.run_id)));
    add("customers", runs.map(|run| count(run.customers)));
    add("mean", [then.mean(difference.before.metric_mean), now.mean(difference.after.metric_mean)]);
    add("highlights", runs.map(|run| count(run.highlights)));
    add("validated", runs.map(|run| run.validated.map_or("–".into(), count)));
    add("groups", runs.map(|run| count(run.groups)));
    let mut out = format!("{rows}\n");
    for note in &difference.notes {
        out.push_str(&format!("Note: {}\n", visible(note)));
    }
    for (what, entries, n) in [("gained", &difference.gained, now), ("lost", &difference.lost, then)] {
        out.push_str(&format!("\nHighlights {what}: {}\n", entries.len()));
        if !entries.is_empty() {
            let mut rows = table(&["#", "segment", "customers", "lift", "impact", "validated"], None);
            rows.add_rows(entries.iter().take(TOP).map(|entry| listed(entry, n)));
            out.push_str(&format!("{rows}\n{}", further(entries.len())));
        }
    }
    out.push_str(&format!("\nHighlights of both runs: {}\n", difference.kept.len()));
    if !difference.kept.is_empty() {
        let mut rows = table(&["#", "segment", "customers", "lift before", "lift after"], None);
        for [before, after] in difference.kept.iter().take(TOP) {
            rows.add_row(vec![
                right(after.rank.to_string()),
                Cell::new(cut(&format!("{} {}", direction_mark(after.direction), after.segment))),
                right(count(after.uv)),
                right(then.lift_or_effect(before.lift, before.effect)),
                right(now.lift_or_effect(after.lift, after.effect)),
            ]);
        }
        out.push_str(&format!("{rows}\n{}", further(difference.kept.len())));
    }
    out + &difference.migration.as_ref().map_or(String::new(), groups)
}

fn listed(entry: &HighlightEntry, n: Numbers) -> Vec<Cell> {
    let validated = entry.validated.map_or("–", |validated| if validated { "yes" } else { "no" });
    vec![
        right(entry.rank.to_string()),
        Cell::new(cut(&format!("{} {}", direction_mark(entry.direction), entry.segment))),
        right(count(entry.uv)),
        right(n.lift_or_effect(entry.lift, entry.effect)),
        right(cut(&n.impact(entry.impact))),
        Cell::new(validated),
    ]
}

/// How many are not listed.
fn further(all: usize) -> String {
    if all > TOP { format!("and {} more (all with --output json)\n", all - TOP) } else { String::new() }
}

/// Customers that may not be told are a dash.
fn told(customers: Option<i64>) -> String {
    customers.map_or("–".into(), count)
}

fn groups(migration: &MigrationFile) -> String {
    let mut out = String::from("\nGroups\n");
    if let Some((stayed, share)) = migration.stayed.zip(migration.stayed_share) {
        out.push_str(&format!(
            "{} of the customers who were in groups ({}) are in the same group\n",
            count(stayed),
            percent(share)
        ));
    }
    if let Some(least) = migration.stayed_least {
        out.push_str(&format!(
            "at least {:.0}% of the customers who were in groups are in the same group\n",
            100.0 * least
        ));
    }
    let mut rows = table(&["#", "group", "customers", "status", "same as before", "customers from"], None);
    for group in &migration.groups {
        rows.add_row(vec![
            right(group.id.to_string()),
            Cell::new(cut(&format!("{} {}", direction_mark(group.direction), group.name))),
            right(count(group.uv)),
            Cell::new(status(group)),
            Cell::new(group.same.map_or("–".into(), |id| id.to_string())),
            Cell::new(parts(&group.origin.was)),
        ]);
    }
    out.push_str(&format!("{rows}\n"));
    for gone in &migration.vanished {
        out.push_str(&format!(
            "Group {} ({}, {} customers) is no more; its customers went to {}; {} are in no group or gone\n",
            gone.former.id,
            cut(&gone.former.name),
            count(gone.former.uv),
            if gone.went.is_empty() { "none".into() } else { parts(&gone.went) },
            told(gone.gone)
        ));
    }
    let wide = migration.groups.len().max(migration.previous.groups.len()) > WIDEST;
    if wide || migration.groups.is_empty() {
        return out;
    }
    let ids: Vec<String> = migration.groups.iter().map(|group| format!("to {}", group.id)).collect();
    let header = ["from"].into_iter().chain(ids.iter().map(String::as_str)).chain(["none or gone"]);
    let mut rows = table(&header.collect::<Vec<_>>(), None);
    for row in &migration.matrix {
        let from = row.from.map_or("none, or no customer".to_owned(), |id| id.to_string());
        let cells = row.to.iter().map(|cell| right(told(cell.customers)));
        let gone = if row.from.is_some() { told(row.gone) } else { String::new() };
        rows.add_row(std::iter::once(Cell::new(from)).chain(cells).chain([right(gone)]).collect::<Vec<_>>());
    }
    out + &format!("\n{rows}\n(–: not told, as it is of few customers or such a figure would follow)\n")
}

fn status(group: &OriginEntry) -> &'static str {
    match group.origin.status {
        Status::Kept => "kept",
        Status::New => "new",
        Status::Split => "split off",
        Status::Joined => "joined",
    }
}

/// As in `3 (1,200), 5 (40)`.
fn parts(of: &[Shared]) -> String {
    of.iter().map(|part| format!("{} ({})", part.id, told(part.customers))).collect::<Vec<_>>().join(", ")
}
