//! Looks for many keys in one table, stage by stage: filter, index, blocks; as far as memory goes.

use std::sync::Arc;

use lsm_columnar::DeleteMap;
use lsm_sst::{BlockRef, FilterAnswer, Found, Hop, PointRows};
use lsm_types::{Error, KeyHash, Result, SeqNo};

use super::{BlockBatch, blocks::Sight};
use crate::{
    Table,
    table::{Opened, TableInner},
};

/// Keys that a filter is asked about at once.
const GROUP: usize = 16;

/// One key that is looked for in a table.
#[derive(Debug)]
pub struct LookUp<'k> {
    /// The key. It lies between the smallest and the largest one of the table.
    pub key: &'k [u8],
    /// Its hash.
    pub hash: KeyHash,
    /// The newest version below this number is looked for.
    pub before: SeqNo,
    /// How far the look-up is; to be kept by a caller whose look-up waits.
    pub progress: Progress,
    /// Whatever the caller tells it by.
    pub id: usize,
    /// What came of it.
    pub answer: Answer,
}

/// How far the look-up of a key in a table is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Whether a newer version was found here already.
    again: bool,
    /// What the filter said, once it was asked.
    filter: Option<FilterAnswer>,
}

impl Progress {
    /// A newer version was found in the table already: neither filter nor statistics hear of the key again.
    pub fn again() -> Self {
        Self { again: true, filter: Some(FilterAnswer::Maybe) }
    }
}

/// What came of looking for a key.
#[derive(Debug)]
pub enum Answer {
    /// Something is missing that the batch wants now; to be asked again when it was supplied.
    Waits,
    /// No version that is old enough.
    Absent,
    /// The newest one that is.
    Found(Found),
    /// What reading and checking a block found.
    Failed(Error),
}

impl<'k> LookUp<'k> {
    /// Looks for the newest version of `key` below `before`; `hash` is that of `key`.
    pub fn new(key: &'k [u8], hash: KeyHash, before: SeqNo) -> Self {
        Self { key, hash, before, progress: Progress::default(), id: 0, answer: Answer::Waits }
    }
}

