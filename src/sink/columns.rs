//! Parquet files of columns that are made while they are written, on all cores.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowRowGroupWriterFactory, ArrowWriterOptions, compute_leaves};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use parquet::file::writer::SerializedFileWriter;
use rayon::prelude::*;

use super::staging::{Output, WriteError};

/// Rows converted at a time: enough for the writer to work on, little beside the rows themselves.
const BATCH: usize = 1 << 16;
/// Rows of a row group.
const ROW_GROUP: usize = 1 << 20;

/// A column of a table whose rows are made of `R`s.
pub(super) struct Column<'a, R> {
    name: String,
    values: Box<Values<'a, R>>,
}

type Values<'a, R> = dyn Fn(&[R]) -> ArrayRef + Sync + 'a;

impl<'a, R> Column<'a, R> {
    pub fn new<A: Array + 'static>(name: &str, values: impl Fn(&[R]) -> A + Sync + 'a) -> Column<'a, R> {
        Column { name: name.to_owned(), values: Box::new(move |rows| Arc::new(values(rows))) }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn values(&self, rows: &[R]) -> ArrayRef {
        (self.values)(rows)
    }
}

/// Writes rows, with nothing in the bytes that depends on the clock, the machine or the number of threads. `tune` sets what is
/// particular to some column.
pub(super) fn write_parquet<R: Sync>(
    output: &mut Output,
    rows: &[R],
    columns: &[Column<R>],
    tune: impl FnOnce(WriterPropertiesBuilder) -> WriterPropertiesBuilder,
) -> Result<(), WriteError> {
    // Any column may be null, whether or not it ever is.
    let field = |column: &Column<R>| Field::new(&column.name, column.values(&[]).data_type().clone(), true);
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    let mut file = Groups::open(output, schema, tune)?;
    for rows in rows.chunks(ROW_GROUP) {
        file.write(|column, put| rows.chunks(BATCH).try_for_each(|rows| put(&columns[column].values(rows))))?;
    }
    file.close()
}

/// A file of columns, written row group by row group.
pub(super) struct Groups<W: Write + Send> {
    file: SerializedFileWriter<W>,
    groups: ArrowRowGroupWriterFactory,
    schema: Arc<Schema>,
    written: usize,
}

/// Takes the next values of a column.
pub(super) type Put<'a> = &'a mut dyn FnMut(&ArrayRef) -> Result<(), ParquetError>;

impl<W: Write + Send> Groups<W> {
    pub fn open(
        output: W,
        schema: Schema,
        tune: impl FnOnce(WriterPropertiesBuilder) -> WriterPropertiesBuilder,
    ) -> Result<Groups<W>, WriteError> {
        let zstd = ZstdLevel::try_new(1).expect("level 1 is in zstd's range");
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(zstd))
            .set_created_by(concat!("nichemine version ", env!("CARGO_PKG_VERSION")).into());
        // The Arrow schema beside Parquet's own would add nothing: all types are plain.
        let options =
            ArrowWriterOptions::new().with_properties(tune(properties).build()).with_skip_arrow_metadata(true);
        let schema = Arc::new(schema);
        let writer = ArrowWriter::try_new_with_options(output, schema.clone(), options)?;
        let (file, groups) = writer.into_serialized_writer()?;
        Ok(Groups { file, groups, schema, written: 0 })
    }

    /// Writes a row group; `fill` gives the values of the column in a place, and columns are made side by side.
    pub fn write(&mut self, fill: impl Fn(usize, Put) -> Result<(), ParquetError> + Sync) -> Result<(), WriteError> {
        let writers = self.groups.create_column_writers(self.written)?;
        let fields = self.schema.fields().as_ref() as &[Arc<Field>];
        assert_eq!(writers.len(), fields.len(), "a column is one list of values, nested or not");
        let chunks: Result<Vec<_>, ParquetError> = (writers, fields)
            .into_par_iter()
            .enumerate()
            .map(|(column, (mut writer, field))| {
                fill(column, &mut |values: &ArrayRef| {
                    compute_leaves(field, values)?.iter().try_for_each(|leaf| writer.write(leaf))
                })?;
                writer.close()
            })
            .collect();
        let mut group = self.file.next_row_group()?;
        chunks?.into_iter().try_for_each(|chunk| chunk.append_to_row_group(&mut group))?;
        group.close()?;
        self.written += 1;
        Ok(())
    }

    pub fn close(self) -> Result<(), WriteError> {
        self.file.close()?;
        Ok(())
    }
}
