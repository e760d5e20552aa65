//! Writing a value log in one pass, front to back.
//!
//! Memory holds what was not handed over yet, one frame, and a bounded list of places. The same values, options and
//! identity give the same bytes.

mod copy;
mod finish;
mod options;
mod sink;
mod training;

pub use finish::VlogSummary;
pub use options::{DictionaryOptions, VlogOptions};
pub(crate) use sink::{VALUE_KINDS, ordinal_at};

use alloc::vec::Vec;

use lsm_block::{BlockKind, FrameWriter, Output, Superblock, Transforms};
use lsm_codec::{Compression, Decoder};
use lsm_types::{
    KeyHash, MAX_VALUE_LEN, Result, SeqNo, Slice, ValueHandle, VlogId, check_key, check_value_len,
};

use self::{sink::FrameSink, training::Training};
use crate::{
    VlogError, chunk_map::ChunkMap, frame_directory::FrameDirectory, payload::ValuePayload,
    properties::Properties,
};

const CHUNK_LEN: usize = ValueHandle::CHUNK_LEN as usize;

/// Writes one value log. Values may come in any order; readers of neighbouring keys are served best when it is that of
/// the keys.
///
/// After an error of the output or the codec the writer takes nothing more. A value that is refused for what it is
/// leaves the writer as it was.
#[derive(Debug)]
pub struct VlogBuilder<O> {
    options: VlogOptions,
    superblock: Superblock,
    sink: FrameSink<O>,
    payload: Vec<u8>,
    directory: FrameDirectory,
    properties: Properties,
    /// No key so far lies in front of one before it.
    is_ordered: bool,
    decoder: Decoder,
    /// Until there is a dictionary, where one is wanted.
    training: Option<Training>,
    /// Level and slot by which values are compressed with a dictionary.
    dictionary: Option<(i32, u16)>,
    failed: bool,
}

impl<O: Output> VlogBuilder<O> {
    /// A writer of a plain value log that hands its bytes to `output`.
    ///
    /// * `superblock`: says which file this is, when it was made and which checks it uses.
    ///
    /// # Errors
    /// `InvalidConfig` for settings that cannot hold; errors of the output.
    pub fn new(superblock: Superblock, options: VlogOptions, output: O) -> Result<Self> {
        let transforms = superblock.transforms(None).map_err(VlogError::from)?;
        Self::with_transforms((superblock, transforms), options, output)
    }

    /// A writer of a value log that may be sealed.
    ///
    /// * `head`: what [`Superblock::begin`] returned for this file.
    ///
    /// # Errors
    /// As [`VlogBuilder::new`].
    pub fn with_transforms(
        (superblock, transforms): (Superblock, Transforms),
        mut options: VlogOptions,
        output: O,
    ) -> Result<Self> {
        options.check()?;
        options.compression = options.compression.or_weaker();
        let frames = FrameWriter::new(superblock.identity, transforms);
        let mut sink = FrameSink::new(frames, output, options.write_buffer_bytes);
        sink.write(&superblock.encode())?;
        let training = match (options.compression, options.dictionary) {
            (Compression::Zstd { level }, Some(wanted)) => Some(Training::new(wanted, level)),
            _ => None,
        };
        Ok(Self {
            sink,
            payload: Vec::new(),
            directory: FrameDirectory::new(options.directory_every),
            properties: Properties::default(),
            is_ordered: true,
            decoder: Decoder::new(),
            training,
            dictionary: None,
            failed: false,
            options,
            superblock,
        })
    }

    /// Adds a value and returns its handle.
    ///
    /// * `seqno`: number of the entry, kept with the value to inform.
    ///
    /// # Errors
    /// `InvalidKey`, `ValueTooLarge` and `SeqNoOutOfRange` refuse the value alone, and so does `Unsupported` when it does
    /// not fit into the file.
    pub fn add(&mut self, key: &[u8], seqno: SeqNo, value: &[u8]) -> Result<ValueHandle> {
        self.admit(key, value.len())?;
        if !seqno.is_write() {
            return Err(VlogError::SeqNo.into());
        }
        self.guard(|this| this.append(key, seqno, value))
    }

    /// Values so far.
    pub const fn values(&self) -> u64 {
        self.directory.values()
    }

    /// Whether nothing was added.
    pub const fn is_empty(&self) -> bool {
        self.values() == 0
    }

    /// Bytes of the file so far, without what [`VlogBuilder::finish`] adds.
    pub const fn written_len(&self) -> u64 {
        self.sink.offset()
    }

