//! The bytes of an edit: a sequence of steps (`docs/format/manifest.md`, section 4).
//!
//! ```text
//! step := tag u8 | length varint | payload
//! ```
//!
//! | tag  | step          | payload                                             |
//! |------|---------------|-----------------------------------------------------|
//! | 0x03 | `WithoutSync` | nothing                                             |
//! | 0x81 | `ReserveIds`  | bound varint                                        |
//! | 0x82 | `CreateTree`  | tree varint, level count u8, name of the comparator |
//! | 0x8A | `AddRoute`    | route varint, 16 bytes                              |
//! | 0xA1 | `AddRun`      | tree varint, level u8, run varint, age varint       |
//! | 0xA2 | `AddTable`    | tree varint, level u8, run varint, descriptor       |
//! | 0xA3 | `RemoveTable` | tree varint, table varint                           |
//! | 0xA4 | `MoveTable`   | tree varint, table varint, level u8, run varint     |
//! | 0xA5 | `RaiseFloor`  | tree varint, seqno varint                           |
//! | 0xA6 | `LowerFloor`  | tree varint, seqno varint                           |
//! | 0xA7 | `MaxSeqNo`    | tree varint, seqno varint                           |
//! | 0xA8 | `Watermark`   | tree varint, seqno varint, 0 or 1 and the token     |
//! | 0xB1 | `ExportTable` | tree varint, table varint                           |
//! | 0xB2 | `MergeOperator` | tree varint, name of the merge operator           |
//! | 0xB6 | `ChangesFrom` | tree varint, seqno varint                           |
//! | 0xB7 | `AddVlog`     | tree varint, descriptor of the value log            |
//! | 0xB8 | `RemoveVlog`  | tree varint, value log varint                       |
//! | 0xB9 | `RefuseReads` | tree varint, seqno varint                           |
//! | 0xBA | `Separate`    | tree varint                                         |
//! | 0xBB | `RestrictTable` | tree varint, table varint, restriction, references |
//! | 0xBC | `ExportVlog`  | tree varint, value log varint                       |
//! | 0xBD | `AdvanceVlog` | tree varint, value log varint, offset varint        |
//! | 0xBE | `AddSchema`   | tree varint, schema varint, splitter version varint, its name, schema |
//! | 0xBF | `AttachVector` | tree varint, table varint, delete vector           |
//!
//! A restriction and a delete vector are laid out as in a descriptor, references as in a table; no references, no bytes.
//!
//! Steps of the database come first. Bit 7 of a tag says that a reader who does not know it must refuse: all steps
//! that change what is stored have it.

use alloc::{string::String, sync::Arc, vec::Vec};

use lsm_types::{
    ByteReader, FileUuid, Level, MAX_NAME_LEN, RouteId, RunId, SeqNo, Slice, TableId, TreeId,
    ValueReferences, VlogId, varint,
};

use super::fields::{MUST_UNDERSTAND, narrow, prefixed};
use crate::{
    DatabaseEdit, ManifestError, Restriction, SCHEMA_LEN_MAX, StoredSchema, TableDescriptor, TreeEdit,
    TreeIdentity, VectorDescriptor, VersionEdit, VlogDescriptor, Watermark,
    version::{LEVELS_MIN, TOKEN_MAX},
};

mod tag {
    pub(super) const WITHOUT_SYNC: u8 = 0x03;
    pub(super) const RESERVE_IDS: u8 = 0x81;
    pub(super) const CREATE_TREE: u8 = 0x82;
    pub(super) const ADD_ROUTE: u8 = 0x8A;
    pub(super) const ADD_RUN: u8 = 0xA1;
    pub(super) const ADD_TABLE: u8 = 0xA2;
    pub(super) const REMOVE_TABLE: u8 = 0xA3;
    pub(super) const MOVE_TABLE: u8 = 0xA4;
    pub(super) const RAISE_FLOOR: u8 = 0xA5;
    pub(super) const LOWER_FLOOR: u8 = 0xA6;
    pub(super) const MAX_SEQNO: u8 = 0xA7;
    pub(super) const WATERMARK: u8 = 0xA8;
    pub(super) const EXPORT_TABLE: u8 = 0xB1;
    pub(super) const MERGE_OPERATOR: u8 = 0xB2;
    pub(super) const CHANGES_FROM: u8 = 0xB6;
    pub(super) const ADD_VLOG: u8 = 0xB7;
    pub(super) const REMOVE_VLOG: u8 = 0xB8;
    pub(super) const REFUSE_READS: u8 = 0xB9;
    pub(super) const SEPARATE: u8 = 0xBA;
    pub(super) const RESTRICT_TABLE: u8 = 0xBB;
    pub(super) const EXPORT_VLOG: u8 = 0xBC;
    pub(super) const ADVANCE_VLOG: u8 = 0xBD;
    pub(super) const ADD_SCHEMA: u8 = 0xBE;
    pub(super) const ATTACH_VECTOR: u8 = 0xBF;
}

