//! The bundle: the compiled policy as bytes. Its index, [`crate::routes::Index`], is what is
//! decided on, and building that index is what validates a bundle, at publish and in the gate.

use serde::{Deserialize, Serialize};

/// A postcard bundle, version 1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    pub actions: Vec<Action>,
    pub hosts: Vec<Host>,
    /// A [`crate::policy::Program`] in postcard: the rules, lowered from Cedar. Empty: there are none, and what
    /// a gatepass grants is permitted.
    pub policy: Vec<u8>,
    /// What rules may bound over several gatepasses; they name them by their number.
    pub budgets: Vec<Budget>,
}

/// An action; routes name it by its index in [`Bundle::actions`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// `[a-z0-9_-]+(:[a-z0-9_-]+)*`, at most 64 bytes.
    pub name: String,
    pub risk: Risk,
    /// Every one is demanded.
    pub scopes_all: Vec<String>,
    /// One of them is demanded, when there are any.
    pub scopes_any: Vec<String>,
    /// The weakest assurance accepted.
    pub assurance: Assurance,
    pub binding: Binding,
    pub uses: Uses,
    /// Seconds since `iat`.
    pub max_age: Option<u32>,
    /// Seconds since the last proof of freshness.
    pub staleness: u32,
    pub body: BodyRule,
    /// Media types that its body may have, in lower case and without parameters. Empty: `application/json`
    /// and `+json` for [`BodyRule::Json`], anything but `multipart/*` for [`BodyRule::Digest`].
    pub content_types: Vec<String>,
    /// Content codings that [`BodyRule::Digest`] takes; none where empty.
    pub encodings: Vec<String>,
    /// A human's approval of exactly this action is demanded.
    pub approval: bool,
    pub mode: ActionMode,
    pub audit: Audit,
    /// Groups that rules may name it by, beside those of its name and its risk. Named alike as actions are.
    pub groups: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    Low,
    Medium,
    High,
}

impl Risk {
    /// The longest `exp - iat`, in seconds, of a gatepass that this risk accepts.
    #[must_use]
    pub const fn longest_lifetime(self) -> u32 {
        match self {
            Self::Low => 3600,
            Self::Medium => 900,
            Self::High => 300,
        }
    }

    /// The staleness bound, in seconds, of an action that states none.
    #[must_use]
    pub const fn default_staleness(self) -> u32 {
        match self {
            Self::Low => 900,
            Self::Medium => 60,
            Self::High => 10,
        }
    }
}

/// How the agent proved itself, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assurance {
    Static,
    Federated,
    Attested,
}

/// What must present the gatepass. Only `None` can be checked yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Binding {
    None,
    Key,
    Certificate,
    Workload,
}

/// How often a gatepass may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Uses {
    Unlimited,
    Once,
}

/// How much of something gatepasses may take together, counted when they are issued. Each of them says what is
/// taken with it, in its claim `budget`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// `[a-z][a-z0-9_]*`, at most 64 bytes.
    pub name: String,
    pub per: Holder,
    /// Seconds: what was taken before is forgotten.
    pub window: u32,
    pub sums: Sums,
    /// Indexes into [`Bundle::actions`], ascending; each is used once for a gatepass.
    pub actions: Vec<u32>,
    /// [`crate::budget::claim_of`] it: what gatepasses name it by.
    pub claim: String,
}

/// Whose gatepasses are taken together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holder {
    Agent,
    Task,
    Owner,
    Blueprint,
}

/// What of a gatepass is added up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sums {
    /// How many they are.
    Uses,
    /// The most that an input may be, by its name.
    Integer(String),
    Decimal(String),
    /// Amounts of this currency alone: three upper-case letters.
    Money(String, String),
}

impl Sums {
    /// The input; none where gatepasses are counted.
    #[must_use]
    pub fn input(&self) -> Option<&str> {
        match self {
            Self::Uses => None,
            Self::Integer(input) | Self::Decimal(input) | Self::Money(input, _) => Some(input),
        }
    }
}

