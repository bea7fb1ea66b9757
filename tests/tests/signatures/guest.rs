//! `filter/examples/verify.rs`, built like the filter and run without a host.

use std::path::PathBuf;
use std::process::Command;

use wasmtime::{Engine, Linker, Memory, Module, Store, TypedFunc};

/// The signature check in Wasm.
pub(crate) struct Guest {
    store: Store<()>,
    memory: Memory,
    buffer: TypedFunc<u32, u32>,
    verify: TypedFunc<(u32, u32, u32), u32>,
}

impl Guest {
    pub(crate) fn start() -> Self {
        let engine = Engine::default();
        let module = Module::from_file(&engine, built()).unwrap();
        let mut store = Store::new(&engine, ());
        let mut linker = Linker::new(&engine);
        // What std brings along for panics; arithmetic calls none of it.
        linker.define_unknown_imports_as_traps(&module).unwrap();
        let instance = linker.instantiate(&mut store, &module).unwrap();
        if let Ok(start) = instance.get_typed_func::<(), ()>(&mut store, "_initialize") {
            start.call(&mut store, ()).unwrap();
        }
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        let buffer = instance.get_typed_func(&mut store, "buffer").unwrap();
        let verify = instance.get_typed_func(&mut store, "verify").unwrap();
        Self { store, memory, buffer, verify }
    }

    /// The number that the module answers with.
    pub(crate) fn verify(&mut self, key: &[u8], message: &[u8], signature: &[u8]) -> u32 {
        let input = [key, message, signature].concat();
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
        let at = self.buffer.call(&mut self.store, length(&input)).unwrap();
        self.memory.write(&mut self.store, usize::try_from(at).unwrap(), &input).unwrap();
        let lengths = (length(key), length(message), length(signature));
        self.verify.call(&mut self.store, lengths).unwrap()
    }
}

fn built() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--locked", "-p", "gatepass-filter", "--example", "verify"])
        .args(["--target", "wasm32-wasip1", "--profile", "filter"])
        .current_dir(&root)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "the example does not build; is the target there (`make setup`)?\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    target.join("wasm32-wasip1/filter/examples/verify.wasm")
}
