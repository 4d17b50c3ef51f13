//! `citas token`: prints an access token of the local issuer, and nothing else.

use std::path::PathBuf;

use citas_core::access::{Claims, Scope};
use citas_core::time::Clock as _;
use clap::Args;

use super::{Answer, Outcome};
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
}

pub fn run(options: &Options) -> Outcome {
    let all = || Scope::ALL.map(|scope| scope.as_str().to_owned()).into();
    let claims = Claims {
        subject: options.subject.clone(),
        groups: options.group.iter().cloned().collect(),
        scopes: if options.scope.is_empty() { all() } else { options.scope.iter().cloned().collect() },
    };
    println!("{}", LocalIssuer::open(&options.data)?.token(&claims, SystemClock.now())?);
    Ok(Answer::Done)
}
