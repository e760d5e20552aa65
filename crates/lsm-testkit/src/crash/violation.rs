//! What went wrong, told so that it can be seen again.

use std::fmt;

use super::run::Run;
use super::subject::Subject;
use crate::sim::{Choice, ImageId, Profile, SimFs, Strategy};

/// Events of the trace that a report shows.
const EXCERPT: usize = 16;

/// Something a store did that it must not do.
#[derive(Clone, Debug)]
pub struct Violation {
    /// What.
    pub problem: String,
    /// The image that shows it; nothing where the living store does.
    pub image: Option<ImageId>,
    /// An image that shows it with as few losses as could be found.
    pub smallest: Option<ImageId>,
    /// The disk that promises most on which a crash at the same point still shows it.
    pub profile: Option<Profile>,
    /// How to make the workload again: set by whoever made it.
    pub origin: String,
    /// The end of the trace, and what became of the changes pending then.
    pub excerpt: Vec<String>,
}

impl Violation {
    pub(super) fn new(fs: &SimFs, image: Option<ImageId>, problem: String) -> Box<Self> {
        let trace = fs.trace();
        let point = image.map_or(trace.len(), |id| id.point);
        let start = point.saturating_sub(EXCERPT);
        let events = trace.iter().enumerate().take(point).skip(start);
        let excerpt = events.map(|(index, event)| format!("{index}: {event}")).collect();
        Box::new(Self { problem, image, smallest: None, profile: None, origin: String::new(), excerpt })
    }

    /// Gives back one lost change after the other, as long as the image stays wrong.
    pub(super) fn seek_fewest_losses(&mut self, fs: &SimFs, wrong: impl Fn(ImageId) -> Option<String>) {
        let Some(id) = self.image else { return };
        let Some((mut kept, count)) = fs.survivors(id) else { return };
        let image = |bits: u64| ImageId { point: id.point, choice: Choice::Subset(bits) };
        if wrong(image(kept)).is_none() {
            return; // it takes a torn write
        }
        for unit in (0..count).map(|unit| 1 << unit).filter(|bit| kept & bit == 0).collect::<Vec<u64>>() {
            if wrong(image(kept | unit)).is_some() {
                kept |= unit;
            }
        }
        self.smallest = Some(image(kept));
        self.excerpt.extend(fs.describe(image(kept)));
    }

    /// Finds the strongest disk that does not hide it.
    pub(super) fn seek_strongest_profile(
        &mut self,
        fs: &SimFs,
        wrong: impl Fn(usize, &SimFs) -> Option<String>,
    ) {
        let Some(id) = self.image else { return };
        if self.smallest.is_none() {
            self.excerpt.extend(fs.describe(id));
        }
        let shows = |profile: &Profile| {
            let mut images = fs.images_under(*profile, id.point, &Strategy::FULL);
            images.any(|(id, image)| wrong(id.point, &image).is_some())
        };
        self.profile = Profile::STRONGEST_FIRST.into_iter().find(shows);
    }

    /// Adds what the workload did.
    pub(super) fn note_records<S: Subject>(&mut self, run: &Run<S>) {
        for record in &run.records {
            let failed = record.failed.as_ref().map_or(String::new(), |failed| format!(", {failed:?}"));
            self.excerpt.push(format!("{} at {}..{}{failed}", record.label, record.start, record.end));
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(id) = self.image {
            write!(f, "image {id}: ")?;
        }
        writeln!(f, "{}", self.problem)?;
        writeln!(f, "  workload: {}", self.origin)?;
        if let Some(id) = self.smallest {
            writeln!(f, "  fewest losses: image {id}")?;
        }
        if let Some(profile) = self.profile {
            writeln!(f, "  strongest disk that shows it: {profile:?}")?;
        }
        self.excerpt.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

impl std::error::Error for Violation {}
