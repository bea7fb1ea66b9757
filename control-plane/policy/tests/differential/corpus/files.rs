//! The files that Cedar's own crates have in them, found where those crates are: none of it is copied here.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A file by its crate and name.
pub(super) struct File {
    pub(super) name: String,
    pub(super) text: String,
}

/// Where they are in each crate, and how many there have to be at least.
const PLACES: &[(&str, &str, usize)] = &[
    ("cedar-policy", "tests/proto_test_files/policies", 28),
    ("cedar-policy-formatter", "tests", 22),
    ("cedar-policy-core", "src/parser/testfiles", 1),
];

/// All files, in one order everywhere.
pub(super) fn all() -> Vec<File> {
    let metadata = metadata();
    let mut files = Vec::new();
    for (package, folder, least) in PLACES {
        let directory = directory(&metadata, package).join(folder);
        let entries = std::fs::read_dir(&directory)
            .unwrap_or_else(|error| panic!("`{folder}` of {package}: {error}"));
        let is_policy = |path: &PathBuf| path.extension().is_some_and(|of| of == "cedar");
        let mut paths: Vec<PathBuf> =
            entries.map(|entry| entry.unwrap().path()).filter(is_policy).collect();
        paths.sort();
        assert!(paths.len() >= *least, "{} files in `{folder}` of {package}", paths.len());
        files.extend(paths.iter().map(|path| File {
            name: format!("{package}/{}", path.file_name().unwrap().to_string_lossy()),
            text: std::fs::read_to_string(path).unwrap(),
        }));
    }
    files
}

/// What the crates are that this one is made of, as the lock file has them.
fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn directory(metadata: &Value, package: &str) -> PathBuf {
    let all = metadata["packages"].as_array().unwrap();
    let mut found = all.iter().filter(|of| of["name"] == package);
    let (Some(one), None) = (found.next(), found.next()) else {
        panic!("{package} is not there once");
    };
    Path::new(one["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned()
}

/// A text's policies, each with the comments before it: what one cannot be read for is no matter to the others.
pub(super) fn statements(text: &str) -> Vec<&str> {
    let mut all = Vec::new();
    let mut start = 0;
    let mut bytes = text.bytes().enumerate().peekable();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => {
                while let Some((_, byte)) = bytes.next() {
                    match byte {
                        b'\\' => drop(bytes.next()),
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            b'/' if bytes.next_if(|(_, next)| *next == b'/').is_some() => {
                while bytes.next_if(|(_, next)| *next != b'\n').is_some() {}
            }
            b';' => {
                all.push(text.get(start..=at).unwrap());
                start = at + 1;
            }
            _ => {}
        }
    }
    all
}
