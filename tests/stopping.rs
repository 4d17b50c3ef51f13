//! A server stops in bounded time, with its data in one file.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::eventually::eventually;
use crate::support::process::{Process, publish, token};
use crate::support::requests::pe;

/// Time after which a server stops although requests are under way.
const GRACE: Duration = Duration::from_secs(10);

fn serve(data: &Path) -> Process {
    publish(&data.join("registry"), &["pe"]);
    Process::start(&["serve", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()])
}

fn terminate(process: &Process) {
    let told = Command::new("kill").args(["-TERM", &process.id().to_string()]).status().unwrap();
    assert!(told.success());
}

/// Sends a request with an incomplete body.
fn half_a_request(process: &Process, bearer: &str) -> TcpStream {
    let mut stream = TcpStream::connect(process.base.trim_start_matches("http://")).unwrap();
    let head = format!(
        "POST /v1/pe/appointments HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bearer}\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

#[test]
fn after_a_clean_stop_everything_is_in_the_file() {
    let data = tempfile::tempdir().unwrap();
    let mut process = serve(data.path());
    let staff = process.client(&token(data.path(), &["--group", "pe:staff"]));
    for number in 0..20 {
        staff.booked("pe", &pe(number));
        staff.get("/v1/pe/appointments").expect(200);
    }
    terminate(&process);
    let status = eventually("its end", GRACE * 3, || process.ended());
    assert!(status.success(), "{status}: {}", process.log());
    assert!(!data.path().join("pe.db-wal").exists(), "the log is left behind");
    let copy = tempfile::tempdir().unwrap();
    let copied = copy.path().join("pe.db");
    std::fs::copy(data.path().join("pe.db"), &copied).unwrap();
    let file = rusqlite::Connection::open(copied).unwrap();
    let count: u32 = file.query_row("SELECT count(*) FROM appointment", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 20);
}

/// Starts a server that waits for the rest of a request.
fn with_half_a_request() -> (TempDir, Process, TcpStream) {
    let data = tempfile::tempdir().unwrap();
    let process = serve(data.path());
    let bearer = token(data.path(), &[]);
    let stream = half_a_request(&process, &bearer);
    // The answer to a later connection shows that the earlier request is under way.
    process.client(&bearer).get("/v1/pe/appointments").expect(200);
    (data, process, stream)
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    let (_data, mut process, _stream) = with_half_a_request();
    terminate(&process);
    eventually("the first signal", GRACE, || process.log().contains("\"stopping\"").then_some(()));
    let began = Instant::now();
    terminate(&process);
    let status = eventually("its end", GRACE * 3, || process.ended());
    assert!(began.elapsed() < GRACE / 2, "{:?}", began.elapsed());
    assert_eq!(status.code(), Some(1));
}

#[test]
fn a_client_that_never_ends_its_request_does_not_keep_the_server_from_stopping() {
    let (_data, mut process, _stream) = with_half_a_request();
    terminate(&process);
    let status = eventually("its end", GRACE * 3, || process.ended());
    assert!(status.success(), "{status}");
}
