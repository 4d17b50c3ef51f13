//! The view of an appointment that clients see: the stored attributes, and fields derived from them.

use citas_kit::document::Document;
use citas_kit::fields::{Fields, set};
use citas_kit::quotas::unsigned;
use citas_kit::{Appointment, Field, Phase, Role};

use crate::comunas;
use crate::patient::DOCUMENTS;

/// Returns the country's fields of an appointment, the same for every role. A document that 1.0 stored under a nationality
/// is shown with its issuer.
pub fn present(_role: Role, appointment: Appointment) -> Vec<Field> {
    let mut fields = unsigned(appointment.attributes);
    if let Some(document) = Document::of(DOCUMENTS, Fields::new(&fields)) {
        document.spell(&mut fields);
    }
    let comuna = Fields::new(&fields).text("/comuna").and_then(comunas::find);
    if let Some(comuna) = comuna {
        set(&mut fields, Field::text("/comunaName", comuna.name));
    }
    set(&mut fields, Field::text("/status", status(appointment.phase)));
    fields
}

/// Returns the status in MINSAL's words (`AppointmentAgendarLE`), and in FHIR's where MINSAL has none.
const fn status(phase: Phase) -> &'static str {
    match phase {
        Phase::Requested | Phase::Waitlisted | Phase::Pending => "pending",
        Phase::Booked => "booked",
        Phase::Arrived => "arrived",
        Phase::Fulfilled => "fulfilled",
        Phase::Cancelled => "cancelled",
        Phase::NoShow => "noshow",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::booked;

    #[test]
    fn clients_see_what_was_booked_with_its_status_and_comuna() {
        let fields = present(Role::Patient, booked());
        let fields = Fields::new(&fields);
        for (path, text) in
            [("/status", "booked"), ("/comunaName", "Santiago"), ("/run", "12345678-5"), ("/modality", "presencial")]
        {
            assert_eq!(fields.text(path), Some(text), "{path}");
        }
    }

    #[test]
    fn an_erased_appointment_is_shown_without_the_patient_and_the_account() {
        let mut erased = booked();
        assert!(!Fields::new(&present(Role::Patient, erased.clone())).has("/account"));
        erased.attributes.retain(|field| !["/run", "/email", "/account"].contains(&field.path.as_str()));
        erased.attributes.push(Field::text("/document/type", "ipe"));
        let fields = present(Role::Staff, erased);
        assert_eq!(Fields::new(&fields).text("/comunaName"), Some("Santiago"));
        assert!(!Fields::new(&fields).has("/document/number"));
    }

    #[test]
    fn a_number_that_1_0_stored_can_be_booked_again_as_it_is_shown() {
        let mut appointment = booked();
        for (path, text) in
            [("/document/type", "ipe"), ("/document/number", "1001234567"), ("/document/country", "HTI")]
        {
            set(&mut appointment.attributes, Field::text(path, text));
        }
        assert_eq!(Fields::new(&present(Role::Patient, appointment)).text("/document/country"), Some("CHL"));
    }
}
