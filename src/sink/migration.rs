//! `migration.json`: what became of the groups of the run before, and who went where.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::documents::{read_json, write_json};
use super::staging::Staging;
use super::withhold::withheld;
use super::{Migration, RunResult, SinkError, VerifyError};
use crate::highlight::Direction;
use crate::merge::{Former, Grouping, Status};

pub(super) const MIGRATION: &str = "migration.json";

/// `migration.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MigrationFile {
    /// The run before.
    pub previous: PreviousRun,
    /// Customers who are in the group that they were in; none where that would tell of few.
    pub stayed: Option<i64>,
    /// The same over all who were in a group.
    pub stayed_share: Option<f64>,
    /// Where these are not told, a whole percent that this share is not below.
    #[serde(default)]
    pub stayed_least: Option<f64>,
    /// This run's groups.
    pub groups: Vec<OriginEntry>,
    /// The groups of the run before that are no more.
    pub vanished: Vec<VanishedEntry>,
    /// A row for each group of the run before, and one for customers of none, known or not.
    pub matrix: Vec<MatrixRow>,
}

/// The run that this one was compared with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PreviousRun {
    pub run_id: String,
    /// Size of its base.
    pub customers: u64,
    pub groups: Vec<Former>,
}

/// Where a group comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OriginEntry {
    pub id: u32,
    pub name: String,
    pub direction: Direction,
    pub uv: i64,
    /// The id of the group of the run before that it is; where the later run looked for it, its own.
    pub same: Option<u32>,
    #[serde(flatten)]
    pub origin: Origin,
}

/// What a group is to those of the run before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    pub status: Status,
    /// Groups of the run before of which it has customers, most first, those last of which is not told how many.
    pub was: Vec<Shared>,
}

/// A group of the other run, and the customers in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shared {
    pub id: u32,
    /// None where that would tell of few customers.
    pub customers: Option<i64>,
    /// Whether at least half of the earlier group's customers are in the later one.
    pub most: bool,
}

/// A group that is no more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VanishedEntry {
    #[serde(flatten)]
    pub former: Former,
    /// Groups that have customers of it, most first, those last of which is not told how many.
    pub went: Vec<Shared>,
    /// Those who are in no group, or no customers any more.
    pub gone: Option<i64>,
}

/// Where the customers of a group went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MatrixRow {
    /// None: in no group of the run before, or no customer then.
    pub from: Option<u32>,
    /// By this run's groups, in their order.
    pub to: Vec<MatrixCell>,
    /// In no group, or no customer any more; none in the last row, of whom nothing is known.
    pub gone: Option<i64>,
}

/// Customers of one group then and one now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MatrixCell {
    pub group: u32,
    /// None where that would tell of few customers.
    pub customers: Option<i64>,
}

/// A migration as far as it may be told.
pub(super) struct Told<'a> {
    pub migration: &'a Migration,
    /// A row for each former group and one for none; a column for each group and one for none.
    cells: Vec<Vec<Option<i64>>>,
    floor: i64,
}

