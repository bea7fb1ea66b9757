//! What the demo shows, in order.

use std::time::{Duration, Instant};

use gatepass::issue::{Constraint, Grant};
use gatepass_engine::position::Position;
use gatepass_engine::revocation::Kind;
use gatepass_tests::kit::orders::{HOST, POLICY};
use gatepass_tests::kit::wire::{Connection, Response, request};
use gatepass_tests::kit::world::{ControlPlane, Failed, OWNER, World, bearing, grant};

use crate::summary::Summary;

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
    let mut demo = Demo {
        world,
        dev,
        summary: Summary::default(),
    };
    demo.wait_until_ready()?;
    demo.requests()?;
    demo.revocation(options)?;
    demo.outage(options)?;
    if options.keep {
        println!(
            "\nEverything is left running; the gate is {}. Ctrl-C ends it.",
            demo.origin()?
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
    fn origin(&self) -> Result<String, Failed> {
        Ok(format!("http://{}", self.world.envoy.address("in")?))
    }

    /// The gate has its first state when a request is no longer `not_ready`. With foreign roots
    /// that never comes, so the time is bounded and the steps tell.
    fn wait_until_ready(&mut self) -> Result<(), Failed> {
        let start = Instant::now();
        let mut last = self.world.ask("GET", "/orders", None)?;
        while last.verdict() == "503 not_ready" && start.elapsed() < Duration::from_secs(5) {
            last = self.world.ask("GET", "/orders", None)?;
        }
        self.note(
            "the gate has heard its control plane; no gatepass is no entry",
            "GET",
            "/orders",
            &[],
            "401 no_credential",
            &last,
            start,
        )
    }

    fn requests(&mut self) -> Result<(), Failed> {
        let order = "/orders?amount=120.00&currency=EUR&item=paper";
        let good = self.world.control.issue(&limited()?)?;
        self.ask("a good order", "POST", order, &good, "200")?;
        self.ask(
            "another action with the same gatepass",
            "GET",
            "/orders",
            &good,
            "403 action_not_granted",
        )?;
        let mut elsewhere = limited()?;
        elsewhere.audiences = vec!["https://billing.example".to_owned()];
        let elsewhere = self.world.control.issue(&elsewhere)?;
        self.ask(
            "a gatepass for another system",
            "POST",
            order,
            &elsewhere,
            "401 wrong_audience",
        )?;
        let large = "/orders?amount=50000.00&currency=EUR&item=yacht";
        self.ask(
            "an amount over the constraint",
            "POST",
            large,
            &good,
            "403 constraint_violated",
        )?;
        self.ask(
            "a tampered gatepass",
            "POST",
            order,
            &tampered(&good),
            "401 bad_signature",
        )?;
        let mut short = limited()?;
        short.lifetime = 1;
        let expired = self.world.control.issue(&short)?;
        self.until(
            "an expired gatepass",
            &bearing("POST", order, Some(&expired)),
            order,
            "401 expired",
        )?;
        let foreign = self.dev.issue(&limited()?)?;
        // Its key is unknown here: the environments share nothing.
        self.ask(
            "a `dev` gatepass at the `prod` gate",
            "POST",
            order,
            &foreign,
            "401 unknown_key",
        )?;
        self.spoofed(&good, order)
    }

    /// The upstream must see the agent that the gatepass names, not the one that a header claims.
    fn spoofed(&mut self, good: &str, path: &str) -> Result<(), Failed> {
        let _ = self.world.upstream.take();
        let start = Instant::now();
        let bearer = format!("Bearer {good}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("x-gatepass-agent", "agent:somebody-else"),
        ];
        let response = self
            .world
            .connect()?
            .exchange(&request("POST", HOST, path, &headers))?;
        let seen: Vec<String> = self
            .world
            .upstream
            .take()
            .iter()
            .flat_map(|request| {
                let mut seen = request.header("x-gatepass-agent");
                seen.extend(request.header("authorization"));
                seen
            })
            .collect();
        let got = format!("{} upstream saw {}", response.verdict(), seen.join(", "));
        let expected = format!("200 upstream saw {}", gatepass_tests::kit::world::AGENT);
        let how = format!(
            "  curl -X POST -H 'host: {HOST}' -H 'authorization: Bearer …' -H 'x-gatepass-agent: agent:somebody-else' '{}{path}'",
            self.origin()?
        );
        self.summary.step(
            "a spoofed x-gatepass-agent",
            &how,
            &expected,
            &got,
            start.elapsed(),
        );
        Ok(())
    }

    /// From `gatepass dev revoke` to the denial on the last worker.
    fn revocation(&mut self, options: &Options) -> Result<(), Failed> {
        let path = "/orders?amount=1.00&currency=EUR";
        let token = self.world.control.issue(&limited()?)?;
        if options.foreign_roots {
            // Nothing is in force that could be revoked; the steps before have failed already.
            return Ok(());
        }
        let mut workers = self.world.connections(WORKERS as usize)?;
        let bytes = bearing("POST", path, Some(&token));
        let before = everywhere(&mut workers, &bytes)?;
        self.everywhere_step(
            "before the revocation, on every worker",
            path,
            "200",
            &before,
            Instant::now(),
        )?;
        let start = Instant::now();
        let position = self.world.control.revoke(Kind::Owner, OWNER)?;
        let mut slowest = Duration::ZERO;
        for (_, connection) in &mut workers {
            while connection.exchange(&bytes)?.verdict() == "200"
                && start.elapsed() < Duration::from_secs(5)
            {}
            slowest = slowest.max(start.elapsed());
        }
        let after = everywhere(&mut workers, &bytes)?;
        let positions: Vec<&str> = after
            .iter()
            .filter_map(|response| response.header("x-gatepass-position"))
            .collect();
        let reached = positions
            .iter()
            .all(|text| text.parse::<Position>().is_ok_and(|at| at >= position));
        let got = if reached {
            verdicts(&after)
        } else {
            format!("{} at {positions:?}", verdicts(&after))
        };
        let how = format!(
            "  gatepass dev revoke --owner {OWNER}   # position {position}, reached by {} workers",
            positions.len()
        );
        self.summary.step(
            "the owner is revoked: every worker refuses what was issued before",
            &how,
            "401 revoked_owner",
            &got,
            slowest,
        );
        Ok(())
    }

    /// The control plane is killed: the gate goes on until the bound, refuses, and recovers.
    fn outage(&mut self, options: &Options) -> Result<(), Failed> {
        if options.foreign_roots {
            return Ok(());
        }
        let path = "/orders?amount=1.00&currency=EUR";
        let token = self.world.control.issue(&limited()?)?;
        let bytes = bearing("POST", path, Some(&token));
        self.until(
            "a gatepass issued after the revocation is good again",
            &bytes,
            path,
            "200",
        )?;
        self.world.control.stop();
        println!("\n# the control plane is killed");
        let response = self.world.connect()?.exchange(&bytes)?;
        self.note(
            "the gate goes on by itself",
            "POST",
            path,
            &[],
            "200",
            &response,
            Instant::now(),
        )?;
        self.until(
            "past the staleness bound (3 s) the action is refused",
            &bytes,
            path,
            "503 stale",
        )?;
        self.world.control.serve()?;
        println!("\n# the control plane is back");
        self.until("and the gate recovers by itself", &bytes, path, "200")
    }

    fn ask(
        &mut self,
        name: &str,
        method: &str,
        path: &str,
        gatepass: &str,
        expected: &str,
    ) -> Result<(), Failed> {
        let start = Instant::now();
        let response = self.world.ask(method, path, Some(gatepass))?;
        self.note(
            name,
            method,
            path,
            &["authorization: Bearer …"],
            expected,
            &response,
            start,
        )
    }

    fn until(
        &mut self,
        name: &str,
        bytes: &[u8],
        path: &str,
        expected: &str,
    ) -> Result<(), Failed> {
        let start = Instant::now();
        let mut connection = self.world.connect()?;
        let mut response = connection.exchange(bytes)?;
        while response.verdict() != expected && start.elapsed() < Duration::from_secs(10) {
            response = connection.exchange(bytes)?;
        }
        self.note(
            name,
            "POST",
            path,
            &["authorization: Bearer …"],
            expected,
            &response,
            start,
        )
    }

    #[expect(clippy::too_many_arguments, reason = "one line of the report")]
    fn note(
        &mut self,
        name: &str,
        method: &str,
        path: &str,
        headers: &[&str],
        expected: &str,
        response: &Response,
        start: Instant,
    ) -> Result<(), Failed> {
        let extra: String = headers
            .iter()
            .map(|header| format!(" -H '{header}'"))
            .collect();
        let how = format!(
            "  curl -X {method} -H 'host: {HOST}'{extra} '{}{path}'",
            self.origin()?
        );
        self.summary
            .step(name, &how, expected, &response.verdict(), start.elapsed());
        Ok(())
    }

    fn everywhere_step(
        &mut self,
        name: &str,
        path: &str,
        expected: &str,
        all: &[Response],
        start: Instant,
    ) -> Result<(), Failed> {
        let how = format!(
            "  curl -X POST -H 'host: {HOST}' -H 'authorization: Bearer …' '{}{path}'   # on {} workers",
            self.origin()?,
            all.len()
        );
        self.summary
            .step(name, &how, expected, &verdicts(all), start.elapsed());
        Ok(())
    }
}

/// An order of at most 500 EUR.
fn limited() -> Result<Grant, Failed> {
    let mut grant = grant("orders:create")?;
    for entry in &mut grant.entries {
        let bound = Constraint {
            max: Some("500.00 EUR".into()),
            ..Constraint::default()
        };
        entry.constraints.insert("amount".to_owned(), bound);
    }
    Ok(grant)
}

fn everywhere(workers: &mut [(String, Connection)], bytes: &[u8]) -> Result<Vec<Response>, Failed> {
    workers
        .iter_mut()
        .map(|(_, connection)| Ok(connection.exchange(bytes)?))
        .collect()
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

/// At least 4, so that the slowest of several is seen.
const WORKERS: u32 = 4;
