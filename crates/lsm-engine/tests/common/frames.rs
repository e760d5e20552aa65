//! Data frames of all tables of a tree that is closed, to hold two ways of writing the same entries against each other.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test should fail where it fails"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use lsm_block::FrameHeader;
use lsm_engine::Encryption;
use lsm_fs::{Fs, FsFile, OpenOptions};
use lsm_sst::{Table, TableOptions};
use lsm_types::{KeyHash, KeyOrder, Kind, ValueHandle};

/// Frames by the number of their first entry among all entries of the tree, in the order of keys.
#[derive(Default)]
pub(crate) struct Frames {
    by_first: BTreeMap<u64, Frame>,
    /// Entries behind which a table ends.
    borders: BTreeSet<u64>,
    entries: u64,
    /// Of all entries, in their order; what leads to a value log counts by the length of the value.
    digest: u64,
    bytes: u64,
}

/// What a frame is, but for what its place decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Frame {
    rows: u64,
    /// Length and digest of what is stored; `None` when it leads to value logs, which may lie elsewhere. A sealed payload has
    /// no digest.
    payload: Option<(u32, u64)>,
}

/// What two ways of writing the same entries have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compared {
    /// Frames on either side.
    pub(crate) counts: [u64; 2],
    /// Bytes of these.
    pub(crate) bytes: [u64; 2],
    /// Frames that are the same on both sides.
    pub(crate) same: u64,
    /// Ends of tables in the midst of the entries, of both sides.
    pub(crate) borders: u64,
}

impl Frames {
    /// Reads the tables in `folder`: those of one run.
    pub(crate) fn read(fs: &dyn Fs, folder: &Path, encryption: Option<&Encryption>) -> Self {
        let mut tables = Vec::new();
        for entry in fs.read_dir(folder).unwrap() {
            let file = fs.open(&folder.join(&entry.name), &OpenOptions::READ).unwrap();
            let mut bytes = vec![0; FsFile::len(file.as_ref()).unwrap() as usize];
            file.read_at(0, &mut bytes).unwrap();
            let first = Self::open(&bytes, encryption)
                .blocks()
                .next()
                .map(|block| block.unwrap().load().unwrap().entries().next().unwrap().key().to_vec());
            tables.extend(first.map(|first| (first, bytes)));
        }
        tables.sort();
        let mut frames = Self::default();
        for (_, bytes) in &tables {
            frames.add(bytes, encryption);
        }
        assert!(frames.entries > 0, "no entries in {}", folder.display());
        frames.borders.pop_last();
        frames
    }

    fn open<'b>(bytes: &'b [u8], encryption: Option<&Encryption>) -> Table<&'b [u8]> {
        let mut open = lsm_sst::OpenOptions::new(KeyOrder::bytewise());
        open.encryption = encryption.cloned();
        Table::open(bytes, TableOptions::new().open(open)).unwrap()
    }

    fn add(&mut self, file: &[u8], encryption: Option<&Encryption>) {
        for block in Self::open(file, encryption).blocks() {
            let block = block.unwrap();
            let (from, first) = (block.at().handle.offset as usize, self.entries);
            let frame = &file[from..from + block.at().handle.len as usize];
            let mut leads_away = false;
            for entry in block.load().unwrap().entries() {
                let value_digest = if entry.kind() == Kind::Indirection {
                    leads_away = true;
                    ValueHandle::decode(entry.value()).unwrap().value_len.into()
                } else {
                    KeyHash::of(entry.value()).get()
                };
                for part in
                    [KeyHash::of(entry.key()).get(), entry.seqno().get(), entry.kind() as u64, value_digest]
                {
                    self.digest = (self.digest ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
                }
                self.entries += 1;
            }
            self.bytes += frame.len() as u64;
            let stored = &frame[FrameHeader::LEN..];
            let digest = if encryption.is_some() { 0 } else { KeyHash::of(stored).get() };
            let payload = (!leads_away).then_some((stored.len() as u32, digest));
            self.by_first.insert(first, Frame { rows: self.entries - first, payload });
        }
        self.borders.insert(self.entries);
    }

    /// Tables that have entries.
    pub(crate) fn tables(&self) -> u64 {
        self.borders.len() as u64 + 1
    }

    /// Whether a table ends with the frame, so that it may be shorter than it would be.
    fn is_cut(&self, first: u64, frame: &Frame) -> bool {
        let end = first + frame.rows;
        end == self.entries || self.borders.contains(&end)
    }

    /// Holds the frames against those of the same entries, written with other borders between tables.
    ///
    /// A frame is full by what is in it. So of two that begin with the same entry, both have the same bytes, or a border
    /// cuts one of them short; and a border makes for one frame more.
    #[track_caller]
    pub(crate) fn compare(&self, other: &Self) -> Compared {
        assert_eq!((self.entries, self.digest), (other.entries, other.digest), "entries, one by one");
        let mut same = 0;
        for (first, frame) in &self.by_first {
            let Some(twin) = other.by_first.get(first) else { continue };
            match (self.is_cut(*first, frame), other.is_cut(*first, twin)) {
                (false, false) => assert_eq!(frame, twin, "frames from entry {first} on"),
                (true, false) => assert!(frame.rows <= twin.rows, "entry {first}: {frame:?}, {twin:?}"),
                (false, true) => assert!(frame.rows >= twin.rows, "entry {first}: {frame:?}, {twin:?}"),
                (true, true) => {}
            }
            same += u64::from(frame == twin);
        }
        let count = |frames: &Self| frames.by_first.len() as u64;
        Compared {
            counts: [count(self), count(other)],
            bytes: [self.bytes, other.bytes],
            same,
            borders: (self.borders.len() + other.borders.len()) as u64,
        }
    }
}
