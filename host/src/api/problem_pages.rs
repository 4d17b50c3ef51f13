//! Pages about the kinds of problems: each `type` of a problem document leads to one.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use strum::VariantArray as _;

use super::Api;
use super::caching::Document;
use super::paths::At;
use super::problem::{Kind, Problem};

/// Content security policy of a page: it loads nothing but its own style.
const POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");

/// Handles `GET /problems/{name}`.
pub async fn serve(State(api): State<Arc<Api>>, At(name): At<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let kind = Kind::VARIANTS.iter().copied().find(|kind| kind.parts().1 == name).ok_or_else(Problem::no_such_place)?;
    let document = || Document::new(HeaderValue::from_static("text/html; charset=utf-8"), page(kind).into());
    let response = api.documents.fixed(&format!("/problems/{name}"), document).response(&headers)?;
    Ok(([(CONTENT_SECURITY_POLICY, POLICY)], response).into_response())
}

fn page(kind: Kind) -> String {
    let (status, name, title) = kind.parts();
    let (status, remedy) = (status.as_u16(), remedy(kind));
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><title>{title}</title><style>body{{font:1.1em/1.5 \
         sans-serif;max-width:40em;margin:2em auto;padding:0 1em}}</style><h1>{title}</h1><p>Status {status}, type \
         <code>{name}</code>.</p><p>{remedy}</p><p><a href=\"/docs\">The API</a></p></html>"
    )
}

/// Returns what a client does about a problem.
fn remedy(kind: Kind) -> &'static str {
    match kind {
        Kind::MalformedRequest => {
            "The request cannot be read: its body, its query or one of its headers. Correct the part that the detail names."
        }
        Kind::Unauthenticated => {
            "The request has no valid token. Get a new one, and send it as <code>Authorization: Bearer …</code>."
        }
        Kind::Forbidden => {
            "The token is valid, but it lacks a scope or a group that the request needs. Sign in with an account that has them."
        }
        Kind::NotFound => {
            "Nothing has this address, or it belongs to somebody else: the two look the same. Check the address and the account."
        }
        Kind::MethodNotAllowed => {
            "The address does not support the method. The header <code>Allow</code> lists those that it does."
        }
        Kind::TooSlow => "The request took too long to arrive or to be answered. Nothing was stored. Send it again.",
        Kind::SlotTaken => {
            "Somebody else has this time. <code>freeSlots</code> lists free times nearby: offer one of these."
        }
        Kind::HoldExpired => {
            "The hold has ended, and somebody else has its time now. <code>freeSlots</code> lists free times nearby: offer one of these."
        }
        Kind::HoldLimit => {
            "The account holds as many slots as it may. Book one of them, give one up with <code>DELETE</code>, or wait for its end."
        }
        Kind::LinkLimit => {
            "The account has as many links to patients, or open requests, as it may. End one of them first."
        }
        Kind::InProgress => "A request with the same Idempotency-Key is in progress. Send it again in a moment.",
        Kind::NotAllowedNow => {
            "The action is not possible in the state of the appointment, or of the privacy request. Read it again."
        }
        Kind::Stale => "It has changed since you read it. Read it again, and decide anew.",
        Kind::TooLarge => "The body has too many bytes. The detail says how many it may have.",
        Kind::HeaderTooLarge => {
            "The first line and the headers together are too long. Shorten the URL, or send fewer or smaller headers, such as cookies."
        }
        Kind::UnsupportedMediaType => "Send JSON, with <code>Content-Type: application/json</code>.",
        Kind::RulesViolated => {
            "The country's rules refuse the request. Show each message of <code>violations</code> at the member that its <code>pointer</code> names."
        }
        Kind::KeyReused => "The Idempotency-Key was used for another request. Use a new key for each request.",
        Kind::PreconditionRequired => {
            "Send <code>If-Match</code> with the <code>ETag</code> that you have read, so that you replace nothing that you have not seen, or <code>If-None-Match: *</code> if there is nothing yet."
        }
        Kind::SlowDown => "Wait as long as <code>Retry-After</code> says.",
        Kind::Internal => "Report the <code>requestId</code> to the operator.",
        Kind::RulesUnavailable => {
            "The country's rules give no answer. Send the request again after <code>Retry-After</code>. Other countries are not affected."
        }
        Kind::Unavailable => {
            "Send the request again with the same Idempotency-Key. If it was stored after all, the response has its result."
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_documentation_lists_every_kind_with_its_status() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/http-api.md");
        let text = fs::read_to_string(file).unwrap();
        let row = |line: &str| {
            let mut cells = line.split('|').skip(1).map(|cell| cell.trim().trim_matches('`').to_owned());
            Some((cells.next()?.parse::<u16>().ok()?, cells.next()?))
        };
        let section = text.split("\n## ").find(|section| section.starts_with("Errors\n")).unwrap();
        // The next table of the section is about responses that are not the host's.
        let table: BTreeSet<_> = section
            .split("\n\n")
            .find_map(|part| Some(part.lines().filter_map(row).collect()).filter(|rows: &BTreeSet<_>| !rows.is_empty()))
            .unwrap();
        let kinds: BTreeSet<_> =
            Kind::VARIANTS.iter().map(|kind| (kind.parts().0.as_u16(), kind.parts().1.to_owned())).collect();
        assert_eq!(table, kinds);
    }

    #[test]
    fn every_page_closes_what_it_opens_and_runs_nothing() {
        for kind in Kind::VARIANTS {
            let page = page(*kind);
            assert!(!page.contains("<script") && page.contains(kind.parts().2), "{page}");
            for element in ["html", "title", "style", "h1", "p", "a", "code"] {
                let opened =
                    page.matches(&format!("<{element}>")).count() + page.matches(&format!("<{element} ")).count();
                assert_eq!(opened, page.matches(&format!("</{element}>")).count(), "{element} in {page}");
            }
        }
    }
}
