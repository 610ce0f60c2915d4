//! Column chunks whose pages hold places in a small dictionary, to these places as bytes.
//!
//! The library's reader gives such columns keys of four bytes, which costs several times what unpacking them costs. Only
//! what is common is read here: flat columns of text or integers, dictionaries of up to 256 values, the encodings
//! `RLE_DICTIONARY` and `RLE`. Pages and their decompression, checksums included, stay the library's; whatever else a
//! page holds is left to its reader.

use std::fs::File;
use std::sync::Arc;

use ::parquet::basic::{Encoding, Type};
use ::parquet::column::page::{Page, PageReader};
use ::parquet::file::metadata::ColumnChunkMetaData;
use ::parquet::file::serialized_reader::SerializedPageReader;
use arrow::array::{ArrayRef, BooleanBufferBuilder, Int32Array, Int64Array, StringArray, UInt8Array};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;

use super::hybrid::{Hybrid, Run};

/// Values of a dictionary whose places fit a byte.
const MOST_VALUES: usize = 1 << 8;

/// One column of one row group.
pub(super) struct Pages {
    pages: SerializedPageReader<File>,
    physical: Type,
    /// Of the table's column, so of the dictionary's values.
    value_type: DataType,
    /// Whether values can be missing.
    optional: bool,
    dictionary: Option<ArrayRef>,
    page: Option<Open>,
}

/// A data page.
struct Open {
    /// Rows that are left.
    rows: usize,
    /// 1 for rows that have a value; none where all do.
    levels: Option<Hybrid>,
    places: Hybrid,
}

/// Some rows of a column.
pub(super) enum Part {
    /// Places in the dictionary.
    Rows(UInt8Array, ArrayRef),
    /// The pages are fine but not of the common kind; nothing that was read counts.
    Other,
}

/// Why reading did not go on.
enum Stop {
    Damaged(String),
    Other,
}

impl<E: std::fmt::Display> From<E> for Stop {
    fn from(error: E) -> Stop {
        Stop::Damaged(error.to_string())
    }
}

impl Pages {
    /// None for a chunk that by its footer is not of the common kind. `file_type` is what the column is read as from
    /// this file, `table_type` what it is in the table.
    pub(super) fn new(
        file: &Arc<File>,
        chunk: &ColumnChunkMetaData,
        rows: usize,
        file_type: &DataType,
        table_type: &DataType,
    ) -> Result<Option<Pages>, String> {
        let descriptor = chunk.column_descr();
        let flat = descriptor.max_rep_level() == 0 && descriptor.max_def_level() <= 1;
        let only = |mask: &::parquet::basic::EncodingMask| {
            mask.is_only(Encoding::RLE_DICTIONARY) || mask.is_only(Encoding::PLAIN_DICTIONARY)
        };
        let keyed = chunk.dictionary_page_offset().is_some() && chunk.page_encoding_stats_mask().is_some_and(only);
        let value_type = match (chunk.column_type(), file_type, table_type) {
            (Type::BYTE_ARRAY, _, DataType::Dictionary(_, values)) if **values == DataType::Utf8 => DataType::Utf8,
            (Type::INT32, DataType::Int32, DataType::Int32 | DataType::Int64)
            | (Type::INT64, DataType::Int64, DataType::Int64) => table_type.clone(),
            _ => return Ok(None),
        };
        if !(flat && keyed) {
            return Ok(None);
        }
        let pages = SerializedPageReader::new(Arc::clone(file), chunk, rows, None).map_err(|e| e.to_string())?;
        let physical = chunk.column_type();
        let optional = descriptor.max_def_level() == 1;
        Ok(Some(Pages { pages, physical, value_type, optional, dictionary: None, page: None }))
    }

    /// Passes over rows; whole pages without decompressing them. False where the pages are not of the common kind.
    pub(super) fn skip(&mut self, rows: usize) -> Result<bool, String> {
        match self.try_skip(rows) {
            Ok(()) => Ok(true),
            Err(Stop::Other) => Ok(false),
            Err(Stop::Damaged(message)) => Err(message),
        }
    }

