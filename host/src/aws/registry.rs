//! The registry in an S3 bucket, under an optional prefix, with the same keys as in a folder. S3 writes an object as a
//! whole or not at all, and on condition. Operations that write several objects order them so that the last one makes
//! the change effective. Does not look into a component.
//!
//! - A version's manifest is written last; the version exists once its manifest does. Publishing the same bytes again
//!   completes an interrupted publication.
//! - A channel is read with `If-None-Match`: an unchanged one costs a 304 without a body. Its metadata has the digest
//!   of the component in use, so that a starting function reads two objects in sequence, not three.
//! - `native/` holds the output of `precompile`. An object is returned only if its bytes match the digest in its
//!   metadata. `native/engines.json` names the engines that hosts run: a version comes into use once all of them can
//!   load it.
//!
//! A country's team may write its part of the bucket, so an object may have any size. An object whose declared length
//! exceeds the limit of its kind is not read. Without a declared length, reading stops at the limit. Responses that the
//! SDK reads by itself, listings and errors, are bounded as well.
//!
//! The response to a successful write may be lost. The SDK then retries, and the condition no longer holds. So after a
//! failed condition the registry reads the object and compares it with the one that it wrote.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextMut;
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, Metadata};
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use citas_core::model::{Artifact, Channel, CountryCode, Limits, Manifest, digest, written};
use citas_core::ports::{NativeCodeStore, Readiness, Registry, RegistryError};
use futures::{StreamExt as _, stream};
use http_body_util::Limited;
use semver::Version;

use crate::aws::failure::error_text;
use citas_core::release::layout::{self, CASES, COMPONENT, Engines, MANIFEST, MAX_LISTED, SIGNATURE};

/// User metadata key for the digest of a native object's bytes.
const DIGEST: &str = "sha256";
/// User metadata key of a channel for the digest of the component in use. Otherwise only the version's manifest has
/// this digest. The manifest is read when the metadata is missing: for a component with limits of its own, or in a
/// bucket that was filled by hand.
const COMPONENT_DIGEST: &str = "component";
/// Maximum number of attempts to write an immutable object while other writes of the same key are under way.
const WRITES: u32 = 5;
/// Pause between two attempts to write an immutable object.
const PAUSE: Duration = Duration::from_millis(100);
/// Maximum number of channels that are read at the same time while countries are listed.
const MAX_CONCURRENCY: usize = 16;
/// Maximum wait for a channel while countries are listed. A country whose channel takes longer is listed, too.
const LISTING_TIMEOUT: Duration = Duration::from_secs(1);
/// Minimum transfer rate that the timeouts for a component assume, in bytes per second.
const SLOWEST: u64 = 100_000;
/// Timeout for reading a body if the client has no timeouts.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum size of a response that the SDK reads by itself, in bytes. A page of a listing has up to 1,000 keys of up to
/// 1,024 bytes, which XML may make five times as long.
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// Published rules in an S3 bucket.
#[derive(Debug)]
pub struct S3Registry {
    client: Client,
    bucket: String,
    prefix: String,
    /// Channels as last read.
    channels: Mutex<HashMap<CountryCode, Read>>,
}

/// A channel as last read.
#[derive(Clone, Debug)]
struct Read {
    tag: String,
    channel: Channel,
    /// Digest of the component in use, if the channel's metadata has it.
    component: Option<String>,
}

/// Result of reading a key.
enum Found {
    Nothing,
    /// The object still has the caller's entity tag.
    Unchanged,
    Object(Object),
}

struct Object {
    tag: String,
    metadata: HashMap<String, String>,
    bytes: Vec<u8>,
}

/// Condition under which an object is written.
#[derive(Clone, Copy)]
enum If<'a> {
    Absent,
    Unchanged(&'a str),
    Always,
}

impl S3Registry {
    /// Creates a registry in `bucket`, under `prefix`; an empty prefix means none. The registry uses a copy of the
    /// client that bounds responses.
    pub fn new(client: &Client, bucket: &str, prefix: &str) -> Self {
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        let client = Client::from_conf(client.config().to_builder().interceptor(LimitAnswers).build());
        Self { client, bucket: bucket.to_owned(), prefix, channels: Mutex::default() }
    }

    /// Returns the version whose manifest has this key in the bucket.
    pub fn version_of(&self, key: &str) -> Option<(CountryCode, Version)> {
        let (country, version) = key.strip_prefix(&self.prefix)?.split_once("/versions/")?;
        let version = version.strip_suffix(MANIFEST)?.strip_suffix('/')?;
        Some((country.parse().ok()?, version.parse().ok()?))
    }

