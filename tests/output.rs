//! A server whose output nobody reads continues to serve, and stops on SIGTERM.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _, pipe};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::support::eventually::eventually;
use crate::support::http::Client;
use crate::support::process::{citas, publish, token};

/// Maximum time of a start, and of a stop.
const WITHIN: Duration = Duration::from_mins(1);

/// Number of requests whose log lines exceed the capacity of a pipe (64 KiB).
const MANY: usize = 600;

/// A server whose output streams are broken, full or unread.
struct Server {
    process: Child,
    client: Client,
    _data: TempDir,
}

impl Server {
    fn start(output: impl Into<Stdio>, errors: impl Into<Stdio>) -> Self {
        let data = tempfile::tempdir().unwrap();
        publish(&data.path().join("registry"), &["pe"]);
        let address = free_address();
        let bearer = token(data.path(), &[]);
        let mut command = serve(&address, data.path());
        let process = command.stdout(output).stderr(errors).spawn().unwrap();
        let client = Client::new(&format!("http://{address}"), Some(bearer));
        let server = Self { process, client, _data: data };
        eventually("an answer", WITHIN, || server.client.request("GET", "/healthz").try_send().ok());
        server
    }

    fn answers(&mut self, requests: usize) {
        for _ in 0..requests {
            self.client.get("/v1/pe/appointments").expect(200);
        }
        assert_eq!(self.process.try_wait().unwrap(), None, "it has ended");
    }

    fn stops(mut self) {
        let told = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status().unwrap();
        assert!(told.success());
        let status = eventually("its end", WITHIN, || self.process.try_wait().unwrap());
        assert!(status.success(), "{status}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn serve(address: &str, data: &Path) -> Command {
    citas(&["serve", "--listen", address, "--data", data.to_str().unwrap()])
}

/// Returns an address that was free a moment ago. The server cannot report a port of its own choice.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn full_device() -> File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}

#[test]
fn a_server_goes_on_when_the_readers_of_its_output_are_gone() {
    let (output, errors) = (pipe().unwrap(), pipe().unwrap());
    drop((output.0, errors.0));
    let mut server = Server::start(output.1, errors.1);
    server.answers(MANY);
    server.stops();
}

#[test]
fn a_server_goes_on_when_its_output_goes_to_a_full_disk() {
    let mut server = Server::start(full_device(), full_device());
    server.answers(MANY);
    server.stops();
}

#[test]
fn a_server_goes_on_when_nobody_reads_its_output() {
    let (full, mut errors) = (pipe().unwrap(), pipe().unwrap());
    fill(&full.1);
    let mut server = Server::start(full.1, errors.1.try_clone().unwrap());
    server.answers(MANY);
    // The first lines are there for a late reader.
    let mut lines = vec![0; 1 << 10];
    errors.0.read_exact(&mut lines).unwrap();
    assert!(lines.starts_with(b"{\"timestamp\":"), "{}", String::from_utf8_lossy(&lines));
    server.stops();
    drop(full.0);
}

/// Fills a pipe, so that the next write to it never returns.
fn fill(pipe: &std::io::PipeWriter) {
    let mut pipe = pipe.try_clone().unwrap();
    let (wrote, written) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        while pipe.write(&[b'x'; 4096]).is_ok() {
            if wrote.send(()).is_err() {
                return;
            }
        }
    });
    while written.recv_timeout(Duration::from_secs(1)).is_ok() {}
}

#[test]
fn a_command_that_fails_says_so_by_its_status_where_its_output_is_gone() {
    let errors = pipe().unwrap();
    drop(errors.0);
    let status = citas(&["serve", "--data", "/dev/null/data"]).stderr(errors.1).status().unwrap();
    assert_eq!(status.code(), Some(1));
}
