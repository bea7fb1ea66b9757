//! A blocking request in plain HTTP/1.1, to Envoy's admin interface and to what `doctor` asks.
//!
//! Enough of RFC 9112 for short answers: a status line, headers, a body that ends with its length,
//! its chunks or the connection. It speaks no TLS and follows nothing. An HTTP client crate would
//! bring an async runtime into every test.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The lines of the head, the status line first.
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Bound of one answer; `/config_dump` with a baseline of 10 MB fits.
const MAX_ANSWER: u64 = 64 * 1024 * 1024;
const TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) fn fetch(admin: SocketAddr, method: &str, path: &str) -> io::Result<Answer> {
    exchange(admin, "admin", method, path)
}

/// GET of a path at `host:port`, under that name as `Host`.
pub(crate) fn get(address: &str, path: &str) -> io::Result<Answer> {
    let unknown = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let at = address.to_socket_addrs()?.next().ok_or_else(unknown)?;
    exchange(at, address, "GET", path)
}

fn exchange(at: SocketAddr, host: &str, method: &str, path: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&at, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")?;
    let mut stream = stream.take(MAX_ANSWER);
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 * 1024];
    // Not every server closes when it is asked to: what has its length has its end.
    while length(&bytes).is_none_or(|whole| bytes.len() < whole) {
        match stream.read(&mut chunk)? {
            0 => break,
            count => bytes.extend(chunk.iter().take(count)),
        }
    }
    parse(&String::from_utf8_lossy(&bytes))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not an HTTP/1.1 answer"))
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let headers = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        headers
            .into_iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }
}

/// Of head and body together, where the head states it.
fn length(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?.checked_add(4)?;
    let head = String::from_utf8_lossy(bytes.get(..end)?).into_owned();
    let answer = Answer { status: 0, head, body: String::new() };
    answer.header("content-length")?.parse::<usize>().ok()?.checked_add(end)
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let chunked = head.to_ascii_lowercase().contains("\r\ntransfer-encoding: chunked");
    let body = if chunked { unchunk(body)? } else { body.to_owned() };
    Some(Answer { status, head: head.to_owned(), body })
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
