//! Which of the pending changes survive a crash.

use std::fmt;
use std::str::FromStr;

use super::content::{LenPart, Part, Pick};
use super::fs::SimConfig;
use super::profile::Profile;
use super::replay::{Change, Pending, new_names_owed};
use crate::dice::Dice;

/// Which of the pending changes survive. A change is known by its position among those pending at the crash; a rename
/// is two changes, the new name and then the loss of the old one.
///
/// Whatever is chosen is made legal before it is applied: the loss of an old name brings the new one along, and what
/// follows a barrier brings along what the barrier covers.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Choice {
    /// None of them.
    Floor,
    /// All of them.
    Ceiling,
    /// All names, no bytes, no lengths.
    Names,
    /// All names and all lengths, with zeros for bytes.
    Hollow,
    /// All bytes and lengths, no names.
    Contents,
    /// All names and all bytes, no lengths.
    Lengthless,
    /// All but this one.
    Without(usize),
    /// This one alone.
    Only(usize),
    /// All before this one.
    Before(usize),
    /// All up to this write, of which the length survives, but only that many of its first sectors.
    Torn(usize, usize),
    /// All up to this write, of which that many of its first sectors survive, and the length as far as they reach.
    Short(usize, usize),
    /// All up to this write, of which that one sector is missing.
    Hole(usize, usize),
    /// All up to this write, of which every second sector is missing.
    Checkered(usize),
    /// All but this one; of this other one only that many of its first sectors survive, and its length.
    Pair(usize, usize, usize),
    /// Those whose bit is set, the first one lowest.
    Subset(u64),
    /// Each change, and each sector, by the toss of a coin.
    Random(u64),
}

/// Which images to look at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Strategy {
    /// Each change as the only one to survive, every "all before this one", and torn writes before the last change.
    pub survivors: bool,
    /// Sectors per torn write to try as the last survivor, as the missing one; 0 tears nothing.
    pub torn_sectors: usize,
    /// All subsets when no more changes than this are pending; at most 16.
    pub exhaustive: u32,
    /// Random images per point.
    pub random: u32,
    /// Changes to single out per point; of more, an even spread is taken.
    pub singles: usize,
    /// Where random images come from.
    pub seed: u64,
}

impl Strategy {
    /// For every run of the tests: floor, ceiling, kinds, single losses and the torn last write.
    pub const GATE: Self =
        Self { survivors: false, torn_sectors: 8, exhaustive: 0, random: 0, singles: 32, seed: 0 };

    /// All that is enumerated, with a few random images.
    pub const FULL: Self =
        Self { survivors: true, torn_sectors: 32, exhaustive: 8, random: 4, singles: 128, seed: 0 };

    /// For nights: as [`Strategy::FULL`], with every subset of up to 16 changes and many random images.
    pub const NIGHT: Self = Self { exhaustive: 16, random: 64, ..Self::FULL };

    /// The choices to try where `pending` is pending at `point`, the most telling first.
    pub(super) fn choices(&self, point: usize, pending: &[Pending], config: SimConfig) -> Vec<Choice> {
        if config.profile == Profile::Process {
            return vec![Choice::Ceiling];
        }
        let mut choices = vec![Choice::Floor];
        if pending.is_empty() {
            return choices;
        }
        choices.extend([Choice::Ceiling, Choice::Names, Choice::Hollow, Choice::Contents]);
        choices.push(Choice::Lengthless);
        let singled = spread(0, pending.len(), self.singles);
        choices.extend(singled.iter().map(|&unit| Choice::Without(unit)));
        if self.survivors {
            choices.extend(singled.iter().map(|&unit| Choice::Only(unit)));
            choices.extend(singled.iter().map(|&unit| Choice::Before(unit)));
        }
        self.tear_last(point, pending, &mut choices);
        if self.survivors {
            tear_others(pending, &mut choices);
        }
        if pending.len() <= self.exhaustive.min(16) as usize {
            choices.extend((0..1 << pending.len()).map(Choice::Subset));
        }
        let mut dice = Dice::new(self.seed ^ point as u64);
        choices.extend((0..self.random).map(|_| Choice::Random(dice.roll() >> 32)));
        choices
    }

