//! Policy authoring: the YAML that operators write, compiled to the engine's [`Bundle`].
//!
//! ```yaml
#![doc = include_str!("../example.yaml")]
//! ```
//!
//! It is one document, or a folder of files: see [`Sources`]. The text is checked here; what it
//! means is checked by the engine's own index, the same that a gate builds, so nothing compiles
//! that a gate would refuse. Every [`Problem`] says where it is.
//!
//! It refuses what this filter cannot hold to: tunnels, inputs and approvals on actions whose
//! body passes unread, fields that it does not know.
#![forbid(unsafe_code)]

use gatepass_engine::bundle::Bundle;
use gatepass_engine::policy::{Node, Program, Rule, Slot};

pub mod cases;
pub mod cedar;
pub mod changes;
mod flaws;
mod held;
mod lower;
pub mod mcp;
mod problem;
mod reader;
mod sources;
mod tree;

pub use held::unheld_scopes;
pub use problem::{Level, Problem, report};
pub use reader::seconds;
pub use sources::{SINGLE, SourceFile, Sources};

use lower::{Document, Lowered, Place, Places};
use reader::Reader;
use sources::Part;

/// A policy that a gate takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    pub bundle: Bundle,
    /// The only environment that it is for, where it says so.
    pub environment: Option<String>,
    /// In the order of the files and their text.
    pub warnings: Vec<Problem>,
    /// Where each action says which scopes it demands, or begins: file, line and column.
    scopes_at: Vec<(String, u64, u64)>,
}

/// Compiles the text of a policy: one YAML document, or a folder's archive.
///
/// # Errors
/// As [`compile_sources`], and what [`Sources::parse`] refuses.
pub fn compile(content: &str) -> Result<Compiled, Vec<Problem>> {
    compile_sources(&Sources::parse(content)?)
}

/// Compiles the files of a policy.
///
/// # Errors
/// All problems that could be found at once, in the order of the files and their text; at most
/// [`MAX_PROBLEMS`]. Warnings are told of what compiles.
pub fn compile_sources(sources: &Sources) -> Result<Compiled, Vec<Problem>> {
    let files = sources.files();
    let mut reader = Reader::new(files.iter().map(|file| file.name.clone()).collect());
    let mut documents = Vec::new();
    let mut cedar_files = Vec::new();
    for (nth, file) in files.iter().enumerate() {
        let is_whole = match sources.part(file) {
            Part::Whole => true,
            Part::Actions => false,
            Part::Cedar => {
                cedar_files.push((file.name.as_str(), file.text.as_str()));
                continue;
            }
            Part::Test | Part::Other => continue,
        };
        if let Some(tree) = reader.document(nth, &file.text) {
            documents.push(Document { file: nth, is_whole, tree });
        }
    }
    // The whole document is first, whatever its name.
    documents.sort_by_key(|document| !document.is_whole);
    let Lowered { mut bundle, places, environment } = lower::policy(&mut reader, &documents);
    let mut problems = reader.take_problems();
    cedar(&cedar_files, &mut bundle, &mut problems);
    budgets_without_rules(&mut reader, &bundle, &places);
    let scopes_at = places.actions.iter().map(|place| scopes_at(&reader, place)).collect();
    flaws::find(&mut reader, bundle.clone(), places);
    problems.extend(reader.take_problems());
    let (mut errors, mut warnings): (Vec<Problem>, Vec<Problem>) =
        problems.into_iter().partition(|problem| problem.level == Level::Error);
    if errors.is_empty() {
        problem::in_order(&mut warnings, files);
        return Ok(Compiled { bundle, environment, warnings, scopes_at });
    }
    problem::in_order(&mut errors, files);
    Err(errors)
}

/// Compiles the Cedar files, with their names, into `bundle.policy`. Actions, hosts, routes and inputs
/// are in the bundle already, as far as they could be read; `problems` has what is wrong with them.
fn cedar(sources: &[(&str, &str)], bundle: &mut Bundle, problems: &mut Vec<Problem>) {
    // Rules are held against the actions, and would be told of for what is wrong with those.
    if sources.is_empty() || problems.iter().any(|problem| problem.level == Level::Error) {
        return;
    }
    let notes = match cedar::compile(sources, bundle) {
        Ok((program, notes)) => {
            match postcard::to_allocvec(&program) {
                Ok(bytes) => bundle.policy = bytes,
                // Without its rules a bundle would permit what they forbid.
                Err(error) => {
                    let message = format!("the rules cannot be written: {error}");
                    problems.push(Problem::error("rules", (1, 1), message, ""));
                }
            }
            notes
        }
        Err(mut notes) => {
            // Without its rules a bundle would permit what they forbid: whatever the notes say, it is none.
            if !notes.iter().any(|note| note.is_error) {
                notes.extend(sources.first().map(|(file, _)| cedar::refused(file)));
            }
            notes
        }
    };
    problems.extend(notes.into_iter().map(|note| {
        let cedar::Note { file, line, column, message, remedy, is_error } = note;
        match is_error {
            true => Problem::error(file, (line, column), message, remedy),
            false => Problem::warning(file, (line, column), message, remedy),
        }
    }));
}

fn scopes_at(reader: &Reader, action: &Place) -> (String, u64, u64) {
    let stated = action.fields.iter().find(|field| field.name == "scopes");
    let at = stated.map_or(action.at, |field| field.at);
    (reader.name(at.file).to_owned(), at.line, at.column)
}

/// Whatever is counted, nothing is bounded by it.
fn budgets_without_rules(reader: &mut Reader, bundle: &Bundle, places: &Places) {
    let program = program(bundle).unwrap_or_default();
    for (nth, (budget, place)) in (0..).zip(bundle.budgets.iter().zip(&places.budgets)) {
        let asks = |node: &Node| *node == Node::Slot(Slot::Budget(nth));
        if !program.nodes.iter().any(asks) {
            let name = &budget.name;
            let remedy = format!("write a rule about `context.budget.{name}`");
            let message = format!("budget `{name}` is counted, and no rule asks for it");
            reader.warn(place.at, message, remedy);
        }
    }
}

/// The rules of a bundle as published; `None` where it has none, or its bytes do not decode.
#[must_use]
pub fn program(bundle: &Bundle) -> Option<Program> {
    postcard::from_bytes(&bundle.policy).ok()
}

/// Its rules, by their number.
#[must_use]
pub fn rules_of(bundle: &Bundle) -> Vec<Rule> {
    program(bundle).map(|program| program.rules).unwrap_or_default()
}

/// The scope and the conditions of each rule, by its number, as Cedar writes them; empty where they cannot be
/// read.
fn conditions(sources: &Sources) -> Vec<String> {
    let is_cedar = |file: &&SourceFile| sources.part(file) == Part::Cedar;
    let files = sources.files().iter().filter(is_cedar);
    let files: Vec<(&str, &str)> =
        files.map(|file| (file.name.as_str(), file.text.as_str())).collect();
    cedar::conditions(&files).unwrap_or_default()
}

/// Bytes of all files.
pub const MAX_BYTES: usize = 8 * 1024 * 1024;
/// Problems told at once, and as many warnings.
pub const MAX_PROBLEMS: usize = 50;

#[cfg(test)]
mod tests;
