//! The bytes of what the manifest says about a delete vector (`docs/format/manifest.md`, section 5).

use alloc::vec::Vec;

use lsm_types::{ByteReader, EditIndex, FileUuid, SeqNo, VectorId, varint};

use super::{
    descriptor::{decode_numbers, numbers},
    fields::narrow,
};
use crate::{DirectoryHandle, ManifestError, VectorDescriptor};

impl VectorDescriptor {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        varint::encode(self.id.get(), out);
        out.extend_from_slice(self.uuid.as_bytes());
        varint::encode(self.file_len, out);
        out.extend_from_slice(&self.digest.to_le_bytes());
        let directory = [self.directory.offset, self.directory.len.into()];
        numbers(&[self.key_id.into(), self.created_edit.get()], out);
        numbers(&directory, out);
        numbers(&[self.cardinality, self.watermark.get()], out);
    }

    pub(super) fn decode(reader: &mut ByteReader<'_>) -> Result<Self, ManifestError> {
        let id = VectorId::new(reader.varint()?);
        let uuid = FileUuid::from_bytes(reader.array()?);
        let file_len = reader.varint()?;
        let digest = reader.u64()?;
        let [key_id, edit, offset, len, cardinality, watermark] = decode_numbers(reader)?;
        Ok(Self {
            id,
            uuid,
            file_len,
            digest,
            key_id: narrow(key_id, "key of a delete vector")?,
            created_edit: EditIndex::new(edit),
            directory: DirectoryHandle { offset, len: narrow(len, "directory of a delete vector")? },
            cardinality,
            watermark: SeqNo::new(watermark)
                .ok_or(ManifestError::Decode { field: "watermark of a delete vector" })?,
        })
    }
}
