//! Cedar: what operators write as `permit` and `forbid`, validated against a schema that is made of the actions,
//! and lowered to the engine's [`Program`].
//!
//! What the program cannot say is refused with its place. What Cedar's own validator refuses, or warns of, is
//! told in its words.

use cedar_policy_core::ast::{
    ActionConstraint, Effect as CedarEffect, EntityUID, PolicySet, Template,
};
use cedar_policy_core::parser::{Loc, parse_policyset};
use gatepass_engine::bundle::Bundle;
use gatepass_engine::ids::is_token;
use gatepass_engine::policy::{
    Applies, BadProgram, Effect, MAX_RULES, Program, Rule, Rules, is_code, is_message,
};
use miette::Diagnostic;

mod advice;
mod builder;
mod format;
mod literal;
mod lower;
mod nesting;
mod schema;
mod validate;

use builder::Builder;
pub use format::formatted;
use lower::{Lowering, Unsupported};
pub use schema::{Schema, schema};

/// Something that is to be said of a file of rules. Lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub file: String,
    pub line: u64,
    pub column: u64,
    pub message: String,
    pub remedy: String,
    pub is_error: bool,
}

/// One rule with where it stands.
struct Written<'s> {
    file: &'s str,
    text: &'s str,
    template: Template,
}

/// Compiles files of rules (name and text) for the actions of a bundle.
///
/// # Errors
/// All that is wrong, in the order of the files; with it what is only warned of.
pub fn compile(
    sources: &[(&str, &str)],
    bundle: &Bundle,
) -> Result<(Program, Vec<Note>), Vec<Note>> {
    on_own_stack(sources, || compile_here(sources, bundle))
}

/// The scope and the conditions of each rule of these files, in the order of their numbers in the program that
/// they compile to. As Cedar writes them: without comments, annotations and the author's spaces.
///
/// # Errors
/// What does not parse.
pub fn conditions(sources: &[(&str, &str)]) -> Result<Vec<String>, Vec<Note>> {
    on_own_stack(sources, || {
        let mut notes = Vec::new();
        let written = parsed(sources, &mut notes);
        if notes.iter().any(|note| note.is_error) {
            return Err(notes);
        }
        Ok(written.iter().map(|one| one.template.condition().to_string()).collect())
    })
}

/// Cedar's tree is walked by recursion: the caller's stack may be small.
fn on_own_stack<T: Send>(
    sources: &[(&str, &str)],
    work: impl FnOnce() -> Result<T, Vec<Note>> + Send,
) -> Result<T, Vec<Note>> {
    let deep: Vec<Note> = sources.iter().filter_map(|(file, text)| too_deep(file, text)).collect();
    if !deep.is_empty() {
        return Err(deep);
    }
    let failed = |what: &str| vec![Note { message: what.to_owned(), ..nowhere("rules") }];
    std::thread::scope(|scope| {
        let own = std::thread::Builder::new().stack_size(nesting::STACK);
        let running = own.spawn_scoped(scope, work);
        let running =
            running.map_err(|error| failed(&format!("no thread to compile on: {error}")))?;
        running.join().unwrap_or_else(|_| Err(failed("compiling failed")))
    })
}

fn parsed<'s>(sources: &[(&'s str, &'s str)], notes: &mut Vec<Note>) -> Vec<Written<'s>> {
    let mut written = Vec::new();
    for (file, text) in sources {
        match parse_policyset(text) {
            Ok(set) => collect(file, text, set, &mut written, notes),
            Err(errors) => notes.extend(errors.iter().map(|error| told(file, text, error, true))),
        }
    }
    written
}

