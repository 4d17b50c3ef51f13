//! The endpoints of links in mail: a page about an appointment for `GET`, which never acts, and the action for `POST`.
//!
//! The token in the path is the only credential. So no page, header or line of the log repeats it, and it gives access to
//! nothing else of the appointment.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use citas_core::booking::{BookingError, LinkError, LinkOutcome, LinkView};
use citas_core::model::Link;
use citas_core::rules::Rejection;

use super::Api;
use super::body::{accept_language, read};
use super::link_page::{Page, Reader};
use super::observe::RequestId;
use super::problem::Problem;

type Token = Result<Path<String>, PathRejection>;

/// Handles `GET /links/{token}`.
pub async fn show(
    State(api): State<Arc<Api>>,
    token: Token,
    Extension(RequestId(request_id)): Extension<RequestId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Some(link) = api.link(token)? else { return Ok(unknown(&headers)) };
    let shown = api.booking.show_link(&link, &request_id).await;
    Ok(page(&link, shown, &headers))
}

/// Handles `POST /links/{token}`. Ignores the body.
pub async fn follow(
    State(api): State<Arc<Api>>,
    token: Token,
    Extension(RequestId(request_id)): Extension<RequestId>,
    request: Request,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    read(body).await?;
    let Some(link) = api.link(token)? else { return Ok(unknown(&head.headers)) };
    let followed = api.booking.follow_link(&link, &request_id).await;
    Ok(page(&link, followed, &head.headers))
}

impl Api {
    /// Returns the link of a token within the rate limit of its appointment, or `None` if there is no such link.
    fn link(&self, token: Token) -> Result<Option<Link>, Problem> {
        let Some(link) = token.ok().and_then(|Path(token)| Link::read(&self.link_keys, &token)) else {
            return Ok(None);
        };
        self.limits.admit(&format!("link/{}/{}", link.country, link.appointment))?;
        Ok(Some(link))
    }
}

/// Returns the one page for every invalid link, whatever the reason.
fn unknown(headers: &HeaderMap) -> Response {
    let reader = Reader::of_no_link(&accept_language(headers));
    reader.response(StatusCode::NOT_FOUND, Page::of(reader.words.unknown))
}

fn page(link: &Link, shown: Result<LinkView, LinkError>, headers: &HeaderMap) -> Response {
    let accepted = accept_language(headers);
    let reader = match &shown {
        Ok(view) => Reader::of(link, Some(&view.rules.messages), &accepted),
        Err(_) => Reader::of(link, None, &accepted),
    };
    let words = reader.words;
    let view = match shown {
        Ok(view) => view,
        Err(LinkError::Expired) => return reader.response(StatusCode::GONE, Page::of(words.expired)),
        Err(LinkError::Booking(error)) => return failed(&reader, &error, headers),
    };
    let texts = &view.rules.messages;
    let (status, page) = match &view.outcome {
        LinkOutcome::Open => {
            let label = texts.link(&link.action, &reader.locale);
            (StatusCode::OK, Page { title: label.clone(), note: words.open, button: Some(label), ..Page::default() })
        }
        LinkOutcome::Acted => {
            let title = texts.link_done(&link.action, &reader.locale);
            (StatusCode::OK, Page { title, note: words.acted, ..Page::default() })
        }
        LinkOutcome::Done => (StatusCode::OK, Page::of(words.done)),
        LinkOutcome::Changed => (StatusCode::CONFLICT, Page::of(words.changed)),
        LinkOutcome::NotNow(rejection) => (StatusCode::CONFLICT, refused(&reader, rejection.as_ref())),
        LinkOutcome::Refused(rejection) => (StatusCode::UNPROCESSABLE_ENTITY, refused(&reader, Some(rejection))),
        LinkOutcome::Impossible => (StatusCode::GONE, Page::of(words.refused)),
    };
    reader.response(status, Page { appointment: Some((&view.revision.appointment, &view.texts)), ..page })
}

/// Returns the page of an action that is not possible, with the country's reasons.
fn refused(reader: &Reader, rejection: Option<&Rejection>) -> Page<'static> {
    let reasons = rejection.map_or_else(Vec::new, |Rejection { violations, rules }| {
        violations.iter().map(|violation| rules.messages.text(violation, &reader.locale)).collect()
    });
    Page { reasons, ..Page::of(reader.words.refused) }
}

/// Returns the page of a link that cannot be shown.
fn failed(reader: &Reader, error: &BookingError, headers: &HeaderMap) -> Response {
    let (status, note) = match error {
        BookingError::UnknownCountry(_) | BookingError::UnknownAppointment => return unknown(headers),
        BookingError::TooLarge { .. } => (StatusCode::UNPROCESSABLE_ENTITY, reader.words.refused),
        // All refusals of an action are outcomes. What is left can be tried again.
        _ => (StatusCode::SERVICE_UNAVAILABLE, reader.words.unavailable),
    };
    if let BookingError::Unavailable(error) = error {
        tracing::error!(%error, "the ledger does not answer");
    }
    reader.response(status, Page::of(note))
}
