//! Whether there is room for a write, asked before the disk is full (E-184, D-122).
//!
//! A write goes into memory, and a flush may need as many bytes and an eighth for it. So writes are refused while what is
//! used, what memtables will take and a reserve come to more than the limit, or than the volumes hold. Nothing is latched:
//! each refusal is computed from the figures of its moment, and free bytes are asked of the volumes again after a second.
//!
//! A writer does not compute them for each write. It spends bytes that were granted in advance, and only the one that finds
//! none left looks at the figures, and is granted a small part of what there is.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lsm_journal::Folder;
use lsm_types::Result;
use parking_lot::Mutex;

use super::{StoreInner, install::Installs};
use crate::EngineError;

/// Bytes that writers spend before the figures are looked at again. The reserve is larger by default, so that what
/// another program takes meanwhile is not missed.
const GRANT_BYTES: u64 = 256 << 10;

/// Memory that an entry takes beside its key and value, generously.
const ENTRY_BYTES: u64 = 64;

/// What a table takes beside its entries, generously: copies of its metadata lie 64 KiB apart.
const TABLE_BYTES: u64 = 128 << 10;

/// By so much a memtable grows. The last step may be unused, and does not count against deletes.
const STEP_BYTES: u64 = 4 << 20;

/// Nanoseconds for which the free bytes of a volume are believed.
const FREE_TTL: u64 = 1_000_000_000;

/// Decides over writes.
#[derive(Debug, Default)]
pub(crate) struct WriteGate {
    is_on: AtomicBool,
    /// Bytes granted and not spent.
    granted: AtomicU64,
    sample: Mutex<Option<Sample>>,
    refused: AtomicU64,
}

/// What the volumes said last.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// When, by the monotonic clock.
    at: u64,
    /// What was used then and what the tightest volume had free, in bytes; `None` when no volume can say.
    capacity: Option<u64>,
}

/// What a write asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asks {
    /// Room that is not reserved.
    Room,
    /// The reserve, too: a delete, with which space is freed (E-186).
    Reserve,
}

/// The figures of a moment, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WriteRoom {
    used: u64,
    /// What memtables may come to in tables.
    pending: u64,
    /// The same without the last step of each.
    entered: u64,
    reserve: u64,
    limit: u64,
}

impl WriteRoom {
    /// What a write that asks so may take.
    fn left(&self, asks: Asks) -> u64 {
        let kept = match asks {
            Asks::Room => self.reserve.max(self.pending),
            Asks::Reserve => self.entered,
        };
        self.limit.saturating_sub(self.used).saturating_sub(kept)
    }

    /// How much of the reserve writes lack beside it, in thousandths: 0 while they may take as much again, 1,000 when
    /// nothing is left for them.
    fn short_permille(&self) -> u64 {
        let reserve = u128::from(self.reserve.max(1));
        let left = u128::from(self.left(Asks::Room)).min(reserve);
        u64::try_from(1_000 - left * 1_000 / reserve).unwrap_or(1_000)
    }

    /// Whether the shortest of writes are refused.
    pub(crate) fn is_full(&self) -> bool {
        self.left(Asks::Room) <= ENTRY_BYTES
    }
}

/// What a flush makes of so many bytes in memory: an eighth more, and what each table takes.
fn flushed(bytes: u64, target: u64) -> u64 {
    if bytes == 0 {
        return 0;
    }
    let tables = (bytes / target.max(1)).saturating_add(1);
    bytes.saturating_add(bytes / 8).saturating_add(tables.saturating_mul(TABLE_BYTES))
}

impl WriteGate {
    pub(crate) fn new(is_on: bool) -> Self {
        Self { is_on: is_on.into(), ..Self::default() }
    }

    /// From now on, by new figures.
    pub(super) fn set(&self, is_on: bool) {
        let mut sample = self.sample.lock();
        *sample = None;
        self.granted.store(0, Ordering::Relaxed);
        self.is_on.store(is_on, Ordering::Relaxed);
    }

    /// Writes refused since the store was opened.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    fn spend(&self, bytes: u64) -> bool {
        self.granted
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes))
            .is_ok()
    }
}

impl StoreInner {
    /// Lets a write of so many entries and bytes pass, or refuses it.
    ///
    /// # Errors
    /// `StorageFull` with the figures.
    #[inline]
    pub(crate) fn admit_write(&self, entries: usize, bytes: usize, asks: Asks) -> Result<()> {
        if !self.writes.is_on() {
            return Ok(());
        }
        let entries = (entries as u64).saturating_mul(ENTRY_BYTES);
        self.admit_measured(entries.saturating_add(bytes as u64), asks)
    }

