//! The HTTP API: turns requests into calls of use cases, and their outcomes into responses. Knows no rules and no
//! storage.
//!
//! - [`problem`], [`problem_pages`]: every error response and its status code, and a page about each kind
//! - [`caching`]: responses that caches keep, and compression
//! - [`cors`]: calls by pages of other origins
//! - [`identity`]: the caller of a request, from its bearer token
//! - [`appointments`]: the endpoints of appointments
//! - [`countries`]: the endpoints of countries, their schemas and rules
//! - [`openapi`]: the API's description, composed from the rules in force
//! - [`limits`]: the time of a request and the rate of a caller
//! - [`ready`]: whether any country can be booked
//! - [`observe`]: request ids, metrics and the log
//! - [`body`], [`paths`], [`query`]: bodies, headers, path segments and parameters of requests
//! - [`instant`]: the schema of an instant

mod appointments;
mod body;
mod caching;
mod cors;
mod countries;
mod identity;
mod instant;
mod limits;
mod observe;
mod openapi;
mod paths;
mod problem;
mod problem_pages;
mod query;
mod ready;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::HOST;
use axum::http::{HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use citas_core::booking::Booking;
use citas_core::ports::TokenVerifier;
use citas_core::release::Catalogue;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use swagger_ui_dist::{ApiDefinition, OpenApiSource};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::CorsLayer;

pub use cors::{NotAnOrigin, Origin, cors};
pub use limits::{Limits, REQUEST_TIMEOUT};
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
    /// Rate limit of each caller.
    pub limits: Limits,
    /// Lets pages of other origins call; none if a layer before the API does so, or nothing does.
    pub cors: Option<CorsLayer>,
    /// Maximum time for a request, including the arrival of its body.
    pub request_timeout: Duration,
    /// The `openapi.json` that was composed last.
    pub description: Description,
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
    router_with(api, |routes| routes.layer(caching::compression()).layer(from_fn(one_host)))
}

/// Returns every route in one router. `before` wraps them inside the layers that all requests share.
pub fn router_with(api: Api, before: impl FnOnce(Router) -> Router) -> Router {
    let api = Arc::new(api);
    common(&api, before(with_answers(public().merge(admin()), &api).merge(docs())))
}

/// Returns the routes for clients and those for operators in separate routers.
pub fn routers(api: Api) -> Routers {
    let api = Arc::new(api);
    Routers {
        public: common(
            &api,
            with_answers(public(), &api).merge(docs()).layer(caching::compression()).layer(from_fn(one_host)),
        ),
        admin: common(&api, with_answers(admin(), &api).layer(from_fn(one_host))),
    }
}

/// Refuses a request of HTTP/1.1 without exactly one `Host` (RFC 9112, section 3.2).
async fn one_host(request: Request, next: Next) -> Response {
    let hosts = request.headers().get_all(HOST).iter().count();
    if hosts == 1 || hosts == 0 && request.version() != Version::HTTP_11 {
        return next.run(request).await;
    }
    Problem::malformed("a request of HTTP/1.1 has exactly one `Host` header").into_response()
}

fn public() -> Router<Arc<Api>> {
    let country = Router::new()
        .route("/appointments", get(appointments::list).post(appointments::book))
        .route("/appointments/{id}", get(appointments::get))
        .route("/appointments/{id}/history", get(appointments::history))
        .route("/appointments/{id}/{action}", post(appointments::act))
        .route("/schema", get(countries::schema))
        .route("/rules", get(countries::rules));
    Router::new()
        .nest("/v1/{country}", country)
        .route("/v1/countries", get(countries::list))
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

fn docs() -> Router {
    swagger_ui_dist::generate_routes(ApiDefinition {
        uri_prefix: "/docs",
        api_definition: OpenApiSource::Uri("/openapi.json"),
        title: Some("Citas"),
    })
    .layer(from_fn(docs_paths))
}

/// Leads `/docs/` to `/docs`, below which the page's files are, and answers other methods with a problem.
async fn docs_paths(request: Request, next: Next) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return ([(header::ALLOW, "GET,HEAD")], unsupported(request.method())).into_response();
    }
    if request.uri().path() == "/docs/" {
        return Redirect::permanent("/docs").into_response();
    }
    next.run(request).await
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
