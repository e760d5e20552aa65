//! Checking a whole value log: every frame, every value, and that what it says about itself is so.

use alloc::{collections::BTreeSet, vec::Vec};

use lsm_block::{BlockKind, DirectoryPointer, FrameHeader, Handle, SectionDigest, Superblock, Walk, Walked};
use lsm_codec::{Codec, Decoder};
use lsm_types::{Error, ErrorKind, KeyOrder, ReadAt, Result, SeqNo, Slice, ValueHandle, VlogId};

use crate::{
    ValuePayload, VlogError, VlogLayout,
    chunk_map::ChunkMap,
    frame_directory::FrameDirectory,
    layout::{expect_at, read},
    properties::Properties,
};

/// What a check went over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Verified {
    /// Frames whose checks are good.
    pub frames: u32,
    /// Values read.
    pub values: u64,
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
    /// Every value, the list that leads to it and the properties that count it.
    Values,
}

impl VlogLayout {
    /// Checks the whole file and hands everything it finds wrong to `report`; does not stop at the first.
    ///
    /// * `order`: with it the ends of the keys are checked, when it is the one recorded.
    ///
    /// # Errors
    /// Only when `file` itself cannot be read.
    pub fn verify<R: ReadAt + ?Sized>(
        &self,
        file: &R,
        order: Option<&KeyOrder>,
        report: &mut dyn FnMut(Error),
    ) -> Result<Verified> {
        self.verify_to(CheckDepth::Values, order, file, &mut |_, error| report(error))
    }

    /// As [`VlogLayout::verify`], no deeper than `depth`; `report` is also told at which depth something was found.
    ///
    /// # Errors
    /// Only when `file` itself cannot be read.
    pub fn verify_to<R: ReadAt + ?Sized>(
        &self,
        depth: CheckDepth,
        order: Option<&KeyOrder>,
        file: &R,
        report: &mut dyn FnMut(CheckDepth, Error),
    ) -> Result<Verified> {
        self.verify_rest(0, (depth, order), file, report)
    }

    /// As [`VlogLayout::verify_to`], of a file of which the values in front of `frontier` may be gone: nobody reads them, so
    /// they are not looked at. What the file says about all of its values together cannot be held against it then.
    ///
    /// # Errors
    /// Only when `file` itself cannot be read.
    pub fn verify_rest<R: ReadAt + ?Sized>(
        &self,
        frontier: u64,
        (depth, order): (CheckDepth, Option<&KeyOrder>),
        file: &R,
        report: &mut dyn FnMut(CheckDepth, Error),
    ) -> Result<Verified> {
        let order = order.filter(|order| order.comparator().name() == self.properties.comparator);
        let mut check = Check {
            layout: self,
            frontier,
            order,
            report,
            depth,
            at: CheckDepth::Heads,
            reported: BTreeSet::new(),
            verified: Verified::default(),
            decoder: Decoder::new(),
            found: Properties::default(),
            listed: None,
            listed_met: 0,
            chunks: Vec::new(),
            is_incomplete: false,
        };
        check.head(file)?;
        check.property_copies(file)?;
        if depth >= CheckDepth::Values {
            check.at = CheckDepth::Values;
            check.listed = check.good(self.frame_directory(file))?;
        }
        if depth >= CheckDepth::Frames {
            check.frames(file)?;
        }
        if depth >= CheckDepth::Values {
            check.counts();
        }
        Ok(check.verified)
    }
}

struct Check<'c> {
    layout: &'c VlogLayout,
    /// Where the values begin that are left; at most the length of the head for all.
    frontier: u64,
    order: Option<&'c KeyOrder>,
    report: &'c mut dyn FnMut(CheckDepth, Error),
    depth: CheckDepth,
    /// What is being checked.
    at: CheckDepth,
    /// Offsets of frames that were reported: damage is not told twice.
    reported: BTreeSet<u64>,
    verified: Verified,
    decoder: Decoder,
    /// What the properties should say.
    found: Properties,
    /// The directory of frames, when it is readable.
    listed: Option<FrameDirectory>,
    /// Values met whose places are listed.
    listed_met: usize,
    /// The chunks met of a value whose map was not.
    chunks: Vec<Handle>,
    /// Whether some value could not be read, so that counts mean nothing.
    is_incomplete: bool,
}

