//! The customers of a table who were put into a run's groups, to one file that is there whole or not at all.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, DictionaryArray, Int32Array, StringArray};
use arrow::compute::{concat, filter};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema};
use parquet::basic::Encoding;
use parquet::file::properties::EnabledStatistics;
use parquet::schema::types::ColumnPath;

use super::SinkError;
use super::columns::Groups;
use super::packages::beside;
use super::staging::{WriteError, sync_folder, write_file};

/// Stands for no place: the customer is in no group.
pub const NO_PLACE: u32 = u32::MAX;

/// Rows of a row group, whatever pieces they come in.
const ROW_GROUP: usize = if cfg!(test) { 100 } else { 1 << 18 };

/// The same where the segments' texts are many, as each row group has all that occur in it.
const LONG_GROUP: usize = 4 * ROW_GROUP;

/// Bytes of texts that are many, and as much as Parquet's writer allows a dictionary by itself.
const MANY_TEXTS: usize = 1 << 20;

/// Some customers in the order of the table.
#[derive(Clone, Debug)]
pub struct AssignedRows {
    /// Whole numbers of 64 bits, or text.
    pub ids: ArrayRef,
    /// Of the segment that put each into a group, among those of the order, or [`NO_PLACE`].
    pub places: Vec<u32>,
}

impl AssignedRows {
    /// Without those who are in no group.
    pub fn in_groups(self) -> AssignedRows {
        let kept: BooleanArray = self.places.iter().map(|&place| Some(place != NO_PLACE)).collect();
        let ids = filter(&self.ids, &kept).expect("one flag a customer");
        AssignedRows { ids, places: self.places.into_iter().filter(|&place| place != NO_PLACE).collect() }
    }
}

/// What the places stand for.
#[derive(Clone, Debug)]
pub struct AssignedOrder {
    pub segments: Vec<String>,
    pub groups: Vec<u32>,
}

/// A file that is written and has not got its name yet; dropped, it is removed.
#[derive(Debug)]
pub struct AssignedFile {
    path: PathBuf,
    staged: PathBuf,
    pub customers: u64,
    pub bytes: u64,
    pub sha256: String,
}

impl AssignedFile {
    /// Where the file is while it is written: beside its place, as a name that tables leave out.
    pub fn staged(path: &Path) -> PathBuf {
        let mut name = OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}.tmp", std::process::id()));
        path.with_file_name(name)
    }

    /// Writes what `next` gives until there is no more, or it fails. `id` is what the table calls the customers' ids, `text` whether
    /// they are text.
    ///
    /// The bytes do not depend on the pieces in which the rows come. A name that ends in `.csv` is of CSV, any other of Parquet.
    pub fn write<E>(
        path: &Path,
        id: Option<&str>,
        text: bool,
        order: &AssignedOrder,
        mut next: impl FnMut() -> Result<Option<AssignedRows>, E>,
    ) -> Result<Result<AssignedFile, E>, SinkError> {
        let staged = AssignedFile::staged(path);
        let room = AtomicI64::new(i64::MAX);
        let mut file = AssignedFile { path: path.to_owned(), staged, customers: 0, bytes: 0, sha256: String::new() };
        let mut failed = None;
        let columns = Columns::of(id.unwrap_or("row"), text, order);
        let customers = &mut file.customers;
        let written = write_file(&file.staged, &room, |output| {
            let mut file = if is_csv(path) { Table::Csv(columns.csv(output)?) } else { columns.open(output)? };
            let mut waiting = Waiting::default();
            loop {
                match next() {
                    Ok(Some(rows)) => waiting.push(rows),
                    Ok(None) => break,
                    Err(error) => {
                        failed = Some(error);
                        return Err(WriteError::Format("stopped".into()));
                    }
                }
                while waiting.rows >= columns.row_group() {
                    *customers += columns.write(&mut file, &waiting.take(columns.row_group())?)?;
                }
            }
            if waiting.rows > 0 {
                *customers += columns.write(&mut file, &waiting.take(waiting.rows)?)?;
            }
            match file {
                Table::Parquet(groups) => groups.close(),
                Table::Csv(mut writer) => Ok(writer.flush()?),
            }
        });
        match (failed, written) {
            (Some(error), _) => Ok(Err(error)),
            (None, Ok((bytes, sha256))) => {
                (file.bytes, file.sha256) = (bytes, sha256);
                Ok(Ok(file))
            }
            (None, Err(error)) => Err(error),
        }
    }

    /// Gives the file its name, in the place of an earlier one.
    pub fn publish(self) -> Result<(), SinkError> {
        std::fs::rename(&self.staged, &self.path).map_err(|source| SinkError::write(&self.path, source))?;
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => sync_folder(folder),
            _ => sync_folder(Path::new(".")),
        }
    }
}

impl Drop for AssignedFile {
    fn drop(&mut self) {
        // Published, it is no longer there; and what cannot be removed hides from tables.
        let _ = std::fs::remove_file(&self.staged);
    }
}

/// Whether a file of this name is written as CSV.
pub fn is_csv(path: &Path) -> bool {
    path.extension().is_some_and(|suffix| suffix.eq_ignore_ascii_case("csv"))
}

