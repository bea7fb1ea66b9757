//! What operators can ask for on the command line.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use gatepass::decisions::Format;
use gatepass::desk::operators::Role;

use super::differences::DiffArgs;
use super::enforced::Wait;
use super::replay::ReplayArgs;
use crate::cli::explain::RequestArgs;
use crate::cli::import_mcp::ImportMcp;

#[derive(Subcommand)]
pub(crate) enum Admin {
    /// People, who own agents.
    #[command(subcommand)]
    Person(Person),
    /// Types of agents and their ceilings.
    #[command(subcommand)]
    Blueprint(Blueprint),
    /// Agents.
    #[command(subcommand)]
    Agent(Agent),
    /// Versions of the policy.
    #[command(subcommand)]
    Policy(Policy),
    /// What is reserved and taken of the policy's budgets.
    Budgets {
        /// Of one agent, task, owner or blueprint alone.
        #[arg(long, value_name = "ID")]
        holder: Option<String>,
    },
    /// Followers with a feed audience of their own, which may have a policy before all others.
    #[command(subcommand)]
    Cohort(Cohort),
    /// Operators of the control plane.
    #[command(subcommand)]
    Operator(Operator),
    /// Operators' tokens.
    #[command(subcommand)]
    Token(Token),
    /// Tokens with which fleets follow the feed.
    #[command(subcommand)]
    JoinToken(JoinToken),
    /// Changes that wait for a second person.
    #[command(subcommand)]
    Proposal(Proposal),
    /// Kill gatepasses by what they carry.
    Revoke {
        /// credential, task, subject, agent, owner, blueprint or key.
        kind: String,
        // One key in sixty-four has an id that begins with `-`.
        #[arg(allow_hyphen_values = true)]
        id: String,
        #[command(flatten)]
        why: Why,
        #[command(flatten)]
        wait: Wait,
    },
    /// Kill every gatepass and close issuance.
    Stop {
        #[command(flatten)]
        why: Why,
        #[command(flatten)]
        wait: Wait,
    },
    /// Open issuance again.
    Open {
        #[command(flatten)]
        why: Why,
    },
    /// Put a newer root document in force, and the keys that it names.
    AdoptRoot {
        /// As `gatepass root sign` wrote it.
        document: PathBuf,
        #[command(flatten)]
        why: Why,
    },
    /// The Envoys that follow and what each enforces; the worst first.
    Fleet,
    /// What gates decided.
    Decisions(Box<DecisionsArgs>),
    /// One decision that was made, or what a gate would decide on a request, check by check.
    Explain(Box<ExplainArgs>),
    /// Tasks and what was decided under them.
    #[command(subcommand)]
    Task(Task),
    /// Where the environment stands.
    Status {
        /// Try again for so many seconds until the server is there.
        #[arg(long, value_name = "SECONDS", default_value_t = 0)]
        wait: u64,
    },
    /// The audit record.
    #[command(subcommand)]
    Audit(Audit),
}

#[derive(Args)]
pub(crate) struct DecisionsArgs {
    /// Go on with each new one until interrupted.
    #[arg(long)]
    pub(super) follow: bool,
    #[arg(long)]
    pub(super) agent: Option<String>,
    #[arg(long)]
    pub(super) action: Option<String>,
    /// `decided`, or a denial's.
    #[arg(long)]
    pub(super) code: Option<String>,
    #[arg(long)]
    pub(super) task: Option<String>,
    /// allow, deny, shadow or ended.
    #[arg(long)]
    pub(super) outcome: Option<String>,
    /// As `gatepass fleet` names it.
    #[arg(long)]
    pub(super) envoy: Option<String>,
    /// `30s`, `15m`, `2h` or `7d` ago, or a time as RFC 3339.
    #[arg(long)]
    pub(super) since: Option<String>,
    #[arg(long)]
    pub(super) until: Option<String>,
    /// At most so many, the newest.
    #[arg(long, default_value_t = 100)]
    pub(super) limit: u32,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(super) output: Format,
    /// Instead: who tells them, what is missing, and what was only counted.
    #[arg(long, conflicts_with_all = ["follow", "output"])]
    pub(super) gaps: bool,
    /// With --gaps: hold what is kept against the hashes that it came with.
    #[arg(long, requires = "gaps")]
    pub(super) verify: bool,
}

#[derive(Args)]
pub(crate) struct ExplainArgs {
    /// Of a decision, as the denied caller has it, or the upstream in `x-gatepass-decision-id`.
    #[arg(conflicts_with_all = ["request", "method", "host", "path", "header", "token", "gatepass_file", "body", "source", "age", "audience"])]
    pub(super) id: Option<String>,
    #[command(flatten)]
    pub(super) request: RequestArgs,
    /// As a gate of this cohort would decide.
    #[arg(long, value_name = "COHORT")]
    pub(super) audience: Option<String>,
}

