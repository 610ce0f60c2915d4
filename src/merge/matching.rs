//! Which thing of one list is which of another: the pairs that share most together.

/// The pairs of rows and columns, none of either in two of them, with the largest sum of weights: the column of each row. A pair of
/// weight 0 is none. Weights are not negative, one row as long as the other; which of several best choices is made depends on them alone.
///
/// The Hungarian method (Kuhn, 1955) by shortest augmenting paths with potentials (Jonker and Volgenant, 1987), in time
/// `rows² · columns` for the fewer of both as rows.
pub fn assignment(weights: &[Vec<i64>]) -> Vec<Option<usize>> {
    let (rows, columns) = (weights.len(), weights.first().map_or(0, Vec::len));
    assert!(weights.iter().all(|row| row.len() == columns && row.iter().all(|&w| w >= 0)), "a matrix, not negative");
    if rows > columns {
        let turned: Vec<Vec<i64>> = (0..columns).map(|j| weights.iter().map(|row| row[j]).collect()).collect();
        let mut of_row = vec![None; rows];
        for (column, row) in assignment(&turned).into_iter().enumerate() {
            row.into_iter().for_each(|row| of_row[row] = Some(column));
        }
        return of_row;
    }
    // Place 0 stands for no row and no column. A reduced cost, `potential of the row + of the column - weight`, is never negative.
    let (mut of_row, mut of_column) = (vec![0i64; rows + 1], vec![0i64; columns + 1]);
    for (potential, row) in of_row[1..].iter_mut().zip(weights) {
        *potential = row.iter().copied().max().unwrap_or(0);
    }
    let mut taken_by = vec![0usize; columns + 1];
    for row in 1..=rows {
        taken_by[0] = row;
        let mut least = vec![i64::MAX; columns + 1];
        let mut before = vec![0usize; columns + 1];
        let mut reached = vec![false; columns + 1];
        let mut at = 0;
        while taken_by[at] != 0 {
            reached[at] = true;
            let from = taken_by[at];
            let (mut step, mut next) = (i64::MAX, 0);
            for column in (1..=columns).filter(|&column| !reached[column]) {
                let cost = of_row[from] + of_column[column] - weights[from - 1][column - 1];
                if cost < least[column] {
                    (least[column], before[column]) = (cost, at);
                }
                if least[column] < step {
                    (step, next) = (least[column], column);
                }
            }
            for column in 0..=columns {
                if reached[column] {
                    of_row[taken_by[column]] -= step;
                    of_column[column] += step;
                } else if least[column] < i64::MAX {
                    least[column] -= step;
                }
            }
            at = next;
        }
        while at != 0 {
            taken_by[at] = taken_by[before[at]];
            at = before[at];
        }
    }
    let mut of_row = vec![None; rows];
    for (column, &row) in taken_by.iter().enumerate().skip(1).filter(|(_, row)| **row > 0) {
        of_row[row - 1] = Some(column - 1).filter(|&column| weights[row - 1][column] > 0);
    }
    of_row
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn total(weights: &[Vec<i64>], pairs: &[Option<usize>]) -> i64 {
        pairs.iter().enumerate().filter_map(|(row, column)| Some(weights[row][(*column)?])).sum()
    }

    /// The largest sum over all choices, by trying them.
    fn most(weights: &[Vec<i64>], row: usize, taken: &mut Vec<usize>) -> i64 {
        if row == weights.len() {
            return 0;
        }
        let mut best = most(weights, row + 1, taken);
        for column in 0..weights[row].len() {
            if !taken.contains(&column) {
                taken.push(column);
                best = best.max(weights[row][column] + most(weights, row + 1, taken));
                taken.pop();
            }
        }
        best
    }

    #[test]
    fn the_largest_pair_is_left_where_two_others_are_worth_more() {
        // By hand: 10 + 0 against 9 + 8.
        assert_eq!(assignment(&[vec![10, 9], vec![8, 0]]), [Some(1), Some(0)]);
        assert_eq!(assignment(&[vec![10, 9, 0], vec![0, 0, 0]]), [Some(0), None], "nothing shared is no pair");
        assert_eq!(assignment(&[vec![1], vec![3], vec![2]]), [None, Some(0), None]);
        assert!(assignment(&[]).is_empty());
        assert_eq!(assignment(&[vec![], vec![]]), [None, None]);
    }

    #[test]
    fn a_thousand_of_both_are_matched() {
        // Row i shares most with column i + 1, the last with the first, and a little with all.
        let n = 1000;
        let weight = |i: usize, j: usize| if j == (i + 1) % n { 1000 } else { ((i * 7 + j * 13) % 100) as i64 };
        let weights: Vec<Vec<i64>> = (0..n).map(|i| (0..n).map(|j| weight(i, j)).collect()).collect();
        assert_eq!(assignment(&weights), (0..n).map(|i| Some((i + 1) % n)).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn no_other_choice_has_a_larger_sum(
            rows in 1usize..6, columns in 1usize..6,
            values in prop::collection::vec(prop_oneof![Just(0i64), 0i64..20, 0i64..2_000_000], 36),
        ) {
            let weights: Vec<Vec<i64>> = (0..rows).map(|i| values[i * 6..][..columns].to_vec()).collect();
            let pairs = assignment(&weights);
            let mut columns: Vec<usize> = pairs.iter().copied().flatten().collect();
            columns.sort_unstable();
            prop_assert!(columns.windows(2).all(|two| two[0] != two[1]));
            prop_assert!(pairs.iter().enumerate().all(|(row, column)| column.is_none_or(|c| weights[row][c] > 0)));
            prop_assert_eq!(total(&weights, &pairs), most(&weights, 0, &mut Vec::new()));
        }
    }
}
