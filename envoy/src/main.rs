//! `gatepass-envoy`: prints what to paste into an Envoy bootstrap, and finds an Envoy to run.

mod cli;

fn main() -> std::process::ExitCode {
    match cli::run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
