//! The delete vector of a table: a file that says which of its rows are dead.

use alloc::sync::Arc;

use lsm_types::{EditIndex, FileUuid, SeqNo, VectorId};

use crate::{DirectoryHandle, ManifestError, TableDescriptor};

/// Everything the manifest stores about a delete vector.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct VectorDescriptor {
    /// Number of the file; never reused. It lies beside its table.
    pub id: VectorId,
    /// Random identity, repeated in the file.
    pub uuid: FileUuid,
    /// Length of the file in bytes.
    pub file_len: u64,
    /// Digest of the file's frames.
    pub digest: u64,
    /// Key under which the file is sealed; 0 for none.
    pub key_id: u32,
    /// Last edit when the file was begun.
    pub created_edit: EditIndex,
    /// Its section directory.
    pub directory: DirectoryHandle,
    /// Rows that are dead.
    pub cardinality: u64,
    /// Deletes of ranges numbered below it that stood in tables were carried out.
    pub watermark: SeqNo,
}

impl TableDescriptor {
    /// The table with a delete vector in the place of the one it had.
    ///
    /// # Errors
    /// `Vector` unless the vector is another file than before, takes back nothing and leaves no fewer rows than none.
    pub fn with_vector(&self, vector: Arc<VectorDescriptor>) -> Result<Arc<Self>, ManifestError> {
        let rule = |holds: bool, rule| {
            if holds { Ok(()) } else { Err(ManifestError::Vector { table: self.id, rule }) }
        };
        rule(
            (1..=self.counts.entries).contains(&vector.cardinality),
            "it kills rows that are not there, or none",
        )?;
        if let Some(before) = &self.vector {
            rule(before.id != vector.id && before.uuid != vector.uuid, "it is the one the table has")?;
            rule(before.cardinality <= vector.cardinality, "dead rows come back")?;
            rule(before.watermark <= vector.watermark, "its watermark falls")?;
        }
        Ok(Arc::new(Self { vector: Some(vector), ..self.clone() }))
    }

    /// Rows that are dead; they are still in the file.
    pub fn dead_entries(&self) -> u64 {
        self.vector.as_ref().map_or(0, |vector| vector.cardinality)
    }
}
