//! `citas dev`: builds the countries in a folder, serves them, and swaps a country when its sources change. Sources
//! that do not compile change nothing: the last good version stays in force. A call that fails is repeated outside the
//! component, and the log tells what is wrong with it.

use std::collections::BTreeSet;
use std::error::Error;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use citas_core::model::{Claims, CountryCode, RulesPackage, Scope};
use citas_core::ports::{Clock as _, FailedCall, Refusal};
use citas_core::release::{Catalogue, NotAdmitted, Swapper, Target};
use citas_core::rules::BookableExample;
use clap::Args;
use notify::{EventKind, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use url::form_urlencoded;

use super::listen::listen;
use super::{Answer, Misuse, Outcome, announce, chain, log, smtp, stop};
use crate::api::Origin;
use crate::background::Background;
use crate::config::{HostOptions, NotAPublicUrl};
use crate::local::issuer::LocalIssuer;
use crate::system::SystemClock;
use crate::toolkit::CountryFolder;
use crate::wasm::WasmEngine;
use crate::wiring::{Identity, Platform, admission, record_metrics};

/// Time without changes before sources are built: editors write a file in several steps.
const DEBOUNCE: Duration = Duration::from_millis(150);

/// Maximum number of failed calls that wait to be repeated. Others are left out.
const MAX_FAILED: usize = 8;

#[derive(Args)]
pub struct Options {
    /// Port to listen on, on this machine; 0 picks a free port
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Folder with the countries' sources
    #[arg(long, default_value = "countries")]
    countries: PathBuf,
    #[command(flatten)]
    host: HostOptions,
}

pub fn run(options: &Options) -> Outcome {
    let _log = log::start(&options.host.log)?;
    stop::run(serve(options))?
}

async fn serve(options: &Options) -> Outcome {
    let metrics = record_metrics()?;
    require_folder(&options.countries)?;
    let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, options.port)), "--port").await?;
    let (sender, failed) = sync_channel(MAX_FAILED);
    let admission = admission(&options.host.folders.data, WasmEngine::new()?.watched(sender))?;
    let clock = Arc::new(SystemClock);
    let platform =
        Platform::open_with(&host_options(options, listener.local_addr()?)?, smtp(&options.host)?, clock, admission)
            .await?;
    explain(options.countries.clone(), failed)?;
    let issuer = LocalIssuer::open(&options.host.folders.data, Arc::new(SystemClock))?;
    let mut background = Background::default();
    platform.follow_registry(&mut background).await;

    let (sender, changed) = mpsc::unbounded_channel();
    let _watcher = watch(&options.countries, sender)?;
    for folder in countries(&options.countries)? {
        build(&platform.swapper, folder).await;
    }

    let stop = stop::signalled()?;
    let mut guide =
        Guide { catalogue: platform.catalogue.clone(), address: listener.local_addr()?, shown: BTreeSet::new() };
    announce(greeting(&platform, &issuer, &mut guide)?);
    let rebuilding = rebuild(platform.swapper.clone(), options.countries.clone(), changed, guide);
    background.start("rebuilding", rebuilding);
    let identity = Identity { jwks: Some(issuer.jwks()), tokens: Arc::new(issuer) };
    platform.serve(listener.into(), identity, metrics, background, stop).await?;
    Ok(Answer::Done)
}

/// Returns the options of the host. Unless origins are named, pages that this machine serves may call: those of a developer
/// who tries an application. Links in mail lead to this machine.
fn host_options(options: &Options, address: SocketAddr) -> Result<HostOptions, NotAPublicUrl> {
    let mut host = options.host.clone();
    if host.public_url.is_none() {
        host.public_url = Some(format!("http://{address}").parse()?);
    }
    if host.cors_origin.is_empty() {
        host.cors_origin.push(Origin::ThisMachine);
    }
    Ok(host)
}

fn require_folder(countries: &Path) -> Result<(), Misuse> {
    if countries.is_dir() {
        return Ok(());
    }
    let there = countries.display();
    Err(Misuse(format!("there is no folder {there}; name the folder of the countries' sources with --countries")))
}

/// Returns the folders with a `rules.toml`, in the order of their names.
fn countries(sources: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(sources).map_err(|cause| {
        let words = "cannot be read; the folder of the countries' sources is given with --countries";
        std::io::Error::new(cause.kind(), format!("{} {words}: {cause}", sources.display()))
    })?;
    let mut folders: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    folders.retain(|folder| folder.join("rules.toml").is_file());
    folders.sort();
    Ok(folders)
}

