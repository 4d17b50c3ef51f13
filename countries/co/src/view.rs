//! The view of an appointment that clients see: the stored attributes, and fields derived from them.

use citas_kit::fields::{Fields, set};
use citas_kit::quotas::unsigned;
use citas_kit::{Appointment, Field, Phase, Role};

use crate::municipalities;
use crate::waiting::{AUTHORISED, CONFIRM_BY};

/// Returns the country's fields of an appointment, the same for every role.
pub fn present(_role: Role, appointment: Appointment) -> Vec<Field> {
    let mut fields = unsigned(appointment.attributes);
    if appointment.phase != Phase::Pending {
        fields.retain(|field| field.path != CONFIRM_BY);
    }
    let (location, status) = (location(Fields::new(&fields)), status(appointment.phase, Fields::new(&fields)));
    let municipality = Fields::new(&fields).text("/municipality").and_then(municipalities::name);
    if let Some(name) = municipality {
        set(&mut fields, Field::text("/municipalityName", name));
    }
    if let Some(location) = location {
        set(&mut fields, Field::text("/location", location));
    }
    set(&mut fields, Field::text("/description", "Cita médica"));
    set(&mut fields, Field::text("/status", status));
    fields
}

/// Returns the place of the appointment in words, once it is known.
pub fn location(booked: Fields) -> Option<String> {
    Some(["IPS ", booked.text("/hospital")?].concat())
}

/// Returns the status of the request, in Spanish.
fn status(phase: Phase, booked: Fields) -> &'static str {
    match phase {
        Phase::Requested if booked.flag(AUTHORISED) => "autorizada",
        Phase::Requested | Phase::Waitlisted => "solicitada",
        Phase::Pending => "por-confirmar",
        Phase::Booked => "confirmada",
        Phase::Arrived => "en-espera",
        Phase::Fulfilled => "atendida",
        Phase::Cancelled if booked.get(AUTHORISED).is_some() && !booked.flag(AUTHORISED) => "negada",
        Phase::Cancelled => "cancelada",
        Phase::NoShow => "no-asistio",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::act;
    use crate::samples::{assigned, authorised, booked, by, requested, specialist};
    use citas_kit::testing::next;

    fn presented(appointment: Appointment) -> Vec<Field> {
        present(Role::Patient, appointment)
    }

    #[test]
    fn clients_see_where_a_request_stands() {
        let staff = by(Role::Staff);
        let declined = act(&staff, &specialist(), "decline", &[Field::text("/reason", "x")]).expect("declined");
        let declined = next(&staff, &specialist(), "decline", declined);
        for (appointment, status) in [
            (requested(), "solicitada"),
            (specialist(), "solicitada"),
            (authorised(), "autorizada"),
            (declined, "negada"),
            (assigned(), "por-confirmar"),
            (booked(), "confirmada"),
            (Appointment { phase: Phase::Cancelled, ..authorised() }, "cancelada"),
        ] {
            assert_eq!(Fields::new(&presented(appointment)).text("/status"), Some(status));
        }
    }

    #[test]
    fn the_place_is_shown_once_it_is_known_and_the_time_to_confirm_while_it_runs() {
        let fields = presented(requested());
        let fields = Fields::new(&fields);
        assert_eq!(fields.text("/municipalityName"), Some("Bogotá, D.C."));
        assert!(!fields.has("/location") && !fields.has("/account") && !fields.has(CONFIRM_BY));
        let fields = presented(assigned());
        let fields = Fields::new(&fields);
        assert_eq!(fields.text("/location"), Some("IPS 110010000101"));
        assert_eq!(fields.text(CONFIRM_BY), Some("2026-11-26 12:00"));
        let cancelled = presented(Appointment { phase: Phase::Cancelled, ..assigned() });
        assert!(!Fields::new(&cancelled).has(CONFIRM_BY));
    }

    #[test]
    fn an_erased_appointment_is_shown_without_the_patient() {
        let mut erased = booked();
        erased.attributes.retain(|field| !field.path.starts_with("/document") && field.path != "/email");
        let fields = presented(Appointment { patient: "x1".into(), ..erased });
        assert_eq!(Fields::new(&fields).text("/status"), Some("confirmada"));
    }
}
