//! `gatepass-envoy`: prints what to paste into an Envoy bootstrap, and finds an Envoy to run.

fn main() -> std::process::ExitCode {
    match gatepass_envoy::cli::run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
