//! Range tombstones of a table: pairs of cuts and a number each.
//!
//! ```text
//!  0  u32 count               4  u8  bundle shift (4)    5  u8  width codes: bits 0-1 start end (1,2,4),
//!                                                                2-3 end end (1,2,4), 4-6 seqno (0,1,2,4,8)
//!  6  u16 start prefix length 8  u16 end prefix length  10  u16 reserved
//! 12  u32 start heap length  16  u32 end heap length    20  u64 seqno base       28  u32 reserved
//! start prefix | bundle table | key ends | end prefix | bundle table | key ends | flags | seqno deltas
//!   | start heap | end heap
//! ```
//!
//! Flags: 0 start open, 1 start after its key, 2 end open, 3 end after its key; an open side has an empty key.
//! Entries ascend by (start, end), equal ones descend by number.

use alloc::vec::Vec;
use core::cmp::Ordering;

use lsm_types::{
    ByteReader, Cut, KeyOrder, RangeTombstone, SeqNo, Slice,
    columns::{BundledKeys, KeyBuf, KeyShape, KeysWriter, Layout, Malformed, Width},
};

use crate::payload::PayloadError;

const HEADER_LEN: usize = 32;
const BUNDLE_SHIFT: u8 = 4;

const START_OPEN: u8 = 1 << 0;
const START_AFTER: u8 = 1 << 1;
const END_OPEN: u8 = 1 << 2;
const END_AFTER: u8 = 1 << 3;

/// The order of range tombstones in a file: by start, then end, then from new to old.
pub fn compare(a: &RangeTombstone, b: &RangeTombstone, order: &KeyOrder) -> Ordering {
    let ends = a.start.compare(&b.start, order).then_with(|| a.end.compare(&b.end, order));
    ends.then_with(|| b.seqno.cmp(&a.seqno))
}

/// Appends one block holding `tombstones`, which ascend in the order of [`compare`].
pub fn encode(tombstones: &[RangeTombstone], out: &mut Vec<u8>) {
    let (mut starts, mut ends) = (KeysWriter::new(BUNDLE_SHIFT), KeysWriter::new(BUNDLE_SHIFT));
    for tombstone in tombstones {
        starts.push(tombstone.start.key().map_or(&[][..], |key| key));
        ends.push(tombstone.end.key().map_or(&[][..], |key| key));
    }
    let numbers = || tombstones.iter().map(|tombstone| tombstone.seqno.get());
    let base = numbers().min().unwrap_or(0);
    let width = Width::of(numbers().max().unwrap_or(0) - base);
    let (start, end) = (starts.shape(), ends.shape());
    let codes = (start.end_width.code() - 1) | (end.end_width.code() - 1) << 2 | width.code() << 4;
    let short = |len: usize| u16::try_from(len).unwrap_or(u16::MAX).to_le_bytes();
    let long = |len: usize| u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes();

    out.extend_from_slice(&long(tombstones.len()));
    out.extend_from_slice(&[BUNDLE_SHIFT, codes]);
    out.extend_from_slice(&short(start.prefix_len));
    out.extend_from_slice(&short(end.prefix_len));
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&long(start.heap_len));
    out.extend_from_slice(&long(end.heap_len));
    out.extend_from_slice(&base.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    starts.write_columns(out);
    ends.write_columns(out);
    out.extend(tombstones.iter().map(flags_of));
    for number in numbers() {
        width.put(number - base, out);
    }
    starts.write_heap(out);
    ends.write_heap(out);
}

/// Bytes a tombstone takes at most in a block, for cutting blocks.
pub(crate) fn encoded_len_max(tombstone: &RangeTombstone) -> usize {
    let key_len = |cut: &Cut| cut.key().map_or(0, |key| key.len());
    // A bundle table entry each at worst, key ends of four bytes, flag and number.
    key_len(&tombstone.start) + key_len(&tombstone.end) + 2 * (6 + 4) + 1 + 8
}

