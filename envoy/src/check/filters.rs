//! Filters that run after the gate. Known ones are harmless, adding or changing; the rest is said to
//! be unknown rather than taken for harmless.

use super::Finding;
use super::defect::Defect;
use super::gate;
use super::source::Config;
use super::spot::Spot;

pub(crate) fn check(filter: &Spot<'_>, config: &Config<'_>, findings: &mut Vec<Finding>) {
    let Some(typed) = gate::typed(filter, config) else {
        findings.push(Defect::UnknownFilter.saying(filter, filter.field("name").text()));
        return;
    };
    let kind = kind_of(&typed);
    if kind == "router" {
        for inner in typed.field("upstream_http_filters").items() {
            check(&inner, config, findings);
        }
    }
    if kind == "upstream_codec" || HARMLESS.contains(&kind) {
        return;
    }
    let defect = match kind {
        kind if CHANGING.contains(&kind) => Defect::FilterMayChange,
        kind if ADDING.contains(&kind) => Defect::FilterAddsHeaders,
        _ => Defect::UnknownFilter,
    };
    findings.push(defect.saying(filter, typed.field("@type").text()));
}

/// `lua` of `type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua`.
fn kind_of<'v>(typed: &Spot<'v>) -> &'v str {
    let name = typed.field("@type").text();
    let after = ["filters.http.", "filter.http."].iter().find_map(|mark| name.split_once(mark));
    after.map_or(name, |(_, rest)| rest.split('.').next().unwrap_or_default())
}

/// They let a request go on as it is, or not at all.
const HARMLESS: [&str; 21] = [
    "adaptive_concurrency",
    "admission_control",
    "alpn",
    "bandwidth_limit",
    "buffer",
    "compressor",
    "cors",
    "csrf",
    "dynamic_forward_proxy",
    "fault",
    "grpc_stats",
    "health_check",
    "json_to_metadata",
    "original_src",
    "rate_limit_quota",
    "local_ratelimit",
    "ratelimit",
    "rbac",
    "router",
    "stateful_session",
    "tap",
];

/// They can rewrite path, method, host, headers or body, or choose another route.
const CHANGING: [&str; 14] = [
    "composite",
    "dynamic_modules",
    "ext_authz",
    "ext_proc",
    "golang",
    "grpc_http1_bridge",
    "grpc_http1_reverse_bridge",
    "grpc_json_transcoder",
    "grpc_web",
    "header_mutation",
    "lua",
    "match_delegate",
    "transform",
    "wasm",
];

/// They add headers or credentials, and leave what was decided.
const ADDING: [&str; 9] = [
    "aws_lambda",
    "aws_request_signing",
    "credential_injector",
    "decompressor",
    "gcp_authn",
    "geoip",
    "ip_tagging",
    "jwt_authn",
    "oauth2",
];
