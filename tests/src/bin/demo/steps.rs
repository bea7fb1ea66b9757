//! What the demo shows, in order.

use std::time::{Duration, Instant};

use gatepass_tests::kit::desk::{Issued, PATIENCE, quoted};
use gatepass_tests::kit::orders::HOST;
use gatepass_tests::kit::wire::{Response, WireError, request};
use gatepass_tests::kit::world::{Failed, bearing};
use serde_json::Value;

mod bodies;

use crate::scene::{ALICE, BOB, POLICY, Scene, Worker};
use crate::summary::{Summary, folder};

#[derive(Clone, Copy, Default)]
pub(crate) struct Options {
    /// Leave everything running.
    pub(crate) keep: bool,
    /// Pin another environment's roots: nothing may be allowed.
    pub(crate) foreign_roots: bool,
}

pub(crate) fn run(options: &Options) -> Result<Summary, Failed> {
    let scene = Scene::set(options)?;
    let mut demo = Demo { scene, summary: Summary::default() };
    demo.wait_until_ready()?;
    demo.requests()?;
    if !options.foreign_roots {
        // Otherwise nothing is in force that could be stopped; the steps before have failed.
        demo.bodies()?;
        demo.tools()?;
        demo.too_wide()?;
        demo.leaver()?;
        demo.stops()?;
        demo.policy()?;
        demo.outage()?;
    }
    if options.keep {
        println!(
            "\nEverything is left running; the gate is http://{}. Ctrl-C ends it.\n  export GATEPASS_SERVER=http://{} GATEPASS_TOKEN={}\n  gatepass agent show {}",
            demo.scene.envoy.address("in")?,
            demo.scene.desk.admin(),
            demo.scene.desk.token(),
            demo.scene.buyer.id,
        );
        loop {
            std::thread::park();
        }
    }
    Ok(demo.summary)
}

struct Demo {
    scene: Scene,
    summary: Summary,
}

impl Demo {
    /// The gate has its first state when a request is no longer `not_ready`. With foreign roots
    /// that never comes, so the time is bounded and the steps tell.
    fn wait_until_ready(&mut self) -> Result<(), Failed> {
        let start = Instant::now();
        let mut last = self.scene.ask("GET", "/orders", None)?;
        while last.verdict() == "503 not_ready" && start.elapsed() < Duration::from_secs(5) {
            last = self.scene.ask("GET", "/orders", None)?;
        }
        let how = self.curl("GET", "/orders", "")?;
        let name = "the gate has heard its control plane; no gatepass is no entry";
        let got = last.verdict();
        self.summary.step(name, &how, "401 no_credential", &got, start.elapsed());
        Ok(())
    }

    fn requests(&mut self) -> Result<(), Failed> {
        let order = "/orders?amount=120.00&currency=EUR&item=paper";
        let good = Pass::keep("good", self.order()?)?;
        self.ask("a good order", "POST", order, &good, "200")?;
        let name = "another action with the same gatepass";
        self.ask(name, "GET", "/orders", &good, "403 action_not_granted")?;
        let elsewhere = Pass::keep("elsewhere", self.bill()?)?;
        self.ask("a gatepass for another system", "POST", order, &elsewhere, "401 wrong_audience")?;
        let large = "/orders?amount=50000.00&currency=EUR&item=yacht";
        self.ask("an amount over the constraint", "POST", large, &good, "403 constraint_violated")?;
        let forged = Issued { token: tampered(&good.issued.token), ..good.issued.clone() };
        let forged = Pass::keep("tampered", forged)?;
        self.ask("a tampered gatepass", "POST", order, &forged, "401 bad_signature")?;
        let brief = self.scene.buyer.gatepass(&[&ORDER[..], &[("lifetime", "1")]].concat())?;
        self.until("an expired gatepass", order, &Pass::keep("expired", brief)?, "401 expired")?;
        // Its key is unknown here: the environments share nothing.
        let foreign = Pass::keep("dev", self.scene.dev_buyer.gatepass(&ORDER)?)?;
        let name = "a `dev` gatepass at the `prod` gate";
        self.ask(name, "POST", order, &foreign, "401 unknown_key")?;
        self.spoofed(&good, order)
    }

