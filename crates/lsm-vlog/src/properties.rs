//! What a value log says about itself (`docs/format/vlog.md`, section 5).
//!
//! The payload is a list sorted by id of `(id u16, type u8, length varint, bytes)`, with the ids of tables where a
//! property is the same; types are 1 for a number (u64), 2 for bytes and 3 for UTF-8. An id with its top bit set must be
//! understood, any other may be skipped.

use alloc::{string::String, vec::Vec};

use lsm_types::{ByteReader, EditIndex, MAX_NAME_LEN, SeqNo, Slice, UnixNanos, VlogId, varint};

use crate::PayloadError;

const NUMBER: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
/// Ids with this bit must be understood.
const CRITICAL: u16 = 1 << 15;

const WRITER: u16 = 0x0001;
const CREATED: u16 = 0x0002;
const FILE_ID: u16 = 0x0003;
const COMPARATOR: u16 = 0x0005;
const EDIT_INDEX: u16 = 0x0006;
const VALUES: u16 = 0x0100;
const CHUNKED: u16 = 0x0108;
const MIN_KEY: u16 = 0x0200;
const MAX_KEY: u16 = 0x0201;
const MIN_SEQNO: u16 = 0x0210;
const MAX_SEQNO: u16 = 0x0211;
const KEY_BYTES: u16 = 0x0300;
const VALUE_BYTES: u16 = 0x0301;
const STORED_BYTES: u16 = 0x0303;
const CODECS: u16 = 0x0500;

/// How many frames of values are stored by which codec.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CodecCensus {
    /// Stored raw.
    pub raw: u64,
    /// LZ4.
    pub lz4: u64,
    /// Zstandard.
    pub zstd: u64,
}

/// What a value log says about itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Properties {
    /// Name and version of the program that wrote it.
    pub writer: String,
    /// When it was made.
    pub created: UnixNanos,
    /// Its number.
    pub file: VlogId,
    /// Name of the order that the keys below are the ends of.
    pub comparator: String,
    /// Last edit of the manifest when it was begun.
    pub edit_index: EditIndex,
    /// Values.
    pub values: u64,
    /// Of them, those stored in chunks.
    pub chunked_values: u64,
    /// Bytes of keys, counted once per value.
    pub key_bytes: u64,
    /// Bytes of values.
    pub value_bytes: u64,
    /// Bytes of the frames they lie in.
    pub stored_bytes: u64,
    /// How the frames are stored.
    pub codecs: CodecCensus,
    /// Smallest and largest key; `None` without values.
    pub keys: Option<(Slice, Slice)>,
    /// Smallest and largest number; `None` without values.
    pub seqnos: Option<(SeqNo, SeqNo)>,
}

impl Properties {
    /// Appends the payload to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        text(WRITER, &self.writer, out);
        number(CREATED, self.created.get(), out);
        number(FILE_ID, self.file.get(), out);
        text(COMPARATOR, &self.comparator, out);
        number(EDIT_INDEX, self.edit_index.get(), out);
        number(VALUES, self.values, out);
        number(CHUNKED, self.chunked_values, out);
        if let Some((min, max)) = &self.keys {
            item(MIN_KEY, BYTES, min, out);
            item(MAX_KEY, BYTES, max, out);
        }
        if let Some((min, max)) = self.seqnos {
            number(MIN_SEQNO, min.get(), out);
            number(MAX_SEQNO, max.get(), out);
        }
        number(KEY_BYTES, self.key_bytes, out);
        number(VALUE_BYTES, self.value_bytes, out);
        number(STORED_BYTES, self.stored_bytes, out);
        let CodecCensus { raw, lz4, zstd } = self.codecs;
        item(CODECS, BYTES, &[raw, lz4, zstd].map(u64::to_le_bytes).concat(), out);
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// [`PayloadError`].
    pub fn decode(payload: &[u8]) -> Result<Self, PayloadError> {
        let mut reader = ByteReader::new(payload);
        let mut found = Self::default();
        let (mut keys, mut seqnos) = ((None, None), (None, None));
        let mut last_id = None;
        while !reader.is_empty() {
            let item = Item { id: reader.u16()?, ty: reader.u8()?, bytes: reader.prefixed()? };
            if last_id.is_some_and(|last| last >= item.id) {
                return Err(PayloadError::Field("property order"));
            }
            last_id = Some(item.id);
            match item.id {
                WRITER => found.writer = item.text()?,
                CREATED => found.created = UnixNanos::new(item.number()?),
                FILE_ID => found.file = VlogId::new(item.number()?),
                COMPARATOR => found.comparator = item.text()?,
                EDIT_INDEX => found.edit_index = EditIndex::new(item.number()?),
                VALUES => found.values = item.number()?,
                CHUNKED => found.chunked_values = item.number()?,
                MIN_KEY => keys.0 = Some(Slice::from(item.bytes(BYTES)?)),
                MAX_KEY => keys.1 = Some(Slice::from(item.bytes(BYTES)?)),
                MIN_SEQNO => seqnos.0 = Some(item.seqno()?),
                MAX_SEQNO => seqnos.1 = Some(item.seqno()?),
                KEY_BYTES => found.key_bytes = item.number()?,
                VALUE_BYTES => found.value_bytes = item.number()?,
                STORED_BYTES => found.stored_bytes = item.number()?,
                CODECS => found.codecs = item.census()?,
                id if id & CRITICAL != 0 => {
                    return Err(PayloadError::Unsupported { part: "property", found: id.into() });
                }
                _ => {}
            }
        }
        found.keys = both(keys, "key bounds")?;
        found.seqnos = both(seqnos, "seqno bounds")?;
        found.check()
    }