/// A file that is being written.
enum Table<W: io::Write + Send> {
    Parquet(Groups<W>),
    Csv(csv::Writer<W>),
}

/// Customers who are not written yet.
#[derive(Default)]
struct Waiting {
    pieces: Vec<AssignedRows>,
    rows: usize,
}

impl Waiting {
    fn push(&mut self, rows: AssignedRows) {
        self.rows += rows.places.len();
        if !rows.places.is_empty() {
            self.pieces.push(rows);
        }
    }

    /// The first so many rows.
    fn take(&mut self, rows: usize) -> Result<AssignedRows, WriteError> {
        let (mut ids, mut places) = (Vec::new(), Vec::with_capacity(rows));
        let mut pieces = std::mem::take(&mut self.pieces).into_iter();
        while places.len() < rows {
            let mut piece = pieces.next().expect("no more rows are taken than wait");
            let left = piece.places.split_off(piece.places.len().min(rows - places.len()));
            let own = piece.places.len();
            ids.push(piece.ids.slice(0, own));
            places.append(&mut piece.places);
            if !left.is_empty() {
                self.pieces.push(AssignedRows { ids: piece.ids.slice(own, left.len()), places: left });
            }
        }
        self.pieces.extend(pieces);
        self.rows -= rows;
        let ids = concat(&ids.iter().map(|ids| ids.as_ref()).collect::<Vec<&dyn Array>>())?;
        Ok(AssignedRows { ids, places })
    }
}

/// The columns of the file: id, group, segment.
struct Columns<'a> {
    id: &'a str,
    text: bool,
    groups: &'a [u32],
    segments: ArrayRef,
    /// Bytes of all segments' texts, with their lengths.
    texts: usize,
}

