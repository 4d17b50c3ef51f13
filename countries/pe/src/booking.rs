//! Decides on a booking request: returns the plan of the appointment, or everything that is wrong with the request.

use citas_kit::fields::{Fields, set, unpad};
use citas_kit::violations::Findings;
use citas_kit::{Civil, Context, Field, Plan, Violation};

use crate::house::{LENGTH, SCHEDULE, clock, visit};
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
    let start = findings.check(SCHEDULE.start(&visit, fields));
    let (patient, start) = findings.conclude(patient.zip(start))?;

    let attributes = canonical(request, &patient);
    let mut plan = plan(context, start, &patient, attributes);
    plan.events.push("booked".into());
    Ok(plan)
}

/// Returns the plan of an appointment with an allowed start.
pub fn plan(context: &Context, start: Civil, patient: &Patient, attributes: Vec<Field>) -> Plan {
    let clock = clock(context);
    let doctor = Fields::new(&attributes).text("/doctor").unwrap_or_default();
    let whom = patient.whom(doctor, clock.read(start).instant());
    SCHEDULE.plan(clock, LENGTH, start, whom, attributes)
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
    use crate::samples::{by, codes, noon_in_lima, request};
    use citas_kit::Value;

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
                "doctor/45678/2026-12-01T14:30Z",
                "doctor/45678/2026-12-01T14:45Z",
                "patient/dni:10117410/2026-12-01T14:30Z",
                "patient/dni:10117410/2026-12-01T14:45Z",
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
    fn the_dni_is_kept_without_its_check_digit() {
        let plan = book_with(&[]).expect("allowed");
        assert_eq!(Fields::new(&plan.attributes).text("/dni"), Some("10117410"));
    }

    #[test]
    fn a_doctor_s_number_has_one_spelling() {
        assert_eq!(book_with(&[("/doctor", "045678")]), book_with(&[]));
    }

    #[test]
    fn every_problem_is_told_in_the_order_of_the_checks() {
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
        for role in ["staff", "platform"] {
            let plan = book(&by(role), anonymous_emergency()).expect("an emergency");
            assert_eq!(plan.patient, "anonymous/45678/2026-12-09T04:45Z");
            assert_eq!(plan.claims.len(), 2, "only the doctor's time is taken");
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
        assert_eq!(codes(book(&by("staff"), fields)), ["pe.date.too-far", "pe.time.off-grid"]);
        let mut fields = request(&[("/date", "2026-11-24"), ("/time", "11:45")]);
        fields.push(crate::samples::emergency());
        assert_eq!(codes(book(&by("staff"), fields)), ["pe.time.too-soon"]);
    }
}
