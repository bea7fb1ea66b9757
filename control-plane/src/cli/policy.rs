//! `gatepass policy check` and what publishing begins with: a policy read from a file or a folder,
//! compiled, and all that is wrong with it told as a compiler does.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use gatepass_engine::bundle::{ActionMode, Bundle, RouteTarget, Treatment};
use gatepass_policy::{Compiled, Level, Problem, SINGLE, Sources, report};

use super::Outcome;

/// A policy without errors.
pub(super) struct Checked {
    pub(super) sources: Sources,
    pub(super) compiled: Compiled,
}

/// Reads and compiles a file or a folder. `None` when it has errors, which have been printed;
/// warnings are printed too, and are errors if `strict`.
pub(super) fn checked(path: &Path, strict: bool) -> Option<Checked> {
    let read = Sources::read(path)
        .and_then(|sources| Ok((gatepass_policy::compile_sources(&sources)?, sources)));
    let (mut found, checked) = match read {
        Ok((compiled, sources)) => (compiled.warnings.clone(), Some(Checked { sources, compiled })),
        Err(problems) => (problems, None),
    };
    for problem in &mut found {
        problem.file = shown(path, &problem.file);
        if strict {
            problem.level = Level::Error;
        }
    }
    eprint!("{}", report(&found));
    let is_error = |problem: &&Problem| problem.level == Level::Error;
    let errors = found.iter().filter(is_error).count();
    if errors == 0 {
        return checked;
    }
    let plural = if errors == 1 { "" } else { "s" };
    eprintln!("error: {errors} problem{plural} in `{}`", path.display());
    None
}

/// The path of one of its files; in an archive, below the archive's.
pub(super) fn shown(path: &Path, file: &str) -> String {
    let file = if file == SINGLE { path.to_owned() } else { path.join(file) };
    file.display().to_string()
}

pub(super) fn check(path: &Path, strict: bool, out: &mut impl Write) -> Outcome {
    let Some(checked) = checked(path, strict) else { return Ok(ExitCode::FAILURE) };
    told(path, &checked, out)
}

/// What a policy without errors has, and leaves open.
pub(super) fn told(path: &Path, checked: &Checked, out: &mut impl Write) -> Outcome {
    let bundle = &checked.compiled.bundle;
    let (actions, hosts) = (bundle.actions.len(), bundle.hosts.len());
    writeln!(out, "{}: {actions} actions, {hosts} hosts", path.display())?;
    openness(bundle, out)?;
    Ok(ExitCode::SUCCESS)
}

/// The only openness there is, so it is listed whole.
fn openness(bundle: &Bundle, out: &mut impl Write) -> Outcome<()> {
    for host in &bundle.hosts {
        let names = host.names.join(", ");
        match &host.treatment {
            Treatment::PassedThrough => writeln!(out, "passed through: {names}")?,
            Treatment::Guarded(routes) => {
                for route in routes.iter().filter(|route| route.target == RouteTarget::Public) {
                    let methods = route.methods.join(",");
                    writeln!(out, "public: {methods} {} on {names}", route.path)?;
                }
            }
        }
    }
    for action in bundle.actions.iter().filter(|action| action.mode == ActionMode::Shadow) {
        writeln!(out, "shadow: {}", action.name)?;
    }
    Ok(())
}
