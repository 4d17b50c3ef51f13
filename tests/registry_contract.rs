//! Tests that every registry must pass, in terms of the port alone. An adapter states how an empty registry is opened:
//!
//! ```ignore
//! async fn open() -> (Arc<dyn Registry>, impl Sized) { … }   // and a value that must outlive it
//! registry_contract!(open);
//! ```

use std::sync::Arc;

use async_trait::async_trait;
use citas_core::model::{Artifact, ChangeNote, Channel, CountryCode, Limits, Manifest, digest, written};
use citas_core::ports::{Registry, RegistryError};
use futures::future::join_all;
use semver::Version;

use crate::support::appointments::{cl, now, pe};

/// Adds every test of the suite to the calling module.
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
            a_version_with_a_file_that_is_too_large_is_not_published
            a_channel_that_is_too_large_is_not_written
            a_version_that_is_too_long_is_not_published
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

/// Adds every test of hostile registry content to the calling module. The adapter states how an empty registry is
/// opened into which files can be put.
macro_rules! hostile_registry_contract {
    ($open:path) => {
        $crate::registry_contract::each! { $open;
            a_file_is_read_up_to_the_limit_of_its_kind
            a_file_with_wrong_content_is_named_and_costs_no_other_country
        }
    };
}
pub(crate) use hostile_registry_contract;

/// A registry into which another program writes, by the keys of the architecture.
#[async_trait]
pub trait Foreign: Send + Sync {
    fn registry(&self) -> Arc<dyn Registry>;
    async fn put(&self, key: &str, content: Vec<u8>);
}

/// Each kind of file of Peru's 1.0.0, with its limit in bytes.
pub const KINDS: [(&str, u64); 5] = [
    ("pe/channel.json", 1 << 20),
    ("pe/versions/1.0.0/manifest.json", 64 << 10),
    ("pe/versions/1.0.0/manifest.json.minisig", 32 << 10),
    ("pe/versions/1.0.0/cases.json", 4 << 20),
    ("pe/versions/1.0.0/rules.wasm", 32 << 20),
];

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

/// Replaces the golden cases by ones that a host can run. Those of [`artifact`] cannot be run.
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

pub async fn a_version_with_a_file_that_is_too_large_is_not_published(registry: Arc<dyn Registry>) {
    let whole = artifact(pe(), "1.0.0", b"component");
    let long = |limit: u64| "x".repeat(usize::try_from(limit + 1).unwrap());
    let mut manifest = whole.clone();
    manifest.manifest.source = Some(long(KINDS[1].1));
    let signature = Artifact { signature: Some(long(KINDS[2].1)), ..whole.clone() };
    let cases = Artifact { cases: long(KINDS[3].1), ..whole.clone() };
    let component = Artifact { component: long(KINDS[4].1).into(), ..whole.clone() };
    for ((key, limit), large) in KINDS.into_iter().skip(1).zip([manifest, signature, cases, component]) {
        let refused = registry.publish(&large).await.unwrap_err();
        let named = matches!(&refused, RegistryError::TooLarge { key: named, limit: said } if (&**named, *said) == (key, limit));
        assert!(named, "{key}: {refused}");
    }
    assert_eq!(registry.versions(pe()).await.unwrap(), []);
    registry.publish(&whole).await.unwrap();
}

pub async fn a_channel_that_is_too_large_is_not_written(registry: Arc<dyn Registry>) {
    publish(&*registry, pe(), &["1.0.0"]).await;
    let first = channel("1.0.0", None, 1);
    registry.set_channel(pe(), None, &first).await.unwrap();
    let note = ChangeNote { at: now(), by: "ana".into(), why: "x".repeat(1 << 20) };
    let refused = registry.set_channel(pe(), Some(&first), &first.pin(note).unwrap()).await.unwrap_err();
    assert!(matches!(refused, RegistryError::TooLarge { .. }), "{refused}");
    assert_eq!(registry.channel(pe()).await.unwrap(), Some(first));
}

pub async fn a_version_that_is_too_long_is_not_published(registry: Arc<dyn Registry>) {
    let long = format!("1.0.0-{}", "x".repeat(200));
    let refused = registry.publish(&artifact(pe(), &long, b"component")).await.unwrap_err().to_string();
    assert!(refused.ends_with("its version has 206 bytes; a version has at most 128"), "{refused}");
    assert_eq!(registry.versions(pe()).await.unwrap(), []);
}