    /// The torn states of the write that the crash interrupts.
    fn tear_last(&self, point: usize, pending: &[Pending], choices: &mut Vec<Choice>) {
        let Some(last) = pending.len().checked_sub(1) else { return };
        let Some(Pending { event, change: Change::Data(_, effect), .. }) = pending.get(last) else { return };
        let sectors = effect.sectors.len();
        if event + 1 != point || self.torn_sectors == 0 {
            return;
        }
        for count in spread(0, sectors, self.torn_sectors) {
            choices.push(Choice::Torn(last, count));
            if effect.len.is_some() {
                choices.push(Choice::Short(last, count));
            }
        }
        if sectors > 1 {
            choices.extend(spread(0, sectors, self.torn_sectors).into_iter().map(|s| Choice::Hole(last, s)));
            choices.push(Choice::Checkered(last));
        }
    }
}

/// Writes besides the last one that are torn, and other changes of the same file that are lost with each.
const TORN_WRITES: usize = 4;

/// Torn states of writes that are not the last change, and each of them with another change of the same file lost.
fn tear_others(pending: &[Pending], choices: &mut Vec<Choice>) {
    let sectors = |unit: &usize| match pending.get(*unit).map(|pending| &pending.change) {
        Some(Change::Data(_, effect)) => effect.sectors.len(),
        _ => 0,
    };
    let torn: Vec<usize> = (0..pending.len()).filter(|unit| sectors(unit) > 1).collect();
    for at in spread(0, torn.len(), TORN_WRITES).into_iter().filter_map(|at| torn.get(at)) {
        let half = sectors(at) / 2;
        let same_file = |&unit: &usize| unit != *at && same_file(pending, unit, *at);
        for lost in std::iter::once(*at).chain((0..pending.len()).filter(same_file).take(TORN_WRITES)) {
            choices.extend([0, half, sectors(at) - 1].map(|count| Choice::Pair(lost, *at, count)));
        }
    }
}

/// Up to `max` numbers of the range, evenly spread, the first and the last among them.
fn spread(start: usize, end: usize, max: usize) -> Vec<usize> {
    let count = end - start;
    if count <= max {
        return (start..end).collect();
    }
    match max {
        0 => Vec::new(),
        1 => vec![end - 1],
        _ => (0..max).map(|step| start + step * (count - 1) / (max - 1)).collect(),
    }
}

impl Choice {
    /// What survives of each pending change, nothing where there is no part.
    pub(super) fn parts(self, pending: &[Pending], config: SimConfig) -> Vec<Option<Part>> {
        if config.profile == Profile::Process {
            return vec![Some(Part::ALL); pending.len()];
        }
        let mut dice = Dice::new(if let Self::Random(seed) = self { seed } else { 0 });
        let part = |(unit, pending): (usize, &Pending)| self.part(unit, &pending.change, &mut dice);
        let mut parts: Vec<_> = pending.iter().enumerate().map(part).collect();
        keep_barriers(pending, &mut parts);
        if config.profile.orders_names() || config.windows_semantics {
            order_names(pending, &mut parts);
        }
        if config.profile == Profile::Ext4Ordered {
            write_data_first(pending, &mut parts);
        }
        for new_name in new_names_owed(pending, |unit| parts.get(unit).is_some_and(Option::is_some)) {
            if let Some(part) = parts.get_mut(new_name) {
                *part = Some(Part::ALL);
            }
        }
        parts
    }

