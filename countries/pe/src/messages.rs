//! Messages for each violation code, in Spanish and English.

use citas_kit::messages::{REMIND_NOT_ALLOWED_NOW, REMIND_TOO_LATE, Words};

/// Languages of the messages, the default first.
pub const LOCALES: [&str; 2] = ["es-PE", "en"];

/// Returns the messages for every code that these rules use.
pub fn words() -> Vec<Words> {
    [WORDS, citas_kit::visit_words!("pe")].concat()
}

/// Messages for the codes of this country alone.
const WORDS: &[Words] = &[
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
    ("pe.remind.too-late", &REMIND_TOO_LATE),
    ("pe.remind.not-allowed-now", &REMIND_NOT_ALLOWED_NOW),
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
        assert_eq!(gaps(&refusals(), &LOCALES, &words()), Vec::<String>::new());
    }
}