impl<'a> Columns<'a> {
    fn of(id: &'a str, text: bool, order: &'a AssignedOrder) -> Columns<'a> {
        let segments = Arc::new(StringArray::from_iter_values(&order.segments));
        let texts = order.segments.iter().map(|segment| segment.len() + size_of::<u32>()).sum();
        Columns { id, text, groups: &order.groups, segments, texts }
    }

    fn row_group(&self) -> usize {
        if self.texts > MANY_TEXTS { LONG_GROUP } else { ROW_GROUP }
    }

    fn names(&self) -> [String; 3] {
        [self.id.to_owned(), beside("group", self.id), beside("segment", self.id)]
    }

    /// RFC 4180 with the header line. Values are as they are, for programs: an id with a `'` before it would be another one.
    fn csv<W: io::Write>(&self, output: W) -> Result<csv::Writer<W>, WriteError> {
        let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(output);
        writer.write_record(self.names())?;
        Ok(writer)
    }

    fn open<W: io::Write + Send>(&self, output: W) -> Result<Table<W>, WriteError> {
        let [_, group, segment] = self.names();
        let segments = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let schema = Schema::new(vec![
            Field::new(self.id, if self.text { DataType::Utf8 } else { DataType::Int64 }, true),
            Field::new(group, DataType::Int32, true),
            Field::new(segment.clone(), segments, true),
        ]);
        // As in the packages: ids occur once, and those of a table mostly increase.
        let groups = Groups::open(output, schema, |properties| {
            let id = ColumnPath::from(vec![self.id.to_owned()]);
            let properties = match self.text {
                true => properties,
                false => properties.set_column_encoding(id.clone(), Encoding::DELTA_BINARY_PACKED),
            };
            let segment = ColumnPath::from(vec![segment]);
            // Each text once, however many there are: a hundred thousand cells are written out in full for every customer otherwise.
            properties
                .set_dictionary_page_size_limit(self.texts.max(MANY_TEXTS))
                .set_column_dictionary_enabled(id, false)
                .set_column_statistics_enabled(segment, EnabledStatistics::None)
        })?;
        Ok(Table::Parquet(groups))
    }

    /// Writes some rows, of Parquet as a row group; gives how many.
    fn write<W: io::Write + Send>(&self, file: &mut Table<W>, rows: &AssignedRows) -> Result<u64, WriteError> {
        let place = |&place: &u32| (place != NO_PLACE).then_some(place as usize);
        let groups = match file {
            Table::Parquet(groups) => groups,
            Table::Csv(writer) => {
                let id = |row: usize| match self.text {
                    true => rows.ids.as_string::<i32>().value(row).to_owned(),
                    false => rows.ids.as_primitive::<Int64Type>().value(row).to_string(),
                };
                let segments = self.segments.as_string::<i32>();
                for (row, at) in rows.places.iter().map(place).enumerate() {
                    let (group, segment) =
                        at.map_or((String::new(), ""), |at| (self.groups[at].to_string(), segments.value(at)));
                    writer.write_record([id(row).as_str(), &group, segment])?;
                }
                return Ok(rows.places.len() as u64);
            }
        };
        groups.write(|column, put| {
            let places = rows.places.iter().map(place);
            match column {
                0 => put(&rows.ids),
                1 => {
                    let group = |place: usize| self.groups[place] as i32;
                    put(&(Arc::new(places.map(|p| p.map(group)).collect::<Int32Array>()) as ArrayRef))
                }
                _ => {
                    let keys: Int32Array = places.map(|p| p.map(|p| p as i32)).collect();
                    let texts = DictionaryArray::<Int32Type>::new(keys, Arc::clone(&self.segments));
                    put(&(Arc::new(texts) as ArrayRef))
                }
            }
        })?;
        Ok(rows.places.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, RecordBatch};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    fn order() -> AssignedOrder {
        AssignedOrder { segments: ["城市=上海", "a=b", "c=d"].map(String::from).to_vec(), groups: vec![7, 2, 7] }
    }

    /// 1,050 customers in pieces of this size: by turns of each segment and of none.
    fn pieces(size: usize) -> impl FnMut() -> Result<Option<AssignedRows>, String> {
        let mut at = 0;
        move || {
            let rows = at..(at + size).min(1050);
            at = rows.end;
            let places = rows.clone().map(|row| [0, 1, 2, NO_PLACE][row % 4]).collect();
            let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.clone().map(|row| row as i64)));
            Ok((!rows.is_empty()).then_some(AssignedRows { ids, places }))
        }
    }

    fn read(path: &Path) -> Vec<RecordBatch> {
        let file = std::fs::File::open(path).expect("a file");
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("parquet").build().expect("a reader");
        reader.map(|batch| batch.expect("readable")).collect()
    }

    #[test]
    fn the_bytes_do_not_depend_on_the_pieces_and_say_who_is_where() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("a.parquet");
        let mut all = Vec::new();
        for size in [1, 7, 100, 333, 5000] {
            let file = AssignedFile::write(&path, Some("group"), false, &order(), pieces(size)).expect("written");
            let file = file.expect("no failure");
            assert_eq!(file.customers, 1050);
            file.publish().expect("renamed");
            all.push(std::fs::read(&path).expect("a file"));
        }
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
        assert_eq!(std::fs::read_dir(dir.path()).expect("a folder").count(), 1, "nothing staged is left");
        let mut row = 0;
        for batch in read(&path) {
            let names: Vec<String> = batch.schema().fields().iter().map(|f| f.name().clone()).collect();
            assert_eq!(names, ["group", "nichemine_group", "segment"]);
            for i in 0..batch.num_rows() {
                assert_eq!(batch.column(0).as_primitive::<Int64Type>().value(i), row);
                let expected = [Some((7, "城市=上海")), Some((2, "a=b")), Some((7, "c=d")), None][row as usize % 4];
                assert_eq!(batch.column(1).is_null(i), expected.is_none());
                if let Some((group, segment)) = expected {
                    assert_eq!(batch.column(1).as_primitive::<Int32Type>().value(i), group);
                    assert_eq!(batch.column(2).as_string::<i32>().value(i), segment);
                }
                row += 1;
            }
        }
        assert_eq!(row, 1050);
    }

    #[test]
    fn a_name_of_csv_gives_the_same_rows_as_csv_whatever_the_pieces() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("a.CSV");
        let mut expected = String::from("group,nichemine_group,segment\r\n");
        for row in 0..1050 {
            let of = ["7,城市=上海", "2,\"a=b \"\"c\"\", d\"", "7,c=d", ","][row % 4];
            expected.push_str(&format!("{row},{of}\r\n"));
        }
        let mut order = order();
        order.segments[1] = "a=b \"c\", d".into();
        for size in [1, 333, 5000] {
            let file = AssignedFile::write(&path, Some("group"), false, &order, pieces(size)).expect("written");
            file.expect("no failure").publish().expect("renamed");
            assert!(std::fs::read_to_string(&path).expect("text") == expected, "{size}");
        }
    }

    #[test]
    fn those_in_no_group_are_left_out_of_the_pieces() {
        let rows = pieces(10)().expect("no failure").expect("rows").in_groups();
        assert_eq!(rows.places, [0, 1, 2, 0, 1, 2, 0, 1]);
        assert_eq!(rows.ids.as_primitive::<Int64Type>().values().as_ref(), [0, 1, 2, 4, 5, 6, 8, 9]);
    }

    #[test]
    fn an_earlier_file_stays_until_the_new_one_is_whole() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("a.parquet");
        std::fs::write(&path, "earlier").expect("written");
        let mut good = pieces(100);
        let mut left = 5;
        let failing = || {
            left -= 1;
            if left == 0 { Err("a bad row".to_owned()) } else { good() }
        };
        let failed = AssignedFile::write(&path, None, false, &order(), failing).expect("the disk is well");
        assert_eq!(failed.expect_err("it failed"), "a bad row");
        drop(AssignedFile::write(&path, None, false, &order(), pieces(64)).expect("written").expect("no failure"));
        assert_eq!(std::fs::read_to_string(&path).expect("text"), "earlier");
        assert_eq!(std::fs::read_dir(dir.path()).expect("a folder").count(), 1, "nothing staged is left");
        let nowhere = dir.path().join("no/such/a.parquet");
        let refused = AssignedFile::write(&nowhere, None, false, &order(), pieces(64)).expect_err("no folder");
        assert!(matches!(refused, SinkError::Write { .. }), "{refused}");
    }
}
