//! Parquet files to record batches of one schema.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use ::parquet::basic::Encoding;
use ::parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

use super::files::TableFile;
use super::pages::{Pages, Part};
use super::{Chunk, Column, ColumnKind, Inner, SourceError, decode};

/// Rows decoded at once: a dozen columns of 64-bit values then stay within a second-level cache.
const BATCH: usize = 16_384;

/// Units of work per worker under which row groups are cut into slices. A worker passes over the pages of the slices
/// before its own, so whole row groups are better once there are enough of them to be shared evenly.
const UNITS_PER_WORKER: u64 = 4;

/// Rows of a slice at the least; a smaller one costs more in passing over pages than it evens out.
pub(super) const MIN_SLICE: u64 = 8192;

/// What a file's footer says, with the schema that its columns are decoded to.
#[derive(Debug)]
pub(super) struct Footer {
    metadata: ArrowReaderMetadata,
    /// Of each row group.
    rows: Vec<u64>,
    /// The file's column for each of the table's.
    places: Vec<usize>,
}

/// Reads the footers and agrees on the columns.
pub(super) fn open(files: &mut [TableFile]) -> Result<(Vec<Column>, Vec<Footer>), SourceError> {
    let mut opened = Vec::with_capacity(files.len());
    for file in files.iter_mut() {
        let handle = File::open(&file.path).map_err(|source| SourceError::Read { path: file.path.clone(), source })?;
        let metadata = decode(&file.path, "Parquet", || {
            ArrowReaderMetadata::load(&handle, ArrowReaderOptions::new()).map_err(|error| error.to_string())
        })?;
        let rows = row_groups(&file.path, metadata.metadata())?;
        file.rows = Some(rows.iter().sum());
        let names = metadata.schema().fields().iter().map(|field| field.name().as_str());
        super::distinct(&file.path, names, "")?;
        opened.push((metadata, rows));
    }

    let first = opened[0].0.schema();
    let mut columns: Vec<Column> =
        first.fields().iter().map(|field| column(field.name(), plain(field.data_type()))).collect();
    for (file, (metadata, _)) in files.iter().zip(&opened).skip(1) {
        agree(&mut columns, metadata.schema()).map_err(|difference| SourceError::Columns {
            first: files[0].path.clone(),
            other: file.path.clone(),
            difference,
        })?;
    }
    for column in columns.iter_mut().filter(|column| column.kind == ColumnKind::Text) {
        // One type per column for the whole table. A dictionary that has to be made from plain pages costs a hash
        // table per batch, so text that is plain anywhere, as ids are, is plain everywhere.
        if opened.iter().all(|(metadata, _)| is_dictionary(metadata, &column.name)) {
            column.data_type = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        }
    }

    let mut footers = Vec::with_capacity(files.len());
    for (file, (metadata, rows)) in files.iter().zip(opened) {
        let place = |column: &Column| {
            let place = metadata.schema().index_of(&column.name);
            place.expect("every file was found to have every column")
        };
        let places: Vec<usize> = columns.iter().map(place).collect();
        let fields = metadata.schema().fields().iter().map(|field| {
            let column = columns.iter().find(|column| column.name == *field.name());
            match column {
                Some(column) if column.kind == ColumnKind::Text => {
                    field.as_ref().clone().with_data_type(column.data_type.clone())
                }
                _ => field.as_ref().clone().with_data_type(plain(field.data_type())),
            }
        });
        let schema = Schema::new_with_metadata(fields.collect::<Vec<_>>(), metadata.schema().metadata().clone());
        let metadata = decode(&file.path, "Parquet", || {
            let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
            ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options).map_err(|error| error.to_string())
        })?;
        footers.push(Footer { metadata, rows, places });
    }
    Ok((columns, footers))
}

