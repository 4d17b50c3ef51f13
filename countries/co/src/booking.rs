//! Decides on a request: returns the plan of the request, or of a vaccination that is booked at once, or everything that is
//! wrong with it.

use citas_kit::fields::{Fields, set};
use citas_kit::quotas::{booked_by, sign};
use citas_kit::violations::Findings;
use citas_kit::{Context, Field, Phase, Plan, Violation};

use crate::document::Document;
use crate::house::{HOUSE, due, visit};
use crate::specialties::{Specialty, Way};
use crate::waiting::{DUE, waiting};
use crate::{facts, municipalities};

/// Members of a request that is booked at once. In any other request staff decide on them.
const TIMED: [&str; 3] = ["/hospital", "/date", "/time"];

/// Returns the plan of the request, or all its violations.
pub fn book(context: &Context, request: Vec<Field>) -> Result<Plan, Vec<Violation>> {
    let fields = Fields::new(&request);
    let specialty = Specialty::of(fields);
    let visit = visit(context, fields);
    let mut findings = Findings::default();
    findings.note(facts::missed_too_many(context));
    let document = findings.check(Document::of(fields));
    findings.note(no_contact(fields));
    findings.note(municipalities::unknown(fields));
    findings.note(no_authorisation(specialty, fields));
    findings.check(timed(specialty, fields));
    let is_timed = specialty.way == Way::Direct && TIMED.iter().all(|path| fields.has(path));
    let start = if is_timed { findings.check(HOUSE.schedule.start(&visit, fields)) } else { None };
    let document = findings.conclude(document)?;

    let (patient, mut attributes) = (document.key(), request);
    document.spell(&mut attributes);
    Ok(match start {
        Some(start) => Plan { events: vec!["booked".into()], ..HOUSE.book(&visit, start, Some(&patient), attributes) },
        None => requested(context, &patient, attributes),
    })
}

/// Returns the plan of a request that waits for staff.
fn requested(context: &Context, patient: &str, mut attributes: Vec<Field>) -> Plan {
    sign(&mut attributes, &context.caller);
    if let Some(due) = due(context, Fields::new(&attributes)) {
        set(&mut attributes, Field::text(DUE, due.text()));
    }
    let account = booked_by(Fields::new(&attributes));
    let plan = Plan {
        phase: Phase::Requested,
        slot: None,
        claims: HOUSE.quotas.of(&context.caller).claims(Some(patient), account).collect(),
        choices: Vec::new(),
        patient: patient.into(),
        doctor: None,
        hospital: None,
        attributes,
        events: vec!["requested".into()],
        wake: None,
        off_agenda: false,
    };
    waiting(context, plan, Some(patient))
}

/// Returns a violation if the request has neither a mail address nor a telephone number.
fn no_contact(request: Fields) -> Option<Violation> {
    let reachable = request.has("/email") || request.has("/phone");
    (!reachable).then(|| Violation::new("", "co.contact.missing"))
}

/// Returns a violation if the specialty needs the insurer's authorisation and the request names none.
fn no_authorisation(specialty: &Specialty, request: Fields) -> Option<Violation> {
    let missing = specialty.way == Way::Authorised { needs_number: true } && !request.has("/authorisation");
    missing.then(|| Violation::new("/authorisation", "co.authorisation.missing").with("specialty", specialty.name))
}

