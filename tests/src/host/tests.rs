//! Tests of the host itself, on small guests in the text format.

use super::*;

/// A guest that acts on the first letter of a request's path: `r`emoves and replaces headers,
/// `k` pauses, `d`enies, `s`ets the shared key `k` once, `c`rashes, `l`oops, and continues
/// otherwise. Its tick cuts stream 2.
const GUEST: &str = r#"
(module
  (import "env" "proxy_get_header_map_value"
    (func $value (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_remove_header_map_value" (func $remove (param i32 i32 i32) (result i32)))
  (import "env" "proxy_replace_header_map_value"
    (func $replace (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_send_local_response"
    (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_shared_data" (func $share (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_tick_period_milliseconds" (func $period (param i32) (result i32)))
  (import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))
  (import "env" "proxy_close_stream" (func $close (param i32) (result i32)))
  (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) ":pathx-ax-bnewkwhygone")
  (global $free (mut i32) (i32.const 4096))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
    (global.get $free)
    (global.set $free (i32.add (global.get $free) (local.get $size))))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32)
    (drop (call $period (i32.const 50)))
    (i32.const 1))
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (i32.ne (local.get 1) (i32.const 3)))
  (func (export "proxy_on_tick") (param i32)
    (if (i32.eqz (call $effective (i32.const 2)))
      (then (drop (call $close (i32.const 0))))))
  (func (export "proxy_on_log") (param i32)
    (drop (call $log (i32.const 2) (i32.const 18) (i32.const 4))))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (local $letter i32)
    (if (call $value (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 64) (i32.const 68))
      (then (return (i32.const 0))))
    (local.set $letter (i32.load8_u offset=1 (i32.load (i32.const 64))))
    (if (i32.eq (local.get $letter) (i32.const 0x72)) (then ;; r
      (drop (call $remove (i32.const 0) (i32.const 5) (i32.const 3)))
      (drop (call $replace
        (i32.const 0) (i32.const 8) (i32.const 3) (i32.const 11) (i32.const 3)))))
    (if (i32.eq (local.get $letter) (i32.const 0x6b)) (then (return (i32.const 1)))) ;; k
    (if (i32.eq (local.get $letter) (i32.const 0x64)) (then ;; d
      (drop (call $reply (i32.const 403) (i32.const 15) (i32.const 3)
        (i32.const 11) (i32.const 3) (i32.const 0) (i32.const 0) (i32.const -1)))))
    (if (i32.eq (local.get $letter) (i32.const 0x73)) (then ;; s
      (drop (call $share
        (i32.const 14) (i32.const 1) (i32.const 11) (i32.const 3) (i32.const -1)))))
    (if (i32.eq (local.get $letter) (i32.const 0x63)) (then unreachable)) ;; c
    (if (i32.eq (local.get $letter) (i32.const 0x6c)) (then (loop $for_ever (br $for_ever)))) ;; l
    (i32.const 0)))
"#;

fn envoy() -> Envoy {
    Envoy::new(&Module::from_bytes(GUEST.as_bytes()).unwrap())
}

fn to(path: &str) -> Request {
    Request::to("GET", "host", path)
}

#[test]
fn unknown_imports_are_refused_by_name() {
    let guest = r#"(module (import "env" "proxy_unheard_of" (func)))"#;
    let module = Module::from_bytes(guest.as_bytes()).unwrap();
    assert_eq!(module.imports(), ["env.proxy_unheard_of"]);
    let Err(HostError::UnknownImports(names)) = Envoy::new(&module).worker("vm") else {
        panic!("linked");
    };
    assert_eq!(names, ["env.proxy_unheard_of"]);
}

#[test]
fn import_of_another_type_is_refused() {
    let guest = r#"(module (import "env" "proxy_log" (func (param i64))))"#;
    let module = Module::from_bytes(guest.as_bytes()).unwrap();
    assert!(Envoy::new(&module).worker("vm").is_err());
}

#[test]
fn module_without_the_abi_marker_is_refused() {
    let module = Module::from_bytes(b"(module)").unwrap();
    let refused = Envoy::new(&module).worker("vm").err();
    assert!(matches!(refused, Some(HostError::MissingExport(_))));
}

#[test]
fn refused_configuration_is_told() {
    assert!(envoy().started("vm", b"good").is_ok());
    let refused = envoy().started("vm", b"bad").err();
    assert!(matches!(refused, Some(HostError::Refused(_))));
}