    fn check(self) -> Result<Self, PayloadError> {
        let has_values = self.values > 0;
        if self.keys.is_some() != has_values {
            return Err(PayloadError::Field("key bounds"));
        }
        if self.seqnos.is_some() != has_values || self.seqnos.is_some_and(|(min, max)| min > max) {
            return Err(PayloadError::Field("seqno bounds"));
        }
        if self.chunked_values > self.values {
            return Err(PayloadError::Field("chunked values"));
        }
        Ok(self)
    }
}

/// Two properties that come together or not at all.
fn both<T>(pair: (Option<T>, Option<T>), field: &'static str) -> Result<Option<(T, T)>, PayloadError> {
    match pair {
        (Some(min), Some(max)) => Ok(Some((min, max))),
        (None, None) => Ok(None),
        _ => Err(PayloadError::Field(field)),
    }
}

fn item(id: u16, ty: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&id.to_le_bytes());
    out.push(ty);
    varint::encode_prefixed(bytes, out);
}

fn number(id: u16, number: u64, out: &mut Vec<u8>) {
    item(id, NUMBER, &number.to_le_bytes(), out);
}

fn text(id: u16, text: &str, out: &mut Vec<u8>) {
    item(id, TEXT, text.as_bytes(), out);
}

/// One property as it stands in the list.
struct Item<'a> {
    id: u16,
    ty: u8,
    bytes: &'a [u8],
}

impl<'a> Item<'a> {
    fn bytes(&self, ty: u8) -> Result<&'a [u8], PayloadError> {
        if self.ty == ty { Ok(self.bytes) } else { Err(PayloadError::Field("property type")) }
    }

    fn number(&self) -> Result<u64, PayloadError> {
        let bytes = self.bytes(NUMBER)?;
        bytes.try_into().map(u64::from_le_bytes).map_err(|_| PayloadError::Field("number length"))
    }

    fn seqno(&self) -> Result<SeqNo, PayloadError> {
        let seqno = SeqNo::new(self.number()?).filter(|seqno| seqno.is_write());
        seqno.ok_or(PayloadError::Field("seqno"))
    }

    fn text(&self) -> Result<String, PayloadError> {
        let bytes = self.bytes(TEXT)?;
        if bytes.len() > MAX_NAME_LEN {
            return Err(PayloadError::Field("text length"));
        }
        core::str::from_utf8(bytes).map(String::from).map_err(|_| PayloadError::Field("text"))
    }

    fn census(&self) -> Result<CodecCensus, PayloadError> {
        let mut reader = ByteReader::new(self.bytes(BYTES)?);
        let census = CodecCensus { raw: reader.u64()?, lz4: reader.u64()?, zstd: reader.u64()? };
        if reader.is_empty() { Ok(census) } else { Err(PayloadError::Field("codec census")) }
    }
}
