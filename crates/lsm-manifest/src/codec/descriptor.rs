//! The bytes of a table descriptor: tagged fields (`docs/format/manifest.md`, section 5).
//!
//! | id | field          | value                                     | left out |
//! |----|----------------|-------------------------------------------|----------|
//! | 1  | id             | varint                                    | never    |
//! | 2  | uuid           | 16 bytes                                  | never    |
//! | 3  | `file_len`     | varint                                    | never    |
//! | 4  | digest         | u64 LE                                    | never    |
//! | 5  | format         | major varint, minor varint                | never    |
//! | 6  | features       | varint                                    | 0        |
//! | 7  | `key_id`       | varint                                    | 0        |
//! | 8  | `created_at`   | varint                                    | 0        |
//! | 9  | `created_edit` | varint                                    | 0        |
//! | 10 | entries        | smallest key with its length, largest key | none     |
//! | 11 | coverage       | two cuts                                  | never    |
//! | 12 | seqnos         | min varint, max - min varint              | never    |
//! | 13 | `point_seqnos` | as seqnos                                 | none     |
//! | 14 | counts         | seven varints, as [`Counts`] lists them   | never    |
//! | 15 | sizes          | five varints, as [`Sizes`] lists them     | never    |
//! | 16 | census         | three varints, as [`Census`] lists them   | never    |
//! | 17 | directory      | offset varint, length varint              | never    |
//! | 18 | `filter_kind`  | varint                                    | 0        |
//! | 19 | `tail_len`     | varint                                    | 0        |
//! | 20 | `global_seqno` | varint                                    | 0        |
//! | 149 | references    | a list of references; must be understood  | none     |
//! | 150 | restriction   | lower key with its length, entries varint, consumed bytes varint; must be understood | none |
//! | 159 | delete vector | see below; must be understood            | none     |
//! | 160 | route         | varint; must be understood                | 0        |
//!
//! A delete vector is: number varint, uuid, file length varint, digest u64 LE, key varint, edit varint, offset and length
//! of its directory as varints, cardinality varint, watermark varint.
//!
//! References are laid out as in the table itself (`docs/format/vlog.md`, section 7).
//!
//! A cut is one byte: 0 start, 1 before a key, 2 after a key (both followed by the key with its length), 3 end,
//! 4 before the smallest entry, 5 after the largest entry. 4 and 5 stand for 1 and 2 wherever they can, because in
//! a table without range tombstones they always can and keys are most of a descriptor.

use alloc::{sync::Arc, vec::Vec};

use lsm_types::{
    ByteReader, Cut, EditIndex, FileUuid, KeyRange, MAX_KEY_LEN, RouteId, SeqNo, Slice, TableId, UnixNanos,
    ValueReferences, varint,
};

use super::fields::{MUST_UNDERSTAND, narrow, put, put_nonzero, put_varint, required, walk};
use crate::{
    Census, Counts, DirectoryHandle, ManifestError, Restriction, SeqNoRange, Sizes, TableDescriptor,
    VectorDescriptor,
};

mod id {
    use super::MUST_UNDERSTAND;

    pub(super) const ID: u8 = 1;
    pub(super) const UUID: u8 = 2;
    pub(super) const FILE_LEN: u8 = 3;
    pub(super) const DIGEST: u8 = 4;
    pub(super) const FORMAT: u8 = 5;
    pub(super) const FEATURES: u8 = 6;
    pub(super) const KEY_ID: u8 = 7;
    pub(super) const CREATED_AT: u8 = 8;
    pub(super) const CREATED_EDIT: u8 = 9;
    pub(super) const ENTRIES: u8 = 10;
    pub(super) const COVERAGE: u8 = 11;
    pub(super) const SEQNOS: u8 = 12;
    pub(super) const POINT_SEQNOS: u8 = 13;
    pub(super) const COUNTS: u8 = 14;
    pub(super) const SIZES: u8 = 15;
    pub(super) const CENSUS: u8 = 16;
    pub(super) const DIRECTORY: u8 = 17;
    pub(super) const FILTER_KIND: u8 = 18;
    pub(super) const TAIL_LEN: u8 = 19;
    pub(super) const GLOBAL_SEQNO: u8 = 20;
    pub(super) const REFERENCES: u8 = MUST_UNDERSTAND | 0x15;
    /// Who does not know it reads what is gone.
    pub(super) const RESTRICTION: u8 = MUST_UNDERSTAND | 0x16;
    /// Who does not know it reads what is dead.
    pub(super) const VECTOR: u8 = MUST_UNDERSTAND | 0x1F;
    /// Who does not know it looks for the file in the wrong place.
    pub(super) const ROUTE: u8 = 0x20 | super::MUST_UNDERSTAND;
}