    /// What is beyond the blueprint's ceiling is not even issued.
    fn too_wide(&mut self) -> Result<(), Failed> {
        let start = Instant::now();
        let wide = ORDER.map(|(name, value)| match name {
            "authorization_details" => (name, WIDE),
            _ => (name, value),
        });
        let response = self.scene.buyer.ask(&wide)?;
        let how = self.asking(WIDE);
        let name = "a gatepass for more than the blueprint's ceiling is not issued";
        let expected = "400 invalid_authorization_details";
        self.summary.step(name, &how, expected, &oauth(&response), start.elapsed());
        Ok(())
    }

    /// The upstream must see the agent that the gatepass names, not the one that a header claims.
    fn spoofed(&mut self, good: &Pass, path: &str) -> Result<(), Failed> {
        let _ = self.scene.upstream.take();
        let start = Instant::now();
        let bearer = format!("Bearer {}", good.issued.token);
        let headers =
            [("authorization", bearer.as_str()), ("x-gatepass-agent", "agent:somebody-else")];
        let response = self.scene.connect()?.exchange(&request("POST", HOST, path, &headers))?;
        let received = self.scene.upstream.take();
        let seen: Vec<String> = received
            .iter()
            .flat_map(|request| {
                [request.header("x-gatepass-agent"), request.header("authorization")].concat()
            })
            .collect();
        let got = format!("{} upstream saw {}", response.verdict(), seen.join(", "));
        let expected = format!("200 upstream saw {}", self.scene.buyer.id);
        let extra = format!("{} -H 'x-gatepass-agent: agent:somebody-else'", good.header());
        let how = self.curl("POST", path, &extra)?;
        self.summary.step("a spoofed x-gatepass-agent", &how, &expected, &got, start.elapsed());
        Ok(())
    }

    /// The owner leaves. What her agent holds is refused on every worker, nothing more is issued to
    /// it, and it works again only for an owner who accepts, by a new decision.
    fn leaver(&mut self) -> Result<(), Failed> {
        let pass = Pass::keep("leaver", self.order()?)?;
        let agent = self.scene.buyer.id.clone();
        let end = ["person", "end", ALICE, "--reason", "left the company"];
        let name = "the owner leaves: what was issued before is refused on every worker";
        self.everywhere(name, &pass, &end, "401 revoked_owner")?;
        let name = "nothing more is issued to her agent";
        self.issuing(name, "400 unauthorized_client")?;
        let name = "the agent is orphaned";
        self.shown(name, &agent, "state", "orphaned")?;
        let owner = ["agent", "propose-owner", &agent, BOB, "--reason", "Bob takes over"];
        self.command("Bob is asked to take it over", &owner, "ok")?;
        let name = "without his word it cannot be activated";
        self.command(name, &["agent", "activate", &agent, "--reason", "hurry"], "refused")?;
        let accept = ["agent", "accept", &agent, "--reason", "mine now"];
        let start = Instant::now();
        let said = self.scene.desk.run_as(&self.scene.bob, &accept)?;
        let how = format!("  GATEPASS_TOKEN=$BOB gatepass {}", quoted(&accept));
        self.summary.step("Bob accepts", &how, "ok", outcome(said.ok), start.elapsed());
        let name = "a new decision lets it work for Bob";
        self.command(name, &["agent", "activate", &agent, "--reason", "reviewed"], "ok")?;
        let fresh = Pass::keep("fresh", self.order()?)?;
        self.until("and a new gatepass is good", SMALL_ORDER, &fresh, "200")
    }

    /// A task's end and a blueprint's.
    fn stops(&mut self) -> Result<(), Failed> {
        let pass = Pass::keep("task", self.order()?)?;
        let start = Instant::now();
        let mut workers = self.scene.workers()?;
        let task = pass.issued.task.clone();
        let done = self.scene.buyer.post("/v1/tasks/complete", &[("task", &task)])?;
        let (got, slowest) = self.refused_on(&mut workers, &pass, start)?;
        let how =
            format!("  POST /v1/tasks/complete task={task}   # by the agent: {}", done.status);
        let name = "the agent completes its task: its gatepass is dead on every worker";
        self.summary.step(name, &how, "401 revoked_task", &got, slowest);

        let pass = Pass::keep("blueprint", self.order()?)?;
        let disable = ["blueprint", "disable", "buyer", "--reason", "a prompt injection"];
        let name = "the blueprint is disabled: all its agents stop, on every worker";
        self.everywhere(name, &pass, &disable, "401 revoked_blueprint")?;
        self.issuing("and nothing is issued to any of them", "400 unauthorized_client")?;
        let enable = ["blueprint", "enable", "buyer", "--reason", "fixed"];
        self.command("it is enabled again", &enable, "ok")?;
        let name = "what was stopped stays dead";
        self.ask(name, "POST", SMALL_ORDER, &pass, "401 revoked_blueprint")
    }

