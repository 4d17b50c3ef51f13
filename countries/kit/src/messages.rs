//! Messages for violation codes, in every language of a country.

use crate::{Message, Violation};

/// A code and its text in each of the country's locales, in their order.
pub type Words = (&'static str, &'static [&'static str]);

/// Returns the catalogue of messages for a descriptor.
#[must_use]
pub fn catalogue(locales: &[&str], words: &[Words]) -> Vec<Message> {
    let in_each_locale = |(code, texts): &Words| {
        let message = |(locale, text): (&&str, &&str)| Message {
            code: (*code).into(),
            locale: (*locale).into(),
            text: (*text).into(),
        };
        locales.iter().zip(*texts).map(message).collect::<Vec<_>>()
    };
    words.iter().flat_map(in_each_locale).collect()
}

/// Lists the gaps in a country's messages for these refusals, for its tests: a text that is missing in some locale, a
/// placeholder without a param, words for a code that none of the refusals has. Empty if there are none. Words for a
/// violation of a schema (`schema.pattern:/dni`), which the host finds, only need every language.
#[must_use]
pub fn gaps(refusals: &[Violation], locales: &[&str], words: &[Words]) -> Vec<String> {
    let mut gaps = Vec::new();
    for Violation { code, params, .. } in refusals {
        let texts = words.iter().find(|(said, _)| said == code).map_or(&[][..], |(_, texts)| texts);
        if texts.len() != locales.len() {
            gaps.push(format!("{code} is not said in every language"));
        }
        let given = |name: &&str| params.iter().any(|(param, _)| param == name);
        let unfilled = texts.iter().flat_map(|text| placeholders(text)).filter(|name| !given(name));
        gaps.extend(unfilled.map(|name| format!("{code} gives no {name}")));
    }
    let (of_host, own): (Vec<&Words>, Vec<_>) = words.iter().partition(|(code, _)| code.starts_with("schema."));
    let used = |code: &str| refusals.iter().any(|refusal| refusal.code == code);
    gaps.extend(own.iter().filter(|(code, _)| !used(code)).map(|(code, _)| format!("{code} is never used")));
    let unsaid = of_host.iter().filter(|(_, texts)| texts.len() != locales.len());
    gaps.extend(unsaid.map(|(code, _)| format!("{code} is not said in every language")));
    gaps
}

fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name)
}

/// Returns the words in Spanish and English for the codes of a [`House`](crate::house::House) and of its
/// [`Schedule`](crate::schedule::Schedule), and for the members that every request has. The country's own words are for its
/// holidays, its limits and its horizon:
///
/// ```
/// use citas_kit::messages::Words;
///
/// const VISIT: &[Words] = citas_kit::visit_words!("ut");
/// assert!(VISIT.iter().any(|(code, _)| *code == "ut.doctor.taken"));
/// ```
#[macro_export]
macro_rules! visit_words {
    ($country:literal) => {
        &[
            (concat!($country, ".doctor.taken"), &$crate::messages::DOCTOR_TAKEN),
            (concat!($country, ".patient.taken"), &$crate::messages::PATIENT_TAKEN),
            (concat!($country, ".date.nonexistent"), &$crate::messages::DATE_NONEXISTENT),
            (concat!($country, ".time.off-grid"), &$crate::messages::TIME_OFF_GRID),
            (concat!($country, ".time.closed"), &$crate::messages::TIME_CLOSED),
            (concat!($country, ".time.too-soon"), &$crate::messages::TIME_TOO_SOON),
            (concat!($country, ".cancel.too-late"), &$crate::messages::CANCEL_TOO_LATE),
            (concat!($country, ".cancel.not-allowed-now"), &$crate::messages::CANCEL_NOT_ALLOWED_NOW),
            (concat!($country, ".reschedule.too-late"), &$crate::messages::RESCHEDULE_TOO_LATE),
            (concat!($country, ".reschedule.not-allowed-now"), &$crate::messages::RESCHEDULE_NOT_ALLOWED_NOW),
            (concat!($country, ".no-show.too-early"), &$crate::messages::NOT_BEGUN),
            (concat!($country, ".no-show.not-allowed-now"), &$crate::messages::NO_SHOW_NOT_ALLOWED_NOW),
            (concat!($country, ".arrive.too-early"), &$crate::messages::ARRIVE_TOO_EARLY),
            (concat!($country, ".arrive.not-allowed-now"), &$crate::messages::ARRIVE_NOT_ALLOWED_NOW),
            (concat!($country, ".complete.too-early"), &$crate::messages::NOT_BEGUN),
            (concat!($country, ".complete.not-allowed-now"), &$crate::messages::COMPLETE_NOT_ALLOWED_NOW),
            (concat!($country, ".action.unknown"), &$crate::messages::ACTION_UNKNOWN),
            ("schema.pattern:/date", &$crate::messages::DATE),
            ("schema.pattern:/time", &$crate::messages::TIME),
            ("schema.format:/email", &$crate::messages::EMAIL),
            ("schema.pattern:/email", &$crate::messages::EMAIL),
            ("schema.pattern:/phone", &$crate::messages::PHONE),
        ]
    };
}

