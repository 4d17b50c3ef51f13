//! The appointments that a patient has missed. A missed appointment costs no fine (Ley 1438 de 2011, art. 55), but after
//! two in 180 days the next request is made by telephone.

use citas_kit::fields::Fields;
use citas_kit::{Appointment, Context, Field, Party, Phase, Query, Violation};

use crate::document::Document;
use crate::house::{MAX_MISSED, MISSED_DAYS};

const MISSED: &str = "missed";

/// Returns the query for the appointments that the patient has missed. Staff may book anyway, so their requests need no
/// query.
pub fn before_booking(context: &Context, request: &[Field]) -> Vec<Query> {
    let patient = Document::of(Fields::new(request)).ok().filter(|_| !context.caller.is_staff());
    let query = |document: Document| Query {
        name: MISSED.into(),
        of: Party::Patient,
        key: document.key(),
        phases: vec![Phase::NoShow],
        since: Some(context.now - MISSED_DAYS * 86_400),
        until: None,
        at_most: MAX_MISSED,
    };
    patient.map(query).into_iter().collect()
}

/// Returns no query: missed appointments do not affect an assigned one.
pub fn before_action(_: &Context, _: &Appointment, _: &str, _: &[Field]) -> Vec<Query> {
    Vec::new()
}

/// Returns the violation of a request by a patient who has missed too many appointments.
pub fn missed_too_many(context: &Context) -> Option<Violation> {
    let missed = context.facts.iter().find(|fact| fact.name == MISSED)?;
    let refused = missed.appointments.len() >= usize::from(MAX_MISSED) && !context.caller.is_staff();
    refused.then(|| Violation::new("", "co.patient.call-us").with("days", MISSED_DAYS.to_string()))
}
