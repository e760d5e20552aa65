//! What is durable, and what is pending, at one point of a trace.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::content::DataEffect;
use super::fs::SimConfig;
use super::trace::{Durability, Effect, Event, NameChange, Scope};
use super::volume::{Ino, Node, Volume};

/// A point of a trace: what survives a crash there for certain, and what may.
pub(super) struct Replay {
    /// Events that have happened.
    pub(super) point: usize,
    /// What survives for certain. A file's bytes may lie past its length here.
    pub(super) durable: Volume,
    /// What may survive or not, in the order in which it happened.
    pub(super) pending: Vec<Pending>,
    pub(super) config: SimConfig,
}

/// Something that may survive a crash or not.
#[derive(Clone)]
pub(super) struct Pending {
    /// The event that did it.
    pub(super) event: usize,
    pub(super) change: Change,
    /// Who wrote it.
    handle: u64,
    /// A failed sync dropped it, so no later sync makes it durable.
    lost: bool,
    /// The first barrier over it: no event from this one on survives without it.
    pub(super) barrier: Option<usize>,
}

/// What it changes.
#[derive(Clone)]
pub(super) enum Change {
    Data(Ino, Arc<DataEffect>),
    Name(NameChange),
}

impl Pending {
    fn scope(&self) -> Scope {
        match &self.change {
            Change::Data(ino, _) => Scope::File(*ino),
            Change::Name(change) => Scope::Dir(change.dir),
        }
    }
}

impl Replay {
    /// The start of a trace over `initial`, all of which is durable.
    pub(super) fn new(initial: Volume, config: SimConfig) -> Self {
        Self { point: 0, durable: initial, pending: Vec::new(), config }
    }

    /// Lets one more event happen.
    pub(super) fn advance(&mut self, event: &Event) {
        let pending =
            |change, handle| Pending { event: self.point, change, handle, lost: false, barrier: None };
        match &event.effect {
            Effect::Data { ino, handle, effect } => {
                self.pending.push(pending(Change::Data(*ino, Arc::clone(effect)), *handle));
            }
            Effect::Names { born, changes } => {
                if let Some((ino, node)) = born {
                    // It is there without a name; whether a crash leaves it one is another matter.
                    self.durable.nodes.insert(*ino, node.clone());
                }
                self.pending.extend(changes.iter().cloned().map(|change| pending(Change::Name(change), 0)));
            }
            Effect::Durable { what, how: Durability::Yes, by } => self.make_durable(*what, *by),
            Effect::Durable { what, how, .. } => {
                let point = self.point;
                let covered = |pending: &&mut Pending| pending.scope() == *what && !pending.lost;
                for pending in self.pending.iter_mut().filter(covered) {
                    if *how == Durability::Lost {
                        (pending.lost, pending.barrier) = (true, None);
                    } else {
                        pending.barrier.get_or_insert(point);
                    }
                }
            }
            Effect::Nothing => {}
        }
        self.point += 1;
    }

    fn make_durable(&mut self, what: Scope, by: Option<u64>) {
        // A journal of names is written as a whole, whoever asks for it.
        let takes_names = self.config.profile.orders_names() || self.config.windows_semantics;
        let covered = |p: &Pending| {
            let own = p.scope() == what && by.is_none_or(|handle| handle == p.handle);
            !p.lost && (own || (takes_names && matches!(p.change, Change::Name(_))))
        };
        let newest = self.pending.iter().rfind(|p| covered(p)).map(|p| p.event);
        let Some(newest) = newest else { return };
        // What was put behind a barrier cannot become durable before what the barrier covers.
        self.settle(|p| covered(p) || p.barrier.is_some_and(|barrier| barrier < newest));
    }

    /// Moves what is chosen from pending to durable, and what it supersedes away.
    fn settle(&mut self, chosen: impl Fn(&Pending) -> bool) {
        let pending = std::mem::take(&mut self.pending);
        let mut chosen: Vec<bool> = pending.iter().map(chosen).collect();
        for new_name in new_names_owed(&pending, |unit| chosen.get(unit) == Some(&true)) {
            if let Some(chosen) = chosen.get_mut(new_name) {
                *chosen = true;
            }
        }
        let mut left: Vec<Pending> = Vec::new();
        for (pending, chosen) in pending.into_iter().zip(chosen) {
            if chosen {
                self.settle_one(&pending, &mut left);
            } else {
                left.push(pending);
            }
        }
        self.pending = left;
    }

    fn settle_one(&mut self, settled: &Pending, left: &mut Vec<Pending>) {
        match &settled.change {
            Change::Name(change) => {
                self.durable.set_name(change.dir, &change.name, change.to);
                left.retain(|older| {
                    !matches!(&older.change, Change::Name(old) if old.dir == change.dir && old.name == change.name)
                });
            }
            Change::Data(ino, effect) => {
                if let Some(Node::File(content)) = self.durable.nodes.get_mut(ino) {
                    Arc::make_mut(content).apply(effect, super::content::Part::ALL);
                }
                for older in left.iter_mut() {
                    if let Change::Data(old, older) = &mut older.change
                        && old == ino
                    {
                        *older = Arc::new(older.not_superseded_by(effect));
                    }
                }
                left.retain(|older| !matches!(&older.change, Change::Data(_, effect) if effect.is_nothing()));
            }
        }
    }
}

/// The new names that renames owe, by their position: a rename never loses both names, so where its old name is lost,
/// or has been given to another file since, its new one is there.
pub(super) fn new_names_owed(pending: &[Pending], survives: impl Fn(usize) -> bool) -> Vec<usize> {
    let mut owed = Vec::new();
    let mut overwritten = BTreeSet::new();
    for (unit, found) in pending.iter().enumerate().rev() {
        let Change::Name(change) = &found.change else { continue };
        let slot = (change.dir, change.name.as_os_str());
        if survives(unit) || owed.last() == Some(&unit) {
            overwritten.insert(slot);
        }
        let is_old_name = change.after_previous && overwritten.contains(&slot);
        let new_name = unit.checked_sub(1).filter(|_| is_old_name);
        owed.extend(new_name.filter(|&new| pending.get(new).is_some_and(|new| new.event == found.event)));
    }
    owed
}

impl DataEffect {
    /// What is left of a dropped operation once a later one on the same file is durable.
    fn not_superseded_by(&self, later: &Self) -> Self {
        let touched = |index: u64| {
            later.cut.is_some_and(|cut| cut <= index)
                || later.sectors.binary_search_by_key(&index, |(index, _)| *index).is_ok()
        };
        let sectors = self.sectors.iter().filter(|(index, _)| !touched(*index)).cloned().collect();
        match later.len {
            Some(_) => Self { sectors, cut: None, len: None },
            None => Self { sectors, cut: self.cut, len: self.len },
        }
    }

    fn is_nothing(&self) -> bool {
        self.sectors.is_empty() && self.cut.is_none() && self.len.is_none()
    }
}
