//! What a decision costs, beside its rivals: one Envoy binary, one machine, one run, the rows in turn.
//!
//! Usage: `bench-line-rate quick|full EXT_AUTHZ OUT README`; `make bench-quick` and `make bench` build
//! everything and call it. `bench-line-rate only EXT_AUTHZ ROW` asks for one row alone, for a profiler. It writes `OUT/line-rate.json` and `OUT/line-rate.svg`, and the table into
//! README between its marks.

mod bodies;
mod cores;
mod envoys;
mod footprint;
mod http1;
mod http2;
mod load;
mod parts;
mod report;
mod request;
mod rows;
mod tokens;

use std::io::BufRead as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gatepass_engine::revocation::Kind as Revokes;
use gatepass_envoy::Envoy;
use gatepass_tests::kit::world::ControlPlane;

use envoys::{DIRECT, Site, Subject, UPSTREAM};
use load::{Credentials, Http, Load, Outcome, Pace};
use report::{Flood, Measured, Report, Round};
use request::READ;
use rows::{Presents, Row, rows};
use tokens::{Again, Kind, Mint, Nothing, Once, REVOKED};

type Failed = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().collect();
    let (extent, ext_authz, out, readme) = match arguments.as_slice() {
        [_, extent, ext_authz, out, readme] => (extent, ext_authz, out, readme),
        [_, word, out] if word == "footprint" => return footprint::run(Path::new(out)),
        [_, word, out] if word == "bodies" => return bodies::run(Path::new(out)),
        [_, word, out] if word == "uploads" => return bodies::only_uploads(Path::new(out)),
        [_, word, out] if word == "parts" => return parts::run(Path::new(out)),
        [_, word, ext_authz, row] if word == "only" => return only(Path::new(ext_authz), row),
        _ => return Err(USAGE.into()),
    };
    let settings: Vec<Setting> = match extent.as_str() {
        "quick" => vec![QUICK],
        "full" => full(),
        other => return Err(format!("`{other}` is neither `quick` nor `full`").into()),
    };
    let mut measured = Vec::new();
    let mut flood = None;
    for (workers, settings) in by_workers(&settings) {
        let bench = Bench::start(Path::new(ext_authz), workers)?;
        if flood.is_none() {
            flood = Some(bench.flood()?);
        }
        for setting in settings {
            measured.extend(bench.measure(setting)?);
        }
    }
    let flood = flood.ok_or("nothing to measure")?;
    let report = Report { measured, flood, command: format!("make {}", command(extent)) };
    report.write(Path::new(out))?;
    print!("{}", report.table());
    report.refuse_void()?;
    report.write_readme(Path::new(readme))
}

/// One row under closed load, for whoever looks on with a profiler.
fn only(ext_authz: &Path, name: &str) -> Result<(), Failed> {
    let row = rows().into_iter().find(|row| row.name == name).ok_or("no such row")?;
    let bench = Bench::start(ext_authz, 1)?;
    let mut credentials = bench.credentials(&row, QUICK)?;
    for _ in 0..ROUNDS {
        let round = bench.round(&row, QUICK, credentials.as_mut(), false)?;
        println!("{}", round.line());
    }
    Ok(())
}

fn command(extent: &str) -> &'static str {
    if extent == "quick" { "bench-quick" } else { "bench" }
}

/// Under what all rows are measured once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) workers: u32,
    pub(crate) http: Http,
    pub(crate) upstream: bool,
}

impl Setting {
    fn lasting(self) -> Duration {
        if self == QUICK { CLOSED } else { SHORT }
    }

    /// Gatepasses that a row uses once: more than the fastest of them takes.
    fn fresh(self) -> usize {
        if self == QUICK { 210_000 } else { 160_000 }
    }
}

const QUICK: Setting = Setting { workers: 1, http: Http::One, upstream: false };

fn full() -> Vec<Setting> {
    let mut out = Vec::new();
    for workers in [1, 2] {
        for http in [Http::One, Http::Two] {
            for upstream in [false, true] {
                out.push(Setting { workers, http, upstream });
            }
        }
    }
    out
}

