//! The HTTP API: turns requests into calls of use cases, and their outcomes into responses. Knows no rules and no
//! storage.
//!
//! - [`problem`], [`problem_pages`]: every error response and its status code, and a page about each kind
//! - [`caching`]: responses that caches keep, and compression
//! - [`mod@cors`]: calls by pages of other origins
//! - [`identity`]: the caller of a request, from its bearer token
//! - [`appointments`]: the endpoints of appointments
//! - [`slots`], [`holds`]: the endpoints of free slots, and of those that a client keeps for some minutes
//! - [`agendas`]: the endpoints of doctors' agendas
//! - [`readings`], [`privacy_requests`]: the endpoints of the read log and of privacy requests
//! - [`patient_links`]: the endpoints of the links of accounts to patients
//! - [`countries`]: the endpoints of countries, their schemas and rules
//! - [`links`], [`link_page`]: links in mail, and their page
//! - [`openapi`]: the API's description, composed from the rules in force
//! - [`limits`]: the time of a request and the rate of a caller
//! - [`ready`]: whether any country can be booked
//! - [`observe`]: request ids, metrics and the log
//! - [`body`], [`paths`], [`query`]: bodies, headers, path segments and parameters of requests
//! - [`instant`]: instants as RFC 3339 writes them, and their schema

mod agendas;
mod appointments;
mod body;
mod caching;
mod cors;
mod countries;
mod holds;
mod identity;
mod instant;
mod limits;
mod link_page;
mod links;
mod observe;
mod openapi;
mod paths;
mod patient_links;
mod privacy_requests;
mod problem;
mod problem_pages;
mod query;
mod readings;
mod ready;
mod slots;

