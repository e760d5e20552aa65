//! Typed columns for sorted tables: what a value is split into, how columns are stored, and how they are asked.
//!
//! A [`Schema`] names typed columns with permanent ids. A [`ColumnSplitter`] turns values into cells and back. The cells
//! of some rows become a row group ([`GroupEncoder`]) of encoded [`Page`]s with a [`Zone`] each. A [`Predicate`] is
//! bound to the schema, asked of zones first, then of pages as they are encoded, and answers with a [`Bitmap`] of rows;
//! only those are decoded to a typed [`ColumnVector`]. A [`DeleteSet`] says which rows of a table are dead to everyone, and
//! a [`DeleteMap`] says it to reads.
//! Bytes and meaning are in `docs/format/columnar.md`. Nothing here knows a file, a lock or a thread.
//!
//! ```
//! use lsm_columnar::{
//!     Bitmap, Column, ColumnId, ColumnType, ColumnVector, Comparison, Datum, EncodingSet, Page, PageEncoder,
//!     PageStamp, Predicate, Schema,
//! };
//!
//! # fn main() -> Result<(), lsm_columnar::ColumnarError> {
//! let id = ColumnId::FIRST;
//! let schema = Schema::new(vec![Column::new(id, "price", ColumnType::I32).nullable()])?;
//! let mut prices = ColumnVector::new(ColumnType::I32);
//! for price in [10, 40, 20] {
//!     prices.push(Datum::I64(price))?;
//! }
//! prices.push(Datum::Null)?;
//!
//! let stamp = PageStamp { group: 0, column: id, part: 0 };
//! let mut payload = Vec::new();
//! let info = PageEncoder::new(EncodingSet::ALL).encode(stamp, &prices, 0..4, &mut payload)?;
//! assert_eq!(info.zone.null_count(), 1);
//!
//! let page = Page::open(stamp, ColumnType::I32, 4, &payload)?;
//! let cheap = Predicate::Compare(id, Comparison::Lt, Datum::I64(30)).bind(&schema)?;
//! let rows: Bitmap = cheap.select(4, |_| Ok::<_, lsm_columnar::ColumnarError>(Some((&page, &payload))))?;
//! assert_eq!(rows.rows().collect::<Vec<_>>(), [0, 2]);
//!
//! let mut found = ColumnVector::new(ColumnType::I32);
//! page.decode_selected(&payload, &rows, &mut found)?;
//! assert_eq!((found.get(0), found.get(1)), (Datum::I64(10), Datum::I64(20)));
//! # Ok(())
//! # }
//! ```
#![no_std]

extern crate alloc;
#[cfg(feature = "arrow")]
extern crate std;

#[cfg(feature = "arrow")]
mod arrow;
mod bitmap;
mod cursor;
mod delete_map;
mod delete_set;
mod encode;
mod error;
#[cfg(feature = "arrow")]
mod from_arrow;
mod group;
mod native;
mod packed;
mod page;
mod predicate;
mod schema;
mod splitter;
mod strings;
mod types;
mod vector;
mod zone;

#[cfg(feature = "arrow")]
pub use arrow::{COLUMN_ID_KEY, array, arrow_schema, arrow_type, record_batch};
pub use bitmap::Bitmap;
pub use delete_map::DeleteMap;
pub use delete_set::DeleteSet;
pub use encode::{EncodingSet, PageEncoder, PageInfo};
pub use error::{ColumnarError, Result, SchemaFault};
#[cfg(feature = "arrow")]
pub use from_arrow::{vector, vectors};
pub use group::{
    EncodedGroup, GROUP_INLINE_MAX, GroupDirectory, GroupEncoder, GroupHead, PageEntry, PagePlace,
};
pub use page::{Encoding, KeyPage, PAGE_BYTES_MAX, PAGE_HEAD_LEN, PAGE_ROWS_MAX, Page, PageStamp};
pub use predicate::{BoundPredicate, Comparison, LIST_LEN_MAX, Predicate, ZoneAnswer};
pub use schema::{COLUMNS_MAX, Column, ColumnId, Schema};
#[cfg(feature = "json")]
pub use splitter::JsonLines;
pub use splitter::{
    ColumnSplitter, DelimitedText, FixedStruct, RowBatch, RowCells, RowPages, RowValues, assemble_image,
    split_image,
};
pub use types::{ColumnType, Datum, FIXED_LEN_MAX};
pub use vector::{ByteStrings, ColumnVector, Values};
pub use zone::{ZONE_BOUND_LEN_MAX, Zone, ZoneBound};
