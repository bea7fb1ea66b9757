//! What it costs to decide by a body: the gate beside a filter that only buffers, and beside Envoy's own filters;
//! and what a worker holds while bodies come slowly.

mod rows;
mod uploads;

use std::path::Path;
use std::time::Duration;

use gatepass::issue::{Constraint, Entry};
use gatepass_envoy::Envoy;
use gatepass_tests::kit::documents::{ACTIONS, POLICY, SCOPE};
use gatepass_tests::kit::world::ControlPlane;
use serde_json::{Value, json};

use super::envoys::{ANSWER, DIRECT, Site, Subject};
use super::load::{Expected, Http, Load, Outcome, Pace};
use super::report;
use super::request::Asked;
use super::tokens::{Again, Mint};
use super::{CLOSED, Failed, cores, median};
use rows::{BASE, Kind, Row, TOO_MUCH, UNRECORDED};

pub(crate) fn run(out: &Path) -> Result<(), Failed> {
    let control = ControlPlane::with_policy("prod", POLICY)?;
    let mint = control.with(|store| Mint::new(store))?;
    let jwks = mint.jwks()?;
    let nowhere = ([127, 0, 0, 1], 1).into();
    let site =
        Site { control: &control, jwks: &jwks, empty: out, upstream: nowhere, ext_authz: nowhere };
    let mut bench = Bench::start(&site, &mint)?;
    for row in rows::rows() {
        bench.refuses(&row)?;
    }
    let mut all: Vec<Measured> = rows::rows().into_iter().map(Measured::new).collect();
    for round in 0..=ROUNDS {
        bench.round(&mut all, round > 0)?;
        eprintln!("round {round} of {ROUNDS}");
    }
    drop(bench);
    println!("{}", table(&all));
    let records = cost_of_records(&all);
    println!("a record: {records:#}");
    let measured = uploads::measure(&site, &mint);
    let uploads = measured.as_ref().ok();
    let report = json!({
        "command": "make bench-bodies",
        "machine": report::machine(),
        "goal": "at 1 KiB at most 25 us over buffer_only",
        "record": records,
        "rows": all.iter().map(Measured::json).collect::<Vec<_>>(),
        "slow_uploads": uploads,
    });
    std::fs::create_dir_all(out)?;
    std::fs::write(out.join("bodies.json"), serde_json::to_string_pretty(&report)? + "\n")?;
    println!("slow uploads: {:#}", measured?);
    match all.iter().find_map(|one| Some((one.row.name, one.example.as_ref()?))) {
        Some((name, example)) => Err(format!("`{name}` is void: {example}").into()),
        None => Ok(()),
    }
}

/// The uploads alone.
pub(crate) fn only_uploads(out: &Path) -> Result<(), Failed> {
    let control = ControlPlane::with_policy("prod", POLICY)?;
    let mint = control.with(|store| Mint::new(store))?;
    let nowhere = ([127, 0, 0, 1], 1).into();
    let jwks = json!({});
    let site =
        Site { control: &control, jwks: &jwks, empty: out, upstream: nowhere, ext_authz: nowhere };
    println!("{:#}", uploads::measure(&site, &mint)?);
    Ok(())
}

/// What every gatepass of the benchmark grants.
pub(super) fn granted() -> Entry {
    let most = Constraint { max: Some(json!("500.00 EUR")), ..Constraint::default() };
    Entry {
        actions: ACTIONS.map(str::to_owned).to_vec(),
        constraints: [("amount".to_owned(), most)].into(),
        ..Entry::default()
    }
}

/// All subjects, running.
struct Bench {
    envoys: Vec<(Subject, Envoy)>,
    credentials: Again,
}

impl Bench {
    fn start(site: &Site<'_>, mint: &Mint) -> Result<Self, Failed> {
        let mut envoys: Vec<(Subject, Envoy)> = Vec::new();
        for row in rows::rows() {
            if envoys.iter().all(|(subject, _)| *subject != row.subject) {
                envoys.push((row.subject, site.launch(row.subject, 1)?));
            }
        }
        let credentials = mint.granting(&granted(), SCOPE, 1, GATEPASSES)?;
        let gates = [Subject::Gatepass, Subject::Unrecorded];
        for (_, gate) in envoys.iter().filter(|(subject, _)| gates.contains(subject)) {
            uploads::settled(gate, credentials.first().ok_or("no gatepass")?)?;
        }
        cores::settle()?;
        Ok(Self { envoys, credentials: Again::new(credentials) })
    }

    fn envoy(&self, row: &Row) -> Result<&Envoy, Failed> {
        let mut envoys = self.envoys.iter();
        let found = envoys.find(|(subject, _)| *subject == row.subject);
        Ok(&found.ok_or("no such subject")?.1)
    }

    fn load(
        &mut self,
        row: &Row,
        asked: &Asked,
        expected: &Expected,
        lasting: Duration,
    ) -> Result<Outcome, Failed> {
        let address = self.envoy(row)?.address(DIRECT)?;
        let (http, pace) = (Http::One, Pace::Closed);
        Load { address, asked, http, pace, lasting, expected }.run(&mut self.credentials).map_err(
            |error| {
                let (name, kind, bytes) = (row.name, row.kind.name(), row.bytes);
                format!("`{name}`, {kind} of {bytes} bytes: {error}").into()
            },
        )
    }

