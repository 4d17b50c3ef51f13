//! `citas serve`: serves the API under published rules. Accepts tokens of the local issuer or of an OpenID Connect
//! issuer.

use std::net::SocketAddr;
use std::sync::Arc;

use citas_core::ports::Clock;
use clap::Args;
use ipnet::IpNet;

use super::listen::listen;
use super::{Answer, Outcome, announce, log, smtp, stop};
use crate::background::Background;
use crate::config::{HostOptions, network};
use crate::identities::IdentityTemplate;
use crate::local::issuer::LocalIssuer;
use crate::local::oidc::OidcVerifier;
use crate::system::SystemClock;
use crate::wiring::{Identity, Listeners, Platform, record_metrics};

#[derive(Args)]
pub struct Options {
    /// Address to listen on; port 0 picks a free port
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Address for /healthz, /readyz and /metrics, which the API's address then no longer serves
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<SocketAddr>,
    /// Address or network of a proxy, for example 10.0.0.0/8; it may hold more than half of all connections. May be
    /// repeated
    #[arg(long, value_name = "CIDR", value_parser = network)]
    trusted_proxy: Vec<IpNet>,
    /// OpenID Connect issuer whose tokens are accepted instead of those of `citas token`
    #[arg(long, env = "CITAS_ISSUER", value_name = "URL")]
    issuer: Option<String>,
    /// Required audience of the issuer's tokens: their `aud`, or their `client_id` if they have no `aud`
    #[arg(long, env = "CITAS_AUDIENCE", default_value = "citas", requires = "issuer")]
    audience: String,
    /// Identity of a country's patients that the issuer has verified, from claims of its tokens, for example
    /// `pe=dni:{/doc};acr>=2`. May be repeated, and separated by commas
    #[arg(long, env = "CITAS_IDENTITY", value_name = "COUNTRY=TEMPLATE", value_delimiter = ',', requires = "issuer")]
    identity: Vec<IdentityTemplate>,
    #[command(flatten)]
    host: HostOptions,
}

pub fn run(options: &Options) -> Outcome {
    let _log = log::start(&options.host.log)?;
    stop::run(serve(options))?
}

async fn serve(options: &Options) -> Outcome {
    let metrics = record_metrics()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let platform = Platform::open(&options.host, smtp(&options.host)?, clock.clone()).await?;
    let identity = match &options.issuer {
        Some(issuer) => {
            let verifier = OidcVerifier::discover(issuer, &options.audience, clock).await?;
            Identity { tokens: Arc::new(verifier.identifying_by(options.identity.clone())), jwks: None }
        }
        None => local(&options.host, clock)?,
    };
    let mut background = Background::default();
    platform.follow_registry(&mut background).await;
    let listeners = listeners(options).await?;
    let stop = stop::signalled()?;
    announce(greeting(options, &listeners)?);
    platform.serve(listeners, identity, metrics, background, stop).await?;
    Ok(Answer::Done)
}

async fn listeners(options: &Options) -> Result<Listeners, String> {
    let admin = match options.admin_listen {
        Some(address) => Some(listen(address, "--admin-listen").await?),
        None => None,
    };
    let public = listen(options.listen, "--listen").await?;
    Ok(Listeners { public, admin, trusted_proxies: options.trusted_proxy.clone() })
}

/// Returns the lines that name the addresses and the source of tokens.
fn greeting(options: &Options, listeners: &Listeners) -> std::io::Result<String> {
    let address = listeners.public.local_addr()?;
    let mut lines = vec![format!("Citas serves on http://{address}   its API: http://{address}/docs")];
    if let Some(admin) = &listeners.admin {
        lines.push(format!("Health and metrics: http://{}", admin.local_addr()?));
    }
    if options.issuer.is_none() {
        lines.push(format!("Tokens: citas token --data {}", options.host.folders.data.display()));
    }
    Ok(lines.join("\n"))
}

/// Returns the identity of the data folder's own issuer.
pub fn local(host: &HostOptions, clock: Arc<dyn Clock>) -> Result<Identity, crate::local::issuer::IssuerError> {
    let issuer = LocalIssuer::open(&host.folders.data, clock)?;
    Ok(Identity { jwks: Some(issuer.jwks()), tokens: Arc::new(issuer) })
}