    /// A policy without the route, and back.
    fn policy(&mut self) -> Result<(), Failed> {
        let pass = Pass::keep("policy", self.order()?)?;
        self.until("before the new policy", SMALL_ORDER, &pass, "200")?;
        let without = POLICY.replace("match: POST /orders", "match: PUT /orders");
        let file = self.scene.desk.file("without.yaml", &without)?;
        let publish = ["policy", "publish", &file, "--reason", "orders are placed with PUT now"];
        self.command("a policy without the route is published", &publish, "ok")?;
        self.until("what it does not name is denied", SMALL_ORDER, &pass, "403 no_route")?;
        let back = ["policy", "rollback", "1", "--reason", "the shop was not ready"];
        self.command("the first version is put in force again", &back, "ok")?;
        self.until("and the order goes through", SMALL_ORDER, &pass, "200")
    }

    /// The control plane is killed: the gate goes on until the bound, refuses, and recovers.
    fn outage(&mut self) -> Result<(), Failed> {
        let pass = Pass::keep("outage", self.order()?)?;
        self.until("before the outage", SMALL_ORDER, &pass, "200")?;
        self.scene.desk.kill();
        println!("\n# the control plane is killed (SIGKILL)");
        self.ask("the gate goes on by itself", "POST", SMALL_ORDER, &pass, "200")?;
        let name = "past the staleness bound (3 s) the action is refused";
        self.until(name, SMALL_ORDER, &pass, "503 stale")?;
        self.scene.desk.serve()?;
        println!("\n# the control plane is back");
        self.until("the gate recovers by itself", SMALL_ORDER, &pass, "200")?;
        let name = "and the audit record is whole";
        self.command(name, &["audit", "verify"], "ok")
    }

    /// Does what a command says and measures until the last of all workers refuses.
    fn everywhere(
        &mut self,
        name: &str,
        pass: &Pass,
        command: &[&str],
        expected: &str,
    ) -> Result<(), Failed> {
        // Fails unless each worker is reached; the same connections are asked again afterwards.
        let mut workers = self.scene.workers()?;
        let bytes = bearing("POST", SMALL_ORDER, Some(&pass.issued.token));
        for worker in &mut workers {
            let before = worker.verdict(&self.scene, &bytes)?;
            if before != "200" {
                return Err(format!("before `{name}` a worker said {before}").into());
            }
        }
        let start = Instant::now();
        self.scene.desk.done(command)?;
        let (got, slowest) = self.refused_on(&mut workers, pass, start)?;
        let how = format!("  gatepass {}", quoted(command));
        self.summary.step(name, &how, expected, &got, slowest);
        Ok(())
    }

    /// Until no worker allows it any more: what they say, and when the last one did.
    fn refused_on(
        &self,
        workers: &mut [Worker],
        pass: &Pass,
        start: Instant,
    ) -> Result<(String, Duration), Failed> {
        let bytes = bearing("POST", SMALL_ORDER, Some(&pass.issued.token));
        let mut slowest = Duration::ZERO;
        let mut verdicts = Vec::new();
        for worker in workers {
            let mut verdict = worker.verdict(&self.scene, &bytes)?;
            while verdict == "200" && start.elapsed() < PATIENCE {
                verdict = worker.verdict(&self.scene, &bytes)?;
            }
            slowest = slowest.max(start.elapsed());
            verdicts.push(verdict);
        }
        verdicts.dedup();
        Ok((verdicts.join(", "), slowest))
    }

    fn command(&mut self, name: &str, command: &[&str], expected: &str) -> Result<(), Failed> {
        let start = Instant::now();
        let said = self.scene.desk.run(command)?;
        let how = format!("  gatepass {}", quoted(command));
        self.summary.step(name, &how, expected, outcome(said.ok), start.elapsed());
        Ok(())
    }

    fn issuing(&mut self, name: &str, expected: &str) -> Result<(), Failed> {
        let start = Instant::now();
        let response = self.scene.buyer.ask(&ORDER)?;
        let how = self.asking(LIMITED);
        self.summary.step(name, &how, expected, &oauth(&response), start.elapsed());
        Ok(())
    }