fn by_workers(settings: &[Setting]) -> Vec<(u32, Vec<Setting>)> {
    let of = |workers| -> Vec<Setting> {
        settings.iter().copied().filter(|setting| setting.workers == workers).collect()
    };
    [1, 2]
        .map(|workers| (workers, of(workers)))
        .into_iter()
        .filter(|(_, all)| !all.is_empty())
        .collect()
}

/// All subjects, running.
struct Bench {
    envoys: Vec<(Subject, Envoy)>,
    mint: Mint,
    server: Server,
    workers: u32,
    // Dropped after those that use them.
    _upstream: Envoy,
    _control: ControlPlane,
}

impl Bench {
    fn start(ext_authz: &Path, workers: u32) -> Result<Self, Failed> {
        let control = ControlPlane::with_policy("prod", POLICY)?;
        let mint = control.with(|store| Mint::new(store))?;
        control.revoke(Revokes::Agent, REVOKED)?;
        let server = Server::start(ext_authz, &mint)?;
        cores::pin(server.child.id(), &cores::of_envoy(workers))?;
        let jwks = mint.jwks()?;
        let empty = envoys::module(envoys::EMPTY)?;
        let nowhere = ([127, 0, 0, 1], 1).into();
        let site = |upstream| Site {
            control: &control,
            jwks: &jwks,
            empty: &empty,
            upstream,
            ext_authz: ([127, 0, 0, 1], server.port).into(),
        };
        let upstream = site(nowhere).launch(Subject::Plain, 1)?;
        cores::pin(upstream.id(), &cores::of_load())?;
        let site = site(upstream.address(DIRECT)?);
        let envoys: Result<Vec<_>, Failed> =
            SUBJECTS.into_iter().map(|one| Ok((one, site.launch(one, workers)?))).collect();
        cores::settle()?;
        Ok(Self { envoys: envoys?, mint, server, workers, _upstream: upstream, _control: control })
    }

    fn measure(&self, setting: Setting) -> Result<Vec<Measured>, Failed> {
        let rows = rows();
        let mut credentials: Vec<Box<dyn Credentials + Send>> = Vec::new();
        for row in &rows {
            credentials.push(self.credentials(row, setting)?);
        }
        let mut measured: Vec<Measured> =
            rows.iter().map(|row| Measured::new(row.clone(), setting)).collect();
        for round in 0..=ROUNDS {
            for (measured, credentials) in measured.iter_mut().zip(&mut credentials) {
                let start = Instant::now();
                let one = self.round(&measured.row, setting, credentials.as_mut(), round == 0)?;
                // The first fills caches and compiles; it is checked as the others are.
                measured.add(one, round > 0);
                eprintln!("{} {round}: {:.1} s", measured.row.name, start.elapsed().as_secs_f64());
            }
        }
        Ok(measured)
    }

