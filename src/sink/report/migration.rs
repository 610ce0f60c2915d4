//! What the report says of the groups of the run before.

use super::View;
use crate::merge::{Former, Status};
use crate::sink::migration::Told;
use crate::sink::number::{count, percent};
use crate::sink::terminal::visible;
use crate::sink::text::{Text, fill};

/// Groups of either run that a table of who went where is drawn for.
const WIDEST: usize = 30;
/// What stands for a figure that is not told.
const WITHHELD: &str = "–";
/// Groups that a sentence names.
const NAMED: usize = 5;

pub(super) struct MigrationView {
    pub lead: String,
    /// One for each group that is not simply kept, and for each that is no more.
    pub sentences: Vec<String>,
    /// None where it would be too wide.
    pub matrix: Option<MatrixView>,
}

pub(super) struct MatrixView {
    /// Id and name of each group.
    pub columns: Vec<(String, String)>,
    pub rows: Vec<MatrixRowView>,
    /// What a cell that is not told means.
    pub note: Option<String>,
}

pub(super) struct MatrixRowView {
    pub id: String,
    pub name: String,
    pub uv: String,
    pub cells: Vec<CellView>,
}

pub(super) struct CellView {
    /// Whether both are the same group.
    pub same: bool,
    pub customers: String,
    /// Of the row's customers; none where nobody is in it, or it is not told.
    pub share: Option<String>,
}

/// What a group is to those of the run before, in a few words; none of one that is kept.
pub(in crate::sink) fn mark(t: &Text, told: &Told, group: usize) -> Option<String> {
    let identity = &told.migration.identity;
    let ids = |of: &[usize]| of.iter().map(|&old| identity.former[old].id.to_string()).collect::<Vec<_>>().join(" + ");
    let was = identity.was(group);
    match identity.status[group] {
        Status::Kept => None,
        Status::New => Some(t.mark_new.to_owned()),
        Status::Split => Some(fill(t.mark_split, &[("id", &ids(&was[..1]))])),
        Status::Joined => {
            let most: Vec<usize> = was.into_iter().filter(|&old| identity.mostly_in(old, group)).collect();
            Some(fill(t.mark_joined, &[("ids", &ids(&most))]))
        }
    }
}

impl View<'_, '_> {
    pub(super) fn migration(&self) -> Option<MigrationView> {
        let told = self.result.told_migration()?;
        let (identity, groups) = (&told.migration.identity, &self.result.grouping.groups);
        let told_groups = (0..groups.len()).filter_map(|group| self.of_group(&told, group));
        let vanished = identity.vanished().map(|old| self.vanished(&told, old));
        let sentences = told_groups.chain(vanished).collect();
        let few = groups.len().max(identity.former.len()) <= WIDEST && !identity.former.is_empty();
        Some(MigrationView { lead: self.kept(&told), sentences, matrix: few.then(|| self.matrix(&told)) })
    }

    /// How much is as it was.
    fn kept(&self, told: &Told) -> String {
        let (t, identity) = (self.t, &told.migration.identity);
        let kept = identity.same.iter().flatten().count();
        let mut sentences = vec![fill(
            t.migration_lead,
            &[
                ("customers", &count(told.migration.customers)),
                ("groups", &count(identity.former.len() as i64)),
                ("kept", &count(kept as i64)),
            ],
        )];
        if let Some((stayed, share)) = told.stayed().zip(told.stayed_share()) {
            sentences.push(fill(t.migration_stayed, &[("stayed", &count(stayed)), ("share", &percent(share))]));
        }
        if let Some(least) = told.stayed_least() {
            sentences.push(fill(t.migration_stayed_least, &[("share", &format!("{:.0}%", 100.0 * least))]));
        }
        self.paragraph(sentences)
    }

    fn named(&self, group: &Former) -> String {
        fill(self.t.migration_group, &[("id", &group.id.to_string()), ("name", &visible(&group.name))])
    }

