//! Rights to publish: a published version, altered in one way each, is refused with a reason of its own. This holds for
//! a folder and a bucket, for hosts that compile and for the function that compiles for others.

use std::path::Path;
use std::sync::Arc;

use citas::aws::registry::S3Registry;
use citas::local::registry::FolderRegistry;
use citas::system::SystemClock;
use citas::wasm::WasmEngine;
use citas::wasm::limits::CEILING;
use citas_core::model::{Artifact, ChangeNote, Channel, Limits, Manifest, digest};
use citas_core::ports::{Clock as _, NativeCodeStore, Registry, RegistryError};
use citas_core::release::{Catalogue, Followers, Following, Judge as _, Swapper, Trust, precompile};
use minisign::KeyPair;

use crate::registry_contract::{artifact, version};
use crate::support::appointments::pe;
use crate::support::components::{admission, chaos_with, component, folder, judge};
use crate::support::ministack::{aws, unique};
use crate::support::process::{Finished, run};

/// Keys of Peru's team, of Chile's team, and of a stranger.
struct Keys {
    peru: KeyPair,
    chile: KeyPair,
    stranger: KeyPair,
}

impl Keys {
    fn new() -> Self {
        let key = || KeyPair::generate_unencrypted_keypair().unwrap();
        Self { peru: key(), chile: key(), stranger: key() }
    }

    fn trust(&self) -> String {
        format!("pe {} Lima\n# and\ncl {}\n", self.peru.pk.to_base64(), self.chile.pk.to_base64())
    }
}

/// Updates the manifest's digests and signs it again.
fn signed(artifact: Artifact, key: &KeyPair) -> Artifact {
    let manifest = Manifest {
        digest: digest(&artifact.component),
        cases_digest: digest(artifact.cases.as_bytes()),
        ..artifact.manifest
    };
    let signature = minisign::sign(None, &key.sk, &manifest.bytes()[..], None, None).unwrap().into_string();
    Artifact { manifest, signature: Some(signature), ..artifact }
}

/// Publishes Peru's 3.0.0 with the command, as its team does.
async fn published(keys: &Keys) -> Artifact {
    let there = tempfile::tempdir().unwrap();
    let [registry, key, rules] = ["registry", "pe.key", "pe.wasm"].map(|name| there.path().join(name));
    std::fs::write(&key, keys.peru.sk.to_box(None).unwrap().into_string()).unwrap();
    std::fs::write(&rules, component("pe")).unwrap();
    publish(&registry, &rules, Some(&key)).expect(0);
    FolderRegistry::new(&registry).fetch(pe(), &version("3.0.0")).await.unwrap()
}

fn publish(registry: &Path, rules: &Path, key: Option<&Path>) -> Finished {
    let cases = folder("pe").join("cases");
    let [registry, rules, cases] = [registry, rules, &cases].map(|path| path.to_str().unwrap());
    let mut arguments = vec!["rules", "publish", rules, "--cases", cases, "--registry", registry];
    if let Some(key) = key {
        arguments.extend(["--key", key.to_str().unwrap()]);
    }
    run(&arguments)
}

/// Declares a memory limit in the manifest.
fn asking(artifact: Artifact, memory: u64) -> Artifact {
    let limits = Limits { memory: Some(memory), ..Limits::default() };
    Artifact { manifest: Manifest { limits, ..artifact.manifest }, ..artifact }
}

type Alter = fn(Artifact, &Keys) -> Artifact;

/// Alterations, each with its refusal; `None` if the version comes into force.
const ALTERED: [(Alter, Option<&str>); 14] = [
    (|artifact, _| artifact, None),
    (|artifact, keys| signed(asking(artifact, CEILING.memory), &keys.peru), None),
    (
        |artifact, keys| signed(asking(artifact, CEILING.memory + 1), &keys.peru),
        Some("it asks for a limit `memory` of 67108865; this host allows at most 67108864"),
    ),
    (|artifact, _| asking(artifact, CEILING.memory), Some("the signature does not fit the manifest")),
    (|artifact, _| Artifact { signature: None, ..artifact }, Some("it is not signed")),
    (|artifact, keys| signed(artifact, &keys.stranger), Some("a key that the trust file does not name")),
    (|artifact, keys| signed(artifact, &keys.chile), Some("a key that may sign for cl alone")),
    (|artifact, _| Artifact { signature: Some("of sorts".into()), ..artifact }, Some("no minisign signature")),
    (
        |artifact, _| {
            let manifest = Manifest { source: Some("elsewhere".into()), ..artifact.manifest };
            Artifact { manifest, ..artifact }
        },
        Some("the signature does not fit the manifest"),
    ),
    (
        |mut artifact, _| {
            artifact.component[5000] ^= 1;
            artifact
        },
        Some("rules.wasm` in the registry cannot be read: the digest is"),
    ),
    (
        |artifact, _| Artifact { cases: "[]".into(), ..artifact },
        Some("cases.json` in the registry cannot be read: the digest is"),
    ),
    (
        |artifact, keys| {
            let component = WasmEngine::portable().unwrap().compile(&artifact.component).unwrap();
            signed(Artifact { component, ..artifact }, &keys.peru)
        },
        Some("precompiled native code"),
    ),
    (
        |artifact, keys| {
            let cases = r#"[{ "name": "nothing is a booking", "now": "2026-11-24T15:00:00Z", "book": {}, "expect": { "plan": {} } }]"#;
            signed(Artifact { cases: cases.into(), ..artifact }, &keys.peru)
        },
        Some("it does not pass 1 of its golden cases"),
    ),
    (
        |artifact, keys| {
            let (component, cases) = (component("cl").to_vec(), "[]".to_owned());
            signed(Artifact { component, cases, ..artifact }, &keys.peru)
        },
        Some("the country is `cl` where the manifest says `pe`"),
    ),
];

