//! The authorities that a client believes.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::ClientError;

/// Those of `ca_file`, and no others when it is given: a control plane's own authority should not
/// have to share its trust with all those of the web.
pub(super) fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, ClientError> {
    let path = ca_file.unwrap_or_else(|| Path::new(SYSTEM));
    let unread = |source| ClientError::CaFile { path: path.to_owned(), source };
    let unusable = |what| ClientError::Ca { path: path.to_owned(), what };
    let mut text = Vec::new();
    let file = File::open(path).map_err(unread)?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut text).map_err(unread)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(unusable("it is too long"));
    }
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let certificates = read.map_err(|_| unusable("it is not PEM"))?;
    let mut roots = RootCertStore::empty();
    let (added, ignored) = roots.add_parsable_certificates(certificates);
    // A system's collection may hold one that rustls does not read; a file that was named may not.
    if added == 0 || (ca_file.is_some() && ignored > 0) {
        return Err(unusable("it holds no CA certificates, or one that does not parse"));
    }
    Ok(roots)
}

/// Where Debian and its kin, Alpine and most images keep them.
const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";
/// A system's whole collection has about 220 KiB.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;
