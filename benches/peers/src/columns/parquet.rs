//! A Parquet file, by the crates `parquet` and `arrow`.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_array::{
    Array as _, ArrayRef, BooleanArray, RecordBatch,
    cast::AsArray as _,
    types::{Float64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type},
};
use parquet::{
    arrow::{
        ArrowWriter, ProjectionMask,
        arrow_reader::{ArrowPredicateFn, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowFilter},
    },
    basic::{Compression, ZstdLevel},
    file::{metadata::PageIndexPolicy, properties::WriterProperties},
};

use super::{
    data::{COLUMNS, FIELDS, PRICE, is_float, row},
    query::{Answer, Query, Table},
};
use crate::{
    engine::{Codec, Outcome},
    plan::Plan,
};

/// Rows of a batch, written and read.
const BATCH_ROWS: u32 = 8192;

/// The file.
pub(super) struct Parquet {
    path: PathBuf,
}

fn column(place: usize, bits: &[u64]) -> Outcome<ArrayRef> {
    Ok(match FIELDS.get(place).map(|(_, width)| *width) {
        Some(1) => Arc::new(bits.iter().map(|bits| *bits as u8).collect::<arrow_array::UInt8Array>()),
        Some(2) => Arc::new(bits.iter().map(|bits| *bits as u16).collect::<arrow_array::UInt16Array>()),
        Some(4) => Arc::new(bits.iter().map(|bits| *bits as u32).collect::<arrow_array::UInt32Array>()),
        Some(8) if is_float(place) => {
            Arc::new(bits.iter().map(|bits| f64::from_bits(*bits)).collect::<arrow_array::Float64Array>())
        }
        Some(8) => Arc::new(bits.iter().copied().collect::<arrow_array::UInt64Array>()),
        _ => return Err("no such column".into()),
    })
}

fn add(answer: &mut Answer, array: &ArrayRef) -> Outcome<()> {
    if let Some(array) = array.as_primitive_opt::<UInt64Type>() {
        answer.add(array.values().iter().copied());
    } else if let Some(array) = array.as_primitive_opt::<UInt32Type>() {
        answer.add(array.values().iter().map(|value| u64::from(*value)));
    } else if let Some(array) = array.as_primitive_opt::<UInt16Type>() {
        answer.add(array.values().iter().map(|value| u64::from(*value)));
    } else if let Some(array) = array.as_primitive_opt::<UInt8Type>() {
        answer.add(array.values().iter().map(|value| u64::from(*value)));
    } else if let Some(array) = array.as_primitive_opt::<Float64Type>() {
        answer.add(array.values().iter().map(|value| value.to_bits()));
    } else {
        return Err(format!("a column of {}", array.data_type()).into());
    }
    Ok(())
}

impl Table for Parquet {
    fn settings(_: &Plan) -> Outcome<String> {
        Ok(format!(
            "one file, default WriterProperties, page index, row filter, batches of {BATCH_ROWS} rows; no deletes"
        ))
    }

    fn fill(plan: &Plan, dir: &Path) -> Outcome<()> {
        let codec = match plan.codec {
            Codec::None => Compression::UNCOMPRESSED,
            Codec::Lz4 => Compression::LZ4_RAW,
            Codec::Zstd1 => Compression::ZSTD(ZstdLevel::try_new(1)?),
        };
        let properties = WriterProperties::builder().set_compression(codec).build();
        let mut writer: Option<ArrowWriter<File>> = None;
        let all = plan.key_count();
        let mut first = 0;
        while first < all {
            let end = all.min(first + BATCH_ROWS);
            let rows: Vec<[u64; COLUMNS]> =
                (first..end).map(|number| row(number.into(), plan.seed)).collect();
            let arrays = (0..COLUMNS).map(|place| {
                let bits: Vec<u64> = rows.iter().filter_map(|row| row.get(place).copied()).collect();
                Ok((FIELDS.get(place).map_or("", |(name, _)| *name), column(place, &bits)?))
            });
            let batch = RecordBatch::try_from_iter(arrays.collect::<Outcome<Vec<_>>>()?)?;
            let writer = match &mut writer {
                Some(writer) => writer,
                None => writer.insert(ArrowWriter::try_new(
                    File::create_new(dir.join("rows.parquet"))?,
                    batch.schema(),
                    Some(properties.clone()),
                )?),
            };
            writer.write(&batch)?;
            first = end;
        }
        if let Some(writer) = writer {
            writer.into_inner()?.sync_all()?;
        }
        Ok(())
    }

    fn open(_plan: &Plan, dir: &Path) -> Outcome<Self> {
        Ok(Self { path: dir.join("rows.parquet") })
    }

    fn ask(&self, query: &Query) -> Outcome<Answer> {
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let builder =
            ParquetRecordBatchReaderBuilder::try_new_with_options(File::open(&self.path)?, options)?;
        let leaves =
            |places: &[usize]| ProjectionMask::leaves(builder.parquet_schema(), places.iter().copied());
        let (wanted, asked) = (leaves(query.columns), leaves(&[PRICE]));
        let mut builder = builder.with_projection(wanted).with_batch_size(BATCH_ROWS as usize);
        if let Some(below) = query.below {
            let is_below = move |batch: RecordBatch| {
                let prices = batch.column(0).as_primitive::<UInt32Type>();
                Ok(BooleanArray::from_unary(prices, |price| u64::from(price) < below))
            };
            builder = builder
                .with_row_filter(RowFilter::new(vec![Box::new(ArrowPredicateFn::new(asked, is_below))]));
        }
        let mut answer = Answer::default();
        for batch in builder.build()? {
            let batch = batch?;
            answer.count(batch.num_rows());
            batch.columns().iter().try_for_each(|array| add(&mut answer, array))?;
        }
        Ok(answer)
    }
}