impl VersionEdit {
    /// Appends the edit's only encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for step in &self.database {
            step.encode(out);
        }
        for (tree, step) in &self.trees {
            step.encode(*tree, out);
        }
    }

    /// The edit that is exactly `bytes`.
    ///
    /// # Errors
    /// [`ManifestError::UnknownTag`] for a step or field that must be understood and is not; otherwise
    /// [`ManifestError::Decode`] or [`ManifestError::Bytes`] for bytes that are not the encoding of an edit.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let mut edit = Self::default();
        let mut reader = ByteReader::new(bytes);
        while !reader.is_empty() {
            let tag = reader.u8()?;
            let mut payload = ByteReader::new(reader.prefixed()?);
            if let Some(step) = decode_database(tag, &mut payload)? {
                if !edit.trees.is_empty() {
                    return Err(ManifestError::Decode { field: "order of steps" });
                }
                edit.database.push(step);
            } else if let Some(step) = decode_tree(tag, &mut payload)? {
                edit.trees.push(step);
            } else if tag & MUST_UNDERSTAND != 0 {
                return Err(ManifestError::UnknownTag { what: "step", tag: u64::from(tag) });
            } else {
                payload.take_rest();
            }
            if !payload.is_empty() {
                return Err(ManifestError::Decode { field: "length of a step" });
            }
        }
        Ok(edit)
    }
}

impl DatabaseEdit {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::WithoutSync => {
                out.push(tag::WITHOUT_SYNC);
                prefixed(out, |_| {});
            }
            Self::ReserveIds(bound) => {
                out.push(tag::RESERVE_IDS);
                prefixed(out, |out| varint::encode(*bound, out));
            }
            Self::AddRoute { route, uuid } => {
                out.push(tag::ADD_ROUTE);
                prefixed(out, |out| {
                    varint::encode(route.get().into(), out);
                    out.extend_from_slice(uuid.as_bytes());
                });
            }
            Self::CreateTree { tree, identity } => {
                out.push(tag::CREATE_TREE);
                prefixed(out, |out| {
                    varint::encode(tree.get().into(), out);
                    out.push(identity.level_count);
                    out.extend_from_slice(identity.comparator.as_bytes());
                });
            }
        }
    }
}

impl TreeEdit {
    fn encode(&self, tree: TreeId, out: &mut Vec<u8>) {
        out.push(self.tag());
        prefixed(out, |out| {
            varint::encode(tree.get().into(), out);
            match self {
                Self::AddRun { level, run, age } => {
                    out.push(level.get());
                    varint::encode(run.get(), out);
                    varint::encode(*age, out);
                }
                Self::AddTable { level, run, table } => {
                    out.push(level.get());
                    varint::encode(run.get(), out);
                    table.encode(out);
                }
                Self::RemoveTable { id } | Self::ExportTable { id } => varint::encode(id.get(), out),
                Self::MoveTable { id, level, run } => {
                    varint::encode(id.get(), out);
                    out.push(level.get());
                    varint::encode(run.get(), out);
                }
                Self::RestrictTable { id, to, references } => {
                    varint::encode(id.get(), out);
                    to.encode(out);
                    if !references.is_empty() {
                        references.encode(out);
                    }
                }
                Self::AttachVector { id, vector } => {
                    varint::encode(id.get(), out);
                    vector.encode(out);
                }
                Self::RaiseFloor(seqno)
                | Self::LowerFloor(seqno)
                | Self::MaxSeqNo(seqno)
                | Self::ChangesFrom(seqno)
                | Self::RefuseReads(seqno) => {
                    varint::encode(seqno.get(), out);
                }
                Self::Watermark(watermark) => {
                    varint::encode(watermark.seqno.get(), out);
                    out.push(u8::from(watermark.token.is_some()));
                    out.extend_from_slice(watermark.token.as_deref().unwrap_or_default());
                }
                Self::AddVlog { vlog } => vlog.encode(out),
                Self::RemoveVlog { id } | Self::ExportVlog { id } => varint::encode(id.get(), out),
                Self::AdvanceVlog { id, frontier } => {
                    varint::encode(id.get(), out);
                    varint::encode(*frontier, out);
                }
                Self::Separate => {}
                Self::MergeOperator(name) => out.extend_from_slice(name.as_bytes()),
                Self::AddSchema(schema) => {
                    varint::encode(schema.id.into(), out);
                    varint::encode(schema.splitter_version.into(), out);
                    varint::encode_prefixed(schema.splitter.as_bytes(), out);
                    out.extend_from_slice(&schema.schema);
                }
            }
        });
    }

