//! Everything that can be set, from the command line or the environment: the one place where both are read.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PathBufValueParser, TypedValueParser as _};
use lettre::message::Mailbox;

/// Prefix of every variable of the environment that Citas reads.
const PREFIX: &str = "CITAS_";

/// The variables that there are.
const KNOWN: [&str; 7] =
    ["CITAS_AUDIENCE", "CITAS_DATA", "CITAS_ISSUER", "CITAS_LOG", "CITAS_MAIL_FROM", "CITAS_REGISTRY", "CITAS_SMTP"];

/// A variable that is not there to be set.
#[derive(Debug, thiserror::Error)]
#[error("`{name}` is set in the environment, and Citas knows no such setting; it knows {}", KNOWN.join(", "))]
pub struct UnknownSetting {
    name: String,
}

/// Refuses a `CITAS_…` that nothing would read: it is a slip of somebody's pen.
///
/// # Errors
/// Names the first one.
pub fn refuse_unknown_settings() -> Result<(), UnknownSetting> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut unknown = names.filter(|name| name.starts_with(PREFIX) && !KNOWN.contains(&name.as_str()));
    unknown.next().map_or(Ok(()), |name| Err(UnknownSetting { name }))
}

/// Where things are, for every verb that needs them.
#[derive(Args, Clone, Debug)]
pub struct Folders {
    /// Where appointments, mail and the issuer's key are kept
    #[arg(long, env = "CITAS_DATA", default_value = "data", value_name = "DIR")]
    pub data: PathBuf,
    /// Where published rules lie [default: <data>/registry]
    #[arg(long, env = "CITAS_REGISTRY", value_name = "DIR", value_parser = PathBufValueParser::new().try_map(folder))]
    pub registry: Option<PathBuf>,
}

/// A registry that is not a folder.
#[derive(Debug, thiserror::Error)]
#[error("this build has no S3 registry; name a folder")]
struct NoS3Registry;

fn folder(registry: PathBuf) -> Result<PathBuf, NoS3Registry> {
    if registry.as_os_str().as_encoded_bytes().starts_with(b"s3:") { Err(NoS3Registry) } else { Ok(registry) }
}

impl Folders {
    /// Where published rules lie.
    #[must_use]
    pub fn registry(&self) -> PathBuf {
        self.registry.clone().unwrap_or_else(|| self.data.join("registry"))
    }
}

/// What `dev` and `serve` have in common.
#[derive(Args, Clone, Debug)]
pub struct HostOptions {
    /// Where things are.
    #[command(flatten)]
    pub folders: Folders,
    /// Mail goes to this server, `smtp://host:25` or `smtps://user:password@host`, and not into <data>/mail
    #[arg(long, env = "CITAS_SMTP", hide_env_values = true, value_name = "URL")]
    pub smtp: Option<String>,
    /// The sender of every mail
    #[arg(long, env = "CITAS_MAIL_FROM", default_value = "Citas <citas@localhost.localdomain>")]
    pub mail_from: Mailbox,
    /// Requests that one token's subject may make a second; 0 is no limit
    #[arg(long, default_value_t = 500, value_name = "REQUESTS")]
    pub rate_limit: u32,
    /// What is logged: `info`, `citas=debug`, …
    #[arg(long, env = "CITAS_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        folders: Folders,
    }

    fn registry(options: &[&str]) -> Result<PathBuf, String> {
        let parsed = Command::try_parse_from([&["citas"], options].concat());
        parsed.map(|command| command.folders.registry()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_registry_is_in_the_data_folder_unless_it_is_named() {
        assert_eq!(registry(&["--data", "there"]), Ok("there/registry".into()));
        assert_eq!(registry(&["--data", "there", "--registry", "here"]), Ok("here".into()));
    }

    #[test]
    fn a_registry_in_s3_is_refused_and_no_folder_is_made_of_its_name() {
        let refused = registry(&["--registry", "s3://rules/pe"]).unwrap_err();
        assert!(refused.contains("this build has no S3 registry"), "{refused}");
    }
}
