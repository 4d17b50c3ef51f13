//! The program itself, as people start it and as the system ends it.

use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::components::{component, folder, version};
use super::http::Client;

/// Maximum time until the program prints its address. The first start of `dev` compiles.
const STARTED_WITHIN: Duration = Duration::from_mins(4);

/// Returns a command of the program, without the `CITAS_` variables of the environment.
pub fn citas(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_citas"));
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CITAS_")) {
        command.env_remove(name);
    }
    command
}

/// Result of a command that ran to its end.
pub struct Finished {
    pub status: i32,
    pub out: String,
    pub err: String,
}

/// Runs a command line to its end.
pub fn run(arguments: &[&str]) -> Finished {
    run_command(&mut citas(arguments))
}

/// Runs a prepared command to its end.
pub fn run_command(command: &mut Command) -> Finished {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Finished { status: status.code().unwrap_or(-1), out: text(stdout), err: text(stderr) }
}

impl Finished {
    #[track_caller]
    pub fn expect(self, status: i32) -> Self {
        assert_eq!(self.status, status, "{}{}", self.out, self.err);
        self
    }
}

/// A running server; it is killed when it is dropped.
pub struct Process {
    child: Child,
    pub base: String,
    lines: Receiver<String>,
    log: Arc<Mutex<String>>,
}

impl Process {
    /// Starts `citas serve` or `citas dev` and waits until it prints its address.
    pub fn start(arguments: &[&str]) -> Self {
        Self::spawn(&mut citas(arguments))
    }

    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (said, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| said.send(line)));
        let log = Arc::new(Mutex::new(String::new()));
        keep(child.stderr.take().unwrap(), log.clone());
        let mut process = Self { child, base: String::new(), lines, log };
        let line = process.line_with("Citas serves on ");
        process.base = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap().into();
        process
    }

    /// Waits for the next line of its output with `text` in it.
    pub fn line_with(&self, text: &str) -> String {
        let deadline = Instant::now() + STARTED_WITHIN;
        loop {
            let line = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            let line = line.unwrap_or_else(|_| panic!("it never said `{text}`: {}", self.log.lock().unwrap()));
            if line.contains(text) {
                return line;
            }
        }
    }

    pub fn client(&self, token: &str) -> Client {
        Client::new(&self.base, Some(token.to_owned()))
    }

    /// Returns its standard error so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns its exit status if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Sends SIGTERM, as the system does for a clean stop.
    pub fn terminate(&self) {
        let told = Command::new("kill").args(["-TERM", &self.id().to_string()]).status().unwrap();
        assert!(told.success());
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.log.lock().unwrap());
        }
    }
}

fn keep(mut from: impl Read + Send + 'static, log: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            log.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    });
}

/// Returns a token as `citas token` prints it.
pub fn token(data: &Path, arguments: &[&str]) -> String {
    let data = data.to_str().unwrap();
    run(&[&["token", "--data", data], arguments].concat()).expect(0).out.trim().to_owned()
}

/// Publishes countries' rules as their teams do and puts them into use.
pub fn publish(registry: &Path, countries: &[&str]) {
    let files = tempfile::tempdir().unwrap();
    for country in countries {
        let file = files.path().join(format!("{country}.wasm"));
        std::fs::write(&file, component(country)).unwrap();
        publish_file(registry, country, &file, &version(country), &folder(country).join("cases"));
    }
}

/// Publishes one component file and puts it into use.
pub fn publish_file(registry: &Path, country: &str, file: &Path, version: &str, cases: &Path) {
    let [registry, file, cases] = [registry, file, cases].map(|path| path.to_str().unwrap());
    run(&["rules", "publish", file, "--cases", cases, "--registry", registry]).expect(0);
    run(&["rules", "promote", country, version, "--why", "a test", "--registry", registry]).expect(0);
}
