//! Numbers of files: never used twice, not even after a crash.

use lsm_types::TableId;
use parking_lot::Mutex;

/// Hands out file numbers below a bound that the manifest has promised to remember.
#[derive(Debug)]
pub(crate) struct FileIds {
    state: Mutex<State>,
    /// Numbers promised with one edit.
    block: u64,
}

#[derive(Debug)]
struct State {
    next: u64,
    reserved: u64,
}

/// What a caller gets who asks for a number.
pub(crate) enum Grant {
    /// A number that nobody had before.
    Id(TableId),
    /// The promise is used up: make the manifest promise this bound, then call [`FileIds::extend`].
    Reserve(u64),
}

impl FileIds {
    /// Continues at `reserved`, the bound in the manifest: numbers below it may have been used.
    pub(crate) fn new(reserved: u64, block: u32) -> Self {
        Self { state: Mutex::new(State { next: reserved, reserved }), block: u64::from(block) }
    }

    pub(crate) fn next(&self) -> Grant {
        let mut state = self.state.lock();
        if state.next < state.reserved {
            let id = state.next;
            state.next += 1;
            return Grant::Id(TableId::new(id));
        }
        Grant::Reserve(state.reserved + self.block)
    }

    /// Begins anew at `reserved`, the bound in a manifest that was stated anew. No number was given out before.
    pub(crate) fn restart(&self, reserved: u64) {
        let mut state = self.state.lock();
        debug_assert!(reserved >= state.next, "D-23: numbers only grow");
        (state.next, state.reserved) = (reserved, reserved);
    }

    /// The manifest durably promises `bound`.
    pub(crate) fn extend(&self, bound: u64) {
        let mut state = self.state.lock();
        state.reserved = state.reserved.max(bound);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves D-23.
    #[test]
    fn no_number_is_given_out_before_it_is_promised() {
        let ids = FileIds::new(5, 2);
        let Grant::Reserve(bound) = ids.next() else { panic!("nothing is promised yet") };
        assert_eq!(bound, 7);
        ids.extend(bound);
        let mut given = Vec::new();
        while let Grant::Id(id) = ids.next() {
            given.push(id.get());
        }
        assert_eq!(given, [5, 6]);
    }
}
