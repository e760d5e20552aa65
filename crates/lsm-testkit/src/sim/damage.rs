//! Damage done to a disk that nobody uses at the moment: bit rot, lost and misplaced files.
//!
//! All of it is durable at once, and none of it is subject to faults.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use lsm_types::{IoError, IoKind, IoOp};

use super::choice::Choice;
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

    /// Gives a file the contents it had at an earlier point of the trace, as where a block device answers with what it
    /// held before.
    ///
    /// # Errors
    /// `NotFound` where the file has no name now, or had none at that point.
    pub fn restore_old(&self, path: &Path, point: usize) -> Result<(), IoError> {
        let old = self.image(point, Choice::Ceiling).files().remove(path);
        let old = old.ok_or(IoError::new(IoOp::Open, IoKind::NotFound))?;
        self.truncate(path, 0)?;
        self.damage(path, |state, on| {
            let effect = state.live.content(IoOp::Write, on.ino)?.write_effect(0, &old);
            Ok((EventKind::Write { offset: 0, len: old.len() as u64 }, effect))
        })
    }

    /// Puts something into a directory that no engine of ours wrote; returns its path.
    pub fn plant_foreign(&self, dir: &Path, what: Foreign) -> Result<PathBuf, IoError> {
        let path = dir.join(what.name());
        let mut state = self.lock();
        match what {
            Foreign::Directory => state.create_dir(&path)?,
            Foreign::SymbolicLink => state.create_other(&path)?,
            Foreign::File | Foreign::Hidden | Foreign::NotUnicode | Foreign::AlmostOurs => {
                state.create_file(&path)?;
            }
        }
        state.settle_parent(&path)?;
        Ok(path)
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

/// Something that an engine finds among its files and did not put there.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Foreign {
    /// A file of another program.
    File,
    /// A file whose name begins with a dot.
    Hidden,
    /// A file whose name is not valid Unicode; where names have to be, one that nearly is.
    NotUnicode,
    /// A file whose name starts with digits, as many names of ours do.
    AlmostOurs,
    /// A directory.
    Directory,
    /// A symbolic link that leads nowhere; it cannot be opened.
    SymbolicLink,
}

impl Foreign {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::File, Self::Hidden, Self::NotUnicode, Self::AlmostOurs, Self::Directory, Self::SymbolicLink];

    fn name(self) -> OsString {
        match self {
            Self::File => "README.txt".into(),
            Self::Hidden => ".DS_Store".into(),
            Self::NotUnicode => not_unicode(),
            Self::AlmostOurs => "000001~".into(),
            Self::Directory => "lost+found".into(),
            Self::SymbolicLink => "link".into(),
        }
    }
}

#[cfg(unix)]
fn not_unicode() -> OsString {
    use std::os::unix::ffi::OsStringExt as _;
    OsString::from_vec(b"caf\xE9\xFF.tmp".to_vec())
}

#[cfg(not(unix))]
fn not_unicode() -> OsString {
    "caf\u{FFFD}.tmp".into()
}
