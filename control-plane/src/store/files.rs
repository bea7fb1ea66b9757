//! The files of a store: written whole or not at all.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use gatepass_engine::clock::UnixSeconds;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{MAX_DELTAS, StoreError, batch_file};

/// A directory and what is written there.
#[derive(Clone, Debug)]
pub(super) struct Files {
    dir: PathBuf,
}

/// Tells one version of `gatepass.json` from the next: each is a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    seconds: i64,
    nanoseconds: i64,
    bytes: u64,
}

/// Ends when dropped, or when the process dies.
pub(super) struct Lock(#[expect(dead_code, reason = "the open file is the lock")] File);

impl Files {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.join(name)
    }

    /// Refuses a directory that holds anything.
    pub(super) fn check_empty(&self) -> Result<(), StoreError> {
        let mut entries = match std::fs::read_dir(&self.dir) {
            Ok(entries) => Some(entries),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(io(&self.dir, error)),
        };
        if entries.as_mut().is_some_and(|found| found.next().is_some()) {
            return Err(StoreError::NotEmpty(self.dir.clone()));
        }
        Ok(())
    }

    /// Makes the directory and those in it.
    pub(super) fn make(&self) -> Result<(), StoreError> {
        for name in ["", "roots", "bundles", "batches"] {
            make_dir(&self.path(name))?;
        }
        Ok(())
    }

    /// Waits for whoever signs now.
    pub(super) fn lock(&self) -> Result<Lock, StoreError> {
        let path = self.path("lock");
        let file = private().create(true).truncate(false).open(&path);
        let file = file.map_err(|error| io(&path, error))?;
        file.lock().map_err(|error| io(&path, error))?;
        Ok(Lock(file))
    }

    pub(super) fn stamp(&self) -> Result<Stamp, StoreError> {
        let path = self.path(RECORD);
        let metadata = std::fs::metadata(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => StoreError::NoStore(self.dir.clone()),
            _ => io(&path, error),
        })?;
        Ok(Stamp {
            inode: metadata.ino(),
            seconds: metadata.mtime(),
            nanoseconds: metadata.mtime_nsec(),
            bytes: metadata.len(),
        })
    }

    pub(super) fn record<T: DeserializeOwned>(&self) -> Result<T, StoreError> {
        let bytes = self.read(Path::new(RECORD))?;
        serde_json::from_slice(&bytes).map_err(|_| StoreError::Corrupt(PathBuf::from(RECORD)))
    }

    /// Everything that the record speaks of must be written before: its rename is the commit.
    pub(super) fn commit(&self, record: &impl Serialize) -> Result<Stamp, StoreError> {
        let corrupt = |_| StoreError::Corrupt(PathBuf::from(RECORD));
        let mut bytes = serde_json::to_vec_pretty(record).map_err(corrupt)?;
        bytes.push(b'\n');
        self.write(Path::new(RECORD), &bytes)?;
        self.stamp()
    }

    pub(super) fn read(&self, name: &Path) -> Result<Vec<u8>, StoreError> {
        let path = self.path(name);
        std::fs::read(&path).map_err(|error| io(&path, error))
    }

    /// Temporary file, fsync, rename, fsync of the directory.
    pub(super) fn write(&self, name: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        self.replace(name, bytes, true)
    }

    /// The newest `issued_at` that any process signed here.
    pub(super) fn marked(&self) -> UnixSeconds {
        let text = std::fs::read_to_string(self.path(MARK)).unwrap_or_default();
        UnixSeconds(text.trim().parse().unwrap_or(0))
    }

    /// Once a second at most, so not forced to the disk: a power cut costs the second or two
    /// that the clock has gone on since.
    pub(super) fn mark(&self, issued_at: UnixSeconds) -> Result<(), StoreError> {
        if self.marked() >= issued_at {
            return Ok(());
        }
        self.replace(Path::new(MARK), format!("{}\n", issued_at.0).as_bytes(), false)
    }

    /// Removes deltas and bundles that nobody asks for; a few are left for readers of the state
    /// before. What cannot be removed only takes space.
    pub(super) fn prune(&self, base: u64, bundle: u64) {
        let end = base.saturating_sub(MAX_DELTAS as u64);
        for to in (1..=end).rev() {
            if std::fs::remove_file(self.path(batch_file(to))).is_err() {
                break;
            }
        }
        let bundles = std::fs::read_dir(self.path("bundles"));
        for path in bundles.into_iter().flatten().flatten().map(|entry| entry.path()) {
            let number = path.file_stem().and_then(|name| name.to_str()?.parse().ok());
            if number.is_some_and(|number: u64| number < bundle) {
                // Tried again at the next change.
                let _ = std::fs::remove_file(path);
            }
        }
    }

    fn replace(&self, name: &Path, bytes: &[u8], durable: bool) -> Result<(), StoreError> {
        let path = self.path(name);
        let temporary = path.with_extension("new");
        let written = (|| {
            let mut file = private().create(true).truncate(true).open(&temporary)?;
            file.write_all(bytes)?;
            if durable {
                file.sync_all()?;
            }
            std::fs::rename(&temporary, &path)?;
            match path.parent().filter(|_| durable) {
                Some(parent) => File::open(parent)?.sync_all(),
                None => Ok(()),
            }
        })();
        written.map_err(|error| io(&path, error))
    }
}

/// Makes a directory that only its owner reaches, where there is none.
pub(super) fn make_dir(path: &Path) -> Result<(), StoreError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| io(path, error))
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

fn io(path: &Path, source: std::io::Error) -> StoreError {
    StoreError::Io { path: path.to_owned(), source }
}

pub(super) const RECORD: &str = "gatepass.json";
const MARK: &str = "issued_at";
