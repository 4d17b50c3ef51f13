//! Messages for each violation code, in Spanish and English.

use citas_kit::messages::{
    ARRIVE_NOT_ALLOWED_NOW, ARRIVE_TOO_EARLY, COMPLETE_NOT_ALLOWED_NOW, COMPLETE_TOO_EARLY, DOCTOR_TAKEN, EMAIL,
    PATIENT_TAKEN, PHONE, Words,
};

/// Languages of the messages, the default first.
pub const LOCALES: [&str; 2] = ["es-PE", "en"];

/// Messages for every code that these rules use.
pub const WORDS: &[Words] = &[
    (
        "pe.patient.missing",
        &[
            "Indique el DNI o bien otro documento de identidad, solo uno de los dos.",
            "Give either the DNI or another identity document, exactly one of them.",
        ],
    ),
    (
        "pe.dni.check-digit",
        &[
            "El DNI no coincide con su dígito o letra de verificación. Revise ambos.",
            "The DNI does not match its check digit or letter. Please check both.",
        ],
    ),
    (
        "pe.document.issuer",
        &[
            "El carné de extranjería lo emite el Perú: indique PER como país, o no indique ninguno.",
            "Peru issues the carné de extranjería: give PER as its country, or none.",
        ],
    ),
    (
        "pe.document.country-unknown",
        &[
            "No existe un país con el código {country}. Use el código ISO 3166-1 de tres letras, por ejemplo VEN.",
            "There is no country with code {country}. Use the three letters of ISO 3166-1, for example VEN.",
        ],
    ),
    (
        "pe.emergency.staff-only",
        &[
            "Solo el personal del establecimiento puede registrar una emergencia. Acuda al servicio de emergencia más cercano.",
            "Only staff can record an emergency. Please go to the nearest emergency department.",
        ],
    ),
    (
        "pe.district.unknown",
        &[
            "No existe un distrito con el código {district}. Use el UBIGEO del INEI, de seis dígitos.",
            "There is no district with code {district}. Use INEI's six-digit UBIGEO.",
        ],
    ),
    ("pe.doctor.taken", &DOCTOR_TAKEN),
    ("pe.patient.taken", &PATIENT_TAKEN),
    (
        "pe.patient.limit",
        &[
            "El paciente ya tiene tres citas por atender. Cuando pase o se cancele una, podrá reservar otra.",
            "The patient already has three appointments to come. Another can be booked once one is over or cancelled.",
        ],
    ),
    (
        "pe.account.limit",
        &[
            "Su cuenta ya tiene diez citas por atender. Cuando pase o se cancele una, podrá reservar otra.",
            "Your account already has ten appointments to come. You can book another once one is over or cancelled.",
        ],
    ),
    ("pe.date.nonexistent", &["Esa fecha no existe en el calendario.", "That date does not exist in the calendar."]),
    (
        "pe.date.holiday",
        &[
            "Ese día es feriado ({holiday}). Elija otra fecha.",
            "That day is a public holiday ({holiday}). Please choose another date.",
        ],
    ),
    (
        "pe.date.too-far",
        &[
            "Todavía no se puede reservar para esa fecha. Elija una hasta el {latest}.",
            "That date cannot be booked yet. Choose one no later than {latest}.",
        ],
    ),
    (
        "pe.time.off-grid",
        &[
            "Las citas empiezan cada {every} minutos a partir de la hora en punto.",
            "Appointments start every {every} minutes from the full hour.",
        ],
    ),
    (
        "pe.time.closed",
        &[
            "A esa hora no hay atención. Lunes a viernes: {weekdays}; sábados: {saturday}; domingos: cerrado.",
            "Closed at that time. Monday to Friday: {weekdays}; Saturday: {saturday}; closed on Sundays.",
        ],
    ),
    (
        "pe.time.too-soon",
        &[
            "Es demasiado pronto. La cita puede empezar a partir de: {earliest}.",
            "That is too soon. The appointment can start from {earliest} on.",
        ],
    ),
    (
        "pe.cancel.too-late",
        &[
            "Solo puede cancelar la cita hasta {hours} horas antes. Comuníquese con el establecimiento.",
            "You can cancel the appointment until {hours} hours before it. Please contact the hospital.",
        ],
    ),
    (
        "pe.cancel.not-allowed-now",
        &[
            "La cita ya no se puede cancelar en su estado actual.",
            "The appointment can no longer be cancelled (it is {phase}).",
        ],
    ),
    (
        "pe.reschedule.too-late",
        &[
            "Solo puede reprogramar la cita hasta {hours} horas antes. Comuníquese con el establecimiento.",
            "You can reschedule the appointment until {hours} hours before it. Please contact the hospital.",
        ],
    ),
    (
        "pe.reschedule.not-allowed-now",
        &[
            "La cita ya no se puede reprogramar en su estado actual.",
            "The appointment can no longer be rescheduled (it is {phase}).",
        ],
    ),
    (
        "pe.no-show.too-early",
        &["La hora de la cita todavía no ha llegado.", "The time of the appointment has not come yet."],
    ),
    (
        "pe.no-show.not-allowed-now",
        &[
            "La inasistencia ya no se puede registrar en su estado actual.",
            "The no-show can no longer be recorded (the appointment is {phase}).",
        ],
    ),
    ("pe.arrive.too-early", &ARRIVE_TOO_EARLY),
    ("pe.arrive.not-allowed-now", &ARRIVE_NOT_ALLOWED_NOW),
    ("pe.complete.too-early", &COMPLETE_TOO_EARLY),
    ("pe.complete.not-allowed-now", &COMPLETE_NOT_ALLOWED_NOW),
    ("pe.remind.too-late", &["La cita ya empezó.", "The appointment has begun."]),
    (
        "pe.remind.not-allowed-now",
        &[
            "Solo se recuerda una cita reservada.",
            "People are only reminded of an appointment that is booked (it is {phase}).",
        ],
    ),
    ("pe.action.unknown", &["No existe la acción {action}.", "There is no action {action}."]),
    (
        "schema.pattern:/dni",
        &[
            "El DNI tiene ocho dígitos, con o sin su dígito o letra de verificación: {example}.",
            "The DNI has eight digits, with or without its check digit or letter: {example}.",
        ],
    ),
    (
        "schema.pattern:/document/number",
        &[
            "El número de un carné de extranjería tiene de 9 a 12 letras y dígitos; el de un pasaporte, de 2 a 20.",
            "The number of a carné de extranjería has 9 to 12 letters and digits, that of a passport 2 to 20.",
        ],
    ),
    (
        "schema.pattern:/document/country",
        &[
            "Indique el país con las tres letras mayúsculas de ISO 3166-1: {example}.",
            "Give the country in the three capital letters of ISO 3166-1: {example}.",
        ],
    ),
    ("schema.maxLength:/doctor", &DOCTOR),
    ("schema.pattern:/doctor", &DOCTOR),
    (
        "schema.pattern:/hospital",
        &[
            "El código del establecimiento (IPRESS) tiene ocho dígitos: {example}.",
            "The code of the establishment (IPRESS) has eight digits: {example}.",
        ],
    ),
    (
        "schema.pattern:/district",
        &["El UBIGEO del distrito tiene seis dígitos: {example}.", "The district's UBIGEO has six digits: {example}."],
    ),
    ("schema.pattern:/date", &["Escriba la fecha así: {example}.", "Write the date like this: {example}."]),
    ("schema.pattern:/time", &["Escriba la hora así: {example}.", "Write the time like this: {example}."]),
    ("schema.format:/email", &EMAIL),
    ("schema.pattern:/email", &EMAIL),
    ("schema.pattern:/phone", &PHONE),
];

