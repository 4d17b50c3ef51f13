//! The registry in a bucket: the contract, network faults, and other writers.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryPartition;
use citas::aws::registry::S3Registry;
use citas_core::model::{Artifact, Limits};
use citas_core::ports::{NativeCodeStore as _, Readiness, Registry, RegistryError};
use futures::{StreamExt as _, stream};

use crate::registry_contract::{
    Foreign, KINDS, artifact, channel, hostile_registry_contract, registry_contract, version,
};
use crate::support::appointments::{cl, pe};
use crate::support::components::{component, folder};
use crate::support::eventually::eventually;
use crate::support::faults::{Fault, Faults};
use crate::support::ministack::{aws, unique};
use crate::support::process::{Process, citas, token};
use crate::support::requests;

mod contract {
    use super::*;

    async fn open() -> (Arc<dyn Registry>, ()) {
        let bucket = Bucket::new().await;
        (Arc::new(S3Registry::new(&bucket.client, &bucket.name, "")), ())
    }

    registry_contract!(open);
}

mod hostile_contract {
    use super::*;

    #[async_trait]
    impl Foreign for Bucket {
        fn registry(&self) -> Arc<dyn Registry> {
            Arc::new(Bucket::registry(self))
        }

        async fn put(&self, key: &str, content: Vec<u8>) {
            let put = self.client.put_object().bucket(&self.name).key(key).body(content.into());
            put.send().await.unwrap();
        }
    }

    async fn open() -> (Arc<dyn Foreign>, ()) {
        (Arc::new(Bucket::new().await), ())
    }

    hostile_registry_contract!(open);
}

/// An empty bucket, and a client without faults.
struct Bucket {
    name: String,
    config: SdkConfig,
    client: Client,
}

impl Bucket {
    async fn new() -> Self {
        let (name, config) = (unique("rules"), aws().load().await);
        let client = Client::new(&config);
        client.create_bucket().bucket(&name).send().await.unwrap();
        Self { name, config, client }
    }

    /// Returns the registry in the bucket, without faults.
    fn registry(&self) -> S3Registry {
        S3Registry::new(&self.client, &self.name, "")
    }

    /// Returns the registry in the bucket, with requests that meet `faults` and with a retry quota of its own.
    fn through(&self, faults: &Faults) -> S3Registry {
        let config = aws_sdk_s3::config::Builder::from(&faults.over(&self.config));
        let client = Client::from_conf(config.retry_partition(RetryPartition::new(unique("retries"))).build());
        S3Registry::new(&client, &self.name, "")
    }

    async fn keys(&self) -> Vec<String> {
        let listed = self.client.list_objects_v2().bucket(&self.name).send().await.unwrap();
        listed.contents().iter().map(|object| object.key().unwrap().to_owned()).collect()
    }

    async fn put(&self, key: &str, content: &'static [u8]) {
        let put = self.client.put_object().bucket(&self.name).key(key).body(content.to_vec().into());
        put.send().await.unwrap();
    }

