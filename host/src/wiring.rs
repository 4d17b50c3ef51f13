//! Puts the adapters behind the ports and keeps the whole running: the one place that knows them all.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt as _;
use citas_core::access::TokenVerifier;
use citas_core::booking::Booking;
use citas_core::catalogue::Catalogue;
use citas_core::mailer::Mailer;
use citas_core::notifier::Notifier;
use citas_core::relay::Relay;
use citas_core::swap::{Follower, Swapper};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::api::{self, Api, Limits, Readiness};
use crate::config::HostOptions;
use crate::local::publisher::InProcessPublisher;
use crate::local::smtp::{NotAServer, SmtpMailer};
use crate::local::spool::SpoolMailer;
use crate::local::sqlite::{OpenError, SqliteLedger};
use crate::local::system::{SystemClock, UuidIds};
use crate::registry::folder::FolderRegistry;
use crate::rules::{NoEngine, WasmEngine};

/// How often the registry is looked at.
const REGISTRY_INTERVAL: Duration = Duration::from_millis(500);
/// How often the relays and the metrics are looked after.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);
/// How long requests under way may take after the program was told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// Why the platform does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder cannot be used.
    #[error(transparent)]
    Data(#[from] OpenError),
    /// This machine cannot run the rules.
    #[error(transparent)]
    Engine(#[from] NoEngine),
    /// `--smtp` names no server.
    #[error(transparent)]
    Smtp(#[from] NotAServer),
    /// The spool cannot be made.
    #[error("the mail spool cannot be made: {0}")]
    Spool(#[source] io::Error),
    /// Somebody else records this process's metrics.
    #[error("the metrics cannot be recorded: {0}")]
    Metrics(#[from] BuildError),
    /// The network says no.
    #[error("the server stopped: {0}")]
    Server(#[source] io::Error),
}

/// Whose tokens are taken.
pub struct Identity {
    /// Checks them.
    pub tokens: Arc<dyn TokenVerifier>,
    /// The local issuer's keys, where it is the local one.
    pub jwks: Option<Value>,
}

/// Everything that runs on one machine, ready to be served.
pub struct Platform {
    /// The rules in force.
    pub catalogue: Arc<Catalogue>,
    /// Where appointments are.
    pub ledger: Arc<SqliteLedger>,
    /// Puts rules into force.
    pub swapper: Arc<Swapper>,
    registry: Arc<FolderRegistry>,
    notifier: Arc<Notifier>,
}

impl Platform {
    /// Opens the data folder and starts the rules engine. Nothing is served and no rules are in force yet.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn open(options: &HostOptions) -> Result<Self, StartError> {
        let catalogue = Arc::new(Catalogue::default());
        let ledger = Arc::new(SqliteLedger::open(&options.data)?);
        let mailer: Arc<dyn Mailer> = match &options.smtp {
            Some(url) => Arc::new(SmtpMailer::new(url)?),
            None => Arc::new(SpoolMailer::open(&options.data.join("mail")).map_err(StartError::Spool)?),
        };
        let notifier = Notifier::new(catalogue.clone(), ledger.clone(), mailer, options.mail_from.clone());
        let engine = Arc::new(WasmEngine::new()?);
        Ok(Self {
            swapper: Arc::new(Swapper::new(engine, catalogue.clone(), Arc::new(SystemClock), turns())),
            registry: Arc::new(FolderRegistry::new(&options.registry())),
            notifier: Arc::new(notifier),
            catalogue,
            ledger,
        })
    }

    /// Follows the registry from now on; the first look is over when this returns.
    pub async fn follow_registry(&self, tasks: &mut JoinSet<()>) {
        let mut follower = Follower::new(self.registry.clone(), self.swapper.clone());
        follower.look().await;
        tasks.spawn(async move {
            let mut ticks = every(REGISTRY_INTERVAL);
            loop {
                ticks.tick().await;
                follower.look().await;
            }
        });
    }

    /// Serves until `shutdown` is over and the requests under way are answered.
    ///
    /// # Errors
    /// When the network says no.
    pub async fn serve(
        &self,
        listener: TcpListener,
        identity: Identity,
        rate_limit: u32,
        metrics: PrometheusHandle,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), StartError> {
        let mut tasks = JoinSet::new();
        tasks.spawn(relays(self.catalogue.clone(), self.ledger.clone(), self.notifier.clone(), metrics.clone()));
        let router = api::router(Api {
            booking: self.booking(),
            catalogue: self.catalogue.clone(),
            ready: Readiness::new(self.catalogue.clone(), self.ledger.clone()),
            tokens: identity.tokens,
            jwks: identity.jwks,
            limits: Limits::per_second(rate_limit),
            metrics: Box::new(move || metrics.render()),
        });
        let (stopping, mut stopped) = tokio::sync::watch::channel(false);
        // An answer of several segments does not wait for the client's delayed acknowledgement of the first.
        let listener = listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection without TCP_NODELAY");
            }
        });
        let server = axum::serve(listener, router).with_graceful_shutdown(async move {
            shutdown.await;
            tracing::info!("stopping");
            let _ = stopping.send(true);
        });
        let overdue = async {
            // The sender is dropped only with the server; then there is nothing left to wait for.
            let _ = stopped.wait_for(|stopped| *stopped).await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            served = server => served.map_err(StartError::Server),
            () = overdue => Ok(()),
        }
    }

    fn booking(&self) -> Booking {
        let (clock, ids) = (Arc::new(SystemClock), Arc::new(UuidIds));
        Booking::new(self.catalogue.clone(), self.ledger.clone(), clock, ids, env!("CARGO_PKG_VERSION"))
    }
}

/// All cores but one: a country whose rules are slow leaves one to the others.
fn turns() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() - 1).max(1))
}

fn every(interval: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// A relay for each country, from when the country is first heard of.
async fn relays(
    catalogue: Arc<Catalogue>,
    ledger: Arc<SqliteLedger>,
    notifier: Arc<Notifier>,
    metrics: PrometheusHandle,
) {
    let publisher = Arc::new(InProcessPublisher::new(notifier));
    let (mut relayed, mut running) = (BTreeSet::new(), JoinSet::new());
    let mut ticks = every(UPKEEP_INTERVAL);
    loop {
        ticks.tick().await;
        metrics.run_upkeep();
        for country in catalogue.all().keys().copied().filter(|country| relayed.insert(*country)) {
            let relay = Relay::new(country, ledger.clone(), publisher.clone(), Arc::new(SystemClock));
            running.spawn(relay.run());
        }
    }
}

/// Records this process's metrics from now on: once for each process, whatever it serves.
///
/// # Errors
/// When something records them already.
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
