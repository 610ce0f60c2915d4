//! Planted rows to a Parquet or CSV file that appears when it is whole.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::customers::{self, Feature, NULL};
use super::{GROUP, PlantError, Rows};
use crate::job::Language;

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Parquet,
    Csv,
    CsvGz,
}

impl Format {
    pub fn of(path: &Path) -> Result<Format, PlantError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        [(".parquet", Format::Parquet), (".csv", Format::Csv), (".csv.gz", Format::CsvGz)]
            .into_iter()
            .find(|(suffix, _)| name.len() > suffix.len() && name.ends_with(suffix))
            .map(|(_, format)| format)
            .ok_or_else(|| PlantError::Suffix { path: path.to_owned() })
    }
}

/// Writes a file under a hidden name beside its own, which it gets when it is complete. Folders on the way are made.
pub fn replace(path: &Path, write: impl FnOnce(BufWriter<File>) -> Result<(), PlantError>) -> Result<(), PlantError> {
    let failed = |source| PlantError::Write { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let partial = path.with_file_name(format!(".{name}.{}.partial", std::process::id()));
    let result = File::create(&partial)
        .map_err(failed)
        .and_then(|file| write(BufWriter::new(file)))
        .and_then(|()| std::fs::rename(&partial, path).map_err(failed));
    if result.is_err() {
        // What is left of a table that could not be written is of no use; that it stays is no further error.
        let _ = std::fs::remove_file(&partial);
    }
    result
}

/// A table being written.
pub struct TableWriter {
    path: PathBuf,
    features: Vec<Feature>,
    schema: SchemaRef,
    /// The items of each text feature, shared by all row groups.
    items: Vec<ArrayRef>,
    out: Sink,
}

enum Sink {
    Parquet(Box<ArrowWriter<BufWriter<File>>>),
    Csv(BufWriter<File>),
    CsvGz(Box<GzEncoder<BufWriter<File>>>),
}

impl TableWriter {
    pub fn new(
        out: BufWriter<File>,
        format: Format,
        path: &Path,
        features: &[Feature],
        language: Language,
    ) -> Result<TableWriter, PlantError> {
        let text = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let mut fields = vec![Field::new(customers::name(customers::ID, language), DataType::Int64, false)];
        fields.extend(features.iter().map(|feature| match feature.is_age {
            true => Field::new(&feature.name, DataType::Int64, false),
            false => Field::new(&feature.name, text.clone(), true),
        }));
        fields.extend(
            [
                (customers::CONVERTED, DataType::Int64),
                (customers::SPEND, DataType::Float64),
                (customers::VISITS, DataType::Int64),
            ]
            .map(|(column, kind)| Field::new(customers::name(column, language), kind, false)),
        );
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let items = features.iter().map(|f| Arc::new(StringArray::from_iter_values(&f.items)) as ArrayRef).collect();
        let out = match format {
            Format::Parquet => Sink::Parquet(Box::new(parquet(out, schema.clone()).map_err(|e| refused(path, e))?)),
            Format::Csv => Sink::Csv(out),
            Format::CsvGz => Sink::CsvGz(Box::new(GzEncoder::new(out, flate2::Compression::fast()))),
        };
        let mut writer = TableWriter { path: path.to_owned(), features: features.to_vec(), schema, items, out };
        let names = writer.schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(",");
        writer.line(format!("{names}\n").as_bytes())?;
        Ok(writer)
    }

    /// Text for the CSV formats; Parquet has none.
    fn line(&mut self, text: &[u8]) -> Result<(), PlantError> {
        match &mut self.out {
            Sink::Parquet(_) => Ok(()),
            Sink::Csv(out) => out.write_all(text),
            Sink::CsvGz(out) => out.write_all(text),
        }
        .map_err(|source| PlantError::Write { path: self.path.clone(), source })
    }

    /// Appends rows; in Parquet as a row group.
    pub fn write(&mut self, rows: &Rows) -> Result<(), PlantError> {
        if let Sink::Parquet(writer) = &mut self.out {
            let batch = batch(&self.schema, &self.features, &self.items, rows);
            return writer.write(&batch).and_then(|()| writer.flush()).map_err(|e| refused(&self.path, e));
        }
        let text = csv(&self.features, rows);
        self.line(text.as_bytes())
    }

    pub fn finish(self) -> Result<(), PlantError> {
        let failed = |source| PlantError::Write { path: self.path.clone(), source };
        let mut file = match self.out {
            Sink::Parquet(writer) => writer.into_inner().map_err(|e| refused(&self.path, e))?,
            Sink::Csv(out) => out,
            Sink::CsvGz(out) => out.finish().map_err(failed)?,
        };
        file.flush().map_err(failed)
    }
}

fn refused(path: &Path, source: parquet::errors::ParquetError) -> PlantError {
    PlantError::Parquet { path: path.to_owned(), source }
}

fn parquet(
    out: BufWriter<File>,
    schema: SchemaRef,
) -> Result<ArrowWriter<BufWriter<File>>, parquet::errors::ParquetError> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_dictionary_enabled(true)
        .set_max_row_group_row_count(Some(GROUP as usize))
        .set_created_by(concat!("nichemine version ", env!("CARGO_PKG_VERSION")).into())
        .build();
    // Without the Arrow schema a reader finds plain text, not Arrow's dictionaries.
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    ArrowWriter::try_new_with_options(out, schema, options)
}

fn batch(schema: &SchemaRef, features: &[Feature], items: &[ArrayRef], rows: &Rows) -> RecordBatch {
    let ints = |values: &Vec<i64>| Arc::new(Int64Array::from(values.clone())) as ArrayRef;
    let mut columns = vec![ints(&rows.customers.ids)];
    columns.extend(features.iter().zip(items).zip(&rows.customers.codes).map(|((feature, items), codes)| {
        if feature.is_age {
            return ints(&rows.customers.ages);
        }
        let keys: Int32Array = codes.iter().map(|&code| (code != NULL).then_some(i32::from(code))).collect();
        let array = DictionaryArray::<Int32Type>::try_new(keys, items.clone());
        Arc::new(array.expect("every code is that of an item")) as ArrayRef
    }));
    columns.push(ints(&rows.converted));
    columns.push(Arc::new(Float64Array::from_iter_values(rows.spend.iter().map(|&spend| spend as f64 / 100.0))));
    columns.push(ints(&rows.visits));
    RecordBatch::try_new(schema.clone(), columns).expect("the columns are those of the schema")
}

/// None of the values needs quotes.
fn csv(features: &[Feature], rows: &Rows) -> String {
    use std::fmt::Write as _;

    let mut text = String::with_capacity(rows.converted.len() * (features.len() * 10 + 30));
    let customers = &rows.customers;
    for row in 0..rows.converted.len() {
        let mut put = |args: std::fmt::Arguments| text.write_fmt(args).expect("memory does not refuse text");
        put(format_args!("{},", customers.ids[row]));
        for (feature, codes) in features.iter().zip(&customers.codes) {
            match codes[row] {
                _ if feature.is_age => put(format_args!("{},", customers.ages[row])),
                NULL => put(format_args!(",")),
                code => put(format_args!("{},", feature.items[usize::from(code)])),
            }
        }
        let cents = rows.spend[row];
        let sign = if cents < 0 { "-" } else { "" };
        let (whole, part) = (cents.unsigned_abs() / 100, cents.unsigned_abs() % 100);
        put(format_args!("{},{sign}{whole}.{part:02},{}\n", rows.converted[row], rows.visits[row]));
    }
    text
}