/// Words in Spanish and English for a malformed date.
pub const DATE: [&str; 2] = ["Escriba la fecha así: {example}.", "Write the date like this: {example}."];

/// Words in Spanish and English for a malformed time.
pub const TIME: [&str; 2] = ["Escriba la hora así: {example}.", "Write the time like this: {example}."];

/// Words in Spanish and English for a date that the calendar does not have.
pub const DATE_NONEXISTENT: [&str; 2] =
    ["Esa fecha no existe en el calendario.", "That date does not exist in the calendar."];

/// Words in Spanish and English for a start that is not on the grid.
pub const TIME_OFF_GRID: [&str; 2] = [
    "Las citas empiezan cada {every} minutos a partir de la hora en punto.",
    "Appointments start every {every} minutes from the full hour.",
];

/// Words in Spanish and English for a time outside opening hours.
pub const TIME_CLOSED: [&str; 2] = [
    "A esa hora no hay atención. Lunes a viernes: {weekdays}; sábados: {saturday}; domingos: cerrado.",
    "Closed at that time. Monday to Friday: {weekdays}; Saturday: {saturday}; closed on Sundays.",
];

/// Words in Spanish and English for a start that is past or too near.
pub const TIME_TOO_SOON: [&str; 2] = [
    "Es demasiado pronto. La cita puede empezar a partir de: {earliest}.",
    "That is too soon. The appointment can start from {earliest} on.",
];

/// Words in Spanish and English for a cancellation after the deadline.
pub const CANCEL_TOO_LATE: [&str; 2] = [
    "Solo puede cancelar la cita hasta {hours} horas antes. Comuníquese con el establecimiento.",
    "You can cancel the appointment until {hours} hours before it. Please contact the hospital.",
];

/// Words in Spanish and English for a cancellation in another phase.
pub const CANCEL_NOT_ALLOWED_NOW: [&str; 2] = [
    "La cita ya no se puede cancelar en su estado actual.",
    "The appointment can no longer be cancelled (it is {phase}).",
];

/// Words in Spanish and English for a change of time after the deadline.
pub const RESCHEDULE_TOO_LATE: [&str; 2] = [
    "Solo puede reprogramar la cita hasta {hours} horas antes. Comuníquese con el establecimiento.",
    "You can reschedule the appointment until {hours} hours before it. Please contact the hospital.",
];

/// Words in Spanish and English for a change of time in another phase.
pub const RESCHEDULE_NOT_ALLOWED_NOW: [&str; 2] = [
    "La cita ya no se puede reprogramar en su estado actual.",
    "The appointment can no longer be rescheduled (it is {phase}).",
];

/// Words in Spanish and English for a no-show in another phase.
pub const NO_SHOW_NOT_ALLOWED_NOW: [&str; 2] = [
    "La inasistencia ya no se puede registrar en su estado actual.",
    "The no-show can no longer be recorded (the appointment is {phase}).",
];

/// Words in Spanish and English for an action that the country does not have.
pub const ACTION_UNKNOWN: [&str; 2] = ["No existe la acción {action}.", "There is no action {action}."];

