//! What the demo shows, in order.

use std::time::{Duration, Instant};

use gatepass::issue::{Constraint, Grant};
use gatepass_engine::position::Position;
use gatepass_engine::revocation::Kind;
use gatepass_tests::kit::orders::{HOST, POLICY};
use gatepass_tests::kit::wire::{Connection, Response, request};
use gatepass_tests::kit::world::{AGENT, ControlPlane, Failed, OWNER, World, bearing, grant};

use crate::summary::{Summary, folder};

#[derive(Clone, Copy, Default)]
pub(crate) struct Options {
    /// Leave everything running.
    pub(crate) keep: bool,
    /// Pin another environment's roots: nothing may be allowed.
    pub(crate) foreign_roots: bool,
}

pub(crate) fn run(options: &Options) -> Result<Summary, Failed> {
    println!(
        "Starting a control plane, an orders API and an Envoy with the gate ({WORKERS} workers) ..."
    );
    let prod = ControlPlane::with_policy("prod", &policy())?;
    let dev = ControlPlane::start("dev")?;
    let mut plugin = prod.plugin()?;
    if options.foreign_roots {
        plugin.roots = dev.plugin()?.roots;
    }
    let world = World::with(prod, &plugin, WORKERS)?;
    let mut demo = Demo { world, dev, summary: Summary::default() };
    demo.wait_until_ready()?;
    demo.requests()?;
    demo.revocation(options)?;
    demo.outage(options)?;
    if options.keep {
        println!(
            "\nEverything is left running; the gate is http://{}. Ctrl-C ends it.",
            demo.world.envoy.address("in")?
        );
        loop {
            std::thread::park();
        }
    }
    Ok(demo.summary)
}

/// The orders policy with the shortest staleness bound there is, so that the outage is short.
fn policy() -> String {
    POLICY.replace("staleness: 10s", "staleness: 3s")
}

struct Demo {
    world: World,
    dev: ControlPlane,
    summary: Summary,
}

impl Demo {
    /// The gate has its first state when a request is no longer `not_ready`. With foreign roots
    /// that never comes, so the time is bounded and the steps tell.
    fn wait_until_ready(&mut self) -> Result<(), Failed> {
        let start = Instant::now();
        let mut last = self.world.ask("GET", "/orders", None)?;
        while last.verdict() == "503 not_ready" && start.elapsed() < Duration::from_secs(5) {
            last = self.world.ask("GET", "/orders", None)?;
        }
        let how = self.curl("GET", "/orders", "")?;
        let name = "the gate has heard its control plane; no gatepass is no entry";
        let got = last.verdict();
        self.summary.step(name, &how, "401 no_credential", &got, start.elapsed());
        Ok(())
    }

    fn requests(&mut self) -> Result<(), Failed> {
        let order = "/orders?amount=120.00&currency=EUR&item=paper";
        let good = Pass::keep("good", self.world.control.issue(&limited()?)?)?;
        self.ask("a good order", "POST", order, &good, "200")?;
        let name = "another action with the same gatepass";
        self.ask(name, "GET", "/orders", &good, "403 action_not_granted")?;
        let mut grant = limited()?;
        grant.audiences = vec!["https://billing.example".to_owned()];
        let elsewhere = Pass::keep("elsewhere", self.world.control.issue(&grant)?)?;
        self.ask("a gatepass for another system", "POST", order, &elsewhere, "401 wrong_audience")?;
        let large = "/orders?amount=50000.00&currency=EUR&item=yacht";
        self.ask("an amount over the constraint", "POST", large, &good, "403 constraint_violated")?;
        let forged = Pass::keep("tampered", tampered(&good.token))?;
        self.ask("a tampered gatepass", "POST", order, &forged, "401 bad_signature")?;
        let mut grant = limited()?;
        grant.lifetime = 1;
        let expired = Pass::keep("expired", self.world.control.issue(&grant)?)?;
        self.until("an expired gatepass", order, &expired, "401 expired")?;
        // Its key is unknown here: the environments share nothing.
        let foreign = Pass::keep("dev", self.dev.issue(&limited()?)?)?;
        let name = "a `dev` gatepass at the `prod` gate";
        self.ask(name, "POST", order, &foreign, "401 unknown_key")?;
        self.spoofed(&good, order)
    }

    /// The upstream must see the agent that the gatepass names, not the one that a header claims.
    fn spoofed(&mut self, good: &Pass, path: &str) -> Result<(), Failed> {
        let _ = self.world.upstream.take();
        let start = Instant::now();
        let bearer = format!("Bearer {}", good.token);
        let headers =
            [("authorization", bearer.as_str()), ("x-gatepass-agent", "agent:somebody-else")];
        let response = self.world.connect()?.exchange(&request("POST", HOST, path, &headers))?;
        let received = self.world.upstream.take();
        let seen: Vec<String> = received
            .iter()
            .flat_map(|request| {
                [request.header("x-gatepass-agent"), request.header("authorization")].concat()
            })
            .collect();
        let got = format!("{} upstream saw {}", response.verdict(), seen.join(", "));
        let expected = format!("200 upstream saw {AGENT}");
        let extra = format!("{} -H 'x-gatepass-agent: agent:somebody-else'", good.header());
        let how = self.curl("POST", path, &extra)?;
        self.summary.step("a spoofed x-gatepass-agent", &how, &expected, &got, start.elapsed());
        Ok(())
    }