/// Checks that a request has a hospital and a time if it is booked at once, and none otherwise.
fn timed(specialty: &Specialty, request: Fields) -> Result<(), Vec<Violation>> {
    let is_direct = specialty.way == Way::Direct;
    let code = if is_direct { "co.slot.missing" } else { "co.slot.not-yet" };
    let wrong = TIMED.into_iter().filter(|path| request.has(path) != is_direct);
    let violations: Vec<_> = wrong.map(|path| Violation::new(path, code).with("specialty", specialty.name)).collect();
    if violations.is_empty() { Ok(()) } else { Err(violations) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{by, missed, request, special_request, tuesday, vaccination};
    use citas_kit::testing::{codes, keys};
    use citas_kit::{Claim, Role, Wake};

    #[test]
    fn a_request_has_no_date_and_one_place_in_its_specialty() {
        let plan = book(&tuesday(), request(&[])).expect("allowed");
        assert_eq!((plan.phase, &plan.slot, &plan.doctor), (Phase::Requested, &None, &None));
        assert_eq!((plan.patient.as_str(), plan.events), ("cc:1032456789", vec!["requested".to_string()]));
        assert_eq!(
            plan.claims,
            [
                Claim::new("live/patient/cc:1032456789").with_places(10).personal(),
                Claim::new("live/account/a1").with_places(20),
                Claim::new("request/medicina-general/cc:1032456789").personal(),
            ]
        );
        assert_eq!(Fields::new(&plan.attributes).text("/document/number"), Some("1032456789"));
    }

    #[test]
    fn a_request_is_due_at_the_end_of_its_last_business_day() {
        let midnight = tuesday().now + 12 * 3600;
        for (request, due, days) in [(request(&[]), "2026-11-27", 3), (special_request(), "2026-12-01", 7)] {
            let plan = book(&tuesday(), request).expect("allowed");
            assert_eq!(Fields::new(&plan.attributes).text(DUE), Some(due));
            assert_eq!(plan.wake, Some(Wake { at: midnight + days * 86_400, action: "overdue".into() }));
        }
    }

    #[test]
    fn a_vaccination_is_booked_at_once_and_takes_one_of_ten_places() {
        let plan = book(&tuesday(), vaccination("2026-12-01", "09:00")).expect("allowed");
        assert_eq!((plan.phase, plan.events.as_slice()), (Phase::Booked, &["booked".to_string()][..]));
        let session = plan.claims.iter().filter(|claim| claim.key.starts_with("session/")).collect::<Vec<_>>();
        assert_eq!(session[0], &Claim::new("session/vacunacion/110010000101/2026-12-01T14:00Z").with_places(10));
        assert_eq!(session.len(), 3);
        assert!(keys(&plan).iter().all(|key| !key.starts_with("doctor/") && !key.starts_with("request/")));
        assert_eq!(plan.wake.map(|wake| wake.action).as_deref(), Some("remind"));
        assert_eq!(
            codes(book(&tuesday(), vaccination("2026-12-08", "09:10"))),
            ["co.date.holiday", "co.time.off-grid"]
        );
    }

    #[test]
    fn only_what_is_booked_at_once_has_a_time() {
        let timed = request(&[("/date", "2026-12-01"), ("/hospital", "110010000101")]);
        assert_eq!(codes(book(&tuesday(), timed)), ["co.slot.not-yet", "co.slot.not-yet"]);
        let untimed = request(&[("/specialty", "vacunacion"), ("/time", "09:00")]);
        assert_eq!(codes(book(&tuesday(), untimed)), ["co.slot.missing", "co.slot.missing"]);
    }

    #[test]
    fn after_two_missed_appointments_a_patient_calls_and_staff_book() {
        assert!(book(&missed(1), request(&[])).is_ok());
        assert_eq!(codes(book(&missed(2), request(&[]))), ["co.patient.call-us"]);
        let staff = Context { facts: missed(2).facts, ..by(Role::Staff) };
        assert!(book(&staff, request(&[])).is_ok());
        assert_eq!(facts::before_booking(&staff, &request(&[])), []);
        let asked = facts::before_booking(&tuesday(), &request(&[]));
        assert_eq!((asked[0].key.as_str(), asked[0].at_most), ("cc:1032456789", 2));
        assert_eq!(asked[0].since, Some(tuesday().now - 180 * 86_400));
    }

    #[test]
    fn every_violation_is_reported_in_the_order_of_the_checks() {
        let mut wrong =
            request(&[("/specialty", "cardiologia"), ("/document/number", "1"), ("/municipality", "99999")]);
        wrong.retain(|field| field.path != "/email");
        assert_eq!(
            codes(book(&tuesday(), wrong)),
            ["co.document.digits", "co.contact.missing", "co.municipality.unknown", "co.authorisation.missing"]
        );
        assert_eq!(
            codes(book(&tuesday(), Vec::new())),
            ["co.document.missing", "co.contact.missing", "co.municipality.unknown"]
        );
    }
}
