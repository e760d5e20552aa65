//! Entries as they lie in the arena.
//!
//! | bytes           | field                                                                       |
//! |-----------------|-----------------------------------------------------------------------------|
//! | 0..8            | sequence number                                                             |
//! | 8..12           | value length << 4, bit 3: the value lies outside, bits 2..0: the kind's tag  |
//! | 12..14          | key length                                                                  |
//! | 14..14+k        | key                                                                         |
//! | 14+k..          | value, or the address of a value longer than [`INLINE_MAX`]                 |
//!
//! Numbers are unaligned and in the machine's order: this never leaves memory.

#![expect(unsafe_code, reason = "reads and writes the arena's raw bytes")]

use core::{cmp::Ordering, slice};

use lsm_types::{EntryRef, KeyOrder, Kind, MAX_KEY_LEN, MAX_VALUE_LEN, SeqNo};

use crate::{
    MemtableError,
    arena::{At, Bump, Space},
    prefetch::{LINE, prefetch},
};

/// Longest value kept inside a chunk, in bytes.
pub(crate) const INLINE_MAX: usize = 512;

const SEQNO: usize = 0;
const WORD: usize = 8;
const KEY_LEN: usize = 12;
const KEY: usize = 14;
const OUTSIDE: u32 = 8;

const _: () =
    assert!(MAX_VALUE_LEN < 1 << 28 && MAX_KEY_LEN <= u16::MAX as usize, "lengths fit their fields");

/// Marks the place of an entry; see [`At`].
pub(crate) struct Entry;

/// Bytes an entry takes in a chunk.
pub(crate) fn inside_len(entry: &EntryRef<'_>) -> usize {
    KEY + entry.key.len() + if is_outside(entry) { size_of::<*const u8>() } else { entry.value.len() }
}

/// Bytes an entry takes outside.
pub(crate) fn outside_len(entry: &EntryRef<'_>) -> usize {
    if is_outside(entry) { entry.value.len() } else { 0 }
}

fn is_outside(entry: &EntryRef<'_>) -> bool {
    entry.value.len() > INLINE_MAX
}

/// Refuses what no entry may be.
#[inline]
pub(crate) fn check(entry: &EntryRef<'_>) -> Result<(), MemtableError> {
    if entry.key.is_empty() || entry.key.len() > MAX_KEY_LEN {
        return Err(MemtableError::KeyLen { len: entry.key.len() });
    }
    if entry.value.len() > MAX_VALUE_LEN {
        return Err(MemtableError::ValueLen { len: entry.value.len() });
    }
    if !entry.seqno.is_write() {
        return Err(MemtableError::SeqNo { seqno: entry.seqno });
    }
    Ok(())
}

impl Bump {
    /// Copies a checked entry into the arena. `None` only when its space was not reserved.
    #[expect(clippy::cast_possible_truncation, reason = "`check` bounds both lengths")]
    pub(crate) fn place_entry(&mut self, space: Space<'_>, entry: &EntryRef<'_>) -> Option<At<Entry>> {
        debug_assert!(check(entry).is_ok(), "entries are checked before they are placed");
        let outside = if is_outside(entry) { Some(self.place_outside(entry.value)?) } else { None };
        let flag = if outside.is_some() { OUTSIDE } else { 0 };
        let word = (entry.value.len() as u32) << 4 | flag | u32::from(entry.kind.tag());
        let (key, value) = (entry.key, entry.value);
        self.place_bytes(space, inside_len(entry), |place| {
            // SAFETY: `place` starts `inside_len` bytes that nobody else sees; the header is the first 14 of them.
            unsafe { place.add(SEQNO).cast::<u64>().write_unaligned(entry.seqno.get()) };
            // SAFETY: as above.
            unsafe { place.add(WORD).cast::<u32>().write_unaligned(word) };
            // SAFETY: as above.
            unsafe { place.add(KEY_LEN).cast::<u16>().write_unaligned(key.len() as u16) };
            // SAFETY: the key's bytes follow the header and are counted in `inside_len`.
            unsafe { place.add(KEY).copy_from_nonoverlapping(key.as_ptr(), key.len()) };
            // SAFETY: the header and the key are counted in `inside_len`.
            let tail = unsafe { place.add(KEY + key.len()) };
            if let Some(outside) = outside {
                // SAFETY: `inside_len` counts an address after the key of an entry with its value outside.
                unsafe { tail.cast::<*const u8>().write_unaligned(outside.as_ptr()) };
            } else {
                // SAFETY: `inside_len` counts the value after the key otherwise.
                unsafe { tail.copy_from_nonoverlapping(value.as_ptr(), value.len()) };
            }
        })
    }
}

impl<'a> Space<'a> {
    #[inline]
    fn seqno_at(self, at: At<Entry>) -> u64 {
        // SAFETY: an `At<Entry>` leads to an entry that `place_entry` wrote before it was published.
        unsafe { self.pointer(at).add(SEQNO).cast::<u64>().read_unaligned() }
    }

    /// The user key at `at`.
    #[inline]
    pub(crate) fn key(self, at: At<Entry>) -> &'a [u8] {
        let place = self.pointer(at);
        // SAFETY: an `At<Entry>` leads to an entry that `place_entry` wrote before it was published.
        let len = unsafe { place.add(KEY_LEN).cast::<u16>().read_unaligned() };
        // SAFETY: the key follows the header, it is never written again and lives as long as the arena.
        unsafe { slice::from_raw_parts(place.add(KEY), usize::from(len)) }
    }

    /// The entry at `at`.
    #[inline]
    pub(crate) fn entry(self, at: At<Entry>) -> EntryRef<'a> {
        let place = self.pointer(at);
        let key = self.key(at);
        // SAFETY: an `At<Entry>` leads to an entry that `place_entry` wrote before it was published.
        let word = unsafe { place.add(WORD).cast::<u32>().read_unaligned() };
        // SAFETY: what follows the key belongs to the entry.
        let tail = unsafe { place.add(KEY + key.len()) };
        let value = if word & OUTSIDE == 0 {
            tail
        } else {
            // SAFETY: the flag says that the address of the value follows the key.
            unsafe { tail.cast::<*const u8>().read_unaligned() }
        };
        // SAFETY: the value has this many bytes, is never written again and lives as long as the arena.
        let value = unsafe { slice::from_raw_parts(value, (word >> 4) as usize) };
        let kind = Kind::from_tag((word & 7) as u8);
        let seqno = SeqNo::new(self.seqno_at(at));
        debug_assert!(kind.is_some() && seqno.is_some(), "entries are checked before they are placed");
        EntryRef { key, seqno: seqno.unwrap_or_default(), kind: kind.unwrap_or(Kind::Put), value }
    }

    /// How the entry at `at` compares with `(key, seqno)` in internal order.
    #[inline]
    pub(crate) fn compare(self, order: &KeyOrder, at: At<Entry>, key: &[u8], seqno: SeqNo) -> Ordering {
        order.compare(self.key(at), key).then_with(|| seqno.get().cmp(&self.seqno_at(at)))
    }

    /// Starts loading the entry at `at`.
    #[inline]
    pub(crate) fn prefetch_entry(self, at: At<Entry>) {
        let place = self.pointer(at);
        prefetch(place);
        prefetch(place.wrapping_add(LINE));
    }
}
