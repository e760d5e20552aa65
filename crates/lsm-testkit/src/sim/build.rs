//! Building the state that a crash left.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::choice::Choice;
use super::replay::{Change, Replay};
use super::volume::{Ino, Node, Reachable, reachable, set_entry};

/// What a crash at the replay's point left if `choice` survived.
///
/// Only files and directories that pending changes touch are copied; the rest is shared with the durable state.
pub(super) fn build(replay: &Replay, choice: Choice) -> Reachable {
    let parts = choice.parts(&replay.pending);
    let mut touched: BTreeMap<Ino, Node> = BTreeMap::new();
    for (pending, part) in replay.pending.iter().zip(parts) {
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
