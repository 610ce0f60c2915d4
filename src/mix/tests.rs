use super::*;
use crate::audience::CustomerIds;
use crate::encode::TagSource;

fn feature(items: Vec<ItemValue>, uv: &[u64], rest: bool) -> Feature {
    Feature { name: "渠道".into(), column: "渠道".into(), items, uv: uv.to_vec(), rest, ..Feature::default() }
}

fn texts(values: &[&str]) -> Vec<ItemValue> {
    values.iter().map(|&text| ItemValue::Text(text.into())).collect()
}

/// Cells of a column by value and set, from customers and yes.
fn cells(of: &[&[(i64, i128)]]) -> Vec<Vec<Cell>> {
    of.iter().map(|row| row.iter().map(|&(uv, sum)| Cell { uv, sum, den: 0 }).collect()).collect()
}

fn column(feature: Feature, rows: Vec<Vec<Cell>>, whole: &[Cell], floor: i64) -> Column {
    let dimension = Dimension::of(feature);
    let rows = dimension.values.iter().copied().zip(rows).collect();
    Column::of(dimension.book, rows, whole, MetricKind::Rate, Scale::default(), floor)
}

fn told(column: &Column) -> Vec<(String, i64, Vec<Option<i64>>)> {
    let row = |v: &Value| (column.label(v), v.uv, v.sets.iter().map(|set| set.map(|share| share.uv)).collect());
    column.values.iter().map(row).collect()
}

#[test]
fn every_share_follows_from_the_counts() {
    // One group of 100, 900 in none. store: 40 of the group's (20 yes) and 160 (16 yes); web: 60 (6) and 740 (74).
    let rows = cells(&[&[(40, 20), (160, 16)], &[(60, 6), (740, 74)]]);
    let whole = cells(&[&[(100, 26), (900, 90)]]).remove(0);
    let column = column(feature(texts(&["store", "web"]), &[200, 800], false), rows, &whole, 10);
    let [web, store] = &column.values[..] else { panic!("{column:?}") };
    assert_eq!((column.label(web), column.label(store)), ("web".into(), "store".into()), "the most frequent first");
    assert_eq!((store.uv, store.share, store.metric_mean), (200, 0.2, Some(0.18)));
    let share = store.sets[0].expect("told");
    assert_eq!((share.uv, share.share, share.of_value, share.index), (40, 0.4, 0.2, 200.0));
    assert_eq!(share.metric_mean, Some(0.5));
    // (40/100 - 160/900) / sqrt(0.2 * 0.8 * (1/100 + 1/900)) = 0.222222 / 0.0421637 = 5.2705.
    assert!((share.z - 5.270462766947299).abs() < 1e-12, "{}", share.z);
    // Of two values the one has more where the other has less: both are as sure.
    let other = web.sets[0].expect("told");
    assert!(share.q < 1e-5 && other.q == share.q && other.index < 100.0);
}

#[test]
fn values_of_few_customers_are_told_together_and_never_alone() {
    let three = |a: i64, b: i64| [(a, 0), (b, 0)];
    let rows = cells(&[&three(50, 400), &three(30, 200), &three(2, 4), &three(1, 2)]);
    let whole = cells(&[&[(83, 0), (606, 0)]]).remove(0);
    let found = column(feature(texts(&["a", "b", "c", "d"]), &[450, 230, 6, 3], false), rows.clone(), &whole, 10);
    // 6 and 3 are 9 together, so the next smallest goes with them.
    assert_eq!(
        told(&found),
        [("a".into(), 450, vec![Some(50), Some(400)]), (OTHER.into(), 239, vec![Some(33), Some(206)])]
    );
    assert_eq!(
        told(&column(feature(texts(&["a", "b", "c", "d"]), &[450, 230, 6, 3], false), rows, &whole, 1)).len(),
        4
    );
    // A rest of 12 is enough; what is called like it is told apart.
    let rows = cells(&[&three(50, 400), &three(30, 200), &three(0, 12)]);
    let whole = cells(&[&[(80, 0), (612, 0)]]).remove(0);
    let found = column(feature(texts(&["a", "(other)"]), &[450, 230, 12], true), rows, &whole, 10);
    let labels: Vec<String> = told(&found).into_iter().map(|(label, ..)| label).collect();
    assert_eq!(labels, ["a", "\"(other)\"", OTHER]);
}