impl Check<'_> {
    fn report(&mut self, error: impl Into<Error>) {
        let error = error.into();
        let offset = error.location().map(|location| location.offset);
        if offset.is_none_or(|offset| offset == 0 || self.reported.insert(offset)) {
            self.verified.findings += 1;
            (self.report)(self.at, error);
        }
    }

    /// Whether all values are there.
    fn is_whole(&self) -> bool {
        self.frontier <= Superblock::LEN as u64
    }

    fn disagree(&mut self, what: &'static str) {
        self.report(self.layout.disagree(what));
    }

    /// What was read; `None`, and a report, for damage; an error only when the file cannot be read.
    fn good<T>(&mut self, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(found) => Ok(Some(found)),
            Err(error)
                if error.is_corruption()
                    || error.kind().is_about_keys()
                    // Dictionaries lie in the file: one that is not there is damage to it.
                    || matches!(error.kind(), ErrorKind::DictionaryMissing | ErrorKind::DictionaryMismatch) =>
            {
                self.report(error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The superblock at the head of the file: opening may have used a copy.
    fn head<R: ReadAt + ?Sized>(&mut self, file: &R) -> Result<()> {
        let len = u32::try_from(Superblock::LEN).unwrap_or(u32::MAX);
        let raw = read(file, self.layout.identity(), Handle { offset: 0, len })?;
        match Superblock::decode(self.layout.identity().at(0), &raw) {
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
            Err(error) => self.report(VlogError::from(error)),
        }
        Ok(())
    }

    /// The two copies of the properties are the same.
    fn property_copies<R: ReadAt + ?Sized>(&mut self, file: &R) -> Result<()> {
        let kind = BlockKind::PROPERTIES;
        let copies = [false, true].map(|mirror| self.layout.read_section(file, kind, mirror));
        let [primary, mirror] = copies;
        let (primary, mirror) = (self.good(primary)?, self.good(mirror)?);
        if let (Some(primary), Some(mirror)) = (primary, mirror)
            && primary != mirror
        {
            self.disagree("mirror of the properties");
        }
        Ok(())
    }

    /// Every frame of the file with the digest over all, and the values they make.
    fn frames<R: ReadAt + ?Sized>(&mut self, file: &R) -> Result<()> {
        let layout = self.layout;
        let mut digest = SectionDigest::new(0);
        let mut is_damaged = false;
        self.at = CheckDepth::Frames;
        let start = self.frontier.max(Superblock::LEN as u64);
        for step in Walk::file_from(file, &layout.superblock, start).map_err(VlogError::from)? {
            match step.map_err(VlogError::from)? {
                Walked::Frame { header, mark } => {
                    self.verified.frames += 1;
                    if header.kind != BlockKind::DIRECTORY {
                        digest.add(&mark);
                    }
                    if self.depth >= CheckDepth::Values {
                        self.at = CheckDepth::Values;
                        self.frame(file, &header, mark.handle)?;
                        self.at = CheckDepth::Frames;
                    }
                }
                Walked::BadFrame { why, .. } | Walked::Damaged { why, .. } => {
                    is_damaged = true;
                    self.is_incomplete = true;
                    self.chunks.clear();
                    self.report(VlogError::from(why));
                }
                Walked::Zeros { .. } => {}
            }
        }
        if !is_damaged && self.is_whole() {
            if self.verified.frames != layout.directory.frames {
                self.disagree("number of frames");
            }
            if digest.value() != layout.directory.file_digest {
                self.disagree("file digest");
            }
        }
        Ok(())
    }

    /// A frame whose checks are good; those of values are read.
    fn frame<R: ReadAt + ?Sized>(&mut self, file: &R, header: &FrameHeader, handle: Handle) -> Result<()> {
        match header.kind {
            BlockKind::VALUE => {
                self.codec(header);
                let payload = self.payload(file, header.kind, handle);
                let value = payload.and_then(|payload| self.value(header.kind, handle, &payload));
                if let Some(value) = self.good(value)? {
                    let value_len = u32::try_from(value.value.len()).unwrap_or(u32::MAX);
                    self.note(handle, &value.key, value.seqno, value_len);
                } else {
                    self.is_incomplete = true;
                }
            }
            BlockKind::VALUE_CHUNK => {
                self.codec(header);
                self.chunks.push(handle);
            }
            BlockKind::VALUE_CHUNK_MAP => {
                let chunks = core::mem::take(&mut self.chunks);
                let value = self.chunked(file, &chunks, handle);
                if self.good(value)?.is_none() {
                    self.is_incomplete = true;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn codec(&mut self, header: &FrameHeader) {
        self.found.codecs.add(Codec::from_tag(header.codec));
    }

    fn payload<R: ReadAt + ?Sized>(&mut self, file: &R, kind: BlockKind, handle: Handle) -> Result<Slice> {
        let layout = self.layout;
        let frame = read(file, layout.identity(), handle)?;
        layout.open(&expect_at(kind, handle), &frame, &mut self.decoder, kind.cap())
    }

    fn value(&self, kind: BlockKind, handle: Handle, payload: &Slice) -> Result<ValuePayload> {
        let identity = self.layout.identity();
        Ok(ValuePayload::decode(payload).map_err(|source| source.at(identity, handle.offset, kind))?)
    }

    /// A value whose chunks and map were met: the way a reader takes to it leads to all of them.
    fn chunked<R: ReadAt + ?Sized>(&mut self, file: &R, chunks: &[Handle], map_at: Handle) -> Result<()> {
        let layout = self.layout;
        let kind = BlockKind::VALUE_CHUNK_MAP;
        let payload = self.payload(file, kind, map_at)?;
        let broken = |source: crate::PayloadError| source.at(layout.identity(), map_at.offset, kind);
        let map = ChunkMap::decode(&payload).map_err(broken)?;
        let first = chunks.first().copied().unwrap_or(map_at);
        let mapped: Vec<_> = (0..map.chunks()).filter_map(|idx| map.handle(idx, first.offset)).collect();
        if mapped != chunks {
            return Err(broken(crate::PayloadError::Field("ends")).into());
        }
        let payload = self.payload(file, BlockKind::VALUE_CHUNK, first)?;
        let value = self.value(BlockKind::VALUE_CHUNK, first, &payload)?;
        let place = Handle { len: map.stored_len() + map_at.len, ..first };
        let handle = self.handle(place, map.value_len());
        layout.check_handle(&handle)?;
        layout.read_map(file, &handle, &value.key, &mut self.decoder)?;
        for (idx, chunk) in chunks.iter().enumerate() {
            let frame = read(file, layout.identity(), *chunk)?;
            layout.decode_chunk(&handle, (&value.key, &map), idx, &frame, &mut self.decoder)?;
        }
        self.note(place, &value.key, value.seqno, map.value_len());
        Ok(())
    }

    fn handle(&self, place: Handle, value_len: u32) -> ValueHandle {
        let file = VlogId::new(self.layout.identity().file_id);
        ValueHandle { file, offset: place.offset, stored_len: place.len, value_len }
    }

    /// Takes in a value.
    fn note(&mut self, place: Handle, key: &Slice, seqno: SeqNo, value_len: u32) {
        let handle = self.handle(place, value_len);
        if let Err(error) = self.layout.check_handle(&handle) {
            self.report(error);
        }
        let is_listed = |listed: &FrameDirectory| listed.offsets().binary_search(&place.offset).is_ok();
        self.listed_met += usize::from(self.listed.as_ref().is_some_and(is_listed));
        let listed = !self.is_whole()
            || self.listed.as_ref().is_none_or(|listed| {
                let every = u64::from(listed.every());
                let at = usize::try_from(self.verified.values / every).unwrap_or(usize::MAX);
                !self.verified.values.is_multiple_of(every) || listed.offsets().get(at) == Some(&place.offset)
            });
        if !listed && !self.is_incomplete {
            self.disagree("place of a value");
        }
        self.verified.values += 1;
        let found = &mut self.found;
        found.values += 1;
        found.chunked_values += u64::from(handle.is_chunked());
        found.key_bytes += key.len() as u64;
        found.value_bytes += u64::from(value_len);
        found.stored_bytes += u64::from(handle.stored_len);
        found.seqnos =
            Some(found.seqnos.map_or((seqno, seqno), |(min, max)| (min.min(seqno), max.max(seqno))));
        let Some(order) = self.order else { return };
        match &mut found.keys {
            None => found.keys = Some((key.compact(), key.compact())),
            Some((_, max)) if order.compare(max, key).is_lt() => *max = key.compact(),
            Some((min, _)) if order.compare(key, min).is_lt() => *min = key.compact(),
            Some(_) => {}
        }
    }

    fn counts(&mut self) {
        self.at = CheckDepth::Values;
        if !self.chunks.is_empty() {
            self.disagree("map of a value in chunks");
        }
        if self.is_incomplete {
            return;
        }
        if !self.is_whole() {
            let is_left = |offset: &&u64| **offset >= self.frontier;
            let left = self.listed.as_ref().map(|listed| listed.offsets().iter().filter(is_left).count());
            if left.is_some_and(|left| left != self.listed_met) {
                self.disagree("place of a value");
            }
            return;
        }
        let (stored, found) = (&self.layout.properties, &self.found);
        let checks = [
            (stored.values == found.values, "number of values"),
            (stored.chunked_values == found.chunked_values, "number of values in chunks"),
            (stored.key_bytes == found.key_bytes, "bytes of keys"),
            (stored.value_bytes == found.value_bytes, "bytes of values"),
            (stored.stored_bytes == found.stored_bytes, "bytes of frames"),
            (stored.codecs == found.codecs, "number of frames by codec"),
            (stored.seqnos == found.seqnos, "bounds of sequence numbers"),
            (self.order.is_none() || stored.keys == found.keys, "smallest and largest key"),
            (
                self.listed.as_ref().is_none_or(|listed| listed.values() == found.values),
                "number of values listed",
            ),
        ];
        for (_, what) in checks.iter().filter(|(holds, _)| !holds) {
            self.disagree(what);
        }
    }
}