    fn try_skip(&mut self, mut rows: usize) -> Result<(), Stop> {
        while rows > 0 {
            if self.page.as_ref().is_none_or(|page| page.rows == 0)
                && let Some(next) = self.pages.peek_next_page()?
                && !next.is_dict
                && let Some(page) = next.num_rows.or(next.num_levels)
                && page <= rows
            {
                self.pages.skip_next_page()?;
                rows -= page;
                continue;
            }
            let Some(page) = self.open()? else { return Ok(()) };
            let part = page.rows.min(rows);
            let values = match &mut page.levels {
                Some(levels) => present(levels, part, &mut None)?,
                None => part,
            };
            page.places.skip(values)?;
            page.rows -= part;
            rows -= part;
        }
        Ok(())
    }

    /// The next rows: fewer only where the chunk ends.
    pub(super) fn read(&mut self, rows: usize) -> Result<Part, String> {
        match self.try_read(rows) {
            Ok((keys, dictionary)) => Ok(Part::Rows(keys, dictionary)),
            Err(Stop::Other) => Ok(Part::Other),
            Err(Stop::Damaged(message)) => Err(message),
        }
    }

    fn try_read(&mut self, rows: usize) -> Result<(UInt8Array, ArrayRef), Stop> {
        let mut keys: Vec<u8> = Vec::with_capacity(rows);
        let mut valid: Option<BooleanBufferBuilder> = None;
        let mut read = 0;
        while read < rows {
            let Some(page) = self.open()? else { break };
            let part = page.rows.min(rows - read);
            let values = match &mut page.levels {
                Some(levels) => present(levels, part, &mut Some((&mut valid, read)))?,
                None => {
                    valid.iter_mut().for_each(|valid| valid.append_n(part, true));
                    part
                }
            };
            page.places.read(values, &mut keys)?;
            if values < part {
                let valid = valid.as_ref().ok_or("rows without a value are marked")?;
                apart(&mut keys, read, part, |row| valid.get_bit(row));
            }
            page.rows -= part;
            read += part;
        }
        let nulls = valid.map(|mut valid| NullBuffer::new(valid.finish()));
        let dictionary = match &self.dictionary {
            Some(dictionary) => ArrayRef::clone(dictionary),
            None => self.values(0, &[])?,
        };
        // Rows without a value have key 0.
        let most = keys.iter().fold(0, |most: u8, &key| most.max(key));
        if usize::from(most) >= dictionary.len() && nulls.as_ref().is_none_or(|nulls| nulls.null_count() < keys.len()) {
            let message = format!("place {most} in a dictionary of {} values", dictionary.len());
            return Err(Stop::Damaged(message));
        }
        Ok((UInt8Array::try_new(keys.into(), nulls)?, dictionary))
    }

    /// The page that the next row is in; none at the end of the chunk.
    fn open(&mut self) -> Result<Option<&mut Open>, Stop> {
        while self.page.as_ref().is_none_or(|page| page.rows == 0) {
            self.page = None;
            let Some(page) = self.pages.get_next_page()? else { return Ok(None) };
            let (rows, encoding) = (page.num_values() as usize, page.encoding());
            let (levels, values) = match page {
                Page::DictionaryPage { buf, num_values, encoding, .. } => {
                    let plain = matches!(encoding, Encoding::PLAIN | Encoding::PLAIN_DICTIONARY);
                    if num_values as usize > MOST_VALUES || !plain || self.dictionary.is_some() {
                        return Err(Stop::Other);
                    }
                    self.dictionary = Some(self.values(num_values as usize, &buf)?);
                    continue;
                }
                Page::DataPage { buf, def_level_encoding, .. } => {
                    let buf = Buffer::from(buf);
                    match (self.optional, def_level_encoding) {
                        (false, _) => (None, buf),
                        (true, Encoding::RLE) => {
                            let length = buf.get(..4).ok_or("a page without its levels")?;
                            let length = u32::from_le_bytes(length.try_into()?) as usize;
                            let end = length.checked_add(4).filter(|end| *end <= buf.len());
                            let end = end.ok_or("a page without its levels")?;
                            (Some(buf.slice_with_length(4, length)), buf.slice(end))
                        }
                        _ => return Err(Stop::Other),
                    }
                }
                Page::DataPageV2 { buf, def_levels_byte_len, rep_levels_byte_len, .. } => {
                    let buf = Buffer::from(buf);
                    let (first, length) = (rep_levels_byte_len as usize, def_levels_byte_len as usize);
                    let end = first.checked_add(length).filter(|end| *end <= buf.len());
                    let end = end.ok_or("a page without its levels")?;
                    (self.optional.then(|| buf.slice_with_length(first, length)), buf.slice(end))
                }
            };
            if !matches!(encoding, Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY) {
                return Err(Stop::Other);
            }
            // A page of nothing but missing values may be without even the width.
            let width = values.first().map_or(0, |width| u32::from(*width));
            if width > 8 || self.dictionary.is_none() {
                return Err(Stop::Other);
            }
            let places = Hybrid::new(values.slice(values.len().min(1)), width);
            self.page = Some(Open { rows, levels: levels.map(|levels| Hybrid::new(levels, 1)), places });
        }
        Ok(self.page.as_mut())
    }

