//! The files of a policy, read from where they lie.
//!
//! Names that begin with a dot are not looked at. A link is followed to a file inside the folder
//! and nowhere else, so that what is published is what is in the folder.

use std::fs::{self, File, FileType};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::{MAX_FILES, PARTS, Part, SINGLE, START, SourceFile, Sources, many, part};
use crate::MAX_BYTES;
use crate::problem::{Problem, in_order};

impl Sources {
    /// Reads a folder, or one file: a YAML document or an archive.
    ///
    /// # Errors
    /// What could not be read, and what [`Sources::folder`] refuses.
    pub fn read(path: &Path) -> Result<Self, Vec<Problem>> {
        if path.is_dir() {
            let mut folder = Folder::open(path)?;
            folder.walk("", 0);
            return Self::folder(folder.finish()?);
        }
        let text = text(path, MAX_BYTES).map_err(|error| vec![unread(SINGLE, &error)])?;
        Self::parse(&text)
    }

    /// Reads the tests of a folder, `tests/*.yaml`, sorted by name; none where there are none.
    ///
    /// # Errors
    /// What could not be read.
    pub fn read_tests(path: &Path) -> Result<Vec<SourceFile>, Vec<Problem>> {
        if !path.join(TESTS).is_dir() {
            return Ok(Vec::new());
        }
        let mut folder = Folder::open(path)?;
        folder.tests();
        let mut files = folder.finish()?;
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }
}

struct Folder {
    /// Without links.
    root: PathBuf,
    files: Vec<SourceFile>,
    problems: Vec<Problem>,
    /// Names that may still be looked at.
    names_left: usize,
    bytes_left: usize,
}

impl Folder {
    fn open(path: &Path) -> Result<Self, Vec<Problem>> {
        let root = path.canonicalize().map_err(|error| vec![unread(".", &error.to_string())])?;
        Ok(Self {
            root,
            files: Vec::new(),
            problems: Vec::new(),
            names_left: MAX_NAMES,
            bytes_left: MAX_BYTES,
        })
    }

    fn finish(mut self) -> Result<Vec<SourceFile>, Vec<Problem>> {
        if self.problems.is_empty() {
            return Ok(self.files);
        }
        in_order(&mut self.problems, &self.files);
        Err(self.problems)
    }

    fn walk(&mut self, below: &str, depth: usize) {
        for (name, kind) in self.entries(below) {
            if name == TESTS || self.is_full() {
                continue;
            }
            if kind.is_dir() && depth < MAX_DEPTH {
                self.walk(&name, depth.saturating_add(1));
            } else if kind.is_dir() {
                self.tell(&name, format!("folders are more than {MAX_DEPTH} deep"), "");
            } else if kind.is_symlink() && self.root.join(&name).is_dir() {
                self.tell(&name, "a link to a folder is not followed", "put the folder there");
            } else {
                match part(&name) {
                    Part::Whole | Part::Actions | Part::Cedar => self.take(name),
                    Part::Test | Part::Other if is_yaml(&name) => {
                        self.tell(&name, "this file is no part of a policy", PARTS);
                    }
                    Part::Test | Part::Other => {}
                }
            }
        }
    }

    fn tests(&mut self) {
        for (name, kind) in self.entries(TESTS) {
            if !kind.is_dir() && is_yaml(&name) && !self.is_full() {
                self.take(name);
            }
        }
    }

    /// The names in a folder, below the root, sorted.
    fn entries(&mut self, below: &str) -> Vec<(String, FileType)> {
        let found = fs::read_dir(self.root.join(below)).and_then(|entries| {
            let mut found = Vec::new();
            // One more than there may be, so that it is seen that there are more.
            for entry in entries.take(self.names_left.saturating_add(1)) {
                let entry = entry?;
                found.push((entry.file_name().to_string_lossy().into_owned(), entry.file_type()?));
            }
            Ok(found)
        });
        let mut found = found.unwrap_or_else(|error| {
            self.problems
                .push(unread(if below.is_empty() { "." } else { below }, &error.to_string()));
            Vec::new()
        });
        if found.len() > self.names_left {
            self.problems.push(many(MAX_NAMES));
            found.clear();
        }
        self.names_left = self.names_left.saturating_sub(found.len());
        found.retain(|(name, _)| !name.starts_with('.'));
        if !below.is_empty() {
            for (name, _) in &mut found {
                *name = format!("{below}/{name}");
            }
        }
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        found
    }

    fn take(&mut self, name: String) {
        let path = self.root.join(&name);
        let real = match path.canonicalize() {
            Ok(real) => real,
            Err(error) => return self.problems.push(unread(&name, &error.to_string())),
        };
        if !real.starts_with(&self.root) {
            return self.tell(&name, "this link leads out of the folder", "put the file there");
        }
        if !real.is_file() {
            return self.tell(&name, "this is no file", "");
        }
        match text(&real, self.bytes_left) {
            Ok(text) => {
                self.bytes_left = self.bytes_left.saturating_sub(text.len());
                self.files.push(SourceFile { name, text });
            }
            Err(error) => self.problems.push(unread(&name, &error)),
        }
    }

    /// Of what is refused anyhow, no more is read.
    fn is_full(&self) -> bool {
        self.files.len() > MAX_FILES || self.problems.len() > crate::MAX_PROBLEMS
    }

    fn tell(&mut self, name: &str, message: impl Into<String>, remedy: &str) {
        self.problems.push(Problem::error(name.escape_debug().to_string(), START, message, remedy));
    }
}

/// What a file says, if it has at most so many bytes.
fn text(path: &Path, most: usize) -> Result<String, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let bound = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    file.take(bound).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() > most {
        return Err(format!("the policy is over {MAX_BYTES} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

fn unread(name: &str, error: &str) -> Problem {
    Problem::error(name.escape_debug().to_string(), START, format!("cannot be read: {error}"), "")
}

fn is_yaml(name: &str) -> bool {
    name.ends_with(".yaml") || name.ends_with(".yml")
}

const TESTS: &str = "tests";
/// Folders inside each other.
const MAX_DEPTH: usize = 8;
/// Names that are looked at, files or not.
const MAX_NAMES: usize = 10_000;