const DOCTOR: [&str; 2] = [
    "El número de colegiatura del médico (CMP) tiene hasta seis dígitos: {example}.",
    "The doctor's CMP number has up to six digits: {example}.",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::descriptor::descriptor;
    use crate::samples::{booked, emergency, noon_in_lima, request};
    use crate::{booking, changes};
    use citas_kit::messages::gaps;
    use citas_kit::{Appointment, Context, Field, Phase, Violation};

    /// Returns refusals that together use every code.
    fn refusals() -> Vec<Violation> {
        let now = noon_in_lima();
        let nearly_there = Context { now: now.now + 7 * 86_400 - 12_000, ..now.clone() };
        let there = Context { now: now.now + 7 * 86_400, ..now.clone() };
        let in_phase = |phase| Appointment { phase, ..booked() };
        let mut anonymous = request(&[("/date", "2026-02-30")]);
        anonymous.retain(|field| field.path != "/dni");
        anonymous.push(emergency());
        let mut foreign = request(&[("/date", "2026-11-24"), ("/time", "09:00"), ("/document/type", "ce")]);
        foreign.push(Field::text("/document/country", "VEN"));
        let nowhere = request(&[("/document/type", "passport"), ("/document/country", "ZZZ")]);
        let everything =
            request(&[("/dni", "10117410-3"), ("/district", "999999"), ("/date", "2027-12-08"), ("/time", "21:07")]);
        let acts = ["cancel", "reschedule", "no-show", "arrive", "complete", "remind", "fly"];
        let answers = [anonymous, foreign, nowhere, everything].map(|request| booking::book(&now, request));
        let late = acts.map(|action| changes::act(&nearly_there, &booked(), action, &[]));
        let over = acts.map(|action| changes::act(&now, &in_phase(Phase::Cancelled), action, &[]));
        let early = changes::act(&now, &booked(), "arrive", &[]);
        let unseen = changes::act(&now, &in_phase(Phase::Arrived), "complete", &[]);
        let missed = changes::act(&there, &booked(), "remind", &[]);
        let taken = descriptor().claims.into_iter().map(|words| Violation::new(&words.path, words.code));
        let refused = answers
            .into_iter()
            .chain(late)
            .chain(over)
            .chain([early, unseen, missed])
            .filter_map(Result::err)
            .flatten();
        refused.chain(taken).collect()
    }

    #[test]
    fn every_refusal_can_be_said_in_every_language() {
        assert_eq!(gaps(&refusals(), &LOCALES, WORDS), Vec::<String>::new());
    }
}
