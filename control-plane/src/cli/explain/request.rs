//! The request that is asked about, as the command line has it.

use std::path::{Path, PathBuf};

use clap::Args;
use gatepass::explain::Sent;
use zeroize::Zeroizing;

use crate::cli::Outcome;

// No doc comment: clap would print it as the help of each command that has it.
#[derive(Args)]
pub(crate) struct RequestArgs {
    /// A file with the request as HTTP/1.1 writes it, such as `curl -v` shows.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["method", "host", "path", "header"])]
    request: Option<PathBuf>,
    #[arg(long, default_value = "GET")]
    method: String,
    #[arg(long, requires = "path")]
    host: Option<String>,
    /// With its query.
    #[arg(long, requires = "host")]
    path: Option<String>,
    /// `NAME: VALUE`; repeat for each.
    #[arg(long)]
    header: Vec<String>,
    /// The gatepass, sent as `Authorization: Bearer`; `-` reads the standard input.
    #[arg(long)]
    token: Option<String>,
    // Not `--token-file`, which is the operator's own.
    /// A file that holds the gatepass; `-` reads the standard input. Other than --token it is in no list of processes.
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    gatepass_file: Option<PathBuf>,
    /// A file with the request's body.
    #[arg(long, value_name = "FILE", conflicts_with = "request")]
    body: Option<PathBuf>,
    /// The caller's address, as Envoy would have it.
    #[arg(long, value_name = "ADDRESS")]
    source: Option<core::net::IpAddr>,
    /// Seconds since the gate was told anything: what would it do with the control plane gone?
    #[arg(long, default_value_t = 0)]
    age: u64,
}

impl RequestArgs {
    /// # Errors
    /// A file that cannot be read, what is no request, or nothing that says which.
    pub(crate) fn sent(&self) -> Outcome<Sent> {
        let mut sent = match (&self.request, &self.host, &self.path) {
            (Some(file), ..) => parse(&text_of(file)?)?,
            (None, Some(host), Some(path)) => {
                let headers: Outcome<Vec<_>> =
                    self.header.iter().map(|text| header(text)).collect();
                Sent {
                    method: self.method.clone(),
                    host: host.clone(),
                    path: path.clone(),
                    headers: headers?,
                    ..Sent::default()
                }
            }
            _ => {
                return Err("which request? give `--request FILE`, or `--host` and `--path`".into());
            }
        };
        if let Some(path) = &self.body {
            sent.body = Some(std::fs::read(path).map_err(|error| unread(path, &error))?);
        }
        let gatepass = match (&self.token, &self.gatepass_file) {
            (Some(token), _) if token != "-" => Some(token.clone()),
            (Some(_), _) => Some(text_of(Path::new("-"))?),
            (None, file) => file.as_deref().map(text_of).transpose()?,
        };
        sent.gatepass = gatepass.map(|text| Zeroizing::new(text.trim().to_owned()));
        sent.source = self.source;
        sent.age = self.age;
        Ok(sent)
    }
}

/// Request line, headers, an empty line, perhaps a body.
fn parse(text: &str) -> Outcome<Sent> {
    let (head, body) = ["\r\n\r\n", "\n\n"]
        .iter()
        .find_map(|end| text.split_once(end))
        .map_or((text, ""), |(head, body)| (head, body));
    let mut lines = head.lines();
    let first = lines.next().unwrap_or_default();
    let mut words = first.split(' ');
    let (Some(method), Some(path), Some(_version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(
            format!("`{first}`: expected a request line such as `GET /orders HTTP/1.1`").into()
        );
    };
    let headers: Outcome<Vec<_>> = lines.map(header).collect();
    // Envoy holds `Host` as `:authority`, and answers 400 itself to none and to two.
    let (hosts, headers): (Vec<_>, Vec<_>) =
        headers?.into_iter().partition(|(name, _)| name == "host");
    let [(_, host)] = hosts.as_slice() else {
        return Err(format!("expected one `Host`, found {}", hosts.len()).into());
    };
    Ok(Sent {
        method: method.to_owned(),
        host: host.clone(),
        path: path.to_owned(),
        headers,
        body: (!body.is_empty()).then(|| body.as_bytes().to_vec()),
        ..Sent::default()
    })
}

/// Names in lower case, as Envoy holds them.
fn header(text: &str) -> Outcome<(String, String)> {
    let (name, value) =
        text.split_once(':').ok_or_else(|| format!("`{text}`: expected `NAME: VALUE`"))?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

/// `-` is the standard input.
fn text_of(path: &Path) -> Outcome<String> {
    let read = match path.to_str() {
        Some("-") => std::io::read_to_string(std::io::stdin()),
        _ => std::fs::read_to_string(path),
    };
    Ok(read.map_err(|error| unread(path, &error))?)
}

fn unread(path: &Path, error: &std::io::Error) -> String {
    format!("`{}`: {error}", path.display())
}