    /// Bytes of memory in use.
    pub fn memory_usage(&self) -> usize {
        let training = self.training.as_ref().map_or(0, Training::memory_len);
        self.sink.memory_len() + self.payload.capacity() + self.directory.memory_len() + training
    }

    /// Writes the metadata and describes the file. Making it durable is the caller's business.
    ///
    /// # Errors
    /// `Poisoned` after an earlier error; errors of the output.
    pub fn finish(self) -> Result<(VlogSummary, O)> {
        if self.failed {
            return Err(VlogError::WriterFailed.into());
        }
        finish::finish(self)
    }

    /// Refuses what cannot be written, before anything is.
    fn admit(&self, key: &[u8], value_len: usize) -> Result<()> {
        if self.failed {
            return Err(VlogError::WriterFailed.into());
        }
        check_key(key)?;
        check_value_len(value_len, MAX_VALUE_LEN)?;
        if self.sink.has_room(key.len() + value_len) { Ok(()) } else { Err(VlogError::Full.into()) }
    }

    /// Runs `step`; after its error the writer takes nothing more.
    fn guard<T>(&mut self, step: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let result = step(self);
        self.failed = result.is_err();
        result
    }

    fn append(&mut self, key: &[u8], seqno: SeqNo, value: &[u8]) -> Result<ValueHandle> {
        let (offset, compression) = (self.sink.offset(), self.options.compression);
        let (first, rest) = value.split_at_checked(CHUNK_LEN).unwrap_or((value, &[]));
        self.payload.clear();
        ValuePayload::encode_lead(seqno, key, &mut self.payload);
        self.payload.extend_from_slice(first);
        if rest.is_empty() {
            self.sink.append_with(BlockKind::VALUE, compression, self.dictionary, &self.payload)?;
            self.learn();
        } else {
            let mut map = ChunkMap::new(u32::try_from(value.len()).unwrap_or(u32::MAX), KeyHash::of(key));
            self.sink.append(BlockKind::VALUE_CHUNK, compression, &self.payload)?;
            map.push(self.distance(offset));
            for part in rest.chunks(CHUNK_LEN) {
                self.sink.append(BlockKind::VALUE_CHUNK, compression, part)?;
                map.push(self.distance(offset));
            }
            self.append_map(&map)?;
        }
        Ok(self.note(key, seqno, offset, value.len()))
    }

    /// Takes the value that was just written as a sample. A dictionary that comes of it is used from the next one on.
    fn learn(&mut self) {
        if self.training.as_mut().is_some_and(|training| training.take(&self.payload))
            && let Some(training) = self.training.take()
            && let Compression::Zstd { level } = self.options.compression
        {
            let dictionary = training.finish();
            let slot = dictionary.and_then(|dictionary| self.sink.frames.dictionary_slot(&dictionary));
            self.dictionary = slot.map(|slot| (level, slot));
        }
    }

    fn append_map(&mut self, map: &ChunkMap) -> Result<()> {
        self.payload.clear();
        map.encode(&mut self.payload);
        self.sink.append(BlockKind::VALUE_CHUNK_MAP, lsm_codec::Compression::None, &self.payload)?;
        Ok(())
    }

    /// Bytes from `offset` to what comes next.
    fn distance(&self, offset: u64) -> u32 {
        u32::try_from(self.sink.offset() - offset).unwrap_or(u32::MAX)
    }

    /// Takes a value that was written into the properties, and names it.
    fn note(&mut self, key: &[u8], seqno: SeqNo, offset: u64, value_len: usize) -> ValueHandle {
        let handle = ValueHandle {
            file: VlogId::new(self.superblock.identity.file_id),
            offset,
            stored_len: self.distance(offset),
            value_len: u32::try_from(value_len).unwrap_or(u32::MAX),
        };
        self.directory.push(offset);
        let properties = &mut self.properties;
        properties.values += 1;
        properties.chunked_values += u64::from(handle.is_chunked());
        properties.key_bytes += key.len() as u64;
        properties.value_bytes += value_len as u64;
        properties.stored_bytes += u64::from(handle.stored_len);
        properties.seqnos =
            Some(properties.seqnos.map_or((seqno, seqno), |(min, max)| (min.min(seqno), max.max(seqno))));
        let order = &self.options.order;
        match &mut properties.keys {
            None => properties.keys = Some((Slice::copy_from(key), Slice::copy_from(key))),
            Some((_, max)) if order.compare(max, key).is_lt() => *max = Slice::copy_from(key),
            Some((min, _)) if order.compare(key, min).is_lt() => {
                *min = Slice::copy_from(key);
                self.is_ordered = false;
            }
            Some((_, max)) => self.is_ordered &= max[..] == *key,
        }
        handle
    }
}
