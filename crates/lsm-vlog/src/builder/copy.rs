//! Taking a value over from another file as it is stored: neither decompressed for good nor compressed again, so it
//! stays readable whatever codec new values get.

use lsm_block::{BlockKind, Output};
use lsm_types::{KeyHash, ReadAt, Result, ValueHandle};

use super::VlogBuilder;
use crate::{VlogLayout, chunk_map::ChunkMap, layout::read};

impl<O: Output> VlogBuilder<O> {
    /// Copies the value behind `handle`, which lies in another file, and returns its handle in this one.
    ///
    /// * `source`, `file`: the other file and its bytes.
    /// * `key`: the key whose entry holds the handle. That the value is its is checked, with everything else that a read
    ///   checks, before anything is written.
    ///
    /// # Errors
    /// As [`VlogLayout::read`]; the writer then is as it was, unless the value is stored in chunks. As
    /// [`VlogBuilder::add`].
    pub fn copy<R: ReadAt + ?Sized>(
        &mut self,
        (source, file): (&VlogLayout, &R),
        handle: &ValueHandle,
        key: &[u8],
    ) -> Result<ValueHandle> {
        self.admit(key, handle.value_len as usize)?;
        source.check_handle(handle)?;
        if handle.is_chunked() {
            let map = source.read_map(file, handle, key, &mut self.decoder)?;
            return self.guard(|this| this.copy_chunks((source, file), handle, key, &map));
        }
        let expect = VlogLayout::expect_value(handle);
        let frame = read(file, source.identity(), expect.handle)?;
        let payload = source.decode_payload(handle, key, &frame, &mut self.decoder)?;
        if !self.sink.can_copy(source.reader(), &expect, &frame)? {
            // There are as many dictionaries here as a file may have: it does without.
            return self.guard(|this| this.append(key, payload.seqno, &payload.value));
        }
        let offset = self.sink.offset();
        self.guard(|this| this.sink.append_copy(source.reader(), &expect, &frame))?;
        Ok(self.note(key, payload.seqno, offset, handle.value_len as usize))
    }

    fn copy_chunks<R: ReadAt + ?Sized>(
        &mut self,
        (source, file): (&VlogLayout, &R),
        handle: &ValueHandle,
        key: &[u8],
        map: &ChunkMap,
    ) -> Result<ValueHandle> {
        let offset = self.sink.offset();
        let mut copy = ChunkMap::new(map.value_len(), KeyHash::of(key));
        let mut seqno = None;
        for idx in 0..map.chunks() {
            let expect = source.expect_chunk(handle, map, idx)?;
            let frame = read(file, source.identity(), expect.handle)?;
            let (number, _) = source.decode_chunk(handle, (key, map), idx, &frame, &mut self.decoder)?;
            seqno = seqno.or(number);
            self.sink.append_copy(source.reader(), &expect, &frame)?;
            // Where one file is sealed and the other is not, frames get another length.
            copy.push(self.distance(offset));
        }
        self.append_map(&copy)?;
        debug_assert!(seqno.is_some(), "the first chunk has the number of the value");
        Ok(self.note(key, seqno.unwrap_or_default(), offset, handle.value_len as usize))
    }
}

const _: () = assert!(BlockKind::VALUE_CHUNK.cap() > ValueHandle::CHUNK_LEN);