#[derive(Subcommand)]
pub(crate) enum Task {
    /// A task and the chain of what was decided under it.
    Show { id: String },
}

// No doc comment: clap would print it as the help of each command that has it.
#[derive(Args)]
pub(crate) struct Why {
    /// Why; it goes on record.
    #[arg(long)]
    pub(super) reason: String,
}

#[derive(Subcommand)]
pub(crate) enum Person {
    Add {
        /// `user:<directory>/<id>`.
        id: String,
        #[arg(long)]
        name: String,
        #[arg(long)]
        contact: String,
        #[command(flatten)]
        why: Why,
    },
    /// They left: their agents are orphaned, what these hold is dead.
    End {
        id: String,
        #[command(flatten)]
        why: Why,
    },
    Return {
        id: String,
        #[command(flatten)]
        why: Why,
    },
    List,
}

#[derive(Subcommand)]
pub(crate) enum Blueprint {
    Add {
        id: String,
        #[arg(long)]
        purpose: String,
        /// The group that answers for it.
        #[arg(long)]
        owners: String,
        /// A JSON file.
        #[arg(long, value_name = "FILE")]
        ceiling: PathBuf,
        #[command(flatten)]
        why: Why,
    },
    Ceiling {
        id: String,
        ceiling: PathBuf,
        #[command(flatten)]
        why: Why,
    },
    Disable {
        id: String,
        #[command(flatten)]
        why: Why,
    },
    Enable {
        id: String,
        #[command(flatten)]
        why: Why,
    },
    List,
}

#[derive(Subcommand)]
pub(crate) enum Agent {
    Register(Register),
    /// Everything on one screen: owner, contact, keys, live tasks, history.
    Show {
        id: String,
    },
    List {
        #[arg(long)]
        state: Option<String>,
        #[arg(long)]
        owner: Option<String>,
        #[arg(long)]
        blueprint: Option<String>,
        #[arg(long)]
        project: Option<String>,
        /// Somewhere in id, name, purpose, owner or contact.
        #[arg(long)]
        text: Option<String>,
    },
    Activate {
        id: String,
        #[command(flatten)]
        why: Why,
    },
    /// One agent, or all of a project or blueprint.
    Suspend {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        why: Why,
    },
    /// For good: one agent, or all of a project or blueprint.
    Retire {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        why: Why,
    },
    /// Ask somebody to take it over.
    ProposeOwner {
        id: String,
        owner: String,
        #[command(flatten)]
        why: Why,
    },
    /// Take it over: with the token of the person who was asked.
    Accept {
        id: String,
        #[command(flatten)]
        why: Why,
    },
    AddKey {
        id: String,
        /// A public JWK in a file.
        key: PathBuf,
        #[command(flatten)]
        why: Why,
    },
    RemoveKey {
        id: String,
        thumbprint: String,
        #[command(flatten)]
        why: Why,
    },
}

