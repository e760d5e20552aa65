//! Checking a whole table: every frame, every row, and that what it says about itself is so.

use alloc::{collections::BTreeSet, vec::Vec};

use lsm_block::{
    BlockKind, ByteRange, DirectoryPointer, FrameReader, SectionDigest, Superblock, Walk, Walked,
};
use lsm_codec::Decoder;
use lsm_types::{Error, Kind, ReadAt, Result, SeqNo, Slice, columns::KeyBuf};

use crate::{
    BlockRef, BlockSource, FilterAudit, SstError, TableLayout,
    data_block::DataBlock,
    index::{IndexBlock, IndexEntry},
    layout::section_ref,
    payload::PayloadError,
    properties::{Counters, SeqNoBounds},
    table::read,
};

/// What a check went over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Verified {
    /// Frames whose checks are good.
    pub frames: u32,
    /// Entries read.
    pub entries: u64,
    /// Things found wrong.
    pub findings: u64,
}

impl TableLayout {
    /// Checks the whole table and hands everything it finds wrong to `report`; does not stop at the first.
    ///
    /// Frames are read from `file`, in file order, past any cache; rows come from `source`.
    ///
    /// # Errors
    /// Only when `file` itself cannot be read.
    pub fn verify<R: ReadAt, S: BlockSource + ?Sized>(
        &self,
        file: &R,
        source: &S,
        report: &mut dyn FnMut(Error),
    ) -> Result<Verified> {
        let mut check =
            Check { layout: self, report, reported: BTreeSet::new(), verified: Verified::default() };
        check.frames(file)?;
        check.head(file)?;
        check.property_copies(file)?;
        check.rows(source);
        Ok(check.verified)
    }
}

struct Check<'c> {
    layout: &'c TableLayout,
    report: &'c mut dyn FnMut(Error),
    /// Offsets of frames that were reported: damage is not told twice.
    reported: BTreeSet<u64>,
    verified: Verified,
}

/// What is carried from block to block.
struct Rows<'a> {
    audit: FilterAudit<'a>,
    counters: Counters,
    seqnos: Option<SeqNoBounds>,
    first: Option<Slice>,
    last: Option<(Slice, SeqNo)>,
    /// The key counted last.
    last_counted: Option<Slice>,
    /// Whether some block could not be read, so that counts mean nothing.
    incomplete: bool,
}

