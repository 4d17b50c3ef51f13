//! What every registry must do, in terms of the port alone. An adapter says how an empty one is opened:
//!
//! ```ignore
//! async fn open() -> (Arc<dyn Registry>, impl Sized) { … }   // whatever must outlive it stands beside it
//! registry_contract!(open);
//! ```

use std::sync::Arc;

use citas_core::appointment::CountryCode;
use citas_core::limits::Limits;
use citas_core::registry::{Artifact, Channel, Manifest, Registry, RegistryError, digest};
use futures::future::join_all;
use semver::Version;

use crate::support::appointments::{cl, now, pe};

/// Makes every test of the suite one of this module.
macro_rules! registry_contract {
    ($open:path) => {
        $crate::registry_contract::each! { $open;
            a_published_version_is_fetched_as_it_was
            what_nobody_signed_is_fetched_unsigned
            a_version_is_published_once
            of_twenty_who_publish_one_version_one_does
            versions_are_listed_the_lowest_first
            what_was_never_published_is_absent
            a_channel_is_read_back
            a_channel_names_a_version_that_can_be_fetched
            a_channel_changes_only_from_what_it_is_expected_to_be
            of_twenty_who_change_a_channel_one_does
            of_twenty_who_make_a_channel_one_does
            countries_are_those_that_have_a_channel
        }
    };
}
pub(crate) use registry_contract;

macro_rules! each {
    ($open:path; $($name:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let (registry, _kept) = $open().await;
                $crate::registry_contract::$name(registry).await;
            }
        )*
    };
}
pub(crate) use each;

const RIVALS: u8 = 20;

const CASES: &str = r#"[{"name":"mañana"}]"#;

pub fn version(text: &str) -> Version {
    text.parse().unwrap()
}

pub fn artifact(country: CountryCode, number: &str, component: &[u8]) -> Artifact {
    Artifact {
        manifest: Manifest {
            country,
            version: version(number),
            digest: digest(component),
            cases_digest: digest(CASES.as_bytes()),
            contract: "1.0.0".into(),
            source: Some("8b9c68a".into()),
            published_at: now(),
            limits: Limits { memory: Some(32 << 20), ..Limits::default() },
        },
        component: component.to_vec(),
        cases: CASES.into(),
        signature: Some("untrusted comment: of nobody\n".into()),
    }
}

/// With golden cases that a host can run, as those of [`artifact`] are not.
pub fn with_cases(artifact: Artifact, cases: &str) -> Artifact {
    let cases = cases.to_owned();
    let manifest = Manifest { cases_digest: digest(cases.as_bytes()), ..artifact.manifest };
    Artifact { manifest, cases, ..artifact }
}

pub fn channel(current: &str, previous: Option<&str>, sequence: u64) -> Channel {
    Channel {
        current: version(current),
        previous: previous.map(version),
        sequence,
        changed_at: now(),
        pinned: false,
        candidate: None,
        history: Vec::new(),
    }
}

async fn publish(registry: &dyn Registry, country: CountryCode, versions: &[&str]) {
    for version in versions {
        registry.publish(&artifact(country, version, b"component")).await.unwrap();
    }
}

pub async fn a_published_version_is_fetched_as_it_was(registry: Arc<dyn Registry>) {
    let component: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let published = artifact(pe(), "1.2.3-rc.1+build.5", &component);
    registry.publish(&published).await.unwrap();
    assert_eq!(registry.fetch(pe(), &published.manifest.version).await.unwrap(), published);
}

pub async fn what_nobody_signed_is_fetched_unsigned(registry: Arc<dyn Registry>) {
    let published = Artifact { signature: None, ..artifact(pe(), "1.0.0", b"component") };
    registry.publish(&published).await.unwrap();
    assert_eq!(registry.fetch(pe(), &published.manifest.version).await.unwrap(), published);
}

pub async fn a_version_is_published_once(registry: Arc<dyn Registry>) {
    let first = artifact(pe(), "1.0.0", b"first");
    registry.publish(&first).await.unwrap();
    let again = registry.publish(&artifact(pe(), "1.0.0", b"second")).await;
    assert!(matches!(again, Err(RegistryError::Exists { .. })), "{again:?}");
    let same = registry.publish(&first).await;
    assert!(matches!(same, Err(RegistryError::Exists { .. })), "{same:?}");
    assert_eq!(registry.fetch(pe(), &version("1.0.0")).await.unwrap(), first);
    registry.publish(&artifact(cl(), "1.0.0", b"chile")).await.unwrap();
}

pub async fn of_twenty_who_publish_one_version_one_does(registry: Arc<dyn Registry>) {
    let rivals = (0..RIVALS).map(|rival| {
        let registry = Arc::clone(&registry);
        tokio::spawn(async move { registry.publish(&artifact(pe(), "1.0.0", &[rival; 10_000])).await })
    });
    let results: Vec<_> = join_all(rivals).await.into_iter().map(Result::unwrap).collect();
    let winner = results.iter().position(Result::is_ok).unwrap();
    let losers = results.iter().filter(|result| matches!(result, Err(RegistryError::Exists { .. }))).count();
    assert_eq!(losers, results.len() - 1, "{results:?}");
    let winner = artifact(pe(), "1.0.0", &[u8::try_from(winner).unwrap(); 10_000]);
    assert_eq!(registry.fetch(pe(), &version("1.0.0")).await.unwrap(), winner);
}