    /// Returns the current channel.
    async fn channel_now(&self, country: CountryCode) -> Result<Option<Read>, RegistryError> {
        let key = layout::channel(country);
        let known = self.channels().get(&country).cloned();
        let found = self.get(&key, known.as_ref().map(|known| known.tag.as_str())).await?;
        let now = match found {
            Found::Nothing => None,
            Found::Unchanged => return Ok(known),
            Found::Object(Object { tag, mut metadata, bytes }) => Some(Read {
                tag,
                channel: layout::parse_channel(&key, &bytes)?,
                component: metadata.remove(COMPONENT_DIGEST),
            }),
        };
        match &now {
            Some(now) => drop(self.channels().insert(country, now.clone())),
            None => drop(self.channels().remove(&country)),
        }
        Ok(now)
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<CountryCode, Read>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the state of a version for one engine.
    ///
    /// # Errors
    /// Returns an error if the bucket cannot be read.
    pub async fn readiness_for(&self, engine: &str, manifest: &Manifest) -> Result<Readiness, RegistryError> {
        if !self.below(&layout::native(engine, &manifest.digest), None).await?.is_empty() {
            return Ok(Readiness::Ready);
        }
        let refused = self.read_text(&layout::refused(engine, manifest)).await?;
        Ok(refused.map_or(Readiness::NotCompiled, Readiness::Refused))
    }

    /// Makes an engine the only one that hosts run, once they are deployed with it.
    ///
    /// # Errors
    /// Returns an error if the bucket cannot be read or written.
    pub async fn replace_engines(&self, engine: &str) -> Result<(), RegistryError> {
        self.change_engines(|engines| *engines = [engine.to_owned()].into()).await
    }

    /// Returns the engines that hosts run, with the object's entity tag.
    async fn engines(&self) -> Result<Option<(String, Engines)>, RegistryError> {
        match self.get(&layout::engines(), None).await? {
            Found::Object(object) => Ok(Some((object.tag, layout::parse_engines(&object.bytes)?))),
            _ => Ok(None),
        }
    }

    /// Changes the engines that hosts run. Several invocations may do so at once.
    async fn change_engines(&self, change: impl Fn(&mut BTreeSet<String>)) -> Result<(), RegistryError> {
        let key = layout::engines();
        for _ in 0..WRITES {
            let before = self.engines().await?;
            let mut after = before.as_ref().map(|(_, engines)| engines.clone()).unwrap_or_default();
            change(&mut after.engines);
            if before.as_ref().is_some_and(|(_, engines)| *engines == after) {
                return Ok(());
            }
            let condition = before.as_ref().map_or(If::Absent, |(tag, _)| If::Unchanged(tag));
            if self.put(&key, written(&after), condition, None).await? {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(contended(&key))
    }

    async fn is_whole(&self, country: CountryCode, version: &Version) -> Result<bool, RegistryError> {
        let manifest = self.get(&layout::file(country, version, MANIFEST), None).await?;
        Ok(matches!(manifest, Found::Object(_)))
    }

    /// Reads one of a version's files.
    async fn file(&self, country: CountryCode, version: &Version, name: &str) -> Result<Vec<u8>, RegistryError> {
        let key = layout::file(country, version, name);
        match self.get(&key, None).await? {
            Found::Object(object) => Ok(object.bytes),
            _ => Err(layout::missing(&key)),
        }
    }

    /// Returns the text under a key, or `None` if there is no object.
    async fn read_text(&self, key: &str) -> Result<Option<String>, RegistryError> {
        match self.get(key, None).await? {
            Found::Object(object) => Ok(Some(String::from_utf8_lossy(&object.bytes).into_owned())),
            _ => Ok(None),
        }
    }

    /// Writes an immutable object. Returns true if these bytes are under the key afterwards, from this write or from an
    /// earlier one.
    async fn write_once(&self, key: &str, bytes: &[u8]) -> Result<bool, RegistryError> {
        for _ in 0..WRITES {
            if self.put(key, bytes.to_vec(), If::Absent, None).await? {
                return Ok(true);
            }
            if let Found::Object(there) = self.get(key, None).await? {
                return Ok(there.bytes == bytes);
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(contended(key))
    }

    /// Writes an object. Returns false if the condition does not hold, or if another write of the key is under way.
    async fn put(
        &self,
        key: &str,
        bytes: Vec<u8>,
        condition: If<'_>,
        metadata: Option<(&str, String)>,
    ) -> Result<bool, RegistryError> {
        let patient = aws_sdk_s3::Config::builder().timeout_config(self.patience(bytes.len()));
        let request = self.client.put_object().bucket(&self.bucket).key(self.whole(key));
        let request = match condition {
            If::Absent => request.if_none_match("*"),
            If::Unchanged(tag) => request.if_match(tag),
            If::Always => request,
        };
        let request = match metadata {
            Some((name, value)) => request.metadata(name, value),
            None => request,
        };
        match request.body(ByteStream::from(bytes)).customize().config_override(patient).send().await {
            Ok(_) => Ok(true),
            // The object to replace may be gone.
            Err(error) if [409, 412].contains(&status(&error)) || is_absence(&error) => Ok(false),
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// Reads the object under a key, unless it still has the entity tag `known`.
    async fn get(&self, key: &str, known: Option<&str>) -> Result<Found, RegistryError> {
        let request = self.client.get_object().bucket(&self.bucket).key(self.whole(key));
        match request.set_if_none_match(known.map(str::to_owned)).send().await {
            Ok(answer) => self.read(key, answer).await.map(Found::Object),
            Err(error) if status(&error) == 304 => Ok(Found::Unchanged),
            Err(error) if is_absence(&error) => Ok(Found::Nothing),
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// Reads an object, limited in size and time. The SDK's own timeouts end where a response's body begins.
    async fn read(&self, key: &str, mut answer: GetObjectOutput) -> Result<Object, RegistryError> {
        let limit = usize::try_from(layout::max_bytes(key)).expect("a file's limit fits in memory");
        let too_large = || RegistryError::TooLarge { key: key.to_owned(), limit: layout::max_bytes(key) };
        let length = answer.content_length().map_or(Ok(0), usize::try_from).unwrap_or(usize::MAX);
        if length > limit {
            return Err(too_large());
        }
        let broken = |how: &str| RegistryError::Unavailable(format!("S3 {how} in the middle of `{key}`"));
        // The SDK's `to_vec` copies byte by byte, which takes two milliseconds for native code.
        let mut bytes = Vec::with_capacity(length);
        let body = async {
            while let Some(chunk) = answer.body.try_next().await.map_err(|_| broken("ended the connection"))? {
                if bytes.len() + chunk.len() > limit {
                    return Err(too_large());
                }
                bytes.extend_from_slice(&chunk);
            }
            Ok(())
        };
        let patience = self.patience(length).operation_attempt_timeout().unwrap_or(ATTEMPT_TIMEOUT);
        tokio::time::timeout(patience, body).await.map_err(|_| broken("stopped sending"))??;
        let metadata = answer.metadata.unwrap_or_default();
        Ok(Object { tag: answer.e_tag.unwrap_or_default(), metadata, bytes })
    }

    /// Returns the client's timeouts, which suit small requests, plus the time that this many bytes take on a slow
    /// line.
    fn patience(&self, bytes: usize) -> TimeoutConfig {
        let under_way = Duration::from_secs(u64::try_from(bytes).unwrap_or(u64::MAX) / SLOWEST);
        let small = self.client.config().timeout_config();
        let longer = |of: fn(&TimeoutConfig) -> Option<Duration>| Some(small.and_then(of)? + under_way);
        let mut timeouts = TimeoutConfig::builder();
        timeouts.set_operation_attempt_timeout(longer(TimeoutConfig::operation_attempt_timeout));
        timeouts.set_operation_timeout(longer(TimeoutConfig::operation_timeout));
        timeouts.build()
    }

    /// Lists a folder, without the folder's own name: all keys, or with a delimiter only the next folders. Every listed
    /// entry counts towards the limit, whether or not it is returned.
    async fn below(&self, folder: &str, delimiter: Option<&str>) -> Result<Vec<String>, RegistryError> {
        let too_many = || RegistryError::TooMany { key: folder.to_owned(), limit: MAX_LISTED };
        let folder = self.whole(folder);
        let listing = self.client.list_objects_v2().bucket(&self.bucket).prefix(&folder);
        let mut pages = listing.set_delimiter(delimiter.map(str::to_owned)).into_paginator().send();
        let (mut names, mut listed) = (Vec::new(), 0);
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| unavailable(&error))?;
            // An empty page counts as one entry.
            listed += (page.contents().len() + page.common_prefixes().len()).max(1);
            if listed > MAX_LISTED {
                return Err(too_many());
            }
            let keys = page.contents().iter().filter_map(|object| object.key());
            let folders = page.common_prefixes().iter().filter_map(|below| below.prefix());
            let below = if delimiter.is_some() { folders.collect() } else { keys.collect::<Vec<_>>() };
            names.extend(below.into_iter().filter_map(|name| name.strip_prefix(&folder)).map(str::to_owned));
        }
        Ok(names)
    }

    fn whole(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }
}

#[async_trait]
impl Registry for S3Registry {
    async fn countries(&self) -> Result<Vec<CountryCode>, RegistryError> {
        let folders = self.below("", Some("/")).await?;
        let named = folders.iter().filter_map(|folder| folder.strip_suffix('/')?.parse().ok());
        let with_channel = stream::iter(named.collect::<Vec<CountryCode>>())
            // A country with an unreadable channel is listed: whoever reads that channel gets the error, and the other
            // countries are not affected.
            .map(async |country| {
                let channel = tokio::time::timeout(LISTING_TIMEOUT, self.channel(country)).await;
                let is_absent = matches!(channel, Ok(Ok(None)));
                (!is_absent).then_some(country)
            })
            .buffer_unordered(MAX_CONCURRENCY);
        let mut countries: Vec<_> = with_channel.filter_map(async |country| country).collect().await;
        countries.sort();
        Ok(countries)
    }

    async fn channel(&self, country: CountryCode) -> Result<Option<Channel>, RegistryError> {
        Ok(self.channel_now(country).await?.map(|now| now.channel))
    }

    async fn set_channel(
        &self,
        country: CountryCode,
        expected: Option<&Channel>,
        new: &Channel,
    ) -> Result<(), RegistryError> {
        let bytes = layout::channel_bytes(country, new)?;
        let Manifest { digest, limits, .. } = self.manifest(country, &new.current).await?;
        let before = self.channel_now(country).await?;
        if before.as_ref().map(|before| &before.channel) != expected {
            return Err(RegistryError::Conflict(country));
        }
        let condition = before.as_ref().map_or(If::Absent, |before| If::Unchanged(&before.tag));
        let metadata = limits.are_standard().then_some((COMPONENT_DIGEST, digest));
        if self.put(&layout::channel(country), bytes, condition, metadata).await? {
            return Ok(());
        }
        let is_ours = self.channel(country).await?.as_ref() == Some(new);
        if is_ours { Ok(()) } else { Err(RegistryError::Conflict(country)) }
    }

    async fn versions(&self, country: CountryCode) -> Result<Vec<Version>, RegistryError> {
        let keys = self.below(&format!("{}/", layout::versions(country)), None).await?;
        let whole = keys.iter().filter_map(|key| key.strip_suffix(MANIFEST)?.strip_suffix('/')?.parse().ok());
        let mut versions: Vec<Version> = whole.collect();
        versions.sort();
        Ok(versions)
    }

    async fn publish(&self, artifact: &Artifact) -> Result<(), RegistryError> {
        layout::check(artifact)?;
        let Manifest { country, ref version, .. } = artifact.manifest;
        let exists = || RegistryError::Exists { country, version: version.clone() };
        if self.is_whole(country, version).await? {
            return Err(exists());
        }
        let manifest = artifact.manifest.bytes();
        let signature = artifact.signature.as_ref().map(|signature| (SIGNATURE, signature.as_bytes()));
        // The last of them, the manifest, makes it a version.
        let files = [(COMPONENT, &artifact.component[..]), (CASES, artifact.cases.as_bytes())].into_iter();
        for (name, bytes) in files.chain(signature).chain([(MANIFEST, &manifest[..])]) {
            if !self.write_once(&layout::file(country, version, name), bytes).await? {
                return Err(exists());
            }
        }
        Ok(())
    }

    async fn fetch(&self, country: CountryCode, version: &Version) -> Result<Artifact, RegistryError> {
        let Found::Object(manifest) = self.get(&layout::file(country, version, MANIFEST), None).await? else {
            return Err(RegistryError::Absent { country, version: version.clone() });
        };
        let file = |name| self.file(country, version, name);
        let signature_key = layout::file(country, version, SIGNATURE);
        let signature = self.get(&signature_key, None);
        let (component, cases, signature) = futures::try_join!(file(COMPONENT), file(CASES), signature)?;
        let signature = match signature {
            Found::Object(object) => Some(object.bytes),
            _ => None,
        };
        layout::artifact(country, version, &manifest.bytes, component, cases, signature)
    }

    /// Returns the state of a version. It is ready once every engine that the functions run can load it.
    async fn readiness(&self, country: CountryCode, version: &Version) -> Result<Readiness, RegistryError> {
        let manifest = self.manifest(country, version).await?;
        let Some((_, Engines { engines })) = self.engines().await? else { return Ok(Readiness::EngineUnknown) };
        let mut readiness = Readiness::Ready;
        for engine in engines {
            match self.readiness_for(&engine, &manifest).await? {
                Readiness::Ready => {}
                refused @ Readiness::Refused(_) => return Ok(refused),
                other => readiness = other,
            }
        }
        Ok(readiness)
    }

    async fn manifest(&self, country: CountryCode, version: &Version) -> Result<Manifest, RegistryError> {
        let key = layout::file(country, version, MANIFEST);
        match self.get(&key, None).await? {
            Found::Object(object) => layout::manifest(country, version, &object.bytes),
            _ => Err(RegistryError::Absent { country, version: version.clone() }),
        }
    }

    /// Returns the component's digest and limits: for the version in use from the channel's metadata, otherwise from
    /// the manifest.
    async fn component(&self, country: CountryCode, version: &Version) -> Result<(String, Limits), RegistryError> {
        let known = self.channels().get(&country).filter(|known| known.channel.current == *version).cloned();
        if let Some(digest) = known.and_then(|known| known.component) {
            return Ok((digest, Limits::default()));
        }
        let Manifest { digest, limits, .. } = self.manifest(country, version).await?;
        Ok((digest, limits))
    }
}

#[async_trait]
impl NativeCodeStore for S3Registry {
    async fn native(&self, engine: &str, component: &str) -> Result<Option<Vec<u8>>, RegistryError> {
        let key = layout::native(engine, component);
        let Found::Object(Object { mut metadata, bytes, .. }) = self.get(&key, None).await? else {
            return Ok(None);
        };
        let promised = metadata.remove(DIGEST);
        let found = digest(&bytes);
        if promised.as_ref() == Some(&found) {
            return Ok(Some(bytes));
        }
        let promised = promised.as_deref().unwrap_or("none");
        let cause = format!("its digest is {found} and was {promised} when it was written: it is damaged or altered");
        Err(RegistryError::Unreadable { key, cause })
    }

    async fn put_native(&self, engine: &str, component: &str, code: &[u8]) -> Result<(), RegistryError> {
        let key = layout::native(engine, component);
        layout::check_size(&key, code)?;
        let metadata = Some((DIGEST, digest(code)));
        if self.put(&key, code.to_vec(), If::Always, metadata).await? { Ok(()) } else { Err(contended(&key)) }
    }

    async fn add_engine(&self, engine: &str) -> Result<(), RegistryError> {
        self.change_engines(|engines| {
            engines.insert(engine.to_owned());
        })
        .await
    }

    async fn refused(&self, engine: &str, version: &Manifest) -> Result<Option<String>, RegistryError> {
        self.read_text(&layout::refused(engine, version)).await
    }

    async fn put_refused(&self, engine: &str, version: &Manifest, why: &str) -> Result<(), RegistryError> {
        let key = layout::refused(engine, version);
        if self.put(&key, why.as_bytes().to_vec(), If::Always, None).await? { Ok(()) } else { Err(contended(&key)) }
    }
}

/// Bounds the responses that the SDK reads by itself. [`S3Registry::read`] counts the bytes of objects.
#[derive(Debug)]
struct LimitAnswers;

impl Intercept for LimitAnswers {
    fn name(&self) -> &'static str {
        "LimitAnswers"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        operation: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let is_object = operation.load::<Metadata>().is_some_and(|operation| operation.name() == "GetObject");
        let answer = context.response_mut();
        if !(is_object && answer.status().is_success()) {
            let body = Limited::new(answer.take_body(), MAX_ANSWER_BYTES);
            *answer.body_mut() = SdkBody::from_body_1_x(body);
        }
        Ok(())
    }
}

/// Returns the status of S3's response, or 0 if there is none.
fn status<E>(error: &SdkError<E, HttpResponse>) -> u16 {
    error.raw_response().map_or(0, |answer| answer.status().as_u16())
}

/// True if there is no object under the key. A missing bucket is a different error.
fn is_absence<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    error.code() == Some("NoSuchKey")
}

fn contended(key: &str) -> RegistryError {
    RegistryError::Unavailable(format!("others are writing `{key}`; try again"))
}

fn unavailable<E: ProvideErrorMetadata + std::error::Error + 'static>(
    error: &SdkError<E, HttpResponse>,
) -> RegistryError {
    RegistryError::Unavailable(error_text("S3", error))
}