#[test]
fn bands_keep_their_order_and_missing_comes_behind_them() {
    let range = |low, high| ItemValue::Range { low, high };
    let items = vec![range(None, Some(30.0)), range(Some(30.0), None), ItemValue::Missing];
    let rows = cells(&[&[(20, 0), (30, 0)], &[(40, 0), (400, 0)], &[(60, 0), (500, 0)], &[(11, 0), (12, 0)]]);
    let whole = cells(&[&[(131, 0), (942, 0)]]).remove(0);
    let found = column(feature(items, &[50, 440, 560, 23], true), rows, &whole, 10);
    let labels: Vec<String> = told(&found).into_iter().map(|(label, ..)| label).collect();
    assert_eq!(labels, ["<30", ">=30", "(missing)", OTHER]);
}

#[test]
fn a_column_of_very_many_values_has_its_most_frequent_ones_told_and_the_others_together() {
    let dimension = Dimension::with(feature(texts(&["a", "b", "c", "d"]), &[5, 20, 9, 20, 3], true), 2);
    assert_eq!(dimension.values, [Some(1), Some(3), None]);
    assert_eq!(dimension.place_of, [Some(2), Some(0), Some(2), Some(1), Some(2)]);
    let mut tags = feature(texts(&["a", "b", "c"]), &[5, 20, 9], false);
    tags.tags = Some(TagSource::List);
    let dimension = Dimension::with(tags, 2);
    assert_eq!((dimension.values, dimension.place_of), (vec![Some(1), Some(2)], vec![None, Some(0), Some(1)]));
}

#[test]
fn rows_are_counted_by_value_and_set_and_add_up() {
    let mut codes = Codes::with_capacity(3, 6);
    [0, 1, 2, 0, 1, 2].into_iter().for_each(|code| codes.push(code));
    let metric = MetricColumn::Ratio { num: vec![1, 2, 3, 4, 5, 6], den: vec![10, 20, 30, 40, 50, 60] };
    let mut shard = Shard::new(vec![codes], vec![0; 6], vec![metric], CustomerIds::Row((0..6).collect()));
    shard.set_aside(&[0], 0);
    assert!(shard.features.is_empty());
    let dimensions = [Dimension::of(feature(texts(&["a", "b"]), &[2, 2, 2], true))];
    let mut crossed = Crossed::none(&dimensions, 1);
    crossed.add_rows(&dimensions, &shard, 0, &[0, 0, 0, 1]);
    let mut rest = Crossed::none(&dimensions, 1);
    rest.add_rows(&dimensions, &shard, 4, &[0, 1]);
    crossed.add(&rest);
    let cell = |uv, sum, den| Cell { uv, sum, den };
    assert_eq!(
        crossed.columns[0],
        [cell(1, 1, 10), cell(1, 4, 40), cell(2, 7, 70), cell(0, 0, 0), cell(1, 3, 30), cell(1, 6, 60)]
    );
    assert_eq!(crossed.whole, [cell(4, 11, 110), cell(2, 10, 100)]);
    let mix = Mix::of(dimensions.to_vec(), &crossed, &[1], MetricKind::Ratio, Scale::default(), 1);
    assert_eq!(mix.columns[0].values[0].sets[0].expect("told").metric_mean, Some(0.1));
}

#[test]
fn what_is_withheld_of_a_value_is_withheld_of_the_item_too() {
    let rows = cells(&[&[(4, 0), (500, 0)], &[(15, 0), (300, 0)], &[(80, 0), (200, 0)], &[(1, 0), (11, 0)]]);
    let whole = cells(&[&[(100, 0), (1011, 0)]]).remove(0);
    let found = column(feature(texts(&["a", "b", "c", "d"]), &[504, 315, 280, 12], false), rows, &whole, 10);
    let withheld = |text: &str| found.withholds(&ItemValue::Text(text.into()), 0);
    assert_eq!(["a", "b", "c", "d", "e"].map(withheld), [true, true, false, true, true]);
}
