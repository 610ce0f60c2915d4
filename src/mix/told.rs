//! Which cells of a cross table may be told, so that a handful of customers is neither told nor found by subtraction.

/// Which cells are hidden, of a table with a value a row and a set of customers a column, the last being those in no group.
///
/// Hidden are the cells of fewer than `floor` customers, but not none. The sums of rows are told, and so are those of columns, which are the
/// groups; so wherever one cell of a line is hidden another is, until what is hidden of it is `floor` together: in a row first
/// that of those in no group, which is told nowhere else, then the smallest. Tags do not add up to a group, whose `sizes` are given then: of a column
/// a tag is hidden when few of the group have it or few have it not.
///
/// What would have to be solved for over several rows and columns is not looked at.
pub(super) fn hidden(counts: &[Vec<i64>], sizes: Option<&Vec<i64>>, floor: i64) -> Vec<Vec<bool>> {
    let few = |customers: i64| (1..floor).contains(&customers);
    let first = |row: &Vec<i64>| {
        let has_not = |set: usize| sizes.is_some_and(|sizes| few(sizes[set] - row[set]));
        row.iter().enumerate().map(|(set, &uv)| few(uv) || has_not(set) && uv > 0).collect::<Vec<bool>>()
    };
    let mut hidden: Vec<Vec<bool>> = counts.iter().map(first).collect();
    let sets = counts.first().map_or(0, Vec::len);
    let row_alone: Vec<bool> = counts.iter().map(|row| row.iter().filter(|&&uv| uv > 0).count() < 2).collect();
    let set_alone: Vec<bool> = (0..sets).map(|set| counts.iter().filter(|row| row[set] > 0).count() < 2).collect();
    let hide_in_set = |hidden: &mut [Vec<bool>], set: usize| {
        let line: Vec<(usize, usize)> = (0..counts.len()).map(|row| (row, set)).collect();
        sizes.is_none() && hide_another(counts, hidden, &line, floor, |&(row, _)| row_alone[row])
    };
    loop {
        // Rows after the groups: then where a group has two hidden cells, those in no group have two in the same rows, and no more are needed.
        let mut more = false;
        for set in 0..sets.saturating_sub(1) {
            more |= hide_in_set(&mut hidden, set);
        }
        for row in 0..counts.len() {
            let line: Vec<(usize, usize)> = (0..sets).map(|set| (row, set)).collect();
            let later = |&(_, set): &(usize, usize)| (set + 1 < sets, set_alone[set]);
            more |= hide_another(counts, &mut hidden, &line, floor, later);
        }
        more |= sets > 0 && hide_in_set(&mut hidden, sets - 1);
        if !more {
            return hidden;
        }
    }
}

/// Of which columns the sum over the second of two sets of rows is hidden: where what is hidden in either set of rows could then be found, as
/// it is alone or of few customers.
pub(super) fn hidden_together(counts: &[Vec<i64>], hidden: &[Vec<bool>], rows: [&[usize]; 2], floor: i64) -> Vec<bool> {
    let alone = |set: usize, rows: &[usize]| {
        let own: Vec<i64> = rows.iter().filter(|&&row| hidden[row][set]).map(|&row| counts[row][set]).collect();
        !own.is_empty() && (own.len() < 2 || own.iter().sum::<i64>() < floor)
    };
    (0..counts.first().map_or(0, Vec::len)).map(|set| rows.iter().any(|rows| alone(set, rows))).collect()
}

/// Hides the cells of a line that come first by `later`, then by their customers, until nothing can be found by subtraction; says whether any
/// was.
fn hide_another<O: Ord>(
    counts: &[Vec<i64>],
    hidden: &mut [Vec<bool>],
    line: &[(usize, usize)],
    floor: i64,
    later: impl Fn(&(usize, usize)) -> O,
) -> bool {
    let mut any = false;
    loop {
        let uv = |&(row, set): &(usize, usize)| counts[row][set];
        let own: Vec<i64> = line.iter().filter(|(row, set)| hidden[*row][*set]).map(uv).collect();
        if own.is_empty() || own.len() > 1 && own.iter().sum::<i64>() >= floor {
            return any;
        }
        let left = line.iter().filter(|cell| uv(cell) > 0 && !hidden[cell.0][cell.1]);
        let Some(&(row, set)) = left.min_by_key(|cell| (later(cell), uv(cell), **cell)) else { return any };
        hidden[row][set] = true;
        any = true;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(counts: &[Vec<i64>], sizes: Option<&Vec<i64>>) -> Vec<String> {
        let hidden = hidden(counts, sizes, 10);
        let cell = |(&uv, &hidden): (&i64, &bool)| if hidden { "-".to_owned() } else { uv.to_string() };
        counts
            .iter()
            .zip(&hidden)
            .map(|(row, hidden)| row.iter().zip(hidden).map(cell).collect::<Vec<_>>().join(" "))
            .collect()
    }

    #[test]
    fn a_small_cell_takes_others_of_its_row_and_column_with_it() {
        // 4 follows from its column's sum, so 15 goes too, and from the row's, so both of nobody's go.
        let counts = [vec![4, 30, 500], vec![15, 40, 300], vec![80, 50, 200]];
        assert_eq!(shown(&counts, None), ["- 30 -", "- 40 -", "80 50 200"]);
        assert_eq!(shown(&[vec![0, 30, 500], vec![15, 40, 300]], None), ["0 30 500", "15 40 300"], "nobody is not few");
        // Nobody with the second value is in no group: the smallest of the others goes instead, and so on until each line has two.
        let counts = [vec![4, 30, 500], vec![15, 40, 0], vec![80, 50, 200]];
        assert_eq!(shown(&counts, None), ["- - -", "- - 0", "80 - -"]);
    }

    #[test]
    fn of_tags_only_rows_add_up() {
        // Of 100 in the first group 97 have the first tag: 3 have not.
        let counts = [vec![97, 30, 500], vec![15, 4, 300], vec![80, 50, 200]];
        assert_eq!(shown(&counts, Some(&vec![100, 60, 900])), ["- 30 -", "15 - -", "80 50 200"]);
    }

    proptest! {
        #[test]
        fn no_line_with_something_hidden_gives_it_away(
            counts in (1usize..7, 1usize..6).prop_flat_map(|(rows, sets)| {
                let cell = prop_oneof![Just(0i64), 1i64..15, 10i64..200];
                proptest::collection::vec(proptest::collection::vec(cell, sets), rows)
            }),
        ) {
            let hidden = hidden(&counts, None, 10);
            let (rows, sets) = (counts.len(), counts[0].len());
            let lines = (0..rows).map(|r| (0..sets).map(|s| (r, s)).collect::<Vec<_>>());
            let lines = lines.chain((0..sets).map(|s| (0..rows).map(|r| (r, s)).collect()));
            for line in lines {
                let cells: Vec<(i64, bool)> = line.iter().map(|&(r, s)| (counts[r][s], hidden[r][s])).collect();
                let sum: i64 = cells.iter().filter(|(_, hidden)| *hidden).map(|(uv, _)| uv).sum();
                let number = cells.iter().filter(|(_, hidden)| *hidden).count();
                // Where all of a line is hidden, only its own sum is known, which is told anyway.
                let all = cells.iter().all(|&(uv, hidden)| hidden || uv == 0);
                prop_assert!(number == 0 || all || number > 1 && sum >= 10, "{counts:?} {hidden:?}");
                prop_assert!(cells.iter().all(|&(uv, hidden)| hidden || uv == 0 || uv >= 10));
            }
        }
    }
}
