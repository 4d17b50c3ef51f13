//! The time limit of a request: it ends a request that cannot have stored anything yet, and never a later one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use citas::api::{self, Api, Description, Documents, Limits, Readiness};
use citas::local::issuer::LocalIssuer;
use citas::local::sqlite::SqliteLedger;
use citas::system::{SystemClock, UuidIds};
use citas_core::booking::Booking;
use citas_core::model::{Limits as RulesLimits, Scope};
use citas_core::release::Catalogue;
use citas_core::rules::LoadedRules;
use jiff::Timestamp;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::support::components::{SharedEngine, component};
use crate::support::host;
use crate::support::requests::pe;

const LIMIT: Duration = Duration::from_millis(300);

/// The API in this process, without a server.
pub struct Platform {
    pub router: axum::Router,
    pub token: String,
}

impl Platform {
    fn open(data: &Path) -> Self {
        Self::open_with(data, |_| {})
    }

    /// With something of the API changed.
    pub fn open_with(data: &Path, change: impl FnOnce(&mut Api)) -> Self {
        let catalogue = Arc::new(Catalogue::default());
        let rules = LoadedRules::load(&SharedEngine, component("pe"), &RulesLimits::default()).unwrap();
        catalogue.install(rules, Timestamp::now());
        let ledger = Arc::new(SqliteLedger::open(data).unwrap());
        let issuer = LocalIssuer::open(data, Arc::new(SystemClock)).unwrap();
        let token = host::token(&issuer, "ana", &[], &Scope::ALL.map(Scope::as_str), Timestamp::now());
        let (clock, ids) = (Arc::new(SystemClock), Arc::new(UuidIds));
        let mut api = Api {
            booking: Booking::new(catalogue.clone(), ledger.clone(), clock.clone(), ids, ledger.pseudonyms(), "test"),
            ready: Readiness::new(catalogue.clone(), ledger),
            catalogue,
            tokens: Arc::new(issuer),
            jwks: None,
            link_keys: "0a".repeat(32).parse().unwrap(),
            limits: Limits::per_second(0),
            cors: None,
            request_timeout: LIMIT,
            description: Description::new(clock),
            documents: Documents::default(),
            metrics: Box::new(String::new),
        };
        change(&mut api);
        Self { router: api::router(api), token }
    }

    pub async fn send(&self, method: &str, body: Body) -> (StatusCode, Value) {
        let request = Request::builder()
            .header("host", "localhost")
            .method(method)
            .uri("/v1/pe/appointments")
            .header("Authorization", format!("Bearer {}", self.token))
            .header("Content-Type", "application/json")
            .header("Idempotency-Key", "one");
        self.answer(request.body(body).unwrap()).await
    }

    pub async fn answer(&self, request: Request<Body>) -> (StatusCode, Value) {
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn book(&self) -> StatusCode {
        self.send("POST", Body::from(pe(1).to_string())).await.0
    }

    async fn booked(&self) -> usize {
        let (status, page) = self.send("GET", Body::empty()).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        page["items"].as_array().unwrap().len()
    }
}

/// A lock that keeps the writer from committing.
pub struct Lock(rusqlite::Connection);

impl Lock {
    pub fn take(data: &Path) -> Self {
        let file = rusqlite::Connection::open(data.join("pe.db")).unwrap();
        file.busy_timeout(Duration::from_secs(10)).unwrap();
        file.execute_batch("BEGIN IMMEDIATE").unwrap();
        Self(file)
    }

    pub fn release(self) {
        self.0.execute_batch("ROLLBACK").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_booking_that_is_being_stored_has_its_true_answer_however_late() {
    let data = tempfile::tempdir().unwrap();
    let platform = Platform::open(data.path());
    assert_eq!(platform.booked().await, 0);
    let lock = Lock::take(data.path());
    let (status, ()) = tokio::join!(platform.book(), async {
        tokio::time::sleep(LIMIT * 3).await;
        lock.release();
    });
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(platform.booked().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_booking_whose_client_goes_away_is_stored_whole_or_not_at_all() {
    let data = tempfile::tempdir().unwrap();
    let platform = Platform::open(data.path());
    assert_eq!(platform.booked().await, 0);
    let lock = Lock::take(data.path());
    assert!(tokio::time::timeout(LIMIT * 3, platform.book()).await.is_err(), "it waits for the lock");
    lock.release();
    assert_eq!(platform.book().await, StatusCode::CREATED, "the same key has what came of it");
    assert_eq!(platform.booked().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_come_is_given_up() {
    let data = tempfile::tempdir().unwrap();
    let platform = Platform::open(data.path());
    let never = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let (status, problem) = platform.send("POST", never).await;
    assert_eq!(status, StatusCode::REQUEST_TIMEOUT, "{problem}");
    assert_eq!(platform.booked().await, 0);
}
