//! Predicates on zones: all rows, none of them, or a closer look.

use super::{BoundPredicate, Leaf, Node, Test, ValueSet};
use crate::{ColumnId, Zone, page::read_cell, types::Cell};

/// What a zone knows about a predicate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ZoneAnswer {
    /// No row satisfies it.
    None,
    /// Some may.
    Some,
    /// Every row does.
    All,
}

impl BoundPredicate {
    /// What the zones of the columns say about rows they cover all of; `zone` finds the zone of a column. A column
    /// without a zone says nothing.
    pub fn check_zones<'z>(&self, zone: impl Fn(ColumnId) -> Option<&'z Zone>) -> ZoneAnswer {
        check(&self.root, &zone)
    }
}

fn check<'z>(node: &Node, zone: &impl Fn(ColumnId) -> Option<&'z Zone>) -> ZoneAnswer {
    use ZoneAnswer::{All, None, Some};
    match node {
        Node::Leaf(leaf) => zone(leaf.column).map_or(Some, |zone| check_leaf(leaf, zone)),
        Node::All(nodes) => {
            nodes.iter().map(|node| check(node, zone)).fold(All, |sum, answer| match (sum, answer) {
                (None, _) | (_, None) => None,
                (All, All) => All,
                _ => Some,
            })
        }
        Node::Any(nodes) => {
            nodes.iter().map(|node| check(node, zone)).fold(None, |sum, answer| match (sum, answer) {
                (All, _) | (_, All) => All,
                (None, None) => None,
                _ => Some,
            })
        }
    }
}

fn check_leaf(leaf: &Leaf, zone: &Zone) -> ZoneAnswer {
    let has_nulls = zone.null_count() > 0;
    let answer = |all: bool, none: bool| match (all, none) {
        (_, true) => ZoneAnswer::None,
        (true, _) => ZoneAnswer::All,
        _ => ZoneAnswer::Some,
    };
    let set = match &leaf.test {
        Test::IsNull => return answer(zone.is_all_null(), !has_nulls),
        Test::IsNotNull => return answer(!has_nulls, zone.is_all_null()),
        Test::Values(set) => set,
    };
    if zone.is_all_null() {
        return ZoneAnswer::None;
    }
    let (all, none) = match set {
        ValueSet::Words { ranges } => {
            let image = |stored: &[u8]| match read_cell(leaf.ty, stored) {
                Some(Cell::Word(image)) => Some(image),
                _ => None,
            };
            let low = zone.min().and_then(|min| image(min.bytes())).unwrap_or(0);
            let high = zone.max().and_then(|max| image(max.bytes())).unwrap_or(u64::MAX);
            let meeting = ranges.partition_point(|(_, last)| *last < low);
            let first = ranges.get(meeting).filter(|(from, _)| *from <= high);
            (first.is_some_and(|(from, last)| *from <= low && high <= *last), first.is_none())
        }
        ValueSet::Bytes(set) => {
            let below = |bound: &[u8]| set.borders_below(|border| border[..].cmp(bound));
            let low = zone.min().map_or(0, |min| below(min.bytes()));
            let high = zone.max().map_or(set.border_count(), |max| below(max.bytes()));
            (low == high && set.is_inside(low), low == high && !set.is_inside(low))
        }
    };
    answer(all && !has_nulls, none)
}
