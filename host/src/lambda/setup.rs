//! Sets up the rules and the ledger of a function. Native code comes from the registry, is loaded on the first request
//! for a country, and is refreshed beside later requests.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use aws_config::SdkConfig;
use citas_core::booking::Booking;
use citas_core::model::{Keyring, Pseudonyms};
use citas_core::release::{Catalogue, Following, InProcess, OnDemand, Swapper};
use citas_core::trial::TrialRecorder;
use clap::Args;
use clap::builder::{PathBufValueParser, TypedValueParser as _};

use super::registry;
use crate::aws::dynamo::DynamoLedger;
use crate::aws::registry::S3Registry;
use crate::config::RegistryPlace;
use crate::system::{SystemClock, UuidIds};
use crate::wasm::{NoEngine, WasmEngine};

/// Settings of every function that calls rules.
#[derive(Args)]
pub(super) struct RulesSettings {
    /// Prefix of the tables' names
    #[arg(long, env = "CITAS_TABLES", default_value = "citas-")]
    tables: String,
    /// Bucket with the registry of published rules: `s3://bucket` or `s3://bucket/prefix`
    #[arg(env = "CITAS_REGISTRY", value_parser = PathBufValueParser::new().try_map(RegistryPlace::try_from))]
    registry: RegistryPlace,
    /// Interval at which a country's channel is read while there are requests, in seconds
    #[arg(long, env = "CITAS_REFRESH_SECONDS", default_value_t = 30)]
    refresh_seconds: u64,
}

/// Settings of every function that changes appointments.
#[derive(Args)]
pub(super) struct BookingSettings {
    #[command(flatten)]
    pub rules: RulesSettings,
    /// Secret key of the opaque names of people and accounts, as 64 hexadecimal digits
    #[arg(env = "CITAS_KEY", hide_env_values = true)]
    key: String,
}

impl BookingSettings {
    /// Returns the names of the key. It is parsed here, because an error of clap contains the value, and errors are logged.
    pub(super) fn names(&self) -> Result<Pseudonyms, String> {
        self.key.parse().map_err(|why| format!("CITAS_KEY: {why}"))
    }
}

/// Settings of every function that makes links or follows them.
#[derive(Args)]
pub(super) struct LinkSettings {
    /// Secret keys of links in mail, the newest first: one or two of 64 hexadecimal digits, with white space between them
    #[arg(env = "CITAS_LINK_KEYS", hide_env_values = true)]
    link_keys: String,
}

impl LinkSettings {
    /// Returns the keys. They are parsed here, because an error of clap contains the value, and errors are logged.
    pub(super) fn keys(&self) -> Result<Keyring, String> {
        self.link_keys.parse().map_err(|why| format!("CITAS_LINK_KEYS: {why}"))
    }
}

/// An engine that starts on a thread of its own during the rest of the start.
pub(super) struct Starting(JoinHandle<Result<WasmEngine, NoEngine>>);

impl Starting {
    pub(super) fn new() -> Self {
        Self(std::thread::spawn(WasmEngine::small))
    }
}

/// Parts of a function that calls rules.
pub(super) struct Rules {
    /// Rules in force and on trial. It fills as countries are requested.
    pub catalogue: Arc<Catalogue>,
    /// Loads the rules of requested countries into the catalogue.
    pub on_demand: OnDemand,
    /// Registry of published rules.
    pub registry: Arc<S3Registry>,
    /// Ledger of appointments and of what trials find.
    pub ledger: Arc<DynamoLedger>,
}

impl Rules {
    /// Sets up the rules. Loads canaries, and candidates that decide for no patient only if `shadows` is true. With `names`,
    /// refuses tables that were written with another key.
    pub(super) fn new(
        settings: &RulesSettings,
        aws: &SdkConfig,
        Starting(engine): Starting,
        shadows: bool,
        names: Option<Pseudonyms>,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let (catalogue, registry) = (Arc::new(Catalogue::default()), Arc::new(registry(&settings.registry, aws)?));
        // The versions that it loads were judged before they were compiled.
        let admission = InProcess::new(engine.join().expect("an engine or why there is none")?);
        let clock = Arc::new(SystemClock);
        let swapper = Arc::new(Swapper::new(Arc::new(admission), catalogue.clone(), clock.clone()));
        let interval = Duration::from_secs(settings.refresh_seconds);
        let following = Following::new(registry.clone(), swapper, Some(registry.clone()));
        let following = if shadows { following } else { following.without_shadows() };
        let on_demand = OnDemand::new(registry.clone(), following, interval);
        let ledger = DynamoLedger::new(aws.into(), &settings.tables, clock);
        let ledger = Arc::new(match names {
            Some(names) => ledger.written_with(names),
            None => ledger,
        });
        Ok(Self { catalogue, on_demand, registry, ledger })
    }

    /// Returns a recorder that counts the decisions of canaries. The function `trial` compares what is stored.
    pub(super) fn trying(&self) -> TrialRecorder {
        TrialRecorder::new(self.ledger.clone(), self.catalogue.clone())
    }

    /// Returns the use cases of appointments.
    pub(super) fn booking(&self, names: Pseudonyms) -> Booking {
        let (catalogue, ledger) = (self.catalogue.clone(), self.ledger.clone());
        let (clock, ids) = (Arc::new(SystemClock), Arc::new(UuidIds));
        Booking::new(catalogue, ledger, clock, ids, names, env!("CARGO_PKG_VERSION")).trying(self.trying())
    }
}
