//! Decides on a booking request: returns the plan of the appointment, or everything that is wrong with the request.

use citas_kit::fields::{Fields, set, unpad};
use citas_kit::violations::Findings;
use citas_kit::{Context, Field, Plan, Violation};

use crate::house::{HOUSE, visit};
use crate::patient::Patient;
use crate::{districts, emergency};

/// Returns the plan of the request, or all its violations.
pub fn book(context: &Context, request: Vec<Field>) -> Result<Plan, Vec<Violation>> {
    let fields = Fields::new(&request);
    let visit = visit(context, fields);
    let mut findings = Findings::default();
    let patient = findings.check(Patient::of(context, fields));
    findings.note(emergency::violation(context, fields));
    findings.note(districts::unknown(fields));
    let start = findings.check(HOUSE.schedule.start(&visit, fields));
    let (patient, start) = findings.conclude(patient.zip(start))?;

    let attributes = canonical(request, &patient);
    let mut plan = HOUSE.book(&visit, start, patient.key().as_deref(), attributes);
    plan.events.push("booked".into());
    Ok(plan)
}

/// Returns the request with one spelling for each identity.
fn canonical(mut request: Vec<Field>, patient: &Patient) -> Vec<Field> {
    unpad(&mut request, "/doctor");
    match patient {
        Patient::Dni(number) => set(&mut request, Field::text("/dni", number)),
        Patient::Document(document) => document.spell(&mut request),
        Patient::Unknown => {}
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{by, noon_in_lima, request};
    use citas_kit::testing::{codes, keys};
    use citas_kit::{Claim, Role, Value, Wake};

    fn book_with(changes: &[(&str, &str)]) -> Result<Plan, Vec<Violation>> {
        book(&noon_in_lima(), request(changes))
    }

    /// Returns an emergency at night, on a holiday, of somebody unknown.
    fn anonymous_emergency() -> Vec<Field> {
        let mut fields = request(&[("/date", "2026-12-08"), ("/time", "23:45")]);
        fields.retain(|field| !["/dni", "/email"].contains(&field.path.as_str()));
        fields.push(crate::samples::emergency());
        fields
    }

    #[test]
    fn a_booking_claims_the_doctor_s_and_the_patient_s_quarters() {
        let plan = book_with(&[]).expect("allowed");
        assert_eq!(
            plan.claims,
            [
                Claim::new("doctor/45678/2026-12-01T14:30Z"),
                Claim::new("doctor/45678/2026-12-01T14:45Z"),
                Claim::new("patient/dni:10117410/2026-12-01T14:30Z").personal(),
                Claim::new("patient/dni:10117410/2026-12-01T14:45Z").personal(),
                Claim::new("live/patient/dni:10117410").with_places(3).personal(),
                Claim::new("live/account/a1").with_places(10),
            ]
        );
        assert_eq!(plan.patient, "dni:10117410");
        assert_eq!(plan.doctor.as_deref(), Some("45678"));
        assert_eq!(plan.hospital.as_deref(), Some("00006219"));
        assert_eq!(plan.events, ["booked"]);
        let slot = plan.slot.expect("a slot");
        assert_eq!((slot.minutes, slot.zone.as_str()), (30, "America/Lima"));
    }

    #[test]
    fn staff_books_beyond_the_limits() {
        let plan = book(&by(Role::Staff), request(&[])).expect("allowed");
        assert_eq!(plan.claims[4..], [Claim::new("live/patient/dni:10117410").with_places(1000).personal()]);
        assert!(!Fields::new(&plan.attributes).has("/account"));
    }

    #[test]
    fn the_patient_is_reminded_a_day_before_if_that_is_to_come() {
        let at = |date, time| book_with(&[("/date", date), ("/time", time)]).expect("allowed").wake;
        let day = 86_400;
        let remind = |at| Some(Wake { at, action: "remind".into() });
        assert_eq!(at("2026-12-01", "09:30"), remind(noon_in_lima().now + 6 * day - 9000));
        assert_eq!(at("2026-11-25", "12:15"), remind(noon_in_lima().now + 900));
        assert_eq!(at("2026-11-25", "12:00"), None);
        for (seconds_before, reminded) in [(60, true), (59, false)] {
            let context = Context { now: noon_in_lima().now + 900 - seconds_before, ..noon_in_lima() };
            let plan = book(&context, request(&[("/date", "2026-11-25"), ("/time", "12:15")])).expect("allowed");
            assert_eq!(plan.wake.is_some(), reminded, "{seconds_before}");
        }
    }

    #[test]
    fn the_dni_is_kept_without_its_check_digit() {
        let plan = book_with(&[]).expect("allowed");
        assert_eq!(Fields::new(&plan.attributes).text("/dni"), Some("10117410"));
    }

    #[test]
    fn a_doctor_s_number_has_one_spelling() {
        assert_eq!(book_with(&[("/doctor", "045678")]), book_with(&[]));
    }

    #[test]
    fn every_violation_is_reported_in_the_order_of_the_checks() {
        let wrong = [("/dni", "10117410-3"), ("/district", "999999"), ("/date", "2027-12-08"), ("/time", "21:07")];
        assert_eq!(
            codes(book_with(&wrong)),
            [
                "pe.dni.check-digit",
                "pe.district.unknown",
                "pe.date.holiday",
                "pe.date.too-far",
                "pe.time.off-grid",
                "pe.time.closed",
            ]
        );
    }

    #[test]
    fn an_empty_request_is_refused_without_a_panic() {
        assert_eq!(
            codes(book(&noon_in_lima(), Vec::new())),
            ["pe.patient.missing", "pe.district.unknown", "pe.date.nonexistent", "pe.time.off-grid"]
        );
    }

    #[test]
    fn an_emergency_lifts_hours_holidays_lead_time_and_identity() {
        for role in [Role::Staff, Role::Platform] {
            let plan = book(&by(role), anonymous_emergency()).expect("an emergency");
            assert_eq!(plan.patient, "anonymous/45678/2026-12-09T04:45Z");
            assert_eq!(keys(&plan), ["doctor/45678/2026-12-09T04:45Z", "doctor/45678/2026-12-09T05:00Z"]);
            assert!(plan.off_agenda);
        }
    }

    #[test]
    fn a_patient_records_no_emergency() {
        assert_eq!(
            codes(book(&noon_in_lima(), anonymous_emergency())),
            ["pe.patient.missing", "pe.emergency.staff-only", "pe.date.holiday", "pe.time.closed"]
        );
        let mut fields = request(&[]);
        fields.push(Field { path: "/emergency".into(), value: Value::Flag(false) });
        assert!(book(&noon_in_lima(), fields).is_ok(), "to say that there is none is no emergency");
    }

    #[test]
    fn an_emergency_lifts_neither_grid_nor_horizon_nor_past() {
        let mut fields = request(&[("/date", "2027-02-23"), ("/time", "09:31")]);
        fields.push(crate::samples::emergency());
        assert_eq!(codes(book(&by(Role::Staff), fields)), ["pe.date.too-far", "pe.time.off-grid"]);
        let mut fields = request(&[("/date", "2026-11-24"), ("/time", "11:45")]);
        fields.push(crate::samples::emergency());
        assert_eq!(codes(book(&by(Role::Staff), fields)), ["pe.time.too-soon"]);
    }
}