/// When the record of a decision must be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audit {
    /// Afterwards, with others.
    Batched,
    /// Before the request goes on; else it does not.
    Confirmed,
}

/// What the action does with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyRule {
    /// The request must end with its headers.
    None,
    /// A body passes unread, so nothing in it can be decided on.
    Unread,
    /// The gate waits for the whole body, and its bytes are part of the action digest.
    Digest,
    /// The gate waits for the whole body, and reads it as JSON.
    Json,
    /// The gate waits for the whole body, and reads it as a form (`application/x-www-form-urlencoded`).
    Form,
}

impl BodyRule {
    /// Whether the body is part of what is decided on.
    #[must_use]
    pub const fn is_read(self) -> bool {
        match self {
            Self::Digest | Self::Json | Self::Form => true,
            Self::None | Self::Unread => false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionMode {
    Enforce,
    /// Decides, counts and logs, and lets through.
    Shadow,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Lower case, without port.
    pub names: Vec<String>,
    /// What `aud` must contain.
    pub audience: String,
    /// The origin as agents see it; DPoP's `htu` is compared with it.
    pub origin: Option<String>,
    pub treatment: Treatment,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Treatment {
    /// Not guarded: requests go on as they came.
    PassedThrough,
    /// Denied unless a route says otherwise.
    Guarded(Vec<Route>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Upper case.
    pub methods: Vec<String>,
    /// `/orders/{id}`: literal segments and whole-segment parameters.
    pub path: String,
    pub target: RouteTarget,
    pub inputs: Vec<Input>,
    /// Which JSON-RPC messages it is for. Several routes of one path may differ in it alone.
    pub call: Option<Call>,
    /// Seconds that a permit may last.
    pub max_duration: u32,
    /// The upgrade that may be asked for: `websocket`. A filter that knows none refuses the bundle.
    pub upgrade: Option<String>,
    /// Bytes of a body that is read.
    pub max_body: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RouteTarget {
    /// Health checks and CORS preflight: no gatepass is asked for.
    Public,
    /// Index into [`Bundle::actions`].
    Action(u32),
}

/// JSON-RPC messages of one method.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    pub protocol: Protocol,
    /// [`ANSWERS`] means the answers to what the server has asked.
    pub method: String,
    /// Of the tool or prompt, or the resource's URI; absent: any that no other route names.
    pub name: Option<String>,
}

/// The method under which a policy speaks of messages that are answers, and have none.
pub const ANSWERS: &str = "$answer";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// JSON-RPC 2.0, and no more is known of it: A2A, language servers.
    JsonRpc,
    /// The Model Context Protocol over streamable HTTP.
    Mcp,
}

/// One typed value of the request that constraints and policies may speak of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    pub name: String,
    pub kind: InputKind,
    pub source: Source,
    /// What the record of a decision shows of it.
    pub record: Recording,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recording {
    /// Not even that it was there.
    None,
    /// [`crate::record::pseudonym`].
    Hash,
    Value,
}

impl Recording {
    /// Where the policy does not say. A text is whatever a caller wrote, so perhaps a name, an account or a
    /// secret; a number says how much of something.
    #[must_use]
    pub const fn of(kind: &InputKind) -> Self {
        match kind {
            InputKind::Text | InputKind::TextSet => Self::None,
            InputKind::Integer | InputKind::Decimal | InputKind::Money(_) | InputKind::Boolean => {
                Self::Value
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InputKind {
    Text,
    Integer,
    Decimal,
    /// A decimal with its currency.
    Money(Currency),
    Boolean,
    /// A JSON array of texts, none twice.
    TextSet,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Currency {
    /// Three upper-case letters (ISO 4217).
    Fixed(String),
    From(Source),
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// A parameter of the path template.
    Path(String),
    /// A query key.
    Query(String),
    /// A header, lower case.
    Header(String),
    /// A JSON pointer into the body (RFC 6901), or the key of a form.
    Body(String),
}