impl TableDescriptor {
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
        if let Some(range) = &self.entries {
            put(out, id::ENTRIES, |out| {
                varint::encode_prefixed(&range.min, out);
                out.extend_from_slice(&range.max);
            });
        }
        put(out, id::COVERAGE, |out| {
            encode_cut(&self.coverage_start, self.entries.as_ref(), out);
            encode_cut(&self.coverage_end, self.entries.as_ref(), out);
        });
        put(out, id::SEQNOS, |out| encode_seqnos(self.seqnos, out));
        if let Some(seqnos) = self.point_seqnos {
            put(out, id::POINT_SEQNOS, |out| encode_seqnos(seqnos, out));
        }
        put(out, id::COUNTS, |out| numbers(&self.counts.to_array(), out));
        put(out, id::SIZES, |out| numbers(&self.sizes.to_array(), out));
        put(out, id::CENSUS, |out| numbers(&[self.census.raw, self.census.lz4, self.census.zstd], out));
        put(out, id::DIRECTORY, |out| numbers(&[self.directory.offset, self.directory.len.into()], out));
        put_nonzero(out, id::FILTER_KIND, self.filter_kind.into());
        put_nonzero(out, id::TAIL_LEN, self.tail_len.into());
        put_nonzero(out, id::GLOBAL_SEQNO, self.global_seqno.get());
        if !self.references.is_empty() {
            put(out, id::REFERENCES, |out| self.references.encode(out));
        }
        if let Some(restriction) = &self.restriction {
            put(out, id::RESTRICTION, |out| restriction.encode(out));
        }
        if let Some(vector) = &self.vector {
            put(out, id::VECTOR, |out| vector.encode(out));
        }
        put_nonzero(out, id::ROUTE, self.route.get().into());
    }

    /// The descriptor that is exactly `bytes`.
    ///
    /// # Errors
    /// [`ManifestError::UnknownTag`] for a field that must be understood and is not; otherwise
    /// [`ManifestError::Decode`] or [`ManifestError::Bytes`] for bytes that are not the encoding of a descriptor.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let mut draft = Draft::default();
        walk(bytes, "table field", |id, value| {
            draft.take(id, value)?;
            Ok((id::ID..=id::GLOBAL_SEQNO).contains(&id)
                || [id::REFERENCES, id::RESTRICTION, id::VECTOR, id::ROUTE].contains(&id))
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
    entries: Option<KeyRange>,
    coverage: Option<(Cut, Cut)>,
    seqnos: Option<SeqNoRange>,
    point_seqnos: Option<SeqNoRange>,
    counts: Option<Counts>,
    sizes: Option<Sizes>,
    census: Option<Census>,
    directory: Option<DirectoryHandle>,
    filter_kind: u8,
    tail_len: u32,
    global_seqno: SeqNo,
    references: ValueReferences,
    restriction: Option<Restriction>,
    vector: Option<Arc<VectorDescriptor>>,
    route: RouteId,
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
                self.format = Some(value.read("format", |r| {
                    Ok((narrow(r.varint()?, "format")?, narrow(r.varint()?, "format")?))
                })?);
            }
            id::FEATURES => self.features = value.nonzero()?,
            id::KEY_ID => self.key_id = narrow(value.nonzero()?, "key_id")?,
            id::CREATED_AT => self.created_at = value.nonzero()?,
            id::CREATED_EDIT => self.created_edit = value.nonzero()?,
            id::ENTRIES => self.entries = Some(value.read("entries", decode_entries)?),
            id::COVERAGE => {
                let entries = self.entries.as_ref();
                let cuts = value.read("coverage", |r| Ok((decode_cut(r, entries)?, decode_cut(r, entries)?)));
                self.coverage = Some(cuts?);
            }
            id::SEQNOS => self.seqnos = Some(value.read("seqnos", decode_seqnos)?),
            id::POINT_SEQNOS => self.point_seqnos = Some(value.read("point_seqnos", decode_seqnos)?),
            id::COUNTS => self.counts = Some(Counts::from_array(value.read("counts", decode_numbers)?)),
            id::SIZES => self.sizes = Some(Sizes::from_array(value.read("sizes", decode_numbers)?)),
            id::CENSUS => {
                let [raw, lz4, zstd] = value.read("census", decode_numbers)?;
                self.census = Some(Census { raw, lz4, zstd });
            }
            id::DIRECTORY => {
                let [offset, len] = value.read("directory", decode_numbers)?;
                self.directory = Some(DirectoryHandle { offset, len: narrow(len, "directory")? });
            }
            id::FILTER_KIND => self.filter_kind = narrow(value.nonzero()?, "filter_kind")?,
            id::TAIL_LEN => self.tail_len = narrow(value.nonzero()?, "tail_len")?,
            id::GLOBAL_SEQNO => {
                let global = SeqNo::new(value.nonzero()?).filter(|global| global.is_write());
                self.global_seqno = required(global, "global_seqno")?;
            }
            id::REFERENCES => self.references = value.read("references", decode_references)?,
            id::RESTRICTION => self.restriction = Some(value.read("restriction", Restriction::decode)?),
            id::VECTOR => {
                self.vector = Some(Arc::new(value.read("delete vector", VectorDescriptor::decode)?));
            }
            id::ROUTE => self.route = RouteId::new(narrow(value.nonzero()?, "route")?),
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<TableDescriptor, ManifestError> {
        let (coverage_start, coverage_end) = required(self.coverage, "coverage")?;
        let seqnos = required(self.seqnos, "seqnos")?;
        if seqnos.min < self.global_seqno {
            return Err(ManifestError::Decode { field: "global_seqno" });
        }
        let counts: Counts = required(self.counts, "counts")?;
        let file_len = required(self.file_len, "file_len")?;
        let restriction = self.restriction;
        let referring = self.references.total().map(|usage| usage.entries);
        let is_counted = match restriction {
            None => referring == Ok(counts.indirections),
            Some(_) => referring.is_ok_and(|referring| referring <= counts.indirections),
        };
        if !is_counted {
            return Err(ManifestError::Decode { field: "references" });
        }
        let is_held = |left: &Restriction| left.entries <= counts.entries && left.consumed_bytes <= file_len;
        if !restriction.as_ref().is_none_or(is_held) {
            return Err(ManifestError::Decode { field: "restriction" });
        }
        let vector = self.vector;
        if !vector.as_ref().is_none_or(|vector| (1..=counts.entries).contains(&vector.cardinality)) {
            return Err(ManifestError::Decode { field: "delete vector" });
        }
        Ok(TableDescriptor {
            id: TableId::new(required(self.id, "id")?),
            uuid: required(self.uuid, "uuid")?,
            file_len,
            digest: required(self.digest, "digest")?,
            format: required(self.format, "format")?,
            features: self.features,
            key_id: self.key_id,
            created_at: UnixNanos::new(self.created_at),
            created_edit: EditIndex::new(self.created_edit),
            entries: self.entries,
            coverage_start,
            coverage_end,
            seqnos,
            point_seqnos: self.point_seqnos,
            counts,
            sizes: required(self.sizes, "sizes")?,
            census: required(self.census, "census")?,
            directory: required(self.directory, "directory")?,
            filter_kind: self.filter_kind,
            tail_len: self.tail_len,
            global_seqno: self.global_seqno,
            references: self.references,
            restriction,
            vector,
            route: self.route,
        })
    }
}

