//! README's own lines, in an empty folder, up to the first denied and the first allowed request in
//! an operator's own Envoy: in shadow first.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use gatepass_envoy::Envoy;
use gatepass_tests::kit::desk::{binary, free_ports};
use gatepass_tests::kit::filter;
use gatepass_tests::kit::upstream::Upstream;
use gatepass_tests::kit::wire::Response;

use crate::operator::{ask, run, with_parts};

#[test]
fn readmes_lines_lead_to_the_first_denied_and_allowed_request() {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for example in ["policy.yaml", "ceiling.json"] {
        let from = root.join("docs/example").join(example);
        std::fs::copy(from, folder.path().join(example)).unwrap();
    }
    let wasm = folder.path().join("gatepass_filter.wasm");
    std::fs::copy(filter::path().unwrap(), wasm).unwrap();

    let start = Instant::now();
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let script = script(&readme, free_ports().unwrap());
    let ended = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &format!("{script}\necho $(jobs -p) > server.pid\n")])
        .current_dir(folder.path())
        .env("PATH", with_gatepass())
        .env("GATEPASS_SERVER", server(&script))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let _server = Server(folder.path().to_owned());
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}\n{}", String::from_utf8_lossy(&ended.stdout));

    let upstream = Upstream::start().unwrap();
    let gatepass = std::fs::read_to_string(folder.path().join("gatepass.jwt")).unwrap();
    let gatepass = gatepass.trim();
    {
        let shadow = launch(folder.path(), &upstream, "shadow.yaml");
        let would_have_been_refused = || {
            let stats = shadow.stats().unwrap();
            let name = |name: &str| name.contains("shadow") && name.contains("no_credential");
            stats.iter().any(|(stat, value)| name(stat) && *value > 0)
        };
        // At first the gate has heard nothing, which it counts as another denial.
        until(&shadow, None, |answer| answer.status == 200 && would_have_been_refused());
        assert_eq!(ask(&shadow, Some(gatepass)).status, 200);
    }
    let enforcing = launch(folder.path(), &upstream, "enforce.yaml");
    until(&enforcing, Some(gatepass), |answer| answer.verdict() == "200");
    assert_eq!(ask(&enforcing, None).verdict(), "401 no_credential");
    let took = start.elapsed();
    println!("from the first line to the first denied and allowed request: {took:?}");
}

/// The blocks that are marked as shell, with ports that nobody uses.
fn script(readme: &str, first: u16) -> String {
    let blocks: Vec<&str> =
        readme.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() >= 4, "README has the lines that this test runs");
    let script = blocks
        .join("\n")
        .replace("--dir desk --environment", &format!("--port {first} --dir desk --environment"));
    script.replace("127.0.0.1:9402", &format!("127.0.0.1:{}", first + 2))
}

/// The admin listener that goes with the ports of the script.
fn server(script: &str) -> String {
    let port = script.split("--port ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    format!("http://127.0.0.1:{}", port.parse::<u16>().unwrap() + 1)
}

fn with_gatepass() -> std::ffi::OsString {
    let own = binary().unwrap().parent().unwrap().to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(own).chain(std::env::split_paths(&path))).unwrap()
}

/// Ends what the script left running.
struct Server(std::path::PathBuf);

impl Drop for Server {
    fn drop(&mut self) {
        let pids = std::fs::read_to_string(self.0.join("server.pid")).unwrap_or_default();
        for pid in pids.split_whitespace() {
            let _ = Command::new("kill").arg(pid).status();
        }
    }
}

/// An operator's Envoy with what is in this file.
fn launch(folder: &Path, upstream: &Upstream, printed: &str) -> Envoy {
    let printed = std::fs::read_to_string(folder.join(printed)).unwrap();
    let wasm = folder.join("gatepass_filter.wasm");
    let printed = printed.replace("gatepass_filter.wasm", wasm.to_str().unwrap());
    run(&with_parts(upstream.address(), &printed))
}

/// The gate has heard its control plane within seconds of Envoy's start.
fn until(envoy: &Envoy, gatepass: Option<&str>, done: impl Fn(&Response) -> bool) -> Response {
    let start = Instant::now();
    loop {
        let answer = ask(envoy, gatepass);
        if done(&answer) {
            return answer;
        }
        assert!(start.elapsed().as_secs() < 20, "still {}", answer.verdict());
    }
}
