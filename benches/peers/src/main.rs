//! `cargo xtask peers`: the same workloads, the same bytes and the same settings for several storage engines.
//!
//! The driver starts itself once per engine and repetition, the engines in turn, so that memory figures are of one
//! engine alone and a disturbance hits all of them. Answers are summed up and compared: a difference ends the run
//! with an error.

mod apart;
mod background;
mod child;
mod columns;
mod data;
mod engine;
mod engines;
mod fill;
mod machine;
mod measure;
mod near_full;
mod plan;
mod report;
mod workload;

use std::{
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use clap::Parser;

use crate::{
    engine::{Codec, Outcome},
    engines::Entry,
    plan::Plan,
    report::Measured,
};

fn main() -> ExitCode {
    let plan = Plan::parse();
    let outcome = match &plan.child {
        Some(name) => measure_here(&plan, name),
        None if plan.values_apart => apart::compare(&plan),
        None if plan.near_full => near_full::compare(&plan),
        None if plan.columns => columns::compare(&plan),
        None => compare(&plan),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("peers: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// The child: one engine, once, in a directory of its own.
fn measure_here(plan: &Plan, name: &str) -> Outcome<()> {
    if let (true, Some(dir)) = (plan.columns, &plan.child_dir) {
        return columns::measure_here(plan, name, dir);
    }
    let engine = engines::all().into_iter().find(|engine| engine.name == name);
    let engine = engine.ok_or_else(|| format!("no engine is called {name} in this build"))?;
    let dir =
        tempfile::Builder::new().prefix("peers-").tempdir_in(plan.child_dir.as_ref().unwrap_or(&plan.dir))?;
    if plan.values_apart {
        return (engine.run_apart)(plan, dir.path());
    }
    if plan.near_full {
        return (engine.run_near_full)(plan, dir.path());
    }
    let measured = (engine.run)(plan, dir.path())?;
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}

/// The parent: all engines in turn, as often as asked for.
fn compare(plan: &Plan) -> Outcome<()> {
    let engines = chosen(plan)?;
    introduce(plan);
    let started = measure::now();
    let mut all = Vec::new();
    for repetition in 0..plan.repeat.max(1) {
        if repetition > 0 && started.elapsed() > Duration::from_secs(60 * plan.minutes) {
            break;
        }
        for engine in &engines {
            all.push(measure_in_child(engine)?);
        }
    }
    if let Some(what) = report::disagreement(&all) {
        return Err(what.into());
    }
    println!("{}\n{}\n{}", report::speed_table(&all), report::cpu_table(&all), report::fact_table(&all));
    if let Some(file) = &plan.json {
        std::fs::write(file, serde_json::to_vec_pretty(&all)?)?;
    }
    println!(
        "peers: {} engines, {} runs, answers equal, seed {}, {:.0} s",
        engines.len(),
        all.len(),
        plan.seed,
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

/// The machine, and what is equal for all engines.
fn introduce(plan: &Plan) {
    let settings = plan.settings();
    println!("{}", machine::describe(&plan.dir));
    println!(
        "{} keys of 16 + {} bytes ({:?} keys), blocks of {} bytes, codec {:?}, cache {} MiB, memtable {} MiB, tables of \
         {} MiB, filters of {} bits per key at all levels, no log, seed {}\n",
        plan.key_count(),
        plan.value_bytes,
        plan.key_shape,
        settings.block_bytes,
        settings.codec,
        settings.cache_bytes >> 20,
        plan.memtable_mib,
        settings.table_bytes >> 20,
        settings.filter_bits,
        plan.seed,
    );
}

/// The engines asked for; all that are built in when none is.
fn named(plan: &Plan) -> Outcome<Vec<Entry>> {
    let all = engines::all();
    let known: Vec<&str> = all.iter().map(|engine| engine.name).collect();
    if let Some(unknown) = plan.engines.iter().find(|wanted| !known.contains(&wanted.as_str())) {
        return Err(
            format!("no engine is called {unknown} in this build; there are: {}", known.join(", ")).into()
        );
    }
    let wanted =
        |engine: &Entry| plan.engines.is_empty() || plan.engines.iter().any(|name| name == engine.name);
    let named: Vec<Entry> = all.into_iter().filter(wanted).collect();
    if named.is_empty() {
        Err("this build holds no engine; see the cargo features".into())
    } else {
        Ok(named)
    }
}

fn chosen(plan: &Plan) -> Outcome<Vec<Entry>> {
    let (chosen, without): (Vec<Entry>, Vec<Entry>) =
        named(plan)?.into_iter().partition(|engine| plan.codec != Codec::Zstd1 || engine.has_zstd);
    for engine in without {
        println!("peers: {} has no Zstandard and is left out", engine.name);
    }
    if chosen.is_empty() { Err("no engine is left".into()) } else { Ok(chosen) }
}

fn measure_in_child(engine: &Entry) -> Outcome<Measured> {
    let output = Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .args(["--child", engine.name])
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("{}: ended with {}", engine.name, output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