impl Restriction {
    /// Appends the key with its length, then both numbers.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        varint::encode_prefixed(&self.lower, out);
        numbers(&[self.entries, self.consumed_bytes], out);
    }

    pub(super) fn decode(reader: &mut ByteReader<'_>) -> Result<Self, ManifestError> {
        let lower = decode_key(reader.prefixed()?, "restriction")?;
        let [entries, consumed_bytes] = decode_numbers(reader)?;
        Ok(Self { lower, entries, consumed_bytes })
    }
}

/// A list that is there has something in it.
fn decode_references(reader: &mut ByteReader<'_>) -> Result<ValueReferences, ManifestError> {
    let references = ValueReferences::read(reader).ok().filter(|references| !references.is_empty());
    references.ok_or(ManifestError::Decode { field: "references" })
}

impl Counts {
    fn to_array(self) -> [u64; 7] {
        [
            self.entries,
            self.tombstones,
            self.weak_tombstones,
            self.reclaimable_weak_tombstones,
            self.operands,
            self.indirections,
            self.range_tombstones,
        ]
    }

    fn from_array(numbers: [u64; 7]) -> Self {
        let [entries, tombstones, weak, reclaimable, operands, indirections, range_tombstones] = numbers;
        Self {
            entries,
            tombstones,
            weak_tombstones: weak,
            reclaimable_weak_tombstones: reclaimable,
            operands,
            indirections,
            range_tombstones,
        }
    }
}

