//! The whole platform in this process, with its own port and data folder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use citas::background::Background;
use citas::config::{Folders, HoldOptions, HostOptions};
use citas::local::issuer::LocalIssuer;
use citas::local::smtp::SmtpMailer;
use citas::system::SystemClock;
use citas::wiring::{Identity, Platform, record_metrics};
use citas_core::model::{Claims, Limits, Scope};
use citas_core::ports::Clock;
use citas_core::rules::LoadedRules;
use jiff::{SignedDuration, Timestamp};
use metrics_exporter_prometheus::PrometheusHandle;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::components::{SharedEngine, child_admission, component};
use super::http::Client;
use super::mail::Spool;

/// The system's clock, which a test can move.
#[derive(Default)]
pub struct TravellingClock {
    wall: Mutex<SignedDuration>,
    monotonic: Mutex<Duration>,
}

impl TravellingClock {
    /// Advances both clocks.
    pub fn advance(&self, by: Duration) {
        self.shift_wall(SignedDuration::try_from(by).unwrap());
        *self.monotonic.lock().unwrap() += by;
    }

    /// Moves the wall clock alone, as an operator or NTP does. No time passes.
    pub fn shift_wall(&self, by: SignedDuration) {
        *self.wall.lock().unwrap() += by;
    }
}

impl Clock for TravellingClock {
    fn now(&self) -> Timestamp {
        SystemClock.now() + *self.wall.lock().unwrap()
    }

    fn monotonic(&self) -> Duration {
        SystemClock.monotonic() + *self.monotonic.lock().unwrap()
    }
}

/// A running platform; it stops when it is dropped.
pub struct Host {
    pub platform: Arc<Platform>,
    pub clock: Arc<TravellingClock>,
    base: String,
    data: PathBuf,
    issuer: Arc<LocalIssuer>,
    stop: Option<oneshot::Sender<()>>,
    served: Option<JoinHandle<()>>,
    runtime: Runtime,
    /// Temporary data folder, removed with the host.
    folder: Option<TempDir>,
}

impl Host {
    /// Starts a host with the rules of these countries in force, in a temporary folder.
    pub fn of(countries: &[&str]) -> Self {
        Self::set_up(countries, |_| {})
    }

    /// Starts a host in a temporary folder, with changed options.
    pub fn set_up(countries: &[&str], change: impl FnOnce(&mut HostOptions)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = options(folder.path());
        change(&mut options);
        let mut host = Self::start(countries, &options);
        host.folder = Some(folder);
        host
    }

    /// Starts a host in a folder that stays.
    pub fn in_folder(countries: &[&str], data: &Path) -> Self {
        Self::set_up_in(countries, data, |_| {})
    }

    /// Starts a host in a folder that stays, with changed options.
    pub fn set_up_in(countries: &[&str], data: &Path, change: impl FnOnce(&mut HostOptions)) -> Self {
        let mut options = options(data);
        change(&mut options);
        Self::start(countries, &options)
    }

    fn start(countries: &[&str], options: &HostOptions) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let clock = Arc::new(TravellingClock::default());
        // The running program is the test binary, which cannot judge.
        let admission = child_admission(&options.folders.data);
        let smtp = options.smtp.as_deref().map(|url| SmtpMailer::new(url).unwrap());
        let platform =
            Arc::new(runtime.block_on(Platform::open_with(options, smtp, clock.clone(), admission)).unwrap());
        for country in countries {
            let rules = LoadedRules::load(&SharedEngine, component(country), &Limits::default()).unwrap();
            platform.catalogue.install(rules, Timestamp::now());
        }
        let issuer = Arc::new(LocalIssuer::open(&options.folders.data, clock.clone()).unwrap());
        let identity = Identity { tokens: issuer.clone(), jwks: Some(issuer.jwks()) };
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let serving = platform.clone();
        let served = runtime.spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            serving.serve(listener.into(), identity, metrics(), Background::default(), stopped).await.unwrap();
        });
        let data = options.folders.data.clone();
        Self { platform, clock, base, data, issuer, stop: Some(stop), served: Some(served), runtime, folder: None }
    }

    /// Returns the address of the listener.
    pub fn address(&self) -> &str {
        self.base.trim_start_matches("http://")
    }

    /// Returns the client of a patient: every scope, no group.
    pub fn patient(&self, subject: &str) -> Client {
        self.client(subject, &[], &Scope::ALL.map(Scope::as_str))
    }

    /// Returns the client of a member of a country's staff.
    pub fn staff(&self, country: &str) -> Client {
        self.client("staff", &[&format!("{country}:staff")], &Scope::ALL.map(Scope::as_str))
    }

    /// Returns the client of a member of the platform team.
    pub fn platform_team(&self) -> Client {
        self.client("platform", &["platform"], &Scope::ALL.map(Scope::as_str))
    }

    pub fn client(&self, subject: &str, groups: &[&str], scopes: &[&str]) -> Client {
        self.with_token(Some(token(&self.issuer, subject, groups, scopes, self.clock.now())))
    }

    pub fn with_token(&self, token: Option<String>) -> Client {
        Client::new(&self.base, token)
    }

    pub fn issuer(&self) -> &LocalIssuer {
        &self.issuer
    }

    /// Returns its data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Returns its mail folder.
    pub fn spool(&self) -> Spool {
        Spool::in_data(&self.data)
    }

    /// Runs a future on the host's runtime.
    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(served) = self.served.take() {
            // An error of the server has already failed the test's requests.
            let _ = self.runtime.block_on(served);
        }
        drop(self.folder.take());
    }
}

/// Returns a token of a local issuer.
pub fn token(issuer: &LocalIssuer, subject: &str, groups: &[&str], scopes: &[&str], now: Timestamp) -> String {
    let set = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<BTreeSet<_>>();
    issuer
        .token(
            &Claims { subject: subject.into(), groups: set(groups), scopes: set(scopes), identities: [].into() },
            now,
        )
        .unwrap()
}

fn options(data: &Path) -> HostOptions {
    HostOptions {
        folders: Folders { data: data.to_owned(), registry: None },
        trust: None,
        smtp: None,
        mail_from: "Citas <citas@example.org>".parse().unwrap(),
        mail_reply_to: None,
        public_url: None,
        rate_limit: 0,
        holds: HoldOptions { hold_minutes: 5 },
        cors_origin: Vec::new(),
        log: "info".into(),
    }
}

/// Returns the metrics of this process, which all its hosts share.
fn metrics() -> PrometheusHandle {
    static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();
    METRICS.get_or_init(|| record_metrics().unwrap()).clone()
}
