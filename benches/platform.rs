//! The local platform as in production: the command `citas serve` in a process of its own, with its log in a file, over
//! a data folder on the disk of the build.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};

use citas::local::issuer::LocalIssuer;
use citas::local::registry::FolderRegistry;
use citas::system::SystemClock;
use citas::toolkit::CountryFolder;
use citas::wasm::WasmEngine;
use citas::wasm::limits::CEILING;
use citas_core::model::{Artifact, Channel, Claims, CountryCode, Limits, Manifest, Scope, digest};
use citas_core::ports::{CONTRACTS, Clock as _, Registry};
use citas_core::rules::LoadedRules;
use tempfile::TempDir;

/// A server in a process of its own, which ends when this value is dropped.
pub struct Server {
    process: Child,
    pub address: SocketAddr,
}

impl Server {
    /// Starts a server and reads its address from standard output.
    fn start(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().expect("a program that starts");
        let said = BufReader::new(process.stdout.take().expect("a pipe"));
        let mut lines = said.lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.split("http://").nth(1)?.split_whitespace().next()?.parse().ok());
        Self { process, address: address.expect("a server that says its address") }
    }

    /// Starts a hello-world axum server.
    pub fn hello() -> Self {
        let this = std::env::current_exe().expect("a program");
        Self::start(Command::new(this).arg(crate::hello::ARGUMENT))
    }

    /// Starts the API over a data folder, with or without the read log.
    pub fn reads(argument: &str, data: &Data) -> Self {
        let this = std::env::current_exe().expect("a program");
        Self::start(Command::new(this).arg(argument).arg(data.path()))
    }

    /// Starts Citas over a data folder.
    pub fn citas(data: &Data) -> Self {
        let log = File::create(data.path().join("log")).expect("a writable folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_citas"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--rate-limit", "0", "--data"]).arg(data.path()).stderr(log);
        Self::start(&mut command)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A data folder with Peru's rules in its registry.
pub struct Data {
    folder: TempDir,
}

impl Data {
    pub fn empty() -> Self {
        Self { folder: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a writable target folder") }
    }

    pub fn with_peru() -> Self {
        let data = Self::empty();
        data.publish(peru(), peru_version());
        data.promote(peru_version(), 1);
        data
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn registry(&self) -> FolderRegistry {
        FolderRegistry::new(&self.path().join("registry"))
    }

    /// Publishes a component of Peru.
    pub fn publish(&self, component: &[u8], version: &str) {
        publish(&self.registry(), component, version);
    }

    /// Puts a version of Peru into use, as the channel's change number `sequence`.
    pub fn promote(&self, version: &str, sequence: u64) {
        promote(&self.registry(), version, sequence);
    }

    /// Publishes version 1.0.0 of another country, without cases and with the maximum fuel, and puts it into use.
    pub fn with_country(self, country: &str, component: &[u8]) -> Self {
        let limits = Limits { fuel: Some(CEILING.fuel), ..Limits::default() };
        self.put_in_use(country, component, limits, "[]".into());
        self
    }

    /// Publishes version 1.0.0 of another country and puts it into use.
    pub fn put_in_use(&self, country: &str, component: &[u8], limits: Limits, cases: String) {
        let (registry, country) = (self.registry(), country.parse().expect("a country"));
        publish_country(&registry, country, component, limits, "1.0.0", cases);
        promote_country(&registry, country, "1.0.0", 1);
    }

    /// Returns a token for `ana`, who is a patient unless she is in a group.
    pub fn token(&self, groups: &[&str]) -> String {
        self.token_of("ana", groups)
    }

    /// Returns a token of this subject.
    pub fn token_of(&self, subject: &str, groups: &[&str]) -> String {
        let claims = Claims {
            subject: subject.into(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            scopes: Scope::ALL.map(|scope| scope.as_str().to_owned()).into(),
            identities: [].into(),
        };
        let issuer = LocalIssuer::open(self.path(), Arc::new(SystemClock)).expect("a key");
        issuer.token(&claims, SystemClock.now()).expect("a token")
    }
}

/// Publishes a component of Peru in a registry.
pub fn publish(registry: &dyn Registry, component: &[u8], version: &str) {
    let cases = folder("pe").cases().expect("Peru's cases");
    publish_country(registry, pe(), component, Limits::default(), version, cases);
}

fn publish_country(
    registry: &dyn Registry,
    country: CountryCode,
    component: &[u8],
    limits: Limits,
    version: &str,
    cases: String,
) {
    let manifest = Manifest {
        country,
        version: version.parse().expect("a version"),
        digest: digest(component),
        cases_digest: digest(cases.as_bytes()),
        contract: CONTRACTS[CONTRACTS.len() - 1].to_owned(),
        source: None,
        published_at: SystemClock.now(),
        limits,
    };
    let artifact = Artifact { manifest, component: component.to_owned(), cases, signature: None };
    block_on(registry.publish(&artifact)).expect("a registry");
}

/// Puts a version of Peru into use in a registry, as the channel's change number `sequence`.
pub fn promote(registry: &dyn Registry, version: &str, sequence: u64) {
    promote_country(registry, pe(), version, sequence);
}

fn promote_country(registry: &dyn Registry, country: CountryCode, version: &str, sequence: u64) {
    let before = block_on(registry.channel(country)).expect("a registry");
    let channel = Channel {
        current: version.parse().expect("a version"),
        previous: before.as_ref().map(|before| before.current.clone()),
        sequence,
        changed_at: SystemClock.now(),
        pinned: false,
        candidate: None,
        history: Vec::new(),
    };
    block_on(registry.set_channel(country, before.as_ref(), &channel)).expect("a registry");
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Runtime::new().expect("a runtime")).block_on(future)
}

pub fn pe() -> CountryCode {
    "pe".parse().expect("a country")
}

/// Returns the engine, one per process as in the host.
pub fn engine() -> Arc<WasmEngine> {
    static ENGINE: OnceLock<Arc<WasmEngine>> = OnceLock::new();
    ENGINE.get_or_init(|| Arc::new(WasmEngine::new().expect("an engine"))).clone()
}

/// Builds the tests' country that misbehaves on request.
pub fn chaos(features: &[&str]) -> Vec<u8> {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "tests", "chaos"].iter().collect();
    let folder = CountryFolder::open(&folder).unwrap_or_else(|error| panic!("{error}"));
    folder.build(features).unwrap_or_else(|error| panic!("{error}"))
}

fn folder(country: &str) -> CountryFolder {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "countries", country].iter().collect();
    CountryFolder::open(&folder).unwrap_or_else(|error| panic!("{error}"))
}

/// Builds a country's component.
pub fn component(country: &str) -> Vec<u8> {
    folder(country).build(&[]).unwrap_or_else(|error| panic!("{error}"))
}

pub fn peru() -> &'static [u8] {
    static BUILT: OnceLock<Vec<u8>> = OnceLock::new();
    BUILT.get_or_init(|| component("pe"))
}

/// Returns the version of Peru's rules.
pub fn peru_version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| loaded(peru()).id.version)
}

/// Loads a component as the host does.
pub fn loaded(component: &[u8]) -> LoadedRules {
    LoadedRules::load(&*engine(), component, &Limits::default()).unwrap_or_else(|refusal| panic!("{refusal}"))
}
