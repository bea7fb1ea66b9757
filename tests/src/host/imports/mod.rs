//! What the guest may import: the functions of the ABI, and those of WASI that Envoy offers.

mod http;
mod maps;
mod metrics;
mod shared;
mod system;
mod wasi;

use wasmtime::{Linker, Store};

use super::error::HostError;
use super::module::{Module, engine, full_name};
use super::state::State;

/// Links a module's imports. One that is not known is refused, as Envoy refuses it at load.
pub(super) fn link(module: &Module, store: &mut Store<State>) -> Result<Linker<State>, HostError> {
    let mut linker = Linker::new(engine());
    for register in [
        system::register,
        maps::register,
        http::register,
        shared::register,
        metrics::register,
        wasi::register,
    ] {
        register(&mut linker).map_err(|error| HostError::Invalid(format!("{error:?}")))?;
    }
    let unknown: Vec<_> = module
        .inner()
        .imports()
        .filter(|import| linker.get_by_import(&mut *store, import).is_none())
        .map(|import| full_name(&import))
        .collect();
    if unknown.is_empty() { Ok(linker) } else { Err(HostError::UnknownImports(unknown)) }
}

/// The module name of the ABI's imports.
const ENV: &str = "env";
