//! The filter that the control plane hands out to Envoys, with its digest.

use std::path::{Path, PathBuf};

use axum::body::Bytes;
use sha2::{Digest as _, Sha256};

use crate::audit::hex;

/// `filter.wasm` in memory.
pub struct FilterFile {
    pub wasm: Bytes,
    /// SHA-256, hexadecimal: what an Envoy pins.
    pub sha256: String,
}

impl FilterFile {
    /// # Errors
    /// [`FilterError`]: it cannot be read, or is no Wasm module.
    pub fn read(path: &Path) -> Result<Self, FilterError> {
        let io = |source| FilterError::Io { path: path.to_owned(), source };
        let wasm = std::fs::read(path).map_err(io)?;
        if !wasm.starts_with(b"\0asm") || wasm.len() > MAX_BYTES {
            return Err(FilterError::NotWasm(path.to_owned()));
        }
        let sha256 = hex(&Sha256::digest(&wasm));
        Ok(Self { wasm: wasm.into(), sha256 })
    }
}

/// Why a filter cannot be handed out.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    #[error("`{}`: {source}: build it with `make filter`", .path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("`{}` is not a Wasm module of at most 16 MiB", .0.display())]
    NotWasm(PathBuf),
}

const MAX_BYTES: usize = 16 << 20;