    fn of_group(&self, told: &Told, group: usize) -> Option<String> {
        let (t, identity) = (self.t, &told.migration.identity);
        let now = &self.result.grouping.groups[group];
        let own = self.named(&Former::from(now));
        let was = identity.was(group);
        let former = |old: usize| self.named(&identity.former[old]);
        let join = |names: Vec<String>| names.join(t.list_comma);
        let renamed = identity.same[group].map(|old| &identity.former[old].name).filter(|name| **name != now.name);
        let renamed = renamed.map(|name| visible(name));
        Some(match identity.status[group] {
            Status::Kept => return renamed.map(|was| fill(t.migration_renamed, &[("group", &own), ("was", &was)])),
            Status::New => fill(t.migration_new, &[("group", &own), ("uv", &count(now.stats.uv))]),
            Status::Split => {
                let share = told.shared(was[0], group).map(|uv| percent(uv as f64 / now.stats.uv as f64));
                let values = [("group", own), ("was", former(was[0])), ("share", share.clone().unwrap_or_default())];
                let values = values.each_ref().map(|(name, value)| (*name, value.as_str()));
                fill(if share.is_some() { t.migration_split } else { t.migration_split_half }, &values)
            }
            Status::Joined => {
                let most = was.into_iter().filter(|&old| identity.mostly_in(old, group)).take(NAMED);
                let was = renamed.map_or(String::new(), |name| fill(t.migration_was, &[("was", &name)]));
                fill(t.migration_joined, &[("group", &(own + &was)), ("was", &join(most.map(former).collect()))])
            }
        })
    }

    fn vanished(&self, told: &Told, old: usize) -> String {
        let (t, identity) = (self.t, &told.migration.identity);
        let former = &identity.former[old];
        let went = identity.went(old).into_iter().filter_map(|group| {
            let uv = told.shared(old, group).filter(|&uv| uv > 0)?;
            let now = self.named(&Former::from(&self.result.grouping.groups[group]));
            Some(fill(t.migration_part, &[("uv", &count(uv)), ("group", &now)]))
        });
        let mut parts: Vec<String> = went.take(NAMED).collect();
        if let Some(gone) = told.gone(old).filter(|&gone| gone > 0) {
            parts.push(fill(t.migration_part_none, &[("uv", &count(gone))]));
        }
        let values = [("group", self.named(former)), ("uv", count(former.uv)), ("parts", parts.join(t.list_comma))];
        let values = values.each_ref().map(|(name, value)| (*name, value.as_str()));
        fill(if parts.is_empty() { t.migration_vanished } else { t.migration_vanished_to }, &values)
    }

    fn matrix(&self, told: &Told) -> MatrixView {
        let (t, identity, groups) = (self.t, &told.migration.identity, &self.result.grouping.groups);
        let cell = |uv: Option<i64>, same: bool, of: Option<i64>| CellView {
            same,
            customers: uv.map_or(WITHHELD.into(), count),
            share: uv.zip(of).filter(|(uv, _)| *uv > 0).map(|(uv, of)| percent(uv as f64 / of as f64)),
        };
        // Beside the rows that they are, so that who stayed is on the diagonal.
        let of_old = |old: usize| identity.same.iter().position(|same| *same == Some(old));
        let mut order: Vec<usize> = (0..identity.former.len()).filter_map(of_old).collect();
        order.extend((0..groups.len()).filter(|&group| identity.same[group].is_none()));
        let row = |(old, former): (usize, &Former)| {
            let of = |group: usize| {
                let cell = cell(told.shared(old, group), identity.same[group] == Some(old), Some(former.uv));
                // That most are there is told in words, too.
                let most = cell.customers == WITHHELD && identity.mostly_in(old, group);
                if most { CellView { customers: t.migration_most.to_owned(), ..cell } } else { cell }
            };
            MatrixRowView {
                id: former.id.to_string(),
                name: visible(&former.name),
                uv: count(former.uv),
                cells: order
                    .iter()
                    .map(|&group| of(group))
                    .chain([cell(told.gone(old), false, Some(former.uv))])
                    .collect(),
            }
        };
        let mut rows: Vec<MatrixRowView> = identity.former.iter().enumerate().map(row).collect();
        rows.push(MatrixRowView {
            id: String::new(),
            name: t.migration_none_before.to_owned(),
            uv: String::new(),
            cells: order.iter().map(|&group| cell(told.came(group), false, None)).collect(),
        });
        let dashes = rows
            .iter()
            .flat_map(|row| &row.cells)
            .any(|cell| cell.customers == WITHHELD || cell.customers == t.migration_most);
        MatrixView {
            columns: order.iter().map(|&at| (groups[at].id.to_string(), visible(&groups[at].name))).collect(),
            rows,
            note: dashes.then(|| fill(t.migration_withheld, &[("floor", &count(self.result.floor()))])),
        }
    }
}