    /// Whoever is said to look at the amount must refuse one that is too large: otherwise the row would measure
    /// something else.
    fn refuses(&mut self, row: &Row) -> Result<(), Failed> {
        let Some(refused) = &row.refused else { return Ok(()) };
        let asked = row.kind.asked(row.bytes, TOO_MUCH);
        let outcome = self.load(row, &asked, refused, GLANCE)?;
        match outcome.example {
            Some(example) => {
                let (name, kind, bytes) = (row.name, row.kind.name(), row.bytes);
                Err(format!("`{name}`, {kind} of {bytes} bytes, does not refuse: {example}").into())
            }
            None => Ok(()),
        }
    }

    fn round(&mut self, all: &mut [Measured], counts: bool) -> Result<(), Failed> {
        let mut base = None;
        for measured in all {
            let row = &measured.row;
            let expected = Expected { status: 200, text: ANSWER };
            let before = cores::run_time(self.envoy(row)?.id())?;
            let outcome = self.load(row, &row.asked, &expected, CLOSED)?;
            let cpu = cores::run_time(self.envoy(row)?.id())? - before;
            let answered = outcome.answered as f64;
            let cpu = cpu / answered;
            if row.name == BASE {
                base = Some(cpu);
            }
            let over = cpu - base.ok_or("nothing to hold it against")?;
            measured.unexpected += outcome.unexpected;
            measured.example = measured.example.take().or(outcome.example);
            // The first fills caches and compiles; it is checked as the others are.
            if counts {
                measured.rps.push(answered / outcome.lasted.as_secs_f64());
                measured.cpu.push(cpu);
                measured.over.push(over);
            }
        }
        Ok(())
    }
}

/// A row's rounds.
struct Measured {
    row: Row,
    rps: Vec<f64>,
    /// Microseconds of Envoy for each request, and over [`BASE`] in the same round.
    cpu: Vec<f64>,
    over: Vec<f64>,
    unexpected: u64,
    /// The first answer that was not expected.
    example: Option<String>,
}

impl Measured {
    fn new(row: Row) -> Self {
        let (rps, cpu, over) = (Vec::new(), Vec::new(), Vec::new());
        Self { row, rps, cpu, over, unexpected: 0, example: None }
    }

    fn json(&self) -> Value {
        let figure = |all: &[f64]| match self.unexpected {
            0 => json!(tenths(median(all.to_vec()))),
            _ => Value::Null,
        };
        json!({
            "name": self.row.name,
            "kind": self.row.kind.name(),
            "bytes": self.row.bytes,
            "rps": figure(&self.rps),
            "cpu_us": figure(&self.cpu),
            "over_buffer_only_us": figure(&self.over),
            "rounds": self.rps.len(),
            "spread": {
                "rps": spread(&self.rps),
                "cpu_us": spread(&self.cpu),
                "over_buffer_only_us": spread(&self.over),
            },
            "unexpected": self.unexpected,
            "example": self.example,
        })
    }
}

/// What each decision's record takes: the gate over the same without them, in the same round, of each kind and
/// size and of all.
fn cost_of_records(all: &[Measured]) -> Value {
    let mut rows = Vec::new();
    let mut every = Vec::new();
    for (gate, without) in all.iter().zip(all.iter().skip(1)) {
        if without.row.name != UNRECORDED {
            continue;
        }
        let costs: Vec<f64> =
            gate.cpu.iter().zip(&without.cpu).map(|(gate, without)| gate - without).collect();
        rows.push(json!({
            "kind": gate.row.kind.name(),
            "bytes": gate.row.bytes,
            "cpu_us": tenths(median(costs.clone())),
            "spread": spread(&costs),
        }));
        // A large body's own noise is larger than a record.
        if gate.row.bytes == SMALL {
            every.extend(costs);
        }
    }
    json!({
        "goal": "at most 3 us",
        "cpu_us": tenths(median(every.clone())),
        "rounds": every.len(),
        "rows": rows,
    })
}

fn spread(all: &[f64]) -> [f64; 2] {
    let least = all.iter().copied().fold(f64::INFINITY, f64::min);
    let most = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    [tenths(least), tenths(most)]
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// For whoever runs it.
fn table(all: &[Measured]) -> String {
    let mut out = String::from(
        "| | bytes | requests/s | CPU, us | spread | over buffering, us | spread |\n|---|---|---|---|---|---|---|\n",
    );
    for one in all {
        let row = &one.row;
        let kind = match row.kind {
            Kind::Json => "JSON",
            Kind::Mcp => "MCP",
        };
        let [least, most] = spread(&one.cpu);
        let [nearest, farthest] = spread(&one.over);
        out.push_str(&format!(
            "| {} | {kind} {} | {:.0} | {:.1} | {least:.1} to {most:.1} | {:.1} | {nearest:.1} to {farthest:.1} |\n",
            row.name,
            row.bytes,
            median(one.rps.clone()),
            median(one.cpu.clone()),
            median(one.over.clone()),
        ));
    }
    out
}

/// In turn.
const GATEPASSES: usize = 200;
const ROUNDS: usize = 7;
/// Bytes of the smallest bodies.
const SMALL: usize = 1 << 10;
/// How long a row is seen refusing.
const GLANCE: Duration = Duration::from_millis(100);