/// The rows of each row group, provided the footer does not contradict itself. Readers go by different ones of its
/// counts, and a file whose total says 0 is read as no rows at all.
fn row_groups(path: &Path, metadata: &ParquetMetaData) -> Result<Vec<u64>, SourceError> {
    let wrong = |place: String, declared: i64, found: u64| SourceError::RowCount {
        path: path.to_owned(),
        place,
        declared,
        found,
    };
    let mut rows = Vec::with_capacity(metadata.num_row_groups());
    let mut total = 0u64;
    for (g, group) in metadata.row_groups().iter().enumerate() {
        let place = || format!("row group {g}");
        let count = u64::try_from(group.num_rows()).map_err(|_| wrong(place(), group.num_rows(), 0))?;
        for chunk in group.columns() {
            // A repeated column holds as many values as its lists do.
            if chunk.column_descr().max_rep_level() == 0 && chunk.num_values() != group.num_rows() {
                let found = u64::try_from(chunk.num_values()).unwrap_or(0);
                return Err(wrong(place(), group.num_rows(), found));
            }
        }
        total = total.checked_add(count).ok_or_else(|| wrong(place(), group.num_rows(), 0))?;
        rows.push(count);
    }
    if u64::try_from(metadata.file_metadata().num_rows()) != Ok(total) {
        return Err(wrong("the footer".into(), metadata.file_metadata().num_rows(), total));
    }
    Ok(rows)
}

fn column(name: &str, data_type: DataType) -> Column {
    let kind = match &data_type {
        DataType::Utf8 => ColumnKind::Text,
        DataType::Boolean => ColumnKind::Bool,
        integer if integer.is_integer() => ColumnKind::Int,
        float if float.is_floating() => ColumnKind::Float,
        DataType::Decimal128(..) => ColumnKind::Decimal,
        DataType::Date32 | DataType::Date64 => ColumnKind::Date,
        DataType::Timestamp(..) => ColumnKind::Timestamp,
        DataType::List(field) | DataType::LargeList(field) => match plain(field.data_type()) {
            DataType::Utf8 => ColumnKind::TextList,
            // Numbers beyond those of 64 bits with a sign would be lost.
            integer if integer.is_integer() && integer != DataType::UInt64 => ColumnKind::IntList,
            _ => ColumnKind::Unsupported(data_type.to_string()),
        },
        other => ColumnKind::Unsupported(other.to_string()),
    };
    Column { name: name.to_owned(), kind, data_type }
}

/// The type that stands for all ways of holding the same values.
fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => plain(values),
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        other => other.clone(),
    }
}

/// Holds a further file's columns against the table's, whose types widen where that loses nothing.
fn agree(columns: &mut [Column], schema: &Schema) -> Result<(), String> {
    if let Some(field) = schema.fields().iter().find(|field| !columns.iter().any(|c| c.name == *field.name())) {
        return Err(format!("{:?} is in the second alone", field.name()));
    }
    for known in columns {
        let Ok(field) = schema.field_with_name(&known.name) else {
            return Err(format!("{:?} is in the first alone", known.name));
        };
        let other = plain(field.data_type());
        let Some(common) = common(&known.data_type, &other) else {
            return Err(format!("{:?} is {} in the first, {other} in the second", known.name, known.data_type));
        };
        *known = column(&known.name, common);
    }
    Ok(())
}

/// A type that holds every value of both.
fn common(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::*;
    let list = |values| Some(LargeList(Arc::new(Field::new("item", values, true))));
    match (a, b) {
        _ if a == b => Some(a.clone()),
        (List(_) | LargeList(_), List(_) | LargeList(_)) => {
            match (column("", a.clone()).kind, column("", b.clone()).kind) {
                (ColumnKind::TextList, ColumnKind::TextList) => list(Utf8),
                (ColumnKind::IntList, ColumnKind::IntList) => list(Int64),
                _ => None,
            }
        }
        _ if a.is_unsigned_integer() && b.is_unsigned_integer() => Some(UInt64),
        (UInt64, _) | (_, UInt64) => None,
        _ if a.is_integer() && b.is_integer() => Some(Int64),
        _ if a.is_floating() && b.is_floating() => Some(Float64),
        (Date32, Date64) | (Date64, Date32) => Some(Date64),
        (Timestamp(unit, zone), Timestamp(other, other_zone)) if zone == other_zone => {
            let order = [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond];
            let finest = order.into_iter().rev().find(|u| u == unit || u == other)?;
            Some(Timestamp(finest, zone.clone()))
        }
        _ => None,
    }
}

