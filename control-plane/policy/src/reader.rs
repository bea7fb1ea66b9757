//! Reads fields out of the tree and collects what is wrong with them. A field that cannot be read
//! is told of and left out; reading goes on.

use serde_saphyr::Location;

use crate::problem::Problem;
use crate::tree::{self, Malformed, Node, Tree};

/// A place in one of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    /// Its index in the reader's list.
    pub(crate) file: usize,
    pub(crate) line: u64,
    pub(crate) column: u64,
}

/// Collects problems.
#[derive(Default)]
pub(crate) struct Reader {
    names: Vec<String>,
    /// The file that is read.
    file: usize,
    /// Not every file could be read, so a name that is not found may be in such a one.
    pub(crate) is_partial: bool,
    problems: Vec<Problem>,
}

/// The known fields of one mapping.
pub(crate) struct Fields<'t> {
    at: Location,
    file: usize,
    found: Vec<(&'t str, Location, &'t Tree)>,
}

impl At {
    pub(crate) fn new(file: usize, at: Location) -> Self {
        Self { file, line: at.line(), column: at.column() }
    }
}

impl<'t> Fields<'t> {
    pub(crate) const fn at(&self) -> Location {
        self.at
    }

    /// The file that they are in.
    pub(crate) const fn file(&self) -> usize {
        self.file
    }

    pub(crate) fn find(&self, name: &str) -> Option<&'t Tree> {
        let mut found = self.found.iter();
        found.find(|(known, ..)| *known == name).map(|(.., value)| *value)
    }

    /// Name, place of the name, and value, in the order of the text.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(&'t str, Location, &'t Tree)> {
        self.found.iter()
    }
}

impl Reader {
    /// Of files with these names.
    pub(crate) fn new(names: Vec<String>) -> Self {
        Self { names, ..Self::default() }
    }

    /// Goes on in this file.
    pub(crate) const fn enter(&mut self, file: usize) {
        self.file = file;
    }

    /// A place in the file that is read.
    pub(crate) fn here(&self, at: Location) -> At {
        At::new(self.file, at)
    }

    pub(crate) fn name(&self, file: usize) -> &str {
        self.names.get(file).map_or("", String::as_str)
    }

    pub(crate) fn take_problems(&mut self) -> Vec<Problem> {
        core::mem::take(&mut self.problems)
    }

    pub(crate) fn tell(
        &mut self,
        at: Location,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.tell_at(self.here(at), message, remedy);
    }

    pub(crate) fn tell_at(
        &mut self,
        at: At,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let file = self.name(at.file).to_owned();
        self.problems.push(Problem::error(file, (at.line, at.column), message, remedy));
    }

    pub(crate) fn warn(&mut self, at: At, message: impl Into<String>, remedy: impl Into<String>) {
        let file = self.name(at.file).to_owned();
        self.problems.push(Problem::warning(file, (at.line, at.column), message, remedy));
    }

    /// The document in a file; `None` when it is no YAML.
    pub(crate) fn document(&mut self, file: usize, yaml: &str) -> Option<Tree> {
        self.enter(file);
        match tree::parse(yaml) {
            Ok(tree) => Some(tree),
            Err(Malformed { at, message, remedy }) => {
                self.is_partial = true;
                let file = self.name(file).to_owned();
                self.problems.push(Problem::error(file, at, message, remedy));
                None
            }
        }
    }

