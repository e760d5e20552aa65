//! One position among the entries of a view, which jumps and steps both ways.

use lsm_table::CacheUse;
use lsm_types::{Error, Kind, Result, Slice};

use crate::{
    Entry, View,
    prefix_scan::{Bounds, SharedPrefix},
    separated::value_len,
    walk::{self, Walk},
};

/// Values up to this many bytes are copied when the walk goes on for a peek, longer ones shared.
const COPY_MAX: usize = 512;

/// A position among the entries of a view that can jump and move both ways.
///
/// It stands on one entry or on none: a move forward and one back lead to the same entry. A new cursor stands on none,
/// and so does one that ran off either end; steps then lead nowhere, and jumps go on as from anywhere. It never leaves
/// the bounds it was made with: a jump to a key outside goes to the nearest key inside that it asks for.
///
/// The cursor owns its view, as [`crate::Range`] does. Nothing is read before the first jump. From then on jumps reuse
/// what the first one has set up, and allocate nothing; one to a key a little ahead does not search the table's index.
///
/// ```
/// use lsm_engine::{Reader, Tree, TreeOptions};
/// use lsm_types::SeqNo;
/// # use std::sync::Arc;
///
/// # let memory = Arc::new(lsm_fs::MemFs::new());
/// let tree = Tree::open(TreeOptions::new("/fruit").store(|store| store.fs(memory)))?;
/// for (seqno, key) in (0..).zip(["apple", "banana", "cherry"]) {
///     tree.insert(key, "sweet", SeqNo::new(seqno).unwrap_or_default())?;
/// }
/// let mut cursor = tree.cursor("b"..)?;
/// assert!(cursor.seek("bar")?);
/// assert_eq!(cursor.key(), Some(&b"cherry"[..]));
/// assert!(cursor.seek_for_prev("bar")?);
/// assert_eq!(cursor.key(), Some(&b"banana"[..]));
/// assert_eq!(cursor.value()?, Some(&b"sweet"[..]));
/// assert!(!cursor.move_prev()?, "apple lies outside");
/// # Ok::<(), lsm_types::Error>(())
/// ```
pub struct Cursor {
    view: View,
    bounds: Bounds,
    /// Set up by the first jump.
    walk: Option<Box<Walk>>,
    /// Why the operands of the key under the walk could not be folded.
    failed: Option<Error>,
    /// The separated value at the position, once it was asked for.
    fetched: Option<Slice>,
    /// Once the entry after the position was peeked at, the walk stands there.
    peeked: Option<Peeked>,
    /// The position then.
    here: Here,
}

/// How the walk's step to the entry after the position went.
struct Peeked {
    /// Why it stands on no entry now, unless that is for the end.
    error: Option<Error>,
    /// Why the operands at the position could not be folded.
    failed_here: Option<Error>,
}

/// An entry that the walk has left.
struct Here {
    key: Vec<u8>,
    kind: Kind,
    /// The value, unless it is shared.
    copied: Vec<u8>,
    shared: Option<Slice>,
}

impl Here {
    const fn nothing() -> Self {
        Self { key: Vec::new(), kind: Kind::Put, copied: Vec::new(), shared: None }
    }

    fn take(&mut self, walk: &Walk) {
        self.key.clear();
        self.key.extend_from_slice(walk.key().unwrap_or_default());
        self.copied.clear();
        self.kind = walk.entry().map_or(Kind::Put, |entry| entry.kind);
        let value = walk.entry().map(|entry| entry.value).unwrap_or_default();
        self.shared = (value.len() > COPY_MAX).then(|| walk.value());
        if self.shared.is_none() {
            self.copied.extend_from_slice(value);
        }
    }

    fn value(&self) -> &[u8] {
        self.shared.as_deref().unwrap_or(&self.copied)
    }
}

