//! A real Envoy whose gate follows a feed of the test's, asked on every worker.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gatepass_envoy::{Bootstrap, Envoy, Gate, Listener, PluginConfig};
use gatepass_tests::kit::filter;
use gatepass_tests::kit::hostile::HostileFeed;
use gatepass_tests::kit::upstream::Upstream;
use gatepass_tests::kit::wire::{Connection, Response, WireError};
use gatepass_tests::kit::world::bearing;

pub(crate) struct Gated {
    pub(crate) envoy: Envoy,
    pub(crate) upstream: Upstream,
    /// By listener, one to each worker.
    connections: BTreeMap<String, Vec<Connection>>,
}

impl Gated {
    /// The listener is `in`.
    pub(crate) fn launch(plugin: &PluginConfig, feed: &HostileFeed) -> Self {
        let upstream = Upstream::start().unwrap();
        let gate = Gate::new(filter::path().unwrap(), plugin);
        let bootstrap = Bootstrap::new()
            .listener(Listener::forwarding(IN, upstream.address()).gate(gate))
            .feed(feed.address())
            .workers(WORKERS);
        Self::of(Envoy::launch(&bootstrap).unwrap(), upstream, &[IN])
    }

    pub(crate) fn of(envoy: Envoy, upstream: Upstream, listeners: &[&str]) -> Self {
        let connections = listeners.iter().map(|listener| {
            let connections = each_worker(&envoy, listener);
            ((*listener).to_owned(), connections)
        });
        let connections = connections.collect();
        Self { envoy, upstream, connections }
    }

    /// The verdict, which must be the same of all workers.
    pub(crate) fn ask(&mut self, path: &str, gatepass: &str) -> String {
        self.ask_at(IN, path, gatepass)
    }

    pub(crate) fn ask_at(&mut self, listener: &str, path: &str, gatepass: &str) -> String {
        let found = self.verdicts_at(listener, path, gatepass);
        let first = found[0].clone();
        assert!(found.iter().all(|other| *other == first), "{found:?}");
        first
    }

    pub(crate) fn verdicts(&mut self, path: &str, gatepass: &str) -> Vec<String> {
        self.verdicts_at(IN, path, gatepass)
    }

    fn verdicts_at(&mut self, listener: &str, path: &str, gatepass: &str) -> Vec<String> {
        let request = bearing("GET", path, Some(gatepass));
        let connections = self.connections.get_mut(listener).unwrap();
        let verdict = |connection: &mut Connection| match connection.exchange(&request) {
            Ok(response) => response.verdict(),
            // What is open is decided again, and cut where it would be denied now.
            Err(WireError::Closed(_)) => CUT.to_owned(),
            Err(error) => panic!("{error}"),
        };
        let verdicts: Vec<String> = connections.iter_mut().map(verdict).collect();
        if verdicts.iter().any(|verdict| verdict == CUT) {
            *connections = each_worker(&self.envoy, listener);
        }
        verdicts
    }

    fn responses(&mut self, listener: &str, path: &str, gatepass: Option<&str>) -> Vec<Response> {
        let request = bearing("GET", path, gatepass);
        let all = self.connections.get_mut(listener).unwrap().iter_mut();
        all.map(|connection| connection.exchange(&request).unwrap()).collect()
    }

    /// Asks until all workers say so; how long it took.
    pub(crate) fn until(&mut self, path: &str, gatepass: &str, expected: &str) -> Duration {
        self.until_at(IN, path, gatepass, expected)
    }

    pub(crate) fn until_at(
        &mut self,
        listener: &str,
        path: &str,
        gatepass: &str,
        expected: &str,
    ) -> Duration {
        let start = Instant::now();
        loop {
            let found = self.verdicts_at(listener, path, gatepass);
            if found.iter().all(|verdict| verdict == expected) {
                return start.elapsed();
            }
            assert!(start.elapsed() < SOON, "{path} is still {found:?}, not {expected}");
            pause();
        }
    }

    /// The positions that the workers say they have.
    pub(crate) fn positions(&mut self) -> Vec<String> {
        let responses = self.responses(IN, "/slow", None);
        let position = |response: &Response| {
            let found = response.header("x-gatepass-position");
            found.unwrap_or_default().to_owned()
        };
        responses.iter().map(position).collect()
    }

    pub(crate) fn stat(&self, name: &str) -> u64 {
        self.envoy.wasm_stat(name).unwrap()
    }

    pub(crate) fn until_positions(&mut self, expected: &str) {
        let start = Instant::now();
        loop {
            let found = self.positions();
            if found.iter().all(|position| position == expected) {
                return;
            }
            assert!(start.elapsed() < SOON, "{found:?} are not {expected}");
            pause();
        }
    }

    /// Waits until a counter or gauge of the filter has what `is` asks for.
    pub(crate) fn until_stat(&self, name: &str, is: impl Fn(u64) -> bool) -> u64 {
        let last = std::cell::Cell::new(0);
        let found = self.envoy.until(name, SOON, |envoy| {
            last.set(envoy.wasm_stat(name)?);
            Ok(Some(last.get()).filter(|value| is(*value)))
        });
        found.unwrap_or_else(|error| panic!("{error}: it is {}", last.get()))
    }

    /// No VM has crashed since the start.
    pub(crate) fn assert_no_crash(&self) {
        let stats = self.envoy.stats().unwrap();
        let reloads = stats.iter().filter(|(name, _)| name.contains("vm_reload"));
        for (name, count) in reloads {
            assert_eq!(*count, 0, "{name}");
        }
        let log = self.envoy.log();
        for sign in ["panicked", "Wasm VM failed", "Function: proxy_on"] {
            assert!(!log.contains(sign), "{sign}");
        }
    }
}

/// One kept-alive connection to each worker, found by the VM that answers.
pub(crate) fn each_worker(envoy: &Envoy, listener: &str) -> Vec<Connection> {
    each_of(envoy, listener, WORKERS as usize)
}

/// The same of an Envoy with so many workers.
pub(crate) fn each_of(envoy: &Envoy, listener: &str, workers: usize) -> Vec<Connection> {
    let mut found: Vec<(String, Connection)> = Vec::new();
    let address = envoy.address(listener).unwrap();
    for _ in 0..200 {
        let mut connection = Connection::open(address).unwrap();
        let response = connection.exchange(&bearing("GET", "/healthz", None)).unwrap();
        let vm = response.header("x-gatepass-vm").expect("the gate says which VM answers");
        if !found.iter().any(|(known, _)| known == vm) {
            found.push((vm.to_owned(), connection));
        }
        if found.len() == workers {
            return found.into_iter().map(|(_, connection)| connection).collect();
        }
    }
    panic!("{} of {workers} workers were reached", found.len());
}

/// Between two looks at a condition.
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(2));
}

/// The verdict on a request that was cut while it was open.
pub(crate) const CUT: &str = "cut";
/// The listener of most tests.
pub(crate) const IN: &str = "in";
pub(crate) const WORKERS: u32 = 2;
pub(crate) const SOON: Duration = Duration::from_secs(10);