    fn tag(&self) -> u8 {
        match self {
            Self::AddRun { .. } => tag::ADD_RUN,
            Self::AddTable { .. } => tag::ADD_TABLE,
            Self::RemoveTable { .. } => tag::REMOVE_TABLE,
            Self::MoveTable { .. } => tag::MOVE_TABLE,
            Self::RaiseFloor(_) => tag::RAISE_FLOOR,
            Self::LowerFloor(_) => tag::LOWER_FLOOR,
            Self::MaxSeqNo(_) => tag::MAX_SEQNO,
            Self::Watermark(_) => tag::WATERMARK,
            Self::ExportTable { .. } => tag::EXPORT_TABLE,
            Self::RestrictTable { .. } => tag::RESTRICT_TABLE,
            Self::AttachVector { .. } => tag::ATTACH_VECTOR,
            Self::MergeOperator(_) => tag::MERGE_OPERATOR,
            Self::ChangesFrom(_) => tag::CHANGES_FROM,
            Self::AddVlog { .. } => tag::ADD_VLOG,
            Self::RemoveVlog { .. } => tag::REMOVE_VLOG,
            Self::ExportVlog { .. } => tag::EXPORT_VLOG,
            Self::AdvanceVlog { .. } => tag::ADVANCE_VLOG,
            Self::RefuseReads(_) => tag::REFUSE_READS,
            Self::Separate => tag::SEPARATE,
            Self::AddSchema(_) => tag::ADD_SCHEMA,
        }
    }
}

fn decode_database(tag: u8, payload: &mut ByteReader<'_>) -> Result<Option<DatabaseEdit>, ManifestError> {
    Ok(Some(match tag {
        tag::WITHOUT_SYNC => DatabaseEdit::WithoutSync,
        tag::RESERVE_IDS => DatabaseEdit::ReserveIds(payload.varint()?),
        tag::ADD_ROUTE => {
            let route = RouteId::new(narrow(payload.varint()?, "route")?);
            DatabaseEdit::AddRoute { route, uuid: FileUuid::from_bytes(payload.array()?) }
        }
        tag::CREATE_TREE => {
            let tree = tree_id(payload)?;
            DatabaseEdit::CreateTree { tree, identity: identity(payload)? }
        }
        _ => return Ok(None),
    }))
}

fn decode_tree(tag: u8, payload: &mut ByteReader<'_>) -> Result<Option<(TreeId, TreeEdit)>, ManifestError> {
    let others = [
        tag::EXPORT_TABLE,
        tag::MERGE_OPERATOR,
        tag::CHANGES_FROM,
        tag::ADD_VLOG,
        tag::REMOVE_VLOG,
        tag::REFUSE_READS,
        tag::SEPARATE,
        tag::RESTRICT_TABLE,
        tag::EXPORT_VLOG,
        tag::ADVANCE_VLOG,
        tag::ADD_SCHEMA,
        tag::ATTACH_VECTOR,
    ];
    if !matches!(tag, tag::ADD_RUN..=tag::WATERMARK) && !others.contains(&tag) {
        return Ok(None);
    }
    let tree = tree_id(payload)?;
    let step = match tag {
        tag::ADD_RUN => {
            TreeEdit::AddRun { level: level(payload)?, run: run(payload)?, age: payload.varint()? }
        }
        tag::ADD_TABLE => {
            let (level, run) = (level(payload)?, run(payload)?);
            let table = Arc::new(TableDescriptor::decode(payload.take_rest())?);
            TreeEdit::AddTable { level, run, table }
        }
        tag::REMOVE_TABLE => TreeEdit::RemoveTable { id: TableId::new(payload.varint()?) },
        tag::MOVE_TABLE => TreeEdit::MoveTable {
            id: TableId::new(payload.varint()?),
            level: level(payload)?,
            run: run(payload)?,
        },
        tag::EXPORT_TABLE => TreeEdit::ExportTable { id: TableId::new(payload.varint()?) },
        tag::RESTRICT_TABLE => TreeEdit::RestrictTable {
            id: TableId::new(payload.varint()?),
            to: Restriction::decode(payload)?,
            references: references(payload)?,
        },
        tag::ATTACH_VECTOR => TreeEdit::AttachVector {
            id: TableId::new(payload.varint()?),
            vector: Arc::new(VectorDescriptor::decode(payload)?),
        },
        tag::ADD_VLOG => TreeEdit::AddVlog { vlog: Arc::new(VlogDescriptor::decode(payload.take_rest())?) },
        tag::REMOVE_VLOG => TreeEdit::RemoveVlog { id: VlogId::new(payload.varint()?) },
        tag::EXPORT_VLOG => TreeEdit::ExportVlog { id: VlogId::new(payload.varint()?) },
        tag::ADVANCE_VLOG => {
            TreeEdit::AdvanceVlog { id: VlogId::new(payload.varint()?), frontier: payload.varint()? }
        }
        tag::RAISE_FLOOR => TreeEdit::RaiseFloor(seqno(payload)?),
        tag::LOWER_FLOOR => TreeEdit::LowerFloor(seqno(payload)?),
        tag::MAX_SEQNO => TreeEdit::MaxSeqNo(seqno(payload)?),
        tag::CHANGES_FROM => TreeEdit::ChangesFrom(seqno(payload)?),
        tag::SEPARATE => TreeEdit::Separate,
        tag::REFUSE_READS => TreeEdit::RefuseReads(seqno(payload)?),
        tag::MERGE_OPERATOR => TreeEdit::MergeOperator(name(payload.take_rest(), "merge operator")?),
        tag::ADD_SCHEMA => TreeEdit::AddSchema(Arc::new(schema(payload)?)),
        _ => TreeEdit::Watermark(Watermark { seqno: seqno(payload)?, token: token(payload)? }),
    };
    Ok(Some((tree, step)))
}

