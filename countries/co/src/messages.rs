//! Messages for each violation code, in Spanish and English.

use citas_kit::messages::{REMIND_NOT_ALLOWED_NOW, REMIND_TOO_LATE, Words};

/// Languages of the messages, the default first.
pub const LOCALES: [&str; 2] = ["es-CO", "en"];

/// Returns the messages for every code that these rules use.
pub fn words() -> Vec<Words> {
    [WORDS, citas_kit::visit_words!("co")].concat()
}

/// Messages for the codes of this country alone.
const WORDS: &[Words] = &[
    (
        "co.document.missing",
        &["Indique el documento de identidad del paciente.", "Give the patient's identity document."],
    ),
    (
        "co.document.digits",
        &[
            "El número de un documento {type} tiene de {least} a {most} dígitos.",
            "The number of a document {type} has {least} to {most} digits.",
        ],
    ),
    (
        "co.document.letters",
        &[
            "El número de un documento {type} tiene de {least} a {most} letras y dígitos.",
            "The number of a document {type} has {least} to {most} letters and digits.",
        ],
    ),
    (
        "co.contact.missing",
        &[
            "Indique un correo electrónico o un teléfono para avisarle.",
            "Give a mail address or a telephone number at which we can reach you.",
        ],
    ),
    (
        "co.municipality.unknown",
        &[
            "No existe un municipio con el código {municipality}. Use el código DIVIPOLA del DANE, de cinco dígitos.",
            "There is no municipality with code {municipality}. Use DANE's five-digit DIVIPOLA code.",
        ],
    ),
    (
        "co.authorisation.missing",
        &[
            "Para {specialty} indique el número de la autorización de su EPS.",
            "For {specialty} give the number of your EPS's authorisation.",
        ],
    ),
    (
        "co.slot.missing",
        &[
            "Para {specialty} indique la IPS, la fecha y la hora: se reserva directamente.",
            "For {specialty} give the hospital, the date and the time: it is booked directly.",
        ],
    ),
    (
        "co.slot.not-yet",
        &[
            "Para {specialty} no indique IPS, fecha ni hora: se las asignamos y usted las confirma.",
            "For {specialty} leave out hospital, date and time: they are assigned to you, and you confirm them.",
        ],
    ),
    (
        "co.patient.call-us",
        &[
            "El paciente faltó a dos citas en los últimos {days} días. Por favor llámenos para pedir la siguiente. No hay multa.",
            "The patient missed two appointments in the last {days} days. Please call us for the next one. There is no fine.",
        ],
    ),
    (
        "co.request.open",
        &[
            "El paciente ya tiene una solicitud abierta en esa especialidad. Espere la respuesta, o cancélela.",
            "The patient already has an open request in that specialty. Wait for the answer, or cancel it.",
        ],
    ),
    (
        "co.session.full",
        &[
            "La jornada de esa hora está completa. Elija otra hora.",
            "That session is full. Please choose another time.",
        ],
    ),
    (
        "co.room.taken",
        &[
            "Todos los consultorios están ocupados a esa hora. Elija otra hora.",
            "Every room is taken at that time. Please choose another time.",
        ],
    ),
    (
        "co.patient.limit",
        &[
            "El paciente ya tiene diez solicitudes o citas por atender. Cuando pase o se cancele una, podrá pedir otra.",
            "The patient already has ten requests or appointments to come. Another can be made once one is over or cancelled.",
        ],
    ),
    (
        "co.account.limit",
        &[
            "Su cuenta ya tiene veinte solicitudes o citas por atender. Cuando pase o se cancele una, podrá pedir otra.",
            "Your account already has twenty requests or appointments to come. You can make another once one is over or cancelled.",
        ],
    ),
    (
        "co.date.holiday",
        &[
            "Ese día es festivo ({holiday}). Elija otra fecha.",
            "That day is a public holiday ({holiday}). Please choose another date.",
        ],
    ),
    (
        "co.date.too-far",
        &[
            "Todavía no hay agenda para esa fecha. Elija una hasta el {latest}.",
            "That date cannot be booked yet. Choose one no later than {latest}.",
        ],
    ),
    ("co.authorise.not-allowed-now", &NOT_REQUESTED),
    ("co.authorise.not-needed", &NOT_NEEDED),
    ("co.authorise.decided", &DECIDED),
    ("co.decline.not-allowed-now", &NOT_REQUESTED),
    ("co.decline.not-needed", &NOT_NEEDED),
    ("co.decline.decided", &DECIDED),
    ("co.assign.not-allowed-now", &NOT_REQUESTED),
    ("co.assign.not-authorised", &["Autorice primero la solicitud.", "Authorise the request first."]),
    ("co.assign.reason-missing", &REASON_MISSING),
    ("co.reschedule.reason-missing", &REASON_MISSING),
    (
        "co.reschedule.limit",
        &[
            "La cita ya se reprogramó {times} veces. Comuníquese con la IPS.",
            "The appointment has been moved {times} times already. Please contact the hospital.",
        ],
    ),
    (
        "co.confirm.too-late",
        &[
            "El plazo para confirmar la cita terminó. Le asignaremos otra, o pida una nueva.",
            "The time to confirm the appointment is over. We will assign another one, or you can request a new one.",
        ],
    ),
    (
        "co.confirm.not-allowed-now",
        &[
            "Solo se confirma una cita asignada que espera confirmación.",
            "Only an appointment that waits for confirmation can be confirmed (it is {phase}).",
        ],
    ),
    (
        "co.lapse.not-allowed-now",
        &[
            "Solo vence una cita asignada que espera confirmación.",
            "Only an appointment that waits for confirmation lapses (it is {phase}).",
        ],
    ),
    ("co.overdue.not-allowed-now", &NOT_REQUESTED),
    ("co.remind.too-late", &REMIND_TOO_LATE),
    ("co.remind.not-allowed-now", &REMIND_NOT_ALLOWED_NOW),
    (
        "schema.pattern:/document/number",
        &[
            "El número del documento tiene hasta 20 letras y dígitos: {example}.",
            "The number of the document has up to 20 letters and digits: {example}.",
        ],
    ),
    (
        "schema.pattern:/municipality",
        &[
            "El código DIVIPOLA del municipio tiene cinco dígitos: {example}.",
            "The municipality's DIVIPOLA code has five digits: {example}.",
        ],
    ),
    (
        "schema.pattern:/eps",
        &[
            "El código de la EPS tiene de 5 a 8 letras mayúsculas y dígitos: {example}.",
            "The code of the EPS has 5 to 8 capital letters and digits: {example}.",
        ],
    ),
    (
        "schema.pattern:/authorisation",
        &[
            "El número de autorización tiene de 4 a 20 letras, dígitos y guiones: {example}.",
            "The number of the authorisation has 4 to 20 letters, digits and hyphens: {example}.",
        ],
    ),
    (
        "schema.pattern:/name",
        &[
            "Escriba el nombre en una sola línea y sin llaves: {example}.",
            "Write the name on one line and without braces: {example}.",
        ],
    ),
    (
        "schema.pattern:/hospital",
        &[
            "El código de habilitación de la sede (REPS) tiene doce dígitos: {example}.",
            "The code of the establishment (REPS) has twelve digits: {example}.",
        ],
    ),
    ("schema.maxLength:/doctor", &DOCTOR),
    ("schema.pattern:/doctor", &DOCTOR),
];

