//! The files that a policy is written in, and the one text that they are stored and shown as.
//!
//! A policy is one YAML document, or a folder: `gatepass.yaml`, `actions/*.yaml` and `*.cedar`. As one
//! text a folder is a txtar archive, as Go's tools have it: a line `-- name --` before the text of
//! each file. Its `tests/` are no part of the policy.
//!
//! It refuses a file with a line that such an archive would take for the next file's name.

use crate::MAX_BYTES;
use crate::problem::{Problem, in_order};

mod folder;

/// The files of a policy, sorted by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    form: Form,
    files: Vec<SourceFile>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Below the folder, with `/` between its parts.
    pub name: String,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// One YAML document.
    Single,
    Folder,
}

/// What a file is for, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// `gatepass.yaml`, or the one document.
    Whole,
    /// `actions/*.yaml`.
    Actions,
    /// `*.cedar`.
    Cedar,
    /// In `tests/`.
    Test,
    Other,
}

impl Sources {
    /// One YAML document.
    #[must_use]
    pub fn single(yaml: &str) -> Self {
        let file = SourceFile { name: SINGLE.to_owned(), text: yaml.to_owned() };
        Self { form: Form::Single, files: vec![file] }
    }

    /// The files of a folder, in any order. Each gets an end of its last line.
    ///
    /// # Errors
    /// All that is wrong with their names, number and size; what they say is not looked at.
    pub fn folder(mut files: Vec<SourceFile>) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        if files.len() > MAX_FILES {
            problems.push(many(MAX_FILES));
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let mut earlier: Option<&str> = None;
        let mut bytes = 0_usize;
        for file in &mut files {
            if !file.text.is_empty() && !file.text.ends_with('\n') {
                file.text.push('\n');
            }
            bytes = bytes.saturating_add(file.name.len() + FRAME.len() + file.text.len());
        }
        for file in &files {
            problems.extend(file.problems());
            if earlier == Some(&file.name) {
                problems.push(Problem::error(&file.name, START, "the file is there twice", ""));
            }
            earlier = Some(&file.name);
        }
        if bytes > MAX_BYTES {
            problems.push(large());
        }
        if !files.iter().any(|file| part(&file.name) == Part::Whole) {
            problems.push(Problem::error(
                WHOLE,
                START,
                "the folder has no `gatepass.yaml`",
                "write it, with the `hosts` that the gate knows",
            ));
        }
        if problems.is_empty() {
            return Ok(Self { form: Form::Folder, files });
        }
        in_order(&mut problems, &files);
        Err(problems)
    }

    /// Reads the text that [`Sources::to_text`] writes: an archive where its first line is a file's
    /// name, else one YAML document.
    ///
    /// # Errors
    /// As [`Sources::folder`].
    pub fn parse(content: &str) -> Result<Self, Vec<Problem>> {
        if content.len() > MAX_BYTES {
            return Err(vec![large()]);
        }
        if content.lines().next().and_then(header).is_none() {
            let single = Self::single(content);
            let mut problems: Vec<Problem> =
                hidden(content).map(|(at, c)| hidden_problem(SINGLE, at, c)).collect();
            in_order(&mut problems, &single.files);
            return if problems.is_empty() { Ok(single) } else { Err(problems) };
        }
        let mut files: Vec<SourceFile> = Vec::new();
        for line in content.split_inclusive('\n') {
            match (header(line), files.last_mut()) {
                (Some(name), _) => {
                    files.push(SourceFile { name: name.to_owned(), text: String::new() });
                }
                (None, Some(file)) => file.text.push_str(line),
                (None, None) => {}
            }
        }
        Self::folder(files)
    }

    /// The document as it is, or the archive.
    #[must_use]
    pub fn to_text(&self) -> String {
        match (self.form, self.files.as_slice()) {
            (Form::Single, [only]) => only.text.clone(),
            (_, files) => {
                files.iter().map(|file| format!("-- {} --\n{}", file.name, file.text)).collect()
            }
        }
    }

    /// Sorted by name.
    #[must_use]
    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// The same without its Cedar files.
    #[must_use]
    pub fn without_rules(&self) -> Self {
        let files = self.files.iter().filter(|file| self.part(file) != Part::Cedar);
        Self { form: self.form, files: files.cloned().collect() }
    }