impl<'a> Told<'a> {
    /// `uv`: customers of each group.
    pub fn new(migration: &'a Migration, uv: &[i64], floor: i64) -> Told<'a> {
        let identity = &migration.identity;
        let rest = |whole: i64, parts: i64| (whole - parts).max(0);
        let mut cells: Vec<Vec<i64>> = identity.shared.clone();
        for (row, former) in cells.iter_mut().zip(&identity.former) {
            row.push(rest(former.uv, row.iter().sum()));
        }
        let came = uv.iter().enumerate().map(|(j, &uv)| rest(uv, identity.shared.iter().map(|row| row[j]).sum()));
        cells.push(came.chain([0]).collect());
        let hidden = withheld(&cells, floor);
        let tell = |(row, hidden): (Vec<i64>, Vec<bool>)| {
            row.into_iter().zip(hidden).map(|(uv, hidden)| (!hidden).then_some(uv)).collect()
        };
        Told { migration, cells: cells.into_iter().zip(hidden).map(tell).collect(), floor }
    }

    /// Customers of a former group who are in a group.
    pub fn shared(&self, old: usize, group: usize) -> Option<i64> {
        self.cells[old][group]
    }

    /// Customers of a former group who are in none, or no customers any more.
    pub fn gone(&self, old: usize) -> Option<i64> {
        self.cells[old][self.migration.identity.same.len()]
    }

    /// Customers of a group who were in none, or no customers.
    pub fn came(&self, group: usize) -> Option<i64> {
        self.cells[self.migration.identity.former.len()][group]
    }

    /// Customers who are in the group that they were in.
    pub fn stayed(&self) -> Option<i64> {
        let same = self.migration.identity.same.iter().enumerate();
        same.filter_map(|(group, old)| Some(self.shared((*old)?, group))).sum()
    }

    /// The same over all customers who were in a group.
    pub fn stayed_share(&self) -> Option<f64> {
        let all: i64 = self.migration.identity.former.iter().map(|former| former.uv).sum();
        self.stayed().filter(|_| all > 0).map(|stayed| stayed as f64 / all as f64)
    }

    /// Where these are not told, a share of whole percents that it is not below; none of so few customers that a percent is not many.
    pub fn stayed_least(&self) -> Option<f64> {
        let identity = &self.migration.identity;
        let all: i64 = identity.former.iter().map(|former| former.uv).sum();
        let same = identity.same.iter().enumerate();
        let stayed: i64 = same.filter_map(|(group, old)| Some(identity.shared[(*old)?][group])).sum();
        let told = self.stayed().is_some() || all < 100 * self.floor;
        // As if the fewest that are told of had left beside: a figure just above a percent would tell how many did.
        (!told).then(|| ((stayed - self.floor).max(0) * 100 / all) as f64 / 100.0)
    }

    pub fn origin(&self, group: usize) -> Origin {
        let identity = &self.migration.identity;
        let was = |old: usize| Shared {
            id: identity.former[old].id,
            customers: self.shared(old, group),
            most: identity.mostly_in(old, group),
        };
        Origin { status: identity.status[group], was: in_order(identity.was(group).into_iter().map(was)) }
    }

    /// `groups`: id, name, direction and customers of each.
    pub fn file(&self, groups: &[Former]) -> MigrationFile {
        let identity = &self.migration.identity;
        let vanished = |old: usize| VanishedEntry {
            former: identity.former[old].clone(),
            went: in_order(identity.went(old).into_iter().map(|group| Shared {
                id: groups[group].id,
                customers: self.shared(old, group),
                most: identity.mostly_in(old, group),
            })),
            gone: self.gone(old),
        };
        let cells = |of: &dyn Fn(usize) -> Option<i64>| -> Vec<MatrixCell> {
            (0..groups.len()).map(|group| MatrixCell { group: groups[group].id, customers: of(group) }).collect()
        };
        let row = |(old, former): (usize, &Former)| MatrixRow {
            from: Some(former.id),
            to: cells(&|group| self.shared(old, group)),
            gone: self.gone(old),
        };
        let none = MatrixRow { from: None, to: cells(&|group| self.came(group)), gone: None };
        let origin = |(group, of): (usize, &Former)| OriginEntry {
            id: of.id,
            name: of.name.clone(),
            direction: of.direction,
            uv: of.uv,
            same: identity.same[group].map(|old| identity.former[old].id),
            origin: self.origin(group),
        };
        MigrationFile {
            previous: PreviousRun {
                run_id: self.migration.run_id.clone(),
                customers: self.migration.customers,
                groups: identity.former.clone(),
            },
            stayed: self.stayed(),
            stayed_share: self.stayed_share(),
            stayed_least: self.stayed_least(),
            groups: groups.iter().enumerate().map(origin).collect(),
            vanished: identity.vanished().map(vanished).collect(),
            matrix: identity.former.iter().enumerate().map(row).chain([none]).collect(),
        }
    }
}

/// Those that are told, most customers first, then the others: their place would tell between which figures theirs is.
fn in_order(shared: impl Iterator<Item = Shared>) -> Vec<Shared> {
    let (told, mut others): (Vec<Shared>, Vec<Shared>) = shared.partition(|shared| shared.customers.is_some());
    others.sort_by_key(|shared| shared.id);
    told.into_iter().chain(others).collect()
}

impl MigrationFile {
    /// The first line of the matrix that does not add up to its group, in words. A line of which something is not told may be less.
    pub fn contradiction(&self) -> Option<String> {
        let check = |what: &str, id: u32, uv: i64, cells: &mut dyn Iterator<Item = Option<i64>>| {
            let (mut sum, mut all) = (0, true);
            cells.for_each(|cell| match cell {
                Some(uv) => sum += uv,
                None => all = false,
            });
            let fits = if all { sum == uv } else { sum <= uv };
            (!fits).then(|| format!("{what} group {id} are {sum} customers, of {uv}"))
        };
        let rows = self.matrix.iter().filter(|row| row.from.is_some());
        let of_row = |(row, former): (&MatrixRow, &Former)| {
            let mut cells = row.to.iter().map(|cell| cell.customers).chain([row.gone]);
            check("from", former.id, former.uv, &mut cells)
        };
        let of_column = |(place, group): (usize, &OriginEntry)| {
            let mut cells = self.matrix.iter().map(|row| row.to.get(place).and_then(|cell| cell.customers));
            check("in", group.id, group.uv, &mut cells)
        };
        let mut lines = rows.zip(&self.previous.groups);
        lines.find_map(of_row).or_else(|| self.groups.iter().enumerate().find_map(of_column))
    }
}

impl<'a> RunResult<'a> {
    /// Who went where, as far as it may be told.
    pub(super) fn told_migration(&self) -> Option<Told<'a>> {
        let uv: Vec<i64> = self.grouping.groups.iter().map(|group| group.stats.uv).collect();
        self.migration.map(|migration| Told::new(migration, &uv, self.floor()))
    }
}

