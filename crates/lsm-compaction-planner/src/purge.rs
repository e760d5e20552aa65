//! What becomes of rows that deletes of ranges have killed: they are left out when their table is written anew, or a
//! delete vector beside the table says that they are dead.

/// What compactions do about rows that deletes of ranges have killed, where nothing has to change its level.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DeleteStrategy {
    /// Tables are written anew.
    #[default]
    CopyOnWrite,
    /// Dead rows are marked in a delete vector, however many they are.
    MergeOnRead,
    /// They are marked until writing the table anew is worth its price.
    Adaptive(Purge),
}

/// When writing a table anew is worth its price.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Purge {
    /// When passing over dead rows has cost as much as writing does: about four scans.
    #[default]
    ByCost,
    /// When dead rows are more than this share of all, in percent.
    Percent(u8),
}

/// How much of some tables is dead, and what that costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DeadShare {
    /// Rows in the files.
    pub rows: u64,
    /// Rows among them that are dead.
    pub dead: u64,
    /// How often scans went over these tables since they have dead rows, in thousandths.
    pub scans_permille: u64,
    /// Whether room is short.
    pub space_is_short: bool,
}

impl DeleteStrategy {
    /// What is wrong with it, if anything is.
    pub const fn problem(self) -> Option<&'static str> {
        match self {
            Self::Adaptive(Purge::Percent(percent)) if percent > 100 => Some("must be at most 100 percent"),
            _ => None,
        }
    }

    /// Whether tables get delete vectors.
    pub const fn writes_vectors(self) -> bool {
        !matches!(self, Self::CopyOnWrite)
    }

    /// Whether tables of which so much is dead are written anew.
    pub fn rewrites(self, share: DeadShare) -> bool {
        match self {
            Self::CopyOnWrite => true,
            Self::MergeOnRead => false,
            Self::Adaptive(purge) => purge.is_due(share),
        }
    }
}

impl Purge {
    /// Whether passing over the dead rows costs more than writing the others.
    pub fn is_due(self, share: DeadShare) -> bool {
        let (rows, dead) = (u128::from(share.rows.max(1)), u128::from(share.dead));
        match self {
            Self::Percent(percent) => dead * 100 > rows * u128::from(percent),
            Self::ByCost => {
                let scanned = dead * u128::from(share.scans_permille) > 4 * 1000 * rows;
                scanned || (share.space_is_short && dead * 10 > 3 * rows) || dead * 2 > rows
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(purge: Purge, dead: u64, scans: u64, space_is_short: bool, due: bool) {
        let share = DeadShare { rows: 1_000, dead, scans_permille: scans * 1_000, space_is_short };
        assert_eq!(purge.is_due(share), due, "{share:?}");
        assert_eq!(DeleteStrategy::Adaptive(purge).rewrites(share), due, "{share:?}");
        assert!(!DeleteStrategy::MergeOnRead.rewrites(share) && DeleteStrategy::CopyOnWrite.rewrites(share));
    }

    /// Proves C-116, F-131: the edges of the rule.
    #[test]
    fn a_rewrite_is_due_at_the_edges_of_the_rule() {
        check(Purge::ByCost, 500, 0, false, false);
        check(Purge::ByCost, 501, 0, false, true);
        check(Purge::ByCost, 300, 0, true, false);
        check(Purge::ByCost, 301, 0, true, true);
        check(Purge::ByCost, 301, 0, false, false);
        check(Purge::ByCost, 100, 40, false, false);
        check(Purge::ByCost, 100, 41, false, true);
        check(Purge::ByCost, 0, u64::MAX / 1_000, true, false);
        check(Purge::Percent(5), 50, 1_000, true, false);
        check(Purge::Percent(5), 51, 0, false, true);
        check(Purge::Percent(100), 1_000, 0, false, false);
        check(Purge::Percent(0), 1, 0, false, true);
    }

    /// Proves C-116: a share of more than everything is none.
    #[test]
    fn more_than_everything_is_refused() {
        assert!(DeleteStrategy::Adaptive(Purge::Percent(101)).problem().is_some());
        for fine in [Purge::Percent(100), Purge::Percent(0), Purge::ByCost] {
            assert!(DeleteStrategy::Adaptive(fine).problem().is_none());
        }
    }
}
