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

/// Words in Spanish and English for a doctor's time that somebody else has.
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

/// Words in Spanish and English for an appointment that cannot be over yet.
pub const COMPLETE_TOO_EARLY: [&str; 2] =
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
