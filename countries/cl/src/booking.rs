//! Decides on a booking request: returns the plan of the appointment, or everything that is wrong with the request.

use citas_kit::fields::{Fields, set, unpad};
use citas_kit::violations::Findings;
use citas_kit::{Context, Field, Plan, Violation};

use crate::house::{HOUSE, visit};
use crate::patient::Patient;
use crate::{comunas, prevision};

/// Returns the plan of the request, or all its violations.
pub fn book(context: &Context, request: Vec<Field>) -> Result<Plan, Vec<Violation>> {
    let fields = Fields::new(&request);
    let visit = visit(context, fields, None);
    let mut findings = Findings::default();
    let patient = findings.check(Patient::of(fields));
    findings.note(comunas::unknown(fields));
    findings.check(prevision::check(fields));
    let start = findings.check(HOUSE.schedule.start(&visit, fields));
    let (patient, start) = findings.conclude(patient.zip(start))?;

    let attributes = canonical(request, &patient);
    Ok(HOUSE.book(&visit, start, Some(&patient.key()), attributes))
}

/// Returns the request with one spelling for each identity.
fn canonical(mut request: Vec<Field>, patient: &Patient) -> Vec<Field> {
    match patient {
        Patient::Run(run) => set(&mut request, Field::text("/run", run.as_str())),
        Patient::Document(document) => document.spell(&mut request),
    }
    unpad(&mut request, "/doctor");
    request
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{noon_in_santiago, request};
    use citas_kit::testing::{codes, keys};

    fn book_with(changes: &[(&str, &str)]) -> Result<Plan, Vec<Violation>> {
        book(&noon_in_santiago(), request(changes))
    }

    #[test]
    fn a_booking_in_person_claims_three_cells_of_each() {
        let plan = book_with(&[]).expect("allowed");
        assert_eq!(
            keys(&plan),
            [
                "doctor/123456/2026-12-01T12:30Z",
                "doctor/123456/2026-12-01T12:40Z",
                "doctor/123456/2026-12-01T12:50Z",
                "patient/run:12345678-5/2026-12-01T12:30Z",
                "patient/run:12345678-5/2026-12-01T12:40Z",
                "patient/run:12345678-5/2026-12-01T12:50Z",
                "live/patient/run:12345678-5",
                "live/account/a1",
            ]
        );
        assert_eq!(plan.patient, "run:12345678-5");
        assert_eq!(plan.doctor.as_deref(), Some("123456"));
        assert_eq!(plan.hospital.as_deref(), Some("109100"));
        let of_patient = plan.claims.iter().filter(|claim| claim.personal);
        assert_eq!(of_patient.map(|claim| claim.places).collect::<Vec<_>>(), [1, 1, 1, 3]);
        assert_eq!(plan.claims.last().map(|claim| claim.places), Some(10));
        assert!(plan.events.is_empty() && plan.wake.is_none());
        assert_eq!(plan.slot.map(|slot| slot.minutes), Some(30));
        assert_eq!(Fields::new(&plan.attributes).text("/run"), Some("12345678-5"));
    }

    #[test]
    fn a_doctor_s_number_has_one_spelling() {
        assert_eq!(book_with(&[("/doctor", "0000123456")]), book_with(&[]));
    }

    #[test]
    fn a_booking_from_afar_is_shorter() {
        let plan = book_with(&[("/modality", "remota"), ("/time", "09:40")]).expect("allowed");
        assert_eq!(plan.claims.len(), 6);
        assert_eq!(plan.slot.map(|slot| slot.minutes), Some(20));
    }

    #[test]
    fn the_modality_decides_the_grid() {
        assert_eq!(codes(book_with(&[("/time", "09:40")])), ["cl.time.off-grid"]);
        let remote = [("/modality", "telemedicina"), ("/time", "09:30")];
        assert_eq!(codes(book_with(&remote)), ["cl.time.off-grid"]);
    }

    #[test]
    fn the_comuna_decides_the_zone() {
        for (comuna, zone, instant) in [
            ("13101", "America/Santiago", "2026-12-01T12:30Z"),
            ("05201", "Pacific/Easter", "2026-12-01T14:30Z"),
            ("11101", "America/Coyhaique", "2026-12-01T12:30Z"),
            ("12101", "America/Punta_Arenas", "2026-12-01T12:30Z"),
        ] {
            let plan = book_with(&[("/comuna", comuna)]).expect(comuna);
            assert_eq!(keys(&plan)[0], ["doctor/123456/", instant].concat());
            assert_eq!(plan.slot.expect("a slot").zone, zone);
        }
    }

    #[test]
    fn saturdays_close_at_two() {
        assert!(book_with(&[("/date", "2026-12-05"), ("/time", "13:30")]).is_ok());
        for time in ["14:00", "08:30"] {
            let refused = book_with(&[("/date", "2026-12-05"), ("/time", time)]);
            assert_eq!(codes(refused), ["cl.time.closed"], "{time}");
        }
    }

    #[test]
    fn every_violation_is_reported_in_the_order_of_the_checks() {
        let wrong = [
            ("/run", "12345678-6"),
            ("/comuna", "99999"),
            ("/prevision/care", "mle"),
            ("/date", "2027-12-08"),
            ("/time", "21:07"),
        ];
        assert_eq!(
            codes(book_with(&wrong)),
            [
                "cl.run.check-digit",
                "cl.comuna.unknown",
                "cl.prevision.care-not-allowed",
                "cl.date.holiday",
                "cl.date.too-far",
                "cl.time.off-grid",
                "cl.time.closed",
            ]
        );
    }

    #[test]
    fn an_empty_request_is_refused_without_a_panic() {
        assert_eq!(
            codes(book(&noon_in_santiago(), Vec::new())),
            ["cl.patient.missing", "cl.comuna.unknown", "cl.date.nonexistent", "cl.time.off-grid"]
        );
    }
}
