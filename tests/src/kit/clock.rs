//! A wall clock of a process's own, which a test moves while the process runs.
//!
//! `clock.c` says how. Nothing of it is in what ships: the real binaries are started with a library
//! before libc's, so they need no seam for it. Both are linked dynamically; one that is not would keep the
//! machine's time, and a test that moves it would fail. `faketime` does the same; this is a page of C, and
//! there on every machine that can link the tests.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::world::Failed;

/// The wall clock of each process that is started with its environment.
#[derive(Debug)]
pub struct TestClock {
    folder: tempfile::TempDir,
    ahead: File,
}

impl TestClock {
    /// As the machine's.
    ///
    /// # Errors
    /// The C compiler's own words.
    pub fn start() -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kit/clock.c");
        let compiled = Command::new("cc")
            .args(["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"])
            .arg(library(folder.path()))
            .arg(source)
            .output()?;
        if !compiled.status.success() {
            return Err(String::from_utf8_lossy(&compiled.stderr).into_owned().into());
        }
        let ahead = File::options().create_new(true).write(true).open(offset(folder.path()))?;
        ahead.write_all_at(&0_i64.to_ne_bytes(), 0)?;
        Ok(Self { folder, ahead })
    }

    /// From now on so many seconds ahead of the machine's; behind it where they are negative.
    ///
    /// # Errors
    /// The file is gone.
    pub fn jump(&self, seconds: i64) -> Result<(), Failed> {
        Ok(self.ahead.write_all_at(&seconds.to_ne_bytes(), 0)?)
    }

    /// What the process is started with.
    #[must_use]
    pub fn env(&self) -> [(&'static str, String); 2] {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        [
            ("LD_PRELOAD", text(library(self.folder.path()))),
            ("GATEPASS_TEST_CLOCK", text(offset(self.folder.path()))),
        ]
    }
}

fn library(folder: &Path) -> PathBuf {
    folder.join("clock.so")
}

fn offset(folder: &Path) -> PathBuf {
    folder.join("ahead")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::world::now;

    /// By a program that nobody prepared for it.
    fn told(clock: &TestClock) -> u64 {
        let date = Command::new("date").arg("+%s").envs(clock.env()).output().unwrap();
        String::from_utf8(date.stdout).unwrap().trim().parse().unwrap()
    }

    #[test]
    fn a_process_lives_by_the_clock_that_it_is_given_and_its_twin_by_the_machines() {
        let (moved, other) = (TestClock::start().unwrap(), TestClock::start().unwrap());
        for seconds in [3_600_i64, -3_600, 0] {
            moved.jump(seconds).unwrap();
            let expected = now().0.saturating_add_signed(seconds);
            assert!(told(&moved).abs_diff(expected) < 30, "{seconds}");
            assert!(told(&other).abs_diff(now().0) < 30);
        }
    }
}