async fn promoted(registry: &dyn Registry, artifact: &Artifact) {
    registry.publish(artifact).await.unwrap();
    let note = ChangeNote { at: SystemClock.now(), by: "a test".into(), why: "to see".into() };
    let channel = Channel::first(artifact.manifest.version.clone(), note);
    registry.set_channel(pe(), None, &channel).await.unwrap();
}

/// Returns the reason for which a host that follows this registry refuses Peru; `None` if it is in force.
async fn taken(registry: Arc<dyn Registry>, trust: String) -> Option<String> {
    let catalogue = Arc::new(Catalogue::default());
    let swapper = Swapper::new(admission(), catalogue.clone(), Arc::new(SystemClock));
    let trust = move || trust.parse::<Trust>().map_err(|error| error.to_string());
    let following = Following::new(registry, Arc::new(swapper), None).trusting(Some(Box::new(trust)));
    Followers::new(following).look().await;
    let entry = catalogue.entry(pe()).expect("the country is known");
    assert_eq!(entry.rules.is_some(), entry.refused.is_none());
    entry.refused.map(|refused| refused.why)
}

fn assert_said(said: Option<&str>, expected: Option<&str>) {
    match (said, expected) {
        (None, None) => {}
        (Some(said), Some(expected)) => assert!(said.contains(expected), "{said}; expected {expected}"),
        _ => panic!("said {said:?}; expected {expected:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_takes_from_a_folder_what_was_published_and_nothing_altered() {
    let keys = Keys::new();
    let published = published(&keys).await;
    for (alter, expected) in ALTERED {
        let there = tempfile::tempdir().unwrap();
        let registry = Arc::new(FolderRegistry::new(there.path()));
        promoted(&*registry, &alter(published.clone(), &keys)).await;
        assert_said(taken(registry, keys.trust()).await.as_deref(), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_altered_in_a_bucket_is_taken_or_compiled() {
    let keys = Keys::new();
    let (published, trust) = (published(&keys).await, keys.trust().parse::<Trust>().unwrap());
    let client = aws_sdk_s3::Client::new(&aws().load().await);
    for (alter, expected) in ALTERED {
        let bucket = unique("signed");
        client.create_bucket().bucket(&bucket).send().await.unwrap();
        let registry = Arc::new(S3Registry::new(&client, &bucket, ""));
        promoted(&*registry, &alter(published.clone(), &keys)).await;
        assert_said(taken(registry.clone(), keys.trust()).await.as_deref(), expected);

        let (version, portable) = (version("3.0.0"), judge().portable());
        let compiled =
            precompile(&*registry, &*registry, &portable, &SystemClock, Some(&trust), (pe(), &version)).await;
        assert_said(compiled.err().map(|error| error.to_string()).as_deref(), expected);
        let native = registry.native(portable.engine_name(), &published.manifest.digest).await;
        assert_eq!(native.unwrap().is_some(), expected.is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trust_file_that_cannot_be_read_keeps_what_is_in_force_and_is_tried_again() {
    let (keys, there) = (Keys::new(), tempfile::tempdir().unwrap());
    let (registry, file) = (Arc::new(FolderRegistry::new(there.path())), there.path().join("trust"));
    promoted(&*registry, &published(&keys).await).await;
    let catalogue = Arc::new(Catalogue::default());
    let swapper = Swapper::new(admission(), catalogue.clone(), Arc::new(SystemClock));
    let read = file.clone();
    let trust =
        move || std::fs::read_to_string(&read).map_err(|error| error.to_string())?.parse().map_err(|_| "no".into());
    let following = Following::new(registry, Arc::new(swapper), None).trusting(Some(Box::new(trust)));
    let mut follower = Followers::new(following);
    follower.look().await;
    let refused = catalogue.entry(pe()).unwrap().refused.unwrap();
    assert!(refused.why.contains("the trust file"), "{}", refused.why);
    std::fs::write(&file, keys.trust()).unwrap();
    follower.look().await;
    assert!(catalogue.rules(pe()).is_some());
}

#[test]
fn versions_only_rise() {
    let there = tempfile::tempdir().unwrap();
    let (registry, rules) = (there.path().join("registry"), there.path().join("pe.wasm"));
    std::fs::write(&rules, component("pe")).unwrap();
    let higher = artifact(pe(), "3.0.1", b"a component");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(FolderRegistry::new(&registry).publish(&higher)).unwrap();
    let told = publish(&registry, &rules, None).expect(1);
    assert!(told.err.contains("version 3.0.0 of pe is not above 3.0.1"), "{}", told.err);
    let absent = runtime.block_on(FolderRegistry::new(&registry).fetch(pe(), &version("3.0.0"))).unwrap_err();
    assert!(matches!(absent, RegistryError::Absent { .. }));
}

#[test]
fn a_key_is_made_once_and_is_its_owners_alone() {
    let there = tempfile::tempdir().unwrap();
    let key = there.path().join("pe.key");
    let keygen = || run(&["rules", "keygen", "pe", "--output", key.to_str().unwrap(), "--json"]);
    let told: serde_json::Value = serde_json::from_str(&keygen().expect(0).out).unwrap();
    assert!(told["trust"].as_str().unwrap().parse::<Trust>().is_ok(), "{told}");
    let before = std::fs::read_to_string(&key).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert!(keygen().expect(1).out.contains("cannot be written"));
    assert_eq!(std::fs::read_to_string(&key).unwrap(), before);
}

/// Hosts that require signatures would refuse it, and its version could not be published again.
#[test]
fn after_a_signed_version_an_unsigned_one_is_not_published() {
    let there = tempfile::tempdir().unwrap();
    let (registry, key) = (there.path().join("registry"), there.path().join("xx.key"));
    run(&["rules", "keygen", "xx", "--output", key.to_str().unwrap()]).expect(0);
    let publish = |file: &str, component: &[u8], key: &[&str]| {
        let file = there.path().join(file);
        std::fs::write(&file, component).unwrap();
        let cases = folder("xx").join("cases");
        let [file, cases, registry] = [&file, &cases, &registry].map(|path| path.to_str().unwrap());
        run(&[&["rules", "publish", file, "--cases", cases, "--registry", registry], key].concat())
    };
    let signed = ["--key", key.to_str().unwrap()];
    publish("first.wasm", component("xx"), &signed).expect(0);
    let later = chaos_with(&["later"]);
    let refused = publish("later.wasm", &later, &[]).expect(1).err;
    assert!(refused.contains("1.0.0 of xx is signed, and this is not"), "{refused}");
    publish("later.wasm", &later, &signed).expect(0);
}

#[test]
fn a_key_that_will_not_do_is_refused_in_plain_words() {
    let there = tempfile::tempdir().unwrap();
    let (registry, rules) = (there.path().join("registry"), there.path().join("pe.wasm"));
    std::fs::write(&rules, component("pe")).unwrap();
    let key = there.path().join("pe.key");
    let told = publish(&registry, &rules, Some(&key)).expect(1).err;
    assert!(told.ends_with("pe.key; name one that `citas rules keygen` made\n"), "{told}");
    for text in ["no key", "untrusted comment: a key\nno base64\n"] {
        std::fs::write(&key, text).unwrap();
        let told = publish(&registry, &rules, Some(&key)).expect(1).err;
        assert!(told.ends_with("makes one, and `minisign -C -W` removes a password\n"), "{told}");
    }
    let trust = there.path().join("trust");
    let verify = || {
        std::fs::create_dir_all(&registry).unwrap();
        let [registry, trust] = [&registry, &trust].map(|path| path.to_str().unwrap());
        run(&["rules", "verify", "pe", "--trust", trust, "--registry", registry]).expect(1).err
    };
    assert!(verify().ends_with("trust\n") && verify().contains("there is no trust file "), "{}", verify());
    std::fs::write(&trust, "pe RWQf6\n").unwrap();
    assert!(
        verify().contains("line 1: `RWQf6` is no public key: one has 56 characters and begins with RW"),
        "{}",
        verify()
    );
}
