//! Writing a table in one pass, front to back.
//!
//! Memory holds the open data block, the open partitions of index and filter, the roots, and the range tombstones.
//! The same entries, options and identity give the same bytes.

mod ended;
mod filter_writer;
mod finish;
mod flight;
mod group;
mod jobs;
mod open_rows;
mod options;
mod relocate;
mod sink;

pub use ended::EndedTable;
pub use finish::TableSummary;
pub use flight::FileLen;
pub use jobs::{BlockJob, BlockJobs};
pub use options::BuildOptions;
pub(crate) use sink::ENCODING;

use alloc::{boxed::Box, vec::Vec};
use core::cmp::Ordering;

use lsm_block::{BlockKind, FrameWriter, Output, Superblock, Transforms};
use lsm_codec::Compression;
use lsm_columnar::RowCells;
use lsm_types::{
    Cut, Kind, RangeTombstone, SeqNo, Slice, ValueHandle, ValueReferences, check_key, check_value_len,
};

use self::{
    filter_writer::FilterWriter,
    flight::{Flight, Landing, Unwritten},
    open_rows::OpenRows,
    sink::FrameSink,
};
use crate::{
    Result, SstError,
    index::IndexWriter,
    properties::{Properties, SeqNoBounds},
};

/// Key and value bytes that certainly fit in a block: its cap less what a row adds, header included.
const DATA_ROOM: usize = BlockKind::DATA.cap() as usize - 64;

/// A value, and its cells where it is taken apart already.
type SplitValue<'v> = (&'v [u8], Option<&'v RowCells>);

/// Writes one table. Entries come in internal order: user key ascending, then number descending.
///
/// After an error of the output or the codec the writer takes nothing more. An entry that is refused for what it
/// is, or because it does not come after the one before, leaves the writer as it was.
#[derive(Debug)]
pub struct TableBuilder<O> {
    options: BuildOptions,
    superblock: Superblock,
    sink: FrameSink<O>,
    block: OpenRows,
    payload: Vec<u8>,
    index: IndexWriter,
    filter: FilterWriter,
    flight: Flight,
    /// Whether the separator of the block that was closed last waits for the next key.
    awaits_key: bool,
    separator: Vec<u8>,
    last_key: Vec<u8>,
    last_seqno: SeqNo,
    last_kind: Kind,
    tombstones: Vec<RangeTombstone>,
    references: ValueReferences,
    first_key: Option<Slice>,
    /// Bounds of the open block.
    block_seqnos: Option<SeqNoBounds>,
    /// Bounds of the closed blocks; stays empty where they are not recorded.
    bounds: Vec<SeqNoBounds>,
    properties: Properties,
    failed: bool,
}

impl<O: Output> TableBuilder<O> {
    /// A writer of a plain table that hands its bytes to `output`.
    ///
    /// * `superblock`: says which file this is, when it was made and which checks it uses.
    ///
    /// # Errors
    /// `InvalidConfig` for settings that cannot hold; errors of the output.
    pub fn new(superblock: Superblock, options: BuildOptions, output: O) -> Result<Self> {
        let transforms = superblock.transforms(None).map_err(SstError::from)?;
        Self::with_transforms((superblock, transforms), options, output)
    }

