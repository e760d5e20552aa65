//! Checking a whole table: every frame, every row, and that what it says about itself is so.

use alloc::{collections::BTreeSet, vec::Vec};

use lsm_block::{
    BlockKind, ByteRange, DirectoryPointer, FrameReader, SectionDigest, Superblock, Walk, Walked,
};
use lsm_codec::Decoder;
use lsm_types::{
    Error, ErrorKind, KeyOrder, Kind, PrefixExtractor, ReadAt, Result, SeqNo, Slice, ValueHandle,
    ValueReferences, columns::KeyBuf,
};

use crate::{
    BlockRef, BlockSource, FilterAudit, SstError, TableLayout,
    data_block::DataBlock,
    index::{IndexBlock, IndexEntry},
    layout::section_ref,
    payload::PayloadError,
    properties::{Counters, SeqNoBounds},
    seqno_bounds::BlockBounds,
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

/// How deep a check goes; each depth includes those above it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CheckDepth {
    /// The superblock and both copies of the properties.
    Heads,
    /// Every frame, and the digest over them.
    Frames,
    /// Every row, the index that leads to it and the properties that count it.
    Rows,
}

/// What is left of a table that is restricted to its upper part.
#[derive(Clone, Debug)]
pub struct Remainder {
    /// Entries below this key are not looked at.
    pub floor: Slice,
    /// Bytes behind the head of the file that may be gone.
    pub consumed_bytes: u64,
    /// What of value logs the entries from `floor` on should refer to.
    pub references: ValueReferences,
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
        self.verify_to((CheckDepth::Rows, None), None, file, source, &mut |_, error| report(error))
    }

    /// As [`TableLayout::verify`], no deeper than `depth`; `report` is also told at which depth something was found.
    ///
    /// * `extractor`: with it, filters over prefixes are held against the keys, when it is the one recorded.
    /// * `left`: what is left of a restricted table. What is not may be gone, and is neither read nor missed. Counts and
    ///   digests that the file gives are of the whole, so they are not compared: every frame that is left is checked by
    ///   itself, and no data frame among them may be missing.
    ///
    /// # Errors
    /// Only when `file` itself cannot be read.
    pub fn verify_to<R: ReadAt, S: BlockSource + ?Sized>(
        &self,
        (depth, extractor): (CheckDepth, Option<&dyn PrefixExtractor>),
        left: Option<&Remainder>,
        file: &R,
        source: &S,
        report: &mut dyn FnMut(CheckDepth, Error),
    ) -> Result<Verified> {
        let (reported, verified) = (BTreeSet::new(), Verified::default());
        let mut check = Check {
            layout: self,
            left,
            report,
            at: CheckDepth::Heads,
            reported,
            lacks_splitter: false,
            verified,
        };
        check.head(file)?;
        check.property_copies(file)?;
        if depth >= CheckDepth::Frames {
            check.at = CheckDepth::Frames;
            check.frames(file, source)?;
        }
        if depth >= CheckDepth::Rows {
            check.at = CheckDepth::Rows;
            let bounds = check.bounds(file)?;
            let floor = left.map(|left| &left.floor[..]);
            check.rows(FilterAudit::new(self, extractor).above(floor), bounds, source);
        }
        Ok(check.verified)
    }
}

struct Check<'c> {
    layout: &'c TableLayout,
    left: Option<&'c Remainder>,
    report: &'c mut dyn FnMut(CheckDepth, Error),
    /// What is being checked.
    at: CheckDepth,
    /// Offsets of frames that were reported: damage is not told twice.
    reported: BTreeSet<u64>,
    /// Whether it was told that values cannot be put together.
    lacks_splitter: bool,
    verified: Verified,
}

/// What is carried from block to block.
struct Rows<'a> {
    audit: FilterAudit<'a>,
    counters: Counters,
    seqnos: Option<SeqNoBounds>,
    /// What the table records about its blocks, and the part of it that goes with the index block in hand.
    bounds: Option<BlockBounds>,
    part: usize,
    first: Option<Slice>,
    last: Option<(Slice, SeqNo)>,
    /// The key counted last.
    last_counted: Option<Slice>,
    references: ValueReferences,
    /// Whether all indirections hold handles.
    are_handles_good: bool,
    /// Whether some block could not be read, so that counts mean nothing.
    incomplete: bool,
}

