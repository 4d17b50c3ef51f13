//! The registry fails in every way that a machine or a copy can fail. A host that starts has the last good version, and
//! a host that serves refuses no request because of it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use citas::local::last_good::LastGoodFolder;
use citas::local::registry::FolderRegistry;
use citas::system::SystemClock;
use citas_core::model::{Artifact, Channel, CountryCode};
use citas_core::ports::{LastGood as _, Registry, RegistryError};
use citas_core::release::{Catalogue, Followers, Following, Swapper};
use semver::Version;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::registry_contract::{artifact, channel, version, with_cases};
use crate::support::components::{admission, chaos, chaos_with, folder};
use crate::support::hostile::pipe;
use crate::support::process::{Process, publish, run, token};
use crate::support::requests::xx;
use crate::swap::{time_until, under_load};

/// Maximum time until a host serves, whatever its registry does. It waits two seconds for the registry, and the tests
/// share the machine.
const SERVES_WITHIN: Duration = Duration::from_secs(20);

const LONG: Duration = Duration::from_secs(20);

/// A data folder and a separate registry, with the chaos country's 1.0.0 in use.
struct Place {
    data: TempDir,
    registry: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { data: tempfile::tempdir().unwrap(), registry: tempfile::tempdir().unwrap() };
        publish(&place.registry(), &["xx"]);
        place
    }

    /// Returns a place from which a host has served once.
    fn that_served() -> Self {
        let place = Self::new();
        place.serve();
        place
    }

    fn registry(&self) -> PathBuf {
        self.registry.path().join("registry")
    }

    fn serve(&self) -> Process {
        let [data, registry] = [self.data.path(), &self.registry()].map(|path| path.to_str().unwrap().to_owned());
        let serve = ["serve", "--listen", "127.0.0.1:0", "--rate-limit", "0", "--data", &data, "--registry", &registry];
        Process::start(&serve)
    }

    /// Returns the path of a file of the country in the registry.
    fn file(&self, name: &str) -> PathBuf {
        self.registry().join("xx").join(name)
    }

    /// Publishes version 1.1.0 with these golden cases, which it passes or fails.
    fn publish_next(&self, cases: &str) {
        let next = with_cases(artifact("xx".parse().unwrap(), "1.1.0", &chaos_with(&["later"])), cases);
        block_on(FolderRegistry::new(&self.registry()).publish(&next)).unwrap();
    }

    fn promote_next(&self) {
        let registry = FolderRegistry::new(&self.registry());
        let (country, next) = ("xx".parse().unwrap(), channel("1.1.0", Some("1.0.0"), 2));
        let before = block_on(registry.channel(country)).unwrap();
        block_on(registry.set_channel(country, before.as_ref(), &next)).unwrap();
    }

    fn status_of(&self, process: &Process) -> Value {
        let platform = process.client(&token(self.data.path(), &["--group", "platform"]));
        platform.get("/v1/xx/rules").expect(200).json()
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(work)
}

fn cut_short(file: &Path) {
    let whole = fs::read(file).unwrap();
    fs::write(file, &whole[..whole.len() / 2]).unwrap();
}

/// Replaces a file by a pipe that nobody writes to.
fn in_place(file: &Path) {
    fs::remove_file(file).unwrap();
    pipe(file);
}

/// Removes or breaks a part of the registry.
type Harm = fn(&Place);

#[test]
fn a_host_starts_with_the_last_good_version_whatever_has_become_of_the_registry() {
    let harms: [(&str, Harm, &str); 7] = [
        ("it is gone", |_| {}, "no channel of this country"),
        ("it is garbage", |place| fs::write(place.registry(), "garbage").unwrap(), "Not a directory"),
        ("the country is gone", |place| fs::create_dir(place.registry()).unwrap(), "no channel of this country"),
        ("its channel is half written", |place| harmed(place, "channel.json", cut_short), "`xx/channel.json`"),
        ("its manifest is", |place| harmed(place, "versions/1.0.0/manifest.json", cut_short), "manifest.json`"),
        ("its component is cut short", |place| harmed(place, "versions/1.0.0/rules.wasm", cut_short), "half copied"),
        ("its component is a pipe", |place| harmed(place, "versions/1.0.0/rules.wasm", in_place), "it is a pipe"),
    ];
    let place = Place::that_served();
    for (what, harm, why) in harms {
        remove(&place.registry());
        harm(&place);
        let started = Instant::now();
        let process = place.serve();
        assert!(started.elapsed() < SERVES_WITHIN, "{what}: it took {:?}", started.elapsed());
        let told = place.status_of(&process);
        assert_eq!(told["rules"]["version"], "1.0.0", "{what}: {told}");
        let said = told["refused"]["why"].as_str().unwrap_or_else(|| panic!("{what}: {told}"));
        assert!(said.contains(why), "{what}: {said}");
        assert!(said.ends_with("; started with the last good version 1.0.0"), "{what}: {said}");
        process.client(&token(place.data.path(), &[])).booked("xx", &xx(started.elapsed().subsec_micros() as usize));
    }
}

