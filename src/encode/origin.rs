//! Where a worker's kept rows stand in the table: mostly long runs, so not a number a row.

use crate::audience::RowRuns;
use crate::source::Chunk;

/// File and row of each kept row, in the order in which they were read.
#[derive(Debug, Default)]
pub struct Origins {
    runs: Vec<Run>,
    rows: usize,
}

/// Neighbouring rows of one file, up to the next run.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// Position of the first one among the kept rows.
    first: usize,
    file: usize,
    row: u64,
}

impl Origins {
    pub fn rows(&self) -> usize {
        self.rows
    }

    fn push(&mut self, file: usize, row: u64, rows: usize) {
        let follows = |run: &Run| run.file == file && run.row + (self.rows - run.first) as u64 == row;
        if !self.runs.last().is_some_and(follows) {
            self.runs.push(Run { first: self.rows, file, row });
        }
        self.rows += rows;
    }

    /// Adds the rows of a chunk, or those that are kept.
    pub fn append(&mut self, chunk: &Chunk, kept: Option<&[bool]>) {
        let rows = chunk.rows.num_rows();
        match (kept, &chunk.row_numbers) {
            (None, None) if rows == 0 => {}
            (None, None) => self.push(chunk.file, chunk.first_row, rows),
            (kept, _) => {
                let kept = (0..rows).filter(|&i| kept.is_none_or(|kept| kept[i]));
                kept.for_each(|i| self.push(chunk.file, chunk.row_number(i), 1));
            }
        }
    }

    /// File and row within it.
    pub fn at(&self, position: usize) -> (usize, u64) {
        let run = &self.runs[self.runs.partition_point(|run| run.first <= position) - 1];
        (run.file, run.row + (position - run.first) as u64)
    }

    /// Row numbers over all files in order, given how many rows each file has.
    pub fn global(&self, file_rows: &[u64]) -> RowRuns {
        let mut offsets = vec![0u64];
        file_rows.iter().for_each(|rows| offsets.push(offsets[offsets.len() - 1] + rows));
        let mut global = RowRuns::default();
        let ends = self.runs.iter().skip(1).map(|run| run.first).chain([self.rows]);
        for (run, end) in self.runs.iter().zip(ends) {
            global.push(offsets[run.file] + run.row, end - run.first);
        }
        global
    }

    pub fn retain(&mut self, keep: &[bool]) {
        let mut kept = Origins::default();
        for position in (0..self.rows).filter(|&position| keep[position]) {
            let (file, row) = self.at(position);
            kept.push(file, row, 1);
        }
        *self = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_places_across_gaps_files_and_removal() {
        let mut origins = Origins::default();
        let mut expected = Vec::new();
        // The second file begins at the row number where the first ends.
        for (file, row, rows) in [(0, 2, 3), (0, 5, 1), (0, 7, 2), (1, 9, 2), (1, 11, 1)] {
            origins.push(file, row, rows);
            expected.extend((0..rows as u64).map(|i| (file, row + i)));
        }
        let all = |origins: &Origins| (0..origins.rows()).map(|i| origins.at(i)).collect::<Vec<_>>();
        let global = |origins: &Origins| {
            let runs = origins.global(&[100, 50]);
            (0..runs.len()).map(|i| runs.at(i)).collect::<Vec<_>>()
        };
        let numbers =
            |rows: &[(usize, u64)]| rows.iter().map(|(file, row)| *file as u64 * 100 + row).collect::<Vec<_>>();
        assert_eq!((all(&origins), global(&origins)), (expected.clone(), numbers(&expected)));
        assert_eq!(origins.runs.len(), 3);

        let keep: Vec<bool> = (0..expected.len()).map(|i| i % 3 != 1).collect();
        origins.retain(&keep);
        let expected: Vec<(usize, u64)> =
            expected.into_iter().zip(keep).filter(|(_, keep)| *keep).map(|(row, _)| row).collect();
        assert_eq!((all(&origins), global(&origins)), (expected.clone(), numbers(&expected)));
    }
}
