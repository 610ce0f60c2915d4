//! Parquet files of columns that are made while they are written, on all cores.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowWriterOptions, compute_leaves};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
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
    let zstd = ZstdLevel::try_new(1).expect("level 1 is in zstd's range");
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(zstd))
        .set_created_by(concat!("nichemine version ", env!("CARGO_PKG_VERSION")).into());
    // The Arrow schema beside Parquet's own would add nothing: all types are plain.
    let options = ArrowWriterOptions::new().with_properties(tune(properties).build()).with_skip_arrow_metadata(true);
    // Any column may be null, whether or not it ever is.
    let field = |column: &Column<R>| Field::new(&column.name, column.values(&[]).data_type().clone(), true);
    let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
    let (mut file, groups) =
        ArrowWriter::try_new_with_options(output, schema.clone(), options)?.into_serialized_writer()?;
    for (number, rows) in rows.chunks(ROW_GROUP).enumerate() {
        let writers = groups.create_column_writers(number)?;
        assert_eq!(writers.len(), columns.len(), "a column is one list of values, nested or not");
        let chunks: Result<Vec<_>, ParquetError> = (writers, columns, schema.fields().as_ref() as &[Arc<Field>])
            .into_par_iter()
            .map(|(mut writer, column, field)| {
                for rows in rows.chunks(BATCH) {
                    let values = column.values(rows);
                    compute_leaves(field, &values)?.iter().try_for_each(|leaf| writer.write(leaf))?;
                }
                writer.close()
            })
            .collect();
        let mut group = file.next_row_group()?;
        chunks?.into_iter().try_for_each(|chunk| chunk.append_to_row_group(&mut group))?;
        group.close()?;
    }
    file.close()?;
    Ok(())
}
