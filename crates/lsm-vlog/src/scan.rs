//! Walking the values of a file in the order they lie in.

use alloc::vec;

use lsm_block::{BlockKind, FrameHeader, Handle};
use lsm_codec::Decoder;
use lsm_types::{ReadAt, Result, SeqNo, Slice, ValueHandle, VlogId};

use crate::{PayloadError, ValuePayload, VlogError, VlogLayout, chunk_map::ChunkMap, layout::expect_at};

/// Bytes read at once.
const WINDOW_LEN: u64 = 256 << 10;

/// A value as a scan meets it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScannedValue {
    /// The user key.
    pub key: Slice,
    /// Number of the entry when the value was written.
    pub seqno: SeqNo,
    /// Where the value lies, and its lengths.
    pub handle: ValueHandle,
}

impl VlogLayout {
    /// All values in file order, garbage included. Of a value in chunks only the first chunk and the map are read.
    pub fn scan<'a, R: ReadAt + ?Sized>(&'a self, file: &'a R) -> VlogScan<'a, R> {
        let extent = self.values_extent();
        VlogScan {
            layout: self,
            file,
            at: extent.start,
            end: extent.end,
            window: (0, Slice::empty()),
            decoder: Decoder::new(),
        }
    }
}

/// The values of a file in file order. Ends after the first error.
#[derive(Debug)]
pub struct VlogScan<'a, R: ?Sized> {
    layout: &'a VlogLayout,
    file: &'a R,
    at: u64,
    end: u64,
    /// Where in the file what was read last begins, and what it is.
    window: (u64, Slice),
    decoder: Decoder,
}

impl<R: ReadAt + ?Sized> VlogScan<'_, R> {
    fn step(&mut self) -> Result<ScannedValue> {
        let start = self.at;
        let (first, handle) = self.head(start)?;
        self.at = start + u64::from(handle.len);
        let payload = self.open(first.kind, handle)?;
        let payload =
            ValuePayload::decode(&payload).map_err(|source| self.broken(source, handle, first.kind))?;
        let mut value_len = u32::try_from(payload.value.len()).unwrap_or(u32::MAX);
        if first.kind == BlockKind::VALUE_CHUNK {
            value_len = self.pass_chunks(start)?;
        }
        let stored_len = u32::try_from(self.at - start);
        let too_long = |_| self.layout.geometry(first.kind, start, u32::MAX.into(), self.at - start);
        let handle = ValueHandle {
            file: VlogId::new(self.layout.identity().file_id),
            offset: start,
            stored_len: stored_len.map_err(too_long)?,
            value_len,
        };
        if handle.is_chunked() != (first.kind == BlockKind::VALUE_CHUNK) {
            return Err(self
                .layout
                .geometry(first.kind, start, ValueHandle::CHUNK_LEN.into(), value_len.into())
                .into());
        }
        Ok(ScannedValue { key: payload.key, seqno: payload.seqno, handle })
    }

    /// Goes over the chunks after the first one, and their map, which says how long the value is.
    fn pass_chunks(&mut self, start: u64) -> Result<u32> {
        loop {
            let (header, handle) = self.head(self.at)?;
            self.at += u64::from(handle.len);
            match header.kind {
                BlockKind::VALUE_CHUNK => {}
                BlockKind::VALUE_CHUNK_MAP => {
                    let payload = self.open(header.kind, handle)?;
                    let map = ChunkMap::decode(&payload)
                        .map_err(|source| self.broken(source, handle, header.kind))?;
                    let found = handle.offset - start;
                    if u64::from(map.stored_len()) == found {
                        return Ok(map.value_len());
                    }
                    let expected = map.stored_len().into();
                    return Err(self.layout.geometry(header.kind, handle.offset, expected, found).into());
                }
                other => {
                    let (expected, found) = (BlockKind::VALUE_CHUNK_MAP.code().into(), other.code().into());
                    return Err(self.layout.geometry(other, handle.offset, expected, found).into());
                }
            }
        }
    }

    /// The head at `offset`, which must be that of a frame of values that ends among the values.
    fn head(&mut self, offset: u64) -> Result<(FrameHeader, Handle)> {
        let kind = BlockKind::VALUE;
        let head_len = FrameHeader::LEN as u64;
        let left = self.end - offset;
        if left < head_len {
            return Err(self.layout.geometry(kind, offset, head_len, left).into());
        }
        let bytes = self.bytes(offset, head_len)?;
        let identity = self.layout.identity();
        let header = FrameHeader::decode(identity, offset, kind, &bytes).map_err(VlogError::from)?;
        let len = header.frame_len().filter(|&len| u64::from(len) <= left);
        let is_value =
            [BlockKind::VALUE, BlockKind::VALUE_CHUNK, BlockKind::VALUE_CHUNK_MAP].contains(&header.kind);
        match len {
            Some(len) if is_value => Ok((header, Handle { offset, len })),
            _ => Err(self.layout.geometry(header.kind, offset, left, header.stored_len.into()).into()),
        }
    }

    /// The payload of a frame.
    fn open(&mut self, kind: BlockKind, handle: Handle) -> Result<Slice> {
        let layout = self.layout;
        let expect = expect_at(kind, handle);
        expect.check_handle(layout.identity(), layout.file_len).map_err(VlogError::from)?;
        let frame = self.bytes(handle.offset, handle.len.into())?;
        layout.open(&expect, &frame, &mut self.decoder, kind.cap())
    }

    /// Bytes of the file, which are there.
    fn bytes(&mut self, offset: u64, len: u64) -> Result<Slice> {
        let part = |(start, bytes): &(u64, Slice)| {
            let from = usize::try_from(offset.checked_sub(*start)?).ok()?;
            let to = from.checked_add(usize::try_from(len).ok()?)?;
            (to <= bytes.len()).then(|| bytes.slice(from..to))
        };
        if let Some(bytes) = part(&self.window) {
            return Ok(bytes);
        }
        let wanted = len.max(WINDOW_LEN.min(self.end - offset));
        let mut bytes = vec![0; usize::try_from(wanted).unwrap_or(usize::MAX)];
        let at = self.layout.identity().at(offset);
        self.file.read_exact_at(offset, &mut bytes).map_err(|source| VlogError::Read {
            at,
            len: wanted,
            source,
        })?;
        self.window = (offset, Slice::from(bytes));
        Ok(part(&self.window).unwrap_or_default())
    }

    fn broken(&self, source: PayloadError, handle: Handle, kind: BlockKind) -> VlogError {
        source.at(self.layout.identity(), handle.offset, kind)
    }
}

impl<R: ReadAt + ?Sized> Iterator for VlogScan<'_, R> {
    type Item = Result<ScannedValue>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.end {
            return None;
        }
        let step = self.step();
        if step.is_err() {
            self.at = self.end;
        }
        Some(step)
    }
}
