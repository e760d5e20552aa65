//! Data blocks that are closed, and not yet in the file.
//!
//! ```text
//! entries -> open block -> flight: compressed by whoever is free -> landing: sealed, checked, appended, indexed
//! ```
//!
//! A block lands when the flight has become long, and before anything else goes to the file, so that
//! whatever depends on places and lengths comes in the order it would have without a flight. Where nobody helps, nothing
//! flies.

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};

use lsm_block::{BlockKind, FrameHeader, Handle, Output};
use lsm_codec::{Codec, Compression, Trial};
use lsm_types::SeqNo;

use super::{
    filter_writer::FilterSink,
    finish,
    jobs::{BlockJob, BlockJobs},
    sink::FrameSink,
};
use crate::{
    Result,
    index::{IndexEntry, IndexWriter},
    properties::CodecCensus,
};

/// Most bytes of payloads in flight, but for two blocks, which may always fly.
const BYTES_MAX: usize = 256 << 10;
/// Most blocks in flight.
const BLOCKS_MAX: usize = 64;
/// What a frame adds to a payload that is stored raw, or takes when it is compressed to nothing, in bytes.
const FRAME_MOST: usize = FrameHeader::LEN + 32;

/// What a file would come to, were it finished at a moment, in bytes: between the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileLen {
    /// At least this.
    pub least: u64,
    /// At most this.
    pub most: u64,
}

/// The blocks in flight, in order.
#[derive(Debug, Default)]
pub(super) struct Flight {
    jobs: Option<Box<dyn BlockJobs>>,
    blocks: VecDeque<Closed>,
    /// Of their payloads.
    bytes: usize,
    /// Of their separators.
    separator_bytes: usize,
    /// Blocks that came down.
    landed: u64,
    /// What the block that landed last came in.
    job: BlockJob,
    spare: Vec<Closed>,
    /// The block in the file whose separator waits for the next key.
    pending: Option<IndexEntry>,
    /// A moment whose file length is not known before blocks land.
    note: Option<Note>,
    /// The length at the last moment that is known.
    noted: u64,
}

#[derive(Debug, Default)]
struct Closed {
    payload_len: usize,
    rows: usize,
    /// Known with the key after it.
    separator: Vec<u8>,
    last_seqno: SeqNo,
    is_separated: bool,
}

#[derive(Debug)]
struct Note {
    /// Number of the block that was closed last, from 1 on.
    after: u64,
    /// Whether its separator was known.
    is_separated: bool,
    rest: Unwritten,
}

/// What is not in the file and not in flight, at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unwritten {
    /// Bytes of the open block.
    pub(super) open_len: usize,
    /// Range tombstones.
    pub(super) tombstones: usize,
}

impl Unwritten {
    fn file_len<O: Output>(self, sink: &FrameSink<O>, index: &IndexWriter) -> u64 {
        let (stored, logical) = sink.data_bytes();
        let open = scale(self.open_len, stored, logical);
        sink.offset() + open + finish::tail_len(index.pending_len(), self.tombstones)
    }
}

/// What `len` bytes come to when `logical` ones came to `stored`.
fn scale(len: usize, stored: u64, logical: u64) -> u64 {
    let len = len as u64;
    match logical {
        0 => len,
        logical => u64::try_from(u128::from(len) * u128::from(stored) / u128::from(logical)).unwrap_or(len),
    }
}

impl Flight {
    /// From now on blocks fly when `jobs` is manned.
    pub(super) fn begin(&mut self, jobs: Box<dyn BlockJobs>) {
        self.jobs = Some(jobs);
    }

    /// Nothing flies any more; the caller has seen to it that all are down.
    pub(super) fn end(&mut self) {
        debug_assert!(self.blocks.is_empty(), "all blocks have landed");
        *self = Self { noted: self.noted, ..Self::default() };
    }

    /// A block is in the file that never flew. Nothing else flies.
    pub(super) fn wrote(&mut self, entry: IndexEntry) {
        debug_assert!(self.blocks.is_empty(), "blocks come in order");
        self.pending = Some(entry);
    }

    pub(super) fn memory_len(&self) -> usize {
        let closed = (self.blocks.capacity() + self.spare.capacity()) * size_of::<Closed>();
        let separators = self.blocks.iter().chain(&self.spare).map(|block| block.separator.capacity());
        let jobs = self.jobs.as_ref().map_or(0, |jobs| jobs.memory_len());
        closed + separators.sum::<usize>() + jobs + self.job.memory_len()
    }

    fn take_off(&mut self, payload: &mut Vec<u8>, compression: Compression, rows: usize) {
        let mut block = self.spare.pop().unwrap_or_default();
        block.separator.clear();
        (block.payload_len, block.rows, block.is_separated) = (payload.len(), rows, false);
        self.bytes += payload.len();
        self.blocks.push_back(block);
        if let Some(jobs) = &mut self.jobs {
            jobs.hand_over(payload, compression);
        }
    }

    /// Bounds of the length that the file would have now.
    pub(super) fn bounds<O: Output>(
        &self,
        sink: &FrameSink<O>,
        index: &IndexWriter,
        rest: Unwritten,
    ) -> FileLen {
        if self.blocks.is_empty() {
            let exact = rest.file_len(sink, index);
            return FileLen { least: exact, most: exact };
        }
        let count = self.blocks.len();
        let stored = (self.bytes + count * FRAME_MOST) as u64;
        let data = &sink.data;
        let open = scale(rest.open_len, data.stored_bytes + stored, data.logical_bytes + self.bytes as u64);
        let index = index.bounds(count, self.separator_bytes);
        let tail = |index_len| finish::tail_len(index_len, rest.tombstones);
        FileLen {
            least: sink.offset() + tail(index.pending_least),
            most: sink.offset() + stored + index.written_most as u64 + open + tail(index.pending_most),
        }
    }

