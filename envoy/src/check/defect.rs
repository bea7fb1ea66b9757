//! Every defect: its code, how bad it is, what it means and what to do. `docs/loading.md` lists the
//! codes; a test holds the list against this table.

use super::Finding;
use super::spot::Spot;

/// How bad a defect is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Requests pass without a decision, are changed after it, or the gate cannot work.
    Error,
    /// The gate decides, and something that it leans on is missing.
    Warning,
    /// Worth knowing.
    Note,
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

macro_rules! defects {
    ($($name:ident $severity:ident $code:literal $meaning:literal $fix:literal)*) => {
        /// What can be wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Defect {
            $(#[doc = $meaning] $name,)*
        }

        impl Defect {
            /// All of them, errors first.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The stable name.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// How bad it is.
            pub fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)* }
            }

            /// What follows from it.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }

            /// What to do.
            pub fn fix(self) -> &'static str {
                match self { $(Self::$name => $fix,)* }
            }
        }
    };
}

defects! {
    NoGate Error "no_gate"
        "no HTTP connection manager has the gate: nothing is decided"
        "add the filter that `gatepass-envoy manifests` prints"
    PastGate Error "past_gate"
        "requests reach by this way, without a decision, what the gate guards on another"
        "put the gate here too, or route it to nothing that is guarded"
    GateDisabled Error "gate_disabled"
        "the filter is switched off here, so requests pass without a decision"
        "remove the switch; a public path is made public in the policy"
    RouteWithoutGate Error "route_without_gate"
        "the filter is off unless a route switches it on, and this route does not"
        "switch the filter on for the whole connection manager (`disabled: false`)"
    GateOptional Error "gate_optional"
        "Envoy goes on without the gate when it does not know the filter's type"
        "remove `is_optional`"
    DefaultInsteadOfGate Error "default_instead_of_gate"
        "until the gate has been discovered, Envoy runs this configuration instead of it"
        "remove `default_config`: without one, nothing is served until the gate is there"
    UpgradePastGate Error "upgrade_past_gate"
        "upgraded requests run through filters of their own, without the gate"
        "remove `filters` of the upgrade, or put the gate first in them"
    FailsOpen Error "fails_open"
        "every request passes when the gate crashes or does not load"
        "set `failure_policy: FAIL_RELOAD`, and remove `fail_open`"
    TwoGates Error "two_gates"
        "the gate runs twice, and the second finds the gatepass already taken off"
        "leave one of them"
    ConfigurationUnreadable Error "configuration_unreadable"
        "the gate refuses this plugin configuration, so Envoy does not start or serves 503"
        "print the configuration with `gatepass-envoy manifests`"
    RootsNotPinned Error "roots_not_pinned"
        "no root document can be believed with these keys, so the gate never becomes ready"
        "pin the keys and the threshold that `gatepass root init` printed"
    FeedClusterMissing Error "feed_cluster_missing"
        "the gate cannot poll its feed: it stays `not_ready`"
        "add the cluster that `gatepass-envoy manifests` prints, or name the one that there is"
    FilterMayChange Error "filter_may_change_request"
        "a filter after the gate can change the request that was decided"
        "move it before the gate"
    PathRewritten Error "path_rewritten"
        "the target system sees another path than the one that was decided"
        "let the target take the path as it is, or rewrite it before the gate in a listener of its own"
    HostFromRequest Error "host_from_request"
        "the client chooses by the request which host the target system sees"
        "remove it, or use `host_rewrite_literal`"
    ClusterFromRequest Error "cluster_from_request"
        "the request chooses which system gets it, which may be another than it was decided for"
        "name the cluster"
    HeadersChanged Error "headers_changed"
        "a header that says who was let through, or what the request is, is changed after the gate"
        "leave `x-gatepass-*`, host, method and path headers alone"
    PathsNotNormalized Warning "paths_not_normalized"
        "Envoy may match routes by another spelling of the path than the one that the gate decides on"
        "set `normalize_path: true`"
    SlashesNotMerged Warning "slashes_not_merged"
        "a path with `//` is refused by the gate instead of being merged"
        "set `merge_slashes: true`"
    EscapedSlashesPass Warning "escaped_slashes_pass"
        "a path with `%2f` or `%5c` reaches the gate, which refuses it only by itself"
        "set `path_with_escaped_slashes_action: REJECT_REQUEST`"
    UnderscoresPass Warning "underscores_pass"
        "`x_gatepass_agent` is `x-gatepass-agent` to many servers; only the gate removes it"
        "set `common_http_protocol_options.headers_with_underscores_action: REJECT_REQUEST`"
    NoReload Warning "no_reload"
        "a worker whose VM crashed answers 503 until Envoy is restarted"
        "set `failure_policy: FAIL_RELOAD`"
    NoStopIteration Warning "no_stop_iteration"
        "a request with a body hangs when the gate must read it before the headers go on"
        "set `allow_on_headers_stop_iteration: true`"
    NoVmId Warning "no_vm_id"
        "the gate shares its shared data with every plugin that names no `vm_id` either"
        "set a `vm_id` of its own, such as `gatepass/ENVIRONMENT/AUDIENCE`"
    SharedVmId Warning "shared_vm_id"
        "another plugin can overwrite the gate's shared data; it forges nothing, but it can slow it"
        "give each plugin a `vm_id` of its own"
    TestSetting Warning "test_setting"
        "`expose_position` tells every client about the gate's state"
        "remove `expose_position`"
    FilterAddsHeaders Warning "filter_adds_headers"
        "a filter after the gate adds headers or credentials of its own to what was decided"
        "move it before the gate, unless the target system needs just these headers"
    UnknownFilter Warning "unknown_filter"
        "it is not known whether this filter, which runs after the gate, changes requests"
        "move it before the gate"
    HostRewritten Warning "host_rewritten"
        "the target system sees another host than the one that was decided"
        "let the target serve the host as it is, where it can"
    UpgradesEnabled Warning "upgrades_enabled"
        "upgrades reach the gate, which refuses all but WebSockets that a route of the policy means"
        "remove `upgrade_configs` where no route has `upgrade`"
    LocalReplyChanged Warning "local_reply_changed"
        "a denial may reach the client as another answer"
        "except status 400, 401, 403, 413 and 503 of the gate from the mappers"
    AdminExposed Warning "admin_exposed"
        "whoever reaches the admin interface can read the configuration, stop Envoy and drain it"
        "bind it to 127.0.0.1 or a socket file"
    Shadow Note "shadow"
        "the gate refuses nothing and counts what it would have refused"
        "set `mode: enforce` when the counts are as expected"
    OtherListener Note "listener_without_gate"
        "this connection manager has no gate; it reaches nothing that is guarded elsewhere"
        "none, if that is meant"
    RoutesNotSeen Note "routes_not_seen"
        "the routes come from elsewhere, so they were not checked"
        "check the /config_dump of the running Envoy"
    GateNotSeen Note "gate_not_seen"
        "the filter is discovered, so its configuration was not checked"
        "check the /config_dump of the running Envoy"
    ClustersNotSeen Note "clusters_not_seen"
        "the feed's cluster is not in here; it may come from elsewhere"
        "check the /config_dump of the running Envoy"
    Mirrored Note "mirrored"
        "a copy of each request goes to another system"
        "none, if that system may have what was decided for this one"
    NoIdleTimeout Note "no_idle_timeout"
        "a stream on which nothing happens stays open as long as the gate lets it"
        "remove `stream_idle_timeout: 0s`"
    AccessLogWithoutCode Note "access_log_without_code"
        "the access log does not say why a request was denied"
        "log `%FILTER_STATE(wasm.gatepass_code:PLAIN)%`"
}

impl Defect {
    pub(crate) fn at(self, place: &str) -> Finding {
        Finding { defect: self, place: place.to_owned(), detail: String::new() }
    }

    /// At this spot, whatever stands there.
    pub(crate) fn on(self, spot: &Spot<'_>) -> Finding {
        self.at(&spot.place)
    }

    pub(crate) fn saying(self, spot: &Spot<'_>, detail: impl ToString) -> Finding {
        Finding { defect: self, place: spot.place.clone(), detail: detail.to_string() }
    }
}
