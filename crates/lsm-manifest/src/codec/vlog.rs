//! The bytes of a value log's descriptor: tagged fields (`docs/format/manifest.md`, section 6).
//!
//! | id | field          | value                                             | left out |
//! |----|----------------|---------------------------------------------------|----------|
//! | 1  | id             | varint                                            | never    |
//! | 2  | uuid           | 16 bytes                                          | never    |
//! | 3  | `file_len`     | varint                                            | never    |
//! | 4  | digest         | u64 LE                                            | never    |
//! | 5  | format         | major varint, minor varint                        | never    |
//! | 6  | features       | varint                                            | 0        |
//! | 7  | `key_id`       | varint                                            | 0        |
//! | 8  | `created_at`   | varint                                            | 0        |
//! | 9  | `created_edit` | varint                                            | 0        |
//! | 10 | total          | three varints: entries, value bytes, stored bytes | never    |
//! | 11 | directory      | offset varint, length varint                      | never    |
//! | 12 | `tail_len`     | varint                                            | 0        |
//! | 61 | `is_ordered`   | varint, 1                                         | not known to be |

use alloc::vec::Vec;

use lsm_types::{EditIndex, FileUuid, UnixNanos, ValueUsage, VlogId};

use super::{
    descriptor::{decode_numbers, numbers},
    fields::{narrow, put, put_nonzero, put_varint, required, walk},
};
use crate::{DirectoryHandle, ManifestError, VlogDescriptor};

mod id {
    pub(super) const ID: u8 = 1;
    pub(super) const UUID: u8 = 2;
    pub(super) const FILE_LEN: u8 = 3;
    pub(super) const DIGEST: u8 = 4;
    pub(super) const FORMAT: u8 = 5;
    pub(super) const FEATURES: u8 = 6;
    pub(super) const KEY_ID: u8 = 7;
    pub(super) const CREATED_AT: u8 = 8;
    pub(super) const CREATED_EDIT: u8 = 9;
    pub(super) const TOTAL: u8 = 10;
    pub(super) const DIRECTORY: u8 = 11;
    pub(super) const TAIL_LEN: u8 = 12;
    pub(super) const IS_ORDERED: u8 = 61;
}

impl VlogDescriptor {
    /// Appends the descriptor's only encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, id::ID, self.id.get());
        put(out, id::UUID, |out| out.extend_from_slice(self.uuid.as_bytes()));
        put_varint(out, id::FILE_LEN, self.file_len);
        put(out, id::DIGEST, |out| out.extend_from_slice(&self.digest.to_le_bytes()));
        put(out, id::FORMAT, |out| numbers(&[self.format.0.into(), self.format.1.into()], out));
        put_nonzero(out, id::FEATURES, self.features);
        put_nonzero(out, id::KEY_ID, self.key_id.into());
        put_nonzero(out, id::CREATED_AT, self.created_at.get());
        put_nonzero(out, id::CREATED_EDIT, self.created_edit.get());
        let total = &self.total;
        put(out, id::TOTAL, |out| numbers(&[total.entries, total.value_bytes, total.stored_bytes], out));
        put(out, id::DIRECTORY, |out| numbers(&[self.directory.offset, self.directory.len.into()], out));
        put_nonzero(out, id::TAIL_LEN, self.tail_len.into());
        put_nonzero(out, id::IS_ORDERED, self.is_ordered.into());
    }

    /// The descriptor that is exactly `bytes`.
    ///
    /// # Errors
    /// [`ManifestError::UnknownTag`] for a field that must be understood and is not; otherwise
    /// [`ManifestError::Decode`] or [`ManifestError::Bytes`] for bytes that are not the encoding of a descriptor.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let mut draft = Draft::default();
        walk(bytes, "value log field", |id, value| {
            draft.take(id, value)?;
            Ok((id::ID..=id::TAIL_LEN).contains(&id) || id == id::IS_ORDERED)
        })?;
        draft.finish()
    }
}

/// The fields seen so far.
#[derive(Default)]
struct Draft {
    id: Option<u64>,
    uuid: Option<FileUuid>,
    file_len: Option<u64>,
    digest: Option<u64>,
    format: Option<(u16, u16)>,
    features: u64,
    key_id: u32,
    created_at: u64,
    created_edit: u64,
    total: Option<ValueUsage>,
    directory: Option<DirectoryHandle>,
    tail_len: u32,
    is_ordered: bool,
}

impl Draft {
    fn take(&mut self, id: u8, value: super::fields::Value<'_>) -> Result<(), ManifestError> {
        match id {
            id::ID => self.id = Some(value.varint()?),
            id::UUID => {
                self.uuid = Some(FileUuid::from_bytes(value.read("uuid", |r| Ok(r.array()?))?));
            }
            id::FILE_LEN => self.file_len = Some(value.varint()?),
            id::DIGEST => self.digest = Some(value.read("digest", |r| Ok(r.u64()?))?),
            id::FORMAT => {
                let [major, minor] = value.read("format", decode_numbers)?;
                self.format = Some((narrow(major, "format")?, narrow(minor, "format")?));
            }
            id::FEATURES => self.features = value.nonzero()?,
            id::KEY_ID => self.key_id = narrow(value.nonzero()?, "key_id")?,
            id::CREATED_AT => self.created_at = value.nonzero()?,
            id::CREATED_EDIT => self.created_edit = value.nonzero()?,
            id::TOTAL => {
                let [entries, value_bytes, stored_bytes] = value.read("total", decode_numbers)?;
                self.total = Some(ValueUsage { entries, value_bytes, stored_bytes });
            }
            id::DIRECTORY => {
                let [offset, len] = value.read("directory", decode_numbers)?;
                self.directory = Some(DirectoryHandle { offset, len: narrow(len, "directory")? });
            }
            id::TAIL_LEN => self.tail_len = narrow(value.nonzero()?, "tail_len")?,
            id::IS_ORDERED => {
                self.is_ordered = value.nonzero()? == 1;
                required(self.is_ordered.then_some(()), "is_ordered")?;
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<VlogDescriptor, ManifestError> {
        Ok(VlogDescriptor {
            id: VlogId::new(required(self.id, "id")?),
            uuid: required(self.uuid, "uuid")?,
            file_len: required(self.file_len, "file_len")?,
            digest: required(self.digest, "digest")?,
            format: required(self.format, "format")?,
            features: self.features,
            key_id: self.key_id,
            created_at: UnixNanos::new(self.created_at),
            created_edit: EditIndex::new(self.created_edit),
            total: required(self.total, "total")?,
            directory: required(self.directory, "directory")?,
            tail_len: self.tail_len,
            is_ordered: self.is_ordered,
        })
    }
}
