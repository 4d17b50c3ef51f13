//! The view of an appointment that clients see: the stored attributes, and fields derived from them.

use citas_kit::document::Document;
use citas_kit::fields::{Fields, set};
use citas_kit::quotas::unsigned;
use citas_kit::{Appointment, Field, Phase, Role};

use crate::districts;
use crate::patient::DOCUMENTS;

/// Returns the country's fields of an appointment, the same for every role. A document that 1.0 stored under a nationality
/// is shown with its issuer.
pub fn present(_role: Role, appointment: Appointment) -> Vec<Field> {
    let mut fields = unsigned(appointment.attributes);
    if let Some(document) = Document::of(DOCUMENTS, Fields::new(&fields)) {
        document.spell(&mut fields);
    }
    let (description, location) = (description(Fields::new(&fields)), location(Fields::new(&fields)));
    let district = Fields::new(&fields).text("/district").and_then(districts::name);
    if let Some(name) = district {
        set(&mut fields, Field::text("/districtName", name));
    }
    set(&mut fields, Field::text("/description", description));
    set(&mut fields, Field::text("/location", location));
    set(&mut fields, Field::text("/status", status(appointment.phase)));
    fields
}

/// Returns the title of the appointment in a calendar.
fn description(booked: Fields) -> String {
    format!("Cita médica, {}", doctor(booked))
}

/// Returns where the appointment takes place, in words.
fn location(booked: Fields) -> String {
    let district = booked.text("/district").and_then(districts::full_name);
    [Some(establishment(booked)), district].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Returns the doctor's number with the name of its register.
pub fn doctor(booked: Fields) -> String {
    format!("CMP {}", booked.text("/doctor").unwrap_or_default())
}

/// Returns the establishment's code with the name of its register.
pub fn establishment(booked: Fields) -> String {
    format!("IPRESS {}", booked.text("/hospital").unwrap_or_default())
}

const fn status(phase: Phase) -> &'static str {
    match phase {
        Phase::Requested | Phase::Waitlisted => "solicitada",
        Phase::Pending => "pendiente",
        Phase::Booked => "reservada",
        Phase::Arrived => "en-espera",
        Phase::Fulfilled => "atendida",
        Phase::Cancelled => "cancelada",
        Phase::NoShow => "no-asistio",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::booked;

    #[test]
    fn clients_see_what_was_booked_with_its_status_and_district() {
        let fields = present(Role::Patient, booked());
        let fields = Fields::new(&fields);
        for (path, text) in [
            ("/status", "reservada"),
            ("/districtName", "Miraflores"),
            ("/description", "Cita médica, CMP 45678"),
            ("/location", "IPRESS 00006219, Miraflores, Lima"),
            ("/dni", "10117410"),
            ("/time", "09:30"),
        ] {
            assert_eq!(fields.text(path), Some(text), "{path}");
        }
    }

    #[test]
    fn a_card_that_1_0_stored_can_be_booked_again_as_it_is_shown() {
        let mut appointment = booked();
        for (path, text) in [("/document/type", "ce"), ("/document/number", "0020645691"), ("/document/country", "VEN")]
        {
            set(&mut appointment.attributes, Field::text(path, text));
        }
        let fields = present(Role::Patient, appointment);
        let fields = Fields::new(&fields);
        assert_eq!(fields.text("/document/number"), Some("020645691"));
        assert_eq!(fields.text("/document/country"), Some("PER"));
    }

    #[test]
    fn an_erased_appointment_is_shown_without_the_patient_and_the_account() {
        let mut appointment = booked();
        assert!(!Fields::new(&present(Role::Patient, appointment.clone())).has("/account"));
        appointment.attributes.retain(|field| !["/dni", "/email", "/account"].contains(&field.path.as_str()));
        appointment.patient = "x1".into();
        set(&mut appointment.attributes, Field::text("/document/type", "ce"));
        let fields = present(Role::Staff, appointment);
        assert_eq!(Fields::new(&fields).text("/location"), Some("IPRESS 00006219, Miraflores, Lima"));
        assert!(!Fields::new(&fields).has("/document/number"));
    }

    #[test]
    fn a_district_that_was_since_abolished_has_no_name() {
        let mut appointment = booked();
        set(&mut appointment.attributes, Field::text("/district", "999999"));
        let fields = present(Role::Patient, appointment);
        assert!(!Fields::new(&fields).has("/districtName"));
        assert_eq!(Fields::new(&fields).text("/location"), Some("IPRESS 00006219"));
    }
}
