//! Which cells of a table of customers may be told when its margins are known.

/// Cells that are not told, as flags. The last row and the last column have no margin of their own, and their common cell is no cell;
/// every other row and column adds up to a figure that is told elsewhere.
///
/// Not told is a cell of fewer customers than `floor`, but not of nobody. So that none follows from the margins, further cells are not
/// told, the smallest first: what is left out of a line is nobody or at least `floor` customers together, and no cell follows from
/// those that are told by any combination of lines. A cell follows exactly when it is no part of a cycle in the graph whose nodes
/// are the lines and whose edges are the cells left out (Gusfield, 1988).
pub(super) fn withheld(cells: &[Vec<i64>], floor: i64) -> Vec<Vec<bool>> {
    let (rows, columns) = (cells.len().saturating_sub(1), cells.first().map_or(0, Vec::len).saturating_sub(1));
    let few = |uv: i64| (1..floor).contains(&uv);
    let corner = |i: usize, j: usize| i == rows && j == columns;
    let mut hidden: Vec<Vec<bool>> = cells.iter().map(|row| row.iter().map(|&uv| few(uv)).collect()).collect();
    if rows > 0 && columns > 0 {
        hidden[rows][columns] = false;
    }
    loop {
        let mut more = Vec::new();
        // The cells of a line that has a margin, and the one to leave out next: of customers if there is one, else the one without margin.
        let mut next = |line: Vec<(usize, usize)>| {
            let mut told = line.iter().copied().filter(|&(i, j)| !hidden[i][j] && !corner(i, j));
            let smallest = told.clone().filter(|&(i, j)| cells[i][j] > 0).min_by_key(|&(i, j)| (cells[i][j], i, j));
            more.extend(smallest.or_else(|| told.next_back()));
        };
        let row = |i: usize| (0..=columns).map(|j| (i, j)).collect::<Vec<_>>();
        let column = |j: usize| (0..=rows).map(|i| (i, j)).collect::<Vec<_>>();
        let short =
            |line: &[(usize, usize)]| few(line.iter().filter(|&&(i, j)| hidden[i][j]).map(|&(i, j)| cells[i][j]).sum());
        (0..rows).map(row).filter(|line| short(line)).for_each(&mut next);
        (0..columns).map(column).filter(|line| short(line)).for_each(&mut next);
        let alone = bridges(&places(&hidden), rows, columns);
        for &(i, j) in &alone {
            if i < rows {
                next(row(i));
            }
            if j < columns {
                next(column(j));
            }
        }
        if let (true, Some(&cell)) = (more.is_empty(), alone.first()) {
            // All of its lines is left out already: whatever else joins what it joins.
            let side = beyond(&hidden, rows, columns, cell);
            let crosses = |&(i, j): &(usize, usize)| {
                let [a, b] = nodes(i, j, rows, columns);
                side[a] != side[b] && !hidden[i][j] && !corner(i, j)
            };
            let cells_of = (0..=rows).flat_map(row).filter(crosses);
            more.extend(cells_of.min_by_key(|&(i, j)| (cells[i][j] == 0, cells[i][j], i, j)));
        }
        if more.is_empty() {
            break;
        }
        more.into_iter().for_each(|(i, j)| hidden[i][j] = true);
    }
    tell_spare(cells, hidden, few)
}

/// Tells what was left out on the way and is no longer needed, the largest first.
fn tell_spare(cells: &[Vec<i64>], mut hidden: Vec<Vec<bool>>, few: impl Fn(i64) -> bool) -> Vec<Vec<bool>> {
    let (rows, columns) = (cells.len().saturating_sub(1), cells.first().map_or(0, Vec::len).saturating_sub(1));
    let mut left = places(&hidden);
    let mut spare: Vec<(usize, usize)> = left.iter().copied().filter(|&(i, j)| !few(cells[i][j])).collect();
    spare.sort_by_key(|&(i, j)| (std::cmp::Reverse(cells[i][j]), i, j));
    // What is left out of each line.
    let mut of_line = vec![0; rows + columns + 1];
    left.iter()
        .for_each(|&(i, j)| nodes(i, j, rows, columns).into_iter().for_each(|line| of_line[line] += cells[i][j]));
    let mut at = 0;
    while let Some(&(i, j)) = spare.get(at) {
        at += 1;
        let lines = nodes(i, j, rows, columns);
        let short = lines.iter().any(|&line| line < rows + columns && few(of_line[line] - cells[i][j]));
        let without: Vec<(usize, usize)> = left.iter().copied().filter(|&other| other != (i, j)).collect();
        if short || !bridges(&without, rows, columns).is_empty() {
            continue;
        }
        lines.into_iter().for_each(|line| of_line[line] -= cells[i][j]);
        (left, hidden[i][j]) = (without, false);
        // What was needed by this one alone may be told, too.
        spare.remove(at - 1);
        at = 0;
    }
    hidden
}