    /// Whether the oldest block has to land.
    fn is_long(&self) -> bool {
        self.blocks.len() > BLOCKS_MAX || (self.bytes > BYTES_MAX && self.blocks.len() > 2)
    }
}

/// Where blocks go when they come down, and what goes there with them.
pub(super) struct Landing<'a, O> {
    pub(super) flight: &'a mut Flight,
    pub(super) sink: &'a mut FrameSink<O>,
    pub(super) index: &'a mut IndexWriter,
    pub(super) census: &'a mut CodecCensus,
}

impl<O: Output> Landing<'_, O> {
    /// Takes over a closed block of `rows`. Its separator comes next.
    pub(super) fn close(
        &mut self,
        payload: &mut Vec<u8>,
        compression: Compression,
        rows: usize,
    ) -> Result<()> {
        // Blocks that are not tried anyway need nobody to try them.
        let is_manned = compression != Compression::None
            && !self.sink.frames.encoder_mut().is_idle()
            && self.flight.jobs.as_mut().is_some_and(|jobs| jobs.is_manned(payload.len()));
        if is_manned {
            self.flight.take_off(payload, compression, rows);
            while self.flight.is_long() {
                self.land()?;
            }
            return Ok(());
        }
        self.land_all()?;
        let entry = write(self.sink, self.census, (payload, compression, Trial::NotMade), rows)?;
        self.flight.pending = Some(entry);
        Ok(())
    }

    /// Enters the block that was closed last into the index.
    pub(super) fn separate(&mut self, separator: &[u8], last_seqno: SeqNo) -> Result<()> {
        if let Some(mut entry) = self.flight.pending.take() {
            entry.last_seqno = last_seqno;
            return self.index.push(separator, entry, self.sink);
        }
        if let Some(block) = self.flight.blocks.back_mut() {
            block.separator.extend_from_slice(separator);
            (block.last_seqno, block.is_separated) = (last_seqno, true);
            self.flight.separator_bytes += separator.len();
        }
        Ok(())
    }

    /// All blocks come down.
    pub(super) fn land_all(&mut self) -> Result<()> {
        while !self.flight.blocks.is_empty() {
            self.land()?;
        }
        Ok(())
    }

    /// Bounds of the length that the file would have now; exact where nothing flies. It can be asked for later.
    ///
    /// * `is_separated`: whether the separator of the block that was closed last is known.
    pub(super) fn note(&mut self, rest: Unwritten, is_separated: bool) -> FileLen {
        let flight = &mut *self.flight;
        if flight.blocks.is_empty() {
            flight.noted = rest.file_len(self.sink, self.index);
            flight.note = None;
            return FileLen { least: flight.noted, most: flight.noted };
        }
        let after = flight.landed + flight.blocks.len() as u64;
        flight.note = Some(Note { after, is_separated, rest });
        self.flight.bounds(self.sink, self.index, rest)
    }

    /// The length at the last moment that was noted; blocks land until it is known.
    pub(super) fn noted(&mut self) -> Result<u64> {
        while self.flight.note.is_some() {
            self.land()?;
        }
        Ok(self.flight.noted)
    }

    /// The oldest block comes down.
    fn land(&mut self) -> Result<()> {
        let flight = &mut *self.flight;
        let (Some(block), Some(jobs)) = (flight.blocks.pop_front(), &mut flight.jobs) else { return Ok(()) };
        flight.bytes -= block.payload_len;
        flight.separator_bytes -= block.separator.len();
        flight.landed += 1;
        jobs.take_back(&mut flight.job, self.sink.frames.encoder_mut())?;
        let job = &flight.job;
        debug_assert_eq!(job.payload_len(), block.payload_len, "blocks come back in order");
        let data = (job.payload(), job.compression(), job.trial());
        let mut entry = write(self.sink, self.census, data, block.rows)?;
        let note = flight.note.take_if(|note| note.after == flight.landed);
        if let Some(note) = note.as_ref().filter(|note| !note.is_separated) {
            flight.noted = note.rest.file_len(self.sink, self.index);
        }
        if block.is_separated {
            entry.last_seqno = block.last_seqno;
            self.index.push(&block.separator, entry, self.sink)?;
        } else {
            flight.pending = Some(entry);
        }
        if let Some(note) = note.filter(|note| note.is_separated) {
            flight.noted = note.rest.file_len(self.sink, self.index);
        }
        flight.spare.push(block);
        Ok(())
    }
}

impl<O: Output> FilterSink for Landing<'_, O> {
    fn append_filter(&mut self, kind: BlockKind, payload: &[u8]) -> Result<(Handle, u32)> {
        self.land_all()?;
        self.sink.append_filter(kind, payload)
    }
}

/// Writes a data block; its entry in the index but for the number in it.
fn write<O: Output>(
    sink: &mut FrameSink<O>,
    census: &mut CodecCensus,
    (payload, compression, trial): (&[u8], Compression, Trial<'_>),
    rows: usize,
) -> Result<IndexEntry> {
    let (mark, ordinal) = sink.append_data(payload, compression, trial)?;
    let compressed = (mark.stored_len as usize) < payload.len();
    match compression.codec() {
        Codec::Lz4 if compressed => census.lz4 += 1,
        Codec::Zstd if compressed => census.zstd += 1,
        _ => census.raw += 1,
    }
    Ok(IndexEntry { handle: mark.handle, ordinal, rows: rows as u64, last_seqno: SeqNo::ZERO })
}