    /// A writer of a table that may be sealed.
    ///
    /// * `head`: what [`Superblock::begin`] returned for this file.
    ///
    /// # Errors
    /// As [`TableBuilder::new`].
    pub fn with_transforms(
        head: (Superblock, Transforms),
        mut options: BuildOptions,
        output: O,
    ) -> Result<Self> {
        let (superblock, transforms) = head;
        options.check()?;
        options.compression = options.compression.or_weaker();
        options.index_compression = options.index_compression.or_weaker();
        let frames = FrameWriter::new(superblock.identity, transforms);
        let mut sink = FrameSink::new(frames, output, options.write_buffer_bytes, options.index_compression);
        if options.columnar.is_some() {
            sink.data.kind = BlockKind::ROW_GROUP;
        }
        sink.write(&superblock.encode())?;
        let filter = FilterWriter::new(options.filter, options.prefix_filter.clone());
        Ok(Self {
            sink,
            block: OpenRows::new(&options),
            payload: Vec::new(),
            index: IndexWriter::new(options.index_spill_bytes, options.index_partition_bytes),
            filter,
            flight: Flight::default(),
            awaits_key: false,
            separator: Vec::new(),
            last_key: Vec::new(),
            last_seqno: SeqNo::ZERO,
            last_kind: Kind::Put,
            tombstones: Vec::new(),
            references: ValueReferences::new(),
            first_key: None,
            block_seqnos: None,
            bounds: Vec::new(),
            properties: Properties::default(),
            failed: false,
            options,
            superblock,
        })
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// `OutOfOrder`, `InvalidKey`, `ValueTooLarge`, `EntryTooLarge`, `SeqNoOutOfRange` and `InvalidArgument` refuse the entry alone.
    pub fn add(&mut self, key: &[u8], seqno: SeqNo, kind: Kind, value: &[u8]) -> Result<()> {
        self.add_with(key, seqno, kind, (value, None))
    }

    /// Adds a put whose value is taken apart already: `cells` are what the table's splitter makes of it.
    ///
    /// # Errors
    /// As [`TableBuilder::add`].
    pub fn add_split(&mut self, key: &[u8], seqno: SeqNo, value: &[u8], cells: &RowCells) -> Result<()> {
        self.add_with(key, seqno, Kind::Put, (value, Some(cells)))
    }

    fn add_with(&mut self, key: &[u8], seqno: SeqNo, kind: Kind, value: SplitValue<'_>) -> Result<()> {
        let same_key = self.check_entry(key, seqno, kind, value.0)?;
        self.guard(|this| this.append(key, same_key, seqno, kind, value))
    }

    /// Adds a range tombstone; these come in any order.
    ///
    /// # Errors
    /// `InvalidArgument` when its cuts leave no room or their keys are too long, `SeqNoOutOfRange`.
    pub fn add_range_tombstone(&mut self, tombstone: RangeTombstone) -> Result<()> {
        if self.failed {
            return Err(SstError::WriterFailed.into());
        }
        for key in [tombstone.start.key(), tombstone.end.key()].into_iter().flatten() {
            check_key(key)?;
        }
        if !tombstone.is_valid(&self.options.order) {
            return Err(SstError::Entry { what: "a range tombstone must start before it ends" }.into());
        }
        self.check_seqno(tombstone.seqno)?;
        self.tombstones.push(tombstone);
        Ok(())
    }

    /// Entries so far.
    pub const fn entries(&self) -> u64 {
        self.properties.counters.entries
    }

    /// Records that the table belongs to a slice of a merge.
    pub fn set_slice(&mut self, slice: crate::SlicePart) {
        self.options.slice = Some(slice);
    }

    /// Records which tables are known to be taken over, in the place of those of the options.
    pub fn set_taken_over(&mut self, list: Vec<crate::TakenOver>) {
        self.options.taken_over = Some(list);
    }

    /// The user key added last.
    pub fn last_key(&self) -> Option<&[u8]> {
        self.first_key.is_some().then_some(self.last_key.as_slice())
    }

    /// Has data blocks compressed through `jobs`, as far as it takes them. The file is the same. Row groups are not given
    /// away.
    pub fn compress_through(&mut self, jobs: Box<dyn BlockJobs>) {
        if self.options.compression != Compression::None && self.options.columnar.is_none() {
            self.flight.begin(jobs);
        }
    }

    /// Length the file would have, were it finished now: what is written, plus what is open at the compression
    /// ratio so far. For writers that aim at a file size. While blocks are compressed elsewhere, at most.
    pub fn estimated_file_len(&self) -> u64 {
        let rest = self.unwritten();
        let Self { flight, sink, index, .. } = self;
        flight.bounds(sink, index, rest).most
    }

    /// Bounds of [`TableBuilder::estimated_file_len`] as it would be without jobs elsewhere. This moment is kept until the
    /// next one is noted: [`TableBuilder::noted_file_len`] tells what it was exactly.
    pub fn note_file_len(&mut self) -> FileLen {
        let (rest, is_separated) = (self.unwritten(), !self.awaits_key);
        self.landing().note(rest, is_separated)
    }

    /// The estimated length at the moment that was noted last; the same whether blocks are compressed elsewhere or not.
    ///
    /// # Errors
    /// Of the output and the codec: blocks may be written first.
    pub fn noted_file_len(&mut self) -> Result<u64> {
        if self.failed {
            return Err(SstError::WriterFailed.into());
        }
        let noted = self.landing().noted();
        self.failed = noted.is_err();
        noted
    }

    fn unwritten(&self) -> Unwritten {
        Unwritten { open_len: self.block.logical_len(), tombstones: self.tombstones.len() }
    }

    fn landing(&mut self) -> Landing<'_, O> {
        Landing {
            flight: &mut self.flight,
            sink: &mut self.sink,
            index: &mut self.index,
            census: &mut self.properties.codecs,
        }
    }

