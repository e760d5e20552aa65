//! Tasks of the project: `cargo xtask NAME`.

fn main() -> std::process::ExitCode {
    eprintln!("no such task");
    std::process::ExitCode::from(2)
}
