//! `citas token`: prints an access token and nothing else. The token is from the local issuer, or from a user pool
//! after a sign-in.

use std::path::PathBuf;
use std::sync::Arc;

use citas_core::model::{Claims, CountryCode, NotACountry, Scope};
use citas_core::ports::Clock as _;
use clap::Args;

use super::{Answer, Misuse, Outcome, say};
use crate::config::NoFolder;
use crate::local::issuer::LocalIssuer;
use crate::system::SystemClock;

#[derive(Args)]
pub struct Options {
    /// Data folder whose issuer signs the token
    #[arg(long, env = "CITAS_DATA", default_value = "data", value_name = "DIR")]
    data: PathBuf,
    /// Subject of the token
    #[arg(long, default_value = "ana")]
    subject: String,
    /// Group of the subject: `platform`, a country's staff, for example `pe:staff`, or the staff of one hospital, for example
    /// `pe:staff:00006219`. May be repeated
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    /// Identity of the subject in a country, as if the issuer had verified it, for example `pe=dni:10117410`. May be repeated
    #[arg(long, value_name = "COUNTRY=IDENTITY", value_parser = identity)]
    identity: Vec<(CountryCode, String)>,
    /// Scope of the token. May be repeated [default: every scope]
    #[arg(long, value_parser = Scope::ALL.map(Scope::as_str))]
    scope: Vec<String>,
    #[cfg(feature = "aws")]
    #[command(flatten)]
    pool: UserPool,
}

/// A user pool to sign in to.
#[cfg(feature = "aws")]
#[derive(Args)]
struct UserPool {
    /// Sign-in page of a user pool, the stack's `SignInUrl`; the token printed is then from that pool
    #[arg(long, value_name = "URL", requires = "client_id", conflicts_with_all = ["subject", "group", "identity", "scope"])]
    cognito: Option<url::Url>,
    /// Client of the user pool, the stack's `ClientId`
    #[arg(long, value_name = "ID", requires = "cognito")]
    client_id: Option<String>,
    /// Address that the sign-in page redirects the browser to, the stack's `CallbackUrl`
    #[arg(long, value_name = "URL", requires = "cognito", default_value = "http://localhost:8976/callback")]
    callback: url::Url,
}

pub fn run(options: &Options) -> Outcome {
    #[cfg(feature = "aws")]
    if let (Some(domain), Some(client)) = (&options.pool.cognito, &options.pool.client_id) {
        let callback = &options.pool.callback;
        say(super::sign_in::token(&super::sign_in::Pool { domain, client, callback })?)?;
        return Ok(Answer::Done);
    }
    if !options.data.is_dir() {
        return Err(Misuse(NoFolder::Data(options.data.clone()).to_string()).into());
    }
    let all = || Scope::ALL.map(|scope| scope.as_str().to_owned()).into();
    let claims = Claims {
        subject: options.subject.clone(),
        groups: options.group.iter().cloned().collect(),
        scopes: if options.scope.is_empty() { all() } else { options.scope.iter().cloned().collect() },
        identities: options.identity.iter().cloned().collect(),
    };
    say(LocalIssuer::open(&options.data, Arc::new(SystemClock))?.token(&claims, SystemClock.now())?)?;
    Ok(Answer::Done)
}

/// Parses `--identity`.
fn identity(text: &str) -> Result<(CountryCode, String), String> {
    let (country, identity) = text
        .split_once('=')
        .filter(|(_, identity)| !identity.is_empty())
        .ok_or("an identity is a country and what its rules know the patient by, such as pe=dni:10117410")?;
    Ok((country.parse().map_err(|error: NotACountry| error.to_string())?, identity.to_owned()))
}