/// One way to move a walk.
enum Jump<'k> {
    First,
    Last,
    Seek(&'k [u8]),
    SeekForPrev(&'k [u8]),
}

impl Cursor {
    pub(crate) fn new(view: View, bounds: Bounds) -> Self {
        Self { view, bounds, walk: None, failed: None, fetched: None, peeked: None, here: Here::nothing() }
    }

    /// Moves to the first entry at or after `key`; `false` when there is none.
    ///
    /// # Errors
    /// What reading found; the cursor then stands on no entry.
    pub fn seek(&mut self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.jump(&Jump::Seek(key.as_ref()))
    }

    /// Moves to the last entry at or before `key`; `false` when there is none.
    ///
    /// # Errors
    /// As [`Cursor::seek`].
    pub fn seek_for_prev(&mut self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.jump(&Jump::SeekForPrev(key.as_ref()))
    }

    /// Moves to the first entry; `false` when there is none.
    ///
    /// # Errors
    /// As [`Cursor::seek`].
    pub fn seek_first(&mut self) -> Result<bool> {
        self.jump(&Jump::First)
    }

    /// Moves to the last entry; `false` when there is none.
    ///
    /// # Errors
    /// As [`Cursor::seek`].
    pub fn seek_last(&mut self) -> Result<bool> {
        self.jump(&Jump::Last)
    }

    /// Moves one entry forward; `false` when that leads off the end, or there was no entry to go from.
    ///
    /// # Errors
    /// As [`Cursor::seek`].
    #[inline]
    pub fn move_next(&mut self) -> Result<bool> {
        self.fetched = None;
        if self.peeked.is_some() {
            return self.move_to_peeked();
        }
        let Some(walk) = &mut self.walk else { return Ok(false) };
        let moved = walk.move_next();
        self.stand(moved)
    }

    /// Moves one entry back; `false` when that leads off the start, or there was no entry to go from.
    ///
    /// # Errors
    /// As [`Cursor::seek`].
    #[inline]
    pub fn move_prev(&mut self) -> Result<bool> {
        self.fetched = None;
        let Some(walk) = &mut self.walk else { return Ok(false) };
        let moved = match self.peeked.take() {
            None => walk.move_prev(),
            Some(_) => walk.seek_before(&self.here.key),
        };
        self.stand(moved)
    }

    /// The key at the position; valid until the cursor moves.
    #[inline]
    pub fn key(&self) -> Option<&[u8]> {
        match self.peeked {
            None => self.walk.as_ref()?.key(),
            Some(_) => Some(&self.here.key),
        }
    }

    /// The value at the position; valid until the cursor moves. A separated one is fetched now.
    ///
    /// # Errors
    /// `MergeFailed` when the operands of this key could not be folded, what fetching its value found; other keys are not
    /// concerned.
    #[inline]
    pub fn value(&mut self) -> Result<Option<&[u8]>> {
        self.check_folded()?;
        if self.stored().is_some_and(|(kind, _)| kind == Kind::Indirection) {
            return self.separated_value();
        }
        Ok(self.stored().map(|(_, value)| value))
    }

    #[cold]
    fn separated_value(&mut self) -> Result<Option<&[u8]>> {
        if self.fetched.is_none()
            && let (Some(key), Some((_, stored))) = (self.key(), self.stored())
        {
            self.fetched = Some(self.view.pinned.vlogs.value(key, stored, CacheUse::Fill)?);
        }
        Ok(self.fetched.as_deref())
    }

    /// Length of the value at the position, in bytes; fetches nothing.
    ///
    /// # Errors
    /// As [`Cursor::value`].
    pub fn size(&self) -> Result<Option<usize>> {
        self.check_folded()?;
        let (Some(key), Some((kind, stored))) = (self.key(), self.stored()) else { return Ok(None) };
        value_len(key, kind, stored).map(Some)
    }

    /// The key after the position, without moving; `None` at the last entry, or without a position.
    ///
    /// # Errors
    /// What reading found: the next step forward gives the same error, and until then the cursor stays where it is.
    pub fn peek_next(&mut self) -> Result<Option<&[u8]>> {
        let Some(walk) = &mut self.walk else { return Ok(None) };
        if self.peeked.is_none() {
            if walk.key().is_none() {
                return Ok(None);
            }
            self.here.take(walk);
            let failed_here = self.failed.take();
            let moved = walk.move_next();
            let error = self.stand(moved).err();
            self.peeked = Some(Peeked { error, failed_here });
        }
        match &self.peeked {
            Some(Peeked { error: Some(error), .. }) => Err(error.clone()),
            _ => Ok(self.walk.as_ref().and_then(|walk| walk.key())),
        }
    }

    /// The entry at the position, made to outlive it.
    ///
    /// # Errors
    /// As [`Cursor::value`].
    pub(crate) fn entry(&self) -> Result<Option<Entry>> {
        self.check_folded()?;
        Ok(self.walk.as_ref().and_then(|walk| Entry::of_walk(walk, &self.view.pinned.vlogs)))
    }

    /// Goes over to other bounds, inside those the cursor was made with; it stands on no entry then.
    ///
    /// # Errors
    /// What setting up the walk found.
    pub(crate) fn set_bounds(&mut self, bounds: Bounds) -> Result<()> {
        (self.peeked, self.failed, self.fetched) = (None, None, None);
        self.walk()?.set_bounds(bounds);
        Ok(())
    }

    /// The walk, set up when it is used first: then containers are left out that have nothing within the bounds.
    fn walk(&mut self) -> Result<&mut Walk> {
        let slot = &mut self.walk;
        match slot {
            Some(walk) => Ok(walk),
            None => Ok(slot.insert(open(&self.view, &self.bounds)?)),
        }
    }

    fn jump(&mut self, jump: &Jump<'_>) -> Result<bool> {
        (self.peeked, self.failed, self.fetched) = (None, None, None);
        let walk = self.walk()?;
        let moved = match jump {
            Jump::First => walk.seek_first(),
            Jump::Last => walk.seek_last(),
            Jump::Seek(key) => walk.seek(key),
            Jump::SeekForPrev(key) => walk.seek_for_prev(key),
        };
        self.stand(moved)
    }

    /// Where a move of the walk has led. That operands could not be folded is kept for those who ask for the value.
    #[inline]
    fn stand(&mut self, moved: Result<()>) -> Result<bool> {
        self.failed = None;
        let is_on_key = self.walk.as_ref().is_some_and(|walk| walk.key().is_some());
        match moved {
            Err(error) if is_on_key => self.failed = Some(error),
            moved => moved?,
        }
        Ok(is_on_key)
    }

    #[cold]
    fn move_to_peeked(&mut self) -> Result<bool> {
        match self.peeked.take() {
            Some(Peeked { error: Some(error), .. }) => Err(error),
            _ => Ok(self.key().is_some()),
        }
    }

    /// Complains when the operands at the position could not be folded.
    #[inline]
    fn check_folded(&self) -> Result<()> {
        let failed = match &self.peeked {
            None => &self.failed,
            Some(peeked) => &peeked.failed_here,
        };
        failed.as_ref().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// What is stored beside the key, and as what.
    #[inline]
    fn stored(&self) -> Option<(Kind, &[u8])> {
        match self.peeked {
            None => self.walk.as_ref()?.entry().map(|entry| (entry.kind, entry.value)),
            Some(_) => Some((self.here.kind, self.here.value())),
        }
    }
}

#[cold]
fn open(view: &View, bounds: &Bounds) -> Result<Box<Walk>> {
    let extractor = view.tree.env.prefix_extractor.as_deref();
    let shared = SharedPrefix::of_bounds(extractor, bounds, &view.tree.order);
    walk::open(view, bounds, shared, false).map(Box::new)
}

impl std::fmt::Debug for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cursor")
            .field("bounds", &self.bounds)
            .field("key", &self.key())
            .finish_non_exhaustive()
    }
}

const _: () = {
    const fn sendable<T: Send + 'static>() {}
    sendable::<Cursor>();
};