impl Table {
    /// Answers what can be answered without reading the file; `batch` notes what the others wait for.
    ///
    /// Fastest when the keys ascend: neighbours share partitions and blocks.
    pub fn look_up(&self, look_ups: &mut [LookUp<'_>], batch: &mut BlockBatch) {
        let Some(opened) = self.inner.opened_already() else {
            let noted = batch.want_open(&self.inner);
            for look_up in look_ups {
                look_up.answer =
                    noted.as_ref().err().map_or(Answer::Waits, |error| Answer::Failed(error.clone()));
            }
            return;
        };
        let dead = match self.inner.dead() {
            Ok(dead) => dead,
            Err(error) => {
                for look_up in look_ups {
                    look_up.answer = Answer::Failed(error.clone());
                }
                return;
            }
        };
        ask_filters(&self.inner, opened, look_ups, batch);
        let mut last = None;
        for look_up in look_ups {
            let settled = match look_up.progress.filter {
                _ if self.inner.is_below_floor(look_up.key) => Ok(Some(Answer::Absent)),
                Some(FilterAnswer::Absent) => Ok(Some(Answer::Absent)),
                Some(_) => find(&self.inner, (opened, dead.as_deref()), look_up, &mut last, batch),
                None => Ok(None),
            };
            look_up.answer = match settled {
                Ok(Some(answer)) => answer,
                Ok(None) => Answer::Waits,
                Err(error) => Answer::Failed(error),
            };
            if let (false, Some(answer)) = (look_up.progress.again, look_up.progress.filter)
                && let Answer::Absent | Answer::Found(_) = look_up.answer
            {
                opened.filters.note_get(answer, matches!(look_up.answer, Answer::Found(_)));
            }
        }
    }

    /// Whether its metadata is in memory.
    pub fn is_open(&self) -> bool {
        self.inner.opened_already().is_some()
    }

    /// Has `batch` want what opening the table reads; not for one that is open.
    ///
    /// # Errors
    /// Why it cannot be opened.
    pub fn want_open(&self, batch: &mut BlockBatch) -> Result<()> {
        batch.want_open(&self.inner)
    }
}

/// Asks the filter about the keys it was not asked about yet. Where its partition is missing they stay unasked.
fn ask_filters(
    table: &Arc<TableInner>,
    opened: &Opened,
    look_ups: &mut [LookUp<'_>],
    batch: &mut BlockBatch,
) {
    let mut rest = look_ups;
    while let Some(first) = rest.first() {
        let part = opened.layout.filter_part(first.key);
        let same = |look_up: &&LookUp<'_>| opened.layout.filter_part(look_up.key) == part;
        let count = rest.iter().skip(1).take_while(same).count() + 1;
        let (group, behind) = rest.split_at_mut(count);
        rest = behind;
        if group.iter().all(|look_up| look_up.progress.filter.is_some() || table.is_below_floor(look_up.key))
        {
            continue;
        }
        match part.and_then(|part| batch.filter(table, opened, part)) {
            Some(Sight::Here { block: partition, .. }) => {
                group.chunks_mut(GROUP).for_each(|group| ask(&partition, group));
            }
            Some(Sight::Missing) => {}
            None => {
                for look_up in group {
                    look_up.progress.filter.get_or_insert(FilterAnswer::Unusable);
                }
            }
        }
    }
}

/// Asks one partition about up to [`GROUP`] keys.
fn ask(partition: &lsm_sst::FilterPartition, group: &mut [LookUp<'_>]) {
    let (mut hashes, mut maybe) = ([0; GROUP], [true; GROUP]);
    for (hash, look_up) in hashes.iter_mut().zip(&*group) {
        *hash = look_up.hash.get();
    }
    partition.ask_many(hashes.get(..group.len()).unwrap_or_default(), &mut maybe);
    for (look_up, maybe) in group.iter_mut().zip(maybe) {
        look_up.progress.filter.get_or_insert(if maybe { FilterAnswer::Maybe } else { FilterAnswer::Absent });
    }
}

/// What the key looked for just before lies in, and whether it is kept.
type Last = Option<(BlockRef, PointRows, bool)>;

/// Looks a key up in index and block; `None` while one of them is missing.
fn find(
    table: &Arc<TableInner>,
    (opened, dead): (&Opened, Option<&DeleteMap>),
    look_up: &LookUp<'_>,
    last: &mut Last,
    batch: &mut BlockBatch,
) -> Result<Option<Answer>> {
    let layout = &opened.layout;
    let mut partition = None;
    let at = match layout.first_hop(look_up.key, look_up.before) {
        Hop::Nowhere => return Ok(Some(Answer::Absent)),
        Hop::Block(at) => at,
        Hop::Partition(at) => match batch.index(table, layout, at)? {
            Sight::Here { block, .. } => {
                let at = layout.second_hop(&block, look_up.key, look_up.before)?;
                partition = Some(block);
                at
            }
            Sight::Missing => return Ok(None),
        },
    };
    // A group as it is stored counts how often it was asked, so that it is worth a block in time.
    if !matches!(last, Some((known, PointRows::Block(_), _)) if *known == at) {
        *last = match batch.rows(table, layout, at)? {
            Sight::Here { block, cached } => Some((at, block, cached)),
            Sight::Missing => return Ok(None),
        };
    }
    let Some((_, rows, cached)) = last else { return Ok(None) };
    let found = match dead {
        None => layout.find_in_rows(rows, look_up.hash, look_up.key, look_up.before)?,
        Some(dead) => {
            let point = (look_up.hash, look_up.key, look_up.before);
            layout.find_live_in((partition.as_deref(), rows), point, dead)?
        }
    };
    Ok(Some(found.map_or(Answer::Absent, |found| {
        // A block that nobody keeps should not stay in memory for the sake of one value. One of a group has its own.
        let shares_block = !*cached && matches!(rows, PointRows::Block(_));
        let value = if shares_block { found.value.compact() } else { found.value };
        Answer::Found(Found { value, ..found })
    })))
}
