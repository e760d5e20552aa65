//! The records of a manifest file: a snapshot in pieces, then edits (`docs/format/manifest.md`, section 3).
//!
//! | tag | record          | payload                                                         |
//! |-----|-----------------|-----------------------------------------------------------------|
//! | 1   | `SnapshotBegin` | fields: 1 edit index varint, 2 database uuid, 3 trees, 4 tables |
//! | 2   | `SnapshotChunk` | steps                                                           |
//! | 3   | `SnapshotEnd`   | chunks varint, digest u64 LE                                    |
//! | 4   | `Edits`         | index of the edit before varint, edits: length varint, steps    |
//! | 5   | `CleanClose`    | nothing                                                         |
//!
//! Every tag must be understood: a record that is skipped would leave a gap in the state.

use alloc::vec::Vec;

use lsm_types::{ByteReader, EditIndex, FileUuid, varint};

use super::fields::{narrow, prefixed, put, put_varint, required, walk};
use crate::{ManifestError, VersionEdit};

mod tag {
    pub(super) const SNAPSHOT_BEGIN: u8 = 1;
    pub(super) const SNAPSHOT_CHUNK: u8 = 2;
    pub(super) const SNAPSHOT_END: u8 = 3;
    pub(super) const EDITS: u8 = 4;
    pub(super) const CLEAN_CLOSE: u8 = 5;
}

/// Which state a snapshot holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SnapshotBegin {
    /// The last edit that the snapshot includes.
    pub edit_index: EditIndex,
    /// The database it belongs to.
    pub database: FileUuid,
    /// Number of trees.
    pub tree_count: u32,
    /// Number of tables of all trees.
    pub table_count: u64,
}

/// One record of a manifest file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// The first record.
    SnapshotBegin(SnapshotBegin),
    /// A piece of the snapshot; all pieces, applied in order to nothing, make the state.
    SnapshotChunk(VersionEdit),
    /// The snapshot is complete.
    SnapshotEnd {
        /// Number of pieces.
        chunk_count: u64,
        /// XXH3-64 over the encoded pieces ([`crate::SnapshotDigest`]).
        digest: u64,
    },
    /// Steps of the database that became durable together: after a crash all are there, or none.
    Edits {
        /// Index of the edit before the first; each one's own is one more than that of the one before it.
        follows: EditIndex,
        /// What changes; not empty.
        edits: Vec<VersionEdit>,
    },
    /// The database was closed; nothing follows.
    CleanClose,
}

/// What a record is, read from its first bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RecordHead {
    /// The first record.
    SnapshotBegin(SnapshotBegin),
    /// A piece of the snapshot.
    SnapshotChunk,
    /// The snapshot is complete.
    SnapshotEnd {
        /// Digest over its pieces.
        digest: u64,
    },
    /// Steps of the database.
    Edits {
        /// Index of the edit before the first.
        follows: EditIndex,
        /// How many there are.
        count: u64,
    },
    /// The database was closed.
    CleanClose,
}