/// The tombstones of one block. `order` is the table's: entries that are empty or out of order are refused.
pub fn decode(payload: &[u8], order: &KeyOrder) -> Result<Vec<RangeTombstone>, PayloadError> {
    let header = Header::decode(payload)?;
    let count = header.start.rows;
    let mut layout = Layout::new(HEADER_LEN, payload.len());
    let mut starts = BundledKeys::place(header.start, &mut layout)?;
    let mut ends = BundledKeys::place(header.end, &mut layout)?;
    let flags = layout.take(count, 1, "flags")?;
    let seqnos = layout.column(count, header.seqno_width, header.seqno_base, "seqnos")?;
    starts.place_heap(&mut layout)?;
    ends.place_heap(&mut layout)?;
    layout.finish()?;
    starts.check(payload)?;
    ends.check(payload)?;
    if !seqnos.is_at_most(payload, count, SeqNo::MAX_WRITE.get()) {
        return Err(PayloadError::field("seqnos"));
    }

    // One byte of flags per entry is there, so the count is bounded by the bytes.
    let mut tombstones: Vec<RangeTombstone> = Vec::with_capacity(count);
    let (mut start_key, mut end_key) = (KeyBuf::new(), KeyBuf::new());
    for item in 0..count {
        let wrong = |field| PayloadError::Item { field, item };
        starts.key(payload, item, &mut start_key);
        ends.key(payload, item, &mut end_key);
        let bits = payload.get(flags + item).copied().unwrap_or_default();
        if bits >> 4 != 0 {
            return Err(PayloadError::Unsupported { part: "range tombstone flag", found: bits.into() });
        }
        let start = cut(start_key.as_slice(), bits & START_OPEN != 0, bits & START_AFTER != 0, Cut::Start)
            .ok_or_else(|| wrong("start"))?;
        let end = cut(end_key.as_slice(), bits & END_OPEN != 0, bits & END_AFTER != 0, Cut::End)
            .ok_or_else(|| wrong("end"))?;
        let seqno = SeqNo::new(seqnos.at(payload, item)).ok_or_else(|| wrong("seqno"))?;
        let tombstone = RangeTombstone { start, end, seqno };
        if !tombstone.is_valid(order) {
            return Err(wrong("end"));
        }
        if tombstones.last().is_some_and(|last| compare(last, &tombstone, order).is_ge()) {
            return Err(wrong("order"));
        }
        tombstones.push(tombstone);
    }
    Ok(tombstones)
}

fn flags_of(tombstone: &RangeTombstone) -> u8 {
    let start = match tombstone.start {
        Cut::Start | Cut::End => START_OPEN,
        Cut::Before(_) => 0,
        Cut::After(_) => START_AFTER,
    };
    let end = match tombstone.end {
        Cut::Start | Cut::End => END_OPEN,
        Cut::Before(_) => 0,
        Cut::After(_) => END_AFTER,
    };
    start | end
}

/// The cut a key and its bits stand for; `None` when they contradict each other.
fn cut(key: &[u8], is_open: bool, is_after: bool, open: Cut) -> Option<Cut> {
    match (is_open, is_after) {
        (true, false) if key.is_empty() => Some(open),
        (false, _) if key.is_empty() => None,
        (false, false) => Some(Cut::Before(Slice::from(key))),
        (false, true) => Some(Cut::After(Slice::from(key))),
        (true, _) => None,
    }
}

struct Header {
    start: KeyShape,
    end: KeyShape,
    seqno_base: u64,
    seqno_width: Width,
}