impl Check<'_> {
    fn found(&mut self, error: impl Into<Error>) {
        let error = error.into();
        let offset = error.location().map(|location| location.offset);
        if offset.is_none_or(|offset| offset == 0 || self.reported.insert(offset)) {
            self.verified.findings += 1;
            (self.report)(self.at, error);
        }
    }

    /// The order of keys, and the one below which entries do not count.
    fn floor(&self) -> Option<(&'_ KeyOrder, &'_ [u8])> {
        Some((&self.layout.order, &self.left?.floor[..]))
    }

    fn disagree(&mut self, what: &'static str) {
        self.found(self.layout.disagree(what));
    }

    /// Every frame of the file, and the digest over them.
    fn frames<R: ReadAt, S: BlockSource + ?Sized>(&mut self, file: &R, source: &S) -> Result<()> {
        let mut digest = SectionDigest::new(0);
        let mut is_damaged = false;
        let first = self.first_data_ordinal(source);
        let mut data_frames = 0;
        let consumed = self.left.map_or(0, |left| left.consumed_bytes);
        let start = (Superblock::LEN as u64).saturating_add(consumed);
        for step in Walk::file_from(file, &self.layout.superblock, start)? {
            match step? {
                Walked::Frame { header, mark } => {
                    self.verified.frames += 1;
                    data_frames +=
                        u32::from(header.kind == self.layout.data_kind() && first <= Some(header.ordinal));
                    if header.kind != BlockKind::DIRECTORY {
                        digest.add(&mark);
                    }
                }
                Walked::BadFrame { why, .. } | Walked::Damaged { why, .. } => {
                    is_damaged = true;
                    self.found(SstError::from(why));
                }
                Walked::Zeros { .. } => {}
            }
        }
        if self.left.is_some() {
            let expected = first.map(|first| self.layout.directory.data_frames.saturating_sub(first));
            if !is_damaged && expected.is_some_and(|expected| expected != data_frames) {
                self.disagree("number of frames");
            }
        } else if !is_damaged {
            if self.verified.frames != self.layout.directory.frames {
                self.disagree("number of frames");
            }
            if digest.value() != self.layout.directory.file_digest {
                self.disagree("file digest");
            }
        }
        Ok(())
    }

    /// Number of the first data block that is left; `None` when that cannot be told, or none is.
    fn first_data_ordinal<S: BlockSource + ?Sized>(&mut self, source: &S) -> Option<u32> {
        let Some(left) = self.left else { return Some(0) };
        match self.layout.locate(source, &left.floor, SeqNo::LATEST) {
            Ok(found) => found.map(|(_, entry)| entry.ordinal),
            Err(error) => {
                self.found(error);
                None
            }
        }
    }

    /// Whether all that entry `idx` of an index block leads to lies below the floor.
    fn is_gone(&self, index: &IndexBlock, idx: usize) -> bool {
        let layout = self.layout;
        self.left.is_some_and(|left| {
            index.lies_before(&layout.order, idx, &left.floor, layout.local(SeqNo::LATEST))
        })
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

    /// The payload of a frame; `None` when it is damaged.
    fn payload<R: ReadAt>(&mut self, file: &R, kind: BlockKind, at: BlockRef) -> Result<Option<Slice>> {
        self.layout.check_ref(kind, at)?;
        let frame = read(file, ByteRange { offset: at.handle.offset, len: at.handle.len.into() })?;
        let reader: &FrameReader = &self.layout.reader;
        let expect = crate::layout::expect(kind, at);
        match reader.open(&expect, &frame, &mut Decoder::new(), u32::MAX) {
            Ok(frame) => Ok(Some(frame.payload)),
            Err(error) => {
                self.found(SstError::from(error));
                Ok(None)
            }
        }
    }

    /// The recorded bounds of data blocks; `None` where there are none, or they are damaged.
    fn bounds<R: ReadAt>(&mut self, file: &R) -> Result<Option<BlockBounds>> {
        let Some(range) = self.layout.bounds_range() else { return Ok(None) };
        let bytes = read(file, range)?;
        let bounds = self.layout.decode_bounds(&bytes, &mut Decoder::new());
        Ok(bounds.map_err(|error| self.found(error)).ok())
    }

    /// Every row, in order, and the properties that count them.
    fn rows<S: BlockSource + ?Sized>(
        &mut self,
        audit: FilterAudit<'_>,
        bounds: Option<BlockBounds>,
        source: &S,
    ) {
        let layout = self.layout;
        let root = &layout.root;
        let mut rows = Rows { bounds, ..Rows::new(audit) };
        self.index_order(root, None);
        for root_idx in 0..root.entries() {
            let Some(entry) = root.entry(root_idx) else { continue };
            if self.is_gone(root, root_idx) {
                continue;
            }
            rows.part = if root.is_upper() { root_idx } else { 0 };
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
                        let Some(entry) = partition.entry(idx).filter(|_| !self.is_gone(&partition, idx))
                        else {
                            continue;
                        };
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
                let lacks_splitter = error.kind() == ErrorKind::OptionMismatch;
                // One word for all groups: their frames were checked, and nothing is wrong with them.
                if !(lacks_splitter && core::mem::replace(&mut self.lacks_splitter, lacks_splitter)) {
                    self.found(error);
                }
                return;
            }
        };
        let result = block
            .verify(&self.layout.order)
            .and_then(|()| self.block_order(&block, index, idx, rows))
            .and_then(|()| {
                if block.rows() as u64 == entry.rows { Ok(()) } else { Err(PayloadError::field("rows")) }
            });
        if !rows.bounds_hold(index, idx, &block) {
            self.disagree("bounds of the sequence numbers of a block");
        }
        let mut faults = Vec::new();
        rows.count(source, &block, self.floor(), &mut |error| faults.push(error));
        for error in faults {
            self.found(error);
        }
        self.verified.entries += block.rows() as u64;
        if let Err(source) = result {
            self.payload_error(self.layout.data_kind(), entry.handle.offset, source);
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
        if let Some(left) = self.left {
            let max = self.layout.properties.keys.as_ref().map(|(_, max)| max);
            if rows.last.as_ref().is_some_and(|(last, _)| Some(last) != max) {
                self.disagree("smallest and largest key");
            }
            if !rows.are_handles_good || rows.references != left.references {
                self.disagree("separated values");
            }
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
            (rows.are_handles_good && rows.references == *self.layout.references(), "separated values"),
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
            bounds: None,
            part: 0,
            first: None,
            last: None,
            last_counted: None,
            references: ValueReferences::new(),
            are_handles_good: true,
            incomplete: false,
        }
    }

    /// Whether the bounds recorded of data block `idx` are those of its rows; also where none are recorded.
    fn bounds_hold(&self, index: &IndexBlock, idx: usize, block: &DataBlock) -> bool {
        let Some(bounds) = &self.bounds else { return true };
        let Some(part) = bounds.part(self.part).filter(|part| part.entries() == index.entries()) else {
            return false;
        };
        let rows = (0..block.rows()).map(|row| block.seqno(row));
        let found = rows.fold(None, |found, seqno| Some(SeqNoBounds::with(found, seqno)));
        part.get(idx) == found
    }

    /// Takes in the rows of a block; what filters deny of them goes to `report`.
    fn count<S: BlockSource + ?Sized>(
        &mut self,
        source: &S,
        block: &DataBlock,
        floor: Option<(&KeyOrder, &[u8])>,
        report: &mut dyn FnMut(Error),
    ) {
        let (mut key, mut last) = (KeyBuf::new(), self.last_counted.take());
        for row in 0..block.rows() {
            block.key(row, &mut key);
            if floor.is_some_and(|(order, floor)| order.compare(key.as_slice(), floor).is_lt()) {
                continue;
            }
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
                Kind::Indirection => {
                    counters.indirections += 1;
                    let handle = ValueHandle::decode(block.value(row)).ok();
                    let recorded = handle.map(|handle| self.references.record(&handle));
                    self.are_handles_good &= matches!(recorded, Some(Ok(())));
                }
                _ => {}
            }
            self.seqnos = Some(SeqNoBounds::with(self.seqnos, block.seqno(row)));
        }
        self.last_counted = last;
    }
}