fn compile_here(
    sources: &[(&str, &str)],
    bundle: &Bundle,
) -> Result<(Program, Vec<Note>), Vec<Note>> {
    let mut notes = Vec::new();
    let schema = schema(bundle)?;
    let written = parsed(sources, &mut notes);
    if notes.iter().any(|note| note.is_error) {
        return Err(notes);
    }
    if written.len() > MAX_RULES {
        let message = format!("more than {MAX_RULES} rules");
        return Err(vec![Note { message, ..nowhere("rules") }]);
    }
    let names = named(&written, &mut notes);
    advice::unknown_annotations(&written, &mut notes);
    validate::validate(&written, &schema, &mut notes);
    if notes.iter().any(|note| note.is_error) {
        return Err(notes);
    }
    match lower(&written, names, bundle, &schema, &mut notes) {
        Some(program) if notes.iter().all(|note| !note.is_error) => {
            advice::give(&program, &written, bundle, &mut notes);
            Ok((program, notes))
        }
        Some(_) | None => Err(notes),
    }
}

fn too_deep(file: &str, text: &str) -> Option<Note> {
    let found = nesting::check(text).err()?;
    let (line, column) = position(text, found.at);
    Some(Note {
        line,
        column,
        message: format!("{} are nested too deep", found.what),
        remedy: "write several rules".to_owned(),
        ..nowhere(file)
    })
}

fn collect<'s>(
    file: &'s str,
    text: &'s str,
    set: PolicySet,
    written: &mut Vec<Written<'s>>,
    notes: &mut Vec<Note>,
) {
    let mut all: Vec<Template> = set.all_templates().cloned().collect();
    all.sort_by_key(|template| template.loc().map(Loc::start));
    for template in all {
        if template.slots().next().is_some() {
            notes.push(Note {
                remedy: "name the principal and the resource".to_owned(),
                ..note(file, text, template.loc(), "a template has no meaning here")
            });
        }
        written.push(Written { file, text, template });
    }
}

/// The id of each: `@id`, or its place.
fn named(written: &[Written<'_>], notes: &mut Vec<Note>) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(written.len());
    let mut seen = std::collections::HashSet::new();
    for one in written {
        let own = annotation(&one.template, "id");
        let name = own.map_or_else(
            || format!("{}:{}", one.file, place(one.text, one.template.loc()).0),
            str::to_owned,
        );
        let wrong = |message: String, remedy: &str| Note {
            remedy: remedy.to_owned(),
            ..note(one.file, one.text, one.template.loc(), &message)
        };
        if !is_token(&name) {
            let remedy = "1 to 128 visible ASCII characters, none of them `\"`, `\\` or `,`";
            notes.push(wrong(format!("`@id(\"{name}\")` is no id"), remedy));
        }
        if !seen.insert(name.clone()) {
            notes.push(wrong(format!("a second rule with the id `{name}`"), "give it another"));
        }
        names.push(name);
    }
    names
}

fn lower(
    written: &[Written<'_>],
    names: Vec<String>,
    bundle: &Bundle,
    schema: &Schema,
    notes: &mut Vec<Note>,
) -> Option<Program> {
    let mut builder = Builder::new(schema);
    let mut applies = vec![Applies::default(); bundle.actions.len()];
    for (id, one) in names.into_iter().zip(written) {
        let template = &one.template;
        let lowered = Lowering { builder: &mut builder, schema }.rule(template);
        let condition = match lowered {
            Ok(condition) => condition,
            Err(Unsupported { at, what }) => {
                let remedy = "this gate cannot decide it: write it in another way".to_owned();
                let at = at.as_ref().or(template.loc());
                notes.push(Note { remedy, ..note(one.file, one.text, at, &what) });
                continue;
            }
        };
        let effect = match template.effect() {
            CedarEffect::Permit => Effect::Permit,
            CedarEffect::Forbid => Effect::Forbid,
        };
        let shadow = match annotation(template, "mode") {
            None | Some("enforce") => false,
            Some("shadow") => true,
            Some(other) => {
                let message = format!("`@mode(\"{other}\")` is neither `enforce` nor `shadow`");
                notes.push(note(one.file, one.text, template.loc(), &message));
                false
            }
        };
        let code = annotation(template, "code");
        if code.is_some_and(|code| !is_code(code)) {
            let message = "`@code` is not 1 to 64 of `a-z`, `0-9` and `_`";
            notes.push(note(one.file, one.text, template.loc(), message));
        }
        let message = annotation(template, "message");
        if message.is_some_and(|text| !is_message(text)) {
            let message = "`@message` is not one line of 1 to 256 bytes";
            notes.push(note(one.file, one.text, template.loc(), message));
        }
        let number = builder.rule(Rule {
            id,
            effect,
            shadow,
            code: code.map(str::to_owned),
            message: message.map(str::to_owned),
            condition,
        });
        for (action, applies) in bundle.actions.iter().zip(&mut applies) {
            if may_apply(template, &action.name, schema) {
                applies.rules.push(number);
            }
        }
    }
    let program = builder.finish(applies);
    match Rules::check(program.clone(), bundle.actions.len()) {
        Ok(_) => Some(program),
        Err(error) => {
            let of_rule = match &error {
                BadProgram::TooDeep(id) | BadProgram::TooLong(id) => {
                    program.rules.iter().position(|rule| rule.id == *id)
                }
                _ => None,
            };
            let message = error.to_string();
            notes.push(match of_rule.and_then(|place| written.get(place)) {
                Some(one) => Note {
                    remedy: "write several rules".to_owned(),
                    ..note(one.file, one.text, one.template.loc(), &message)
                },
                None => Note { message, ..nowhere("rules") },
            });
            None
        }
    }
}

/// Whether the scope lets a rule apply to an action at all.
fn may_apply(template: &Template, action: &str, schema: &Schema) -> bool {
    let is = |euid: &EntityUID| {
        let name: &str = euid.eid().as_ref();
        name == action || schema.is_in(action, name)
    };
    let fits = match template.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(euid) => {
            let name: &str = euid.eid().as_ref();
            name == action
        }
        ActionConstraint::In(euids) => euids.iter().any(|euid| is(euid)),
        #[expect(unreachable_patterns, reason = "features of other users of Cedar add variants")]
        _ => true,
    };
    fits && lower::scope_fits(template)
}

fn annotation<'t>(template: &'t Template, name: &str) -> Option<&'t str> {
    let mut all = template.annotations();
    all.find(|(key, _)| AsRef::<str>::as_ref(*key) == name).map(|(_, value)| value.val.as_str())
}

