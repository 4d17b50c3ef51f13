use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use jiff::Timestamp;
use semver::Version;
use tokio::time::timeout;

use super::following::MAX_CONCURRENT_JUDGEMENTS;
use super::outcome::NotInForce;
use super::retry::RETRY_INTERVAL;
use super::*;
use crate::model::{Artifact, ChangeNote, Channel, Limits, Manifest, RulesPackage, digest};
use crate::ports::{Engine, Refusal, Registry};
use crate::release::admission::{Admission, NotAdmitted};
use crate::release::catalogue::{Catalogue, RefusedVersion};
use crate::release::swap::Swapper;
use crate::rules::LoadedRules;
use crate::testing::{Described, ManualClock, NoEngine};

/// A registry in which each component is the text of its version.
#[derive(Default)]
struct Shelf {
    channels: Mutex<BTreeMap<CountryCode, Channel>>,
    damaged: Option<Version>,
    /// Country whose channel panics when it is read.
    panics: Option<CountryCode>,
    /// This country's channel never comes.
    silent: Option<CountryCode>,
    channel_reads: Mutex<Vec<CountryCode>>,
    fetches: AtomicUsize,
}

impl Shelf {
    fn put(&self, country: CountryCode, current: &str, sequence: u64) {
        let note = ChangeNote { at: Timestamp::UNIX_EPOCH, by: "ana".into(), why: "a test".into() };
        let channel = Channel { sequence, ..Channel::first(version(current), note) };
        self.channels.lock().unwrap().insert(country, channel);
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::Relaxed)
    }

    fn channel_reads(&self, country: CountryCode) -> usize {
        self.channel_reads.lock().unwrap().iter().filter(|read| **read == country).count()
    }
}

#[async_trait]
impl Registry for Shelf {
    async fn countries(&self) -> Result<Vec<CountryCode>, RegistryError> {
        Ok(self.channels.lock().unwrap().keys().copied().collect())
    }
    async fn channel(&self, country: CountryCode) -> Result<Option<Channel>, RegistryError> {
        self.channel_reads.lock().unwrap().push(country);
        assert_ne!(self.panics, Some(country), "this country's channel panics");
        if self.silent == Some(country) {
            std::future::pending::<()>().await;
        }
        Ok(self.channels.lock().unwrap().get(&country).cloned())
    }
    async fn set_channel(&self, _: CountryCode, _: Option<&Channel>, _: &Channel) -> Result<(), RegistryError> {
        Err(RegistryError::Unavailable("this fake is only read".into()))
    }
    async fn versions(&self, _: CountryCode) -> Result<Vec<Version>, RegistryError> {
        Ok(Vec::new())
    }
    async fn publish(&self, _: &Artifact) -> Result<(), RegistryError> {
        Err(RegistryError::Unavailable("this fake is only read".into()))
    }
    async fn fetch(&self, country: CountryCode, version: &Version) -> Result<Artifact, RegistryError> {
        self.fetches.fetch_add(1, Ordering::Relaxed);
        let component = version.to_string().into_bytes();
        let promised = if self.damaged.as_ref() == Some(version) { &b"another"[..] } else { &component };
        let manifest = Manifest {
            country,
            version: version.clone(),
            digest: digest(promised),
            cases_digest: digest(b"[]"),
            contract: "1.0.0".into(),
            source: None,
            published_at: Timestamp::UNIX_EPOCH,
            limits: Limits::default(),
        };
        Ok(Artifact { manifest, component, cases: "[]".into(), signature: None })
    }
}

/// An admission that has accepted version 1.0.0 of Peru before, and refuses every other package.
#[derive(Default)]
struct Picky {
    judged: AtomicUsize,
}

#[async_trait]
impl Admission for Picky {
    fn engine(&self) -> &dyn Engine {
        &NoEngine
    }
    async fn recall(&self, package: &Arc<RulesPackage>) -> Option<LoadedRules> {
        (package.component == b"1.0.0")
            .then(|| LoadedRules::of(Arc::new(Described::default()), "sha256:00".into()).unwrap())
    }
    async fn admit(&self, _: &Arc<RulesPackage>, _: Timestamp) -> Result<LoadedRules, NotAdmitted> {
        self.judged.fetch_add(1, Ordering::Relaxed);
        Err(Refusal::Precompiled.into())
    }
}

struct Host {
    shelf: Arc<Shelf>,
    admission: Arc<Picky>,
    catalogue: Arc<Catalogue>,
    following: Following,
}

impl Host {
    fn of(shelf: Shelf) -> Self {
        let (shelf, admission, catalogue) = (Arc::new(shelf), Arc::<Picky>::default(), Arc::<Catalogue>::default());
        let swapper = Swapper::new(admission.clone(), catalogue.clone(), Arc::new(ManualClock::default()));
        let following = Following::new(shelf.clone(), Arc::new(swapper), None);
        Self { shelf, admission, catalogue, following }
    }
}

fn refused(catalogue: &Catalogue, country: CountryCode) -> Option<RefusedVersion> {
    catalogue.entry(country).and_then(|entry| entry.refused)
}