use std::sync::Arc;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::header::HOST;
use axum::http::uri::{Authority, Uri};
use axum::http::{HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use citas_core::booking::Booking;
use citas_core::model::Keyring;
use citas_core::ports::TokenVerifier;
use citas_core::release::Catalogue;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use swagger_ui_dist::{ApiDefinition, OpenApiSource};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::CorsLayer;

use caching::Document;
pub use caching::Documents;
pub use cors::{NotAnOrigin, Origin, cors};
pub use limits::{Limits, REQUEST_TIMEOUT};
pub use observe::unread;
pub use openapi::Description;
use problem::Problem;
pub use ready::Readiness;

/// Parts of the platform that the API uses.
pub struct Api {
    /// Rules in force.
    pub catalogue: Arc<Catalogue>,
    /// Use cases of appointments.
    pub booking: Booking,
    /// Check of whether any country can be booked.
    pub ready: Readiness,
    /// Verifier of bearer tokens.
    pub tokens: Arc<dyn TokenVerifier>,
    /// Keys of the local issuer (RFC 7517); none if another issuer is trusted.
    pub jwks: Option<Value>,
    /// Keys of the links in mail, and of free slots.
    pub link_keys: Keyring,
    /// Rate limit of each caller.
    pub limits: Limits,
    /// Lets pages of other origins call; none if a layer before the API does so, or nothing does.
    pub cors: Option<CorsLayer>,
    /// Maximum time for a request, including the arrival of its body.
    pub request_timeout: Duration,
    /// The `openapi.json` that was composed last.
    pub description: Description,
    /// Other documents that are the same for everybody.
    pub documents: Documents,
    /// Renderer of the metrics in the Prometheus text format.
    pub metrics: Box<dyn Fn() -> String + Send + Sync>,
}

/// Sign of life of the process.
#[derive(Serialize, JsonSchema)]
struct Health {
    status: &'static str,
}

/// The routes of the API, and those for operators.
pub struct Routers {
    /// Routes for clients.
    pub public: Router,
    /// Health and metrics. They answer even while clients hold all of the API's connections.
    pub admin: Router,
}

/// Returns every route in one router.
pub fn router(api: Api) -> Router {
    router_with(api, |routes| routes.layer(from_fn(one_host)))
}

/// Returns every route in one router. `before` wraps them inside the layers that all requests share.
pub fn router_with(api: Api, before: impl FnOnce(Router) -> Router) -> Router {
    let api = Arc::new(api);
    common(&api, before(with_answers(public().merge(admin()), &api).merge(docs(&api))))
}

/// Returns the routes for clients and those for operators in separate routers.
pub fn routers(api: Api) -> Routers {
    let api = Arc::new(api);
    Routers {
        public: common(&api, with_answers(public(), &api).merge(docs(&api)).layer(from_fn(one_host))),
        admin: common(&api, with_answers(admin(), &api).layer(from_fn(one_host))),
    }
}

/// Refuses a request with more than one `Host` or an invalid one, and a request of HTTP/1.1 without one (RFC 9112, section
/// 3.2).
async fn one_host(request: Request, next: Next) -> Response {
    let mut hosts = request.headers().get_all(HOST).iter();
    let is_good = match (hosts.next(), hosts.next()) {
        (None, _) => request.version() != Version::HTTP_11,
        (Some(host), None) => host.to_str().is_ok_and(is_host),
        (Some(_), Some(_)) => false,
    };
    if is_good {
        return next.run(request).await;
    }
    Problem::malformed("a request of HTTP/1.1 has one `Host` header: a host and perhaps a port").into_response()
}

/// True if a text is a host and perhaps a port (RFC 9110, section 7.2). It is empty if the target has no authority.
fn is_host(text: &str) -> bool {
    let is_number = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let is_port = |after: &str| matches!(after, "" | ":") || after.strip_prefix(':').is_some_and(is_number);
    let is_authority = |authority: Authority| text.strip_prefix(authority.host()).is_some_and(is_port);
    text.is_empty() || text.parse().is_ok_and(is_authority)
}

fn public() -> Router<Arc<Api>> {
    let country = Router::new()
        .route("/appointments", get(appointments::list).post(appointments::book))
        .route("/appointments/{id}", get(appointments::get))
        .route("/appointments/{id}/history", get(appointments::history))
        .route("/appointments/{id}/{action}", post(appointments::act))
        .route("/slots", get(slots::list))
        .route("/holds", post(holds::create))
        .route("/holds/{id}", get(holds::get).delete(holds::delete))
        .route("/agendas", get(agendas::list))
        .route("/agendas/{doctor}", get(agendas::get).put(agendas::put))
        .route("/agendas/{doctor}/history", get(agendas::history))
        .route("/privacy-requests", get(privacy_requests::list).post(privacy_requests::file))
        .route("/privacy-requests/{id}", get(privacy_requests::get))
        .route("/privacy-requests/{id}/{action}", post(privacy_requests::step))
        .route("/read-log", get(readings::list))
        .route("/links", get(patient_links::own))
        .route("/patient-links", get(patient_links::requested))
        .route("/patients/{patient}/links", get(patient_links::list).post(patient_links::request))
        .route(
            "/patients/{patient}/links/{subject}",
            get(patient_links::get).put(patient_links::put).delete(patient_links::end),
        )
        .route("/patients/{patient}/links/{subject}/history", get(patient_links::history))
        .route("/schema", get(countries::schema))
        .route("/rules", get(countries::rules));
    Router::new()
        .nest("/v1/{country}", country)
        .route("/v1/countries", get(countries::list))
        .route("/links/{token}", get(links::show).post(links::follow))
        .route("/openapi.json", get(openapi::serve))
        .route("/problems/{name}", get(problem_pages::serve))
        .route("/.well-known/jwks.json", get(jwks))
}

fn admin() -> Router<Arc<Api>> {
    Router::new()
        .route("/healthz", get(|| async { Json(Health { status: "ok" }) }))
        .route("/readyz", get(ready::serve))
        .route("/metrics", get(metrics))
}

fn docs(api: &Arc<Api>) -> Router {
    swagger_ui_dist::generate_routes(ApiDefinition {
        uri_prefix: "/docs",
        api_definition: OpenApiSource::Uri("/openapi.json"),
        title: Some("Citas"),
    })
    .layer(middleware::from_fn_with_state(api.clone(), docs_files))
}

/// Leads `/docs/` to `/docs`, below which the page's files are, answers other methods with a problem, and compresses each
/// file once.
async fn docs_files(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return ([(header::ALLOW, "GET,HEAD")], unsupported(request.method())).into_response();
    }
    if request.uri().path() == "/docs/" {
        return Redirect::permanent("/docs").into_response();
    }
    let (path, headers) = (request.uri().path().to_owned(), request.headers().clone());
    // The page names its files below the address that it is requested at. A query would be part of their names.
    *request.uri_mut() = Uri::try_from(&path).expect("a URI has it");
    // A response to HEAD has no body to keep.
    *request.method_mut() = Method::GET;
    let (head, body) = next.run(request).await.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.expect("the body is in memory");
    let content_type = head.headers[header::CONTENT_TYPE].clone();
    api.documents.fixed(&path, || Document::new(content_type, bytes)).response(&headers).into_response()
}

/// Answers a method that no handler of a resource takes. The router adds `Allow`, which is all that `OPTIONS` asks for (RFC
/// 9110, section 9.3.7).
fn unsupported(method: &Method) -> Response {
    if *method == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    Problem::method_not_allowed().into_response()
}

fn with_answers(routes: Router<Arc<Api>>, api: &Arc<Api>) -> Router {
    routes
        .fallback(|| async { Problem::no_such_place() })
        .method_not_allowed_fallback(|method: Method| async move { unsupported(&method) })
        .with_state(api.clone())
}

/// Adds the layers that all requests share. Every problem passes the one that lets other origins read it.
fn common(api: &Api, routes: Router) -> Router {
    let mut routes = routes
        .layer(caching::compression())
        .layer(from_fn(caching::accepted_coding))
        .layer(CatchPanicLayer::custom(|_| Problem::crashed().into_response()))
        .layer(middleware::from_fn_with_state(api.request_timeout, limits::in_time));
    if let Some(cors) = &api.cors {
        routes = routes.layer(cors.clone());
    }
    routes.layer(middleware::from_fn_with_state(api.catalogue.clone(), observe::observe))
}

async fn jwks(State(api): State<Arc<Api>>) -> Result<Json<Value>, Problem> {
    api.jwks.clone().map(Json).ok_or_else(Problem::no_such_place)
}

async fn metrics(State(api): State<Arc<Api>>) -> Response {
    let version = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, version)], (api.metrics)()).into_response()
}