impl Record {
    /// Appends the record's only encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::SnapshotBegin(begin) => {
                out.push(tag::SNAPSHOT_BEGIN);
                put_varint(out, 1, begin.edit_index.get());
                put(out, 2, |out| out.extend_from_slice(begin.database.as_bytes()));
                put_varint(out, 3, begin.tree_count.into());
                put_varint(out, 4, begin.table_count);
            }
            Self::SnapshotChunk(edit) => {
                out.push(tag::SNAPSHOT_CHUNK);
                edit.encode(out);
            }
            Self::SnapshotEnd { chunk_count, digest } => {
                out.push(tag::SNAPSHOT_END);
                varint::encode(*chunk_count, out);
                out.extend_from_slice(&digest.to_le_bytes());
            }
            Self::Edits { follows, edits } => Self::encode_edits(*follows, edits, out),
            Self::CleanClose => out.push(tag::CLEAN_CLOSE),
        }
    }

    /// Appends the encoding of [`Record::Edits`] without owning the edits.
    pub fn encode_edits<'a>(
        follows: EditIndex,
        edits: impl IntoIterator<Item = &'a VersionEdit>,
        out: &mut Vec<u8>,
    ) {
        out.push(tag::EDITS);
        varint::encode(follows.get(), out);
        for edit in edits {
            prefixed(out, |out| edit.encode(out));
        }
    }

    /// The record that is exactly `bytes`.
    ///
    /// # Errors
    /// [`ManifestError::UnknownTag`] for what must be understood and is not; otherwise [`ManifestError::Decode`]
    /// or [`ManifestError::Bytes`] for bytes that are not the encoding of a record.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let mut reader = ByteReader::new(bytes);
        Ok(match reader.u8()? {
            tag::SNAPSHOT_BEGIN => Self::SnapshotBegin(decode_begin(reader.take_rest())?),
            tag::SNAPSHOT_CHUNK => Self::SnapshotChunk(VersionEdit::decode(reader.take_rest())?),
            tag::SNAPSHOT_END => {
                let (chunk_count, digest) = decode_end(reader)?;
                Self::SnapshotEnd { chunk_count, digest }
            }
            tag::EDITS => {
                let follows = EditIndex::new(reader.varint()?);
                let mut edits = Vec::new();
                each_edit(reader, |edit| {
                    edits.push(VersionEdit::decode(edit)?);
                    Ok(())
                })?;
                Self::Edits { follows, edits }
            }
            tag::CLEAN_CLOSE => decode_close(reader)?,
            tag => return Err(ManifestError::UnknownTag { what: "record", tag: u64::from(tag) }),
        })
    }

    /// What the record that is `bytes` says about itself; the steps in it are not looked at.
    ///
    /// # Errors
    /// As [`Record::decode`], as far as it looks.
    pub fn head(bytes: &[u8]) -> Result<RecordHead, ManifestError> {
        let mut reader = ByteReader::new(bytes);
        Ok(match reader.u8()? {
            tag::SNAPSHOT_BEGIN => RecordHead::SnapshotBegin(decode_begin(reader.take_rest())?),
            tag::SNAPSHOT_CHUNK => RecordHead::SnapshotChunk,
            tag::SNAPSHOT_END => RecordHead::SnapshotEnd { digest: decode_end(reader)?.1 },
            tag::EDITS => {
                let follows = EditIndex::new(reader.varint()?);
                RecordHead::Edits { follows, count: each_edit(reader, |_| Ok(()))? }
            }
            tag::CLEAN_CLOSE => decode_close(reader).map(|_| RecordHead::CleanClose)?,
            tag => return Err(ManifestError::UnknownTag { what: "record", tag: u64::from(tag) }),
        })
    }
}

fn decode_begin(bytes: &[u8]) -> Result<SnapshotBegin, ManifestError> {
    let (mut edit_index, mut database, mut trees, mut tables) = (None, None, None, None);
    walk(bytes, "snapshot field", |id, value| {
        match id {
            1 => edit_index = Some(EditIndex::new(value.varint()?)),
            2 => database = Some(FileUuid::from_bytes(value.read("database", |r| Ok(r.array()?))?)),
            3 => trees = Some(narrow(value.varint()?, "trees")?),
            4 => tables = Some(value.varint()?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(SnapshotBegin {
        edit_index: required(edit_index, "edit index")?,
        database: required(database, "database")?,
        tree_count: required(trees, "trees")?,
        table_count: required(tables, "tables")?,
    })
}

/// Hands out the bytes of each edit; returns how many there are, at least one.
fn each_edit(
    mut reader: ByteReader<'_>,
    mut take: impl FnMut(&[u8]) -> Result<(), ManifestError>,
) -> Result<u64, ManifestError> {
    let mut count = 0;
    while !reader.is_empty() {
        take(reader.prefixed()?)?;
        count += 1;
    }
    if count > 0 { Ok(count) } else { Err(ManifestError::Decode { field: "number of edits" }) }
}

fn decode_end(mut reader: ByteReader<'_>) -> Result<(u64, u64), ManifestError> {
    let end = (reader.varint()?, reader.u64()?);
    if reader.is_empty() { Ok(end) } else { Err(ManifestError::Decode { field: "end of the snapshot" }) }
}

fn decode_close(reader: ByteReader<'_>) -> Result<Record, ManifestError> {
    if reader.is_empty() { Ok(Record::CleanClose) } else { Err(ManifestError::Decode { field: "close" }) }
}
