//! Generates load in the same way for every server: persistent connections on one thread, each of which sends its next
//! request after the response to the previous one. Requests are formatted in advance, and only the status and the
//! length of a response are parsed, so that the generator takes little of the machine.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

/// Result of a load.
pub struct Outcome {
    pub took: Duration,
    pub times: Vec<Duration>,
    /// Number of responses with another status than the expected one.
    pub failed: usize,
    /// Body of the last response on each connection.
    pub bodies: Vec<Vec<u8>>,
}

impl Outcome {
    pub fn rate(&self) -> f64 {
        crate::timing::rate(self.times.len(), self.took)
    }
}

/// Sends all requests over this many connections.
pub fn send(server: SocketAddr, connections: usize, requests: &[Vec<u8>], expected: u16) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    runtime.block_on(async {
        let next = AtomicUsize::new(0);
        let mut clients = Vec::new();
        for _ in 0..connections {
            clients.push(Connection::open(server).await);
        }
        let started = Instant::now();
        let done = futures::future::join_all(clients.into_iter().map(|client| client.run(requests, &next))).await;
        let took = started.elapsed();
        let failed = done.iter().flat_map(|client| &client.statuses).filter(|status| **status != expected).count();
        let times = done.iter().flat_map(|client| client.times.iter().copied()).collect();
        Outcome { took, times, failed, bodies: done.into_iter().map(|client| client.body).collect() }
    })
}

/// A persistent connection.
pub struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
    times: Vec<Duration>,
    statuses: Vec<u16>,
    body: Vec<u8>,
}

impl Connection {
    pub async fn open(server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server).await.expect("the server listens");
        stream.set_nodelay(true).expect("a TCP socket");
        Self { stream, read: Vec::new(), times: Vec::new(), statuses: Vec::new(), body: Vec::new() }
    }

    async fn run(mut self, requests: &[Vec<u8>], next: &AtomicUsize) -> Self {
        while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
            let started = Instant::now();
            let status = self.ask(request).await;
            self.times.push(started.elapsed());
            self.statuses.push(status);
        }
        self
    }

    /// Sends one request and returns the status of its response. The body stays in [`Self::body`].
    pub async fn ask(&mut self, request: &[u8]) -> u16 {
        let mut rest = request;
        while !rest.is_empty() {
            let written = self.written(rest).await;
            rest = &rest[written..];
        }
        self.read.clear();
        let (status, from, to) = loop {
            self.read_more().await;
            if let Some(head) = head(&self.read) {
                break head;
            }
        };
        while self.read.len() < to {
            self.read_more().await;
        }
        self.body.clear();
        self.body.extend_from_slice(&self.read[from..to]);
        status
    }

    async fn written(&self, bytes: &[u8]) -> usize {
        loop {
            match self.stream.try_write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.stream.writable().await,
                written => return written.expect("an open connection"),
            }
            .expect("an open connection");
        }
    }

    async fn read_more(&mut self) {
        let mut bytes = [0; 8192];
        let read = loop {
            self.stream.readable().await.expect("an open connection");
            match self.stream.try_read(&mut bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => break read.expect("an open connection"),
            }
        };
        assert!(read > 0, "the server has closed the connection");
        self.read.extend_from_slice(&bytes[..read]);
    }

    pub fn body(&self) -> &[u8] {
        &self.body
    }
}

/// Returns the status of a response and the bounds of its body, or `None` while its head is incomplete.
fn head(bytes: &[u8]) -> Option<(u16, usize, usize)> {
    const LENGTH: &[u8] = b"content-length: ";
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let number = |text: &[u8]| text.iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0'));
    let status = u16::try_from(number(&bytes[9..12])).expect("three digits");
    let mut lines = bytes[..end].split(|byte| *byte == b'\n');
    let length = lines.find_map(|line| line.strip_prefix(LENGTH)).expect("an answer that says its length");
    Some((status, end + 4, end + 4 + number(length.trim_ascii_end())))
}
