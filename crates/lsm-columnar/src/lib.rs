//! Typed columns.
#![no_std]

extern crate alloc;

mod bitmap;
mod cursor;
mod encode;
mod error;
mod native;
mod packed;
mod page;
mod predicate;
mod schema;
mod strings;
mod types;
mod vector;
mod zone;

pub use bitmap::Bitmap;
pub use encode::{EncodingSet, PageEncoder, PageInfo};
pub use error::{ColumnarError, Result, SchemaFault};
pub use page::{Encoding, KeyPage, PAGE_BYTES_MAX, PAGE_HEAD_LEN, PAGE_ROWS_MAX, Page, PageStamp};
pub use predicate::{BoundPredicate, Comparison, LIST_LEN_MAX, Predicate, ZoneAnswer};
pub use schema::{COLUMNS_MAX, Column, ColumnId, Schema};
pub use types::{ColumnType, Datum, FIXED_LEN_MAX};
pub use vector::{ByteStrings, ColumnVector, Values};
pub use zone::{ZONE_BOUND_LEN_MAX, Zone, ZoneBound};
