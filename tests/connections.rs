//! Clients that hold connections, and the capacity that remains for others. The server is the program in a process of
//! its own, so that its files and its memory can be counted.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::http::Client;
use crate::support::process::{Process, citas, publish, token};
use crate::support::requests::{pe, xx};

/// Connections of a client that only connects: more than the server accepts.
const CROWD: usize = 6_000;

/// Maximum memory for a client that reads nothing, in KiB: an answer of 40 KB, and buffers.
const MAX_EACH_KIB: u64 = 80;

struct Server {
    process: Process,
    token: String,
    data: TempDir,
}

impl Server {
    /// Starts a server with a limit of `files` open files and these options.
    fn start(files: u64, options: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        publish(&data.path().join("registry"), &["pe", "xx"]);
        let token = token(data.path(), &["--group", "platform"]);
        let folder = data.path().to_str().unwrap();
        let program =
            citas(&[&["serve", "--listen", "127.0.0.1:0", "--rate-limit", "0", "--data", folder], options].concat());
        // The shell sets the limit and then becomes the program.
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("ulimit -n {files}; exec \"$0\" \"$@\"")).arg(program.get_program());
        command.args(program.get_args());
        Self { process: Process::spawn(&mut command), token, data }
    }

    fn address(&self) -> SocketAddr {
        self.process.base.trim_start_matches("http://").parse().unwrap()
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address()).unwrap()
    }

    fn client(&self) -> Client {
        self.process.client(&self.token)
    }

    /// Returns the text of a request.
    fn get(&self, path: &str) -> Vec<u8> {
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n", self.token).into_bytes()
    }

    /// Returns the number of open descriptors whose path contains `of`.
    fn descriptors(&self, of: &str) -> usize {
        let open = fs::read_dir(format!("/proc/{}/fd", self.process.id())).unwrap();
        let names = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        names.filter(|name| name.to_string_lossy().contains(of)).count()
    }

    /// Returns the resident memory of the process, in KiB.
    fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

/// Raises this process's limit of open files. Returns the number of connections that it may hold, at most `wanted`.
fn allowed(wanted: usize) -> usize {
    let limit = rlimit::increase_nofile_limit(2 * wanted as u64).unwrap();
    wanted.min(usize::try_from(limit).unwrap() / 2)
}

#[test]
fn a_crowd_that_only_connects_leaves_health_and_bookings_answered() {
    // The limit is so low that all places are taken before the first connection has been idle for its ten seconds.
    let server = Server::start(1024, &[]);
    let crowd: Vec<TcpStream> = (0..allowed(CROWD)).map(|_| server.connect()).collect();
    let anybody = Client::new(&server.process.base, None);
    anybody.get("/healthz").expect(200);
    server.client().booked("pe", &pe(1));
    let metrics = anybody.get("/metrics").expect(200).text;
    assert!(metrics.contains("citas_connections_closed_total{why=\"idle\"}"), "{metrics}");
    drop(crowd);
}

#[test]
fn with_few_files_the_ledger_and_the_mail_keep_theirs() {
    let server = Server::start(256, &[]);
    let crowd: Vec<TcpStream> = (0..allowed(1_000)).map(|_| server.connect()).collect();
    for number in 0..50 {
        server.client().booked("pe", &pe(number));
        server.client().booked("xx", &xx(number));
        server.client().get("/v1/pe/appointments").expect(200);
    }
    let log = server.process.log();
    assert!(log.contains("\"connections\":") && !log.contains("Too many open files"), "{log}");
    drop(crowd);
}

#[test]
fn a_burst_of_lists_opens_few_files() {
    let server = Server::start(4096, &[]);
    for number in 0..20 {
        server.client().booked("pe", &pe(number));
    }
    let list = server.get("/v1/pe/appointments?limit=100");
    let mut clients: Vec<TcpStream> = (0..allowed(400)).map(|_| server.connect()).collect();
    for _ in 0..5 {
        for client in &mut clients {
            client.write_all(&list).unwrap();
        }
        for client in &mut clients {
            // The rules may get more calls than they can answer.
            assert!(matches!(&*status(client), "200" | "503"));
        }
    }
    let open = server.descriptors("pe.db");
    assert!(open <= citas::local::sqlite::FILES_PER_COUNTRY, "{open} files of one country");
}