#[derive(Args)]
pub(crate) struct Register {
    pub(super) name: String,
    #[arg(long)]
    pub(super) blueprint: String,
    #[arg(long)]
    pub(super) owner: String,
    #[arg(long)]
    pub(super) department: String,
    #[arg(long)]
    pub(super) purpose: String,
    #[arg(long)]
    pub(super) contact: String,
    #[arg(long)]
    pub(super) project: String,
    #[arg(long, default_value_t = 365)]
    pub(super) valid_days: u64,
    /// Its public JWK in a file.
    #[arg(long, value_name = "FILE")]
    pub(super) key: Option<PathBuf>,
    #[command(flatten)]
    pub(super) why: Why,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Which {
    pub(super) id: Option<String>,
    #[arg(long)]
    pub(super) project: Option<String>,
    #[arg(long)]
    pub(super) blueprint: Option<String>,
}

#[derive(Subcommand)]
pub(crate) enum Policy {
    /// Compile a policy without a server and say what is wrong with it, or what it leaves open.
    Check {
        /// A file, or a folder with `gatepass.yaml`.
        policy: PathBuf,
        /// Warnings are errors.
        #[arg(long)]
        strict: bool,
        /// Ask the control plane too whether a blueprint's ceiling has each scope that an action demands.
        #[arg(long)]
        with_blueprints: bool,
    },
    /// Write a policy from the tools that an MCP server lists: an action and typed inputs for each.
    ImportMcp(ImportMcp),
    /// Run the tests of a policy folder, `tests/*.yaml`, without a server.
    Test {
        /// A folder with `gatepass.yaml`.
        policy: PathBuf,
        /// Say of each test what was decided, and by which rules.
        #[arg(long)]
        verbose: bool,
        /// Write what came of them here, as JUnit XML.
        #[arg(long, value_name = "FILE")]
        junit: Option<PathBuf>,
    },
    /// Check a policy and run its tests, then put it in force.
    Publish {
        /// A file, or a folder with `gatepass.yaml`.
        policy: PathBuf,
        /// Warnings are errors.
        #[arg(long)]
        strict: bool,
        /// In this cohort alone, until it is promoted or withdrawn.
        #[arg(long, value_name = "NAME")]
        cohort: Option<String>,
        #[command(flatten)]
        why: Why,
        #[command(flatten)]
        wait: Wait,
    },
    /// Lay out the rules of a policy folder as Cedar's own formatter does.
    Fmt {
        /// A folder with `gatepass.yaml`.
        policy: PathBuf,
        /// Change nothing, and fail where something would be.
        #[arg(long)]
        check: bool,
    },
    /// Print the schema of a policy's actions as Cedar's tools read it.
    Schema {
        /// A file, or a folder with `gatepass.yaml`.
        policy: PathBuf,
    },
    /// Put the policy that a cohort tries in force for all.
    Promote {
        /// The only one that tries a policy unless stated.
        #[arg(long, value_name = "NAME")]
        cohort: Option<String>,
        /// The version, so that no other is promoted if the cohort was given one meanwhile.
        #[arg(long, value_name = "N")]
        version: Option<u64>,
        /// The position since when it is tried, as `gatepass cohort list` shows it.
        #[arg(long, value_name = "POSITION")]
        since: Option<String>,
        /// Also where denials of verified gatepasses jumped, or where too little was seen to say.
        #[arg(long)]
        despite_denials: bool,
        #[command(flatten)]
        why: Why,
        #[command(flatten)]
        wait: Wait,
    },
    /// Give a cohort the policy of all again.
    Withdraw {
        /// The only one that tries a policy unless stated.
        #[arg(long, value_name = "NAME")]
        cohort: Option<String>,
        /// The version, so that no other is withdrawn if the cohort was given one meanwhile.
        #[arg(long, value_name = "N")]
        version: Option<u64>,
        /// The position since when it is tried, as `gatepass cohort list` shows it.
        #[arg(long, value_name = "POSITION")]
        since: Option<String>,
        #[command(flatten)]
        why: Why,
        #[command(flatten)]
        wait: Wait,
    },
    List,
    /// Print one version; `current` is the one in force.
    Show {
        version: String,
    },
    /// What changed from one version to another, or to a file or a folder: in meaning, then in the text.
    Diff(DiffArgs),
    /// Recorded decisions against a policy that is not in force: which would come out otherwise.
    Replay(ReplayArgs),
    Rollback {
        version: u64,
        #[command(flatten)]
        why: Why,
        #[command(flatten)]
        wait: Wait,
    },
}

#[derive(Subcommand)]
pub(crate) enum Cohort {
    Add {
        /// What its Envoys have as `feed_audience`: lower-case letters, digits and `-`.
        name: String,
        #[command(flatten)]
        why: Why,
    },
    /// Nothing is said to it any more; its join tokens end.
    Remove {
        name: String,
        /// Also while Envoys follow it: they refuse everything once they are stale.
        #[arg(long)]
        despite_followers: bool,
        #[command(flatten)]
        why: Why,
    },
    /// All of them, and how the policies that they try stand.
    List,
}

#[derive(Subcommand)]
pub(crate) enum Operator {
    Add {
        id: String,
        /// The person they are, so that they can accept agents.
        #[arg(long)]
        person: Option<String>,
        #[command(flatten)]
        why: Why,
    },
    End {
        id: String,
        #[command(flatten)]
        why: Why,
    },
    List,
}

#[derive(Subcommand)]
pub(crate) enum Token {
    /// Makes a token here and registers its digest; it is printed once.
    Add {
        operator: String,
        #[arg(long)]
        role: Role,
        #[arg(long, default_value_t = 90)]
        days: u64,
        #[command(flatten)]
        why: Why,
    },
    End {
        id: String,
        #[command(flatten)]
        why: Why,
    },
}

#[derive(Subcommand)]
pub(crate) enum JoinToken {
    /// Makes a token here and registers its digest; it is printed once.
    Add {
        fleet: String,
        /// For the feed of this cohort; else for that of those in none.
        #[arg(long, value_name = "NAME")]
        cohort: Option<String>,
        #[arg(long, default_value_t = 90)]
        days: u64,
        #[command(flatten)]
        why: Why,
    },
    End {
        id: String,
        #[command(flatten)]
        why: Why,
    },
}

#[derive(Subcommand)]
pub(crate) enum Proposal {
    List,
    Accept {
        id: String,
        #[command(flatten)]
        why: Why,
    },
    Reject {
        id: String,
        #[command(flatten)]
        why: Why,
    },
}

#[derive(Subcommand)]
pub(crate) enum Audit {
    /// Check that the record is one chain, through an anchor that you kept if you have one.
    Verify {
        /// `<n>:<hash>`.
        #[arg(long)]
        anchor: Option<String>,
    },
    /// Print it as JSON lines, with its signed head.
    Export,
}
