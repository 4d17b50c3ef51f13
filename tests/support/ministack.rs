//! A server that speaks AWS, one for all tests or benchmarks of the process, installed when it is first needed. It ends
//! when the process does, however that ends: it reads its standard input, and stops where that stops.

use std::io::Read as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_config::{ConfigLoader, Region};
use aws_sdk_dynamodb::config::Credentials;
use citas::aws::clients;

use super::eventually::eventually;

/// Ends the server with whoever holds the other end of its standard input.
const WATCHED: &str = "
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
sys.argv = ['ministack']
from ministack.app import main
main()
";

struct Server {
    endpoint: String,
    _process: Child,
}

/// Clients of the server.
pub fn aws() -> ConfigLoader {
    let credentials = Credentials::new("test", "test", None, None, "tests");
    clients::configuration()
        .endpoint_url(&server().endpoint)
        .region(Region::new("us-east-1"))
        .credentials_provider(credentials)
}

/// A name that nothing else of this process has: for tables, buckets, topics.
pub fn unique(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{what}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(start)
}

fn start() -> Server {
    let python = installed();
    // Free now, and taken by nobody else before the server has it, or the server says so and ends.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let endpoint = format!("http://127.0.0.1:{port}");
    let mut process = Command::new(python)
        .args(["-c", WATCHED])
        .env("BIND_HOST", "127.0.0.1")
        .env("GATEWAY_PORT", port.to_string())
        .env("MINISTACK_HOST", "localhost")
        .env("MINISTACK_REGION", "us-east-1")
        .env("IOT_MTLS_ENABLED", "0")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("ministack serves", Duration::from_mins(1), || {
        if process.try_wait().unwrap().is_some() {
            let mut said = String::new();
            process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            panic!("ministack has ended: {said}");
        }
        ureq::get(format!("{endpoint}/_ministack/health")).call().ok()
    });
    // Nobody reads it any more, and what nobody reads must not fill up.
    let mut said = process.stderr.take().unwrap();
    std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
    Server { endpoint, _process: process }
}

/// Python with the server in it, in the target folder: it is made once, whole or not at all.
fn installed() -> PathBuf {
    let stack = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/stack");
    let requirements = stack.join("requirements.txt");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let made = Command::new(stack.join("environment")).arg(&requirements).arg(target).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    PathBuf::from(String::from_utf8(made.stdout).unwrap().trim()).join("bin/python")
}
