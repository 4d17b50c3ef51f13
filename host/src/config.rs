//! Parses the settings that commands share, from the command line and the environment. Refuses variables that Citas
//! does not know.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::builder::{PathBufValueParser, TypedValueParser as _};
use clap::{Args, value_parser};
use ipnet::IpNet;
use jiff::SignedDuration;
use lettre::message::Mailbox;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use url::{Host, Url};

use crate::api::Origin;
use crate::local::sqlite::LOCK;

/// Data folder of a host whose operator names none.
const DEFAULT_DATA: &str = "data";

/// Prefix of every environment variable of Citas.
const PREFIX: &str = "CITAS_";

/// Every variable that Citas knows.
const KNOWN: [&str; 21] = [
    "CITAS_AUDIENCE",
    "CITAS_CONFIGURATION_SET",
    "CITAS_CORS_ORIGIN",
    "CITAS_DATA",
    "CITAS_HOLD_MINUTES",
    "CITAS_IDENTITY",
    "CITAS_ISSUER",
    "CITAS_KEY",
    "CITAS_LINK_KEYS",
    "CITAS_LOG",
    "CITAS_MAIL_FROM",
    "CITAS_MAIL_REPLY_TO",
    "CITAS_PUBLIC_URL",
    "CITAS_REFRESH_SECONDS",
    "CITAS_REGISTRY",
    "CITAS_SIGNING_KEY",
    "CITAS_SMTP",
    "CITAS_TABLES",
    "CITAS_TOPIC",
    "CITAS_TRUST",
    "CITAS_TRUSTED_KEYS",
];

/// An environment variable that Citas does not know.
#[derive(Debug, thiserror::Error)]
#[error("`{name}` is set in the environment, and Citas knows no such setting; it knows {}", KNOWN.join(", "))]
pub struct UnknownSetting {
    name: String,
}

/// Refuses an unknown `CITAS_…` variable, which is most likely a typing error.
///
/// # Errors
/// Returns an error if there is an unknown variable, and names the first one.
pub fn refuse_unknown_settings() -> Result<(), UnknownSetting> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut unknown = names.filter(|name| name.starts_with(PREFIX) && !KNOWN.contains(&name.as_str()));
    unknown.next().map_or(Ok(()), |name| Err(UnknownSetting { name }))
}

/// Locations of the data and of the registry, for every command that needs them.
#[derive(Args, Clone, Debug)]
pub struct Folders {
    /// Folder for appointments, mail and the issuer's key
    #[arg(long, env = "CITAS_DATA", default_value = DEFAULT_DATA, value_name = "DIR")]
    pub data: PathBuf,
    /// Folder or bucket with the registry of published rules, by default `<data>/registry`
    #[arg(
        long,
        env = "CITAS_REGISTRY",
        value_name = "DIR|s3://BUCKET/PREFIX",
        value_parser = PathBufValueParser::new().try_map(RegistryPlace::try_from)
    )]
    pub registry: Option<RegistryPlace>,
}

/// Location of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryPlace {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A prefix in an S3 bucket. The prefix may be empty.
    #[cfg(feature = "aws")]
    Bucket {
        /// Name of the bucket.
        bucket: String,
        /// Prefix, without a slash at either end.
        prefix: String,
    },
}

/// Errors of a registry argument that begins with `s3:`.
#[derive(Debug, thiserror::Error)]
pub enum NotARegistry {
    /// This build has no adapters for AWS.
    #[cfg(not(feature = "aws"))]
    #[error("this build has no S3 registry; name a folder, or build Citas with `--features aws`")]
    NoS3,
    /// The bucket is missing, or its name is invalid.
    #[cfg(feature = "aws")]
    #[error("a registry in S3 is given as s3://bucket or s3://bucket/prefix, with the bucket's name in lower case")]
    Malformed,
}

impl TryFrom<PathBuf> for RegistryPlace {
    type Error = NotARegistry;

    fn try_from(place: PathBuf) -> Result<Self, NotARegistry> {
        if !place.as_os_str().as_encoded_bytes().starts_with(b"s3:") {
            return Ok(Self::Folder(place));
        }
        #[cfg(not(feature = "aws"))]
        return Err(NotARegistry::NoS3);
        #[cfg(feature = "aws")]
        place.to_str().and_then(bucket).ok_or(NotARegistry::Malformed)
    }
}

#[cfg(feature = "aws")]
fn bucket(place: &str) -> Option<RegistryPlace> {
    let (bucket, prefix) = {
        let path = place.strip_prefix("s3://")?;
        path.split_once('/').unwrap_or((path, ""))
    };
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(fits) {
        return None;
    }
    Some(RegistryPlace::Bucket { bucket: bucket.into(), prefix: prefix.trim_matches('/').into() })
}

