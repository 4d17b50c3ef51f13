//! Emulates Lambda for one function: the Runtime API, which gives one invocation and takes the response, and the
//! variables of Lambda's environment.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::platform::block_on;

/// Timeout for the response of a function.
const NEVER: Duration = Duration::from_secs(30);

/// A post of the function: its place, its body, and its time.
type Posted = (String, Value, Instant);

struct Invocation {
    event: String,
    given: AtomicBool,
    posted: Sender<Posted>,
}

/// Starts a function and invokes it with `GET path`. Returns the time from the start to the response, which must be a
/// 200.
pub fn cold_start(function: &mut Command, path: &str) -> Duration {
    let (runtime, posted) = runtime_api(&event(path));
    let function = function
        .env("AWS_LAMBDA_RUNTIME_API", runtime.to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", "function")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .stdout(Stdio::null());
    let started = Instant::now();
    let mut process = function.spawn().expect("a program that starts");
    let (place, said, at) = posted.recv_timeout(NEVER).expect("a function that answers");
    // The process may have ended already.
    let _ = process.kill();
    let _ = process.wait();
    assert!(place == "response" && said["statusCode"] == 200, "{place}: {said}");
    at - started
}

/// Starts a Runtime API that gives one invocation.
fn runtime_api(event: &Value) -> (SocketAddr, Receiver<Posted>) {
    let (posted, received) = mpsc::channel();
    let invocation = Invocation { event: event.to_string(), given: AtomicBool::new(false), posted };
    let router = Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/{place}", post(take))
        .with_state(Arc::new(invocation));
    let address = block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        tokio::spawn(async { axum::serve(listener, router).await });
        address
    });
    (address, received)
}

/// Returns the invocation once. A second request waits for as long as the function lives.
async fn next(State(invocation): State<Arc<Invocation>>) -> Response {
    if invocation.given.swap(true, Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
    let headers = [
        ("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd"),
        ("lambda-runtime-deadline-ms", "9999999999999"),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:123456789012:function:function"),
        ("lambda-runtime-trace-id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1"),
    ];
    (headers, invocation.event.clone()).into_response()
}

async fn take(
    State(invocation): State<Arc<Invocation>>,
    Path((_, place)): Path<(String, String)>,
    said: String,
) -> StatusCode {
    let at = Instant::now();
    let said = serde_json::from_str(&said).unwrap_or(Value::String(said));
    // Nobody waits for a second response.
    let _ = invocation.posted.send((place, said, at));
    StatusCode::ACCEPTED
}

/// Returns the event that API Gateway's HTTP API makes of a GET.
fn event(path: &str) -> Value {
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "", "isBase64Encoded": false,
        "headers": { "accept": "*/*", "host": "api.example.com", "x-forwarded-proto": "https" },
        "requestContext": {
            "accountId": "123456789012", "apiId": "api", "domainName": "api.example.com", "domainPrefix": "api",
            "http": {
                "method": "GET", "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "bench",
            },
            "requestId": "request", "routeKey": "$default", "stage": "$default",
            "time": "24/Nov/2026:08:00:00 +0000", "timeEpoch": 1_795_507_200_000_u64,
        },
    })
}
