//! The files that TLS is set up from, read within bounds.

use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::ListenError;

/// A certificate and those that lead to its root, in the order of the file.
pub(super) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, ListenError> {
    let text = bytes(File::open(path).map_err(|error| io(path, error))?, path)?;
    let read: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(&text).take(MAX_CERTIFICATES + 1).collect();
    let chain = read.map_err(|error| malformed(path, format!("not PEM: {error}")))?;
    match chain.len() {
        0 => Err(malformed(path, "holds no certificate in PEM")),
        1..=MAX_CERTIFICATES => Ok(chain),
        _ => Err(malformed(path, format!("holds more than {MAX_CERTIFICATES} certificates"))),
    }
}

/// The authorities whose client certificates are believed.
pub(super) fn roots(path: &Path) -> Result<RootCertStore, ListenError> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(path)? {
        roots
            .add(certificate)
            .map_err(|error| malformed(path, format!("not a certificate: {error}")))?;
    }
    Ok(roots)
}

/// A private key that nobody else can reach.
pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, ListenError> {
    let file = File::open(path).map_err(|error| io(path, error))?;
    // Of the opened file, so that it cannot be exchanged in between.
    let mode = file.metadata().map_err(|error| io(path, error))?.mode();
    if mode & 0o077 != 0 {
        return Err(ListenError::Readable { path: path.to_owned(), mode: mode & 0o777 });
    }
    let text = bytes(file, path)?;
    PrivateKeyDer::from_pem_slice(&text)
        .map_err(|error| malformed(path, format!("holds no private key in PEM: {error}")))
}

/// What tells one content of a file from the next without reading it. `None` when it is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp(Option<[i64; 6]>);

impl Stamp {
    pub(super) fn of(path: &Path) -> Self {
        let of = |metadata: Metadata| {
            [
                metadata.mtime(),
                metadata.mtime_nsec(),
                // A mode that is put right must be noticed as well.
                metadata.ctime(),
                metadata.ctime_nsec(),
                metadata.ino().cast_signed(),
                metadata.size().cast_signed(),
            ]
        };
        Self(std::fs::metadata(path).ok().map(of))
    }
}

fn bytes(file: File, path: &Path) -> Result<Zeroizing<Vec<u8>>, ListenError> {
    let metadata = file.metadata().map_err(|error| io(path, error))?;
    if !metadata.is_file() {
        return Err(malformed(path, "not a regular file"));
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(malformed(path, format!("longer than {MAX_FILE_BYTES} bytes")));
    }
    let mut bytes =
        Zeroizing::new(Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0)));
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(|error| io(path, error))?;
    Ok(bytes)
}

fn io(path: &Path, source: std::io::Error) -> ListenError {
    ListenError::Io { path: path.to_owned(), source }
}

fn malformed(path: &Path, what: impl Into<String>) -> ListenError {
    ListenError::Malformed { path: path.to_owned(), what: what.into() }
}

const MAX_FILE_BYTES: u64 = 256 * 1024;
/// Of one file. Authorities of a fleet are few, chains are short.
const MAX_CERTIFICATES: usize = 64;