/// Words in Spanish and English for a reminder after the start.
pub const REMIND_TOO_LATE: [&str; 2] = ["La cita ya empezó.", "The appointment has begun."];

/// Words in Spanish and English for a reminder in another phase.
pub const REMIND_NOT_ALLOWED_NOW: [&str; 2] = [
    "Solo se recuerda una cita reservada.",
    "People are only reminded of an appointment that is booked (it is {phase}).",
];

/// Words in Spanish and English for a mail address that is not one.
pub const EMAIL: [&str; 2] = [
    "El correo electrónico no está bien escrito. Escríbalo así: {example}. Un dominio con eñes o tildes se escribe en su forma xn--.",
    "The mail address is not written correctly. Write it like this: {example}. An international domain is written in its form xn--.",
];

/// Words in Spanish and English for a telephone number that is not one.
pub const PHONE: [&str; 2] = [
    "El teléfono no está bien escrito. Escríbalo así: {example}.",
    "The phone number is not written correctly. Write it like this: {example}.",
];

/// Words in Spanish and English for a doctor's time that is taken.
pub const DOCTOR_TAKEN: [&str; 2] = [
    "El médico ya tiene otra cita a esa hora. Elija otra hora.",
    "The doctor has another appointment at that time. Please choose another time.",
];

/// Words in Spanish and English for a patient's time that another appointment has.
pub const PATIENT_TAKEN: [&str; 2] = [
    "El paciente ya tiene otra cita a esa hora. Elija otra hora.",
    "The patient has another appointment at that time. Please choose another time.",
];

/// Words in Spanish and English for an arrival that is recorded too early.
pub const ARRIVE_TOO_EARLY: [&str; 2] = [
    "La llegada del paciente se puede registrar desde {hours} horas antes de la cita.",
    "The patient's arrival can be recorded from {hours} hours before the appointment on.",
];

/// Words in Spanish and English for an arrival in another phase.
pub const ARRIVE_NOT_ALLOWED_NOW: [&str; 2] = [
    "La llegada solo se puede registrar en una cita reservada.",
    "The arrival can only be recorded for an appointment that is booked (it is {phase}).",
];

/// Words in Spanish and English for a completion that is recorded too early.
pub const NOT_BEGUN: [&str; 2] =
    ["La hora de la cita todavía no ha llegado.", "The time of the appointment has not come yet."];

/// Words in Spanish and English for an appointment whose patient has not arrived.
pub const COMPLETE_NOT_ALLOWED_NOW: [&str; 2] = [
    "Registre primero la llegada del paciente: solo se atiende a quien ha llegado.",
    "Record the patient's arrival first: only who has arrived is seen (the appointment is {phase}).",
];

#[cfg(test)]
mod tests {
    use super::*;

    const LOCALES: [&str; 2] = ["es", "en"];
    const WORDS: &[Words] = &[("x.date.late", &["hasta {latest}", "until {latest}"])];

    #[test]
    fn each_code_has_a_message_per_locale() {
        let catalogue = catalogue(&LOCALES, WORDS);
        let said: Vec<_> = catalogue.iter().map(|m| (m.locale.as_str(), m.text.as_str())).collect();
        assert_eq!(said, [("es", "hasta {latest}"), ("en", "until {latest}")]);
    }

    #[test]
    fn what_cannot_be_said_is_named() {
        let gaps = |refusals: &[Violation]| gaps(refusals, &LOCALES, WORDS);
        let late = || Violation::new("", "x.date.late");
        assert!(gaps(&[late().with("latest", "now")]).is_empty());
        assert_eq!(gaps(&[late()]), ["x.date.late gives no latest"; 2]);
        assert_eq!(
            gaps(&[Violation::new("", "x.other")]),
            ["x.other is not said in every language", "x.date.late is never used"]
        );
        let of_host: &[Words] = &[("schema.pattern:/dni", &["ocho dígitos"])];
        assert_eq!(super::gaps(&[], &LOCALES, of_host), ["schema.pattern:/dni is not said in every language"]);
    }
}
