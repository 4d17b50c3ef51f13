//! `citas token`: prints an access token of the local issuer, or of a user pool that somebody signs in to, and nothing else.

use std::path::PathBuf;
use std::sync::Arc;

use citas_core::model::access::{Claims, Scope};
use citas_core::ports::clock::Clock as _;
use clap::Args;

use super::{Answer, Outcome, say};
use crate::local::issuer::LocalIssuer;
use crate::system::SystemClock;

#[derive(Args)]
pub struct Options {
    /// The data folder whose issuer signs
    #[arg(long, env = "CITAS_DATA", default_value = "data")]
    data: PathBuf,
    /// Whom the token names
    #[arg(long, default_value = "ana")]
    subject: String,
    /// A group that the subject is in: `platform`, or a country's staff as `pe:staff`
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    /// What the token may be used for [default: every scope]
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
    /// Sign in to a user pool whose sign-in page is here, and print its token: the stack's `SignInUrl`
    #[arg(long, value_name = "URL", requires = "client_id", conflicts_with_all = ["subject", "group", "scope"])]
    cognito: Option<url::Url>,
    /// The user pool's client: the stack's `ClientId`
    #[arg(long, value_name = "ID", requires = "cognito")]
    client_id: Option<String>,
    /// Where the sign-in page sends the browser back to: the stack's `CallbackUrl`
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
    let all = || Scope::ALL.map(|scope| scope.as_str().to_owned()).into();
    let claims = Claims {
        subject: options.subject.clone(),
        groups: options.group.iter().cloned().collect(),
        scopes: if options.scope.is_empty() { all() } else { options.scope.iter().cloned().collect() },
    };
    say(LocalIssuer::open(&options.data, Arc::new(SystemClock))?.token(&claims, SystemClock.now())?)?;
    Ok(Answer::Done)
}