impl Check<'_> {
    fn found(&mut self, error: impl Into<Error>) {
        let error = error.into();
        let offset = error.location().map(|location| location.offset);
        if offset.is_none_or(|offset| offset == 0 || self.reported.insert(offset)) {
            self.verified.findings += 1;
            (self.report)(error);
        }
    }

    fn disagree(&mut self, what: &'static str) {
        self.found(self.layout.disagree(what));
    }

    /// Every frame of the file, and the digest over them.
    fn frames<R: ReadAt>(&mut self, file: &R) -> Result<()> {
        let mut digest = SectionDigest::new(0);
        let before = self.verified.findings;
        for step in Walk::file(file, &self.layout.superblock)? {
            match step? {
                Walked::Frame { header, mark } => {
                    self.verified.frames += 1;
                    if header.kind != BlockKind::DIRECTORY {
                        digest.add(&mark);
                    }
                }
                Walked::BadFrame { why, .. } | Walked::Damaged { why, .. } => self.found(SstError::from(why)),
                Walked::Zeros { .. } => {}
            }
        }
        if self.verified.findings == before {
            if self.verified.frames != self.layout.directory.frames {
                self.disagree("number of frames");
            }
            if digest.value() != self.layout.directory.file_digest {
                self.disagree("file digest");
            }
        }
        Ok(())
    }

    /// The superblock at the head of the file: opening may have used a copy.
    fn head<R: ReadAt>(&mut self, file: &R) -> Result<()> {
        let raw = read(file, ByteRange { offset: 0, len: Superblock::LEN as u64 })?;
        match Superblock::decode(self.layout.superblock.identity.at(0), &raw) {
            Ok(head) => {
                if raw.first_chunk().map(Superblock::digest_of)
                    != Some(self.layout.directory.superblock_digest)
                {
                    self.disagree("superblock digest");
                }
                // The pointer has a check of its own, for it may be patched in later.
                if head.directory == DirectoryPointer::Damaged {
                    self.disagree("directory pointer");
                }
            }
            Err(error) => self.found(SstError::from(error)),
        }
        Ok(())
    }

    /// The two copies of the properties are the same.
    fn property_copies<R: ReadAt>(&mut self, file: &R) -> Result<()> {
        let kind = BlockKind::PROPERTIES;
        let directory = &self.layout.directory;
        let (Some(primary), Some(mirror)) = (directory.primary(kind), directory.mirror(kind)) else {
            self.disagree("property copies");
            return Ok(());
        };
        let (primary, mirror) = (section_ref(primary), section_ref(mirror));
        let copies = (self.payload(file, kind, primary)?, self.payload(file, kind, mirror)?);
        if let (Some(primary), Some(mirror)) = copies
            && primary != mirror
        {
            self.disagree("mirror of the properties");
        }
        Ok(())
    }

    /// The payload of a frame; `None` when it is damaged, which the walk has told.
    fn payload<R: ReadAt>(&self, file: &R, kind: BlockKind, at: BlockRef) -> Result<Option<Slice>> {
        self.layout.check_ref(kind, at)?;
        let frame = read(file, ByteRange { offset: at.handle.offset, len: at.handle.len.into() })?;
        let reader: &FrameReader = &self.layout.reader;
        let expect = crate::layout::expect(kind, at);
        Ok(reader.open(&expect, &frame, &mut Decoder::new(), u32::MAX).ok().map(|frame| frame.payload))
    }

    /// Every row, in order, and the properties that count them.
    fn rows<S: BlockSource + ?Sized>(&mut self, source: &S) {
        let layout = self.layout;
        let root = &layout.root;
        let mut rows = Rows::new(FilterAudit::new(layout, None));
        self.index_order(root, None);
        for root_idx in 0..root.entries() {
            let Some(entry) = root.entry(root_idx) else { continue };
            if !root.is_upper() {
                self.block(source, root, root_idx, entry, &mut rows);
                continue;
            }
            match source.index(entry.into()) {
                Ok(partition) => {
                    self.index_order(&partition, Some(entry));
                    if partition.row_sum() != entry.rows {
                        self.disagree("row count of an index partition");
                    }
                    for idx in 0..partition.entries() {
                        let Some(entry) = partition.entry(idx) else { continue };
                        self.block(source, &partition, idx, entry, &mut rows);
                    }
                }
                Err(error) => {
                    rows.incomplete = true;
                    self.found(error);
                }
            }
        }
        let mut faults = Vec::new();
        self.counts(&rows);
        rows.audit.finish(source, &mut |error| faults.push(error));
        for error in faults {
            self.found(error);
        }
    }

    fn index_order(&mut self, index: &IndexBlock, entry: Option<IndexEntry>) {
        if let Err(source) = index.verify(&self.layout.order) {
            let at = entry.map_or(0, |entry| entry.handle.offset);
            self.payload_error(BlockKind::INDEX_PARTITION, at, source);
        }
    }

    fn payload_error(&mut self, kind: BlockKind, offset: u64, source: PayloadError) {
        let at = self.layout.superblock.identity.at(offset);
        self.found(SstError::Payload { at, kind, source });
    }

    fn block<S: BlockSource + ?Sized>(
        &mut self,
        source: &S,
        index: &IndexBlock,
        idx: usize,
        entry: IndexEntry,
        rows: &mut Rows<'_>,
    ) {
        let block = match source.data(entry.into()) {
            Ok(block) => block,
            Err(error) => {
                rows.incomplete = true;
                return self.found(error);
            }
        };
        let result = block
            .verify(&self.layout.order)
            .and_then(|()| self.block_order(&block, index, idx, rows))
            .and_then(|()| {
                if block.rows() as u64 == entry.rows { Ok(()) } else { Err(PayloadError::field("rows")) }
            });
        let mut faults = Vec::new();
        rows.count(source, &block, &mut |error| faults.push(error));
        for error in faults {
            self.found(error);
        }
        self.verified.entries += block.rows() as u64;
        if let Err(source) = result {
            self.payload_error(BlockKind::DATA, entry.handle.offset, source);
        }
    }

    /// The block lies behind the rows before it and before its separator.
    fn block_order(
        &self,
        block: &DataBlock,
        index: &IndexBlock,
        idx: usize,
        rows: &mut Rows<'_>,
    ) -> Result<(), PayloadError> {
        let order = &self.layout.order;
        let (mut key, mut separator) = (KeyBuf::new(), KeyBuf::new());
        block.key(0, &mut key);
        let first = Slice::copy_from(key.as_slice());
        let behind = rows.last.as_ref().is_none_or(|(last, seqno)| {
            order.compare(last, &first).then_with(|| block.seqno(0).cmp(seqno)).is_lt()
        });
        let last_row = block.rows().saturating_sub(1);
        block.key(last_row, &mut key);
        index.separator(idx, &mut separator);
        let within = order.compare(key.as_slice(), separator.as_slice()).is_le();
        // The separator before must lie below this block: a search for its first key has to lead here.
        let found = index.find(order, &first, block.seqno(0).next()) == idx;
        rows.first.get_or_insert(first);
        rows.last = Some((Slice::copy_from(key.as_slice()), block.seqno(last_row)));
        if behind && within && found { Ok(()) } else { Err(PayloadError::field("separator")) }
    }

    fn counts(&mut self, rows: &Rows<'_>) {
        if rows.incomplete {
            return;
        }
        let (properties, counted) = (&self.layout.properties, &rows.counters);
        let stored = &properties.counters;
        let kinds = |c: &Counters| (c.tombstones, c.weak_tombstones, c.merge_operands, c.indirections);
        let bytes = |c: &Counters| (c.raw_key_bytes, c.raw_value_bytes);
        let keys = rows.first.clone().zip(rows.last.as_ref().map(|(last, _)| last.clone()));
        let checks = [
            (stored.entries == counted.entries, "number of entries"),
            (stored.distinct_keys == counted.distinct_keys, "number of keys"),
            (kinds(stored) == kinds(counted), "number of entries by kind"),
            (bytes(stored) == bytes(counted), "bytes of keys and values"),
            (properties.keys == keys, "smallest and largest key"),
            (properties.point_seqnos == rows.seqnos, "bounds of sequence numbers"),
        ];
        for (_, what) in checks.iter().filter(|(holds, _)| !holds) {
            self.disagree(what);
        }
    }
}

