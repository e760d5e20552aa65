//! How long tables are on a disk that gives back nothing but whole files (C-121).
//!
//! Where no holes can be made into files, a slice of a merge ends where one of its inputs does, and takes as much room as
//! lies before that. So tables have to be short before room is: as soon as a level could not be rewritten any more beside
//! itself, everything that is written is cut into small ones. Each of them takes about its own length to get rid of.

use lsm_compaction_planner::Demand;
use lsm_fs::Capability;
use lsm_journal::Folder;
use lsm_types::Level;

use super::{SpaceOptions, StoreInner};

/// Bytes of a small table, where no largest slice is set.
const SMALL_TABLE_BYTES: u64 = 8 << 20;

impl SpaceOptions {
    /// Bytes of a small table: as long as the largest slice.
    fn small_table_bytes(&self) -> u64 {
        let slices = self.slices(SMALL_TABLE_BYTES, false);
        slices.max_bytes.max(slices.min_bytes)
    }
}

impl StoreInner {
    /// Where tables of `level` end that are meant to end at `target_bytes`: earlier, where merges are done slice by slice,
    /// only whole files are given back, and there is no room for a copy of a level. Asks the volume.
    ///
    /// * `level_bytes`: the largest level of the tree.
    pub(crate) fn table_bytes(&self, level: Level, target_bytes: u64, level_bytes: u64) -> u64 {
        let options = self.space.options();
        let small_bytes = options.small_table_bytes();
        if !options.admission || !options.tight || target_bytes <= small_bytes {
            return target_bytes;
        }
        let folder = Folder::Tables.path(self.routes().root(self.root(), self.routes().of_level(level)));
        if self.fs().capabilities(&folder).is_ok_and(|promised| promised.has(Capability::PunchHole)) {
            return target_bytes;
        }
        let copy = Demand { table_bytes: level_bytes, value_bytes: 0, reclaims: false };
        if self.measure_space(level).check(copy).is_ok() { target_bytes } else { small_bytes }
    }
}
