//! Damage done to a disk that nobody uses at the moment: bit rot, lost and misplaced files.
//!
//! All of it is durable at once, and none of it is subject to faults.

use std::path::{Path, PathBuf};

use lsm_types::{IoError, IoKind, IoOp};

use super::content::DataEffect;
use super::fs::SimFs;
use super::state::{State, Target};
use super::trace::EventKind;

/// The handle number of nobody.
const NOBODY: u64 = 0;

impl SimFs {
    /// Inverts one bit of a file.
    ///
    /// # Errors
    /// `InvalidInput` where the file has no such byte.
    pub fn flip(&self, path: &Path, offset: u64, bit: u8) -> Result<(), IoError> {
        self.damage(path, |state, on| {
            let content = state.live.content(IoOp::Write, on.ino)?;
            let mut byte = [0];
            if content.read(offset, &mut byte) == 0 {
                return Err(IoError::new(IoOp::Write, IoKind::InvalidInput));
            }
            let flipped = byte.map(|byte| byte ^ (1 << (bit % 8)));
            let effect = content.write_effect(offset, &flipped);
            Ok((EventKind::Write { offset, len: 1 }, effect))
        })
    }

    /// Sets the length of a file.
    pub fn truncate(&self, path: &Path, len: u64) -> Result<(), IoError> {
        self.damage(path, |state, on| {
            let effect = state.live.content(IoOp::Resize, on.ino)?.set_len_effect(len);
            Ok((EventKind::SetLen(len), effect))
        })
    }

    /// Removes a file.
    pub fn remove(&self, path: &Path) -> Result<(), IoError> {
        let mut state = self.lock();
        state.remove_file(path)?;
        state.settle_parent(path)
    }

    /// Lets two files change names.
    pub fn swap(&self, one: &Path, other: &Path) -> Result<(), IoError> {
        let mut state = self.lock();
        // A name that no program gives: a path cannot hold this byte.
        let mut aside = PathBuf::from(other).into_os_string();
        aside.push("\0");
        let aside = PathBuf::from(aside);
        state.rename(other, &aside)?;
        let swapped = state.rename(one, other).and_then(|()| state.rename(&aside, one));
        if swapped.is_err() {
            state.rename(&aside, other)?;
        }
        state.settle_parent(one)?;
        state.settle_parent(other)?;
        swapped
    }

    fn damage(
        &self,
        path: &Path,
        change: impl FnOnce(&State, &Target<'_>) -> Result<(EventKind, DataEffect), IoError>,
    ) -> Result<(), IoError> {
        let mut state = self.lock();
        let on = Target { ino: state.find(IoOp::Open, path)?, handle: NOBODY, path };
        let (kind, effect) = change(&state, &on)?;
        state.change_data(&on, kind, effect);
        state.settle_file(&on);
        Ok(())
    }
}
