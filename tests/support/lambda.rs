//! Emulates Lambda for one function: the Runtime API, the variables of Lambda's environment, and the freeze of the
//! process from the moment that it asks for an event until there is one.

use std::process::{Child, Command};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::eventually::eventually;

/// Timeout for the response of a function.
const NEVER: Duration = Duration::from_secs(30);

/// A post of the function: its place, its body, and its time.
type Posted = (String, Value, Instant);

/// A running instance of a function; it is killed when it is dropped.
pub struct Lambda {
    process: Child,
    events: UnboundedSender<String>,
    posted: Receiver<Posted>,
}

/// The Runtime API of one instance.
struct Runtime {
    events: tokio::sync::Mutex<UnboundedReceiver<String>>,
    posted: Sender<Posted>,
    /// Known once the process is started.
    process: Mutex<Option<Pid>>,
}

impl Lambda {
    /// Starts an instance. Events that it is invoked with before it asks for the first one do not freeze it.
    pub fn start(function: &mut Command) -> Self {
        let (events, received) = unbounded_channel();
        let (sender, posted) = mpsc::channel();
        let runtime = Runtime { events: received.into(), posted: sender, process: Mutex::default() };
        let runtime = Arc::new(runtime);
        let address = serve(runtime.clone());
        function
            .env("AWS_LAMBDA_RUNTIME_API", address)
            .env("AWS_LAMBDA_FUNCTION_NAME", "function")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1");
        let mut started = runtime.process.lock().unwrap();
        let process = function.spawn().unwrap();
        *started = Some(Pid::from_child(&process));
        Self { process, events, posted }
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Invokes the instance. Returns its response, or `None` if it is killed first.
    pub fn invoke_or_die(&mut self, event: &Value) -> Option<Value> {
        self.events.send(event.to_string()).unwrap();
        eventually("a response or the end", NEVER, || match self.posted.try_recv() {
            Ok((place, said, _)) => {
                assert_eq!(place, "response", "{said}");
                Some(Some(said))
            }
            Err(_) => self.process.try_wait().unwrap().map(|_| None),
        })
    }

    /// Invokes the instance. Returns its response and the time at which it came.
    pub fn invoke(&self, event: &Value) -> (Value, Instant) {
        self.events.send(event.to_string()).unwrap();
        let (place, said, at) = self.posted.recv_timeout(NEVER).expect("a function that answers");
        assert_eq!(place, "response", "{said}");
        (said, at)
    }
}

impl Drop for Lambda {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Runtime {
    fn signal(&self, signal: Signal) {
        if let Some(process) = *self.process.lock().unwrap() {
            // The process may have ended already.
            let _ = kill_process(process, signal);
        }
    }

    /// Returns the next event. Without one, freezes the process until there is one.
    async fn next(&self) -> String {
        let mut events = self.events.lock().await;
        if let Ok(event) = events.try_recv() {
            return event;
        }
        self.signal(Signal::STOP);
        let event = events.recv().await;
        self.signal(Signal::CONT);
        // No sender is left once the instance is dropped.
        event.unwrap_or_default()
    }
}

/// Serves the Runtime API on a thread of its own. Returns its address.
fn serve(runtime: Arc<Runtime>) -> String {
    let router = Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/{place}", post(take))
        .with_state(runtime);
    let (sender, address) = mpsc::channel();
    std::thread::spawn(move || {
        let reactor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        reactor.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            sender.send(listener.local_addr().unwrap().to_string()).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
    });
    address.recv().unwrap()
}

async fn next(State(runtime): State<Arc<Runtime>>) -> Response {
    let headers = [
        ("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd"),
        ("lambda-runtime-deadline-ms", "9999999999999"),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:123456789012:function:function"),
        ("lambda-runtime-trace-id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1"),
    ];
    (headers, runtime.next().await).into_response()
}

async fn take(
    State(runtime): State<Arc<Runtime>>,
    Path((_, place)): Path<(String, String)>,
    said: String,
) -> StatusCode {
    let at = Instant::now();
    let said = serde_json::from_str(&said).unwrap_or(Value::String(said));
    // Nobody waits for a response after the instance is dropped.
    let _ = runtime.posted.send((place, said, at));
    StatusCode::ACCEPTED
}

/// Returns the event that API Gateway's HTTP API makes of a GET, with the claims that its authorizer found, if any.
pub fn get_event(path: &str, claims: Option<Value>) -> Value {
    let mut event = json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "", "isBase64Encoded": false,
        "headers": { "accept": "*/*", "host": "api.example.com", "x-forwarded-proto": "https" },
        "requestContext": {
            "accountId": "123456789012", "apiId": "api", "domainName": "api.example.com", "domainPrefix": "api",
            "http": {
                "method": "GET", "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "test",
            },
            "requestId": "request", "routeKey": "$default", "stage": "$default",
            "time": "24/Nov/2026:08:00:00 +0000", "timeEpoch": 1_795_507_200_000_u64,
        },
    });
    if let Some(claims) = claims {
        event["requestContext"]["authorizer"] = json!({ "jwt": { "claims": claims, "scopes": null } });
    }
    event
}
