//! What the tests of the engine share.
#![allow(dead_code, unused_imports, reason = "each test file uses its part")]

use lsm_engine::TablePolicy;
pub(crate) use lsm_testkit::comparators::{LengthFirst, Reverse};
use lsm_types::SeqNo;

/// A sequence number.
pub(crate) fn at(raw: u64) -> SeqNo {
    SeqNo::new(raw).unwrap()
}

/// Tables with tiny blocks and a partitioned index, so that little data exercises much.
pub(crate) fn small_tables() -> TablePolicy {
    let mut tables = TablePolicy::default().data_block_bytes(256);
    tables.bundle_shift = vec![1];
    tables.index_spill_bytes = 256;
    tables.index_partition_bytes = 256;
    tables
}