    #[cold]
    fn admit_measured(&self, bytes: u64, asks: Asks) -> Result<()> {
        let gate = &self.writes;
        if asks == Asks::Room && gate.spend(bytes) {
            return Ok(());
        }
        let mut sample = gate.sample.lock();
        if asks == Asks::Room && gate.spend(bytes) {
            return Ok(()); // somebody else has looked meanwhile
        }
        let room = self.measure_write_room(&mut sample);
        let left = room.left(asks);
        if left < bytes {
            gate.granted.store(0, Ordering::Relaxed);
            gate.refused.fetch_add(1, Ordering::Relaxed);
            return Err(EngineError::StorageFull {
                used: room.used,
                reserve: room.reserve,
                limit: room.limit,
            }
            .into());
        }
        if asks == Asks::Room {
            // An eighth at most, so that several writers do not pass the limit together.
            let granted = (left / 8).clamp(bytes, GRANT_BYTES.max(bytes));
            gate.granted.store(granted - bytes, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Whether files that are being written for an ingestion, of so many bytes before compression, pass the limit that was
    /// set. What the volumes hold says itself: these files are on them.
    ///
    /// # Errors
    /// `StorageFull` with the figures.
    pub(crate) fn check_quota(&self, bytes: u64) -> Result<()> {
        let Some(limit) = self.space.options().limit_bytes.filter(|_| self.writes.is_on()) else {
            return Ok(());
        };
        let room = WriteRoom { limit, ..self.write_room() };
        if room.left(Asks::Room) >= bytes {
            return Ok(());
        }
        self.writes.refused.fetch_add(1, Ordering::Relaxed);
        Err(EngineError::StorageFull { used: room.used, reserve: room.reserve, limit }.into())
    }

    /// Whether writes ask for room at all.
    #[inline]
    pub(crate) fn gates_writes(&self) -> bool {
        self.writes.is_on()
    }

    /// [`WriteRoom::short_permille`] of this moment; 0 where writes do not ask for room.
    pub(crate) fn room_short_permille(&self) -> u64 {
        if self.writes.is_on() { self.write_room().short_permille() } else { 0 }
    }

    /// The figures of this moment.
    pub(super) fn write_room(&self) -> WriteRoom {
        self.measure_write_room(&mut self.writes.sample.lock())
    }

    fn measure_write_room(&self, sample: &mut Option<Sample>) -> WriteRoom {
        let options = self.space.options();
        let used = self.installs().map_or(0, Installs::file_bytes);
        let (mut pending, mut entered) = (0, 0);
        for tree in self.open_trees() {
            let bytes = tree.memtable_bytes();
            pending += flushed(bytes, tree.table_target_bytes);
            entered += flushed(bytes.saturating_sub(STEP_BYTES), tree.table_target_bytes);
        }
        let now = self.clock().monotonic_nanos();
        let capacity = match sample {
            Some(Sample { at, capacity }) if now.saturating_sub(*at) < FREE_TTL => *capacity,
            _ => {
                let capacity = self.tightest_free_bytes().map(|free| used.saturating_add(free));
                *sample = Some(Sample { at: now, capacity });
                capacity
            }
        };
        let limits = [options.limit_bytes, capacity];
        WriteRoom {
            used,
            pending,
            entered,
            reserve: options.reserve_min_bytes.max(pending),
            limit: limits.into_iter().flatten().min().unwrap_or(u64::MAX),
        }
    }

    /// Free bytes of the volume that has the fewest of them, of all that files are written to. One that cannot be asked
    /// counts as one with room.
    fn tightest_free_bytes(&self) -> Option<u64> {
        let roots = self.routes().roots(self.root());
        let free = roots.map(|(_, root)| self.fs().available_space(&Folder::Tables.path(root)));
        free.filter_map(|free| free.ok().flatten()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves E-186: what is kept for deletes is what no memtable needs.
    #[test]
    fn what_is_left() {
        let room = |used, entered, reserve, limit| {
            let room = WriteRoom { used, pending: entered, entered, reserve, limit };
            (room.left(Asks::Room), room.left(Asks::Reserve), room.is_full())
        };
        assert_eq!(room(0, 0, 10, 100), (90, 100, false));
        assert_eq!(room(10, 20, 20, 100), (70, 70, false));
        assert_eq!(room(85, 5, 10, 100), (5, 10, true));
        assert_eq!(room(90, 5, 10, 100), (0, 5, true));
        assert_eq!(room(200, 5, 10, 100), (0, 0, true));
        assert!(!room(200, 5, 10, u64::MAX).2);
        let short =
            |used, limit| WriteRoom { used, pending: 0, entered: 0, reserve: 10, limit }.short_permille();
        assert_eq!([short(0, 100), short(80, 100), short(85, 100)], [0, 0, 500]);
        assert_eq!([short(89, 100), short(90, 100), short(200, 100)], [900, 1_000, 1_000]);
        assert_eq!(short(0, u64::MAX), 0);
        assert_eq!((flushed(0, 10), flushed(80, 100)), (0, 90 + TABLE_BYTES));
        assert_eq!(flushed(800, 100), 900 + 9 * TABLE_BYTES);
    }
}
