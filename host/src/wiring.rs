//! Puts the adapters behind the ports and runs the platform on one machine. Only this module knows all its adapters.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use citas_core::booking::{Booking, Waker};
use citas_core::model::{CountryCode, Keyring};
use citas_core::notify::{Links, Notifier, Relay, Sender, Stop};
use citas_core::ports::{Clock, Mailer, Registry, TokenVerifier};
#[cfg(not(feature = "compiler"))]
use citas_core::release::InProcess;
use citas_core::release::{Admission, Catalogue, Followers, Following, Swapper, Trust, TrustSource};
use citas_core::trial::{TrialRecorder, take_back};
use ipnet::IpNet;
use jiff::SignedDuration;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::time::{MissedTickBehavior, timeout_at};

use crate::api::{self, Api, Description, Documents, Limits, Origin, REQUEST_TIMEOUT, Readiness};
use crate::background::{Background, Ended};
use crate::config::{HostOptions, RegistryPlace};
use crate::files;
use crate::local::last_good::LastGoodFolder;
use crate::local::link_keys::{self, LinkKeysError};
use crate::local::publisher::InProcessPublisher;
use crate::local::read_log::{self, SqliteReadLog};
use crate::local::registry::FolderRegistry;
use crate::local::smtp::SmtpMailer;
use crate::local::spool::SpoolMailer;
use crate::local::sqlite::{FILES_PER_COUNTRY, OpenError, SqliteLedger};
use crate::local::trials::FileTrials;
use crate::server::{OpenFiles, Refusal, Server};
use crate::status::StatusFile;
use crate::system::UuidIds;
#[cfg(feature = "compiler")]
use crate::wasm::ChildAdmission;
#[cfg(feature = "compiler")]
use crate::wasm::judge::ChildJudge;
use crate::wasm::{NoEngine, WasmEngine};

/// Interval at which a registry in a folder is read.
const FOLDER_INTERVAL: Duration = Duration::from_millis(250);
/// Interval at which a registry in a bucket is read. Each read costs money.
#[cfg(feature = "aws")]
const BUCKET_INTERVAL: Duration = Duration::from_secs(5);
/// Interval at which relays, metrics, the status file and trials are maintained.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum size of a trust file, in bytes. It has one line per key, and a key for each country.
const MAX_TRUST_BYTES: u64 = 1 << 20;
/// Delay before a failed write or a failed take-back is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// Maximum time for mail and for the comparisons of trials after the last request.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Time within the drain in which batches of mail may begin. The last batch has the rest of the drain to end.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of connections to health and metrics.
const ADMIN_CONNECTIONS: usize = 64;
/// Number of files open beside connections and ledgers: mail being sent, the registry, connections to health and
/// metrics, the log, the read log.
const OTHER_FILES: usize = 128 + ADMIN_CONNECTIONS;
/// Interval at which the ledgers' idle readers are closed.
const READERS_INTERVAL: Duration = Duration::from_secs(30);

