//! Rules as a function has them, beside its tables: native code from the registry, loaded when a country is first asked for,
//! and looked after beside the requests.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use aws_config::SdkConfig;
use citas_core::release::admission::InProcess;
use citas_core::release::catalogue::Catalogue;
use citas_core::release::follow::Following;
use citas_core::release::on_demand::OnDemand;
use citas_core::release::swap::Swapper;
use citas_core::trial::shadow::TrialRecorder;
use clap::Args;
use clap::builder::{PathBufValueParser, TypedValueParser as _};

use super::registry;
use crate::aws::dynamo::DynamoLedger;
use crate::aws::registry::S3Registry;
use crate::config::RegistryPlace;
use crate::system::SystemClock;
use crate::wasm::{NoEngine, WasmEngine};

/// Where appointments and rules are, and how soon a change of the latter is noticed.
#[derive(Args)]
pub(super) struct RulesSettings {
    /// What the tables' names start with
    #[arg(long, env = "CITAS_TABLES", default_value = "citas-")]
    tables: String,
    /// Where published rules lie: `s3://bucket` or `s3://bucket/prefix`
    #[arg(env = "CITAS_REGISTRY", value_parser = PathBufValueParser::new().try_map(RegistryPlace::try_from))]
    registry: RegistryPlace,
    /// How often a country's channel is looked at while there are requests, in seconds
    #[arg(long, env = "CITAS_REFRESH_SECONDS", default_value_t = 30)]
    refresh_seconds: u64,
}

/// An engine that is being made, beside the rest of a start.
pub(super) struct Starting(JoinHandle<Result<WasmEngine, NoEngine>>);

impl Starting {
    pub(super) fn new() -> Self {
        Self(std::thread::spawn(WasmEngine::small))
    }
}

/// What a function works with that calls rules.
pub(super) struct Rules {
    /// Those in force and on trial; it fills as countries are asked for.
    pub catalogue: Arc<Catalogue>,
    /// Sees to it that they are there.
    pub on_demand: OnDemand,
    /// Where they come from.
    pub registry: Arc<S3Registry>,
    /// Where appointments are, and what trials find.
    pub ledger: Arc<DynamoLedger>,
}

impl Rules {
    /// Tries versions that decide for some patients; those that decide for none only where `shadows` are compared.
    pub(super) fn new(
        settings: &RulesSettings,
        aws: &SdkConfig,
        Starting(engine): Starting,
        shadows: bool,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let (catalogue, registry) = (Arc::new(Catalogue::default()), Arc::new(registry(&settings.registry, aws)?));
        // What it loads was judged before it was compiled.
        let admission = InProcess::new(engine.join().expect("an engine or why there is none")?);
        // An instance has one request at a time.
        let clock = Arc::new(SystemClock);
        let swapper = Arc::new(Swapper::new(Arc::new(admission), catalogue.clone(), clock.clone()));
        let interval = Duration::from_secs(settings.refresh_seconds);
        let following = Following::new(registry.clone(), swapper, Some(registry.clone()));
        let following = if shadows { following } else { following.without_shadows() };
        let on_demand = OnDemand::new(registry.clone(), following, interval);
        let ledger = Arc::new(DynamoLedger::new(aws.into(), &settings.tables, clock));
        Ok(Self { catalogue, on_demand, registry, ledger })
    }

    /// Counts what canaries decide; what is stored is compared by the function `trial`.
    pub(super) fn trying(&self) -> TrialRecorder {
        TrialRecorder::new(self.ledger.clone(), self.catalogue.clone())
    }
}
