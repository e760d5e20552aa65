//! What the tests of the engine share.
#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    reason = "each test file uses its part, and should fail where it fails"
)]

pub(crate) mod column_forms;
pub(crate) mod columns;
pub(crate) mod layouts;
pub(crate) mod sealed;

use lsm_compaction_planner::{CompactionStrategy, Plan, PlanView, Settings};
use lsm_engine::{FlushOptions, Reader, TablePolicy, Tree};
pub(crate) use lsm_testkit::comparators::{LengthFirst, Reverse, ReverseByPrefix};
use lsm_types::{Error, SeqNo, Slice};

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
    tables.filter_partition_bytes = 256;
    tables.filter_partitioning = vec![true];
    tables
}

/// All entries that a reader sees.
pub(crate) fn contents(reader: &impl Reader) -> Result<Pairs, Error> {
    let owned = |(key, value): (Slice, Slice)| (key.to_vec(), value.to_vec());
    reader.iter().pairs().map(|pair| pair.map(owned)).collect()
}

/// Keys and values.
pub(crate) type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Seals and flushes.
pub(crate) fn flush(tree: &Tree) {
    tree.seal(None);
    tree.flush(&FlushOptions::default()).unwrap();
}

/// A strategy that has nothing to do.
pub(crate) struct Rest;

impl CompactionStrategy for Rest {
    fn name(&self) -> &'static str {
        "test.rest"
    }

    fn settings(&self) -> Settings {
        Settings::new()
    }

    fn plan(&self, _: &PlanView<'_>) -> Plan {
        Plan::Idle
    }
}

/// Merges the last level where it stands, into tables of so many bytes.
pub(crate) struct InPlace(pub(crate) u64);

impl CompactionStrategy for InPlace {
    fn name(&self) -> &'static str {
        "test.in-place"
    }

    fn settings(&self) -> Settings {
        Settings::new()
    }

    fn plan(&self, view: &PlanView<'_>) -> Plan {
        let last = view.last_level();
        let tables: Vec<_> = view.levels.level(last).tables().map(|table| table.id).collect();
        if tables.is_empty() { Plan::Idle } else { Plan::merge(view, tables, last, self.0) }
    }
}
