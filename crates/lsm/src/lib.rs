//! An embedded, ordered, multi-version key-value storage engine.
//!
//! This crate holds no code: it is the one door to the crates that do. A [`tree::Tree`] is an ordered map from bytes
//! to bytes in a directory. Its user numbers the writes, decides which of them a reader sees, and says when memory
//! is flushed and tables are compacted; nothing happens behind its back.
//!
//! ```
//! use lsm::prelude::*;
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("fruit.lsmdb");
//! let tree = Tree::open(TreeOptions::new(&path))?;
//! tree.insert("apple", "red", SeqNo::ZERO)?;
//! let before = tree.view();
//! tree.insert("apple", "green", before.before())?;
//! tree.insert("banana", "yellow", before.before().next())?;
//!
//! // A view stays as it is, whatever happens to the tree.
//! assert_eq!(before.get("apple")?.unwrap(), b"red");
//! assert_eq!(tree.get("apple")?.unwrap(), b"green");
//! assert_eq!(before.count()?, 1);
//!
//! // Scans go either way.
//! let last = tree.range("a".."c").next_back().transpose()?.unwrap();
//! assert_eq!(last.into_pair()?, ("banana".into(), "yellow".into()));
//! drop(before);
//!
//! // What is flushed is durable: files, their names and the manifest are synced.
//! tree.seal(None);
//! let flushed = tree.flush(&FlushOptions::default())?;
//! assert_eq!(flushed.durable_seqno, SeqNo::new(3).unwrap());
//!
//! // A strategy is asked what to do until it finds nothing.
//! while tree.compact(&Leveled::default(), &CompactOptions::default())?.did_work() {}
//! tree.close()?;
//!
//! let tree = Tree::open(TreeOptions::new(&path).store(|store| store.mode(OpenMode::MustExist)))?;
//! assert_eq!(tree.get("apple")?.unwrap(), b"green");
//! # Ok::<(), lsm::Error>(())
//! ```
//!
//! # Other doors
//!
//! A tool that reads table files needs no engine: `lsm-sst` with any source of bytes is enough. Here with the files of
//! `lsm-fs`:
//!
//! ```
//! use lsm_fs::DiskFile;
//! use lsm_sst::{Table, TableOptions};
//! use lsm_types::{Bytewise, Kind};
//!
//! fn dump(path: &std::path::Path) -> Result<u64, lsm_sst::Error> {
//!     let table = Table::open(DiskFile::open(path)?, TableOptions::new().comparator(Bytewise))?;
//!     println!("{} entries, codec {:?}", table.meta().entries(), table.meta().codec());
//!     let mut values = 0;
//!     for block in table.blocks() {
//!         let block = block?.load()?; // checked and decompressed
//!         for entry in block.entries().filter(|entry| entry.kind() == Kind::Put) {
//!             println!("{:?}@{} = {} bytes", entry.key(), entry.seqno(), entry.value().len());
//!             values += 1;
//!         }
//!     }
//!     for tombstone in table.range_tombstones() {
//!         println!("deleted {tombstone:?}");
//!     }
//!     Ok(values)
//! }
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("fruit.lsmdb");
//! # let tree = lsm::tree::Tree::open(lsm::tree::TreeOptions::new(&path))?;
//! # tree.insert("apple", "red", lsm::SeqNo::ZERO)?;
//! # tree.insert("banana", "yellow", lsm::SeqNo::ZERO)?;
//! # tree.seal(None);
//! # tree.flush(&Default::default())?;
//! # tree.close()?;
//! # let file = std::fs::read_dir(path.join("tables")).unwrap().next().unwrap().unwrap().path();
//! assert_eq!(dump(&file)?, 2);
//! # Ok::<(), lsm::Error>(())
//! ```
//!
//! Who steers compaction implements [`compaction::CompactionStrategy`] (what to compact) or
//! [`compaction::CompactionFlavour`] (how to carry it out).
//!
//! # Features
//!
//! `block`, `codec`, `fs`, `manifest` and `sst`, all on by default, add the crate of that name as a module.

pub use lsm_types as types;
pub use lsm_types::{
    Bytewise, CompactionFilter, CompactionFilterFactory, Comparator, DelimitedPrefix, Error, ErrorClass,
    ErrorKind, FilterContext, FilterEntry, FixedPrefix, KeyDomains, KeyOrder, Kind, Level, MergeOperator,
    PrefixExtractor, Result, SeqNo, Slice, TableId, TreeId, Verdict, operators,
};

#[cfg(feature = "block")]
pub use lsm_block as block;
#[cfg(feature = "codec")]
pub use lsm_codec as codec;
pub use lsm_columnar as columnar;
#[cfg(feature = "fs")]
pub use lsm_fs as fs;
#[cfg(feature = "manifest")]
pub use lsm_manifest as manifest;
pub use lsm_repair as repair;
#[cfg(feature = "sst")]
pub use lsm_sst as sst;

/// Trees and the directories they live in.
pub mod tree {
    pub use lsm_engine::*;
}

/// What to compact, and how: the two traits, what they are given and what they answer.
pub mod compaction {
    pub use lsm_compaction_executor::{
        Checkpoint, CompactionFlavour, CompactionPool, FlavourRun, Job, Parallelism, SegmentOutput,
        SegmentTask, Standard,
    };
    pub use lsm_compaction_planner::*;
}

/// What most users of a tree name.
pub mod prelude {
    pub use crate::{
        Error, ErrorKind, Result, SeqNo, Slice,
        compaction::{CompactionStrategy, Leveled, Major},
        tree::{
            Cancel, CompactOptions, FlushOptions, OpenMode, Range, Reader, StoreOptions, Token, Tree,
            TreeBatch, TreeOptions, View,
        },
    };
}