    fn part(self, unit: usize, change: &Change, dice: &mut Dice) -> Option<Part> {
        let is_name = matches!(change, Change::Name(_));
        let torn = |at: usize, sectors: Pick, len: LenPart| match unit.cmp(&at) {
            std::cmp::Ordering::Less => Some(Part::ALL),
            std::cmp::Ordering::Equal => Some(Part { sectors, len }),
            std::cmp::Ordering::Greater => None,
        };
        let all_if = |survives: bool| survives.then_some(Part::ALL);
        match self {
            Self::Floor => None,
            Self::Ceiling => Some(Part::ALL),
            Self::Names => all_if(is_name),
            Self::Hollow | Self::Lengthless if is_name => Some(Part::ALL),
            Self::Hollow => Some(Part { sectors: Pick::None, len: LenPart::Yes }),
            Self::Contents => all_if(!is_name),
            Self::Lengthless => Some(Part { sectors: Pick::All, len: LenPart::No }),
            Self::Pair(_, at, count) if unit == at => {
                Some(Part { sectors: Pick::First(count), len: LenPart::Yes })
            }
            Self::Without(lost) | Self::Pair(lost, ..) => all_if(unit != lost),
            Self::Only(kept) => all_if(unit == kept),
            Self::Before(end) => all_if(unit < end),
            Self::Torn(at, count) => torn(at, Pick::First(count), LenPart::Yes),
            Self::Short(at, count) => torn(at, Pick::First(count), LenPart::UpToSectors),
            Self::Hole(at, missing) => torn(at, Pick::AllBut(missing), LenPart::Yes),
            Self::Checkered(at) => torn(at, Pick::EverySecond, LenPart::Yes),
            Self::Subset(bits) => {
                all_if(u32::try_from(unit).is_ok_and(|u| bits.checked_shr(u).unwrap_or(0) & 1 == 1))
            }
            Self::Random(_) => {
                let (survives, seed, len) = (dice.coin(), dice.roll(), dice.coin());
                let len = if len { LenPart::Yes } else { LenPart::No };
                survives.then_some(if is_name {
                    Part::ALL
                } else {
                    Part { sectors: Pick::Random(seed), len }
                })
            }
        }
    }
}

/// What a barrier covers survives if anything after the barrier does.
fn keep_barriers(pending: &[Pending], parts: &mut [Option<Part>]) {
    let newest = pending.iter().zip(parts.iter()).rfind(|(_, part)| part.is_some()).map(|(p, _)| p.event);
    for (pending, part) in pending.iter().zip(parts) {
        if pending.barrier.is_some_and(|barrier| newest > Some(barrier)) {
            *part = Some(Part::ALL);
        }
    }
}

/// Names survive in the order in which they changed, and both halves of a rename together: a change that survives
/// brings along all before it.
fn order_names(pending: &[Pending], parts: &mut [Option<Part>]) {
    let is_name = |pending: &Pending| matches!(pending.change, Change::Name(_));
    let survivors = pending.iter().zip(parts.iter()).filter(|(p, part)| is_name(p) && part.is_some());
    let newest = survivors.map(|(pending, _)| pending.event).next_back();
    for (pending, part) in pending.iter().zip(parts) {
        if is_name(pending) && Some(pending.event) <= newest {
            *part = Some(Part::ALL);
        }
    }
}

/// A length survives only with the bytes under it.
fn write_data_first(pending: &[Pending], parts: &mut [Option<Part>]) {
    for (pending, part) in pending.iter().zip(parts) {
        if let (Change::Data(_, effect), Some(part)) = (&pending.change, part)
            && effect.len.is_some()
            && part.len == LenPart::Yes
        {
            match part.sectors {
                Pick::First(_) => part.len = LenPart::UpToSectors,
                _ => part.sectors = Pick::All,
            }
        }
    }
}

fn same_file(pending: &[Pending], one: usize, other: usize) -> bool {
    let file = |unit: usize| match pending.get(unit).map(|pending| &pending.change) {
        Some(Change::Data(ino, _)) => Some(*ino),
        _ => None,
    };
    file(one).is_some() && file(one) == file(other)
}

/// Reproduces an image of a trace: where the crash was, and what survived. Written as `120.without.7`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ImageId {
    /// Events that had happened.
    pub point: usize,
    /// What survived of those that were pending.
    pub choice: Choice,
}