    pub(crate) fn part(&self, file: &SourceFile) -> Part {
        match self.form {
            Form::Single => Part::Whole,
            Form::Folder => part(&file.name),
        }
    }
}

impl SourceFile {
    fn problems(&self) -> Vec<Problem> {
        let name = &self.name;
        let mut problems = Vec::new();
        if !is_name(name) {
            problems.push(Problem::error(
                name.escape_debug().to_string(),
                START,
                format!("the name of a file must be letters, digits, `_`, `-`, `.` and `/`, at most {MAX_NAME} of them"),
                "rename it",
            ));
        } else if matches!(part(name), Part::Test | Part::Other) {
            problems.push(Problem::error(name, START, "this file is no part of a policy", PARTS));
        }
        problems.extend(hidden(&self.text).map(|(at, c)| hidden_problem(name, at, c)));
        let lines = (1..).zip(self.text.lines());
        problems.extend(lines.filter(|(_, line)| header(line).is_some()).map(|(line, _)| {
            Problem::error(
                name,
                (line, 1),
                "this line is how an archive of the folder begins a file",
                "write it in another way: with an indent, or without the `--`",
            )
        }));
        problems
    }
}

fn hidden_problem(file: &str, at: (u64, u64), c: char) -> Problem {
    let number = u32::from(c);
    let message = format!("the character U+{number:04X} is not shown, or not as what it is");
    Problem::error(file, at, message, "remove it, or write it as an escape")
}

/// The first character that lets a text be read otherwise than it is shown: one that controls, but for a tab and
/// the end of a line, or one that turns the direction of what follows (Unicode's bidirectional controls). Whoever
/// approves a policy must see what it says.
fn hidden(text: &str) -> impl Iterator<Item = ((u64, u64), char)> {
    let mut at = (1, 1);
    let mut characters = text.chars().peekable();
    core::iter::from_fn(move || {
        while let Some(c) = characters.next() {
            let here = at;
            at = if c == '\n' { (at.0 + 1, 1) } else { (at.0, at.1 + 1) };
            let ends_line = c == '\r' && characters.peek() == Some(&'\n');
            let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}');
            if turns || (c.is_control() && !matches!(c, '\n' | '\t') && !ends_line) {
                return Some((here, c));
            }
        }
        None
    })
    .take(1)
}

/// What follows from a file's name.
pub(crate) fn part(name: &str) -> Part {
    let inside = |folder: &str| name.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
    if name == WHOLE {
        Part::Whole
    } else if let Some(rest) = inside("actions")
        && rest.ends_with(".yaml")
        && !rest.contains('/')
    {
        Part::Actions
    } else if inside("tests").is_some() {
        Part::Test
    } else if name.ends_with(".cedar") {
        Part::Cedar
    } else {
        Part::Other
    }
}

/// The name in a line that begins a file: `-- name --`. Blanks at its end are not seen by people.
fn header(line: &str) -> Option<&str> {
    line.trim_end().strip_prefix("-- ")?.strip_suffix(" --")
}

/// None of its parts is hidden, or leads out of the folder.
fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'/' | b'-'))
        && name.split('/').all(|part| !part.is_empty() && !part.starts_with('.'))
}

fn large() -> Problem {
    let message = format!("the policy is over {MAX_BYTES} bytes");
    Problem::error(SINGLE, START, message, "split it by environment")
}

fn many(most: usize) -> Problem {
    let message = format!("the folder has more than {most} files");
    Problem::error(WHOLE, START, message, "split it by environment")
}

/// What one document is called.
pub const SINGLE: &str = "policy.yaml";
const WHOLE: &str = "gatepass.yaml";
const PARTS: &str =
    "a policy has `gatepass.yaml`, `actions/*.yaml` and `*.cedar`, and tests in `tests/*.yaml`";
/// Around a name in an archive.
const FRAME: &str = "--  --\n";
const START: (u64, u64) = (1, 1);
const MAX_FILES: usize = 1_000;
/// Bytes of a file's name below the folder.
const MAX_NAME: usize = 200;
