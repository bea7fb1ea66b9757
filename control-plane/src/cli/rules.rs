//! `gatepass policy fmt` and `gatepass policy schema`: what Cedar's own tools would be asked for.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use gatepass_policy::cedar::{self, formatted};
use gatepass_policy::{Sources, compile_sources, report};

use super::Outcome;

/// Lays out each `*.cedar` file of a folder, or says which ones are not.
pub(super) fn lay_out(folder: &Path, check: bool, out: &mut impl Write) -> Outcome {
    let sources = match Sources::read(folder) {
        Ok(sources) => sources,
        Err(problems) => {
            eprint!("{}", report(&problems));
            return Ok(ExitCode::FAILURE);
        }
    };
    let mut changes = Vec::new();
    let mut is_whole = true;
    for file in sources.files().iter().filter(|file| file.name.ends_with(".cedar")) {
        match formatted(&file.name, &file.text) {
            Ok(text) if text.trim_end() == file.text.trim_end() => {}
            Ok(text) => changes.push((folder.join(&file.name), text)),
            Err(note) => {
                let place = folder.join(&file.name);
                eprintln!(
                    "{}:{}:{}: error: {}",
                    place.display(),
                    note.line,
                    note.column,
                    note.message
                );
                is_whole = false;
            }
        }
    }
    if !is_whole {
        eprintln!("error: nothing is changed; `gatepass policy check` says more");
        return Ok(ExitCode::FAILURE);
    }
    for (path, text) in &changes {
        if !check {
            std::fs::write(path, text).map_err(|error| format!("`{}`: {error}", path.display()))?;
        }
        writeln!(out, "{}", path.display())?;
    }
    match check && !changes.is_empty() {
        true => {
            let folder = folder.display();
            eprintln!(
                "error: {} to be laid out anew: run `gatepass policy fmt {folder}`",
                changes.len()
            );
            Ok(ExitCode::FAILURE)
        }
        false => Ok(ExitCode::SUCCESS),
    }
}

/// The schema that the rules of a policy are validated against.
pub(super) fn schema(policy: &Path, out: &mut impl Write) -> Outcome {
    // Rules are left out: whoever writes them needs it before they are right.
    let read = Sources::read(policy).and_then(|sources| compile_sources(&sources.without_rules()));
    let compiled = match read {
        Ok(compiled) => compiled,
        Err(problems) => {
            eprint!("{}", report(&problems));
            return Ok(ExitCode::FAILURE);
        }
    };
    match schema_of(&compiled.bundle) {
        Ok(text) => {
            out.write_all(text.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Err(problems) => {
            problems.iter().for_each(|problem| eprintln!("error: {problem}"));
            Ok(ExitCode::FAILURE)
        }
    }
}

fn schema_of(bundle: &gatepass_engine::bundle::Bundle) -> Result<String, Vec<String>> {
    cedar::schema(bundle)
        .map(|schema| schema.text)
        .map_err(|notes| notes.into_iter().map(|note| note.message).collect())
}