/// Whether all data pages of a text column hold places in the dictionary, in every row group.
fn is_dictionary(metadata: &ArrowReaderMetadata, name: &str) -> bool {
    let pages = |chunk: &ColumnChunkMetaData| {
        chunk.dictionary_page_offset().is_some()
            && match chunk.page_encoding_stats_mask() {
                Some(mask) => mask.is_only(Encoding::RLE_DICTIONARY) || mask.is_only(Encoding::PLAIN_DICTIONARY),
                // Writers without these figures mostly kept to the dictionary; the reader makes one if they did not.
                None => true,
            }
    };
    metadata.metadata().row_groups().iter().filter(|group| group.num_rows() > 0).all(|group| {
        let mut chunks = group.columns().iter().filter(|chunk| chunk.column_path().parts() == [name]);
        chunks.all(pages)
    })
}

/// Some rows of one row group: what is decoded by one worker at a stretch.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Unit {
    file: usize,
    group: usize,
    /// Within the row group.
    from: u64,
    rows: u64,
    /// Of the row group, within the file.
    group_row: u64,
}

/// All units of the table in the order of its rows, each of at most so many; unit k is worker k % workers's.
fn units(footers: &[Footer], workers: usize, most: u64) -> Vec<Unit> {
    let groups = footers.iter().flat_map(|footer| &footer.rows).filter(|rows| **rows > 0);
    let (count, total) = groups.fold((0u64, 0u128), |(count, total), rows| (count + 1, total + u128::from(*rows)));
    let wanted = UNITS_PER_WORKER * workers as u64;
    let slice = if workers == 1 || count >= wanted {
        u64::MAX
    } else {
        u64::try_from(total / u128::from(wanted)).unwrap_or(u64::MAX).max(MIN_SLICE)
    };
    let slice = if workers == 1 { slice } else { slice.min(most) };
    let mut units = Vec::new();
    for (file, footer) in footers.iter().enumerate() {
        let mut group_row = 0;
        for (group, &rows) in footer.rows.iter().enumerate() {
            let mut from = 0;
            while from < rows {
                let rows = slice.min(rows - from);
                units.push(Unit { file, group, from, rows, group_row });
                from += rows;
            }
            group_row += rows;
        }
    }
    units
}

/// A worker's units, one after the other.
pub(super) struct ParquetScan {
    table: Arc<Inner>,
    /// Asked for, in this order.
    columns: Vec<usize>,
    schema: Arc<Schema>,
    units: std::vec::IntoIter<Unit>,
    open: Option<Open>,
    pub(super) bytes: u64,
}

struct Open {
    unit: Unit,
    /// Of all columns that `pages` does not read.
    reader: Option<ParquetRecordBatchReader>,
    decoded: u64,
    /// For each column asked for.
    columns: Vec<From>,
}

/// Where the values of a column come from.
enum From {
    /// The reader's column in this place; it gives them in the file's order.
    Reader(usize),
    Pages(Box<Pages>),
    /// Pages turned out not to be of the common kind.
    Alone(Box<ParquetRecordBatchReader>),
}

impl ParquetScan {
    pub(super) fn new(table: Arc<Inner>, columns: &[usize], worker: usize, workers: usize, most: u64) -> ParquetScan {
        let fields =
            columns.iter().map(|&i| Field::new(&table.columns[i].name, table.columns[i].data_type.clone(), true));
        let units: Vec<Unit> = units(&table.footers, workers, most).into_iter().skip(worker).step_by(workers).collect();
        ParquetScan {
            schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            columns: columns.to_vec(),
            units: units.into_iter(),
            open: None,
            bytes: 0,
            table,
        }
    }