/// A text that names no image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotAnImageId;

impl fmt::Display for NotAnImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an image id, which reads like 120.without.7")
    }
}

impl std::error::Error for NotAnImageId {}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.", self.point)?;
        match self.choice {
            Choice::Floor => f.write_str("floor"),
            Choice::Ceiling => f.write_str("ceiling"),
            Choice::Names => f.write_str("names"),
            Choice::Hollow => f.write_str("hollow"),
            Choice::Contents => f.write_str("contents"),
            Choice::Lengthless => f.write_str("lengthless"),
            Choice::Without(unit) => write!(f, "without.{unit}"),
            Choice::Only(unit) => write!(f, "only.{unit}"),
            Choice::Before(unit) => write!(f, "before.{unit}"),
            Choice::Torn(unit, sectors) => write!(f, "torn.{unit}.{sectors}"),
            Choice::Short(unit, sectors) => write!(f, "short.{unit}.{sectors}"),
            Choice::Hole(unit, sector) => write!(f, "hole.{unit}.{sector}"),
            Choice::Checkered(unit) => write!(f, "checkered.{unit}"),
            Choice::Pair(lost, at, sectors) => write!(f, "pair.{lost}.{at}.{sectors}"),
            Choice::Subset(bits) => write!(f, "subset.{bits}"),
            Choice::Random(seed) => write!(f, "random.{seed}"),
        }
    }
}

impl FromStr for ImageId {
    type Err = NotAnImageId;

    /// Reads what `Display` writes.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut words = text.split('.');
        let mut word = || words.next().ok_or(NotAnImageId);
        let point = word()?.parse().map_err(|_| NotAnImageId)?;
        let kind = word()?;
        let mut number = || word()?.parse::<u64>().map_err(|_| NotAnImageId);
        let mut unit = || usize::try_from(number()?).map_err(|_| NotAnImageId);
        let choice = match kind {
            "floor" => Choice::Floor,
            "ceiling" => Choice::Ceiling,
            "names" => Choice::Names,
            "hollow" => Choice::Hollow,
            "contents" => Choice::Contents,
            "lengthless" => Choice::Lengthless,
            "without" => Choice::Without(unit()?),
            "only" => Choice::Only(unit()?),
            "before" => Choice::Before(unit()?),
            "torn" => Choice::Torn(unit()?, unit()?),
            "short" => Choice::Short(unit()?, unit()?),
            "hole" => Choice::Hole(unit()?, unit()?),
            "checkered" => Choice::Checkered(unit()?),
            "pair" => Choice::Pair(unit()?, unit()?, unit()?),
            "subset" => Choice::Subset(number()?),
            "random" => Choice::Random(number()?),
            _ => return Err(NotAnImageId),
        };
        Ok(Self { point, choice })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_id_reads_as_it_is_written() {
        let choices = [
            Choice::Floor,
            Choice::Ceiling,
            Choice::Names,
            Choice::Hollow,
            Choice::Contents,
            Choice::Lengthless,
            Choice::Pair(1, 2, 3),
            Choice::Without(3),
            Choice::Only(0),
            Choice::Before(12),
            Choice::Torn(4, 5),
            Choice::Short(4, 0),
            Choice::Hole(1, 2),
            Choice::Checkered(9),
            Choice::Subset(0b1011),
            Choice::Random(77),
        ];
        for choice in choices {
            let id = ImageId { point: 120, choice };
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert!("12".parse::<ImageId>().is_err() && "12.hat".parse::<ImageId>().is_err());
    }

    #[test]
    fn a_spread_has_both_ends() {
        assert_eq!(spread(0, 3, 5), [0, 1, 2]);
        assert_eq!(spread(0, 100, 4), [0, 33, 66, 99]);
        assert_eq!((spread(0, 9, 1), spread(0, 9, 0)), (vec![8], vec![]));
    }
}