/// The groups as a later run knows them.
fn formers(grouping: &Grouping) -> Vec<Former> {
    grouping.groups.iter().map(Former::from).collect()
}

pub(super) fn write(staging: &Staging, result: &RunResult) -> Result<(), SinkError> {
    let Some(told) = result.told_migration() else { return Ok(()) };
    write_json(staging, MIGRATION, &told.file(&formers(result.grouping)))
}

/// Reads a run's `migration.json`; none where it had no run before it.
pub fn read_migration(run: &Path) -> Result<Option<MigrationFile>, VerifyError> {
    let path = run.join(MIGRATION);
    if path.exists() { read_json(path).map(Some) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::Identity;

    fn file(shared: Vec<Vec<i64>>) -> MigrationFile {
        let of =
            |id: u32, uv: i64| Former { id, name: format!("g{id}"), direction: Direction::Over, uv, named: Vec::new() };
        let former = vec![of(1, 100), of(2, 60)];
        let groups = [of(1, 110), of(3, 50)];
        let sizes: Vec<_> = groups.iter().map(|group| (group.direction, group.uv)).collect();
        let identity = Identity::new(former, &sizes, &[], shared);
        let migration = Migration { run_id: "earlier".into(), customers: 1000, identity };
        Told::new(&migration, &[110, 50], 10).file(&groups)
    }

    #[test]
    fn who_went_where_adds_up_to_the_groups() {
        let told = file(vec![vec![80, 0], vec![20, 0]]);
        assert_eq!((told.stayed, told.stayed_share), (Some(80), Some(0.5)));
        assert_eq!(told.matrix[0].gone, Some(20));
        assert_eq!(told.matrix[2].to.iter().map(|cell| cell.customers).collect::<Vec<_>>(), [Some(10), Some(50)]);
        assert_eq!((told.groups[0].same, told.groups[1].origin.status), (Some(1), Status::New));
        let gone = &told.vanished[0];
        assert_eq!((gone.former.id, gone.gone, gone.went[0].customers), (2, Some(40), Some(20)));
        assert_eq!(told.contradiction(), None);
        let mut twice = told.clone();
        twice.matrix[0].to[0].customers = Some(90);
        assert_eq!(twice.contradiction().as_deref(), Some("from group 1 are 110 customers, of 100"));
        let mut column = told;
        column.matrix[2].to[1].customers = Some(49);
        assert_eq!(column.contradiction().as_deref(), Some("in group 3 are 49 customers, of 50"));
    }

    #[test]
    fn few_who_stayed_or_went_are_not_told_anywhere() {
        let told = file(vec![vec![95, 0], vec![7, 0]]);
        assert_eq!(told.vanished[0].went[0].customers, None);
        assert_eq!(told.contradiction(), None);
        assert!(told.matrix[0].gone.is_none(), "5 of the 100 are in no group");
        let text = serde_json::to_string(&told).expect("a document");
        assert!(!text.contains(":7,") && !text.contains(":5,") && !text.contains(":8,"), "{text}");
    }
}
