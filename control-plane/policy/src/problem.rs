//! What is wrong with a policy, where, and what to write instead.

use core::fmt;

use crate::sources::SourceFile;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Nothing compiles.
    Error,
    /// It compiles, and is perhaps not what was meant.
    Warning,
}

/// One problem. Lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub level: Level,
    /// Its name in [`crate::Sources`].
    pub file: String,
    pub line: u64,
    pub column: u64,
    pub message: String,
    /// What to do about it.
    pub remedy: String,
    /// The line that it is in.
    excerpt: Option<String>,
}

impl Problem {
    /// An error at this place.
    #[must_use]
    pub fn error(
        file: impl Into<String>,
        (line, column): (u64, u64),
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            level: Level::Error,
            file: file.into(),
            line,
            column,
            message: message.into(),
            remedy: remedy.into(),
            excerpt: None,
        }
    }

    /// A warning at this place.
    #[must_use]
    pub fn warning(
        file: impl Into<String>,
        at: (u64, u64),
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { level: Level::Warning, ..Self::error(file, at, message, remedy) }
    }
}

/// Its place in its file; [`report`] names the file too.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// Sorts them by their places, each once, and shows each the line that it is in.
pub(crate) fn in_order(problems: &mut Vec<Problem>, files: &[SourceFile]) {
    problems.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    // A route that names several calls is several to the index, each with its flaw.
    problems.dedup();
    problems.truncate(crate::MAX_PROBLEMS);
    for problem in problems {
        let file = files.iter().find(|file| file.name == problem.file);
        let nth = usize::try_from(problem.line.saturating_sub(1)).unwrap_or(usize::MAX);
        problem.excerpt = file
            .and_then(|file| file.text.lines().nth(nth))
            .filter(|line| line.chars().count() <= MAX_EXCERPT)
            .map(str::to_owned);
    }
}

/// The problems as a compiler prints them: place, message, the line with a caret, the remedy.
#[must_use]
pub fn report(problems: &[Problem]) -> String {
    let mut out = String::new();
    for problem in problems {
        let Problem { level, file, line, column, message, remedy, excerpt } = problem;
        out.push_str(&format!("{file}:{line}:{column}: {level}: {message}\n"));
        if let Some(text) = excerpt {
            let indent = usize::try_from(column.saturating_sub(1)).unwrap_or(0);
            // A tab under a tab, so that the caret stands under what it points at.
            let blank: String =
                text.chars().take(indent).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            out.push_str(&format!("{line:>5} | {text}\n      | {blank}^\n"));
        }
        if !remedy.is_empty() {
            out.push_str(&format!("      = {remedy}\n"));
        }
    }
    out
}

/// Characters of a line that is shown.
const MAX_EXCERPT: usize = 160;
