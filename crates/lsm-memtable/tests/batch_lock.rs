//! How often a batch takes the lock of the writer.
#![allow(clippy::unwrap_used, reason = "a test should fail where it fails")]

use std::{
    cell::Cell,
    sync::atomic::{AtomicBool, Ordering},
};

use lock_api::{GuardSend, RawMutex};
use lsm_memtable::{Memtable, MemtableConfig};
use lsm_types::{EntryRef, KeyOrder, Kind, SeqNo};

thread_local! {
    static LOCKED: Cell<usize> = const { Cell::new(0) };
}

/// A lock that counts how often it is taken.
struct Counting(AtomicBool);

#[expect(unsafe_code, reason = "a lock of its own takes the promises of a lock")]
// SAFETY: whoever sets the flag from false has the lock until it clears it.
unsafe impl RawMutex for Counting {
    const INIT: Self = Self(AtomicBool::new(false));
    type GuardMarker = GuardSend;

    fn lock(&self) {
        assert!(self.try_lock(), "one thread takes it once");
    }

    fn try_lock(&self) -> bool {
        LOCKED.set(LOCKED.get() + 1);
        !self.0.swap(true, Ordering::AcqRel)
    }

    unsafe fn unlock(&self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Proves E-27: a batch takes the writer's lock once, however many entries it has, and shows its size and numbers as
/// one step of each.
#[test]
fn a_batch_is_accounted_once() {
    let table = Memtable::<Counting>::new(KeyOrder::bytewise(), MemtableConfig::default());
    for (round, count) in (0_u64..).zip([1_u64, 10, 1_000]) {
        let base = round * 10_000;
        let keys: Vec<[u8; 8]> = (0..count).map(|n| (base + n).to_be_bytes()).collect();
        let seqno = |n: usize| SeqNo::new(base + n as u64).unwrap();
        let entry = |(n, key)| EntryRef { key, seqno: seqno(n), kind: Kind::Put, value: b"value" };
        let (before, len) = (LOCKED.get(), table.len());
        let added = table.insert_batch(keys.iter().map(<[u8; 8]>::as_slice).enumerate().map(entry)).unwrap();
        assert_eq!(LOCKED.get() - before, 1, "{count} entries");
        assert_eq!((table.len() - len, added > 0), (keys.len(), true));
        assert_eq!(table.highest_seqno(), Some(seqno(keys.len() - 1)));
    }
}