    /// A mapping whose keys are all in `accepted`; `None` when it is something else.
    pub(crate) fn fields<'t>(
        &mut self,
        tree: &'t Tree,
        what: &str,
        accepted: &[&str],
    ) -> Option<Fields<'t>> {
        let mut fields = self.entries(tree, what)?;
        fields.found.retain(|(name, at, _)| {
            let known = accepted.contains(name);
            if !known {
                let remedy = format!("{what} takes {}", quoted(accepted));
                self.tell(*at, format!("unknown field `{name}`"), remedy);
            }
            known
        });
        Some(fields)
    }

    /// A mapping with names of the user's own; `None` when it is something else.
    pub(crate) fn entries<'t>(&mut self, tree: &'t Tree, what: &str) -> Option<Fields<'t>> {
        let mut fields = Fields { at: tree.referenced, file: self.file, found: Vec::new() };
        let Node::Map(entries) = &tree.value else {
            self.expected(tree, &format!("the fields of {what}"));
            return None;
        };
        for (key, value) in entries {
            let Node::Text(name) = &key.value else {
                let found = key.value.kind();
                self.tell(
                    key.referenced,
                    format!("expected a name, found {found}"),
                    "put it in quotes",
                );
                continue;
            };
            if fields.find(name).is_some() {
                self.tell(key.referenced, format!("`{name}` is there twice"), "keep one of them");
                continue;
            }
            fields.found.push((name, key.referenced, value));
        }
        Some(fields)
    }

    /// The field that must be there.
    pub(crate) fn needed<'t>(
        &mut self,
        fields: &Fields<'t>,
        name: &str,
        what: &str,
        remedy: &str,
    ) -> Option<&'t Tree> {
        let found = fields.find(name);
        if found.is_none() {
            self.tell(fields.at, format!("{what} needs `{name}`"), remedy);
        }
        found
    }

    pub(crate) fn text<'t>(&mut self, tree: &'t Tree, what: &str) -> Option<&'t str> {
        match &tree.value {
            Node::Text(text) => Some(text),
            Node::Number(_) | Node::Boolean(_) => {
                let found = tree.value.kind();
                self.tell(
                    tree.referenced,
                    format!("expected {what}, found {found}"),
                    "put it in quotes",
                );
                None
            }
            Node::Nothing | Node::List(_) | Node::Map(_) => {
                self.expected(tree, what);
                None
            }
        }
    }

    pub(crate) fn boolean(&mut self, tree: &Tree) -> Option<bool> {
        if let Node::Boolean(value) = tree.value {
            return Some(value);
        }
        self.expected(tree, "`true` or `false`");
        None
    }

    pub(crate) fn list<'t>(&mut self, tree: &'t Tree, what: &str) -> &'t [Tree] {
        if let Node::List(items) = &tree.value {
            return items;
        }
        self.expected(tree, &format!("a list of {what}"));
        &[]
    }

    pub(crate) fn texts(&mut self, tree: &Tree, what: &str) -> Vec<String> {
        let items = self.list(tree, what).iter();
        items.filter_map(|item| self.text(item, what).map(str::to_owned)).collect()
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy>(&mut self, tree: &Tree, choices: &[(&str, T)]) -> Option<T> {
        if let Node::Text(text) = &tree.value
            && let Some((_, value)) = choices.iter().find(|(name, _)| name == text)
        {
            return Some(*value);
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        self.expected(tree, &quoted(&names));
        None
    }

    /// `30s`, `5m`, `1h`, in seconds.
    pub(crate) fn duration(&mut self, tree: &Tree) -> Option<u32> {
        if let Node::Text(text) = &tree.value
            && let Some(seconds) = seconds(text)
        {
            return Some(seconds);
        }
        self.expected(tree, "a duration such as `30s`, `5m` or `1h`");
        None
    }

    /// `512B`, `64KiB`, `1MiB`, in bytes.
    pub(crate) fn size(&mut self, tree: &Tree) -> Option<u32> {
        if let Node::Text(text) = &tree.value
            && let Some(bytes) = bytes(text)
        {
            return Some(bytes);
        }
        self.expected(tree, "a size such as `64KiB` or `1MiB`");
        None
    }

    pub(crate) fn expected(&mut self, tree: &Tree, what: &str) {
        let found = tree.value.kind();
        self.tell(tree.referenced, format!("expected {what}, found {found}"), "");
    }
}

/// Reads a duration as policies write it: `30s`, `5m`, `1h`, `1d`.
#[must_use]
pub fn seconds(text: &str) -> Option<u32> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit: u32 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return None,
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u32>().ok()?.checked_mul(unit)
}

/// Reads a size as policies write it: `512B`, `64KiB`, `1MiB`.
fn bytes(text: &str) -> Option<u32> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at_checked(at)?;
    let unit: u32 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        _ => return None,
    };
    digits.parse::<u32>().ok()?.checked_mul(unit)
}

/// "`a`, `b` or `c`".
pub(crate) fn quoted(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => "none".to_owned(),
    }
}
