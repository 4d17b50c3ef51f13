//! Pages about the kinds of problems: each `type` of a problem document leads to one.

use axum::extract::Path;
use axum::response::Html;
use strum::VariantArray as _;

use super::problem::{Kind, Problem};

/// Handles `GET /problems/{name}`.
pub async fn serve(Path(name): Path<String>) -> Result<Html<String>, Problem> {
    let kind = Kind::VARIANTS.iter().copied().find(|kind| kind.parts().1 == name).ok_or_else(Problem::no_such_place)?;
    let (status, _, title) = kind.parts();
    let (status, remedy) = (status.as_u16(), remedy(kind));
    Ok(Html(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}</title><style>body{{font:1.1em/1.5 sans-serif;max-width:40em;\
         margin:2em auto;padding:0 1em}}</style><h1>{title}</h1><p>Status {status}.</p><p>{remedy}</p>\
         <p><a href=\"/docs\">The API</a></p></html>"
    )))
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
        Kind::Forbidden => "The token lacks a scope or a role. Another token of the same kind does not help.",
        Kind::NotFound => "Nothing is there, or it belongs to somebody else: the two look the same.",
        Kind::MethodNotAllowed => "The header <code>Allow</code> lists the methods.",
        Kind::TooSlow => "The request took too long to arrive or to be answered. Nothing was stored. Send it again.",
        Kind::SlotTaken => {
            "Somebody else has this time. <code>freeSlots</code> lists free times nearby: offer one of these."
        }
        Kind::InProgress => "A request with the same Idempotency-Key is in progress. Send it again in a moment.",
        Kind::NotAllowedNow => "The action is not possible in the appointment's phase. Read the appointment again.",
        Kind::Stale => "The appointment has changed. Read it again, and decide anew.",
        Kind::TooLarge => "Send less.",
        Kind::UnsupportedMediaType => "Send JSON, with <code>Content-Type: application/json</code>.",
        Kind::RulesViolated => {
            "The country's rules refuse the request. Show each message of <code>violations</code> at the member that its <code>pointer</code> names."
        }
        Kind::KeyReused => "The Idempotency-Key was used for another request. Use a new key for each request.",
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