fn tree_id(payload: &mut ByteReader<'_>) -> Result<TreeId, ManifestError> {
    Ok(TreeId::new(narrow(payload.varint()?, "tree")?))
}

fn level(payload: &mut ByteReader<'_>) -> Result<Level, ManifestError> {
    Ok(Level::new(payload.u8()?))
}

fn run(payload: &mut ByteReader<'_>) -> Result<RunId, ManifestError> {
    Ok(RunId::new(payload.varint()?))
}

/// A list that is empty takes no bytes.
fn references(payload: &mut ByteReader<'_>) -> Result<ValueReferences, ManifestError> {
    if payload.is_empty() {
        return Ok(ValueReferences::new());
    }
    let references = ValueReferences::read(payload).ok().filter(|references| !references.is_empty());
    references.ok_or(ManifestError::Decode { field: "references" })
}

fn seqno(payload: &mut ByteReader<'_>) -> Result<SeqNo, ManifestError> {
    SeqNo::new(payload.varint()?).ok_or(ManifestError::Decode { field: "seqno" })
}

fn identity(payload: &mut ByteReader<'_>) -> Result<TreeIdentity, ManifestError> {
    let level_count = payload.u8()?;
    if level_count < LEVELS_MIN {
        return Err(ManifestError::Decode { field: "level count" });
    }
    Ok(TreeIdentity { comparator: name(payload.take_rest(), "comparator")?, level_count })
}

/// A schema stands in its step as it is; whoever opens the tree looks into it.
fn schema(payload: &mut ByteReader<'_>) -> Result<StoredSchema, ManifestError> {
    let id = narrow(payload.varint()?, "schema")?;
    let splitter_version = narrow(payload.varint()?, "version of a splitter")?;
    let splitter = name(payload.prefixed()?, "splitter")?;
    let schema = payload.take_rest();
    if schema.len() > SCHEMA_LEN_MAX {
        return Err(ManifestError::Decode { field: "schema" });
    }
    Ok(StoredSchema { id, splitter, splitter_version, schema: Slice::copy_from(schema) })
}

fn name(bytes: &[u8], field: &'static str) -> Result<String, ManifestError> {
    let text = core::str::from_utf8(bytes).ok();
    let name = text.filter(|name| (1..=MAX_NAME_LEN).contains(&name.len()));
    name.map(String::from).ok_or(ManifestError::Decode { field })
}

fn token(payload: &mut ByteReader<'_>) -> Result<Option<Slice>, ManifestError> {
    let (present, token) = (payload.u8()?, payload.take_rest());
    match present {
        0 if token.is_empty() => Ok(None),
        1 if token.len() <= TOKEN_MAX => Ok(Some(Slice::copy_from(token))),
        _ => Err(ManifestError::Decode { field: "token" }),
    }
}
