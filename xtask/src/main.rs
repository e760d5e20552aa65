//! Tasks of the project: `cargo xtask NAME`. One file per task; this one only finds it.

mod bench;
mod ci;
mod fuzz;
mod golden;
mod map;
mod mutants;
mod peers;
mod readme;
mod repo;
mod simulate;
mod tidy;
mod torture;
mod trace;
mod trouble;
mod watch;

use std::process::ExitCode;

use repo::Repo;
use trouble::Trouble;

/// One task: its name, what it does, and the code.
struct Task {
    name: &'static str,
    help: &'static str,
    run: fn(&Repo, &[String]) -> Result<(), Trouble>,
}

const TASKS: &[Task] = &[
    Task { name: "ci", help: "every gate, in order; stops at the first failure", run: ci::run },
    Task { name: "map", help: "crate floors, allowed edges, owners of outside crates", run: map::run },
    Task { name: "tidy", help: "file heads, dead links, machine paths, long files", run: tidy::run },
    Task {
        name: "trace",
        help: "[--update]  requirements against the tests that claim them",
        run: trace::run,
    },
    Task { name: "readme", help: "runs the commands of README.md marked `sh run`", run: readme::run },
    Task {
        name: "fuzz",
        help: "[--minutes N | --runs N] [--seed S] [--libfuzzer] [TARGET..]  seeded mutation of decoder input",
        run: fuzz::run,
    },
    Task {
        name: "torture",
        help: "NAME [ARGS..]  long runs that try to prove the engine wrong; without a name, their names",
        run: torture::run,
    },
    Task {
        name: "mutants",
        help: "[--seconds S] [NAME..]  faults put into the engine, and whether the judge of reads finds them",
        run: mutants::run,
    },
    Task {
        name: "simulate",
        help: "[agree | --gib N --table-mib N ..]  strategies at sizes that no machine holds: a table, and plots",
        run: simulate::run,
    },
    Task { name: "golden", help: "rewrites the golden files of the formats", run: golden::run },
    Task { name: "bench", help: "[NAME]  the criterion suites", run: bench::run },
    Task { name: "peers", help: "[ARGS..]  measures against other engines", run: peers::run },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        usage();
        return ExitCode::from(2);
    };
    let Some(task) = TASKS.iter().find(|task| task.name == name) else {
        eprintln!("no task `{name}`");
        usage();
        return ExitCode::from(2);
    };
    match Repo::find().and_then(|repo| (task.run)(&repo, rest)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("{name}: {trouble}");
            ExitCode::FAILURE
        }
    }
}

fn usage() {
    eprintln!("cargo xtask TASK");
    for task in TASKS {
        eprintln!("  {:8} {}", task.name, task.help);
    }
}
