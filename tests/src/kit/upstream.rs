//! A small real HTTP/1.1 server that keeps the raw head of every request it receives.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// Answers 200 on a port of the system's choice until the process ends.
#[derive(Clone, Debug)]
pub struct Upstream {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
}

/// One request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The request line and headers, byte for byte, without the last blank line.
    pub head: Vec<u8>,
    pub body: Vec<u8>,
    /// The lines after the last chunk, without the blank one.
    pub trailers: Vec<u8>,
}

impl Received {
    /// The request line.
    #[must_use]
    pub fn line(&self) -> String {
        String::from_utf8_lossy(&self.head).lines().next().unwrap_or_default().to_owned()
    }

    /// All values of a header, its name compared in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Vec<String> {
        String::from_utf8_lossy(&self.head)
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
            .collect()
    }
}

impl Upstream {
    /// # Errors
    /// No port could be had.
    pub fn start() -> std::io::Result<Self> {
        Self::answering("content-type: application/json\r\n", "{\"ok\":true}")
    }

    /// The same with headers (each line ended by CRLF) and a body of the test's.
    ///
    /// # Errors
    /// No port could be had.
    pub fn answering(headers: &str, body: &str) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let upstream = Self { address: listener.local_addr()?, received: Arc::default() };
        let answer =
            format!("HTTP/1.1 200 OK\r\n{headers}content-length: {}\r\n\r\n{body}", body.len());
        let received = Arc::clone(&upstream.received);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (received, answer) = (Arc::clone(&received), answer.clone());
                std::thread::spawn(move || serve(stream, &received, answer.as_bytes()));
            }
        });
        Ok(upstream)
    }

    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything received since the last call.
    #[must_use]
    pub fn take(&self) -> Vec<Received> {
        std::mem::take(&mut *self.received.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Ends with the connection; an error on it is the peer's.
fn serve(stream: TcpStream, received: &Mutex<Vec<Received>>, answer: &[u8]) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let request = read(&mut reader)?;
        received.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        writer.write_all(answer).ok()?;
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Received> {
    let head = lines(reader)?;
    let mut request = Received { head, body: Vec::new(), trailers: Vec::new() };
    let length = request.header("content-length").first().and_then(|length| length.parse().ok());
    if let Some(length) = length {
        request.body = vec![0; length];
        reader.read_exact(&mut request.body).ok()?;
    } else if request.header("transfer-encoding").first().is_some_and(|coding| coding == "chunked")
    {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let size = usize::from_str_radix(line.trim(), 16).ok()?;
            if size == 0 {
                request.trailers = lines(reader)?;
                break;
            }
            let mut part = vec![0; size.checked_add(2)?];
            reader.read_exact(&mut part).ok()?;
            part.truncate(size);
            request.body.extend(part);
        }
    }
    Some(request)
}

/// Everything before the next blank line.
fn lines(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        let before = out.len();
        if reader.read_until(b'\n', &mut out).ok()? == 0 {
            return None;
        }
        if out.get(before..) == Some(b"\r\n") {
            out.truncate(before);
            return Some(out);
        }
    }
}
