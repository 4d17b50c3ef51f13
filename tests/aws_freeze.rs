//! Functions that Lambda freezes between two events: what they begin beside a request ends with it.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use citas::aws::registry::S3Registry;
use citas::system::SystemClock;
use citas_core::model::{CountryCode, Limits};
use citas_core::ports::Registry as _;
use citas_core::release::precompile;
use serde_json::{Value, json};

use crate::registry_contract::{artifact, channel, version, with_cases};
use crate::support::appointments::KEY;
use crate::support::components::{chaos, chaos_with, judge};
use crate::support::lambda::{Lambda, get_event};
use crate::support::ministack::{aws, unique};

fn xx() -> CountryCode {
    "xx".parse().unwrap()
}

/// Time between two requests. It exceeds the interval of looks, which is a second.
const FROZEN: Duration = Duration::from_millis(1100);

/// Maximum wait of a response for a look.
const LOOK_TIMEOUT: Duration = Duration::from_millis(300);

/// Delay of a request to the bucket, about that of S3. Without it a look might be over before the response.
const DELAY: Duration = Duration::from_millis(40);

/// Maximum number of requests whose look may take too long on a machine that other tests share.
const TRIES: u64 = 20;

/// A bucket with versions of a country, published and compiled. The first is in use.
pub struct Bucket {
    name: String,
    endpoint: String,
    registry: S3Registry,
}

impl Bucket {
    /// Returns a bucket with two versions of the chaos country.
    pub async fn new() -> Self {
        Self::of(xx(), [("1.0.0", chaos()), ("1.1.0", &chaos_with(&["later"]))]).await
    }

    /// Returns a bucket with these versions of a country.
    pub async fn of<const N: usize>(country: CountryCode, versions: [(&str, &[u8]); N]) -> Self {
        let (name, config) = (unique("rules"), aws().load().await);
        let client = aws_sdk_s3::Client::new(&config);
        client.create_bucket().bucket(&name).send().await.unwrap();
        let registry = S3Registry::new(&client, &name, "");
        for (number, component) in versions {
            let mut published = with_cases(artifact(country, number, component), "[]");
            published.manifest.limits = Limits::default();
            registry.publish(&published).await.unwrap();
            let version = &version(number);
            precompile(&registry, &registry, &judge().portable(), &SystemClock, None, (country, version))
                .await
                .unwrap();
        }
        registry.set_channel(country, None, &channel(versions[0].0, None, 1)).await.unwrap();
        Self { name, endpoint: config.endpoint_url().unwrap().to_owned(), registry }
    }

    /// Returns the function `api`, with a delay of every request.
    pub fn api(&self) -> Command {
        let mut command = self.function(env!("CARGO_BIN_EXE_api"));
        command.env("AWS_ENDPOINT_URL", delayed(&self.endpoint));
        command
    }

    /// Returns a function with these rules.
    pub fn function(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_ENDPOINT_URL", &self.endpoint)
            .env("CITAS_REGISTRY", format!("s3://{}", self.name))
            .env("CITAS_REFRESH_SECONDS", "1")
            .env("CITAS_KEY", KEY)
            .env("CITAS_LINK_KEYS", KEY)
            .env("CITAS_LOG", "warn")
            .stdout(Stdio::null());
        command
    }
}

/// Returns the address of a proxy that delays every request.
fn delayed(endpoint: &str) -> String {
    let server = endpoint.strip_prefix("http://").unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(&server).unwrap();
            let (mut responses, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || io::copy(&mut responses, &mut to_client));
            std::thread::spawn(move || forward_delayed(client, server));
        }
    });
    address
}

/// Forwards requests until either side closes the connection.
fn forward_delayed(mut client: TcpStream, mut server: TcpStream) {
    let mut bytes = [0; 16 << 10];
    while let Ok(count @ 1..) = client.read(&mut bytes) {
        std::thread::sleep(DELAY);
        if server.write_all(&bytes[..count]).is_err() {
            return;
        }
    }
}

#[test]
fn a_version_that_comes_into_use_while_a_function_is_frozen_decides_from_the_request_after_the_next() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bucket = runtime.block_on(Bucket::new());
    let function = Lambda::start(&mut bucket.api());
    let claims = json!({ "sub": "ana", "token_use": "access", "cognito:groups": "[platform]", "scope": "rules/read" });
    let rules = get_event("/v1/xx/rules", Some(claims));
    let in_force = || {
        let (response, at) = function.invoke(&rules);
        let body: Value = serde_json::from_str(response["body"].as_str().unwrap()).unwrap();
        (body["rules"]["version"].as_str().unwrap().to_owned(), at)
    };
    assert_eq!(in_force().0, "1.0.0");
    let (mut before, mut now) = ("1.0.0", "1.1.0");
    for sequence in 1..=TRIES {
        let [from, to] = [channel(before, None, sequence), channel(now, None, sequence + 1)];
        runtime.block_on(bucket.registry.set_channel(xx(), Some(&from), &to)).unwrap();
        std::thread::sleep(FROZEN);
        let begun = Instant::now();
        let (_, at) = in_force();
        if in_force().0 == now {
            return;
        }
        assert!(at - begun >= LOOK_TIMEOUT, "the response came after {:?} and did not wait for the look", at - begun);
        (before, now) = (now, before);
    }
    panic!("no look was over within {LOOK_TIMEOUT:?}");
}
