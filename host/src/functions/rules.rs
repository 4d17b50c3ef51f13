//! The rules as a function has them: native code from the registry, loaded when a country is first asked for, and looked
//! after beside the requests.

use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use citas_core::catalogue::Catalogue;
use citas_core::follow::Follower;
use citas_core::on_demand::OnDemand;
use citas_core::swap::Swapper;
use clap::Args;
use clap::builder::{PathBufValueParser, TypedValueParser as _};

use super::registry;
use crate::config::RegistryPlace;
use crate::registry::s3::S3Registry;
use crate::rules::WasmEngine;
use crate::system::SystemClock;

/// Where the rules are, and how soon a change is noticed.
#[derive(Args, Clone, Debug)]
pub(super) struct RulesSettings {
    /// Where published rules lie: `s3://bucket` or `s3://bucket/prefix`
    #[arg(env = "CITAS_REGISTRY", value_parser = PathBufValueParser::new().try_map(RegistryPlace::try_from))]
    registry: RegistryPlace,
    /// How often a country's channel is looked at while there are requests, in seconds
    #[arg(long, env = "CITAS_REFRESH_SECONDS", default_value_t = 30)]
    refresh_seconds: u64,
}

/// A catalogue that fills as countries are asked for, and the registry behind it. Versions are tried that decide for some
/// patients; those that decide for none only where `shadows` are compared.
pub(super) fn rules(
    settings: &RulesSettings,
    aws: &SdkConfig,
    catalogue: &Arc<Catalogue>,
    shadows: bool,
) -> Result<(Arc<S3Registry>, OnDemand), Box<dyn std::error::Error + Send + Sync>> {
    let registry = Arc::new(registry(&settings.registry, aws)?);
    let engine = Arc::new(WasmEngine::new()?);
    // An instance has one request at a time.
    let swapper = Arc::new(Swapper::new(engine, catalogue.clone(), Arc::new(SystemClock), 1));
    let interval = Duration::from_secs(settings.refresh_seconds);
    let followed = registry.clone();
    let follower = move || {
        let follower = Follower::new(followed.clone(), swapper.clone(), Some(followed.clone()));
        if shadows { follower } else { follower.without_shadows() }
    };
    Ok((registry.clone(), OnDemand::new(registry, follower, interval)))
}