    /// From `gatepass dev revoke` to the denial on the last worker.
    fn revocation(&mut self, options: &Options) -> Result<(), Failed> {
        if options.foreign_roots {
            // Nothing is in force that could be revoked; the steps before have failed already.
            return Ok(());
        }
        let pass = Pass::keep("revoked", self.world.control.issue(&limited()?)?)?;
        let bytes = bearing("POST", SMALL_ORDER, Some(&pass.token));
        // Fails unless each worker is reached; the same connections are asked again afterwards.
        let mut workers = self.world.connections(WORKERS as usize)?;
        let start = Instant::now();
        let before = everywhere(&mut workers, &bytes)?;
        let how = self.curl("POST", SMALL_ORDER, &pass.header())?;
        let how = format!("{how}   # on each of {WORKERS} workers");
        let name = "before the revocation, on every worker";
        self.summary.step(name, &how, "200", &verdicts(&before), start.elapsed());
        let start = Instant::now();
        let position = self.world.control.revoke(Kind::Owner, OWNER)?;
        let mut slowest = Duration::ZERO;
        for (_, connection) in &mut workers {
            let patience = Duration::from_secs(5);
            while connection.exchange(&bytes)?.verdict() == "200" && start.elapsed() < patience {}
            slowest = slowest.max(start.elapsed());
        }
        let after = everywhere(&mut workers, &bytes)?;
        let positions: Vec<Option<Position>> = after
            .iter()
            .map(|response| response.header("x-gatepass-position")?.parse().ok())
            .collect();
        let got = match positions.iter().all(|at| *at >= Some(position)) {
            true => verdicts(&after),
            false => format!("{} at {positions:?}", verdicts(&after)),
        };
        let store = self.world.control.store();
        let how = format!(
            "  gatepass dev revoke --dir {} --owner {OWNER}   # position {position}, seen on each of {} workers",
            store.display(),
            positions.len()
        );
        let name = "the owner is revoked: every worker refuses what was issued before";
        self.summary.step(name, &how, "401 revoked_owner", &got, slowest);
        Ok(())
    }

    /// The control plane is killed: the gate goes on until the bound, refuses, and recovers.
    fn outage(&mut self, options: &Options) -> Result<(), Failed> {
        if options.foreign_roots {
            return Ok(());
        }
        let pass = Pass::keep("fresh", self.world.control.issue(&limited()?)?)?;
        let name = "a gatepass issued after the revocation is good again";
        self.until(name, SMALL_ORDER, &pass, "200")?;
        self.world.control.stop();
        println!("\n# the control plane is killed");
        self.ask("the gate goes on by itself", "POST", SMALL_ORDER, &pass, "200")?;
        let name = "past the staleness bound (3 s) the action is refused";
        self.until(name, SMALL_ORDER, &pass, "503 stale")?;
        self.world.control.serve()?;
        println!("\n# the control plane is back");
        self.until("and the gate recovers by itself", SMALL_ORDER, &pass, "200")
    }

    fn ask(
        &mut self,
        name: &str,
        method: &str,
        path: &str,
        pass: &Pass,
        expected: &str,
    ) -> Result<(), Failed> {
        let start = Instant::now();
        let response = self.world.ask(method, path, Some(&pass.token))?;
        let how = self.curl(method, path, &pass.header())?;
        self.summary.step(name, &how, expected, &response.verdict(), start.elapsed());
        Ok(())
    }

    fn until(&mut self, name: &str, path: &str, pass: &Pass, expected: &str) -> Result<(), Failed> {
        let bytes = bearing("POST", path, Some(&pass.token));
        let start = Instant::now();
        let mut connection = self.world.connect()?;
        let mut response = connection.exchange(&bytes)?;
        while response.verdict() != expected && start.elapsed() < Duration::from_secs(10) {
            response = connection.exchange(&bytes)?;
        }
        let how = self.curl("POST", path, &pass.header())?;
        self.summary.step(name, &how, expected, &response.verdict(), start.elapsed());
        Ok(())
    }

    fn curl(&self, method: &str, path: &str, headers: &str) -> Result<String, Failed> {
        let address = self.world.envoy.address("in")?;
        Ok(format!("  curl -i -X {method} -H 'host: {HOST}'{headers} 'http://{address}{path}'"))
    }
}

/// A gatepass in a file of its own, so that the printed lines can be copied.
struct Pass {
    label: &'static str,
    token: String,
}

impl Pass {
    fn keep(label: &'static str, token: String) -> Result<Self, Failed> {
        let folder = folder();
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(format!("{label}.jwt")), &token)?;
        Ok(Self { label, token })
    }

    fn header(&self) -> String {
        format!(" -H \"authorization: Bearer $(cat target/demo/{}.jwt)\"", self.label)
    }
}

/// An order of at most 500 EUR.
fn limited() -> Result<Grant, Failed> {
    let mut grant = grant("orders:create")?;
    for entry in &mut grant.entries {
        let bound = Constraint { max: Some("500.00 EUR".into()), ..Constraint::default() };
        entry.constraints.insert("amount".to_owned(), bound);
    }
    Ok(grant)
}

fn everywhere(workers: &mut [(String, Connection)], bytes: &[u8]) -> Result<Vec<Response>, Failed> {
    workers.iter_mut().map(|(_, connection)| Ok(connection.exchange(bytes)?)).collect()
}

/// One text when all agree, else all of them.
fn verdicts(all: &[Response]) -> String {
    let mut texts: Vec<String> = all.iter().map(Response::verdict).collect();
    texts.dedup();
    texts.join(", ")
}

/// The same gatepass with one character of its signature changed.
fn tampered(token: &str) -> String {
    let (head, signature) = token.rsplit_once('.').unwrap_or((token, ""));
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    let rest: String = signature.chars().skip(1).collect();
    format!("{head}.{first}{rest}")
}

const SMALL_ORDER: &str = "/orders?amount=1.00&currency=EUR";
/// At least 4, so that the slowest of several is seen.
const WORKERS: u32 = 4;
