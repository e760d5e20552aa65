//! Levels as text.
//!
//! `L0 4:[c..f] 5:[a..d] / L1 2:[a..e]x10`: levels are divided by `/`, tables are `id:[smallest key..largest key]`. A
//! run is a row of tables in key order; where the order breaks, or at a `|`, an older run starts. `x10` is the length
//! in MiB, 64 without it. `4*` is busy. `<a..z>` is what range tombstones cover, alone or after the entries. `t9` is
//! the number of tombstones among a million entries, `@9` the second in which the table was written.

use lsm_compaction_planner::{CompactionStrategy, KeyOrder, Level, Plan, TableDescriptor, validate};
use lsm_types::{Cut, EditIndex, KeyRange, RunId, UnixNanos};

use crate::builder::{Builder, MIB, Scene, descriptor};

impl Scene {
    pub(crate) fn parse(level_count: u8, text: &str) -> Self {
        Self::parse_later(level_count, text, 0)
    }

    /// Tables are begun at the edit that equals their number, and `edits` later.
    pub(crate) fn parse_later(level_count: u8, text: &str, edits: u64) -> Self {
        let mut builder = Builder::new(level_count, KeyOrder::bytewise());
        let mut busy = Vec::new();
        for part in text.split('/').map(str::trim).filter(|part| !part.is_empty()) {
            let (level, tables) = part.split_once(' ').unwrap_or((part, ""));
            let level = Level::new(level.strip_prefix('L').unwrap().parse().unwrap());
            let mut end: Option<Cut> = None;
            for word in tables.split_whitespace() {
                if word == "|" {
                    end = None;
                    continue;
                }
                let (mut table, is_busy) = parse_table(word);
                table.created_edit = EditIndex::new(table.created_edit.get() + edits);
                let follows = end
                    .as_ref()
                    .zip(table.entries.as_ref())
                    .is_some_and(|(end, entries)| end.is_left_of(&entries.min, &KeyOrder::bytewise()));
                if !follows {
                    builder.run(level);
                }
                end = table.entries.as_ref().map(|entries| Cut::After(entries.max.clone()));
                if is_busy {
                    busy.push((level, RunId::new(builder.run.1), table.clone()));
                }
                builder.table(table);
            }
        }
        let mut scene = builder.scene();
        for (level, run, table) in busy {
            scene.busy.insert(level, run, &table);
        }
        scene
    }
}

fn parse_table(word: &str) -> (TableDescriptor, bool) {
    let (id, rest) = word.split_once(':').unwrap();
    let (id, busy) = id.strip_suffix('*').map_or((id, false), |id| (id, true));
    let between = |open: char, close: char| {
        let (_, rest) = rest.split_once(open)?;
        let (range, _) = rest.split_once(close)?;
        range.split_once("..")
    };
    let number = |mark: char| {
        let tail = rest.rsplit([']', '>']).next().unwrap();
        let digits: String = tail.split_once(mark)?.1.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u64>().ok()
    };
    let entries = between('[', ']').map(|(min, max)| KeyRange { min: min.into(), max: max.into() });
    let mut table = descriptor(id.parse().unwrap(), entries, number('x').unwrap_or(64) * MIB);
    if let Some((start, end)) = between('<', '>') {
        table.coverage_start = Cut::Before(start.into());
        table.coverage_end = Cut::After(end.into());
        table.counts.range_tombstones = 1;
    }
    table.counts.tombstones = number('t').unwrap_or(0);
    table.created_at = UnixNanos::new(number('@').unwrap_or(0) * 1_000_000_000);
    (table, busy)
}

/// The plan as text; made twice, and valid.
#[track_caller]
pub(crate) fn plan_text(strategy: &dyn CompactionStrategy, scene: &Scene) -> String {
    let plan = valid_plan(strategy, scene);
    plan.to_string()
}

#[track_caller]
pub(crate) fn valid_plan(strategy: &dyn CompactionStrategy, scene: &Scene) -> Plan {
    let plan = strategy.plan(&scene.view());
    assert_eq!(plan, strategy.plan(&scene.view()), "equal views give equal plans");
    assert_eq!(validate(&plan, &scene.view()), Ok(()), "{plan}");
    plan
}