/// Errors that keep the platform from starting, or stop it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder cannot be used.
    #[error(transparent)]
    Data(#[from] OpenError),
    /// The read log cannot be used.
    #[error(transparent)]
    ReadLog(#[from] read_log::OpenError),
    /// The keys of links cannot be used.
    #[error(transparent)]
    LinkKeys(#[from] LinkKeysError),
    /// This machine cannot run the rules.
    #[error(transparent)]
    Engine(#[from] NoEngine),
    /// The system does not name this program, which judges rules in processes of its own.
    #[error("no process can be started to judge rules: {0}")]
    Judge(#[source] io::Error),
    /// `--trust` names no trust file that can be used.
    #[error("{0}")]
    Trust(String),
    /// The mail spool cannot be created.
    #[error("the mail spool cannot be made: {0}")]
    Spool(#[source] io::Error),
    /// This process's metrics cannot be recorded, for example because another recorder is installed.
    #[error("the metrics cannot be recorded: {0}")]
    Metrics(#[from] BuildError),
    /// A background task ended.
    #[error(transparent)]
    Ended(#[from] Ended),
}

/// The verifier of tokens, and the keys that it publishes.
pub struct Identity {
    /// Verifies the tokens.
    pub tokens: Arc<dyn TokenVerifier>,
    /// Keys of the local issuer; none if another issuer is trusted.
    pub jwks: Option<Value>,
}

/// Listeners of the platform, and the proxies that it trusts.
pub struct Listeners {
    /// Listener for clients.
    pub public: TcpListener,
    /// Listener for health and metrics. With it, clients cannot request them.
    pub admin: Option<TcpListener>,
    /// Networks of proxies. Their connections are not limited to half of all.
    pub trusted_proxies: Vec<IpNet>,
}

impl From<TcpListener> for Listeners {
    fn from(public: TcpListener) -> Self {
        Self { public, admin: None, trusted_proxies: Vec::new() }
    }
}

/// All parts of the platform on one machine, ready to serve.
pub struct Platform {
    /// Rules in force.
    pub catalogue: Arc<Catalogue>,
    /// Ledger of appointments.
    pub ledger: Arc<SqliteLedger>,
    /// Puts rules into force.
    pub swapper: Arc<Swapper>,
    /// Destination of mail, as text for the operator.
    pub mail: String,
    read_log: Arc<SqliteReadLog>,
    clock: Arc<dyn Clock>,
    data: PathBuf,
    registry: Arc<dyn Registry>,
    registry_interval: Duration,
    trust: Option<PathBuf>,
    rate_limit: u32,
    hold_time: SignedDuration,
    origins: Vec<Origin>,
    notifier: Arc<Notifier>,
    link_keys: Keyring,
    trials: Arc<FileTrials>,
}

impl Platform {
    /// Opens the data folder and starts the rules engine. Serves nothing, and puts no rules into force yet.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn open(
        options: &HostOptions,
        smtp: Option<SmtpMailer>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        Self::open_with(options, smtp, clock, admission(&options.folders.data, WasmEngine::new()?)?).await
    }

    /// Opens the platform with another way to admit rules.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn open_with(
        options: &HostOptions,
        smtp: Option<SmtpMailer>,
        clock: Arc<dyn Clock>,
        admission: Arc<dyn Admission>,
    ) -> Result<Self, StartError> {
        let catalogue = Arc::new(Catalogue::default());
        let data = options.folders.data.clone();
        let ledger = Arc::new(SqliteLedger::open(&data)?);
        let read_log = Arc::new(SqliteReadLog::open(&data, clock.clone())?);
        if let Some(file) = &options.trust {
            trusted(file).map_err(StartError::Trust)?;
        }
        let (mailer, mail) = mailer(smtp, &data)?;
        let trials = Arc::new(FileTrials::new(&data));
        let sender = Sender { from: options.mail_from.clone(), reply_to: options.mail_reply_to.clone() };
        let link_keys = link_keys::open(&data)?;
        let links = options.public_url.clone().map(|url| Links { keys: link_keys.clone(), base: url.into() });
        if links.is_none() {
            tracing::warn!("no public address is set, so mail has no links and says how else to act; see --public-url");
        }
        let notifier = Notifier::new(catalogue.clone(), ledger.clone(), mailer, sender, clock.clone())
            .linking(links)
            .trying(TrialRecorder::new(trials.clone(), catalogue.clone()));
        let place = options.folders.registry();
        Ok(Self {
            swapper: Arc::new(Swapper::new(admission, catalogue.clone(), clock.clone())),
            registry_interval: interval(&place),
            registry: registry(place).await,
            trust: options.trust.clone(),
            rate_limit: options.rate_limit,
            hold_time: options.holds.time(),
            origins: options.cors_origin.clone(),
            notifier: Arc::new(notifier),
            link_keys,
            trials,
            catalogue,
            ledger,
            read_log,
            mail,
            clock,
            data,
        })
    }

    /// Follows the registry from now on. Returns when each country has rules in force or has none to load, and at the
    /// latest after the time limit of the first look.
    pub async fn follow_registry(&self, background: &mut Background) {
        let last_good = Arc::new(LastGoodFolder::new(&self.data.join("last-good")));
        let following = Following::new(self.registry.clone(), self.swapper.clone(), None);
        let following = following.trusting(self.trust.clone().map(trust)).with_last_good(last_good);
        let mut followers = Followers::new(following);
        followers.start().await;
        background.start("following the registry", followers.run(self.registry_interval));
    }

    /// Serves until `shutdown` resolves and the requests in progress are answered. Then finishes the mail in progress.
    ///
    /// # Errors
    /// Returns an error if a background task ends: without it, mail or new rules would be missing in silence.
    pub async fn serve(
        &self,
        listeners: Listeners,
        identity: Identity,
        metrics: PrometheusHandle,
        mut background: Background,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), StartError> {
        let (stop, stopping) = watch::channel(None);
        background.start("relaying events", self.relays(stopping.clone()));
        background.start("keeping the metrics", keep_metrics(metrics.clone()));
        let status = keep_status(StatusFile::new(&self.data), self.catalogue.clone(), self.clock.clone());
        background.start("keeping the status file", status);
        let (trying, shadow) = TrialRecorder::new(self.trials.clone(), self.catalogue.clone()).with_shadow();
        let (all_compared, comparing) = oneshot::channel();
        background.start("comparing candidates", async move {
            // Ends when no more requests can come.
            shadow.await;
            let _ = all_compared.send(());
        });
        let judged = judge(self.catalogue.clone(), self.trials.clone(), self.registry.clone(), self.clock.clone());
        background.start("judging canaries", judged);
        background.start("closing idle readers", close_idle_readers(self.ledger.clone()));
        background.start("doing scheduled actions", self.wakers(trying.clone(), stopping));
        let api = Api {
            booking: self.booking(trying).logging_reads(self.read_log.clone()),
            catalogue: self.catalogue.clone(),
            ready: Readiness::new(self.catalogue.clone(), self.ledger.clone()),
            tokens: identity.tokens,
            jwks: identity.jwks,
            link_keys: self.link_keys.clone(),
            limits: Limits::per_second(self.rate_limit),
            cors: api::cors(&self.origins),
            request_timeout: REQUEST_TIMEOUT,
            description: Description::new(self.clock.clone()),
            documents: Documents::default(),
            metrics: Box::new(move || metrics.render()),
        };
        tokio::select! {
            () = self.listen(listeners, api, shutdown) => {}
            ended = background.ended() => {
                tracing::error!(%ended, "stopping at once");
                return Err(ended.into());
            }
        }
        self.drain(&stop, comparing, &mut background).await;
        Ok(())
    }

    /// Lets the relays and the shadow finish, and writes what trials have counted. Events that are left in the outbox
    /// are published after the next start.
    async fn drain(
        &self,
        stop: &watch::Sender<Option<Duration>>,
        comparing: oneshot::Receiver<()>,
        background: &mut Background,
    ) {
        stop.send_replace(Some(self.clock.monotonic() + BEGIN_TIMEOUT));
        let deadline = tokio::time::Instant::now() + DRAIN_TIMEOUT;
        if timeout_at(deadline, stop.closed()).await.is_err() {
            tracing::warn!("stopped with mail under way, which may go out twice");
        }
        if timeout_at(deadline, comparing).await.is_err() {
            tracing::warn!("stopped with calls that are not compared with a version on trial");
        }
        // Stops all other writers of the trials' files. A task that hangs is not waited for.
        let _ = timeout_at(deadline, background.abort()).await;
        if let Err(error) = self.trials.keep() {
            tracing::warn!(%error, "what trials found last is not written");
        }
    }

    /// Serves until `shutdown` resolves and the requests in progress are answered. Health and metrics are served until
    /// then.
    async fn listen(&self, listeners: Listeners, api: Api, shutdown: impl Future<Output = ()>) {
        let Listeners { public, admin, trusted_proxies } = listeners;
        let refusal = Some(api::unread as Refusal);
        let server = Server { trusted_proxies, refusal, ..Server::with_connections(self.connections()) };
        let Some(admin) = admin else { return server.serve(public, api::router(api), shutdown).await };
        let routers = api::routers(api);
        let operators = Server { refusal, ..Server::with_connections(Arc::new(|| ADMIN_CONNECTIONS)) };
        tokio::select! {
            () = server.serve(public, routers.public, shutdown) => {}
            () = operators.serve(admin, routers.admin, std::future::pending()) => {}
        }
    }

    /// Raises the limit of open files. Returns the number of connections that it allows beside the countries' files.
    fn connections(&self) -> Arc<dyn Fn() -> usize + Send + Sync> {
        let files = OpenFiles::raise();
        let catalogue = self.catalogue.clone();
        let reserved =
            move || u64::try_from(OTHER_FILES + FILES_PER_COUNTRY * catalogue.all().len()).unwrap_or(u64::MAX);
        files.log(reserved());
        Arc::new(move || files.connections(reserved()))
    }

    fn relays(&self, stop: Stop) -> impl Future<Output = ()> + Send + use<> {
        let relay = {
            let publisher = Arc::new(InProcessPublisher::new(self.notifier.clone()));
            let (ledger, clock, stop) = (self.ledger.clone(), self.clock.clone(), stop.clone());
            move |country| Relay::new(country, ledger.clone(), publisher.clone(), clock.clone(), stop.clone()).run()
        };
        in_each_country("relaying events", self.catalogue.clone(), relay, stop)
    }

    fn wakers(&self, trying: TrialRecorder, stop: Stop) -> impl Future<Output = ()> + Send + use<> {
        let waker = {
            let (booking, ledger, clock) = (Arc::new(self.booking(trying)), self.ledger.clone(), self.clock.clone());
            let stop = stop.clone();
            move |country| {
                let mut stop = stop.clone();
                let stopping = async move {
                    // An error means that the sender is gone, so no signal can come.
                    let _ = stop.wait_for(Option::is_some).await;
                };
                Waker::new(country, booking.clone(), ledger.clone(), clock.clone()).run(stopping)
            }
        };
        in_each_country("doing scheduled actions", self.catalogue.clone(), waker, stop)
    }

    fn booking(&self, trying: TrialRecorder) -> Booking {
        let (clock, ids, names) = (self.clock.clone(), Arc::new(UuidIds), self.ledger.pseudonyms());
        Booking::new(self.catalogue.clone(), self.ledger.clone(), clock, ids, names, env!("CARGO_PKG_VERSION"))
            .trying(trying)
            .holding_for(self.hold_time)
    }
}

/// Returns the admission of a host: it judges new packages in separate processes, and loads with `engine` what they
/// accept.
///
/// # Errors
/// Returns an error if the system does not name this program.
#[cfg(feature = "compiler")]
pub fn admission(data: &Path, engine: WasmEngine) -> Result<Arc<dyn Admission>, StartError> {
    let judge = ChildJudge::this_program().map_err(StartError::Judge)?;
    Ok(Arc::new(ChildAdmission::new(engine, judge, data)))
}

/// Returns the admission of a host that compiles nothing.
///
/// # Errors
/// Never.
#[cfg(not(feature = "compiler"))]
pub fn admission(_: &Path, engine: WasmEngine) -> Result<Arc<dyn Admission>, StartError> {
    Ok(Arc::new(InProcess::new(engine)))
}

fn interval(place: &RegistryPlace) -> Duration {
    match place {
        RegistryPlace::Folder(_) => FOLDER_INTERVAL,
        #[cfg(feature = "aws")]
        RegistryPlace::Bucket { .. } => BUCKET_INTERVAL,
    }
}

/// Returns the registry at this location. Does not read it yet.
#[cfg_attr(not(feature = "aws"), expect(clippy::unused_async, reason = "clients of AWS look for credentials"))]
pub async fn registry(place: RegistryPlace) -> Arc<dyn Registry> {
    match place {
        RegistryPlace::Folder(folder) => Arc::new(FolderRegistry::new(&folder)),
        #[cfg(feature = "aws")]
        RegistryPlace::Bucket { bucket, prefix } => {
            let client = aws_sdk_s3::Client::new(&crate::aws::clients::configuration().load().await);
            Arc::new(crate::aws::registry::S3Registry::new(&client, &bucket, &prefix))
        }
    }
}

/// Returns a source that reads the trust file each time something is judged.
fn trust(file: PathBuf) -> TrustSource {
    Box::new(move || trusted(&file))
}

/// Reads a trust file.
pub(crate) fn trusted(file: &Path) -> Result<Trust, String> {
    let text = files::read_text(file, MAX_TRUST_BYTES).map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound => format!("there is no trust file {}", file.display()),
        _ => format!("{} cannot be read: {cause}", file.display()),
    })?;
    text.parse().map_err(|cause| format!("{}: {cause}", file.display()))
}

/// Returns the SMTP server if one is configured, else the spool in the data folder; and the destination as text.
fn mailer(smtp: Option<SmtpMailer>, data: &Path) -> Result<(Arc<dyn Mailer>, String), StartError> {
    if let Some(mailer) = smtp {
        let server = mailer.server().to_owned();
        return Ok((Arc::new(mailer), server));
    }
    let spool = data.join("mail");
    let mailer = SpoolMailer::open(&spool).map_err(StartError::Spool)?;
    Ok((Arc::new(mailer), spool.display().to_string()))
}

fn every(interval: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Keeps the status file in the data folder up to date.
async fn keep_status(mut file: StatusFile, catalogue: Arc<Catalogue>, clock: Arc<dyn Clock>) {
    let mut ticks = every(UPKEEP_INTERVAL);
    loop {
        ticks.tick().await;
        if let Err(error) = file.keep(&catalogue, &*clock) {
            tracing::warn!(%error, "`citas rules status` cannot show what is in force: the status file is not written");
            tokio::time::sleep(RETRY).await;
        }
    }
}

async fn close_idle_readers(ledger: Arc<SqliteLedger>) {
    let mut ticks = every(READERS_INTERVAL);
    loop {
        ticks.tick().await;
        ledger.close_idle_readers();
    }
}

/// Writes what trials find, and takes back canaries that exceed their margin.
async fn judge(catalogue: Arc<Catalogue>, trials: Arc<FileTrials>, registry: Arc<dyn Registry>, clock: Arc<dyn Clock>) {
    let mut ticks = every(UPKEEP_INTERVAL);
    loop {
        ticks.tick().await;
        if let Err(error) = trials.keep() {
            tracing::warn!(%error, "`citas rules diff` cannot show what trials find: their files are not written");
            tokio::time::sleep(RETRY).await;
        }
        let mut all_done = true;
        for (country, entry) in catalogue.all().iter() {
            if entry.candidate.as_ref().is_none_or(|candidate| candidate.terms.canary.is_none()) {
                continue;
            }
            if let Err(error) = take_back(&*registry, &*trials, &*clock, *country).await {
                tracing::error!(%country, %error, "a canary that exceeds its margin is not taken back yet");
                all_done = false;
            }
        }
        if !all_done {
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// Runs a task for each country from the time the country is known. Returns when a task ends without the signal to
/// stop, or when all tasks have stopped.
async fn in_each_country<F: Future<Output = ()> + Send + 'static>(
    name: &'static str,
    catalogue: Arc<Catalogue>,
    task: impl Fn(CountryCode) -> F + Send,
    mut stop: Stop,
) {
    let (mut started, mut running) = (BTreeSet::new(), Background::default());
    let mut ticks = every(UPKEEP_INTERVAL);
    loop {
        tokio::select! {
            biased;
            _ = stop.changed() => break,
            ended = running.ended() => {
                // A task may see the signal, and end, before this one sees it.
                if stop.borrow().is_some() {
                    break;
                }
                return tracing::error!(%ended, "this country's work has stopped");
            }
            _ = ticks.tick() => {}
        }
        for country in catalogue.all().keys().copied().filter(|country| started.insert(*country)) {
            running.start(format!("{name} of {country}"), task(country));
        }
    }
    running.finished().await;
}

/// Keeps the memory of recorded metrics bounded.
async fn keep_metrics(metrics: PrometheusHandle) {
    let mut ticks = every(UPKEEP_INTERVAL);
    loop {
        ticks.tick().await;
        metrics.run_upkeep();
    }
}

/// Records this process's metrics from now on. Must be called once for each process, whatever it serves.
///
/// # Errors
/// Returns an error if another recorder is installed.
pub fn record_metrics() -> Result<PrometheusHandle, StartError> {
    const SECONDS: [f64; 12] =
        [0.000_01, 0.000_02, 0.000_05, 0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0];
    const CHANGES: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1024.0];
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_batch_size".into()), &CHANGES)?
        .install_recorder()?;
    Ok(recorder)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use citas_core::release::RefusedVersion;
    use jiff::Timestamp;

    use super::*;

    /// Returns a catalogue that knows these countries, without rules.
    fn knowing(countries: &[&str]) -> Arc<Catalogue> {
        let catalogue = Catalogue::default();
        let (at, what, why) = (Timestamp::UNIX_EPOCH, "version 1.0.0".to_owned(), "it imports a function".to_owned());
        let refused = RefusedVersion { at, what, version: None, why, on_trial: false, retried: false };
        for country in countries {
            catalogue.refuse(country.parse().unwrap(), &refused);
        }
        Arc::new(catalogue)
    }

    #[tokio::test]
    async fn a_task_that_stops_before_the_signal_is_seen_leaves_the_others_to_end_by_themselves() {
        // The signal is there, and `changed` does not report it.
        let (signal, stop) = watch::channel(Some(Duration::ZERO));
        let ended = Arc::new(AtomicBool::new(false));
        let note = ended.clone();
        let task = move |country: CountryCode| {
            let note = note.clone();
            async move {
                if country.as_str() == "cl" {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    note.store(true, Ordering::Relaxed);
                }
            }
        };
        in_each_country("relaying events", knowing(&["pe", "cl"]), task, stop).await;
        assert!(ended.load(Ordering::Relaxed));
        drop(signal);
    }
}
