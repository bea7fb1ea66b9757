//! A committed file, held against what the code writes today.

use std::path::Path;

/// Set it to write the files instead of comparing them; then read the diff.
pub(crate) const REGENERATE: &str = "GATEPASS_REGENERATE";

/// `path` is from the top of the repository.
pub(crate) fn hold(path: &str, written: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    if std::env::var_os(REGENERATE).is_some() {
        let saved = std::fs::write(&file, written);
        assert!(saved.is_ok(), "`{path}` cannot be written: {saved:?}");
        return;
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == written,
        "`{path}` is not what the code writes. If the change is meant, run the test again with \
         {REGENERATE}=1 and commit the file. The code writes:\n{written}"
    );
}
