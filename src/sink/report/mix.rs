//! How the groups divide by the columns that the job asks for: a table a column, groups side by side.

use super::View;
use crate::highlight::Direction;
use crate::mix::{Column, Share, Value};
use crate::sink::number::{Numbers, count, decimal, percent};
use crate::sink::terminal::visible;
use crate::sink::text::fill;

pub(super) struct MixView {
    pub column: String,
    pub rows: Vec<MixRow>,
    /// What is said below the table.
    pub note: Option<&'static str>,
}

pub(super) struct MixRow {
    pub value: String,
    /// Share of all customers and the metric's mean over them; then of every group, then of those in none.
    pub cells: Vec<MixCell>,
}

#[derive(Default)]
pub(super) struct MixCell {
    pub share: String,
    pub mean: String,
    /// The class that colours it.
    pub heat: &'static str,
    /// Index and customers.
    pub tip: String,
}

/// A group at the head of a table.
pub(super) struct MixHead {
    pub id: u32,
    pub over: bool,
    pub name: String,
}

/// Least index of each colour, and the colour of its inverse.
const HEAT: [(f64, &str, &str); 3] = [(200.0, "h3", "c3"), (150.0, "h2", "c2"), (110.0, "h1", "c1")];

fn heat(share: &Share) -> &'static str {
    let far = |&(index, more, less): &(f64, &'static str, &'static str)| match share.index {
        own if own >= index => Some(more),
        own if own * index <= 10_000.0 => Some(less),
        _ => None,
    };
    if share.is_sure() { HEAT.iter().find_map(far).unwrap_or_default() } else { "" }
}

impl View<'_, '_> {
    pub(super) fn mix_heads(&self) -> Vec<MixHead> {
        let head = |group: &crate::merge::Group| MixHead {
            id: group.id,
            over: group.direction == Direction::Over,
            name: visible(&group.name),
        };
        self.result.grouping.groups.iter().map(head).collect()
    }

    pub(super) fn mix(&self) -> Vec<MixView> {
        let view = |column: &Column| MixView {
            column: visible(column.name()),
            rows: column.shown().map(|value| self.mix_row(column, value)).collect(),
            note: (!column.exclusive).then_some(self.t.mix_tags),
        };
        self.result.mix.columns.iter().map(view).collect()
    }

    fn mix_row(&self, column: &Column, value: &Value) -> MixRow {
        let n = Numbers { unit: None, ..self.n };
        let mean = |mean: Option<f64>| mean.map_or(String::new(), |mean| n.mean(mean));
        let all = MixCell { share: percent(value.share), mean: mean(value.metric_mean), ..MixCell::default() };
        let cell = |share: &Option<Share>| match share {
            None => MixCell { share: "–".into(), ..MixCell::default() },
            Some(share) => MixCell {
                share: percent(share.share),
                mean: mean(share.metric_mean),
                heat: heat(share),
                tip: fill(
                    self.t.mix_tip,
                    &[
                        ("index", &decimal(share.index.round())),
                        ("uv", &count(share.uv)),
                        ("of_value", &percent(share.of_value)),
                    ],
                ),
            },
        };
        // Of cells everybody is in a group.
        let sets = value.sets.len() - usize::from(self.of_cells() && !value.sets.is_empty());
        MixRow {
            value: self.value(column, value),
            cells: std::iter::once(all).chain(value.sets[..sets].iter().map(cell)).collect(),
        }
    }
}