    /// Declares that hosts compile for themselves.
    async fn for_compiling_hosts(self) -> Self {
        self.put("native/engines.json", br#"{"engines":[]}"#).await;
        self
    }
}

fn first() -> Artifact {
    artifact(pe(), "1.0.0", b"component")
}

/// Maximum time of a listing, on a machine that other tests share. A listing waits a second for a channel.
const LISTED_WITHIN: Duration = Duration::from_secs(20);

/// Creates a bucket with Peru's 1.0.0 in use.
async fn peru() -> Bucket {
    let bucket = Bucket::new().await;
    bucket.registry().publish(&first()).await.unwrap();
    bucket.registry().set_channel(pe(), None, &channel("1.0.0", None, 1)).await.unwrap();
    bucket
}

#[tokio::test]
async fn the_keys_are_those_of_the_folder_below_the_prefix() {
    let bucket = Bucket::new().await;
    let registry = S3Registry::new(&bucket.client, &bucket.name, "citas/test");
    registry.publish(&first()).await.unwrap();
    registry.set_channel(pe(), None, &channel("1.0.0", None, 1)).await.unwrap();
    registry.put_native("wasmtime-48", "sha256:ab", b"code").await.unwrap();
    let expected = [
        "citas/test/native/wasmtime-48/sha256:ab.cwasm",
        "citas/test/pe/channel.json",
        "citas/test/pe/versions/1.0.0/cases.json",
        "citas/test/pe/versions/1.0.0/manifest.json",
        "citas/test/pe/versions/1.0.0/manifest.json.minisig",
        "citas/test/pe/versions/1.0.0/rules.wasm",
    ];
    assert_eq!(bucket.keys().await, expected);
    assert_eq!(registry.countries().await.unwrap(), [pe()]);
    assert_eq!(registry.versions(pe()).await.unwrap(), [version("1.0.0")]);
    assert_eq!(bucket.registry().countries().await.unwrap(), [], "another prefix is another registry");
}

#[tokio::test]
async fn an_unchanged_channel_is_not_sent_again() {
    let bucket = peru().await;
    let listening = Faults::none();
    let registry = bucket.through(&listening);
    for _ in 0..3 {
        assert_eq!(registry.channel(pe()).await.unwrap(), Some(channel("1.0.0", None, 1)));
    }
    let second = channel("1.0.0", Some("1.0.0"), 2);
    bucket.registry().set_channel(pe(), Some(&channel("1.0.0", None, 1)), &second).await.unwrap();
    assert_eq!(registry.channel(pe()).await.unwrap().as_ref(), Some(&second));
    assert_eq!(registry.channel(pe()).await.unwrap().as_ref(), Some(&second));
    let key = format!("GET /{}/pe/channel.json", bucket.name);
    assert_eq!(listening.heard(), [200, 304, 304, 200, 304].map(|status| format!("{key} {status}")));
}

#[tokio::test]
async fn the_component_in_use_needs_no_manifest_unless_it_has_limits_of_its_own() {
    let bucket = Bucket::new().await;
    let listening = Faults::none();
    let registry = bucket.through(&listening);
    let roomy = artifact(pe(), "1.0.0", b"roomy").manifest;
    let mut standard = artifact(pe(), "1.1.0", b"standard");
    standard.manifest.limits = Limits::default();
    registry.publish(&artifact(pe(), "1.0.0", b"roomy")).await.unwrap();
    registry.publish(&standard).await.unwrap();
    let told = async || {
        let now = registry.channel(pe()).await.unwrap().unwrap();
        let heard = listening.heard().len();
        let component = registry.component(pe(), &now.current).await.unwrap();
        (component, listening.heard().len() - heard)
    };

    let first = channel("1.0.0", None, 1);
    registry.set_channel(pe(), None, &first).await.unwrap();
    assert_eq!(told().await, ((roomy.digest, roomy.limits), 1));
    let second = channel("1.1.0", Some("1.0.0"), 2);
    registry.set_channel(pe(), Some(&first), &second).await.unwrap();
    let known = (standard.manifest.digest, Limits::default());
    assert_eq!(told().await, (known.clone(), 0));

    // A channel without the component's digest beside it, as older versions or people write it.
    let by_hand = citas_core::model::written(&channel("1.1.0", None, 3));
    let put = bucket.client.put_object().bucket(&bucket.name).key("pe/channel.json").body(by_hand.into());
    put.send().await.unwrap();
    assert_eq!(told().await, (known, 1));
}

#[tokio::test]
async fn versions_beyond_one_page_are_listed() {
    let bucket = Bucket::new().await;
    let put = async |patch| bucket.put(&format!("pe/versions/1.0.{patch}/manifest.json"), b"{}").await;
    stream::iter(0..1001).for_each_concurrent(32, put).await;
    assert_eq!(bucket.registry().versions(pe()).await.unwrap().len(), 1001);
}

#[tokio::test]
async fn an_interrupted_version_is_none_until_it_is_published_again() {
    // Request 0 looks for the version. Requests 1 to 3 write the component, the cases and the signature. The manifest,
    // which makes it a version, comes last.
    for written in 1..4 {
        let bucket = Bucket::new().await;
        let interrupted = bucket.through(&Faults::from(written, Fault::Cut)).publish(&first()).await;
        assert!(matches!(interrupted, Err(RegistryError::Unavailable(_))), "{interrupted:?}");
        let registry = bucket.registry();
        assert_eq!(registry.versions(pe()).await.unwrap(), []);
        let absent = registry.fetch(pe(), &version("1.0.0")).await;
        assert!(matches!(absent, Err(RegistryError::Absent { .. })), "{absent:?}");
        let absent = registry.set_channel(pe(), None, &channel("1.0.0", None, 1)).await;
        assert!(matches!(absent, Err(RegistryError::Absent { .. })), "{absent:?}");

        registry.publish(&first()).await.unwrap();
        assert_eq!(registry.fetch(pe(), &version("1.0.0")).await.unwrap(), first());
    }
}

#[tokio::test]
async fn what_an_interruption_left_is_never_written_over() {
    let bucket = Bucket::new().await;
    bucket.through(&Faults::from(2, Fault::Cut)).publish(&first()).await.unwrap_err();
    let other = bucket.registry().publish(&artifact(pe(), "1.0.0", b"other")).await;
    assert!(matches!(other, Err(RegistryError::Exists { .. })), "{other:?}");
    assert_eq!(bucket.keys().await, ["pe/versions/1.0.0/rules.wasm"]);
    bucket.registry().publish(&first()).await.unwrap();
}

#[tokio::test]
async fn a_write_that_conflicts_with_another_is_tried_again_or_says_so() {
    const CONFLICT: Fault = Fault::No(409, "ConditionalRequestConflict");
    let bucket = Bucket::new().await;
    bucket.through(&Faults::at(1, CONFLICT)).publish(&first()).await.unwrap();
    assert_eq!(bucket.registry().fetch(pe(), &version("1.0.0")).await.unwrap(), first());

    let always = || Faults::when(|_, request| (request.method() == "PUT").then_some(CONFLICT));
    let never = bucket.through(&always()).publish(&artifact(pe(), "1.1.0", b"next")).await;
    assert!(matches!(never, Err(RegistryError::Unavailable(_))), "{never:?}");
    let kept = bucket.through(&always()).put_native("engine", "sha256:ab", b"code").await;
    assert!(matches!(kept, Err(RegistryError::Unavailable(_))), "{kept:?}");
    let changed = bucket.through(&always()).set_channel(pe(), None, &channel("1.0.0", None, 1)).await;
    assert!(matches!(changed, Err(RegistryError::Conflict(_))), "{changed:?}");
    assert_eq!(bucket.registry().channel(pe()).await.unwrap(), None);
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_stalls_is_no_artefact() {
    let bucket = peru().await;
    for fault in [Fault::Half, Fault::Stalled] {
        let during = fault.clone();
        let faults = Faults::when(move |_, request| request.uri().contains("rules.wasm").then(|| during.clone()));
        let begun = Instant::now();
        let broken = bucket.through(&faults).fetch(pe(), &version("1.0.0")).await.unwrap_err().to_string();
        assert!(broken.contains("`pe/versions/1.0.0/rules.wasm`"), "{fault:?}: {broken}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{fault:?}");
    }
}

#[tokio::test]
async fn a_channel_that_does_not_come_holds_up_no_list_of_countries() {
    let bucket = peru().await;
    bucket.registry().publish(&artifact(cl(), "1.0.0", b"chile")).await.unwrap();
    bucket.registry().set_channel(cl(), None, &channel("1.0.0", None, 1)).await.unwrap();
    let faults = Faults::when(|_, request| request.uri().contains("cl/channel.json").then_some(Fault::Silence));
    // A client that waits for long.
    let patient = TimeoutConfig::builder().operation_attempt_timeout(LISTED_WITHIN * 3).build();
    let config = faults.over(&bucket.config).into_builder().timeout_config(patient).build();
    let registry = S3Registry::new(&Client::new(&config), &bucket.name, "");
    let listed = tokio::time::timeout(LISTED_WITHIN, registry.countries()).await.expect("it waits for no channel");
    assert_eq!(listed.unwrap(), [cl(), pe()], "whoever asks for the channel learns what is wrong with it");
}

#[tokio::test]
async fn what_is_missing_or_cannot_be_read_is_named() {
    let bucket = peru().await;
    bucket.put("pe/channel.json", br#"{"current":"1.0.0","sequence":1,"colour":"red"}"#).await;
    let unreadable = bucket.registry().channel(pe()).await.unwrap_err().to_string();
    assert!(unreadable.starts_with("`pe/channel.json` in the registry cannot be read: "), "{unreadable}");

    let cases = bucket.client.delete_object().bucket(&bucket.name).key("pe/versions/1.0.0/cases.json");
    cases.send().await.unwrap();
    let missing = bucket.registry().fetch(pe(), &version("1.0.0")).await.unwrap_err().to_string();
    assert!(missing.starts_with("`pe/versions/1.0.0/cases.json` in the registry cannot be read: "), "{missing}");

    let nowhere = S3Registry::new(&bucket.client, "no-such-bucket", "");
    for error in [
        nowhere.channel(pe()).await.unwrap_err(),
        nowhere.versions(pe()).await.unwrap_err(),
        nowhere.publish(&first()).await.unwrap_err(),
    ] {
        assert_eq!(error.to_string(), "the registry does not answer: S3 answers 404 NoSuchBucket");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_to_be() {
    let closed = aws().endpoint_url("http://127.0.0.1:9").load().await;
    let registry = S3Registry::new(&Client::new(&Faults::none().over(&closed)), "rules", "");
    let said = registry.channel(pe()).await.unwrap_err().to_string();
    assert!(said.starts_with("the registry does not answer: S3 was not reached: client error"), "{said}");
}

#[tokio::test]
async fn native_code_is_what_was_written_or_none() {
    let bucket = Bucket::new().await;
    let registry = bucket.registry();
    assert_eq!(registry.native("engine", "sha256:ab").await.unwrap(), None);
    let code: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    registry.put_native("engine", "sha256:ab", &code).await.unwrap();
    assert_eq!(registry.native("engine", "sha256:ab").await.unwrap(), Some(code.clone()));
    registry.put_native("engine", "sha256:ab", &code).await.unwrap();
    assert_eq!(registry.native("other", "sha256:ab").await.unwrap(), None);

    let key = "native/engine/sha256:ab.cwasm";
    let altered = code.iter().map(|byte| byte ^ 1).collect::<Vec<u8>>();
    let metadata = [None, Some(citas_core::model::digest(&code))];
    for promised in metadata {
        let put = bucket.client.put_object().bucket(&bucket.name).key(key).body(altered.clone().into());
        put.set_metadata(promised.map(|digest| [("sha256".to_owned(), digest)].into())).send().await.unwrap();
        let refused = registry.native("engine", "sha256:ab").await.unwrap_err();
        assert!(matches!(refused, RegistryError::Unreadable { .. }), "{refused}");
        assert!(refused.to_string().contains("it is damaged or altered"), "{refused}");
    }
}

async fn readiness(bucket: &Bucket, name: &str) -> Readiness {
    bucket.registry().readiness(pe(), &version(name)).await.unwrap()
}

#[tokio::test]
async fn a_version_is_ready_once_every_engine_that_hosts_run_can_load_it() {
    let bucket = peru().await;
    let registry = bucket.registry();
    let next = artifact(pe(), "1.1.0", b"next");
    registry.publish(&next).await.unwrap();
    let (old, new) = (&first().manifest.digest, &next.manifest.digest);
    assert_eq!(readiness(&bucket, "1.0.0").await, Readiness::EngineUnknown, "nothing is compiled");
    registry.put_native("engine-1", old, b"code").await.unwrap();
    assert_eq!(readiness(&bucket, "1.0.0").await, Readiness::EngineUnknown, "nobody is known to load that");
    registry.add_engine("engine-1").await.unwrap();
    assert_eq!(readiness(&bucket, "1.0.0").await, Readiness::Ready);
    assert_eq!(readiness(&bucket, "1.1.0").await, Readiness::NotCompiled);

    // Hosts are deployed with another engine: functions run either.
    registry.add_engine("engine-2").await.unwrap();
    registry.put_native("engine-2", new, b"code").await.unwrap();
    assert_eq!(readiness(&bucket, "1.0.0").await, Readiness::NotCompiled);
    assert_eq!(readiness(&bucket, "1.1.0").await, Readiness::NotCompiled);
    registry.put_native("engine-2", old, b"code").await.unwrap();
    assert_eq!(readiness(&bucket, "1.0.0").await, Readiness::Ready);

    registry.replace_engines("engine-2").await.unwrap();
    assert_eq!(readiness(&bucket, "1.1.0").await, Readiness::Ready);
    registry.replace_engines("engine-1").await.unwrap();
    registry.put_refused("engine-1", &next.manifest, "no reason").await.unwrap();
    assert_eq!(readiness(&bucket, "1.1.0").await, Readiness::Refused("no reason".into()));
    assert_eq!(bucket.keys().await.iter().filter(|key| key.ends_with("engines.json")).count(), 1);
}

#[tokio::test]
async fn engines_that_are_added_at_once_are_all_kept() {
    let bucket = peru().await;
    let add = async |engine: &str| bucket.registry().add_engine(engine).await.unwrap();
    futures::join!(add("engine-1"), add("engine-2"), add("engine-1"));
    let object = bucket.client.get_object().bucket(&bucket.name).key("native/engines.json").send().await.unwrap();
    let written = object.body.collect().await.unwrap().into_bytes();
    assert_eq!(
        String::from_utf8_lossy(&written).split_whitespace().collect::<String>(),
        r#"{"engines":["engine-1","engine-2"]}"#
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_puts_nothing_into_use_that_the_deployed_engine_cannot_load() {
    let bucket = peru().await;
    let registry = bucket.registry();
    let next = artifact(pe(), "1.1.0", b"next");
    registry.publish(&next).await.unwrap();
    let current = async || registry.channel(pe()).await.unwrap().unwrap().current.to_string();
    let refused = |arguments: &[&str], why: &str| {
        let done = rules(&bucket, arguments);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.code() == Some(1) && said.contains(why), "{arguments:?}: {said}");
    };
    let promote = ["promote", "pe", "1.1.0", "--why", "a test"];
    refused(&promote, "the registry has no `native/engines.json`");

    registry.add_engine("engine").await.unwrap();
    registry.put_refused("engine", &next.manifest, "it takes too long").await.unwrap();
    refused(&promote, "it takes too long");
    assert_eq!(current().await, "1.0.0");

    // The engine was changed after 1.1.0 came into use, and the one before does not suit it.
    let first_channel = channel("1.0.0", None, 1);
    registry.set_channel(pe(), Some(&first_channel), &channel("1.1.0", Some("1.0.0"), 2)).await.unwrap();
    registry.put_refused("engine", &first().manifest, "it has an import").await.unwrap();
    refused(&["rollback", "pe", "--why", "a test"], "it has an import");
    assert_eq!(current().await, "1.1.0");
}

/// Makes a command line use the bucket as its registry.
fn on<'a>(bucket: &Bucket, command: &'a mut Command) -> &'a mut Command {
    command
        .args(["--registry", &format!("s3://{}", bucket.name)])
        .env("AWS_ENDPOINT_URL", bucket.config.endpoint_url().unwrap())
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
}

fn rules(bucket: &Bucket, arguments: &[&str]) -> Output {
    on(bucket, &mut citas(&[&["rules"], arguments].concat())).output().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_puts_a_version_of_a_bucket_into_use_and_takes_it_back() {
    let bucket = peru().await.for_compiling_hosts().await;
    bucket.registry().publish(&artifact(pe(), "1.1.0", b"next")).await.unwrap();
    let current = async || bucket.registry().channel(pe()).await.unwrap().unwrap().current.to_string();
    for (arguments, status, now) in [
        (&["promote", "pe", "1.1.0", "--why", "a test"][..], 0, "1.1.0"),
        (&["promote", "pe", "1.2.0", "--why", "a test"], 1, "1.1.0"),
        (&["rollback", "pe", "--why", "a test"], 0, "1.0.0"),
        (&["rollback", "pe", "--why", "a test"], 1, "1.0.0"),
    ] {
        let done = rules(&bucket, arguments);
        assert_eq!(done.status.code(), Some(status), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        assert_eq!(current().await, now, "{arguments:?}");
    }
    let said = String::from_utf8(rules(&bucket, &["status"]).stdout).unwrap();
    assert!(said.contains("pe: 1.0.0 to be in use") && said.contains("published: 1.0.0, 1.1.0"), "{said}");
}

#[test]
fn a_host_on_a_bucket_takes_up_what_is_put_into_use() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bucket = runtime.block_on(async { Bucket::new().await.for_compiling_hosts().await });
    let put_into_use = |country: &str, version: &str| {
        let files = tempfile::tempdir().unwrap();
        let (file, cases) = (files.path().join("rules.wasm"), folder(country).join("cases"));
        std::fs::write(&file, component(country)).unwrap();
        let [file, cases] = [&file, &cases].map(|path| path.to_str().unwrap());
        for arguments in [&["publish", file, "--cases", cases][..], &["promote", country, version, "--why", "a test"]] {
            let done = rules(&bucket, arguments);
            assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        }
    };
    put_into_use("xx", "1.0.0");
    let data = tempfile::tempdir().unwrap();
    let there = data.path().to_str().unwrap();
    let host = Process::spawn(on(&bucket, &mut citas(&["serve", "--listen", "127.0.0.1:0", "--data", there])));
    let ana = host.client(&token(data.path(), &[]));
    ana.get("/v1/xx/schema").expect(200);
    ana.get("/v1/pe/schema").expect(404);
    put_into_use("pe", &crate::support::components::version("pe"));
    eventually("Peru is in force", Duration::from_secs(30), || (ana.get("/v1/pe/schema").status == 200).then_some(()));
    ana.booked("pe", &requests::pe(1));
}

/// A server that answers every request with this head and a body that never ends.
struct Endless {
    endpoint: String,
    /// Bytes of bodies that clients took or that wait in connections' buffers.
    sent: Arc<AtomicU64>,
}

impl Endless {
    fn new(head: &'static str, opening: &'static str, chunked: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let sent = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&sent);
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let counted = Arc::clone(&counted);
                std::thread::spawn(move || answer_without_end(connection, head, opening, chunked, &counted));
            }
        });
        Self { endpoint, sent }
    }

    async fn registry(&self) -> S3Registry {
        let config = aws().endpoint_url(&self.endpoint).load().await;
        let config = aws_sdk_s3::config::Builder::from(&Faults::none().over(&config)).force_path_style(true);
        let client = Client::from_conf(config.retry_partition(RetryPartition::new(unique("retries"))).build());
        S3Registry::new(&client, "rules", "")
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// Answers until the client closes the connection.
fn answer_without_end(mut to: TcpStream, head: &str, opening: &str, chunked: bool, sent: &AtomicU64) {
    let mut request = Vec::new();
    let mut bytes = [0; 4096];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match to.read(&mut bytes) {
            Ok(count @ 1..) => request.extend_from_slice(&bytes[..count]),
            _ => return,
        }
    }
    let piece = if chunked { format!("10000\r\n{}\r\n", " ".repeat(65_536)) } else { " ".repeat(65_536) };
    let opening = if chunked { format!("{:x}\r\n{opening}\r\n", opening.len()) } else { opening.to_owned() };
    let mut written = to.write_all(format!("HTTP/1.1 {head}\r\n\r\n{opening}").as_bytes());
    while written.is_ok() {
        sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
        written = to.write_all(piece.as_bytes());
    }
}

/// Maximum number of bytes in the buffers of one connection of this machine and of its client.
const UNDER_WAY: u64 = 16 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_without_end_is_read_to_its_limit_and_one_that_says_so_is_not_read() {
    let native = "native/engine/sha256:ab.cwasm";
    for (key, limit) in [KINDS[0], KINDS[1], (native, 256 << 20)] {
        let honest = Endless::new("200 OK\r\nContent-Length: 1099511627776", "", false);
        let silent = Endless::new("200 OK\r\nTransfer-Encoding: chunked", " ", true);
        for (server, most) in [(honest, UNDER_WAY), (silent, limit + UNDER_WAY)] {
            let registry = server.registry().await;
            let begun = Instant::now();
            let refused = match key {
                "pe/channel.json" => registry.channel(pe()).await.map(drop),
                "pe/versions/1.0.0/manifest.json" => registry.manifest(pe(), &version("1.0.0")).await.map(drop),
                _ => registry.native("engine", "sha256:ab").await.map(drop),
            };
            let refused = refused.unwrap_err();
            let named = matches!(&refused, RegistryError::TooLarge { key: named, limit: said } if (&**named, *said) == (key, limit));
            assert!(named, "{refused}");
            assert!(begun.elapsed() < Duration::from_mins(1), "{key}: {:?}", begun.elapsed());
            assert!(server.sent() <= most, "{key}: {} bytes were sent", server.sent());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_or_an_error_without_end_is_an_error() {
    let listing = "<?xml version=\"1.0\"?><ListBucketResult><Name>rules</Name>";
    let error = "<Error><Code>InternalError</Code><Message>";
    for (head, opening) in [
        ("200 OK\r\nTransfer-Encoding: chunked", listing),
        ("500 Internal Server Error\r\nTransfer-Encoding: chunked", error),
        ("403 Forbidden\r\nTransfer-Encoding: chunked", error),
    ] {
        let server = Endless::new(head, opening, true);
        let registry = server.registry().await;
        let refused = registry.versions(pe()).await.unwrap_err();
        assert!(matches!(refused, RegistryError::Unavailable(_)), "{refused}");
        // Each attempt may read eight megabytes.
        assert!(server.sent() <= 3 * ((8 << 20) + UNDER_WAY), "{head}: {} bytes were sent", server.sent());
        if !head.starts_with("200") {
            let sent = server.sent();
            registry.channel(pe()).await.unwrap_err();
            assert!(server.sent() - sent <= 3 * ((8 << 20) + UNDER_WAY), "{head}");
        }
    }
}