/// Where the flags are set.
fn places(flags: &[Vec<bool>]) -> Vec<(usize, usize)> {
    let row = |(i, row): (usize, &Vec<bool>)| {
        row.iter().enumerate().filter(|(_, set)| **set).map(move |(j, _)| (i, j)).collect::<Vec<_>>()
    };
    flags.iter().enumerate().flat_map(row).collect()
}

/// The lines that a cell is in: the rows, then the columns, and one node for all that has no margin.
fn nodes(i: usize, j: usize, rows: usize, columns: usize) -> [usize; 2] {
    let free = rows + columns;
    [if i < rows { i } else { free }, if j < columns { rows + j } else { free }]
}

/// The lines that hang together with the first of a cell's by cells left out, but for this one.
fn beyond(hidden: &[Vec<bool>], rows: usize, columns: usize, cell: (usize, usize)) -> Vec<bool> {
    let mut side = vec![false; rows + columns + 1];
    side[nodes(cell.0, cell.1, rows, columns)[0]] = true;
    loop {
        let mut grown = false;
        for (i, row) in hidden.iter().enumerate() {
            for j in (0..row.len()).filter(|&j| row[j] && (i, j) != cell) {
                let [a, b] = nodes(i, j, rows, columns);
                if side[a] != side[b] {
                    (side[a], side[b], grown) = (true, true, true);
                }
            }
        }
        if !grown {
            return side;
        }
    }
}

