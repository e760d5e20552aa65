//! What a table knows about the tables before it, for whoever has to put a tree together from files alone
//! (`docs/format/sst.md`, section 6). None of it is needed to read the table.

use alloc::vec::Vec;

use lsm_types::{ByteReader, Cut, Slice, TableId, varint};

use crate::payload::PayloadError;

/// A longer property is left out, so that all of them keep within their block.
const MAX_BYTES: usize = 128 << 10;

/// That a table belongs to a slice of a merge: it takes the place of what some tables hold below a border.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SlicePart {
    /// Tables of which a lower part went into the slice, ascending. Those that begin above it are not named.
    pub inputs: Vec<TableId>,
    /// Tables of the same slice that were written before, ascending.
    pub before: Vec<TableId>,
    /// The inputs are taken over up to here: just before a key, or to the end. `None` where tables of the slice follow.
    pub border: Option<Cut>,
}

/// That a part of a table was no part of its tree any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TakenOver {
    /// The table.
    pub table: TableId,
    /// What lies before this place is elsewhere, or dropped: just before a key, or the end for all of it.
    pub below: Cut,
}

impl SlicePart {
    /// Most tables that `inputs` and `before` may name together, so that they always fit.
    pub const TABLES_MAX: usize = 8 << 10;

    /// Appends the property.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        for list in [&self.inputs, &self.before] {
            varint::encode(list.len() as u64, out);
            encode_ids(list, out);
        }
        if let Some(border) = &self.border {
            encode_border(border, out);
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, PayloadError> {
        let mut reader = ByteReader::new(bytes);
        let (inputs, before) = (decode_ids(&mut reader)?, decode_ids(&mut reader)?);
        let rest = reader.take_rest();
        let border = if rest.is_empty() { None } else { Some(decode_border(rest)?) };
        Ok(Self { inputs, before, border })
    }
}

/// Appends the list; of one that would be too long, nothing.
///
/// * `list`: ascending by table.
pub(crate) fn encode_taken_over(list: &[TakenOver], out: &mut Vec<u8>) {
    let mut previous = 0;
    let mut border = Vec::new();
    for part in list {
        varint::encode(part.table.get().wrapping_sub(previous), out);
        previous = part.table.get();
        border.clear();
        encode_border(&part.below, &mut border);
        varint::encode_prefixed(&border, out);
        if out.len() > MAX_BYTES {
            out.clear();
            return;
        }
    }
}

pub(crate) fn decode_taken_over(bytes: &[u8]) -> Result<Vec<TakenOver>, PayloadError> {
    let mut reader = ByteReader::new(bytes);
    let mut list: Vec<TakenOver> = Vec::new();
    while !reader.is_empty() {
        let table = next_id(list.last().map(|part| part.table), reader.varint()?)?;
        list.push(TakenOver { table, below: decode_border(reader.prefixed()?)? });
    }
    Ok(list)
}

/// Each number as a varint of its distance from the one before.
fn encode_ids(ids: &[TableId], out: &mut Vec<u8>) {
    let mut last = 0;
    for id in ids {
        varint::encode(id.get().wrapping_sub(last), out);
        last = id.get();
    }
}

fn decode_ids(reader: &mut ByteReader<'_>) -> Result<Vec<TableId>, PayloadError> {
    let count = reader.count(1)?;
    let mut ids: Vec<TableId> = Vec::new();
    for _ in 0..count {
        ids.push(next_id(ids.last().copied(), reader.varint()?)?);
    }
    Ok(ids)
}

fn next_id(last: Option<TableId>, distance: u64) -> Result<TableId, PayloadError> {
    let next = last.map_or(0, TableId::get).checked_add(distance);
    let ascends = last.is_none() || distance > 0;
    next.filter(|_| ascends).map(TableId::new).ok_or_else(|| PayloadError::field("table of the lineage"))
}

/// A key stands for the place before it, nothing for the end.
fn encode_border(border: &Cut, out: &mut Vec<u8>) {
    debug_assert!(matches!(border, Cut::Before(_) | Cut::End), "inputs are bounded before a key");
    out.push(u8::from(border.key().is_some()));
    out.extend_from_slice(border.key().map_or(&[][..], |key| key));
}

fn decode_border(bytes: &[u8]) -> Result<Cut, PayloadError> {
    match bytes.split_first() {
        Some((0, [])) => Ok(Cut::End),
        Some((1, key)) if !key.is_empty() && key.len() <= lsm_types::MAX_KEY_LEN => {
            Ok(Cut::Before(Slice::from(key)))
        }
        _ => Err(PayloadError::field("border of the lineage")),
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    fn border() -> impl Strategy<Value = Cut> {
        prop_oneof![
            Just(Cut::End),
            prop::collection::vec(any::<u8>(), 1..20).prop_map(|key| Cut::Before(Slice::from(&key[..])))
        ]
    }

    fn ids() -> impl Strategy<Value = Vec<TableId>> {
        prop::collection::btree_set(any::<u64>(), 0..8)
            .prop_map(|ids| ids.into_iter().map(TableId::new).collect())
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(inputs in ids(), before in ids(), border in prop::option::of(border())) {
            let part = SlicePart { inputs, before, border };
            let mut bytes = Vec::new();
            part.encode(&mut bytes);
            prop_assert_eq!(SlicePart::decode(&bytes), Ok(part));
        }

        #[test]
        fn a_list_is_read_as_it_was_written(tables in ids(), below in border()) {
            let list: Vec<_> =
                tables.into_iter().map(|table| TakenOver { table, below: below.clone() }).collect();
            let mut bytes = Vec::new();
            encode_taken_over(&list, &mut bytes);
            prop_assert_eq!(decode_taken_over(&bytes), Ok(list));
        }

        #[test]
        fn any_bytes_are_a_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(part) = SlicePart::decode(&bytes) {
                let mut again = Vec::new();
                part.encode(&mut again);
                prop_assert_eq!(SlicePart::decode(&again), Ok(part));
            }
            let _ = decode_taken_over(&bytes);
        }
    }

    /// The most that may be named fits, and a list that would not is left out as a whole.
    #[test]
    fn nothing_is_longer_than_its_block() {
        let ids = |count: u64| (0..count).map(|at| TableId::new(u64::MAX - count * 7 + at * 7)).collect();
        let key = Cut::Before(Slice::from(&vec![7; lsm_types::MAX_KEY_LEN][..]));
        let inputs: Vec<TableId> = ids(SlicePart::TABLES_MAX as u64);
        let part = SlicePart { inputs, before: Vec::new(), border: Some(key.clone()) };
        let mut bytes = Vec::new();
        part.encode(&mut bytes);
        assert!(bytes.len() <= MAX_BYTES);
        let list: Vec<_> =
            (1..=3).map(|id| TakenOver { table: TableId::new(id), below: key.clone() }).collect();
        bytes.clear();
        encode_taken_over(&list, &mut bytes);
        assert!(bytes.is_empty());
    }
}