/// A folder that a command reads and that does not exist, or is no data folder.
#[derive(Debug, thiserror::Error)]
pub enum NoFolder {
    /// The data folder does not exist.
    #[error("there is no data folder {}; name the one of the host with --data or CITAS_DATA", .0.display())]
    Data(PathBuf),
    /// The folder has neither a registry nor a trace of a host.
    #[error(
        "{} is no data folder: it has no registry, and no host has used it; name the folder of the host with --data or CITAS_DATA, or a registry with --registry or CITAS_REGISTRY",
        .0.display()
    )]
    NotData(PathBuf),
    /// The registry's folder does not exist.
    #[error("there is no registry {}; name a folder that has published versions with --registry or CITAS_REGISTRY", .0.display())]
    Registry(PathBuf),
}

impl Folders {
    /// Checks that the folders to read exist, so that a mistyped name does not look like an empty platform. A bucket
    /// reports its absence itself. The default data folder may be absent if a registry is named.
    ///
    /// # Errors
    /// Returns an error that names the folder.
    pub fn require(&self) -> Result<(), NoFolder> {
        let is_needed = self.registry.is_none() || self.data != Path::new(DEFAULT_DATA);
        if is_needed && !self.data.is_dir() {
            return Err(NoFolder::Data(self.data.clone()));
        }
        match &self.registry {
            Some(RegistryPlace::Folder(folder)) if !folder.exists() => Err(NoFolder::Registry(folder.clone())),
            None if !["registry", LOCK].iter().any(|name| self.data.join(name).exists()) => {
                Err(NoFolder::NotData(self.data.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Returns the location of the registry.
    pub fn registry(&self) -> RegistryPlace {
        self.registry.clone().unwrap_or_else(|| RegistryPlace::Folder(self.data.join("registry")))
    }
}

/// Address of the API as the readers of mail reach it: of its own or below a path, without a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(String);

/// Error for a text that is not such an address.
#[derive(Debug, thiserror::Error)]
#[error(
    "the public address is https://host or https://host/path, without a query; http:// is for this machine alone, \
     because whoever reads a link on its way may use it"
)]
pub struct NotAPublicUrl;

impl FromStr for PublicUrl {
    type Err = NotAPublicUrl;

    fn from_str(text: &str) -> Result<Self, NotAPublicUrl> {
        let url = Url::parse(text).map_err(|_| NotAPublicUrl)?;
        let is_here = match url.host().ok_or(NotAPublicUrl)? {
            // RFC 6761, section 6.3
            Host::Domain(name) => name == "localhost" || name.ends_with(".localhost"),
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
        };
        let is_allowed = url.scheme() == "https" || url.scheme() == "http" && is_here;
        let is_bare = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        if is_allowed && is_bare && url.password().is_none() {
            return Ok(Self(url.as_str().trim_end_matches('/').to_owned()));
        }
        Err(NotAPublicUrl)
    }
}

impl From<PublicUrl> for String {
    fn from(PublicUrl(url): PublicUrl) -> String {
        url
    }
}

/// Options of every program that holds free slots.
#[derive(Args, Clone, Copy, Debug)]
pub struct HoldOptions {
    /// Time for which a free slot is held for a client, in minutes: 1 to 15
    #[arg(
        long,
        env = "CITAS_HOLD_MINUTES",
        default_value_t = 5,
        value_name = "MINUTES",
        value_parser = value_parser!(u8).range(1..=15)
    )]
    pub hold_minutes: u8,
}

impl HoldOptions {
    /// Returns the time for which a slot is held.
    pub fn time(self) -> SignedDuration {
        SignedDuration::from_mins(self.hold_minutes.into())
    }
}

/// Options of `dev` and `serve`. They are not printed: the URL of the SMTP server may hold a password.
#[derive(Args, Clone)]
pub struct HostOptions {
    /// Locations of the data and of the registry.
    #[command(flatten)]
    pub folders: Folders,
    /// File with the keys that may sign each country's rules; without it, rules need no signature
    #[arg(long, env = "CITAS_TRUST", value_name = "FILE")]
    pub trust: Option<PathBuf>,
    /// SMTP server for mail, `smtp://host:25` or `smtps://user:password@host`; without it, mail goes into `<data>/mail`
    #[arg(long, env = "CITAS_SMTP", hide_env_values = true, value_name = "URL")]
    pub smtp: Option<String>,
    /// Sender of every mail
    #[arg(long, env = "CITAS_MAIL_FROM", default_value = "Citas <citas@localhost.localdomain>")]
    pub mail_from: Mailbox,
    /// Recipient of replies to mail, if it is not the sender
    #[arg(long, env = "CITAS_MAIL_REPLY_TO", value_name = "MAILBOX")]
    pub mail_reply_to: Option<Mailbox>,
    /// Address of the API as the readers of mail reach it, for links in mail, for example `https://citas.example.com`; without
    /// it, mail says how else to act [default of `dev`: its own address]
    #[arg(long, env = "CITAS_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<PublicUrl>,
    /// Maximum number of requests per second for the subject of a token; 0 means no limit
    #[arg(long, default_value_t = 500, value_name = "REQUESTS")]
    pub rate_limit: u32,
    /// Time for which a free slot is held for a client.
    #[command(flatten)]
    pub holds: HoldOptions,
    /// Origin whose pages may call the API from a browser, for example `https://app.example.com`, or `*` for every origin. May
    /// be repeated, and separated by commas
    #[arg(long, env = "CITAS_CORS_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    pub cors_origin: Vec<Origin>,
    /// Log filter, for example `info` or `citas=debug`
    #[arg(long, env = "CITAS_LOG", default_value = "info", value_name = "FILTER", value_parser = log_filter)]
    pub log: String,
}

/// Parses `--trusted-proxy`: a network, or one address.
pub(crate) fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
    text.parse::<IpNet>()
        .or_else(|_| address())
        .map_err(|_| "a proxy is an address or a network, such as 10.0.0.7 or 10.0.0.0/8".to_owned())
}