/// Publishes the registry again and harms one of its files.
fn harmed(place: &Place, name: &str, harm: fn(&Path)) {
    publish(&place.registry(), &["xx"]);
    harm(&place.file(name));
}

fn remove(registry: &Path) {
    if registry.is_dir() {
        fs::remove_dir_all(registry).unwrap();
    } else {
        // The file may not exist.
        let _ = fs::remove_file(registry);
    }
}

#[test]
fn once_the_registry_is_back_its_word_is_taken() {
    let place = Place::that_served();
    let away = place.registry.path().join("away");
    fs::rename(place.registry(), &away).unwrap();
    let process = place.serve();
    assert!(!place.status_of(&process)["refused"].is_null());
    fs::rename(&away, place.registry()).unwrap();
    let platform = process.client(&token(place.data.path(), &["--group", "platform"]));
    time_until(&platform, "xx", LONG, |told| told["refused"].is_null());
    place.publish_next("[]");
    place.promote_next();
    time_until(&platform, "xx", LONG, |told| told["rules"]["version"] == "1.1.0");
}

#[test]
fn a_version_that_was_refused_is_never_the_last_good_one() {
    let place = Place::that_served();
    place.publish_next(r#"[{ "name": "no", "now": "2026-11-24T15:00:00Z", "book": {}, "expect": { "plan": {} } }]"#);
    place.promote_next();
    for gone in [false, true] {
        if gone {
            remove(&place.registry());
        }
        let process = place.serve();
        let told = place.status_of(&process);
        assert_eq!(told["rules"]["version"], "1.0.0", "{told}");
        let refused = if gone { "the registry's version" } else { "version 1.1.0" };
        assert_eq!(told["refused"]["what"], refused, "{told}");
    }
}

#[test]
fn a_registry_that_is_slow_cut_off_half_written_or_gone_costs_no_request() {
    let place = Place::new();
    place.publish_next("[]");
    let process = place.serve();
    let ana = process.client(&token(place.data.path(), &[]));
    let platform = process.client(&token(place.data.path(), &["--group", "platform"]));
    let said = |why: &str| {
        time_until(&platform, "xx", LONG, |told| {
            told["refused"]["why"].as_str().is_some_and(|said| said.contains(why))
        });
    };
    let next = chaos_with(&["later"]);
    let (first, rest) = next.split_at(next.len() / 2);
    let ((), booked) = under_load(
        2,
        |number| ana.booked("xx", &xx(number)),
        || {
            let away = place.registry.path().join("away");
            fs::rename(place.registry(), &away).unwrap();
            some_looks();
            fs::rename(&away, place.registry()).unwrap();

            let component = place.file("versions/1.1.0/rules.wasm");
            cut_short(&component);
            place.promote_next();
            said("half copied");
            let whole = fs::read(place.file("channel.json")).unwrap();
            fs::write(place.file("channel.json"), &whole[..whole.len() / 2]).unwrap();
            said("`xx/channel.json` in the registry cannot be read");
            in_place(&component);
            fs::write(place.file("channel.json"), whole).unwrap();
            said("it is a pipe");

            fs::remove_file(&component).unwrap();
            let mut slow = fs::File::create(&component).unwrap();
            slow.write_all(first).unwrap();
            said("half copied");
            assert_eq!(place.status_of(&process)["rules"]["version"], "1.0.0");
            slow.write_all(rest).unwrap();
            drop(slow);
            time_until(&platform, "xx", LONG, |told| told["rules"]["version"] == "1.1.0" && told["refused"].is_null());
        },
    );
    println!("{} bookings, and none was refused", booked.len());
}

/// Waits long enough for the host to poll the registry several times. A poll without news leaves no trace to wait for.
fn some_looks() {
    std::thread::sleep(Duration::from_secs(2));
}

/// A registry that accepts every request and never answers.
struct Silent;

#[async_trait]
impl Registry for Silent {
    async fn countries(&self) -> Result<Vec<CountryCode>, RegistryError> {
        std::future::pending().await
    }

    async fn channel(&self, _: CountryCode) -> Result<Option<Channel>, RegistryError> {
        std::future::pending().await
    }

    async fn set_channel(&self, _: CountryCode, _: Option<&Channel>, _: &Channel) -> Result<(), RegistryError> {
        std::future::pending().await
    }

    async fn versions(&self, _: CountryCode) -> Result<Vec<Version>, RegistryError> {
        std::future::pending().await
    }

    async fn publish(&self, _: &Artifact) -> Result<(), RegistryError> {
        std::future::pending().await
    }

    async fn fetch(&self, _: CountryCode, _: &Version) -> Result<Artifact, RegistryError> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_start_does_not_wait_for_a_registry_that_never_answers() {
    let kept = tempfile::tempdir().unwrap();
    let last_good = Arc::new(LastGoodFolder::new(kept.path()));
    let xx: CountryCode = "xx".parse().unwrap();
    let cases = citas::toolkit::cases_in(&folder("xx").join("cases")).unwrap();
    let good = with_cases(artifact(xx, "1.0.0", chaos()), &cases);
    last_good.remember(&channel("1.0.0", None, 1), &good).await.unwrap();

    let catalogue = Arc::new(Catalogue::default());
    let swapper = Arc::new(Swapper::new(admission(), catalogue.clone(), Arc::new(SystemClock)));
    let mut followers = Followers::new(Following::new(Arc::new(Silent), swapper, None).with_last_good(last_good));
    tokio::time::timeout(SERVES_WITHIN, followers.start()).await.expect("a start that goes on");
    let entry = catalogue.entry(xx).unwrap();
    assert_eq!(entry.rules.unwrap().id.version, "1.0.0");
    let why = entry.refused.unwrap().why;
    assert!(why.starts_with("the registry does not answer: "), "{why}");
    assert!(why.ends_with("; started with the last good version 1.0.0"), "{why}");
}

#[tokio::test]
async fn one_version_is_kept_as_it_was_whatever_lay_there() {
    let kept = tempfile::tempdir().unwrap();
    let (last_good, xx) = (LastGoodFolder::new(kept.path()), "xx".parse().unwrap());
    assert!(last_good.countries().await.unwrap().is_empty());
    let versions = || fs::read_dir(kept.path().join("xx/versions")).unwrap().count();
    for (number, component) in [("1.0.0", "one"), ("1.1.0", "two"), ("1.0.0", "of another registry"), ("1.0.0", "two")]
    {
        let (channel, good) = (channel(number, None, 1), artifact(xx, number, component.as_bytes()));
        last_good.remember(&channel, &good).await.unwrap();
        assert_eq!(last_good.recall(xx).await.unwrap(), Some((channel.clone(), good.clone())));
        assert_eq!((last_good.countries().await.unwrap(), versions()), (vec![xx], 1));

        fs::write(kept.path().join("xx/channel.json"), "{").unwrap();
        fs::write(kept.path().join("xx/versions").join(version(number).to_string()).join("manifest.json"), "{")
            .unwrap();
        assert!(last_good.recall(xx).await.is_err());
        last_good.remember(&channel, &good).await.unwrap();
        assert_eq!(last_good.recall(xx).await.unwrap(), Some((channel, good)));
    }
}

#[test]
fn what_is_kept_is_judged_once_more() {
    let place = Place::that_served();
    remove(&place.registry());
    let component = place.data.path().join("last-good/xx/versions/1.0.0/rules.wasm");
    cut_short(&component);
    let process = place.serve();
    let told = place.status_of(&process);
    assert!(told["rules"].is_null(), "{told}");
    assert_eq!(told["refused"]["what"], json!("the last good version 1.0.0"), "{told}");
    drop(process);
    // A damaged copy does not keep the host from using a registry that is there.
    let data = place.data.path().to_str().unwrap();
    publish(&place.registry(), &["xx"]);
    let process = place.serve();
    assert_eq!(place.status_of(&process)["rules"]["version"], "1.0.0");
    run(&["rules", "status", "xx", "--data", data, "--registry", place.registry().to_str().unwrap()]).expect(0);
}
