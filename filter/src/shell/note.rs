//! What a decision leaves in the records: read off the permit or the denial, and off the few headers that
//! name the request. Nothing is decided here, and no request waits for it.

use gatepass_engine::Mode;
use gatepass_engine::bundle::{Risk, RouteTarget};
use gatepass_engine::clock::Now;
use gatepass_engine::decision::{Header, Noted};
use gatepass_engine::record::{Decision, Outcome, Reporter, Why};

use super::{Shell, rules};
use crate::host::{self, EnvoySharedData};
use crate::node;
use crate::records::{Class, Records};

impl Shell {
    /// Once the VM is configured: who tells it stands in the hash of each batch.
    pub(super) fn begin_records(&mut self, now: Now) {
        let settings = &self.configuration.settings;
        let name =
            node::name(&mut EnvoySharedData, &self.configuration.prefix.key("node"), self.vm);
        let reporter = Reporter {
            vm: self.vm.0,
            envoy: &name,
            audience: &settings.feed_audience,
            environment: &settings.environment,
            version: env!("CARGO_PKG_VERSION"),
            shadow: settings.mode == Mode::Shadow,
        };
        self.records = Records::new(&reporter);
        self.set_record_clock(now);
    }

    fn set_record_clock(&mut self, now: Now) {
        let coarse = now.unix.0.saturating_mul(1_000);
        self.records.set_clock(host::wall_milliseconds().unwrap_or(coarse), now.monotonic);
    }

    /// Posts what is due.
    pub(super) fn tell(&mut self, now: Now) {
        if !self.configuration.records.enabled {
            return;
        }
        self.set_record_clock(now);
        self.report.tell(&mut self.records, &self.configuration.feed, now.monotonic);
        let dropped = self.records.take_dropped();
        if dropped > 0 {
            self.metrics
                .count("gatepass_records_dropped", u32::try_from(dropped).unwrap_or(u32::MAX));
        }
    }

    /// Whether the call of this token was a post of records. The next goes out at once where one is due.
    pub(super) fn told(&mut self, token: u32, now: Now) -> bool {
        match self.report.answered(token, &mut self.records, now.monotonic) {
            None => return false,
            Some(true) => {}
            Some(false) => self.metrics.count("gatepass_record_posts_failed", 1),
        }
        self.tell(now);
        true
    }

    /// Writes a decision down on the stream of the effective context.
    pub(super) fn write_down(
        &mut self,
        outcome: Outcome,
        code: &'static str,
        noted: &Noted,
        action: Option<&str>,
        headers: &[Header<'_>],
        id: &str,
    ) {
        let settings = self.configuration.records;
        if !settings.enabled {
            return;
        }
        let class = match (noted.is_verified(), outcome) {
            (false, _) if matches!(code, "public" | "passed_through") => {
                return self.records.count(Why::Open, outcome, code);
            }
            (false, _) => Class::Unverified,
            (true, Outcome::Deny) => Class::Denied,
            (true, Outcome::Allow | Outcome::Shadow | Outcome::Ended) => Class::Allowed,
        };
        if class == Class::Unverified && !self.records.has_turn() {
            return self.records.count(Why::Unverified, outcome, code);
        }
        let id = uuid(id);
        // As it was decided: another bundle may have come while it waited.
        let index = noted.index();
        let at = index.zip(noted.route_at()).and_then(|(index, at)| index.at(at));
        if outcome == Outcome::Allow
            && settings.low_allows_per_mille < 1_000
            && at.is_none_or(|(_, route)| route.call.is_none())
        {
            let risk = at.and_then(|(_, route)| match route.target {
                RouteTarget::Public => None,
                RouteTarget::Action(at) => {
                    index?.bundle().actions.get(usize::try_from(at).ok()?).map(|action| action.risk)
                }
            });
            if risk == Some(Risk::Low) && of_a_thousand(&id) >= settings.low_allows_per_mille {
                return self.records.count(Why::Sampled, outcome, code);
            }
        }
        let known = class != Class::Unverified;
        let (rules, shadow_rules) = rules::named(noted);
        let named = Named::of(headers);
        // Asked of those alone whose gatepass was verified: each costs a call of the host.
        let certificate = known.then(|| property("connection\0sha256_peer_certificate_digest"));
        let certificate = certificate.flatten();
        // Without a certificate it names nobody.
        let workload = certificate.as_ref();
        let workload = workload.and_then(|_| property("connection\0uri_san_peer_certificate"));
        let decision = Decision {
            id,
            at: 0,
            outcome,
            code,
            policy: noted.policy().or_else(|| self.gate.bundle_position()),
            position: self.gate.position(),
            age: self.records.age(),
            bearer: noted.bearer(),
            action,
            audience: at.map(|(host, _)| host.audience.as_str()),
            method: named.method,
            // What no host of the policy is called is a caller's text.
            host: named.host.filter(|_| known || at.is_some()),
            route: at.map(|(_, route)| route.path.as_str()),
            call: noted.call(),
            inputs: noted
                .shown()
                .filter_map(|(nth, shown)| Some((at?.1.inputs.get(nth)?.name.as_str(), shown)))
                .collect(),
            workload: workload.as_deref(),
            certificate: certificate.as_deref(),
            request: named.request,
            trace: named.trace,
            rules,
            shadow_rules,
        };
        self.records.add(class, decision);
    }
}

/// Of a request's headers those that name it; each bounded and of its form, or left out.
#[derive(Default)]
struct Named<'a> {
    method: Option<&'a str>,
    host: Option<&'a str>,
    request: Option<&'a str>,
    trace: Option<&'a str>,
}