    pub(super) fn file_rows(&self) -> Vec<u64> {
        self.table.footers.iter().map(|footer| footer.rows.iter().sum()).collect()
    }

    pub(super) fn next(&mut self, rows_read: &mut u64) -> Result<Option<Chunk>, SourceError> {
        loop {
            let mut open = match self.open.take() {
                Some(open) => open,
                None => match self.units.next() {
                    Some(unit) => self.start(unit)?,
                    None => return Ok(None),
                },
            };
            let unit = open.unit;
            let path = &self.table.files[unit.file].path;
            let batch = match &mut open.reader {
                Some(reader) => decode(path, "Parquet", || reader.next().transpose().map_err(|e| e.to_string()))?,
                None => None,
            };
            let left = unit.rows - open.decoded;
            let rows = match (&open.reader, &batch) {
                (Some(_), batch) => batch.as_ref().map_or(0, |batch| batch.num_rows() as u64),
                (None, _) => left.min(BATCH as u64),
            };
            let wrong = |found: u64| SourceError::RowCount {
                path: path.clone(),
                place: format!("row group {}, from its row {}", unit.group, unit.from),
                declared: i64::try_from(unit.rows).unwrap_or(i64::MAX),
                found,
            };
            if rows > left || (rows == 0 && left > 0) {
                return Err(wrong(open.decoded + rows));
            }
            if rows == 0 {
                continue;
            }
            let mut columns: Vec<ArrayRef> = Vec::with_capacity(open.columns.len());
            let mut dictionaries = vec![None; open.columns.len()];
            for (nth, from) in open.columns.iter_mut().enumerate() {
                let field = self.schema.field(nth);
                let array = loop {
                    match from {
                        From::Reader(place) => {
                            let column = batch.as_ref().expect("a column is the reader's where there is one");
                            break decode(path, "Parquet", || conform(column.column(*place), field))?;
                        }
                        From::Alone(reader) => {
                            let batch = decode(path, "Parquet", || {
                                reader.next().transpose().map_err(|error| error.to_string())
                            })?;
                            let Some(batch) = batch else { return Err(wrong(open.decoded)) };
                            break decode(path, "Parquet", || conform(batch.column(0), field))?;
                        }
                        From::Pages(pages) => match decode(path, "Parquet", || pages.read(rows as usize))? {
                            Part::Rows(keys, dictionary) => {
                                dictionaries[nth] = Some(dictionary);
                                break Arc::new(keys);
                            }
                            Part::Other => {
                                let place = self.table.footers[unit.file].places[self.columns[nth]];
                                *from = From::Alone(Box::new(self.reader(unit, &[place], open.decoded)?));
                            }
                        },
                    }
                };
                if array.len() as u64 != rows {
                    return Err(wrong(open.decoded + array.len() as u64));
                }
                columns.push(array);
            }
            let (file, first_row) = (unit.file, unit.group_row + unit.from + open.decoded);
            open.decoded += rows;
            *rows_read += rows;
            self.open = Some(open);
            return Ok(Some(Chunk {
                file,
                first_row,
                rows: self.batch(columns, rows),
                dictionaries,
                row_numbers: None,
            }));
        }
    }

