//! Values that rules and requests are both made of, so that they meet.

/// The actions, their routes and their inputs.
pub(crate) const POLICY: &str = "
actions:
  orders:create: {risk: high, body: json, groups: [spending]}
  orders:read: {risk: low}
  orders:bulk: {risk: medium, groups: [spending, wide]}
  orders:bulk:import: {risk: medium, body: json}
  files:put: {risk: low, body: json, groups: [orders]}
hosts:
  - names: [orders.example]
    audience: https://orders.example
    routes:
      - match: POST /orders
        action: orders:create
        inputs:
          amount: {type: money, query: amount, currency: {query: currency}}
          limit: {type: money, body: /limit, currency: EUR}
          count: {type: integer, query: count}
          rate: {type: decimal, body: /rate}
          rush: {type: boolean, query: rush}
          note: {type: text, body: /note}
          tags: {type: set, body: /tags}
      - match: GET /orders
        action: orders:read
        inputs:
          count: {type: integer, query: count}
          note: {type: text, query: note}
          kind: {type: text, query: kind}
          rush: {type: boolean, query: rush}
  - names: [bulk.example]
    audience: https://bulk.example
    routes:
      - match: POST /bulk
        action: orders:bulk:import
        inputs:
          kind: {type: integer, body: /kind}
          tags: {type: set, body: /tags}
          rate: {type: decimal, query: rate}
      - match: DELETE /bulk
        action: orders:bulk
      - match: PUT /files
        action: files:put
        inputs:
          amount: {type: money, body: /amount, currency: {body: /currency}}
          rush: {type: boolean, body: /rush}
budgets:
  day: {actions: [orders:create], per: agent, window: 1d, sum: limit, currency: EUR}
  rates: {actions: [orders:create, 'orders:bulk:import'], per: task, window: 1h, sum: rate}
  counts: {actions: [orders:create, orders:read], per: owner, window: 1h, sum: count}
  uses: {actions: ['orders:bulk', 'orders:bulk:import', files:put], per: blueprint, window: 1h, count: true}
";

#[derive(Clone, Copy)]
pub(crate) enum Unit {
    Whole,
    Decimal,
    Euros,
}

/// The budgets of the policy, with the actions that are under each.
pub(crate) const BUDGETS: [(&str, Unit, &[usize]); 4] = [
    ("day", Unit::Euros, &[0]),
    ("rates", Unit::Decimal, &[0, 3]),
    ("counts", Unit::Whole, &[0, 1]),
    ("uses", Unit::Whole, &[2, 3, 4]),
];

pub(crate) const ACTIONS: &[&str] =
    &["orders:create", "orders:read", "orders:bulk", "orders:bulk:import", "files:put"];
pub(crate) const GROUPS: &[&str] =
    &["orders", "files", "spending", "wide", "risk:low", "risk:medium", "risk:high"];

pub(crate) const AGENTS: &[&str] = &[
    "agent:aaaaaaaa-0000-4000-8000-000000000001",
    "agent:bbbbbbbb-0000-4000-8000-000000000002",
    "agent:cccccccc-0000-4000-8000-000000000003",
];
pub(crate) const PERSONS: &[&str] = &["user:corp/ada", "user:corp/bob", "user:corp/ursula"];
pub(crate) const BLUEPRINTS: &[&str] = &["buyer", "reader"];
pub(crate) const SYSTEMS: &[&str] = &["https://orders.example", "https://bulk.example"];
pub(crate) const ENVIRONMENTS: &[&str] = &["prod", "dev"];
pub(crate) const SCOPES: &[&str] = &["orders.write", "orders.read", "a", "prod"];

/// As texts of rules and of requests.
pub(crate) const TEXTS: &[&str] = &[
    "",
    "a",
    "b",
    "prod",
    "dev",
    "GET",
    "/orders",
    "EUR",
    "USD",
    "attested",
    "orders.write",
    "a*b",
    "aXb",
    "abab",
    "aba",
    "é",
    "e\u{301}",
    "日本語",
    "a日b",
    "say \"hi\"",
    "back\\slash",
    "task-1",
];
/// For `like`, with a `*` that stands for any text.
pub(crate) const PATTERNS: &[&str] = &[
    "*", "a*", "*b", "a*b", "*o*", "", "a", r"a\*b", r"*\**", "*日*", "é", "*é*", "a*b*", "**",
    "/*", "https*", "*-1", "agent:*", "*a*b*ab", r"*\\*", "*語", "prod", "d*v", "ab*ba", "aba*aba",
    "a*a", "*b*b*", "*ba*a",
];
pub(crate) const TAGS: &[&str] = &["a", "b", "é", "日本語", "orders.write"];

pub(crate) const LONGS: &[i64] = &[0, 1, 2, 3, 5, 10, -1, -2, -10, 100];
pub(crate) const LARGE: &[i64] =
    &[i64::MAX, i64::MAX - 1, i64::MIN, i64::MIN + 1, 4_611_686_018_427_387_904, 3_037_000_500];

pub(crate) const DECIMALS: &[&str] = &[
    "0.0",
    "0.0001",
    "-0.0001",
    "1.0",
    "1.5",
    "-1.5",
    "500.0",
    "500.0001",
    "922337203685477.5807",
    "-922337203685477.5808",
];
pub(crate) const CURRENCIES: &[&str] = &["EUR", "USD"];

/// Seconds; 2027-01-15T08:00:00Z.
pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const MOMENTS: &[&str] = &[
    "1970-01-01",
    "1969-12-31T23:59:59.999Z",
    "1969-12-30",
    "2027-01-15",
    "2027-01-15T08:00:00Z",
    "2027-01-15T08:00:00.001Z",
    "2027-01-15T09:00:00+0100",
    "2027-01-15T00:30:00.500-0730",
    "2024-02-29T12:00:00Z",
    "0001-01-01",
    "9999-12-31T23:59:59.999Z",
];
pub(crate) const DURATIONS: &[&str] = &[
    "0ms",
    "1ms",
    "-1ms",
    "1h",
    "-1h",
    "5m",
    "1d",
    "-1d",
    "1d2h3m4s5ms",
    "-1d2h3m4s5ms",
    "20s",
    "9223372036854775807ms",
    "-9223372036854775808ms",
    "-106751991167d",
];
/// What lengths come to in whole units.
pub(crate) const UNITS: &[i64] =
    &[0, 1, -1, 5, 20, 24, 26, -26, 60, 1_440, 1_563, -1_563, 3_600, 93_784, 93_784_005, 86_400];
pub(crate) const NETS: &[&str] = &[
    "10.0.0.0/8",
    "10.1.2.3",
    "10.1.2.3/32",
    "10.1.2.3/8",
    "0.0.0.0/0",
    "127.0.0.1",
    "127.0.0.0/8",
    "127.0.0.0/7",
    "224.0.0.1",
    "224.0.0.0/3",
    "::1",
    "::1/127",
    "::/0",
    "2001:db8::/32",
    "2001:db8::1",
    "ff00::/8",
    "ff02::1",
    "::ffff:a01:203",
];

/// As a text of Cedar.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
