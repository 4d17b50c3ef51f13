//! Compares the cold start of the function `api` with that of a hello-world function that has the same SDK clients, by
//! turns. A start lasts from the start of the process to the response to its first request, which needs Peru's rules
//! and no table. The rules come from a bucket of an emulator, whose share of the time is printed, too.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use citas::aws::registry::S3Registry;
use citas::system::SystemClock;
use citas::wasm::WasmEngine;
use citas::wasm::judge::ChildJudge;
use citas_core::model::{Limits, digest};
use citas_core::ports::{Engine as _, NativeCodeStore as _, Registry as _};
use citas_core::release::precompile;
use citas_core::rules::LoadedRules;

use crate::lambda::{Lambda, get_event};
use crate::platform::{block_on, component, engine, loaded, pe, peru, peru_version, promote, publish};
use crate::report::{Report, millis};
use crate::timing::{median, time};
use crate::{hello_lambda, ministack};

const STARTS: usize = 15;

/// Maximum ratio to a hello-world function's time.
const TARGET: f64 = 1.5;

pub fn measure(report: &mut Report) {
    let bucket = Bucket::with_peru();
    let this = std::env::current_exe().expect("a program");
    let [mut theirs, mut ours, mut storage] = [const { Vec::new() }; 3];
    // The first start of each reads the program from the disk.
    for turn in 0..=STARTS {
        let hello = cold_start(bucket.function(this.as_os_str()).arg(hello_lambda::ARGUMENT), "/");
        let api = cold_start(&mut bucket.function(env!("CARGO_BIN_EXE_api").as_ref()), "/v1/pe/schema");
        let read = time(|| bucket.read_peru());
        if turn > 0 {
            theirs.push(hello);
            ours.push(api);
            storage.push(read);
        }
    }
    let [theirs, ours, storage] = [theirs, ours, storage].map(|mut times| median(&mut times));
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    let without = ours.saturating_sub(storage).as_secs_f64() / theirs.as_secs_f64();
    report.figure("cold start of a hello-world function", millis(theirs));
    report.figure("cold start of the api, Peru's rules loaded", millis(ours));
    report.target("  of hello-world's time", format!("× {ratio:.2}"), "× ≤ 1.5", ratio <= TARGET);
    report.figure("  of these the emulated S3, two objects", millis(storage));
    report.figure("  of hello-world's time without it", format!("× {without:.2}"));

    country(report, "pe", peru());
    country(report, "cl", &component("cl"));
}

/// Measures the loading of a country from native code and from its component.
fn country(report: &mut Report, name: &str, component: &[u8]) {
    let (engine, code) = (engine(), portable().compile(component).expect("native code"));
    let limits = Limits::default();
    let natively = || LoadedRules::native(&*engine, &code, &limits, digest(component)).expect("rules");
    let [mut natives, mut compiled] = [const { Vec::new() }; 2];
    for _ in 0..STARTS {
        natives.push(time(natively));
        compiled.push(time(|| loaded(component)));
    }
    let (native, compiled) = (median(&mut natives), median(&mut compiled));
    report.figure(format!("{name}: loaded from native code"), millis(native));
    report.figure(format!("{name}: compiled and loaded"), millis(compiled));
}

/// Starts a function and invokes it with `GET path`. Returns the time from the start to the response, which must be a
/// 200.
fn cold_start(function: &mut Command, path: &str) -> Duration {
    let started = Instant::now();
    let (response, at) = Lambda::start(function.stdout(Stdio::null())).invoke(&get_event(path, None));
    assert!(response["statusCode"] == 200, "{response}");
    at - started
}

fn portable() -> WasmEngine {
    WasmEngine::portable().expect("an engine")
}

/// A bucket with Peru published, compiled and in use.
struct Bucket {
    aws: SdkConfig,
    name: String,
}

impl Bucket {
    fn with_peru() -> Self {
        let bucket = Self { aws: block_on(ministack::aws().load()), name: ministack::unique("rules") };
        let client = aws_sdk_s3::Client::new(&bucket.aws);
        block_on(client.create_bucket().bucket(&bucket.name).send()).expect("a bucket");
        let registry = bucket.registry();
        publish(&registry, peru(), peru_version());
        let version = &peru_version().parse().expect("a version");
        let judge = ChildJudge::new(Path::new(env!("CARGO_BIN_EXE_citas"))).portable();
        block_on(precompile(&registry, &registry, &judge, &SystemClock, None, (pe(), version))).expect("native code");
        promote(&registry, peru_version(), 1);
        bucket
    }

    fn registry(&self) -> S3Registry {
        S3Registry::new(&aws_sdk_s3::Client::new(&self.aws), &self.name, "")
    }

    /// Returns a command with the environment of a function that uses this bucket.
    fn function(&self, program: &std::ffi::OsStr) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_ENDPOINT_URL", self.aws.endpoint_url().expect("an emulator"))
            .env("CITAS_KEY", "00".repeat(32))
            .env("CITAS_LINK_KEYS", "00".repeat(32))
            .env("CITAS_REGISTRY", format!("s3://{}", self.name));
        command
    }

    /// Reads the objects that a start reads, the channel and the native code, over an existing connection.
    fn read_peru(&self) {
        let registry = self.registry();
        block_on(async {
            let channel = registry.channel(pe()).await.expect("a registry").expect("a channel");
            let (component, _) = registry.component(pe(), &channel.current).await.expect("a digest");
            registry.native(engine().name(), &component).await.expect("a registry").expect("native code");
        });
    }
}