/// Opens a registry with Peru and Chile, each with a version in use.
async fn two_countries(foreign: &dyn Foreign) -> Arc<dyn Registry> {
    let registry = foreign.registry();
    for country in [pe(), cl()] {
        publish(&*registry, country, &["1.0.0"]).await;
        registry.set_channel(country, None, &channel("1.0.0", None, 1)).await.unwrap();
    }
    registry
}

/// Reads Peru's channel, then its version. Returns the error.
async fn refusal(registry: &dyn Registry) -> RegistryError {
    match registry.channel(pe()).await {
        Ok(_) => registry.fetch(pe(), &version("1.0.0")).await.expect_err("it is read"),
        Err(error) => error,
    }
}

pub async fn a_file_is_read_up_to_the_limit_of_its_kind(foreign: Arc<dyn Foreign>) {
    let registry = two_countries(&*foreign).await;
    for (key, limit) in KINDS {
        let length = usize::try_from(limit).unwrap();
        foreign.put(key, vec![b' '; length + 1]).await;
        let refused = refusal(&*registry).await.to_string();
        assert_eq!(refused, format!("`{key}` in the registry is larger than {limit} bytes, the limit of such a file"));
        assert_eq!(registry.countries().await.unwrap(), [cl(), pe()]);

        let content = match key.rsplit('/').next().unwrap() {
            "channel.json" => written(&channel("1.0.0", None, 1)),
            "manifest.json" => artifact(pe(), "1.0.0", b"component").manifest.bytes(),
            _ => Vec::new(),
        };
        let padding = vec![b' '; length - content.len()];
        foreign.put(key, [content, padding].concat()).await;
        registry.channel(pe()).await.unwrap();
        registry.fetch(pe(), &version("1.0.0")).await.unwrap_or_else(|error| panic!("{key}: {error}"));
    }
}

pub async fn a_file_with_wrong_content_is_named_and_costs_no_other_country(foreign: Arc<dyn Foreign>) {
    let registry = two_countries(&*foreign).await;
    let whole = String::from_utf8(written(&channel("1.0.0", None, 1))).unwrap();
    let with = |from: &str, to: &str| whole.replace(from, to).into_bytes();
    let long = format!("\"1.0.0-{}\"", "x".repeat(100_000));
    let channels = [
        Vec::new(),
        b"[".repeat(500_000),
        b"{\"current\":".repeat(50_000),
        vec![0xff; 1000],
        with("\"current\"", &format!("\"{}\"", "x".repeat(100_000))),
        with("\"1.0.0\"", &long),
        with("\"sequence\": 1", "\"sequence\": 18446744073709551616"),
        with("\"sequence\": 1", "\"sequence\": -1"),
        with("\"sequence\": 1", "\"sequence\": 1, \"sequence\": 2"),
        with("\"history\": []", &format!("\"history\": [{}]", "1,".repeat(100_000))),
    ];
    for content in channels {
        foreign.put("pe/channel.json", content.clone()).await;
        let refused = registry.channel(pe()).await.unwrap_err();
        let words = refused.to_string();
        assert!(matches!(refused, RegistryError::Unreadable { .. }), "{words}");
        assert!(words.contains("`pe/channel.json`") && words.len() < 1_000, "{} bytes: {words:.200}", words.len());
        assert_eq!(registry.countries().await.unwrap(), [cl(), pe()]);
        assert_eq!(registry.channel(cl()).await.unwrap(), Some(channel("1.0.0", None, 1)));
    }
    foreign.put("pe/channel.json", whole.into_bytes()).await;
    for (key, content) in [
        ("pe/versions/1.0.0/manifest.json", b"[".repeat(60_000)),
        ("pe/versions/1.0.0/cases.json", vec![0xff]),
        ("pe/versions/1.0.0/manifest.json.minisig", vec![0xff]),
    ] {
        foreign.put(key, content).await;
        let words = refusal(&*registry).await.to_string();
        assert!(words.contains(&format!("`{key}`")), "{words}");
        registry.fetch(cl(), &version("1.0.0")).await.unwrap();
        foreign.put(key, artifact(pe(), "1.0.0", b"component").manifest.bytes()).await;
    }
}
