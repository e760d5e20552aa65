//! The schemas of a tree: what its values were, and are, split into (F-107).
//!
//! A manifest keeps them all, oldest first, so that no id of a column is ever given out twice. What a schema says is
//! the business of whoever splits values; here it is a number, a name and bytes.

use alloc::{string::String, sync::Arc, vec::Vec};

use lsm_types::{MAX_NAME_LEN, Slice};

use crate::ManifestError;

/// Most bytes of a schema, encoded.
pub const SCHEMA_LEN_MAX: usize = 256 << 10;

/// One schema of a tree, and who splits values into it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredSchema {
    /// Number of the schema; grows with each schema of a tree.
    pub id: u32,
    /// Name of the splitter, 1 to 255 bytes.
    pub splitter: String,
    /// Version of the splitter.
    pub splitter_version: u32,
    /// The schema, encoded (`docs/format/columnar.md`, section 2).
    pub schema: Slice,
}

/// The schemas of a tree, by number.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Schemas {
    /// Ascending by number.
    all: Vec<Arc<StoredSchema>>,
}

impl Schemas {
    /// All of them, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<StoredSchema>> {
        self.all.iter()
    }

    /// The newest one.
    pub fn newest(&self) -> Option<&Arc<StoredSchema>> {
        self.all.last()
    }

    /// The one with this number.
    pub fn get(&self, id: u32) -> Option<&Arc<StoredSchema>> {
        let at = self.all.binary_search_by_key(&id, |schema| schema.id).ok()?;
        self.all.get(at)
    }

    /// Takes one that is newer than all others.
    pub(crate) fn add(&mut self, schema: Arc<StoredSchema>) -> Result<(), ManifestError> {
        if !(1..=MAX_NAME_LEN).contains(&schema.splitter.len()) {
            return Err(ManifestError::TooLong { what: "name of a splitter" });
        }
        if schema.schema.len() > SCHEMA_LEN_MAX {
            return Err(ManifestError::TooLong { what: "schema" });
        }
        if self.newest().is_some_and(|newest| newest.id >= schema.id) || schema.id == 0 {
            return Err(ManifestError::Regression { what: "the number of the schema" });
        }
        self.all.push(schema);
        Ok(())
    }
}
