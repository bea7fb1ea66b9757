//! What the filter asks of its host and what it answers. An import that Envoy lacks is refused at load, so
//! the list is pinned: a change must be meant.

use gatepass_tests::host::Module;
use gatepass_tests::kit::filter;

#[test]
fn the_filter_imports_what_it_is_known_to_import() {
    let module = Module::load(filter::path().unwrap()).unwrap();
    let imports = module.imports();
    assert_eq!(imports, EXPECTED, "{imports:#?}");
}

/// Each callback that is exported is called for every request that it applies to.
#[test]
fn the_filter_exports_what_it_answers_and_no_more() {
    let module = Module::load(filter::path().unwrap()).unwrap();
    let exports = module.exports();
    assert_eq!(exports, EXPORTED, "{exports:#?}");
}

/// The twin that the monotonic test must catch says what it is, so that it is never taken for this one.
#[test]
fn the_filter_that_does_not_check_exports_that_it_is_none_to_ship() {
    let module = Module::load(filter::unchecked_path().unwrap()).unwrap();
    let exports = module.exports();
    let ours = |export: &&String| EXPORTED.contains(&export.as_str());
    let others: Vec<&String> = exports.iter().filter(|export| !ours(export)).collect();
    assert_eq!(others, ["gatepass_unchecked_for_tests"]);
}

const EXPORTED: &[&str] = &[
    "_initialize",
    "memory",
    "proxy_abi_version_0_2_1",
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_done",
    "proxy_on_http_call_response",
    "proxy_on_memory_allocate",
    "proxy_on_request_body",
    "proxy_on_request_headers",
    "proxy_on_request_trailers",
    "proxy_on_response_body",
    "proxy_on_response_headers",
    "proxy_on_response_trailers",
    "proxy_on_tick",
    "proxy_on_vm_start",
];

const EXPECTED: &[&str] = &[
    "env.proxy_close_stream",
    "env.proxy_continue_stream",
    "env.proxy_define_metric",
    "env.proxy_get_buffer_bytes",
    "env.proxy_get_header_map_pairs",
    "env.proxy_get_property",
    "env.proxy_get_shared_data",
    "env.proxy_http_call",
    "env.proxy_increment_metric",
    "env.proxy_log",
    "env.proxy_record_metric",
    "env.proxy_remove_header_map_value",
    "env.proxy_replace_header_map_value",
    "env.proxy_send_local_response",
    "env.proxy_set_buffer_bytes",
    "env.proxy_set_effective_context",
    "env.proxy_set_property",
    "env.proxy_set_shared_data",
    "env.proxy_set_tick_period_milliseconds",
    "wasi_snapshot_preview1.clock_time_get",
    "wasi_snapshot_preview1.environ_get",
    "wasi_snapshot_preview1.environ_sizes_get",
    "wasi_snapshot_preview1.fd_write",
    "wasi_snapshot_preview1.proc_exit",
    "wasi_snapshot_preview1.random_get",
];
