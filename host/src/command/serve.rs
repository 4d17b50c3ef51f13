//! `citas serve`: published rules, tokens of the local issuer or of any OpenID Connect issuer.

use std::net::SocketAddr;
use std::sync::Arc;

use citas_core::time::Clock;
use clap::Args;

use super::listen::listen;
use super::stop::told_to_stop;
use super::{Answer, Outcome, log};
use crate::background::Background;
use crate::config::HostOptions;
use crate::local::issuer::LocalIssuer;
use crate::local::oidc::OidcVerifier;
use crate::system::SystemClock;
use crate::wiring::{Identity, Platform, record_metrics};

#[derive(Args)]
pub struct Options {
    /// Where to listen; port 0 is any free one
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Take the tokens of this OpenID Connect issuer, and not those of `citas token`
    #[arg(long, env = "CITAS_ISSUER", value_name = "URL")]
    issuer: Option<String>,
    /// What that issuer's tokens must be for: their `aud`, or their `client_id` where they have none
    #[arg(long, env = "CITAS_AUDIENCE", default_value = "citas", requires = "issuer")]
    audience: String,
    #[command(flatten)]
    host: HostOptions,
}

#[tokio::main]
pub async fn run(options: &Options) -> Outcome {
    let _log = log::start(&options.host.log)?;
    let metrics = record_metrics()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let platform = Platform::open(&options.host, clock.clone()).await?;
    let identity = match &options.issuer {
        Some(issuer) => {
            let verifier = OidcVerifier::discover(issuer, &options.audience, clock).await?;
            Identity { tokens: Arc::new(verifier), jwks: None }
        }
        None => local(&options.host, clock)?,
    };
    let mut background = Background::default();
    platform.follow_registry(&mut background).await;
    let listener = listen(options.listen, "--listen").await?;
    let address = listener.local_addr()?;
    println!("Citas serves on http://{address}   its API: http://{address}/docs");
    if options.issuer.is_none() {
        println!("Tokens: citas token --data {}", options.host.folders.data.display());
    }
    platform.serve(listener, identity, options.host.rate_limit, metrics, background, told_to_stop()).await?;
    Ok(Answer::Done)
}

/// The data folder's own issuer.
pub fn local(host: &HostOptions, clock: Arc<dyn Clock>) -> Result<Identity, crate::local::issuer::IssuerError> {
    let issuer = LocalIssuer::open(&host.folders.data, clock)?;
    Ok(Identity { jwks: Some(issuer.jwks()), tokens: Arc::new(issuer) })
}
