//! A compiled guest. Compiling is the slow part of a test, so each file is compiled once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use wasmtime::{Config, Engine};

use super::error::HostError;

/// A compiled module; clones share the code.
#[derive(Clone)]
pub struct Module(wasmtime::Module);

impl Module {
    /// Compiles a file, or returns what an earlier call of this process made of it.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, HostError> {
        static LOADED: Mutex<BTreeMap<PathBuf, Module>> = Mutex::new(BTreeMap::new());
        let path = path.as_ref();
        // The lock is held while compiling, so that tests that start at once do not all compile.
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = loaded.get(path) {
            return Ok(module.clone());
        }
        let bytes = std::fs::read(path)
            .map_err(|source| HostError::Unreadable { path: path.display().to_string(), source })?;
        let module = Self::from_bytes(&bytes)?;
        loaded.insert(path.to_owned(), module.clone());
        Ok(module)
    }

    /// Compiles a module from memory, without keeping it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, HostError> {
        wasmtime::Module::new(engine(), bytes)
            .map(Self)
            .map_err(|error| HostError::Invalid(format!("{error:?}")))
    }

    /// What the module imports, each as `module.name`, sorted.
    pub fn imports(&self) -> Vec<String> {
        let mut names: Vec<_> = self.0.imports().map(|import| full_name(&import)).collect();
        names.sort();
        names
    }

    /// The names that the module exports, sorted.
    pub fn exports(&self) -> Vec<String> {
        let mut names: Vec<_> = self.0.exports().map(|e| e.name().to_owned()).collect();
        names.sort();
        names
    }

    pub(super) fn inner(&self) -> &wasmtime::Module {
        &self.0
    }
}

pub(super) fn full_name(import: &wasmtime::ImportType<'_>) -> String {
    format!("{}.{}", import.module(), import.name())
}

/// One engine for all modules. Fuel is always counted: it bounds a guest that loops, and it is
/// the same number on every machine, which a clock is not.
pub(super) fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let mut config = Config::new();
        config.consume_fuel(true);
        // Envoy's V8 refuses it, so the filter must not come to need it.
        config.wasm_wide_arithmetic(false);
        // INVARIANT: the settings above are valid on every target; if not, wasmtime's default
        // engine has no fuel and the first callback reports that.
        Engine::new(&config).unwrap_or_default()
    })
}
