//! Changing contents, as far as space, budget and faults allow.

use std::sync::Arc;

use lsm_fs::{WriteError, check_range};
use lsm_types::{IoError, IoKind, IoOp};

use super::content::{Content, DataEffect, Part};
use super::faults::Failure;
use super::state::{State, Target};
use super::trace::{Effect, EventKind};
use super::volume::Node;

impl State {
    pub(super) fn free_sectors(&self) -> u64 {
        (self.config.capacity / self.config.sector).saturating_sub(self.used_sectors)
    }

    pub(super) fn free_bytes(&self) -> u64 {
        let free = self.free_sectors().saturating_mul(self.config.sector);
        self.budget.map_or(free, |budget| budget.min(free))
    }

    /// Lets an operation on a file take effect, and writes it down.
    pub(super) fn change_data(&mut self, on: &Target<'_>, kind: EventKind, effect: DataEffect) {
        if let Some(Node::File(content)) = self.live.nodes.get_mut(&on.ino) {
            let before = content.sector_count();
            Arc::make_mut(content).apply(&effect, Part::ALL);
            self.used_sectors = self.used_sectors - before + content.sector_count();
        }
        self.writers.entry(on.ino).or_default().insert(on.handle);
        self.record(kind, on.path, Effect::Data { ino: on.ino, handle: on.handle, effect: Arc::new(effect) });
    }

    /// Writes at `offset`, or at the end; returns where.
    pub(super) fn write(
        &mut self,
        on: &Target<'_>,
        offset: Option<u64>,
        bytes: &[u8],
    ) -> Result<u64, WriteError> {
        let content = self.live.content(IoOp::Write, on.ino)?.clone();
        let offset = offset.unwrap_or(content.len());
        check_range(IoOp::Write, offset, bytes.len() as u64)?;
        if bytes.is_empty() {
            return Ok(offset);
        }
        let (mut fits, mut stop) = (self.fitting(&content, offset, bytes.len()), IoKind::NoSpace);
        let mut fails = fits < bytes.len();
        match self.strike(IoOp::Write, &[on.path]) {
            None | Some(Failure::Corrupt { .. } | Failure::Hang(_)) => {}
            Some(Failure::Before(kind) | Failure::Losing(kind) | Failure::Dropping(kind)) => {
                (fits, stop, fails) = (0, kind, true);
            }
            Some(Failure::Short(most, kind)) => (fits, stop, fails) = (fits.min(most), kind, true),
            Some(Failure::After(kind)) => (stop, fails) = (kind, true),
        }
        if let Some(landing) = bytes.get(..fits).filter(|landing| !landing.is_empty()) {
            let effect = content.write_effect(offset, landing);
            let kind = EventKind::Write { offset, len: fits as u64 };
            self.change_data(on, kind, effect);
            self.budget = self.budget.map(|budget| budget - fits as u64);
            self.draw_late(on, fits as u64);
        }
        if fails {
            self.note_failure();
            return Err(WriteError { written: fits, source: IoError::new(IoOp::Write, stop) });
        }
        Ok(offset)
    }

    /// Takes bytes that are only looked for when they are synced.
    fn draw_late(&mut self, on: &Target<'_>, bytes: u64) {
        let Some(left) = &mut self.late_budget else { return };
        if bytes > *left {
            self.overdrawn.insert(on.ino);
        }
        *left = left.saturating_sub(bytes);
    }

    /// How many of `len` bytes at `offset` the capacity and the budget allow.
    fn fitting(&self, content: &Content, offset: u64, len: usize) -> usize {
        let most = self.budget.map_or(len, |budget| usize::try_from(budget).map_or(len, |b| b.min(len)));
        let sector = self.config.sector;
        let end = offset + most as u64;
        let sectors = offset / sector..end.div_ceil(sector);
        let mut free = self.free_sectors();
        if sectors.end - sectors.start <= free {
            return most;
        }
        for index in sectors {
            if content.has_sector(index) {
                continue;
            }
            if free == 0 {
                return usize::try_from((index * sector).saturating_sub(offset)).unwrap_or(0);
            }
            free -= 1;
        }
        most
    }

    pub(super) fn set_len(&mut self, on: &Target<'_>, len: u64) -> Result<(), IoError> {
        let effect = self.live.content(IoOp::Resize, on.ino)?.set_len_effect(len);
        self.change_data(on, EventKind::SetLen(len), effect);
        Ok(())
    }
}