    /// Columns as one batch; its types are the table's but for keys.
    fn batch(&self, columns: Vec<ArrayRef>, rows: u64) -> RecordBatch {
        let fields = self.schema.fields().iter().zip(&columns).map(|(field, column)| {
            if field.data_type() == column.data_type() {
                Arc::clone(field)
            } else {
                Arc::new(field.as_ref().clone().with_data_type(column.data_type().clone()))
            }
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let options = RecordBatchOptions::new().with_row_count(Some(rows as usize));
        RecordBatch::try_new_with_options(schema, columns, &options)
            .expect("columns of one length, named by their types")
    }

    fn start(&mut self, unit: Unit) -> Result<Open, SourceError> {
        let (path, footer) = (&self.table.files[unit.file].path, &self.table.footers[unit.file]);
        let handle = File::open(path).map_err(|source| SourceError::Read { path: path.clone(), source })?;
        let handle = Arc::new(handle);
        let places: Vec<usize> = self.columns.iter().map(|&column| footer.places[column]).collect();
        let metadata = footer.metadata.metadata();
        let group = metadata.row_group(unit.group);
        let descriptor = metadata.file_metadata().schema_descr();
        let mask = ProjectionMask::roots(descriptor, places.iter().copied());
        let chunks = group.columns().iter().enumerate();
        let compressed: u128 = chunks
            .filter(|(leaf, _)| mask.leaf_included(*leaf))
            .map(|(_, chunk)| u128::try_from(chunk.compressed_size()).unwrap_or(0))
            .sum();
        let share = compressed * u128::from(unit.rows) / u128::from(footer.rows[unit.group].max(1));
        self.bytes = self.bytes.saturating_add(u64::try_from(share).unwrap_or(u64::MAX));

        let mut by_pages = Vec::with_capacity(places.len());
        for (&place, field) in places.iter().zip(self.schema.fields()) {
            let leaf = (0..descriptor.num_columns()).find(|&leaf| descriptor.get_column_root_idx(leaf) == place);
            let Some(chunk) = leaf.map(|leaf| group.column(leaf)).filter(|c| c.column_path().parts().len() == 1) else {
                by_pages.push(None);
                continue;
            };
            let file_type = footer.metadata.schema().field(place).data_type();
            by_pages.push(decode(path, "Parquet", || {
                let rows = usize::try_from(footer.rows[unit.group]).map_err(|error| error.to_string())?;
                let pages = Pages::new(&handle, chunk, rows, file_type, field.data_type())?;
                let Some(mut pages) = pages else { return Ok(None) };
                let from = usize::try_from(unit.from).map_err(|error| error.to_string())?;
                Ok(pages.skip(from)?.then_some(pages))
            })?);
        }
        let others = by_pages.iter().zip(&places).filter(|(pages, _)| pages.is_none());
        let mut others: Vec<usize> = others.map(|(_, &place)| place).collect();
        others.sort_unstable();
        others.dedup();
        let columns = by_pages.into_iter().zip(&places).map(|(pages, place)| match pages {
            Some(pages) => From::Pages(Box::new(pages)),
            None => From::Reader(others.partition_point(|other| other < place)),
        });
        let columns: Vec<From> = columns.collect();
        let needs_reader = !others.is_empty() || places.is_empty();
        let reader = if needs_reader { Some(self.reader(unit, &others, 0)?) } else { None };
        Ok(Open { unit, reader, decoded: 0, columns })
    }

    /// The library's reader of some of the file's columns, from a row of the unit on.
    fn reader(&self, unit: Unit, places: &[usize], skip: u64) -> Result<ParquetRecordBatchReader, SourceError> {
        let (path, footer) = (&self.table.files[unit.file].path, &self.table.footers[unit.file]);
        let handle = File::open(path).map_err(|source| SourceError::Read { path: path.clone(), source })?;
        let descriptor = footer.metadata.metadata().file_metadata().schema_descr();
        let mask = ProjectionMask::roots(descriptor, places.iter().copied());
        decode(path, "Parquet", || {
            let number = |rows: u64| usize::try_from(rows).map_err(|error| error.to_string());
            ParquetRecordBatchReaderBuilder::new_with_metadata(handle, footer.metadata.clone())
                .with_projection(mask)
                .with_row_groups(vec![unit.group])
                .with_offset(number(unit.from + skip)?)
                .with_limit(number(unit.rows - skip)?)
                .with_batch_size(BATCH)
                .build()
                .map_err(|error| error.to_string())
        })
    }
}

/// A column in the table's type.
fn conform(column: &ArrayRef, field: &Field) -> Result<ArrayRef, String> {
    if column.data_type() == field.data_type() {
        return Ok(Arc::clone(column));
    }
    // A value that the wider type cannot hold, as a date long past in nanoseconds, must not become null.
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(column, field.data_type(), &options)
        .map_err(|error| format!("column {:?}: {error}", field.name()))
}