/// Builds one country and puts it into force. Reports a failure in the log and, if the country is known, in its status.
async fn build(swapper: &Swapper, folder: PathBuf) {
    let what = format!("sources in {}", folder.display());
    log::note(&format!("Building {} …", folder.display()));
    let sources = folder.clone();
    let built = tokio::task::spawn_blocking(move || built(&sources)).await;
    let mut calls = Vec::new();
    let refused = match built {
        Ok(Ok((country, package))) => match swapper.swap(country, Target::Unpublished(&what), &Arc::new(package)).await
        {
            Ok(()) => return,
            Err(NotAdmitted::Refused(refusal)) => {
                let why = refusal.to_string();
                if let Refusal::Reported { failed, .. } = refusal {
                    calls = failed;
                }
                why
            }
            Err(unjudged) => {
                let why = unjudged.to_string();
                swapper.refuse(country, &what, &why);
                why
            }
        },
        Ok(Err((country, error))) => {
            let error = chain(error.as_ref());
            if let Some(country) = country {
                swapper.refuse(country, &what, &error);
            }
            error
        }
        Err(panic) => panic.to_string(),
    };
    log::note(&format!("{what} are not in force: {refused}"));
    // A panic of it is in the log already.
    let _ = tokio::task::spawn_blocking(move || repeat(&folder, &calls)).await;
}

/// Repeats the failed calls of countries whose sources are in a folder, on a thread of its own.
fn explain(sources: PathBuf, failed: Receiver<FailedCall>) -> std::io::Result<()> {
    let repeat_all = move || {
        for call in failed {
            let is_of = |folder: &PathBuf| {
                CountryFolder::open(folder).is_ok_and(|folder| folder.country().as_str() == call.country)
            };
            if let Some(folder) = countries(&sources).ok().and_then(|folders| folders.into_iter().find(is_of)) {
                repeat(&folder, &[call]);
            }
        }
    };
    thread::Builder::new().name("repeat".into()).spawn(repeat_all).map(drop)
}

/// Repeats failed calls outside the component, and writes what is wrong with each into the log.
fn repeat(folder: &Path, calls: &[FailedCall]) {
    let Ok(sources) = CountryFolder::open(folder) else { return };
    for (call, words) in calls.iter().zip(sources.repeated(calls)) {
        log::note(&format!("`{}` of {}: {words}", call.function, folder.display()));
    }
}

/// A country and its package; or the error, with the country if it is known.
type Built = Result<(CountryCode, RulesPackage), (Option<CountryCode>, Box<dyn Error + Send + Sync>)>;

fn built(folder: &Path) -> Built {
    let folder = CountryFolder::open(folder).map_err(|error| (None, error.into()))?;
    let country = folder.country();
    let component = folder.build(&[]).map_err(|error| (Some(country), error.into()))?;
    let cases = folder.cases().map_err(|error| (Some(country), error.into()))?;
    Ok((country, RulesPackage { component, limits: folder.limits(), cases }))
}

/// Watches the sources and sends the path of everything that changes.
fn watch(sources: &Path, changes: mpsc::UnboundedSender<PathBuf>) -> notify::Result<notify::RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| match event {
        Ok(event) if !matches!(event.kind, EventKind::Access(_)) => {
            for path in event.paths {
                // The receiver is gone only when the program ends.
                let _ = changes.send(path);
            }
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "a change of the sources may have been missed"),
    })?;
    watcher.watch(&sources.canonicalize()?, RecursiveMode::Recursive)?;
    Ok(watcher)
}

/// Builds the countries whose sources changed, once no more changes follow.
async fn rebuild(
    swapper: Arc<Swapper>,
    sources: PathBuf,
    mut changed: mpsc::UnboundedReceiver<PathBuf>,
    mut guide: Guide,
) {
    while let Some(first) = changed.recv().await {
        let mut paths = BTreeSet::from([first]);
        while let Ok(Some(path)) = tokio::time::timeout(DEBOUNCE, changed.recv()).await {
            paths.insert(path);
        }
        match concerned(&sources, &paths) {
            Ok(folders) => {
                for folder in folders {
                    build(&swapper, folder).await;
                }
                let requests = guide.requests();
                if !requests.is_empty() {
                    announce(requests);
                }
            }
            Err(error) => tracing::warn!(%error, "the sources cannot be read"),
        }
    }
}