    fn shown(&mut self, name: &str, id: &str, row: &str, expected: &str) -> Result<(), Failed> {
        let start = Instant::now();
        let command = ["agent", "show", id];
        let said = self.scene.desk.done(&command)?;
        let line = said.lines().find_map(|line| line.strip_prefix(row)).unwrap_or_default();
        let how = format!("  gatepass {}", quoted(&command));
        self.summary.step(name, &how, expected, line.trim(), start.elapsed());
        Ok(())
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
        let response = self.scene.ask(method, path, Some(&pass.issued.token))?;
        let how = self.curl(method, path, &pass.header())?;
        self.summary.step(name, &how, expected, &response.verdict(), start.elapsed());
        Ok(())
    }

    fn until(&mut self, name: &str, path: &str, pass: &Pass, expected: &str) -> Result<(), Failed> {
        let bytes = bearing("POST", path, Some(&pass.issued.token));
        let start = Instant::now();
        // One that never comes is a step that differs, not the demo's end.
        let mut got = String::new();
        let mut connection = self.scene.connect()?;
        while got != expected && start.elapsed() < PATIENCE {
            got = match connection.exchange(&bytes) {
                Ok(response) => response.verdict(),
                // What is open when it is revoked is cut, which is no answer yet.
                Err(WireError::Closed(_)) => {
                    connection = self.scene.connect()?;
                    "cut".to_owned()
                }
                Err(error) => return Err(error.into()),
            };
        }
        let how = self.curl("POST", path, &pass.header())?;
        self.summary.step(name, &how, expected, &got, start.elapsed());
        Ok(())
    }

    fn curl(&self, method: &str, path: &str, headers: &str) -> Result<String, Failed> {
        let address = self.scene.envoy.address("in")?;
        Ok(format!("  curl -i -X {method} -H 'host: {HOST}'{headers} 'http://{address}{path}'"))
    }

    /// What the agent asks its control plane, as a line to copy.
    fn asking(&self, details: &str) -> String {
        let buyer = &self.scene.buyer;
        let key = buyer.key_file.display().to_string();
        let whom = ["ask", "--issuer", &buyer.issuer, "--agent", &buyer.id, "--key", &key];
        let what = ["--resource", "https://orders.example", "--scope", "orders.write"];
        format!("  gatepass {}", quoted(&[&whom[..], &what, &["--details", details]].concat()))
    }

    fn order(&self) -> Result<Issued, Failed> {
        self.scene.buyer.gatepass(&ORDER)
    }

    fn bill(&self) -> Result<Issued, Failed> {
        self.scene.buyer.gatepass(&[
            ("resource", "https://billing.example"),
            ("authorization_details", r#"[{"type":"agent_action","actions":["bills:read"]}]"#),
        ])
    }
}

/// A gatepass in a file of its own, so that the printed lines can be copied.
struct Pass {
    label: &'static str,
    issued: Issued,
}

impl Pass {
    fn keep(label: &'static str, issued: Issued) -> Result<Self, Failed> {
        let folder = folder();
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(format!("{label}.jwt")), &issued.token)?;
        Ok(Self { label, issued })
    }

    fn header(&self) -> String {
        format!(" -H \"authorization: Bearer $(cat target/demo/{}.jwt)\"", self.label)
    }
}

/// Status and OAuth error.
fn oauth(response: &Response) -> String {
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let error = body.get("error").and_then(Value::as_str).unwrap_or_default();
    format!("{} {error}", response.status).trim_end().to_owned()
}

const fn outcome(ok: bool) -> &'static str {
    if ok { "ok" } else { "refused" }
}

/// The same gatepass with one character of its signature changed.
fn tampered(token: &str) -> String {
    let (head, signature) = token.rsplit_once('.').unwrap_or((token, ""));
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    let rest: String = signature.chars().skip(1).collect();
    format!("{head}.{first}{rest}")
}

/// An order of at most 500 EUR.
const ORDER: [(&str, &str); 3] = [
    ("resource", "https://orders.example"),
    ("scope", "orders.write"),
    ("authorization_details", LIMITED),
];
const LIMITED: &str = r#"[{"type":"agent_action","actions":["orders:create"],"constraints":{"amount":{"max":"500.00 EUR"}}}]"#;
const WIDE: &str = r#"[{"type":"agent_action","actions":["orders:create"],"constraints":{"amount":{"max":"50000.00 EUR"}}}]"#;
const SMALL_ORDER: &str = "/orders?amount=1.00&currency=EUR";