pub async fn versions_are_listed_the_lowest_first(registry: Arc<dyn Registry>) {
    assert_eq!(registry.versions(pe()).await.unwrap(), []);
    publish(&*registry, pe(), &["1.10.0", "1.2.0", "1.2.0-rc.1", "0.9.0"]).await;
    publish(&*registry, cl(), &["3.0.0"]).await;
    let expected = ["0.9.0", "1.2.0-rc.1", "1.2.0", "1.10.0"].map(version);
    assert_eq!(registry.versions(pe()).await.unwrap(), expected);
}

pub async fn what_was_never_published_is_absent(registry: Arc<dyn Registry>) {
    publish(&*registry, cl(), &["1.0.0"]).await;
    let absent = registry.fetch(pe(), &version("1.0.0")).await;
    assert!(matches!(absent, Err(RegistryError::Absent { .. })), "{absent:?}");
    assert_eq!(registry.channel(pe()).await.unwrap(), None);
    assert_eq!(registry.countries().await.unwrap(), []);
}

pub async fn a_channel_is_read_back(registry: Arc<dyn Registry>) {
    publish(&*registry, pe(), &["1.0.0", "1.1.0"]).await;
    let first = channel("1.0.0", None, 1);
    registry.set_channel(pe(), None, &first).await.unwrap();
    assert_eq!(registry.channel(pe()).await.unwrap().as_ref(), Some(&first));
    let second = channel("1.1.0", Some("1.0.0"), 2);
    registry.set_channel(pe(), Some(&first), &second).await.unwrap();
    assert_eq!(registry.channel(pe()).await.unwrap(), Some(second));
    assert_eq!(registry.channel(cl()).await.unwrap(), None);
}

pub async fn a_channel_names_a_version_that_can_be_fetched(registry: Arc<dyn Registry>) {
    let absent = registry.set_channel(pe(), None, &channel("1.0.0", None, 1)).await;
    assert!(matches!(absent, Err(RegistryError::Absent { .. })), "{absent:?}");
    publish(&*registry, pe(), &["1.0.0"]).await;
    let absent = registry.set_channel(pe(), None, &channel("1.0.1", None, 1)).await;
    assert!(matches!(absent, Err(RegistryError::Absent { .. })), "{absent:?}");
    assert_eq!(registry.channel(pe()).await.unwrap(), None);
}

pub async fn a_channel_changes_only_from_what_it_is_expected_to_be(registry: Arc<dyn Registry>) {
    publish(&*registry, pe(), &["1.0.0", "1.1.0"]).await;
    let (first, second) = (channel("1.0.0", None, 1), channel("1.1.0", Some("1.0.0"), 2));
    let too_early = registry.set_channel(pe(), Some(&first), &second).await;
    assert!(matches!(too_early, Err(RegistryError::Conflict(_))), "{too_early:?}");
    registry.set_channel(pe(), None, &first).await.unwrap();
    for expected in [None, Some(&second)] {
        let refused = registry.set_channel(pe(), expected, &second).await;
        assert!(matches!(refused, Err(RegistryError::Conflict(_))), "{refused:?}");
    }
    assert_eq!(registry.channel(pe()).await.unwrap(), Some(first));
}

pub async fn of_twenty_who_change_a_channel_one_does(registry: Arc<dyn Registry>) {
    publish(&*registry, pe(), &["1.0.0"]).await;
    let first = channel("1.0.0", None, 1);
    registry.set_channel(pe(), None, &first).await.unwrap();
    race_for_channel(&registry, Some(first)).await;
}

pub async fn of_twenty_who_make_a_channel_one_does(registry: Arc<dyn Registry>) {
    publish(&*registry, pe(), &["1.0.0"]).await;
    race_for_channel(&registry, None).await;
}

async fn race_for_channel(registry: &Arc<dyn Registry>, expected: Option<Channel>) {
    let rivals = (0..RIVALS).map(|rival| {
        let (registry, expected) = (Arc::clone(registry), expected.clone());
        let new = channel("1.0.0", None, 100 + u64::from(rival));
        tokio::spawn(async move { registry.set_channel(pe(), expected.as_ref(), &new).await.map(|()| new) })
    });
    let results: Vec<_> = join_all(rivals).await.into_iter().map(Result::unwrap).collect();
    let (winners, losers): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert!(losers.iter().all(|result| matches!(result, Err(RegistryError::Conflict(_)))), "{losers:?}");
    let [Ok(winner)] = &winners[..] else { panic!("{winners:?}") };
    assert_eq!(registry.channel(pe()).await.unwrap().as_ref(), Some(winner));
}

pub async fn countries_are_those_that_have_a_channel(registry: Arc<dyn Registry>) {
    publish(&*registry, pe(), &["1.0.0"]).await;
    publish(&*registry, cl(), &["1.0.0"]).await;
    let bo: CountryCode = "bo".parse().unwrap();
    publish(&*registry, bo, &["1.0.0"]).await;
    for country in [pe(), cl()] {
        registry.set_channel(country, None, &channel("1.0.0", None, 1)).await.unwrap();
    }
    assert_eq!(registry.countries().await.unwrap(), [cl(), pe()]);
}
