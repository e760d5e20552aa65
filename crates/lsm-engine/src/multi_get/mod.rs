//! Reads of many keys at once, from one view, in the order of the input.
//!
//! There is one machine for them, [`Batch`]: it goes as far as memory allows, says what it wants read, and goes on when
//! it has that. Whoever holds a [`MultiGet`] reads by any means; [`crate::Reader::multi_get`] is a loop around the same.

mod batch;
mod way;

use lsm_table::BlockRead;
use lsm_types::{Result, Slice};

use crate::{Tree, View, reader::ReadPoint};
use batch::Batch;

/// A read of many keys whose blocks the caller fetches, made by [`Tree::start_multi_get`].
///
/// Nothing here waits for anybody, but for separated values: those are read, all together, when everything else is
/// there. It may be dropped at any point, moved to other threads, and outlive the handles of
/// the tree.
///
/// ```
/// use lsm_engine::{FlushOptions, Tree, TreeOptions};
/// use lsm_types::SeqNo;
/// # use std::sync::Arc;
///
/// # let memory = Arc::new(lsm_fs::MemFs::new());
/// let tree = Tree::open(TreeOptions::new("/fruit").store(|store| store.fs(memory)))?;
/// tree.insert("apple", "red", SeqNo::ZERO)?;
/// tree.seal(None);
/// tree.flush(&FlushOptions::default())?;
///
/// let mut read = tree.start_multi_get(&tree.view(), &["pear", "apple"]);
/// while !read.wanted().is_empty() {
///     // These may as well be done by other threads, by a ring, or by another machine.
///     let outcomes: Vec<_> = read.wanted().iter().map(|wanted| wanted.read()).collect();
///     read.supply(outcomes);
/// }
/// let values = read.finish()?;
/// assert_eq!(values[0], None);
/// assert_eq!(values[1].as_deref(), Some(&b"red"[..]));
/// # Ok::<(), lsm_types::Error>(())
/// ```
pub struct MultiGet {
    view: View,
    /// The keys as they were given, one behind the other, and where each ends.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    batch: Batch,
}

impl Tree {
    /// Starts a read of many keys, as `view` shows them, whose blocks the caller fetches. The answers are those of
    /// [`crate::Reader::multi_get`].
    pub fn start_multi_get<K: AsRef<[u8]>>(&self, view: &View, keys: &[K]) -> MultiGet {
        debug_assert!(std::sync::Arc::ptr_eq(&self.inner, &view.tree), "a view is read through its own tree");
        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(keys.len()));
        for key in keys {
            bytes.extend_from_slice(key.as_ref());
            ends.push(bytes.len());
        }
        let keys = split(&bytes, &ends);
        let mut batch = Batch::new(&keys, &view.read_point());
        batch.advance(&keys, &view.read_point());
        MultiGet { view: view.clone(), bytes, ends, batch }
    }
}

impl MultiGet {
    /// The reads that the answer waits for; none once it is there.
    ///
    /// They do not depend on each other: the caller may do them in any order, or all at once.
    pub fn wanted(&self) -> &[BlockRead] {
        self.batch.reads()
    }

    /// Takes what came of the reads that [`MultiGet::wanted`] named, in their order, and goes on.
    ///
    /// A read without an outcome, or with another number of bytes than were wanted, counts as failed. Failures hit the
    /// keys that need the block, and show in the answer.
    pub fn supply(&mut self, outcomes: impl IntoIterator<Item = Result<Slice>>) {
        self.batch.supply(outcomes);
        self.batch.advance(&split(&self.bytes, &self.ends), &self.view.read_point());
    }

    /// The values, in the order in which the keys were given.
    ///
    /// # Errors
    /// `InvalidArgument` while reads are wanted; otherwise the error of the first key that has one.
    pub fn finish(self) -> Result<Vec<Option<Slice>>> {
        self.batch.finish().collect()
    }

    /// What came of each key, in the order in which they were given: a damaged block takes nothing from keys that do
    /// not lie in it.
    pub fn finish_each(self) -> Vec<Result<Option<Slice>>> {
        self.batch.finish().collect()
    }
}

impl std::fmt::Debug for MultiGet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MultiGet")
            .field("keys", &self.ends.len())
            .field("wanted", &self.wanted())
            .finish_non_exhaustive()
    }
}

/// The pieces of `bytes` that end at `ends`.
fn split<'b>(bytes: &'b [u8], ends: &[usize]) -> Vec<&'b [u8]> {
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(ends).map(|(start, end)| bytes.get(start..*end).unwrap_or_default()).collect()
}

/// The values of `keys` at `point`, in their order.
pub(crate) fn read_all<K: AsRef<[u8]>>(point: &ReadPoint<'_>, keys: &[K]) -> Result<Vec<Option<Slice>>> {
    let keys: Vec<&[u8]> = keys.iter().map(AsRef::as_ref).collect();
    let mut batch = Batch::new(&keys, point);
    batch.advance(&keys, point);
    while !batch.reads().is_empty() {
        batch.perform();
        batch.advance(&keys, point);
    }
    batch.finish().collect()
}
