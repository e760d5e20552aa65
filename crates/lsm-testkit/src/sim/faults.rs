//! Failures on order.

use std::ops::Range;
use std::path::Path;

use lsm_types::{IoKind, IoOp};

use super::gate::Gate;
use crate::dice::Dice;

/// Which operations fail, and how. The first rule that strikes an operation decides.
#[derive(Clone, Debug, Default)]
pub struct FaultPlan {
    rules: Vec<FaultRule>,
    struck: u64,
}

/// One kind of failure and where it strikes: by default the first operation of any kind on any file.
#[derive(Clone, Debug)]
pub struct FaultRule {
    failure: Failure,
    op: Option<IoOp>,
    path: Option<String>,
    label: Option<String>,
    when: When,
    met: u64,
}

/// An operation that may fail.
pub(super) struct Occasion<'a> {
    pub(super) op: IoOp,
    pub(super) paths: &'a [&'a Path],
    pub(super) label: Option<&'a str>,
    /// The bytes that a read asks for.
    pub(super) range: Range<u64>,
}

/// How an operation fails.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// Without effect; a failed sync keeps what is dirty.
    Before(IoKind),
    /// With its whole effect.
    After(IoKind),
    /// A write after this many bytes; a read returns this many.
    Short(usize, IoKind),
    /// A sync, dropping what is dirty; reads go on showing it.
    Losing(IoKind),
    /// A sync, dropping what is dirty; reads show what is durable.
    Dropping(IoKind),
    /// A read, which answers with bits inverted in the byte at this position of the file.
    Corrupt { offset: u64, mask: u8 },
    /// Not at all, but not before the gate is opened.
    Hang(Gate),
}

#[derive(Clone, Debug)]
enum When {
    Nth(u64),
    Every(u64),
    From(u64),
    /// Once in so many, by the toss of a coin.
    Chance(u64, Dice),
}

impl FaultRule {
    /// The operation has no effect. What a failed sync was to make durable stays dirty, and the next one may succeed.
    pub fn fail(kind: IoKind) -> Self {
        Self::new(Failure::Before(kind))
    }

    /// The operation has its effect and reports failure all the same.
    pub fn fail_after(kind: IoKind) -> Self {
        Self::new(Failure::After(kind))
    }

    /// A write or append lands this many bytes and fails; a read returns this many as if the file ended there.
    pub fn short(bytes: usize, kind: IoKind) -> Self {
        Self::new(Failure::Short(bytes, kind))
    }

    /// A sync fails and drops what was dirty: reads still show it, the next sync succeeds, and a crash may lose it.
    pub fn lose(kind: IoKind) -> Self {
        Self::new(Failure::Losing(kind))
    }

    /// A sync fails and drops what was dirty, and reads show the contents that are durable instead. The length stays.
    pub fn drop_dirty(kind: IoKind) -> Self {
        Self::new(Failure::Dropping(kind))
    }

    /// A read of the byte at `offset` answers with the bits of `mask` inverted in it. What is on the disk stays as it
    /// is: with [`FaultRule::nth`] the next read is right again, with [`FaultRule::from`] none is.
    pub fn corrupt(offset: u64, mask: u8) -> Self {
        Self { op: Some(IoOp::Read), ..Self::new(Failure::Corrupt { offset, mask }) }
    }

    /// The operation waits until `gate` is opened, and then takes its course.
    pub fn hang(gate: &Gate) -> Self {
        Self::new(Failure::Hang(gate.clone()))
    }

    fn new(failure: Failure) -> Self {
        Self { failure, op: None, path: None, label: None, when: When::Nth(0), met: 0 }
    }

    /// Strikes operations of this kind only. Creating a file is an `Open`, an append a `Write`.
    pub fn on(mut self, op: IoOp) -> Self {
        self.op = Some(op);
        self
    }

    /// Strikes paths of this form only: `*` stands for any characters, `?` for one. A rename or link has two paths, and
    /// either will do.
    pub fn path(mut self, glob: &str) -> Self {
        self.path = Some(glob.to_owned());
        self
    }

    /// Strikes only what is done under a label of this form; see [`crate::sim::SimFs::label`].
    pub fn label(mut self, glob: &str) -> Self {
        self.label = Some(glob.to_owned());
        self
    }

    /// Strikes one in `throws` operations by chance, the same ones for the same seed.
    pub fn chance(mut self, throws: u64, seed: u64) -> Self {
        self.when = When::Chance(throws, Dice::new(seed));
        self
    }

    /// Strikes once, after letting `skipped` operations pass.
    pub fn nth(mut self, skipped: u64) -> Self {
        self.when = When::Nth(skipped);
        self
    }

    /// Strikes every `period`-th operation.
    pub fn every(mut self, period: u64) -> Self {
        self.when = When::Every(period.max(1));
        self
    }

    /// Strikes every operation after letting `skipped` pass.
    pub fn from(mut self, skipped: u64) -> Self {
        self.when = When::From(skipped);
        self
    }

