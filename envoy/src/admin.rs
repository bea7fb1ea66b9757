//! A blocking GET against Envoy's admin interface, on the loopback only.
//!
//! Enough of HTTP/1.1 (RFC 9112) for answers of our own child process: a status line, a body
//! that ends with the connection, or chunks. An HTTP client crate would bring an async runtime
//! into every test.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer of the admin interface.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Bound of one answer; `/config_dump` with a baseline of 10 MB fits.
const MAX_ANSWER: u64 = 64 * 1024 * 1024;
const TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) fn fetch(admin: SocketAddr, method: &str, path: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&admin, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut bytes)?;
    parse(&String::from_utf8_lossy(&bytes))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not an HTTP/1.1 answer"))
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let chunked = head.to_ascii_lowercase().contains("\r\ntransfer-encoding: chunked");
    let body = if chunked { unchunk(body)? } else { body.to_owned() };
    Some(Answer { status, body })
}

fn unchunk(mut rest: &str) -> Option<String> {
    let mut out = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(out);
        }
        out.push_str(after.get(..size)?);
        rest = after.get(size..)?.strip_prefix("\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn check(text: &str, expected: Option<(u16, &str)>) {
        let answer = parse(text).map(|answer| (answer.status, answer.body));
        assert_eq!(answer, expected.map(|(status, body)| (status, body.to_owned())), "{text}");
    }

    #[test]
    fn answers_are_read_with_and_without_chunks() {
        check("HTTP/1.1 503 No\r\na: b\r\n\r\nbody", Some((503, "body")));
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(
            &format!("{chunked}3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n"),
            Some((200, "abc0123456789")),
        );
        check(&format!("{chunked}3\r\nab"), None);
        check("nonsense", None);
    }
}