fn told(file: &str, text: &str, error: &dyn Diagnostic, is_error: bool) -> Note {
    let label = error.labels().and_then(|mut labels| labels.next());
    let (line, column) = label.map_or((1, 1), |label| position(text, label.offset()));
    Note {
        file: file.to_owned(),
        line,
        column,
        message: plain(&error.to_string()),
        remedy: error.help().map(|help| help.to_string()).unwrap_or_default(),
        is_error,
    }
}

/// Without the number under which a rule is known to the validator.
fn plain(message: &str) -> String {
    match message.strip_prefix("for policy `").and_then(|rest| rest.split_once("`, ")) {
        Some((_, rest)) => rest.to_owned(),
        None => message.to_owned(),
    }
}

fn note(file: &str, text: &str, at: Option<&Loc>, message: &str) -> Note {
    let (line, column) = place(text, at);
    Note { line, column, message: message.to_owned(), ..nowhere(file) }
}

fn nowhere(file: &str) -> Note {
    Note {
        file: file.to_owned(),
        line: 1,
        column: 1,
        message: String::new(),
        remedy: String::new(),
        is_error: true,
    }
}

/// That a file's rules are none, for a reason that nobody told.
pub(crate) fn refused(file: &str) -> Note {
    Note { message: "the rules do not compile".to_owned(), ..nowhere(file) }
}

fn place(text: &str, at: Option<&Loc>) -> (u64, u64) {
    at.map_or((1, 1), |at| position(text, at.start()))
}

/// Line and column of a byte.
fn position(text: &str, offset: usize) -> (u64, u64) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.bytes().filter(|byte| *byte == b'\n').count();
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
    (line as u64 + 1, column as u64 + 1)
}

#[cfg(test)]
mod tests;
