//! `gatepass policy test`: the tests of a policy folder, run and told of.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use gatepass::rehearsal::{Decided, Ran, Report, junit, rehearse};
use gatepass_policy::cases::{self, Case};
use gatepass_policy::{Compiled, Problem, SourceFile, Sources, report};

use super::Outcome;
use super::policy::{Checked, checked, shown};

/// Compiles a folder and runs its tests; failure where one fails, or there are none.
pub(super) fn test(
    path: &Path,
    verbose: bool,
    junit: Option<&PathBuf>,
    out: &mut impl Write,
) -> Outcome {
    let Some(Checked { compiled, .. }) = checked(path, false) else {
        return Ok(ExitCode::FAILURE);
    };
    let Some(cases) = read(path, &compiled) else { return Ok(ExitCode::FAILURE) };
    if cases.is_empty() {
        return Err(format!("`{}` has no tests: write `tests/*.yaml`", path.display()).into());
    }
    let report = rehearse(&compiled, &cases)?;
    if let Some(file) = junit {
        std::fs::write(file, junit::xml(&report))
            .map_err(|error| format!("`{}`: {error}", file.display()))?;
    }
    if verbose {
        for Ran { name, file, line, fate, .. } in &report.results {
            writeln!(out, "{}:{line}: {name}\n    {fate}", shown(path, file))?;
        }
    }
    tell(path, &report, out)?;
    coverage(&report, out)?;
    Ok(if report.failures() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether the tests of a folder that is to be published let it; one without tests may be. What
/// fails is told on the standard error.
pub(super) fn passes(path: &Path, compiled: &Compiled) -> Outcome<bool> {
    let Some(cases) = read(path, compiled) else { return Ok(false) };
    if cases.is_empty() {
        return Ok(true);
    }
    let report = rehearse(compiled, &cases)?;
    tell(path, &report, &mut std::io::stderr().lock())?;
    Ok(report.failures() == 0)
}

/// The requests of a folder's tests, or of a file of tests. `None` where there are none, or they have problems,
/// which have been printed.
pub(super) fn given(path: &Path) -> Option<Vec<Case>> {
    let files = if path.is_dir() {
        Sources::read_tests(path)
    } else {
        let text = std::fs::read_to_string(path);
        let name = path.display().to_string();
        let failed = |error: std::io::Error| {
            vec![Problem::error(name.clone(), (1, 1), error.to_string(), "")]
        };
        text.map_err(failed).map(|text| vec![SourceFile { name: name.clone(), text }])
    };
    match files.and_then(|files| cases::read(&files)) {
        Ok(cases) => Some(cases).filter(|cases| !cases.is_empty()),
        Err(problems) => {
            eprint!("{}", report(&problems));
            None
        }
    }
}

/// `None` where they have problems, which have been printed.
fn read(path: &Path, compiled: &Compiled) -> Option<Vec<Case>> {
    let read = Sources::read_tests(path).and_then(|files| {
        let cases = cases::read(&files)?;
        cases::check_rules(&cases, &files, compiled)?;
        Ok(cases)
    });
    match read {
        Ok(cases) => Some(cases),
        Err(mut problems) => {
            for problem in &mut problems {
                problem.file = shown(path, &problem.file);
            }
            eprint!("{}", report(&problems));
            None
        }
    }
}

fn tell(path: &Path, report: &Report, out: &mut impl Write) -> Outcome<()> {
    for ran in &report.results {
        let Some(failure) = &ran.failure else { continue };
        writeln!(out, "{}:{}: FAILED: {}", shown(path, &ran.file), ran.line, ran.name)?;
        writeln!(out, "    expected  {}", failure.expected)?;
        writeln!(out, "    came      {}", failure.came)?;
        if let Some(check) = failure.check {
            writeln!(out, "    denied by {check}")?;
        }
        let Decided { rules, shadow_rules } = &failure.decided;
        for (what, ids) in [("rules", rules), ("shadow rules", shadow_rules)] {
            if !ids.is_empty() {
                writeln!(out, "    {what}: {}", ids.join(", "))?;
            }
        }
    }
    let (all, failed) = (report.results.len(), report.failures());
    let plural = if all == 1 { "" } else { "s" };
    writeln!(out, "{all} test{plural}: {} passed, {failed} failed", all.saturating_sub(failed))?;
    Ok(())
}

fn coverage(report: &Report, out: &mut impl Write) -> Outcome<()> {
    for (what, all, missed) in [
        ("actions", report.actions, &report.missed_actions),
        ("routes", report.routes, &report.missed_routes),
    ] {
        writeln!(out, "{what}: {} of {all} tested", all.saturating_sub(missed.len()))?;
        for name in missed {
            writeln!(out, "    not tested: {name}")?;
        }
    }
    // Most policies have none.
    if report.rules > 0 {
        let had = report.rules.saturating_sub(report.missed_rules.len());
        writeln!(out, "rules: {had} of {} had a part in a test", report.rules)?;
        for id in &report.missed_rules {
            writeln!(out, "    had no part: {id}")?;
        }
    }
    Ok(())
}
