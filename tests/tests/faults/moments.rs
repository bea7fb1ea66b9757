//! The control plane and an Envoy are killed and stopped at moments nobody chose, while gatepasses are
//! issued and revoked.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use gatepass_envoy::Envoy;
use gatepass_tests::kit::edge::{Edge, Issued, ask, signal};
use gatepass_tests::kit::world::until;

#[test]
fn what_was_answered_is_enforced_whatever_was_killed_or_stopped_when() {
    let mut random = Random::announced();
    let mut edge = Edge::start().unwrap();
    edge.unbound().unwrap();
    let mut envoy = edge.envoy().unwrap();
    let good = edge.reading().unwrap();
    serves(&envoy, &good);
    let mut all: Vec<Issued> = Vec::new();
    let mut faults: BTreeMap<&str, u32> = BTreeMap::new();
    for round in 0..ROUNDS {
        // Each once, then any.
        let nth = if round < FAULTS.len() { round } else { random.below(4) as usize };
        let fault = FAULTS.get(nth).copied().unwrap();
        *faults.entry(fault.name()).or_default() += 1;
        let after = Duration::from_micros(random.below(300_000));
        let stopped = random.below(500_000);
        let mut revoked = revoking(&edge, |edge| {
            // Not to wait for anything: so that it comes at any point of what is in progress.
            std::thread::sleep(after);
            fault.strike(edge, &envoy, Duration::from_micros(stopped));
        });
        match fault {
            Fault::KillControlPlane => {
                edge.desk.kill();
                edge.desk.serve().unwrap();
            }
            Fault::KillEnvoy => envoy = edge.envoy().unwrap(),
            Fault::StopControlPlane | Fault::StopEnvoy => {}
        }
        // One more change: where it is enforced, everything before it is.
        let last = edge.issued().unwrap();
        assert_eq!(edge.revoke(&last.jti).unwrap().status, 200, "round {round}");
        revoked.push(last.clone());
        let asked = || ask(&envoy, "/orders", Some(&last.token));
        until(SOON, asked, |response| response.verdict() == REVOKED).unwrap();
        all.append(&mut revoked);
        for issued in &all {
            let verdict = ask(&envoy, "/orders", Some(&issued.token)).unwrap().verdict();
            assert_eq!(verdict, REVOKED, "round {round}, {}, {}", fault.name(), issued.jti);
        }
        serves(&envoy, &good);
    }
    edge.desk.done(&["audit", "verify"]).unwrap();
    println!("{} revocations answered, all enforced after {faults:?}", all.len());
    assert!(all.len() > ROUNDS);
}

/// Revokes until the fault has struck; what was answered.
fn revoking(edge: &Edge, fault: impl FnOnce(&Edge)) -> Vec<Issued> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let operator = scope.spawn(|| {
            let mut answered = Vec::new();
            while !over.load(Ordering::SeqCst) {
                // Without an answer nothing is promised.
                let Ok(issued) = edge.issued() else { continue };
                if edge.revoke(&issued.jti).is_ok_and(|answer| answer.status == 200) {
                    answered.push(issued);
                }
            }
            answered
        });
        fault(edge);
        over.store(true, Ordering::SeqCst);
        operator.join().unwrap()
    })
}

#[derive(Clone, Copy)]
enum Fault {
    KillControlPlane,
    StopControlPlane,
    KillEnvoy,
    StopEnvoy,
}

impl Fault {
    fn strike(self, edge: &Edge, envoy: &Envoy, stopped: Duration) {
        let (process, signals) = match self {
            Self::KillControlPlane => (edge.desk.process().unwrap(), &["KILL"][..]),
            Self::StopControlPlane => (edge.desk.process().unwrap(), &["STOP", "CONT"][..]),
            Self::KillEnvoy => (envoy.id(), &["KILL"][..]),
            Self::StopEnvoy => (envoy.id(), &["STOP", "CONT"][..]),
        };
        for (nth, name) in signals.iter().enumerate() {
            if nth > 0 {
                std::thread::sleep(stopped);
            }
            signal(process, name).unwrap();
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::KillControlPlane => "SIGKILL of the control plane",
            Self::StopControlPlane => "SIGSTOP of the control plane",
            Self::KillEnvoy => "SIGKILL of Envoy",
            Self::StopEnvoy => "SIGSTOP of Envoy",
        }
    }
}

/// What was not revoked is let through.
fn serves(envoy: &Envoy, good: &str) {
    let asked = || ask(envoy, "/orders", Some(good));
    until(SOON, asked, |response| response.status == 200).unwrap();
}

/// Numbers that differ with each run; the run prints where they began, and begins there again when
/// `GATEPASS_SEED` says so.
struct Random(u64);

impl Random {
    fn announced() -> Self {
        let given = std::env::var("GATEPASS_SEED").ok().and_then(|text| text.parse().ok());
        let drawn = || {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            u64::from(since.subsec_nanos()) << 20 ^ u64::from(std::process::id())
        };
        let seed = given.unwrap_or_else(drawn);
        println!("faults: GATEPASS_SEED={seed}");
        Self(seed)
    }

    /// SplitMix64.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

const ROUNDS: usize = 16;
const FAULTS: [Fault; 4] =
    [Fault::KillControlPlane, Fault::StopControlPlane, Fault::KillEnvoy, Fault::StopEnvoy];
const SOON: Duration = Duration::from_secs(30);
const REVOKED: &str = "401 revoked_credential";
