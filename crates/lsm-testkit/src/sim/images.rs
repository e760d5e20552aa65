//! Going through the images of a trace.

use std::collections::{HashSet, VecDeque};
use std::fmt;

use super::build::build;
use super::choice::{Choice, ImageId, Strategy};
use super::fs::SimFs;
use super::replay::Replay;

/// Goes through what a crash may have left, each state once; see [`SimFs::images`] and [`SimFs::sweep`].
pub struct Images {
    fs: SimFs,
    strategy: Strategy,
    replay: Replay,
    points: VecDeque<usize>,
    choices: VecDeque<Choice>,
    /// Points of one epoch owe the same to their caller, so equal states of an epoch are one.
    epoch: Box<dyn Fn(usize) -> u64 + Send>,
    seen: HashSet<(u64, u64)>,
}

impl Images {
    pub(super) fn new(fs: &SimFs, strategy: &Strategy, points: Vec<usize>) -> Self {
        Self {
            fs: fs.clone(),
            strategy: *strategy,
            replay: fs.replay_start(),
            points: points.into(),
            choices: VecDeque::new(),
            epoch: Box::new(|point| point as u64),
            seen: HashSet::new(),
        }
    }

    /// Skips a state that was already met at another point of the same epoch.
    ///
    /// Without it, a state is met once per point. With it the caller vouches that what it expects of an image is the
    /// same at all points that `epoch` maps to one number: say, the number of operations acknowledged so far.
    pub fn epochs(mut self, epoch: impl Fn(usize) -> u64 + Send + 'static) -> Self {
        self.epoch = Box::new(epoch);
        self
    }
}

impl Iterator for Images {
    type Item = (ImageId, SimFs);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            while let Some(choice) = self.choices.pop_front() {
                let image = build(&self.replay, choice);
                let point = self.replay.point;
                if self.seen.insert(((self.epoch)(point), image.hash)) {
                    return Some((ImageId { point, choice }, self.fs.image_of(image)));
                }
            }
            let point = self.points.pop_front()?;
            self.fs.advance(&mut self.replay, point);
            self.choices = self.strategy.choices(point, &self.replay.pending, self.replay.config).into();
        }
    }
}

impl fmt::Debug for Images {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Images").field("point", &self.replay.point).finish_non_exhaustive()
    }
}
