//! Messages for each violation code, in Spanish and English.

use citas_kit::messages::Words;

/// Languages of the messages, the default first.
pub const LOCALES: [&str; 2] = ["es-CL", "en"];

/// Returns the messages for every code that these rules use.
pub fn words() -> Vec<Words> {
    [WORDS, citas_kit::visit_words!("cl")].concat()
}

/// Messages for the codes of this country alone.
const WORDS: &[Words] = &[
    (
        "cl.patient.missing",
        &[
            "Indique el RUN o bien otro documento de identidad, solo uno de los dos.",
            "Give either the RUN or another identity document, exactly one of them.",
        ],
    ),
    (
        "cl.run.format",
        &[
            "El RUN no está bien escrito. Escríbalo así: 12345678-5.",
            "The RUN is not written correctly. Write it like this: 12345678-5.",
        ],
    ),
    (
        "cl.run.check-digit",
        &[
            "El RUN no coincide con su dígito verificador. Revise ambos.",
            "The RUN does not match its check digit. Please check both.",
        ],
    ),
    (
        "cl.document.issuer",
        &[
            "El IPE y el IPA los emite Chile: indique CHL como país, o no indique ninguno.",
            "Chile issues IPE and IPA: give CHL as the country, or none.",
        ],
    ),
    (
        "cl.document.not-foreign",
        &[
            "La cédula de identidad chilena no es un documento extranjero: indique el RUN.",
            "The Chilean identity card is no foreign document: give the RUN.",
        ],
    ),
    (
        "cl.document.country-unknown",
        &[
            "No existe un país con el código {country}. Use el código ISO 3166-1 de tres letras, por ejemplo VEN.",
            "There is no country with code {country}. Use the three letters of ISO 3166-1, for example VEN.",
        ],
    ),
    (
        "cl.comuna.unknown",
        &[
            "No existe una comuna con el código {comuna}. Use el código único territorial, de cinco dígitos.",
            "There is no comuna with code {comuna}. Use the five-digit Código Único Territorial.",
        ],
    ),
    (
        "cl.prevision.tramo-missing",
        &["Para FONASA indique el tramo, de la A a la D.", "For FONASA give the tramo, A to D."],
    ),
    ("cl.prevision.plan-missing", &["Para una isapre indique el plan.", "For an isapre give the plan."]),
    (
        "cl.prevision.tramo-only-fonasa",
        &["Solo FONASA tiene tramos: no indique el tramo.", "Only FONASA has a tramo: leave it out."],
    ),
    (
        "cl.prevision.plan-only-isapre",
        &["Solo una isapre tiene plan: no indique el plan.", "Only an isapre has a plan: leave it out."],
    ),
    (
        "cl.prevision.care-only-fonasa",
        &[
            "Solo FONASA distingue entre atención institucional y libre elección: no indique la modalidad de atención.",
            "Only FONASA distinguishes institutional care and free choice: leave out the care.",
        ],
    ),
    (
        "cl.prevision.care-not-allowed",
        &[
            "El tramo A de FONASA no puede usar la modalidad libre elección.",
            "Tramo A of FONASA cannot use free choice of provider (MLE).",
        ],
    ),
    (
        "cl.patient.limit",
        &[
            "El paciente ya tiene tres citas por atender. Cuando pase o se cancele una, podrá reservar otra.",
            "The patient already has three appointments to come. Another can be booked once one is over or cancelled.",
        ],
    ),
    (
        "cl.account.limit",
        &[
            "Su cuenta ya tiene diez citas por atender. Cuando pase o se cancele una, podrá reservar otra.",
            "Your account already has ten appointments to come. You can book another once one is over or cancelled.",
        ],
    ),
    (
        "cl.date.holiday",
        &[
            "Ese día es feriado ({holiday}). Elija otra fecha.",
            "That day is a public holiday ({holiday}). Please choose another date.",
        ],
    ),
    (
        "cl.date.too-far",
        &[
            "Todavía no se puede reservar una hora para esa fecha. Elija una hasta el {latest}.",
            "That date cannot be booked yet. Choose one no later than {latest}.",
        ],
    ),
    (
        "schema.pattern:/doctor",
        &[
            "El número del médico en el registro de la Superintendencia (RNPI) solo tiene dígitos: {example}.",
            "The doctor's number in the register of the Superintendencia (RNPI) has only digits: {example}.",
        ],
    ),
    (
        "schema.pattern:/hospital",
        &[
            "El código DEIS del establecimiento tiene seis dígitos: {example}.",
            "The DEIS code of the establishment has six digits: {example}.",
        ],
    ),
    (
        "schema.pattern:/comuna",
        &[
            "El código único territorial de la comuna tiene cinco dígitos: {example}.",
            "The Código Único Territorial of the comuna has five digits: {example}.",
        ],
    ),
    (
        "schema.pattern:/document/number",
        &[
            "El número de un IPE o IPA tiene dígitos y un dígito verificador o K; el de otro documento, hasta 20 letras y dígitos.",
            "The number of an IPE or IPA has digits and a check digit or K; that of another document up to 20 letters and digits.",
        ],
    ),
    (
        "schema.pattern:/document/country",
        &[
            "Indique el país con las tres letras mayúsculas de ISO 3166-1: {example}.",
            "Give the country in the three capital letters of ISO 3166-1: {example}.",
        ],
    ),
    (
        "schema.pattern:/prevision/plan",
        &[
            "Indique el plan de la isapre, por ejemplo {example}.",
            "Give the plan of the isapre, for example {example}.",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::descriptor::descriptor;
    use crate::samples::{booked, noon_in_santiago, request};
    use crate::{booking, changes};
    use citas_kit::messages::gaps;
    use citas_kit::{Appointment, Context, Phase, Violation};

    /// Returns refusals that together use every code.
    fn refusals() -> Vec<Violation> {
        let now = noon_in_santiago();
        let nearly_there = Context { now: now.now + 7 * 86_400 - 12_000, ..now.clone() };
        let in_phase = |phase| Appointment { phase, ..booked() };
        let mut anonymous = request(&[("/date", "2026-02-30")]);
        anonymous.retain(|field| field.path != "/run" && field.path != "/prevision/tramo");
        let requests = [
            anonymous,
            request(&[("/date", "2026-11-24"), ("/time", "12:30"), ("/prevision/system", "isapre")]),
            request(&[
                ("/run", "1-9"),
                ("/prevision/care", "mle"),
                ("/document/type", "ipe"),
                ("/document/country", "HTI"),
            ]),
            request(&[("/document/type", "foreign-id"), ("/document/country", "CHL"), ("/prevision/plan", "P-100")]),
            request(&[
                ("/document/country", "ZZZ"),
                ("/document/type", "passport"),
                ("/prevision/system", "none"),
                ("/prevision/care", "mai"),
            ]),
            request(&[("/run", "12345678-6"), ("/comuna", "99999"), ("/date", "2027-12-08"), ("/time", "21:07")]),
        ];
        let acts = ["cancel", "reschedule", "no-show", "arrive", "complete", "fly"];
        let refused = requests.map(|request| booking::book(&now, request));
        let late = acts.map(|action| changes::act(&nearly_there, &booked(), action, &[]));
        let over = acts.map(|action| changes::act(&now, &in_phase(Phase::Cancelled), action, &[]));
        let early = changes::act(&now, &booked(), "arrive", &[]);
        let unseen = changes::act(&now, &in_phase(Phase::Arrived), "complete", &[]);
        let taken = descriptor().claims.into_iter().map(|words| Violation::new(&words.path, words.code));
        let refused =
            refused.into_iter().chain(late).chain(over).chain([early, unseen]).filter_map(Result::err).flatten();
        refused.chain(taken).collect()
    }

    #[test]
    fn every_refusal_can_be_said_in_every_language() {
        assert_eq!(gaps(&refusals(), &LOCALES, &words()), Vec::<String>::new());
    }
}