fn in_force(catalogue: &Catalogue) -> Option<String> {
    catalogue.rules(pe()).map(|rules| rules.id.version.clone())
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn pe() -> CountryCode {
    "pe".parse().unwrap()
}

fn cl() -> CountryCode {
    "cl".parse().unwrap()
}

#[tokio::test]
async fn a_rollback_is_seen_while_the_version_waits_to_be_judged() {
    let Host { shelf, admission, catalogue, following } = Host::of(Shelf::default());
    let turns = following.judgements.clone();
    let others = turns.clone().acquire_many_owned(u32::try_from(MAX_CONCURRENT_JUDGEMENTS).unwrap()).await.unwrap();
    let mut follower = Follower::new(Arc::new(following), pe());
    shelf.put(pe(), "2.0.0", 1);
    assert!(!follower.look().await && !follower.look().await);
    assert_eq!(shelf.fetches(), 1, "it is read again when its turn comes");
    assert!(refused(&catalogue, pe()).is_none());

    shelf.put(pe(), "1.0.0", 2);
    assert!(follower.look().await);
    assert_eq!(in_force(&catalogue).as_deref(), Some("1.0.0"));

    shelf.put(pe(), "2.0.0", 3);
    assert!(!follower.look().await);
    drop(others);
    assert!(turns.try_acquire_many(2).is_err(), "it has kept its place");
    assert_eq!(admission.judged.load(Ordering::Relaxed), 0);
    assert!(follower.look().await);
    assert_eq!(admission.judged.load(Ordering::Relaxed), 1);
    assert!(turns.try_acquire_many(2).is_ok(), "its turn is over");
}

#[tokio::test]
async fn a_look_that_panics_costs_its_own_country_a_while_and_no_other_anything() {
    let Host { shelf, catalogue, following, .. } = Host::of(Shelf { panics: Some(cl()), ..Shelf::default() });
    shelf.put(pe(), "1.0.0", 1);
    shelf.put(cl(), "1.0.0", 1);
    let mut followers = Followers::new(following);
    followers.start().await;
    assert_eq!(in_force(&catalogue).as_deref(), Some("1.0.0"));
    assert_eq!(refused(&catalogue, cl()).unwrap().why, HOST_FAILED);
    let running = tokio::spawn(followers.run(Duration::from_millis(1)));
    let looks = async {
        while shelf.channel_reads(pe()) < 10 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), looks).await.expect("Peru is looked at again and again");
    assert_eq!(shelf.channel_reads(cl()), 1);
    assert!(!running.is_finished());
    running.abort();
}

#[tokio::test]
async fn a_channel_that_never_comes_is_given_up_and_keeps_no_other_country_waiting() {
    let Host { shelf, catalogue, following, .. } = Host::of(Shelf { silent: Some(cl()), ..Shelf::default() });
    shelf.put(pe(), "1.0.0", 1);
    shelf.put(cl(), "1.0.0", 1);
    let running = tokio::spawn(Followers::new(following).run(Duration::from_millis(10)));
    let given_up = async {
        loop {
            if let Some(refused) = refused(&catalogue, cl()) {
                return refused.why;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let why = timeout(READ_TIMEOUT * 3, given_up).await.expect("a read has a deadline");
    assert!(why.contains("it did not answer within 10 s"), "{why}");
    assert_eq!(in_force(&catalogue).as_deref(), Some("1.0.0"));
    assert!(shelf.channel_reads(pe()) > 10, "Peru is looked at again and again meanwhile");
    running.abort();
}

#[tokio::test]
async fn a_damaged_version_is_read_less_often_and_another_at_once() {
    let damaged = Some(version("2.0.0"));
    let Host { shelf, catalogue, following, .. } = Host::of(Shelf { damaged, ..Shelf::default() });
    let mut follower = Follower::new(Arc::new(following), pe());
    shelf.put(pe(), "2.0.0", 1);
    for _ in 0..10 {
        assert!(!follower.look().await);
    }
    assert_eq!(shelf.fetches(), 2);
    assert!(refused(&catalogue, pe()).unwrap().why.contains("half copied"));
    follower.retry.as_mut().unwrap().at = Instant::now();
    assert!(!follower.look().await);
    assert_eq!(shelf.fetches(), 3);
    assert_eq!(follower.retry.as_ref().unwrap().interval, RETRY_INTERVAL * 2);
    shelf.put(pe(), "1.0.0", 2);
    assert!(follower.look().await);
    assert_eq!(in_force(&catalogue).as_deref(), Some("1.0.0"));
}

#[tokio::test]
async fn an_accepted_package_of_another_country_is_refused_at_a_start_and_not_judged() {
    let Host { shelf, admission, catalogue, following } = Host::of(Shelf::default());
    shelf.put(cl(), "1.0.0", 1);
    let mut follower = Follower::new(Arc::new(following), cl());
    assert!(matches!(follower.start_from_registry().await, NotInForce::Refused));
    follower.start(None).await;
    assert!(refused(&catalogue, cl()).unwrap().why.contains("`pe`"));
    assert_eq!(admission.judged.load(Ordering::Relaxed), 0);
}
