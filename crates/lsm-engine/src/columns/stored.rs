//! The schemas that a tree remembers, and those it is opened with (F-107).

use std::sync::Arc;

use lsm_columnar::{ColumnSplitter, Schema};
use lsm_manifest::{Schemas, StoredSchema};
use lsm_types::Result;

use super::ColumnPolicy;
use crate::{EngineError, NameMismatch, Tree};

impl Tree {
    /// The schemas that the tree remembers, oldest first, each with the splitter that values were split by.
    pub fn schemas(&self) -> Vec<Arc<StoredSchema>> {
        self.inner.current.load().version.schemas.iter().cloned().collect()
    }
}

/// Holds what is stored about the columns of a tree against what it is opened with. Nothing is changed.
///
/// # Errors
/// `OptionMismatch` for another splitter, or none; `InvalidConfig` for a schema that does not go with those before.
pub(crate) fn check_schemas(
    stored: &Schemas,
    policy: Option<&ColumnPolicy>,
    on_name_mismatch: NameMismatch,
) -> Result<()> {
    let Some(newest) = stored.newest() else { return Ok(()) };
    let Some(policy) = policy else {
        return other_splitter(newest, None, on_name_mismatch);
    };
    if policy.schema().id() < newest.id {
        return Err(EngineError::SchemaMismatch {
            stored: Some(newest.id),
            supplied: policy.schema().id(),
            problem: "the tree has a newer schema; give its splitter, and this one as an older one",
        }
        .into());
    }
    for splitter in policy.splitters() {
        let schema = splitter.schema();
        match stored.get(schema.id()) {
            Some(known) => check_known(known, splitter.as_ref(), on_name_mismatch)?,
            None if schema.id() == newest.id + 1 => check_follows(&decode(newest)?, schema)?,
            // Follows one that is given, too, and was held against it when the policy was.
            None if schema.id() > newest.id && is_given(policy, schema.id() - 1) => {}
            None => {
                return Err(EngineError::SchemaMismatch {
                    stored: Some(newest.id),
                    supplied: schema.id(),
                    problem: "it is not one of the tree's, nor the next; evolve the tree's newest schema, and give the splitters in between as older ones",
                }
                .into());
            }
        }
    }
    Ok(())
}

/// The schemas of `policy` that the tree does not know yet, oldest first.
pub(crate) fn new_schemas(stored: &Schemas, policy: &ColumnPolicy) -> Vec<Arc<StoredSchema>> {
    let newest = stored.newest().map_or(0, |newest| newest.id);
    let unknown = policy.splitters().rev().filter(|splitter| splitter.schema().id() > newest);
    unknown.map(|splitter| Arc::new(encode(splitter.as_ref()))).collect()
}

fn is_given(policy: &ColumnPolicy, id: u32) -> bool {
    policy.splitters().any(|splitter| splitter.schema().id() == id)
}

fn encode(splitter: &dyn ColumnSplitter) -> StoredSchema {
    let mut schema = Vec::new();
    splitter.schema().encode(&mut schema);
    StoredSchema {
        id: splitter.schema().id(),
        splitter: splitter.name().to_owned(),
        splitter_version: splitter.version(),
        schema: schema.into(),
    }
}

pub(crate) fn decode(stored: &StoredSchema) -> Result<Schema> {
    let schema = Schema::decode(&stored.schema)?;
    if schema.id() == stored.id {
        return Ok(schema);
    }
    Err(EngineError::SchemaMismatch {
        stored: Some(stored.id),
        supplied: schema.id(),
        problem: "the manifest has it under another number",
    }
    .into())
}

/// A schema of the tree is what it was, and so is who splits values into it.
fn check_known(
    known: &StoredSchema,
    splitter: &dyn ColumnSplitter,
    on_name_mismatch: NameMismatch,
) -> Result<()> {
    if decode(known)? != *splitter.schema() {
        return Err(EngineError::SchemaMismatch {
            stored: Some(known.id),
            supplied: known.id,
            problem: "the tree has another schema of this number; change a schema with `Schema::evolve`, which gives it the next number",
        }
        .into());
    }
    if known.splitter == splitter.name() && known.splitter_version == splitter.version() {
        return Ok(());
    }
    other_splitter(known, Some(splitter), on_name_mismatch)
}

fn other_splitter(
    stored: &StoredSchema,
    supplied: Option<&dyn ColumnSplitter>,
    on_name_mismatch: NameMismatch,
) -> Result<()> {
    let supplied = supplied.map(|splitter| (splitter.name().to_owned(), splitter.version()));
    if on_name_mismatch == NameMismatch::Error {
        return Err(EngineError::SplitterMismatch {
            schema: stored.id,
            stored: (stored.splitter.clone(), stored.splitter_version),
            supplied,
        }
        .into());
    }
    tracing::warn!(stored = %stored.splitter, version = stored.splitter_version, ?supplied, "values were split by another splitter");
    Ok(())
}

/// `newer` is what `older` may become.
pub(super) fn check_follows(older: &Schema, newer: &Schema) -> Result<()> {
    if older.evolve(newer.columns().to_vec())? == *newer {
        return Ok(());
    }
    Err(EngineError::SchemaMismatch {
        stored: Some(older.id()),
        supplied: newer.id(),
        problem: "it was not made from the schema before it; use `Schema::evolve`",
    }
    .into())
}
