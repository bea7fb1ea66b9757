//! `make demo`: the product in one minute, on real parts. Prints what it does, what it expected
//! and what came; exits non-zero when anything differs.

mod scene;
mod steps;
mod summary;

use gatepass_tests::kit::world::Failed;

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(true) => std::process::ExitCode::SUCCESS,
        Ok(false) => std::process::ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<bool, Failed> {
    let mut options = steps::Options::default();
    for argument in arguments {
        match argument.as_str() {
            "--keep" => options.keep = true,
            // The self-check: with other pinned roots nothing may be allowed, so the demo fails.
            "--foreign-roots" => options.foreign_roots = true,
            unknown => {
                return Err(format!(
                    "unknown argument `{unknown}`; there are --keep and --foreign-roots"
                )
                .into());
            }
        }
    }
    let summary = steps::run(&options)?;
    summary.write()?;
    Ok(summary.is_as_expected())
}