const DOCTOR: [&str; 2] = [
    "El número del médico en el ReTHUS tiene hasta diez dígitos: {example}.",
    "The doctor's number in the ReTHUS has up to ten digits: {example}.",
];

const NOT_REQUESTED: [&str; 2] = [
    "Eso solo se hace con una solicitud que espera respuesta.",
    "That is only for a request that waits for an answer (it is {phase}).",
];

const NOT_NEEDED: [&str; 2] =
    ["Para {specialty} no se necesita autorización.", "A request for {specialty} needs no authorisation."];

const DECIDED: [&str; 2] = [
    "La solicitud ya está autorizada. Si no procede, cancélela.",
    "The request is authorised already. Cancel it if it should not be.",
];

const REASON_MISSING: [&str; 2] = [
    "La cita debe ser a más tardar el {latest}: tres días hábiles desde la solicitud. Para una fecha posterior indique el motivo.",
    "The appointment is due by {latest}: three business days from the request. Give a reason for a later date.",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::booking::book;
    use crate::changes::act;
    use crate::descriptor::descriptor;
    use crate::samples::{assigned, booked, by, request, requested, specialist, tuesday};
    use citas_kit::messages::gaps;
    use citas_kit::{Appointment, Context, Phase, Role, Violation};

    /// Returns refusals that together use every code.
    fn refusals() -> Vec<Violation> {
        let (now, staff) = (tuesday(), by(Role::Staff));
        let later = |days: i64, role| Context { now: now.now + days * 86_400, ..by(role) };
        let cancelled = Appointment { phase: Phase::Cancelled, ..booked() };
        let everything = request(&[
            ("/document/number", "1"),
            ("/municipality", "99999"),
            ("/email", ""),
            ("/specialty", "vacunacion"),
            ("/hospital", "110010000101"),
            ("/date", "2027-12-08"),
            ("/time", "21:07"),
        ]);
        let mut unreachable = request(&[
            ("/specialty", "cardiologia"),
            ("/date", "2026-12-01"),
            ("/document/type", "PA"),
            ("/document/number", "A"),
        ]);
        unreachable.retain(|field| field.path != "/email");
        let soon =
            request(&[("/specialty", "vacunacion"), ("/hospital", "1"), ("/date", "2026-11-24"), ("/time", "09:00")]);
        let requests = [
            everything,
            unreachable,
            soon,
            request(&[("/specialty", "vacunacion"), ("/document/number", "")]),
            Vec::new(),
        ];
        let answers = requests.map(|request| book(&crate::samples::missed(2), request));
        let nonexistent =
            request(&[("/specialty", "vacunacion"), ("/hospital", "1"), ("/date", "2026-02-30"), ("/time", "")]);
        let to_late = crate::samples::slot("2026-12-15", "09:00");
        let acts = [
            act(&staff, &requested(), "assign", &to_late),
            act(&staff, &specialist(), "assign", &to_late),
            act(&staff, &requested(), "authorise", &[]),
            act(&staff, &requested(), "decline", &[]),
            act(&staff, &crate::samples::authorised(), "authorise", &[]),
            act(&staff, &crate::samples::authorised(), "decline", &[]),
            act(&staff, &booked(), "reschedule", &to_late),
            act(&now, &crate::samples::moved(2), "reschedule", &to_late),
            act(&later(9, Role::Patient), &assigned(), "confirm", &[]),
            act(&later(9, Role::Clock), &booked(), "remind", &[]),
            act(&staff, &booked(), "arrive", &[]),
            act(&staff, &booked(), "no-show", &[]),
            act(&staff, &Appointment { phase: Phase::Arrived, ..booked() }, "complete", &[]),
            act(&later(9, Role::Patient), &booked(), "cancel", &[]),
            act(&later(9, Role::Patient), &booked(), "reschedule", &to_late),
            act(&staff, &booked(), "fly", &[]),
            book(&now, nonexistent),
        ];
        let over = descriptor().actions.into_iter().map(|action| act(&staff, &cancelled, &action.name, &[]));
        let refused = answers.into_iter().chain(acts).chain(over).filter_map(Result::err).flatten();
        let taken = descriptor().claims.into_iter().map(|words| Violation::new(&words.path, words.code));
        refused.chain(taken).collect()
    }

    #[test]
    fn every_refusal_can_be_said_in_every_language() {
        assert_eq!(gaps(&refusals(), &LOCALES, &words()), Vec::<String>::new());
    }
}
