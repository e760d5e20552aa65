//! The same workload in a forecast.

use lsm_compaction_planner::{
    CompactionStrategy,
    forecast::{Forecast, Machine, Workload},
    sim::SimError,
};

use crate::{
    figures::{Amplifications, Bytes},
    trials::Size,
};

/// A machine on which the strategy is asked until it is idle after each flush, one job after the other.
fn machine(size: &Size, bytes: &Bytes) -> Machine {
    Machine {
        memtable_bytes: Size::bytes(size.flush_writes, bytes),
        jobs_max: 1,
        job_bytes_per_sec: u64::MAX,
        stall_runs: usize::MAX,
        ..Machine::default()
    }
}

pub(crate) fn run(
    size: &Size,
    workload: &Workload,
    strategy: &dyn CompactionStrategy,
    bytes: &Bytes,
) -> Result<Amplifications, SimError> {
    let (entry_bytes, tombstone_bytes, table_bytes) = (bytes.entry, bytes.tombstone, bytes.table);
    let workload = Workload { entry_bytes, tombstone_bytes, table_bytes, ..*workload };
    let live_bytes = Size::bytes(size.keys, bytes);
    let machine = machine(size, bytes);
    let mut forecast = Forecast::new(strategy, &workload, machine, live_bytes, size.table_bytes)?;
    for _ in 0..size.flushes() {
        forecast.flush()?;
    }
    let figures = forecast.figures();
    let read = figures.read_amplification().0;
    Ok(Amplifications([figures.write_amplification(), figures.space_amplification(), read]))
}