    /// The values of a dictionary page.
    fn values(&self, len: usize, page: &[u8]) -> Result<ArrayRef, String> {
        let short = || format!("a dictionary of {len} values in {} bytes", page.len());
        let numbers = |bytes: usize| page.get(..len * bytes).ok_or_else(short).map(|page| page.chunks_exact(bytes));
        let exact = "chunks are that long";
        let values: ArrayRef = match self.physical {
            Type::INT32 => {
                let value = |bytes: &[u8]| i32::from_le_bytes(bytes.try_into().expect(exact));
                Arc::new(Int32Array::from_iter_values(numbers(4)?.map(value)))
            }
            Type::INT64 => {
                let value = |bytes: &[u8]| i64::from_le_bytes(bytes.try_into().expect(exact));
                Arc::new(Int64Array::from_iter_values(numbers(8)?.map(value)))
            }
            _ => {
                let (mut lengths, mut text, mut rest) = (Vec::with_capacity(len), Vec::new(), page);
                for _ in 0..len {
                    let (length, after) = rest.split_first_chunk::<4>().ok_or_else(short)?;
                    let length = u32::from_le_bytes(*length) as usize;
                    let (value, after) = after.split_at_checked(length).ok_or_else(short)?;
                    std::str::from_utf8(value).map_err(|error| error.to_string())?;
                    lengths.push(length);
                    text.extend_from_slice(value);
                    rest = after;
                }
                if i32::try_from(text.len()).is_err() {
                    return Err(short());
                }
                let offsets = OffsetBuffer::from_lengths(lengths);
                Arc::new(StringArray::try_new(offsets, text.into(), None).map_err(|error| error.to_string())?)
            }
        };
        let options = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(&values, &self.value_type, &options).map_err(|error| error.to_string())
    }
}

/// How many of the next `rows` have a value. Marks them, from row `first` of the batch, once one has none.
fn present(
    levels: &mut Hybrid,
    rows: usize,
    mark: &mut Option<(&mut Option<BooleanBufferBuilder>, usize)>,
) -> Result<usize, String> {
    let (mut left, mut values) = (rows, 0);
    while left > 0 {
        let run = levels.run()?;
        let (Run::Repeated { left: run_left, .. } | Run::Packed { left: run_left, .. }) = run;
        let part = run_left.min(left);
        let (here, bits) = match run {
            Run::Repeated { value, .. } => (if value > 0 { part } else { 0 }, None),
            Run::Packed { from, done, .. } => {
                let packed = levels.packed(from);
                let ones = arrow::util::bit_util::get_bit;
                let here = (done..done + part).filter(|&nth| ones(packed, nth)).count();
                (here, Some((packed, done)))
            }
        };
        if let Some((valid, first)) = mark {
            let before = *first + rows - left;
            if valid.is_none() && here < part {
                let mut all = BooleanBufferBuilder::new(before + left);
                all.append_n(before, true);
                **valid = Some(all);
            }
            if let Some(valid) = valid {
                match bits {
                    Some((packed, done)) => valid.append_packed_range(done..done + part, packed),
                    None => valid.append_n(part, here > 0),
                }
            }
        }
        levels.advance(part);
        values += here;
        left -= part;
    }
    Ok(values)
}

/// Moves the keys behind `first` apart, so that each stands at its row and 0 where none is.
fn apart(keys: &mut Vec<u8>, first: usize, rows: usize, is_valid: impl Fn(usize) -> bool) {
    let mut from = keys.len();
    keys.resize(first + rows, 0);
    for row in (first..first + rows).rev() {
        keys[row] = if is_valid(row) {
            from -= 1;
            keys[from]
        } else {
            0
        };
    }
}
