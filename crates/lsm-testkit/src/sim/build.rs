//! Building the state that a crash left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::choice::Choice;
use super::content::{DataEffect, LenPart, Part};
use super::profile::Profile;
use super::replay::{Change, Replay};
use super::volume::{Ino, Node, Reachable, reachable, set_entry};

/// What a crash at the replay's point left if `choice` survived.
///
/// Only files and directories that pending changes touch are copied; the rest is shared with the durable state.
pub(super) fn build(replay: &Replay, choice: Choice) -> Reachable {
    let parts = choice.parts(&replay.pending, replay.config);
    let mut stale = (replay.config.profile == Profile::StaleExposed).then(Stale::default);
    let mut touched: BTreeMap<Ino, Node> = BTreeMap::new();
    for (pending, part) in replay.pending.iter().zip(parts) {
        if let (Change::Data(ino, effect), Some(stale)) = (&pending.change, &mut stale) {
            stale.note(*ino, effect, part);
        }
        let Some(part) = part else { continue };
        let ino = match &pending.change {
            Change::Data(ino, _) => *ino,
            Change::Name(change) => change.dir,
        };
        let Some(original) = replay.durable.nodes.get(&ino) else { continue };
        match (&pending.change, touched.entry(ino).or_insert_with(|| original.clone())) {
            (Change::Data(_, effect), Node::File(content)) => Arc::make_mut(content).apply(effect, part),
            (Change::Name(change), Node::Dir(entries)) => {
                set_entry(Arc::make_mut(entries), &change.name, change.to);
            }
            _ => debug_assert!(false, "bytes go to files and names to directories"),
        }
    }
    for (ino, sectors) in stale.into_iter().flat_map(|stale| stale.0) {
        if let Some(Node::File(content)) = touched.get_mut(&ino) {
            Arc::make_mut(content).expose(sectors, replay.config.stale_pattern);
        }
    }
    reachable(|ino| {
        let mut node = touched.get(&ino).or_else(|| replay.durable.nodes.get(&ino)).cloned()?;
        if let Node::File(content) = &mut node
            && content.is_ragged()
        {
            Arc::make_mut(content).trim();
        }
        Some(node)
    })
}

/// Sectors that were written to and did not survive, by file.
#[derive(Default)]
struct Stale(BTreeMap<Ino, BTreeSet<u64>>);

impl Stale {
    fn note(&mut self, ino: Ino, effect: &DataEffect, part: Option<Part>) {
        let sectors = self.0.entry(ino).or_default();
        if let (Some(cut), Some(Part { len: LenPart::Yes, .. })) = (effect.cut, part) {
            sectors.split_off(&cut);
        }
        let survivors = part.map(|part| part.sectors.survivors(effect.sectors.len())).unwrap_or_default();
        for (position, (index, sector)) in effect.sectors.iter().enumerate() {
            if survivors.get(position) == Some(&true) {
                sectors.remove(index);
            } else if sector.is_some() {
                sectors.insert(*index);
            }
        }
    }
}
