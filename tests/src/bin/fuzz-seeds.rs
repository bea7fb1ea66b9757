//! Writes the seeds of every fuzz target to `tests/fuzz/corpus`, beside what campaigns found.

use std::path::Path;

use gatepass_tests::fuzz::TARGETS;
use gatepass_tests::fuzz::seeds::seeds;

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (target, _) in TARGETS {
        let folder = corpus.join(target);
        std::fs::create_dir_all(&folder)?;
        for (name, bytes) in seeds(target) {
            std::fs::write(folder.join(name), bytes)?;
        }
    }
    Ok(())
}