#[test]
fn guest_changes_the_headers_that_the_upstream_gets() {
    let mut vm = envoy().started("vm", b"").unwrap();
    let request = to("/r").header("X-A", "1").header("x-a", b"\xff").header("x-b", "old");
    let Outcome::Continued(headers) = vm.decide(request).unwrap() else {
        panic!("not continued");
    };
    assert_eq!(headers.all("x-a").count(), 0);
    assert_eq!(headers.text("x-b"), Some("new"));
    assert_eq!(vm.host_calls("proxy_remove_header_map_value"), 1);
}

#[test]
fn local_reply_stops_a_request_whatever_the_callback_returns() {
    let mut vm = envoy().started("vm", b"").unwrap();
    let stream = vm.send(to("/d")).unwrap();
    let Outcome::Replied(reply) = vm.outcome(stream).unwrap() else {
        panic!("not answered");
    };
    assert_eq!((reply.status, reply.details.as_str()), (403, "why"));
    assert_eq!(reply.headers.text("content-length"), Some("3"));
    assert_eq!(reply.body, b"new");
    assert_eq!(vm.forwarded(stream), None);
    assert!(vm.has_logged("gone"));
}

#[test]
fn held_request_is_cut_from_the_tick() {
    let mut vm = envoy().started("vm", b"").unwrap();
    let stream = vm.send(to("/k")).unwrap();
    assert_eq!(stream.context_id(), 2);
    assert_eq!(vm.outcome(stream).unwrap(), Outcome::Paused);
    vm.tick().unwrap();
    assert_eq!(vm.outcome(stream).unwrap(), Outcome::Reset);
    assert!(vm.has_logged("gone"));
    vm.tick().unwrap();
    assert_eq!(vm.host_calls("proxy_close_stream"), 1);
}

#[test]
fn body_of_a_request_paused_at_its_headers_needs_the_knob() {
    let envoy = envoy();
    let mut vm = envoy.started("vm", b"").unwrap();
    let stream = vm.send(to("/k").with_body()).unwrap();
    let refused = vm.request_body(stream, b"a", true);
    assert!(matches!(refused, Err(HostError::Misuse(_))));
    envoy.allow_on_headers_stop_iteration(true);
    let outcome = vm.request_body(stream, b"a", true).unwrap();
    assert!(matches!(outcome, Outcome::Continued(_)));
    assert_eq!(vm.forwarded_body(stream), b"a");
}

#[test]
fn reload_after_a_crash_sees_the_shared_data() {
    let envoy = envoy();
    let mut vm = envoy.started("vm", b"").unwrap();
    let mut other = envoy.started("vm", b"").unwrap();
    vm.decide(to("/s")).unwrap();
    let crash = vm.send(to("/c"));
    assert!(matches!(crash, Err(HostError::Crashed { callback, .. })
        if callback == "proxy_on_request_headers"));
    assert!(vm.crashed());
    assert!(matches!(vm.send(to("/")), Err(HostError::Dead)));
    other.decide(to("/")).unwrap();
    vm.reload().unwrap();
    assert_eq!(envoy.shared_data().mismatches(), 0);
    vm.decide(to("/s")).unwrap();
    assert_eq!(envoy.shared_data().mismatches(), 1);
    assert_eq!(envoy.shared_data().keys("vm"), [b"k"]);
    assert_eq!(envoy.shared_data().keys("another"), [b""; 0]);
}

#[test]
fn endless_loop_is_an_error_and_not_a_hang() {
    let mut vm = envoy().started("vm", b"").unwrap();
    vm.set_fuel_limit(1_000_000);
    assert!(matches!(vm.send(to("/l")), Err(HostError::RanAway { .. })));
    assert!(vm.crashed());
}

#[test]
fn fuel_of_the_same_request_is_the_same() {
    let mut vm = envoy().started("vm", b"").unwrap();
    let (_, first) = vm.fuel_of(|vm| vm.decide(to("/")).unwrap());
    let (_, second) = vm.fuel_of(|vm| vm.decide(to("/")).unwrap());
    let (_, more) = vm.fuel_of(|vm| vm.decide(to("/r")).unwrap());
    assert!(0 < first && first == second && second < more);
}

#[test]
fn main_thread_ticks_and_serves_no_requests() {
    let mut vm = envoy().main_thread("vm").unwrap();
    vm.start(b"").unwrap();
    assert!(vm.configure(b"").unwrap());
    vm.tick().unwrap();
    assert!(matches!(vm.send(to("/")), Err(HostError::Misuse(_))));
}