impl<'a> Named<'a> {
    fn of(headers: &[Header<'a>]) -> Self {
        let mut named = Self::default();
        for header in headers {
            let (place, fits): (_, fn(&[u8]) -> bool) = match header.name {
                b":method" => (&mut named.method, is_method),
                b":authority" => (&mut named.host, is_host),
                b"x-request-id" => (&mut named.request, is_request_id),
                b"traceparent" => (&mut named.trace, is_traceparent),
                _ => continue,
            };
            if fits(header.value) {
                *place = core::str::from_utf8(header.value).ok();
            }
        }
        named
    }
}

fn is_method(text: &[u8]) -> bool {
    text.len() <= 16 && text.iter().all(u8::is_ascii_uppercase)
}

fn is_host(text: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(byte);
    text.len() <= 255 && text.iter().all(plain)
}

/// A gatepass is longer, and so is what most secrets are.
fn is_request_id(text: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    (1..=MAX_REQUEST_ID).contains(&text.len()) && text.iter().all(plain)
}

/// W3C Trace Context, section 3.2: `00-<32 hexadecimal digits>-<16>-<2>`.
fn is_traceparent(text: &[u8]) -> bool {
    text.len() == 55
        && text.iter().enumerate().all(|(at, byte)| match at {
            2 | 35 | 52 => *byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

fn property(path: &str) -> Option<String> {
    let bytes = host::property(path).ok()?;
    let plain = bytes.len() <= MAX_PROPERTY && bytes.iter().all(u8::is_ascii_graphic);
    String::from_utf8(bytes).ok().filter(|text| plain && !text.is_empty())
}

/// The 16 bytes of an id that was written as text.
fn uuid(text: &str) -> [u8; 16] {
    let mut out = [0; 16];
    let digits = text.bytes().filter_map(|byte| match byte {
        b'0'..=b'9' => Some(byte.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(byte.wrapping_sub(b'a').wrapping_add(10)),
        _ => None,
    });
    for (nth, digit) in digits.take(32).enumerate() {
        if let Some(place) = out.get_mut(nth / 2) {
            *place = (*place << 4) | digit;
        }
    }
    out
}

/// The end of an id is as good as random.
fn of_a_thousand(id: &[u8; 16]) -> u32 {
    let end = id.last_chunk().copied().unwrap_or_default();
    u32::from_le_bytes(end) % 1_000
}

const MAX_REQUEST_ID: usize = 64;
/// The SPIFFE ID specification allows so many in an id; more than a record has room for is left out.
const MAX_PROPERTY: usize = 512;