    fn strikes(&mut self, occasion: &Occasion<'_>) -> bool {
        if self.op.is_some_and(|wanted| wanted != occasion.op) {
            return false;
        }
        if let Some(glob) = &self.path
            && !occasion
                .paths
                .iter()
                .any(|path| matches(glob.as_bytes(), path.as_os_str().as_encoded_bytes()))
        {
            return false;
        }
        if let Some(glob) = &self.label
            && !occasion.label.is_some_and(|label| matches(glob.as_bytes(), label.as_bytes()))
        {
            return false;
        }
        if let Failure::Corrupt { offset, .. } = self.failure
            && !occasion.range.contains(&offset)
        {
            return false;
        }
        let met = self.met;
        self.met += 1;
        match &mut self.when {
            When::Nth(skipped) => met == *skipped,
            When::Every(period) => (met + 1).is_multiple_of(*period),
            When::From(skipped) => met >= *skipped,
            When::Chance(throws, dice) => dice.one_in(*throws),
        }
    }
}

impl Failure {
    /// What the caller is told; nothing where the operation succeeds.
    pub(super) fn kind(&self) -> Option<IoKind> {
        match *self {
            Self::Before(kind)
            | Self::After(kind)
            | Self::Short(_, kind)
            | Self::Losing(kind)
            | Self::Dropping(kind) => Some(kind),
            Self::Corrupt { .. } | Self::Hang(_) => None,
        }
    }
}

impl FaultPlan {
    /// Nothing fails.
    pub fn new() -> Self {
        Self::default()
    }

    /// This rule too.
    pub fn with(mut self, rule: FaultRule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Operations that failed by this plan.
    pub fn struck(&self) -> u64 {
        self.struck
    }

    /// Whether any rule may let an operation wait.
    pub(super) fn has_gates(&self) -> bool {
        self.rules.iter().any(|rule| matches!(rule.failure, Failure::Hang(_)))
    }

    /// The gates that an operation has to wait for before anything else happens to it.
    pub(super) fn gates(&mut self, occasion: &Occasion<'_>) -> Vec<Gate> {
        let mut gates = Vec::new();
        for rule in &mut self.rules {
            if let Failure::Hang(gate) = &rule.failure {
                let gate = gate.clone();
                if rule.strikes(occasion) {
                    gates.push(gate);
                }
            }
        }
        self.struck += gates.len() as u64;
        gates
    }

    pub(super) fn strike(&mut self, occasion: &Occasion<'_>) -> Option<Failure> {
        // Every rule counts every operation, whether or not an earlier rule decides.
        let failing = self.rules.iter_mut().filter(|rule| !matches!(rule.failure, Failure::Hang(_)));
        let striking = failing.filter_map(|rule| rule.strikes(occasion).then(|| rule.failure.clone()));
        let failure = striking.fold(None, |first: Option<Failure>, next| first.or(Some(next)));
        self.struck += u64::from(failure.is_some());
        failure
    }
}

/// Whether the whole of `text` has the form of `glob`.
fn matches(glob: &[u8], text: &[u8]) -> bool {
    match glob.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => {
            (0..=text.len()).any(|skip| matches(rest, text.get(skip..).unwrap_or_default()))
        }
        Some((&byte, rest)) => text
            .split_first()
            .is_some_and(|(&first, after)| (byte == b'?' || byte == first) && matches(rest, after)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(glob: &str, text: &str, expected: bool) {
        assert_eq!(matches(glob.as_bytes(), text.as_bytes()), expected, "{glob} on {text}");
    }

    #[test]
    fn globs() {
        check("*.sst", "/db/tables/1.sst", true);
        check("*.sst", "/db/tables/1.sst.tmp", false);
        check("*/MANIFEST-*", "/db/MANIFEST-1", true);
        check("/db/?", "/db/a", true);
        check("/db/?", "/db/ab", false);
        check("", "", true);
        check("*", "", true);
        check("a*b*c", "axxbyyc", true);
        check("a*b*c", "axxbyy", false);
    }

    #[test]
    fn a_rule_strikes_when_it_says() {
        let struck = |rule: FaultRule| {
            let mut plan = FaultPlan::new().with(rule);
            let paths = [Path::new("a")];
            let occasion =
                Occasion { op: IoOp::Write, paths: &paths, label: Some("flush/install"), range: 0..0 };
            let strikes = |_| plan.strike(&occasion).is_some();
            (0..6).map(strikes).collect::<Vec<_>>()
        };
        let fail = || FaultRule::fail(IoKind::Other);
        assert_eq!(struck(fail()), [true, false, false, false, false, false]);
        assert_eq!(struck(fail().nth(2)), [false, false, true, false, false, false]);
        assert_eq!(struck(fail().every(3)), [false, false, true, false, false, true]);
        assert_eq!(struck(fail().from(4)), [false, false, false, false, true, true]);
        assert_eq!(struck(fail().on(IoOp::Sync)), [false; 6]);
        assert_eq!(struck(fail().path("b*")), [false; 6]);
        assert_eq!(struck(fail().label("*/install").from(0)), [true; 6]);
        assert_eq!(struck(fail().label("install").from(0)), [false; 6]);
        let by_chance = struck(fail().chance(2, 7));
        assert_eq!(by_chance, struck(fail().chance(2, 7)));
        assert!(by_chance.contains(&true) && by_chance.contains(&false));
    }
}