impl Header {
    fn decode(payload: &[u8]) -> Result<Self, PayloadError> {
        let mut reader = ByteReader::new(payload);
        let rows = reader.u32()? as usize;
        let shift = reader.u8()?;
        let codes = reader.u8()?;
        let start_prefix = usize::from(reader.u16()?);
        let end_prefix = usize::from(reader.u16()?);
        let reserved = reader.u16()?;
        let start_heap = reader.u32()? as usize;
        let end_heap = reader.u32()? as usize;
        let seqno_base = reader.u64()?;
        if reserved != 0 || reader.u32()? != 0 || codes & 0x80 != 0 {
            return Err(PayloadError::Unsupported { part: "range tombstone field", found: reserved.into() });
        }
        let key_end = |code: u8| Width::from_code((code & 3) + 1).ok_or(Malformed::new("key end width"));
        let shape = |prefix_len, heap_len, code| -> Result<KeyShape, Malformed> {
            Ok(KeyShape { rows, shift, prefix_len, end_width: key_end(code)?, heap_len })
        };
        Ok(Self {
            start: shape(start_prefix, start_heap, codes)?,
            end: shape(end_prefix, end_heap, codes >> 2)?,
            seqno_base,
            seqno_width: Width::from_code(codes >> 4).ok_or(Malformed::new("seqno width"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{vec, vec::Vec};
    use proptest::prelude::*;

    fn cut_strategy() -> impl Strategy<Value = Cut> {
        let key = prop::collection::vec(b'a'..b'd', 1..6).prop_map(Slice::from);
        prop_oneof![
            1 => Just(Cut::Start),
            1 => Just(Cut::End),
            6 => key.clone().prop_map(Cut::Before),
            6 => key.prop_map(Cut::After),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            ranges in prop::collection::vec((cut_strategy(), cut_strategy(), 0_u64..1000), 0..60),
            damage in prop::option::of((any::<prop::sample::Index>(), 1_u8..)),
        ) {
            let order = KeyOrder::bytewise();
            let mut tombstones: Vec<RangeTombstone> = ranges
                .into_iter()
                .map(|(start, end, seqno)| RangeTombstone { start, end, seqno: SeqNo::new(seqno).unwrap() })
                .filter(|tombstone| tombstone.is_valid(&order))
                .collect();
            tombstones.sort_by(|a, b| compare(a, b, &order));
            tombstones.dedup();
            let mut payload = Vec::new();
            encode(&tombstones, &mut payload);
            prop_assert_eq!(&decode(&payload, &order).unwrap(), &tombstones);
            let bound: usize = tombstones.iter().map(encoded_len_max).sum();
            prop_assert!(payload.len() <= HEADER_LEN + bound);
            // Damaged bytes are refused or decode to something orderly; they never panic.
            if let Some((at, bits)) = damage {
                let at = at.index(payload.len());
                payload[at] ^= bits;
                if let Ok(found) = decode(&payload, &order) {
                    prop_assert!(found.iter().all(|tombstone| tombstone.is_valid(&order)));
                }
            }
        }
    }

    #[track_caller]
    fn check_refused(tombstones: &[RangeTombstone], field: &'static str, item: usize) {
        let mut payload = Vec::new();
        encode(tombstones, &mut payload);
        assert_eq!(decode(&payload, &KeyOrder::bytewise()), Err(PayloadError::Item { field, item }));
    }

    #[test]
    fn the_error_names_entry_and_field() {
        let range = |start: &str, end: &str| RangeTombstone {
            start: Cut::Before(start.into()),
            end: Cut::Before(end.into()),
            seqno: SeqNo::ZERO,
        };
        check_refused(&[range("b", "b")], "end", 0);
        check_refused(&[range("a", "c"), range("c", "b")], "end", 1);
        check_refused(&[range("b", "c"), range("a", "c")], "order", 1);
        check_refused(&[range("a", "c"), range("a", "c")], "order", 1);
        check_refused(&[range("", "c")], "start", 0);
    }

    #[test]
    fn an_empty_block_and_open_sides_are_legal() {
        let order = KeyOrder::bytewise();
        for tombstones in
            [vec![], vec![RangeTombstone { start: Cut::Start, end: Cut::End, seqno: SeqNo::MAX_WRITE }]]
        {
            let mut payload = Vec::new();
            encode(&tombstones, &mut payload);
            assert_eq!(decode(&payload, &order), Ok(tombstones));
        }
    }
}