impl Sizes {
    fn to_array(self) -> [u64; 5] {
        [self.data, self.index, self.filter, self.raw_keys, self.raw_values]
    }

    fn from_array([data, index, filter, raw_keys, raw_values]: [u64; 5]) -> Self {
        Self { data, index, filter, raw_keys, raw_values }
    }
}

pub(super) fn numbers(values: &[u64], out: &mut Vec<u8>) {
    for value in values {
        varint::encode(*value, out);
    }
}

pub(super) fn decode_numbers<const N: usize>(reader: &mut ByteReader<'_>) -> Result<[u64; N], ManifestError> {
    let mut values = [0; N];
    for value in &mut values {
        *value = reader.varint()?;
    }
    Ok(values)
}

fn encode_seqnos(seqnos: SeqNoRange, out: &mut Vec<u8>) {
    debug_assert!(seqnos.min <= seqnos.max, "a range of numbers ascends");
    numbers(&[seqnos.min.get(), seqnos.max.get().saturating_sub(seqnos.min.get())], out);
}

fn decode_seqnos(reader: &mut ByteReader<'_>) -> Result<SeqNoRange, ManifestError> {
    let (min, span) = (reader.varint()?, reader.varint()?);
    let range = SeqNo::new(min).and_then(|min| Some(SeqNoRange { min, max: min.checked_add(span)? }));
    range.ok_or(ManifestError::Decode { field: "seqnos" })
}

fn decode_key(bytes: &[u8], field: &'static str) -> Result<Slice, ManifestError> {
    if bytes.len() > MAX_KEY_LEN {
        return Err(ManifestError::Decode { field });
    }
    Ok(Slice::copy_from(bytes))
}

fn decode_entries(reader: &mut ByteReader<'_>) -> Result<KeyRange, ManifestError> {
    let (min, max) = (reader.prefixed()?, reader.take_rest());
    if min.len().max(max.len()) > MAX_KEY_LEN {
        return Err(ManifestError::Decode { field: "entries" });
    }
    // Both keys live and go together: one allocation serves them.
    let mut both = Vec::with_capacity(min.len() + max.len());
    both.extend_from_slice(min);
    both.extend_from_slice(max);
    let both = Slice::from(both);
    Ok(KeyRange { min: both.slice(..min.len()), max: both.slice(min.len()..) })
}

fn encode_cut(cut: &Cut, entries: Option<&KeyRange>, out: &mut Vec<u8>) {
    match cut {
        Cut::Start => out.push(0),
        Cut::End => out.push(3),
        Cut::Before(key) if entries.is_some_and(|range| range.min == *key) => out.push(4),
        Cut::After(key) if entries.is_some_and(|range| range.max == *key) => out.push(5),
        Cut::Before(key) => {
            out.push(1);
            varint::encode_prefixed(key, out);
        }
        Cut::After(key) => {
            out.push(2);
            varint::encode_prefixed(key, out);
        }
    }
}

fn decode_cut(reader: &mut ByteReader<'_>, entries: Option<&KeyRange>) -> Result<Cut, ManifestError> {
    const MALFORMED: ManifestError = ManifestError::Decode { field: "coverage" };
    match (reader.u8()?, entries) {
        (0, _) => Ok(Cut::Start),
        (1, _) => {
            let key = reader.prefixed()?;
            if entries.is_some_and(|range| range.min == key) {
                return Err(MALFORMED);
            }
            Ok(Cut::Before(decode_key(key, "coverage")?))
        }
        (2, _) => {
            let key = reader.prefixed()?;
            if entries.is_some_and(|range| range.max == key) {
                return Err(MALFORMED);
            }
            Ok(Cut::After(decode_key(key, "coverage")?))
        }
        (3, _) => Ok(Cut::End),
        (4, Some(range)) => Ok(Cut::Before(range.min.clone())),
        (5, Some(range)) => Ok(Cut::After(range.max.clone())),
        _ => Err(MALFORMED),
    }
}
