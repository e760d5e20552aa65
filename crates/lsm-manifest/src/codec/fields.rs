//! Tagged fields: the part of a record that later versions may add to.
//!
//! ```text
//! field := id u8 | length varint | value
//! ```
//!
//! Ids ascend and occur once, so a value has one encoding. A reader skips an id it does not know, unless bit 7 is
//! set: that marks what nobody may ignore.

use alloc::vec::Vec;

use lsm_types::{ByteReader, varint};

use crate::ManifestError;

/// Set in an id that a reader must understand.
pub(crate) const MUST_UNDERSTAND: u8 = 0x80;

/// Appends a length-prefixed value that `fill` writes.
pub(crate) fn prefixed(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.push(0);
    fill(out);
    let len = out.len() - at - 1;
    if let (Ok(short), Some(byte)) = (u8::try_from(len), out.get_mut(at))
        && short < 0x80
    {
        *byte = short;
        return;
    }
    let mut prefix = Vec::with_capacity(varint::MAX_LEN);
    varint::encode(len as u64, &mut prefix);
    out.splice(at..=at, prefix);
}

/// Appends a field.
pub(crate) fn put(out: &mut Vec<u8>, id: u8, fill: impl FnOnce(&mut Vec<u8>)) {
    out.push(id);
    prefixed(out, fill);
}

/// Appends a field that holds one number.
pub(crate) fn put_varint(out: &mut Vec<u8>, id: u8, value: u64) {
    put(out, id, |out| varint::encode(value, out));
}

/// Appends a field that holds one number, unless it is zero.
pub(crate) fn put_nonzero(out: &mut Vec<u8>, id: u8, value: u64) {
    if value != 0 {
        put_varint(out, id, value);
    }
}

/// Walks the fields of `bytes`; `known` takes a value, or answers `false` for an id it does not know.
pub(crate) fn walk<'a>(
    bytes: &'a [u8],
    what: &'static str,
    mut known: impl FnMut(u8, Value<'a>) -> Result<bool, ManifestError>,
) -> Result<(), ManifestError> {
    let mut reader = ByteReader::new(bytes);
    let mut last = None;
    while !reader.is_empty() {
        let id = reader.u8()?;
        if last.is_some_and(|last| last >= id) {
            return Err(ManifestError::Decode { field: what });
        }
        last = Some(id);
        let value = Value { field: what, bytes: reader.prefixed()? };
        if !known(id, value)? && id & MUST_UNDERSTAND != 0 {
            return Err(ManifestError::UnknownTag { what, tag: u64::from(id) });
        }
    }
    Ok(())
}

/// The bytes of one field.
#[derive(Clone, Copy)]
pub(crate) struct Value<'a> {
    field: &'static str,
    bytes: &'a [u8],
}

impl<'a> Value<'a> {
    /// Reads the whole value with `read`; bytes left over are an error.
    pub(crate) fn read<T>(
        self,
        field: &'static str,
        read: impl FnOnce(&mut ByteReader<'a>) -> Result<T, ManifestError>,
    ) -> Result<T, ManifestError> {
        let mut reader = ByteReader::new(self.bytes);
        let value = read(&mut reader)?;
        if reader.is_empty() { Ok(value) } else { Err(ManifestError::Decode { field }) }
    }

    /// A value that is one number.
    pub(crate) fn varint(self) -> Result<u64, ManifestError> {
        self.read(self.field, |reader| Ok(reader.varint()?))
    }

    /// A value that is one number and is left out when it is zero.
    pub(crate) fn nonzero(self) -> Result<u64, ManifestError> {
        match self.varint()? {
            0 => Err(ManifestError::Decode { field: self.field }),
            value => Ok(value),
        }
    }
}

/// A number that fits a narrower type.
pub(crate) fn narrow<T: TryFrom<u64>>(value: u64, field: &'static str) -> Result<T, ManifestError> {
    T::try_from(value).map_err(|_| ManifestError::Decode { field })
}

/// A field that must be there.
pub(crate) fn required<T>(value: Option<T>, field: &'static str) -> Result<T, ManifestError> {
    value.ok_or(ManifestError::Decode { field })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expect: Result<u64, ManifestError>) {
        let mut seen = 0;
        let walked = walk(bytes, "thing", |id, value| {
            if id != 3 {
                return Ok(false);
            }
            seen = value.varint()?;
            Ok(true)
        });
        assert_eq!(walked.map(|()| seen), expect, "{bytes:?}");
    }

    /// Proves D-36: later fields are skipped or refused, never guessed at.
    #[test]
    fn unknown_fields_are_skipped_unless_marked() {
        let malformed = Err(ManifestError::Decode { field: "thing" });
        check(&[3, 1, 9], Ok(9));
        check(&[1, 2, 7, 7, 3, 1, 9, 4, 0], Ok(9));
        check(&[3, 1, 9, 0x83, 0], Err(ManifestError::UnknownTag { what: "thing", tag: 0x83 }));
        check(&[3, 1, 9, 3, 1, 9], malformed);
        check(&[4, 0, 3, 1, 9], malformed);
        check(&[3, 2, 9, 9], malformed);
        assert!(walk(&[3, 200], "thing", |_, _| Ok(true)).is_err());
    }

    #[test]
    fn long_values_get_long_prefixes() {
        for len in [0_usize, 1, 127, 128, 16_383, 16_384] {
            let mut out = alloc::vec![0xEE];
            prefixed(&mut out, |out| out.resize(out.len() + len, 7));
            let mut expect = alloc::vec![0xEE];
            varint::encode_prefixed(&alloc::vec![7; len], &mut expect);
            assert_eq!(out, expect, "{len}");
        }
    }
}