/// Reads one answer with a `Content-Length`, and returns its status.
fn status(client: &mut TcpStream) -> String {
    client.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    client.read_exact(&mut vec![0; length]).unwrap();
    head.split(' ').nth(1).unwrap().to_owned()
}

/// Returns the memory, in KiB, for each of many clients that send these bytes, as far as the server accepts them, and
/// read nothing.
fn memory_for_each(server: &Server, bytes: &[u8]) -> u64 {
    const CLIENTS: usize = 1_500;
    let before = server.memory();
    let mut clients: Vec<(TcpStream, &[u8])> = (0..allowed(CLIENTS)).map(|_| (server.connect(), bytes)).collect();
    let mut quiet = 0;
    while quiet < 10 {
        let mut sent = 0;
        for (client, rest) in &mut clients {
            client.set_nonblocking(true).unwrap();
            match client.write(rest) {
                Ok(count) => {
                    *rest = &rest[count..];
                    sent += count;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // The server has closed the connection.
                Err(_) => *rest = &[],
            }
        }
        quiet = if sent == 0 { quiet + 1 } else { 0 };
        // Other clients get answers meanwhile. By then the server has accepted all that it accepts.
        server.client().get("/healthz").expect(200);
    }
    let each = server.memory().saturating_sub(before) / clients.len() as u64;
    println!("{each} KiB for each of {} clients", clients.len());
    each
}

#[test]
fn clients_that_read_nothing_hold_little_memory() {
    let server = Server::start(8192, &["--trusted-proxy", "127.0.0.1"]);
    server.client().get("/openapi.json").expect(200);
    let padding = format!("\r\nX-Padding: {}\r\n\r\n", "x".repeat(7 << 10));
    let request = server.get("/openapi.json");
    let padded = [request.trim_ascii_end(), padding.as_bytes()].concat();
    let each = memory_for_each(&server, &padded.repeat(100));
    assert!(each <= MAX_EACH_KIB, "{each} KiB for each");
}

#[test]
fn clients_whose_header_does_not_end_hold_little_memory() {
    let server = Server::start(8192, &["--trusted-proxy", "127.0.0.1"]);
    server.client().get("/healthz").expect(200);
    let endless = [b"GET /healthz HTTP/1.1\r\nX-Endless: ".as_slice(), &vec![b'x'; 400 << 10]].concat();
    let each = memory_for_each(&server, &endless);
    assert!(each <= MAX_EACH_KIB, "{each} KiB for each");
}

#[test]
fn health_and_metrics_have_a_listener_of_their_own() {
    let server = Server::start(1024, &["--admin-listen", "127.0.0.1:0"]);
    let line = server.process.line_with("Health and metrics: ");
    let admin = Client::new(line.trim_start_matches("Health and metrics: ").trim(), None);
    server.client().booked("pe", &pe(1));
    for path in ["/healthz", "/readyz", "/metrics"] {
        admin.get(path).expect(200);
        server.client().get(path).expect_problem(404, "not-found");
    }
    admin.get("/v1/countries").expect_problem(404, "not-found");
    server.client().get("/docs/").expect(200);
    assert!(server.descriptors("pe.db") > 0 && server.data.path().exists());
}

#[test]
fn every_line_that_a_request_leads_to_has_its_id() {
    let server = Server::start(1024, &["--log", "warn"]);
    let broken = serde_json::json!({ "mode": "panic" });
    let answer = server.client().book("xx", &crate::support::http::with(&xx(1), broken)).expect(503);
    let id = answer.header("x-request-id").to_owned();
    let log = crate::support::eventually::eventually("its line", Duration::from_secs(10), || {
        let log = server.process.log();
        log.contains("the rules gave no answer").then_some(log)
    });
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let line = lines.iter().find(|line| line["message"] == "the rules gave no answer").unwrap();
    assert_eq!(line["request_id"], id, "{line}");
    assert_eq!(line["method"], "POST");
    assert_eq!(line["route"], "/v1/{country}/appointments");
    assert_eq!(line["country"], "xx");
}
