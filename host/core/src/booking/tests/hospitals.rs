//! Decisions on requests of the staff of single hospitals.

use super::*;

/// Returns a ledger with an appointment at a hospital.
fn stored_at(hospital: &str) -> OneAppointment {
    let mut stored = revision(Uuid::nil());
    stored.appointment.hospital = Some(hospital.into());
    OneAppointment { stored: Some(stored), ..OneAppointment::default() }
}

/// Returns rules whose every plan is at this hospital.
fn plans_at(hospital: Option<&str>) -> Deciding {
    Deciding::new(Ok(Ok(Plan { hospital: hospital.map(str::to_owned), ..booked() })))
}

fn eva() -> Caller {
    Caller { subject: "eva".into(), groups: ["pe:staff:1".to_owned()].into(), ..ana() }
}

async fn arrive(desk: &Desk) -> Result<View, BookingError> {
    let input = json!({ "reason": "x" });
    let request = ActionRequest { id: Uuid::nil(), action: "arrive", input, slot: None, if_match: None, key: None };
    desk.booking.act(&eva(), pe(), request).await
}

#[tokio::test]
async fn staff_of_a_hospital_store_no_appointment_elsewhere() {
    for hospital in [Some("2"), None] {
        let desk = Desk::new(plans_at(hospital), stored_at("1"));
        let booked = desk.booking.book(&eva(), pe(), json!({ "day": "2026-12-01" }), None).await;
        assert!(matches!(booked, Err(BookingError::Forbidden(_))), "{hospital:?}");
        assert!(matches!(arrive(&desk).await, Err(BookingError::Forbidden(_))), "{hospital:?}");
        assert_eq!(desk.changes().len(), 0);
    }
    let desk = Desk::new(plans_at(Some("1")), stored_at("1"));
    arrive(&desk).await.unwrap();
    let [change] = &desk.changes()[..] else { panic!("one change is stored") };
    assert_eq!(change.revision.provenance.context.caller.hospitals, Some(vec!["1".to_owned()]));
}

#[tokio::test]
async fn staff_of_a_hospital_change_no_appointment_elsewhere() {
    let desk = Desk::new(plans_at(Some("1")), stored_at("2"));
    assert!(matches!(arrive(&desk).await, Err(BookingError::UnknownAppointment)));
    assert_eq!(desk.rules.calls(), []);
}