/// Returns the countries that a change affects: the one that contains it, or all countries if it is in shared sources.
fn concerned(sources: &Path, paths: &BTreeSet<PathBuf>) -> std::io::Result<Vec<PathBuf>> {
    let whole = sources.canonicalize()?;
    let is_made = |name: &OsStr| {
        ["target", "node_modules", "__pycache__"].iter().any(|made| name == *made)
            || name.to_string_lossy().starts_with('.')
    };
    let is_source = |path: &&PathBuf| {
        let mut names = path.strip_prefix(&whole).unwrap_or(path).components();
        !names.any(|name| is_made(name.as_os_str()))
    };
    let paths: Vec<&PathBuf> = paths.iter().filter(is_source).collect();
    let all = countries(sources)?;
    let home = |path: &Path| all.iter().find(|folder| folder.canonicalize().is_ok_and(|whole| path.starts_with(whole)));
    let homes: Option<BTreeSet<&PathBuf>> = paths.iter().map(|path| home(path)).collect();
    Ok(match homes {
        Some(homes) => homes.into_iter().cloned().collect(),
        None => all,
    })
}

/// Shows a search for free slots and a booking request for each country once, when it first has rules in force.
struct Guide {
    catalogue: Arc<Catalogue>,
    address: SocketAddr,
    shown: BTreeSet<CountryCode>,
}

impl Guide {
    /// Returns the requests that were not shown yet.
    fn requests(&mut self) -> String {
        let mut lines = String::new();
        for (country, entry) in self.catalogue.all().iter() {
            let Some(rules) = entry.rules.as_deref() else { continue };
            if !self.shown.insert(*country) {
                continue;
            }
            let Some(BookableExample { request, search }) = BookableExample::of(rules, SystemClock.now()) else {
                continue;
            };
            let base = format!("http://{}/v1/{country}", self.address);
            let token = "-H \"Authorization: Bearer $TOKEN\"";
            if let Some(search) = search {
                let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(search).finish();
                let _ = writeln!(lines, "\nWhat is free in {country}:\n\ncurl '{base}/slots?{query}' \\");
                let _ = writeln!(lines, "  {token}");
            }
            let _ = writeln!(lines, "\nBook in {country}:\n\ncurl -i {base}/appointments {token} \\");
            let _ = writeln!(lines, "  -H 'Content-Type: application/json' -d '{request}'");
        }
        lines
    }
}

/// Returns the text for a newcomer: addresses, a token, and requests to each country.
fn greeting(platform: &Platform, issuer: &LocalIssuer, guide: &mut Guide) -> Result<String, Box<dyn Error>> {
    let claims = Claims {
        subject: "ana".into(),
        groups: BTreeSet::new(),
        scopes: [Scope::Read, Scope::Write].map(|scope| scope.as_str().to_owned()).into(),
        identities: [].into(),
    };
    let token = issuer.token(&claims, SystemClock.now())?;
    let address = guide.address;
    let lines = [
        format!("\nCitas serves on http://{address}   its API: http://{address}/docs"),
        format!("Mail goes to {}", platform.mail),
        format!("\nA token for the patient `ana` (others: citas token --help):\n\nexport TOKEN={token}"),
    ];
    Ok(format!("{}\n{}", lines.join("\n"), guide.requests()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Parsed {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn links_in_mail_lead_to_this_machine_unless_an_address_is_named() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 8081));
        let url = |options: &[&str]| {
            let Parsed { options } = Parsed::parse_from([&["dev"], options].concat());
            host_options(&options, address).unwrap().public_url.map(String::from)
        };
        assert_eq!(url(&[]).as_deref(), Some("http://127.0.0.1:8081"));
        assert_eq!(url(&["--public-url", "https://citas.example"]).as_deref(), Some("https://citas.example"));
    }

    #[test]
    fn sources_that_are_not_there_are_named() {
        let here = tempfile::tempdir().unwrap();
        assert!(require_folder(here.path()).is_ok());
        let refused = require_folder(&here.path().join("countris")).unwrap_err().to_string();
        assert!(refused.contains("countris") && refused.contains("--countries"), "{refused}");
    }
}