    /// Bytes of memory in use.
    pub fn memory_usage(&self) -> usize {
        self.sink.memory_len()
            + self.block.memory_len()
            + self.payload.capacity()
            + self.flight.memory_len()
            + self.index.memory_len()
            + self.filter.memory_len()
            + self.tombstones.len() * size_of::<RangeTombstone>()
            + self.bounds.capacity() * size_of::<SeqNoBounds>()
    }

    /// Whether nothing was added.
    pub const fn is_empty(&self) -> bool {
        self.first_key.is_none() && self.tombstones.is_empty()
    }

    /// Writes everything that is left and describes the table. Making it durable is the caller's business.
    pub fn finish(self) -> Result<(TableSummary, O)> {
        self.end()?.finish()
    }

    /// Takes no more entries: hands over all that does not depend on [`BuildOptions::global_seqno`], which may still
    /// change. What stays in memory is the root of the index and the range tombstones.
    pub fn end(mut self) -> Result<EndedTable<O>> {
        if self.failed {
            return Err(SstError::WriterFailed.into());
        }
        self.close_block()?;
        self.index_closed(None)?;
        self.landing().land_all()?;
        self.flight.end();
        EndedTable::new(self)
    }

    /// Runs `step`; after its error the writer takes nothing more.
    fn guard(&mut self, step: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let result = step(self);
        self.failed = result.is_err();
        result
    }

    /// Whether the entry is another version of the key before; refuses what no table may hold.
    fn check_entry(&self, key: &[u8], seqno: SeqNo, kind: Kind, value: &[u8]) -> Result<bool> {
        if self.failed {
            return Err(SstError::WriterFailed.into());
        }
        check_key(key)?;
        check_value_len(value.len(), usize::MAX)?;
        if key.len() + value.len() > DATA_ROOM {
            return Err(SstError::EntryTooLarge { len: key.len() + value.len(), max: DATA_ROOM }.into());
        }
        self.check_seqno(seqno)?;
        if kind.is_tombstone() && !value.is_empty() {
            return Err(SstError::Entry { what: "a tombstone has no value" }.into());
        }
        if kind == Kind::Indirection && ValueHandle::decode(value).is_err() {
            return Err(SstError::Entry { what: "an indirection has a handle of a separated value" }.into());
        }
        if self.first_key.is_none() {
            return Ok(false);
        }
        match self.options.order.compare(&self.last_key, key) {
            Ordering::Less => Ok(false),
            Ordering::Equal if seqno < self.last_seqno => Ok(true),
            _ => Err(self.out_of_order(key, seqno)),
        }
    }