/// The cells left out that are in no cycle of cells left out.
fn bridges(edges: &[(usize, usize)], rows: usize, columns: usize) -> Vec<(usize, usize)> {
    let free = rows + columns;
    let node = |i: usize, j: usize| nodes(i, j, rows, columns);
    let mut of: Vec<Vec<usize>> = vec![Vec::new(); free + 1];
    for (edge, &(i, j)) in edges.iter().enumerate() {
        node(i, j).into_iter().for_each(|node| of[node].push(edge));
    }
    // Depth first (Tarjan, 1974): an edge is a bridge if nothing beyond it leads back to before it.
    let (mut seen, mut low) = (vec![0usize; free + 1], vec![0usize; free + 1]);
    let (mut count, mut found) = (0, Vec::new());
    for start in 0..=free {
        if seen[start] > 0 {
            continue;
        }
        let mut path = vec![(start, usize::MAX, 0usize)];
        while let Some((at, by, place)) = path.last_mut() {
            let (at, by) = (*at, *by);
            if *place == 0 {
                count += 1;
                (seen[at], low[at]) = (count, count);
            }
            match of[at].get(*place) {
                Some(&edge) => {
                    *place += 1;
                    if edge == by {
                        continue;
                    }
                    let (i, j) = edges[edge];
                    let [a, b] = node(i, j);
                    let to = if a == at { b } else { a };
                    if seen[to] > 0 {
                        low[at] = low[at].min(seen[to]);
                    } else {
                        path.push((to, edge, 0));
                    }
                }
                None => {
                    path.pop();
                    if let Some(&(parent, ..)) = path.last() {
                        low[parent] = low[parent].min(low[at]);
                        if low[at] > seen[parent] {
                            found.push(edges[by]);
                        }
                    }
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(cells: &[&[i64]]) -> Vec<Vec<Option<i64>>> {
        let cells: Vec<Vec<i64>> = cells.iter().map(|row| row.to_vec()).collect();
        let hidden = withheld(&cells, 10);
        let tell = |(row, hidden): (&Vec<i64>, Vec<bool>)| {
            row.iter().zip(hidden).map(|(&uv, hidden)| Some(uv).filter(|_| !hidden)).collect()
        };
        cells.iter().zip(hidden).map(tell).collect()
    }

    #[test]
    fn what_has_no_few_customers_is_told() {
        let cells: [&[i64]; 3] = [&[100, 0, 20], &[10, 300, 40], &[0, 15, 0]];
        assert!(told(&cells).concat().iter().all(Option::is_some));
    }

    #[test]
    fn few_customers_take_two_others_with_them() {
        // 4 went from the first to the second: its row and its column would tell.
        let cells: [&[i64]; 3] = [&[100, 4, 20], &[12, 300, 40], &[30, 15, 0]];
        assert_eq!(
            told(&cells),
            [vec![Some(100), None, None], vec![Some(12), Some(300), Some(40)], vec![Some(30), None, Some(0)],],
            "the third row and column have no margins, so nothing follows"
        );
        // Two few of one row that are 7 together are not enough.
        let cells: [&[i64]; 2] = [&[4, 3, 50, 20], &[90, 80, 70, 0]];
        assert_eq!(told(&cells)[0], [None, None, Some(50), None]);
    }

    #[test]
    fn a_line_of_one_cell_hides_what_nobody_is_in() {
        let cells: [&[i64]; 2] = [&[12, 0], &[4, 0]];
        assert_eq!(told(&cells), [[None, None], [None, Some(0)]]);
    }

    /// Whether a cell left out follows from those told and the margins: whether no other table has the same, which is whether the
    /// equations have one solution for it (Gaussian elimination over the cells left out).
    fn follows(hidden: &[Vec<bool>], rows: usize, columns: usize) -> bool {
        let unknown: Vec<(usize, usize)> =
            (0..=rows).flat_map(|i| (0..=columns).map(move |j| (i, j))).filter(|&(i, j)| hidden[i][j]).collect();
        let mut equations: Vec<Vec<f64>> = (0..rows)
            .map(|i| unknown.iter().map(|&(r, _)| f64::from(u8::from(r == i))).collect())
            .chain((0..columns).map(|j| unknown.iter().map(|&(_, c)| f64::from(u8::from(c == j))).collect()))
            .collect();
        let mut at = 0;
        for place in 0..unknown.len() {
            let Some(pivot) = (at..equations.len()).find(|&e| equations[e][place].abs() > 1e-9) else { continue };
            equations.swap(at, pivot);
            let row = equations[at].clone();
            for (number, equation) in equations.iter_mut().enumerate() {
                let factor = equation[place] / row[place];
                if number != at && factor != 0.0 {
                    equation.iter_mut().zip(&row).for_each(|(a, b)| *a -= factor * b);
                }
            }
            at += 1;
        }
        equations.iter().any(|equation| equation.iter().filter(|value| value.abs() > 1e-9).count() == 1)
    }

    proptest! {
        #[test]
        fn nothing_of_few_customers_is_told_or_follows(
            rows in 1usize..5, columns in 1usize..5,
            values in prop::collection::vec(prop_oneof![Just(0i64), 1i64..10, 10i64..40, 100i64..1000], 36),
        ) {
            let mut cells: Vec<Vec<i64>> = (0..=rows).map(|i| values[i * 6..][..=columns].to_vec()).collect();
            cells[rows][columns] = 0;
            // Groups have at least as many customers as the floor.
            cells[..rows].iter_mut().filter(|row| row.iter().sum::<i64>() < 10).for_each(|row| row[columns] += 10);
            for j in 0..columns {
                if cells.iter().map(|row| row[j]).sum::<i64>() < 10 {
                    cells[rows][j] += 10;
                }
            }
            let hidden = withheld(&cells, 10);
            for i in 0..=rows {
                for j in 0..=columns {
                    prop_assert!(hidden[i][j] || !(1..10).contains(&cells[i][j]));
                }
            }
            let sum = |line: Vec<(usize, usize)>| line.into_iter().filter(|&(i, j)| hidden[i][j]).map(|(i, j)| cells[i][j]).sum::<i64>();
            for i in 0..rows {
                prop_assert!(!(1..10).contains(&sum((0..=columns).map(|j| (i, j)).collect())));
            }
            for j in 0..columns {
                prop_assert!(!(1..10).contains(&sum((0..=rows).map(|i| (i, j)).collect())));
            }
            prop_assert!(!follows(&hidden, rows, columns), "{:?} {:?}", cells, hidden);
            // No more than it takes.
            for i in 0..=rows {
                for j in (0..=columns).filter(|&j| hidden[i][j] && !(1..10).contains(&cells[i][j])) {
                    let mut fewer = hidden.clone();
                    fewer[i][j] = false;
                    let sum = |line: Vec<(usize, usize)>| -> i64 {
                        line.into_iter().filter(|&(i, j)| fewer[i][j]).map(|(i, j)| cells[i][j]).sum()
                    };
                    let row = i < rows && (1..10).contains(&sum((0..=columns).map(|j| (i, j)).collect()));
                    let column = j < columns && (1..10).contains(&sum((0..=rows).map(|i| (i, j)).collect()));
                    prop_assert!(row || column || follows(&fewer, rows, columns), "{:?} {:?}", cells, hidden);
                }
            }
        }
    }
}
