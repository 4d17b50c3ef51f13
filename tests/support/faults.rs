//! AWS failing: injects faults into some of the requests between an SDK client and the real server.
//!
//! ```ignore
//! let faults = Faults::at(2, Fault::Lost);                    // the third request
//! let client = aws_sdk_s3::Client::new(&faults.over(&aws().load().await));
//! …
//! assert_eq!(faults.heard(), ["GET /bucket/key 200", "PUT /bucket/key -"]);
//! ```

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use futures::{StreamExt as _, stream};
use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame};

/// Timeouts of a client of [`Faults::over`]: for one attempt, and for all of them.
const ATTEMPT: Duration = Duration::from_secs(1);
const OPERATION: Duration = Duration::from_secs(3);

/// A fault of a request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The connection is cut before the request arrives.
    Cut,
    /// The request is executed, and the connection is cut before the answer.
    Lost,
    /// The request is executed, and the connection is cut in the middle of the answer.
    Half,
    /// The request is executed, and the rest of the answer does not come.
    Stalled,
    /// Neither the request nor an answer arrives.
    Silence,
    /// The server refuses with this status and code, in the protocol of the request.
    No(u16, &'static str),
    /// The server answers with this status and body.
    Answer(u16, String),
}

type Rule = dyn Fn(usize, &HttpRequest) -> Option<Fault> + Send + Sync;

/// Faults by request, and a record of all requests.
#[derive(Clone)]
pub struct Faults {
    rule: Arc<Rule>,
    /// Text of the requests that pass and are not counted.
    aside: Option<&'static str>,
    count: Arc<AtomicUsize>,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Faults {
    /// Injects the fault that `rule` returns for a request and its number, the first being 0.
    pub fn when(rule: impl Fn(usize, &HttpRequest) -> Option<Fault> + Send + Sync + 'static) -> Self {
        Self { rule: Arc::new(rule), aside: None, count: Arc::default(), heard: Arc::default() }
    }

    /// Injects `fault` into request `number`, the first being 0.
    pub fn at(number: usize, fault: Fault) -> Self {
        Self::when(move |asked, _| (asked == number).then(|| fault.clone()))
    }

    /// Injects `fault` into request `number` and all later ones.
    pub fn from(number: usize, fault: Fault) -> Self {
        Self::when(move |asked, _| (asked >= number).then(|| fault.clone()))
    }

    /// Injects nothing and records the requests.
    pub fn none() -> Self {
        Self::when(|_, _| None)
    }

    /// Passes requests with this text in the body, and does not count them.
    pub fn aside(&self, text: &'static str) -> Self {
        Self { aside: Some(text), ..self.clone() }
    }

    /// Returns a configuration for the same server through these faults, with short timeouts and almost no pause
    /// between attempts.
    pub fn over(&self, config: &SdkConfig) -> SdkConfig {
        let inner = config.http_client().expect("`clients::configuration` names one");
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).operation_timeout(OPERATION).build();
        let retries = config.retry_config().cloned().unwrap_or_else(RetryConfig::standard);
        config
            .to_builder()
            .http_client(Failing { inner, faults: self.clone() })
            .timeout_config(timeouts)
            .retry_config(retries.with_initial_backoff(Duration::from_millis(1)))
            .build()
    }

    /// Returns each request with the status of its answer, `-` for none, in the order of the answers.
    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        text.debug_struct("Faults").field("heard", &self.heard).finish_non_exhaustive()
    }
}

/// An HTTP client, or one of its connectors, with injected faults.
#[derive(Debug)]
struct Failing<C> {
    inner: C,
    faults: Faults,
}

impl HttpClient for Failing<SharedHttpClient> {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Failing { inner, faults: self.faults.clone() })
    }
}

impl HttpConnector for Failing<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body = request.body().bytes().map(String::from_utf8_lossy).unwrap_or_default();
        if self.faults.aside.is_some_and(|text| body.contains(text)) {
            return self.inner.call(request);
        }
        let number = self.faults.count.fetch_add(1, Ordering::Relaxed);
        let fault = (self.faults.rule)(number, &request);
        let (inner, heard, what) = (self.inner.clone(), self.faults.heard.clone(), name(&request));
        HttpConnectorFuture::new(async move {
            let answer = match fault {
                None => inner.call(request).await,
                Some(fault) => fault.befall(request, &inner).await,
            };
            let status = answer.as_ref().map_or("-".into(), |answer| answer.status().as_u16().to_string());
            heard.lock().unwrap().push(format!("{what} {status}"));
            answer
        })
    }
}

/// Returns the method and path, or DynamoDB's name of the operation.
fn name(request: &HttpRequest) -> String {
    if let Some(operation) = request.headers().get("x-amz-target") {
        return operation.to_owned();
    }
    let after_scheme = request.uri().split_once("://").map_or(request.uri(), |(_, rest)| rest);
    let path = after_scheme.find('/').map_or("/", |start| &after_scheme[start..]);
    format!("{} {}", request.method(), path.split('?').next().unwrap_or(path))
}

impl Fault {
    async fn befall(self, request: HttpRequest, server: &SharedHttpConnector) -> Result<HttpResponse, ConnectorError> {
        match self {
            Self::Cut => Err(cut()),
            Self::Lost => server.call(request).await.and(Err(cut())),
            Self::Half => Ok(halved(server.call(request).await?, true).await),
            Self::Stalled => Ok(halved(server.call(request).await?, false).await),
            Self::Silence => std::future::pending().await,
            Self::No(status, code) => Ok(answer(status, refusal(&request, code))),
            Self::Answer(status, body) => Ok(answer(status, body)),
        }
    }
}

fn cut() -> ConnectorError {
    ConnectorError::io(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into())
}

fn answer(status: u16, body: String) -> HttpResponse {
    HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body))
}

/// Formats an error in the format of the request's service: JSON, SNS's XML, or S3's.
fn refusal(request: &HttpRequest, code: &str) -> String {
    let kind = request.headers().get("content-type").unwrap_or_default();
    if request.headers().contains_key("x-amz-target") || kind.contains("json") {
        format!(r#"{{"__type":"{code}","message":"injected"}}"#)
    } else if kind.contains("x-www-form-urlencoded") {
        format!("<ErrorResponse><Error><Code>{code}</Code><Message>injected</Message></Error></ErrorResponse>")
    } else {
        format!("<Error><Code>{code}</Code><Message>injected</Message></Error>")
    }
}

/// Returns the answer's first half, and then the end of the connection or, unless `ends`, nothing for ever.
async fn halved(mut answer: HttpResponse, ends: bool) -> HttpResponse {
    let whole = ByteStream::new(answer.take_body()).collect().await.unwrap().into_bytes();
    let half: Bytes = whole.slice(..whole.len() / 2);
    let first = stream::iter([Ok(Frame::data(half))]);
    let rest = stream::once(async move {
        if !ends {
            std::future::pending::<()>().await;
        }
        Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof))
    });
    *answer.body_mut() = SdkBody::from_body_1_x(StreamBody::new(Box::pin(first.chain(rest))));
    answer
}