    #[cold]
    fn out_of_order(&self, key: &[u8], seqno: SeqNo) -> crate::Error {
        SstError::OutOfOrder {
            prev: Slice::copy_from(&self.last_key),
            prev_seqno: self.last_seqno,
            next: Slice::copy_from(key),
            next_seqno: seqno,
        }
        .into()
    }

    fn check_seqno(&self, local: SeqNo) -> Result<()> {
        let global = self.options.global_seqno;
        if local.checked_add(global.get()).is_some_and(SeqNo::is_write) {
            return Ok(());
        }
        Err(SstError::SeqNoOutOfRange { local, global }.into())
    }

    fn append(
        &mut self,
        key: &[u8],
        same_key: bool,
        seqno: SeqNo,
        kind: Kind,
        split: SplitValue<'_>,
    ) -> Result<()> {
        let (value, _) = split;
        if self.awaits_key {
            self.index_closed(Some((key, same_key)))?;
        }
        if self.block.rows() > 0 && self.block.logical_len() + key.len() + value.len() > DATA_ROOM {
            self.close_block()?;
            self.index_closed(Some((key, same_key)))?;
        }
        if !same_key {
            let mut landing = Landing {
                flight: &mut self.flight,
                sink: &mut self.sink,
                index: &mut self.index,
                census: &mut self.properties.codecs,
            };
            self.filter.push(key, &self.last_key, &mut landing)?;
            if self.first_key.is_none() {
                self.first_key = Some(Slice::copy_from(key));
            }
        }
        // In a fresh block the key is new, whatever the block before ended with.
        let repeats = same_key && self.block.rows() > 0;
        if kind == Kind::Indirection {
            let recorded = ValueHandle::decode(value).map(|handle| self.references.record(&handle));
            if !matches!(recorded, Ok(Ok(()))) {
                return Err(SstError::Entry { what: "separated values have less than 2^64 bytes" }.into());
            }
        }
        self.block.push(key, repeats, seqno, kind, split)?;
        self.count(key, same_key, seqno, kind, value);
        if !same_key {
            self.last_key.clear();
            self.last_key.extend_from_slice(key);
        }
        self.last_seqno = seqno;
        self.last_kind = kind;
        if self.block.is_full(self.options.data_block_bytes) {
            self.close_block()?;
        }
        Ok(())
    }

    fn count(&mut self, key: &[u8], same_key: bool, seqno: SeqNo, kind: Kind, value: &[u8]) {
        let counters = &mut self.properties.counters;
        counters.entries += 1;
        counters.distinct_keys += u64::from(!same_key);
        counters.raw_key_bytes += key.len() as u64;
        counters.raw_value_bytes += value.len() as u64;
        match kind {
            Kind::Tombstone => counters.tombstones += 1,
            Kind::WeakTombstone => counters.weak_tombstones += 1,
            Kind::MergeOperand => counters.merge_operands += 1,
            Kind::Indirection => counters.indirections += 1,
            _ => {}
        }
        let annihilates = same_key && kind.is_value() && self.last_kind == Kind::WeakTombstone;
        counters.reclaimable_weak_tombstones += u64::from(annihilates);
        self.block_seqnos = Some(SeqNoBounds::with(self.block_seqnos, seqno));
    }

    /// Closes the open block, if it has rows.
    fn close_block(&mut self) -> Result<()> {
        let rows = self.block.rows();
        if rows == 0 {
            return Ok(());
        }
        if let Some(bounds) = self.block_seqnos.take() {
            self.properties.point_seqnos = Some(SeqNoBounds::union(self.properties.point_seqnos, bounds));
            if self.options.seqno_bounds {
                self.bounds.push(bounds);
            }
        }
        self.awaits_key = true;
        let compression = self.options.compression;
        let block = match &mut self.block {
            OpenRows::Rows(block) => block,
            OpenRows::Columns(group) => {
                let entry = group.write(&mut self.sink, compression, &mut self.properties.codecs)?;
                self.flight.wrote(entry);
                return Ok(());
            }
        };
        let mut payload = core::mem::take(&mut self.payload);
        payload.clear();
        block.finish(&mut payload);
        let closed = self.landing().close(&mut payload, compression, rows);
        self.payload = payload;
        closed
    }