    /// Who has good gatepasses, alone and beside a flood of bad signatures.
    fn flood(&self) -> Result<Flood, Failed> {
        let of = |name: &str| rows().into_iter().find(|row| row.name == name).ok_or("no such row");
        let (good, bad) = (of("gatepass_recurring_200")?, of("gatepass_denied_signature")?);
        let (mut goods, mut bads) =
            (self.credentials(&good, QUICK)?, self.credentials(&bad, QUICK)?);
        let (mut alone, mut beside, mut flooded) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let quiet = self.load(&good, QUICK, Pace::Closed, CLOSED)?;
            alone.push(per_second(&quiet.run(goods.as_mut())?)?);
            let flood = self.load(&bad, QUICK, Pace::Closed, CLOSED)?;
            let (one, other) = std::thread::scope(|scope| {
                let flood = scope.spawn(|| flood.run(bads.as_mut()));
                (quiet.run(goods.as_mut()), flood.join())
            });
            beside.push(per_second(&one?)?);
            flooded.push(per_second(&other.map_err(|_| "the flood panicked")??)?);
        }
        let [alone, beside, bad] = [alone, beside, flooded].map(median);
        Ok(Flood { alone, beside, bad })
    }

    fn load<'r>(
        &self,
        row: &'r Row,
        setting: Setting,
        pace: Pace,
        lasting: Duration,
    ) -> Result<Load<'r>, Failed> {
        let listener = if setting.upstream { UPSTREAM } else { DIRECT };
        let address = self.envoy(row)?.address(listener)?;
        Ok(Load {
            address,
            asked: &READ,
            http: setting.http,
            pace,
            lasting,
            expected: &row.expected,
        })
    }

    fn envoy(&self, row: &Row) -> Result<&Envoy, Failed> {
        let mut envoys = self.envoys.iter();
        let (_, envoy) =
            envoys.find(|(subject, _)| *subject == row.subject).ok_or("no such subject")?;
        Ok(envoy)
    }

    fn credentials(
        &self,
        row: &Row,
        setting: Setting,
    ) -> Result<Box<dyn Credentials + Send>, Failed> {
        Ok(match row.presents {
            Presents::Nothing => Box::new(Nothing),
            Presents::Fresh(kind) => Box::new(Once::new(self.mint.make(kind, setting.fresh())?)),
            Presents::Recurring(count) => Box::new(Again::new(self.mint.make(Kind::Good, count)?)),
        })
    }

    fn round(
        &self,
        row: &Row,
        setting: Setting,
        credentials: &mut dyn Credentials,
        warm_up: bool,
    ) -> Result<Round, Failed> {
        let envoy = self.envoy(row)?;
        let lasting = if warm_up { row.presents.warm_up() } else { setting.lasting() };
        let load = self.load(row, setting, Pace::Closed, lasting)?;
        let helper = (row.subject == Subject::ExtAuthz).then(|| self.server.child.id());
        let helped = || helper.map_or(Ok(0.0), cores::run_time);
        let (cpu, help) = (cores::run_time(envoy.id())?, helped()?);
        let closed = load.run(credentials)?;
        let cpu = cores::run_time(envoy.id())? - cpu;
        let help = helped()? - help;
        let pace = Pace::Open(RATE * f64::from(self.workers));
        let open = Load { pace, lasting: setting.lasting(), ..load }.run(credentials)?;
        if open.answered == 0 {
            return Err(format!("`{}`: no gatepass was left for the open load", row.name).into());
        }
        Ok(Round::of(&closed, &open, cpu, help))
    }
}

/// An error where one answer was not the expected one.
fn per_second(outcome: &Outcome) -> Result<f64, Failed> {
    match &outcome.example {
        Some(example) => Err(format!("an answer that was not expected: {example}").into()),
        None => Ok(outcome.answered as f64 / outcome.lasted.as_secs_f64()),
    }
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The server that `ext_authz` asks.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(path: &Path, mint: &Mint) -> Result<Self, Failed> {
        let mut child =
            Command::new(path).args([mint.x(), mint.kid()]).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let out = child.stdout.take().ok_or("no output")?;
        std::io::BufReader::new(out).read_line(&mut line)?;
        Ok(Self { child, port: line.trim().parse()? })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only for one that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const SUBJECTS: [Subject; 6] = [
    Subject::Plain,
    Subject::Empty,
    Subject::Gatepass,
    Subject::Jwt,
    Subject::JwtCached,
    Subject::ExtAuthz,
];
const POLICY: &str = include_str!("../../envoy/orders.yaml");
const USAGE: &str = "usage: bench-line-rate quick|full EXT_AUTHZ OUT README
       bench-line-rate only EXT_AUTHZ ROW
       bench-line-rate footprint OUT
       bench-line-rate parts OUT
       bench-line-rate bodies OUT
       bench-line-rate uploads OUT";
const ROUNDS: usize = 5;
/// A round of the setting that the table shows, under each of the two loads; and of the other seven.
const CLOSED: Duration = Duration::from_millis(900);
const SHORT: Duration = Duration::from_millis(400);
/// Requests a second and worker of the open load: what the slowest row carries on the slowest of our
/// machines without a queue that grows.
const RATE: f64 = 2000.0;
