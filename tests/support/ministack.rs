//! A server that speaks AWS, one for all tests or benchmarks of the process, installed on first use. It reads its
//! standard input and stops at the end of that, so it ends with this process, however the process ends.

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

/// Python program of the server. It ends when its standard input does.
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

/// Returns the configuration of clients of the server.
pub fn aws() -> ConfigLoader {
    let credentials = Credentials::new("test", "test", None, None, "tests");
    clients::configuration()
        .endpoint_url(&server().endpoint)
        .region(Region::new("us-east-1"))
        .credentials_provider(credentials)
}

/// Returns a name that nothing else in this process uses: for tables, buckets, topics.
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
    // The port is free now. If another program takes it before the server does, the server reports that and ends.
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
    // Nobody reads the log from now on, but its pipe must not fill up.
    let mut said = process.stderr.take().unwrap();
    std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
    Server { endpoint, _process: process }
}

/// Returns the Python of an environment with the server, in the target folder. It is created once, completely or not at
/// all.
fn installed() -> PathBuf {
    let stack = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/stack");
    let requirements = stack.join("requirements.txt");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let made = Command::new(stack.join("environment")).arg(&requirements).arg(target).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    PathBuf::from(String::from_utf8(made.stdout).unwrap().trim()).join("bin/python")
}