    /// Enters the closed block into the index, now that the key after it is known; `None` at the end.
    fn index_closed(&mut self, next: Option<(&[u8], bool)>) -> Result<()> {
        if !core::mem::take(&mut self.awaits_key) {
            return Ok(());
        }
        let mut last_seqno = SeqNo::ZERO;
        let separator = match next {
            Some((_, true)) => {
                last_seqno = self.last_seqno;
                &self.last_key
            }
            Some((key, false)) if self.separate(key) => &self.separator,
            _ => &self.last_key,
        };
        let mut landing = Landing {
            flight: &mut self.flight,
            sink: &mut self.sink,
            index: &mut self.index,
            census: &mut self.properties.codecs,
        };
        landing.separate(separator, last_seqno)
    }

    /// Finds a short key between the last one and `next`. A comparator that offers one outside is not believed.
    fn separate(&mut self, next: &[u8]) -> bool {
        let order = &self.options.order;
        self.separator.clear();
        order.comparator().separator(&self.last_key, next, &mut self.separator)
            && !self.separator.is_empty()
            && order.compare(&self.last_key, &self.separator).is_le()
            && order.compare(&self.separator, next).is_lt()
    }

    /// What entries and range tombstones span together.
    fn extent(&self) -> Option<(Cut, Cut)> {
        let order = &self.options.order;
        let points = self
            .first_key
            .clone()
            .map(|first| (Cut::Before(first), Cut::After(self.last_key.as_slice().into())));
        let ranges = self.tombstones.iter().map(|tombstone| (tombstone.start.clone(), tombstone.end.clone()));
        points.into_iter().chain(ranges).reduce(|(lower, upper), (start, end)| {
            let lower = if start.compare(&lower, order).is_lt() { start } else { lower };
            let upper = if end.compare(&upper, order).is_gt() { end } else { upper };
            (lower, upper)
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, vec};

    use lsm_block::FileIdentity;
    use lsm_types::{
        EditIndex, EntryCursor, FileKind, FileUuid, IoError, KeyHash, KeyOrder, ReadAt, TreeId, UnixNanos,
    };

    use super::*;
    use crate::{Table, TableOptions};

    /// A file that keeps only what was written, not what was skipped.
    #[derive(Default)]
    struct Sparse {
        pieces: Vec<(u64, Vec<u8>)>,
        len: u64,
    }

    impl Output for Sparse {
        fn write(&mut self, bytes: &[u8]) -> Result<()> {
            self.pieces.push((self.len, bytes.to_vec()));
            self.len += bytes.len() as u64;
            Ok(())
        }

        fn skip(&mut self, len: u64) -> Result<()> {
            self.len += len;
            Ok(())
        }
    }

    impl ReadAt for Sparse {
        fn len(&self) -> core::result::Result<u64, IoError> {
            Ok(self.len)
        }

        fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> core::result::Result<(), IoError> {
            out.fill(0);
            let end = offset + out.len() as u64;
            for (start, bytes) in &self.pieces {
                let (from, to) = (offset.max(*start), end.min(start + bytes.len() as u64));
                if from < to {
                    let at = |n: u64| usize::try_from(n).unwrap();
                    let part = |base: u64| at(from - base)..at(to - base);
                    out[part(offset)].copy_from_slice(&bytes[part(*start)]);
                }
            }
            Ok(())
        }
    }

    fn superblock() -> Superblock {
        let identity = FileIdentity {
            kind: FileKind::Table,
            file_id: 1,
            uuid: FileUuid::from_bytes([1; 16]),
            database: FileUuid::from_bytes([2; 16]),
            tree: TreeId::new(0),
        };
        Superblock::new(identity, UnixNanos::new(0), EditIndex::new(0))
    }

    /// Proves F-14.
    /// Fault: formats W-33.
    #[test]
    fn sections_beyond_4_gib_are_found() {
        for spill in [0, 4 << 20] {
            let options = BuildOptions {
                data_block_bytes: 200,
                index_partition_bytes: 200,
                index_spill_bytes: spill,
                ..BuildOptions::new(KeyOrder::bytewise())
            };
            let mut builder = TableBuilder::new(superblock(), options, Sparse::default()).unwrap();
            for n in 0..100 {
                if n % 40 == 20 {
                    builder.sink.skip(3 << 30).unwrap();
                }
                builder.add(format!("{n:03}").as_bytes(), SeqNo::ZERO, Kind::Put, &[n; 20]).unwrap();
            }
            let estimate = builder.estimated_file_len();
            let (summary, file) = builder.finish().unwrap();
            assert!(summary.file_len > 6 << 30 && estimate.abs_diff(summary.file_len) < 16 << 10);
            let table = Table::open(file, TableOptions::new()).unwrap();
            let mut cursor = table.cursor();
            cursor.seek_first().unwrap();
            for n in 0..100 {
                let key = format!("{n:03}");
                assert_eq!(cursor.entry().unwrap().key, key.as_bytes());
                assert_eq!(
                    table.get(key.as_bytes(), SeqNo::LATEST).unwrap().unwrap().value,
                    [n; 20].as_slice()
                );
                cursor.next().unwrap();
            }
            assert!(cursor.entry().is_none());
        }
    }

    /// Proves F-146 in part: memory does not grow with the table.
    #[test]
    fn memory_stays_bounded_and_failed_writers_take_nothing() {
        let options = BuildOptions {
            index_spill_bytes: 4 << 10,
            index_partition_bytes: 4 << 10,
            write_buffer_bytes: 16 << 10,
            ..BuildOptions::new(KeyOrder::bytewise())
        };
        let mut builder = TableBuilder::new(superblock(), options, Discard { left: 3 << 20 }).unwrap();
        let mut peak = 0;
        let mut entries = 0_u32;
        let error = loop {
            let key = KeyHash::of(&entries.to_le_bytes()).get();
            let key = [&entries.to_be_bytes()[..], &key.to_le_bytes()].concat();
            match builder.add(&key, SeqNo::ZERO, Kind::Put, &[0; 100]) {
                Ok(()) => peak = peak.max(builder.memory_usage()),
                Err(error) => break error,
            }
            entries += 1;
        };
        assert!(entries > 20_000 && peak < 200 << 10, "{entries} entries, {peak} bytes");
        assert_eq!(error.kind(), lsm_types::ErrorKind::NoSpace);
        let again = builder.add(b"\xff\xff\xff\xff\xff", SeqNo::ZERO, Kind::Put, b"").unwrap_err();
        assert_eq!(again.kind(), lsm_types::ErrorKind::Poisoned);
        assert!(builder.finish().is_err());
    }

    /// An output that runs out of space.
    struct Discard {
        left: usize,
    }

    impl Output for Discard {
        fn write(&mut self, bytes: &[u8]) -> Result<()> {
            let full = IoError::new(lsm_types::IoOp::Write, lsm_types::IoKind::NoSpace);
            self.left = self.left.checked_sub(bytes.len()).ok_or(full)?;
            Ok(())
        }
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let check = |change: fn(&mut BuildOptions)| {
            let mut options = BuildOptions::new(KeyOrder::bytewise());
            change(&mut options);
            let error = TableBuilder::new(superblock(), options, vec![]).unwrap_err();
            assert_eq!(error.kind(), lsm_types::ErrorKind::InvalidConfig);
        };
        check(|options| options.rows.bundle_shift = 8);
        check(|options| options.data_block_bytes = 0);
        check(|options| options.index_partition_bytes = 0);
        check(|options| options.index_spill_bytes = 1 << 30);
        check(|options| options.writer = "x".repeat(256));
        check(|options| options.global_seqno = SeqNo::LATEST);
    }
}