impl<'a> Rows<'a> {
    fn new(audit: FilterAudit<'a>) -> Self {
        Self {
            audit,
            counters: Counters::default(),
            seqnos: None,
            first: None,
            last: None,
            last_counted: None,
            incomplete: false,
        }
    }

    /// Takes in the rows of a block; what filters deny of them goes to `report`.
    fn count<S: BlockSource + ?Sized>(
        &mut self,
        source: &S,
        block: &DataBlock,
        report: &mut dyn FnMut(Error),
    ) {
        let (mut key, mut last) = (KeyBuf::new(), self.last_counted.take());
        for row in 0..block.rows() {
            block.key(row, &mut key);
            let counters = &mut self.counters;
            counters.entries += 1;
            if last.as_deref() != Some(key.as_slice()) {
                counters.distinct_keys += 1;
                self.audit.key(source, key.as_slice(), report);
                last = Some(Slice::copy_from(key.as_slice()));
            }
            counters.raw_key_bytes += key.as_slice().len() as u64;
            counters.raw_value_bytes += block.value(row).len() as u64;
            match block.kind(row) {
                Kind::Tombstone => counters.tombstones += 1,
                Kind::WeakTombstone => counters.weak_tombstones += 1,
                Kind::MergeOperand => counters.merge_operands += 1,
                Kind::Indirection => counters.indirections += 1,
                _ => {}
            }
            self.seqnos = Some(SeqNoBounds::with(self.seqnos, block.seqno(row)));
        }
        self.last_counted = last;
    }
}
