//! The Lambda function `api`: the HTTP API behind API Gateway, which has verified the token and passes its claims.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use citas_core::model::{Claims, Keyring, Link};
use citas_core::ports::{BadToken, TokenVerifier};
use citas_core::release::{Looks, OnDemand};
use clap::Args;
use lambda_http::Adapter;
use lambda_http::request::RequestContext;
use lambda_runtime::Runtime;
use serde_json::json;

use super::setup::{BookingSettings, LinkSettings, Rules, Starting};
use super::{Ended, Started, answer};
use crate::api::{self, Api, Description, Documents, Limits, Readiness};
use crate::aws::dynamo::DynamoLedger;
use crate::config::HoldOptions;
use crate::identities::{IdentityTemplate, identities};
use crate::system::SystemClock;

#[derive(Args)]
struct Settings {
    #[command(flatten)]
    booking: BookingSettings,
    #[command(flatten)]
    links: LinkSettings,
    #[command(flatten)]
    holds: HoldOptions,
    /// Identities of countries' patients, from claims of the tokens
    #[arg(long, env = "CITAS_IDENTITY", value_delimiter = ',')]
    identity: Vec<IdentityTemplate>,
}

/// Maximum time for a request. It ends before the function's own time and API Gateway's 30 seconds, so that the client
/// of a slower request gets a response that says so.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(25);

/// Beginnings of the paths below a country whose requests use the table at once.
const LEDGER: [&str; 8] =
    ["appointments", "slots", "holds", "links", "patient-links", "patients", "privacy-requests", "read-log"];

/// Runs the function for as long as its instance lives.
///
/// # Errors
/// Returns an error if it cannot start, or Lambda's runtime API fails.
pub async fn run() -> Ended {
    let engine = Starting::new();
    let Started { settings, aws, metrics } = Started::<Settings>::new().await?;
    let Settings { booking: settings, links, holds, identity } = settings;
    let (names, link_keys) = (settings.names()?, links.keys()?);
    let rules = Rules::new(&settings.rules, &aws, engine, false, Some(names.clone()))?;
    let booking = rules.booking(names).holding_for(holds.time()).logging_reads(rules.ledger.clone());
    let Rules { catalogue, on_demand, ledger, .. } = rules;
    let api = Api {
        booking,
        catalogue: catalogue.clone(),
        ready: Readiness::new(catalogue, ledger.clone()),
        tokens: Arc::new(Gateway),
        jwks: None,
        link_keys: link_keys.clone(),
        // API Gateway limits the rate.
        limits: Limits::per_second(0),
        // API Gateway answers preflights.
        cors: None,
        request_timeout: REQUEST_TIMEOUT,
        description: Description::new(Arc::new(SystemClock)),
        documents: Documents::default(),
        // The metrics are in the log.
        metrics: Box::new(String::new),
    };
    let router = api::router_with(api, |routes| {
        routes
            .layer(middleware::from_fn_with_state((Arc::new(on_demand), ledger, link_keys), with_rules))
            .layer(middleware::from_fn_with_state(Arc::new(identity), pass_claims))
    });
    answer(Runtime::new(Adapter::from(router)), metrics).await
}

/// Loads the rules of a request and checks its table at the same time. A read of the registry runs beside the request and
/// is part of it, because Lambda freezes the function after the response.
async fn with_rules(
    State((on_demand, ledger, link_keys)): State<(Arc<OnDemand>, Arc<DynamoLedger>, Keyring)>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let (country, rest) = path.strip_prefix("/v1/").and_then(|rest| rest.split_once('/')).unwrap_or_default();
    let link = path.strip_prefix("/links/").and_then(|token| Link::read(&link_keys, token));
    let looks = match link.as_ref().map_or_else(|| country.parse(), |link| Ok(link.country)) {
        Ok(country) if link.is_some() || LEDGER.iter().any(|of| rest.starts_with(of)) => {
            // The use of the table reports the error.
            futures::join!(on_demand.ask(country), ledger.checked(country)).0
        }
        Ok(country) => on_demand.ask(country).await,
        _ if path == "/v1/countries" || path == "/openapi.json" || path == "/readyz" => on_demand.ask_all().await,
        _ => Looks::default(),
    };
    let response = next.run(request).await;
    looks.finish().await;
    response
}

/// Passes the claims that API Gateway's authorizer found in the token to the API.
async fn pass_claims(
    State(templates): State<Arc<Vec<IdentityTemplate>>>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Some(RequestContext::ApiGatewayV2(context)) = request.extensions().get()
        && let Some(jwt) = context.authorizer.as_ref().and_then(|authorizer| authorizer.jwt.as_ref())
        && let Some(claims) = claims(&jwt.claims, &templates)
    {
        request.extensions_mut().insert(claims);
    }
    next.run(request).await
}

/// Returns the claims of a Cognito access token; none for any other token. API Gateway writes each claim as a text, and
/// a list as `[a b]`.
fn claims(said: &HashMap<String, String>, templates: &[IdentityTemplate]) -> Option<Claims> {
    if said.get("token_use").is_none_or(|used| used != "access") {
        return None;
    }
    let words = |name: &str| -> BTreeSet<String> {
        let text = said.get(name).map_or("", |text| text.trim_matches(['[', ']']));
        text.split_whitespace().map(str::to_owned).collect()
    };
    let subject = said.get("sub").filter(|subject| !subject.is_empty())?.clone();
    let identities = identities(templates, &json!(said));
    Some(Claims { subject, groups: words("cognito:groups"), scopes: words("scope"), identities })
}

/// A verifier that accepts no token. Only API Gateway verifies tokens here.
struct Gateway;

#[async_trait]
impl TokenVerifier for Gateway {
    async fn verify(&self, _: &str) -> Result<Claims, BadToken> {
        Err(BadToken("this takes the access tokens of the user pool, which API Gateway checks"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim_map(claims: &[(&str, &str)]) -> HashMap<String, String> {
        claims.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn an_access_token_says_who_which_groups_and_which_scopes() {
        let access = [
            ("sub", "ana"),
            ("token_use", "access"),
            ("cognito:groups", "[pe:staff platform]"),
            ("scope", "appointments/read appointments/write"),
        ];
        let found = claims(&claim_map(&access), &[]).unwrap();
        assert_eq!(found.subject, "ana");
        assert_eq!(found.groups, ["pe:staff", "platform"].map(str::to_owned).into());
        assert_eq!(found.scopes, ["appointments/read", "appointments/write"].map(str::to_owned).into());
    }

    #[test]
    fn an_identity_token_or_one_of_nobody_is_none() {
        assert_eq!(claims(&claim_map(&[("sub", "ana"), ("token_use", "id")]), &[]), None);
        assert_eq!(claims(&claim_map(&[("sub", ""), ("token_use", "access")]), &[]), None);
        assert_eq!(claims(&claim_map(&[("token_use", "access")]), &[]), None);
    }

    #[test]
    fn a_template_takes_an_identity_from_the_claims_that_the_gateway_writes_as_texts() {
        let template = |text: &str| [text.parse().unwrap()];
        let access =
            [("sub", "ana"), ("token_use", "access"), ("doc", "10117410"), ("acr", "2"), ("person", "map[id:1]")];
        let found = |text: &str| claims(&claim_map(&access), &template(text)).unwrap().identities;
        assert_eq!(found("pe=dni:{/doc};acr>=2"), [("pe".parse().unwrap(), "dni:10117410".to_owned())].into());
        assert_eq!(found("pe=dni:{/doc};acr>=3"), [].into());
        assert_eq!(found("pe={/person/id}"), [].into(), "it writes a claim with members as a text, too");
    }
}
