//! `cargo xtask torture filter`: what takes too long for a test. Bounded by default; `--full` does what the
//! requirements ask for: 10^8 probes for one rate, 10^9 pairs of key and filter.

use lsm_burr::{Bits, Builder, FilterRef, Structure};

use crate::repo::Repo;
use crate::trouble::{Findings, Trouble};
use crate::watch::Watch;

/// How much is done.
struct Effort {
    /// Seeds for each size from 0 to [`SIZES_MAX`].
    seeds: u64,
    /// Pairs of a key and a filter that was built from it, all sizes together.
    pairs: u64,
    /// Probes for absent keys.
    probes: u64,
}

const BOUNDED: Effort = Effort { seeds: 10, pairs: 20_000_000, probes: 10_000_000 };
const FULL: Effort = Effort { seeds: 100, pairs: 1_000_000_000, probes: 100_000_000 };
const SIZES_MAX: usize = 2000;
/// Sizes that the pairs are spread over.
const SIZES: [usize; 6] = [500, 3120, 10_000, 32 << 10, 64 << 10, 1_000_000];
/// The largest difference from 2^-8 in the share of absent keys answered "maybe".
const RATE_TOLERANCE: f64 = 0.02;

pub(super) fn run(repo: &Repo, arguments: &[String]) -> Result<(), Trouble> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let effort = match words[..] {
        [] => BOUNDED,
        ["--full"] => FULL,
        _ => return Err(Trouble::Usage("torture filter [--full]".into())),
    };
    if cfg!(debug_assertions) {
        // A hundred times faster: this program again, compiled for speed.
        let mut line = vec!["run", "--quiet", "--release", "--package", "xtask", "--", "torture", "filter"];
        line.extend(words);
        return repo.cargo(&line);
    }
    let mut findings = Findings::default();
    small_sizes(&effort, &mut findings);
    pairs(&effort, &mut findings);
    rate(&effort, &mut findings);
    findings.into_result()
}

/// Random numbers, different for each seed.
fn hashes(seed: u64, count: usize) -> impl Iterator<Item = u64> {
    let mut state = seed.wrapping_mul(0xD129_0F5D_8C5B_2D3B) ^ 0x1234_5678_9ABC_DEF0;
    let roll = move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Some(z ^ (z >> 31))
    };
    std::iter::from_fn(roll).take(count)
}

/// A builder of filters of 8 bits, and memory for what it builds.
struct Bench {
    builder: Builder,
    keys: Vec<u64>,
    bytes: Vec<u8>,
}

/// What one filter came to.
struct Outcome {
    missing: usize,
    structure: Structure,
    len: usize,
}

impl Bench {
    fn new() -> Option<Self> {
        let builder = Builder::new(Bits::new(8.0).ok()?);
        Some(Self { builder, keys: Vec::new(), bytes: Vec::new() })
    }

    /// Builds a filter and asks it for all of its keys; `None` if it was not built or not opened.
    fn round(&mut self, seed: u64, count: usize) -> Option<Outcome> {
        self.keys.clear();
        self.keys.extend(hashes(seed, count));
        for &key in &self.keys {
            self.builder.push(key);
        }
        self.bytes.clear();
        let stats = self.builder.finish(&mut self.bytes).ok()?;
        let filter = FilterRef::open(&self.bytes).ok()?;
        let missing = self.keys.iter().filter(|&&key| !filter.may_contain(key)).count();
        Some(Outcome { missing, structure: stats.structure, len: stats.len })
    }
}

/// Every size up to 2000 with many seeds: built, opened, no member missing.
fn small_sizes(effort: &Effort, findings: &mut Findings) {
    let watch = Watch::start();
    let Some(mut bench) = Bench::new() else { return };
    let mut built = 0_u64;
    for count in 0..=SIZES_MAX {
        for seed in 0..effort.seeds {
            match bench.round(seed << 32 | count as u64, count) {
                Some(outcome) if outcome.missing == 0 => built += 1,
                _ => findings.add(format!("{count} keys, seed {seed}: a member is missing")),
            }
        }
    }
    println!("torture: sizes 0..={SIZES_MAX}, {built} filters, {:.1} s", watch.elapsed().as_secs_f64());
}

/// Many filters of larger sizes: no member missing, and what they weigh.
#[expect(clippy::cast_precision_loss, reason = "figures to look at")]
fn pairs(effort: &Effort, findings: &mut Findings) {
    println!(
        "torture: {:>8} {:>8} {:>10} {:>10} {:>10} {:>8}",
        "keys", "filters", "bits/key", "largest", "F-87", "over it"
    );
    let Some(mut bench) = Bench::new() else { return };
    for count in SIZES {
        let rounds = effort.pairs / SIZES.len() as u64 / count as u64 + 1;
        let share = match count {
            ..1024 => 8.0,
            1024..3072 => 0.13 * 8.0,
            3072..8192 => 0.04 * 8.0,
            8192..32_768 => 0.015 * 8.0,
            _ => 0.04,
        };
        let bound = count as f64 * (8.0 + share) / 8.0 + 64.0;
        let (mut bytes, mut largest, mut over) = (0, 0, 0_u64);
        for seed in 0..rounds {
            let Some(outcome) = bench.round(seed << 24 ^ count as u64, count) else {
                findings.add(format!("{count} keys, seed {seed}: not built"));
                continue;
            };
            if outcome.missing > 0 || outcome.structure != Structure::Membership {
                findings.add(format!("{count} keys, seed {seed}: {} members missing", outcome.missing));
            }
            bytes += outcome.len;
            largest = largest.max(outcome.len);
            over += u64::from(outcome.len as f64 > bound);
        }
        let bits = |len: f64| len * 8.0 / count as f64;
        println!(
            "torture: {count:>8} {rounds:>8} {:>10.4} {:>10.4} {:>10.4} {over:>8}",
            bits(bytes as f64 / rounds as f64),
            bits(largest as f64),
            bits(bound),
        );
    }
}

/// The share of absent keys that one filter answers "maybe".
#[expect(clippy::cast_precision_loss, reason = "figures to look at")]
fn rate(effort: &Effort, findings: &mut Findings) {
    let Some(mut bench) = Bench::new() else { return };
    if bench.round(1, 32 << 10).is_none() {
        findings.add("32 Ki keys: not built");
    }
    let Ok(filter) = FilterRef::open(&bench.bytes) else { return };
    let mut wrong = 0_u64;
    let probes = usize::try_from(effort.probes).unwrap_or(usize::MAX);
    for hash in hashes(u64::MAX, probes) {
        wrong += u64::from(filter.may_contain(hash));
    }
    let ratio = wrong as f64 / effort.probes as f64 * 256.0;
    println!("torture: {wrong} of {} absent keys are maybe there: {ratio:.4} / 2^8", effort.probes);
    if (ratio - 1.0).abs() > RATE_TOLERANCE {
        findings.add(format!("the rate of false positives is {ratio:.4} times 2^-8"));
    }
}