/// Returns the text if it is a valid log filter.
fn log_filter(text: &str) -> Result<String, ParseError> {
    EnvFilter::try_new(text).map(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Parsed {
        #[command(flatten)]
        folders: Folders,
        #[command(flatten)]
        holds: HoldOptions,
    }

    fn registry(options: &[&str]) -> Result<RegistryPlace, String> {
        let parsed = Parsed::try_parse_from([&["citas"], options].concat());
        parsed.map(|command| command.folders.registry()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_registry_is_in_the_data_folder_unless_it_is_named() {
        let folder = |path: &str| Ok(RegistryPlace::Folder(path.into()));
        assert_eq!(registry(&["--data", "there"]), folder("there/registry"));
        assert_eq!(registry(&["--data", "there", "--registry", "here"]), folder("here"));
    }

    #[test]
    fn a_slot_is_held_for_one_to_fifteen_minutes() {
        let time = |options: &[&str]| {
            let parsed = Parsed::try_parse_from([&["citas"], options].concat());
            parsed.map(|command| command.holds.time()).map_err(|error| error.to_string())
        };
        assert_eq!(time(&[]), Ok(SignedDuration::from_mins(5)));
        assert_eq!(time(&["--hold-minutes", "15"]), Ok(SignedDuration::from_mins(15)));
        for wrong in ["0", "16", "1.5", "-1", "five"] {
            assert!(time(&[&format!("--hold-minutes={wrong}")]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_public_address_is_one_that_keeps_a_link_to_its_reader() {
        let read = |text: &str| text.parse::<PublicUrl>().ok().map(String::from);
        for (text, expected) in [
            ("https://citas.example", "https://citas.example"),
            ("https://Citas.example/", "https://citas.example"),
            ("https://example.com/citas//", "https://example.com/citas"),
            ("http://localhost:8080", "http://localhost:8080"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://api.localhost:4566", "http://api.localhost:4566"),
        ] {
            assert_eq!(read(text).as_deref(), Some(expected), "{text}");
        }
        for wrong in [
            "citas.example",
            "http://citas.example",
            "http://localhost.example",
            "ftp://citas.example",
            "https://citas.example?a=b",
            "https://citas.example/#a",
            "https://ana@citas.example",
            "https://:secret@citas.example",
            "mailto:ana@example.com",
            "",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_proxy_is_an_address_or_a_network() {
        let names = |text: &str, address: &str| {
            network(text).map(|network| network.contains(&address.parse::<IpAddr>().unwrap()))
        };
        assert_eq!(names("10.0.0.0/8", "10.9.8.7"), Ok(true));
        assert_eq!(names("10.0.0.7", "10.0.0.7"), Ok(true));
        assert_eq!(names("10.0.0.7", "10.0.0.8"), Ok(false));
        assert_eq!(names("2001:db8::/32", "2001:db8::1"), Ok(true));
        assert!(network("proxy.example").unwrap_err().contains("10.0.0.0/8"));
    }

    #[cfg(not(feature = "aws"))]
    #[test]
    fn a_registry_in_s3_is_refused_and_no_folder_is_made_of_its_name() {
        let refused = registry(&["--registry", "s3://rules/pe"]).unwrap_err();
        assert!(refused.contains("this build has no S3 registry"), "{refused}");
    }

    #[cfg(feature = "aws")]
    #[test]
    fn a_registry_in_s3_is_a_bucket_and_perhaps_a_prefix() {
        let place =
            |bucket: &str, prefix: &str| Ok(RegistryPlace::Bucket { bucket: bucket.into(), prefix: prefix.into() });
        assert_eq!(registry(&["--registry", "s3://rules"]), place("rules", ""));
        assert_eq!(registry(&["--registry", "s3://rules/"]), place("rules", ""));
        assert_eq!(registry(&["--registry", "s3://rules.example/citas/test/"]), place("rules.example", "citas/test"));
        for malformed in ["s3:", "s3:rules", "s3:///pe", "s3://Rules", "s3://x", "s3://a?b=c"] {
            let refused = registry(&["--registry", malformed]).unwrap_err();
            assert!(refused.contains("s3://bucket/prefix"), "{refused}");
        }
    }
}
