//! The page of a link in mail: HTML without scripts that loads nothing, in the language of the mail. It shows no more of the
//! appointment than the mail does, because anyone who has the mail can open it. Knows nothing of a link's state.

use std::sync::LazyLock;

use axum::http::header::{self, HeaderName};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use citas_core::model::{Appointment, CalendarTexts, Link, Phase, Slot};
use citas_core::rules::{Messages, host_language};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use super::problem::RETRY_AFTER;

const STYLE: &str = include_str!("link_page.css");

/// Content security policy: the page loads nothing, runs nothing, and is in no frame. Its form leads to itself.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let style = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    );
    HeaderValue::from_str(&policy).expect("ASCII letters and signs")
});

/// A title and a text that explains it.
pub type Note = (&'static str, &'static str);

/// The host's words on the page, in one language.
pub struct Words {
    language: &'static str,
    appointment: &'static str,
    date: &'static str,
    time: &'static str,
    place: &'static str,
    doctor: &'static str,
    hospital: &'static str,
    undated: &'static str,
    status: &'static str,
    cancelled: &'static str,
    pub open: &'static str,
    pub acted: &'static str,
    pub done: Note,
    pub changed: Note,
    pub refused: Note,
    pub expired: Note,
    pub unknown: Note,
    pub unavailable: Note,
}

const ENGLISH: Words = Words {
    language: "en",
    appointment: "Appointment",
    date: "Date",
    time: "Time",
    place: "Place",
    doctor: "Doctor",
    hospital: "Hospital",
    undated: "not set yet",
    status: "Status",
    cancelled: "cancelled",
    open: "Please check the appointment. Nothing happens before you press the button.",
    acted: "Thank you. You can close this page.",
    done: ("This is done already", "Nothing was changed. You can close this page."),
    changed: (
        "The appointment has changed",
        "The mail with this link shows another date, doctor or hospital, so nothing was done. Use the link in the latest \
         mail, or call the hospital.",
    ),
    refused: ("This is not possible now", "Nothing was changed. If you need help, call the hospital."),
    expired: ("This link has expired", "Nothing was changed. If you need help, call the hospital."),
    unknown: (
        "This link does not work",
        "Perhaps a part of it is missing. Open it in the mail again, or copy the whole address. If that does not help, call \
         the hospital.",
    ),
    unavailable: (
        "This does not work at the moment",
        "Please open the link again in a few minutes. The page then shows whether it is done.",
    ),
};

const SPANISH: Words = Words {
    language: "es",
    appointment: "Cita",
    date: "Fecha",
    time: "Hora",
    place: "Lugar",
    doctor: "Médico",
    hospital: "Establecimiento",
    undated: "por asignar",
    status: "Estado",
    cancelled: "cancelada",
    open: "Revise la cita, por favor. No ocurre nada hasta que pulse el botón.",
    acted: "Gracias. Puede cerrar esta página.",
    done: ("Esto ya está hecho", "No se cambió nada. Puede cerrar esta página."),
    changed: (
        "La cita ha cambiado",
        "El correo con este enlace muestra otra fecha, otro médico u otro establecimiento, así que no se hizo nada. Use el \
         enlace del correo más reciente o llame al establecimiento.",
    ),
    refused: ("Ahora no es posible", "No se cambió nada. Si necesita ayuda, llame al establecimiento."),
    expired: ("Este enlace ha caducado", "No se cambió nada. Si necesita ayuda, llame al establecimiento."),
    unknown: (
        "Este enlace no funciona",
        "Quizá le falta una parte. Ábralo de nuevo desde el correo o copie la dirección completa. Si no sirve, llame al \
         establecimiento.",
    ),
    unavailable: (
        "No funciona en este momento",
        "Abra el enlace de nuevo en unos minutos, por favor. La página mostrará entonces si está hecho.",
    ),
};

const DAYS: [&str; 7] = ["lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"];
const MONTHS: [&str; 12] = [
    "enero",
    "febrero",
    "marzo",
    "abril",
    "mayo",
    "junio",
    "julio",
    "agosto",
    "septiembre",
    "octubre",
    "noviembre",
    "diciembre",
];

/// The language in which a page is read.
pub struct Reader {
    /// The host's words.
    pub words: &'static Words,
    /// Locale of the country's words.
    pub locale: String,
}

/// Content of a page.
#[derive(Default)]
pub struct Page<'a> {
    pub title: String,
    pub note: &'static str,
    /// The country's reasons for a refusal.
    pub reasons: Vec<String>,
    pub appointment: Option<(&'a Appointment, &'a CalendarTexts)>,
    /// Words on the button that acts, if there is one.
    pub button: Option<String>,
}

impl Page<'_> {
    pub fn of((title, note): Note) -> Self {
        Self { title: title.to_owned(), note, ..Self::default() }
    }
}

/// Returns the host's words in a language; English unless it is Spanish.
fn words_in(language: &str) -> &'static Words {
    if language == "es" { &SPANISH } else { &ENGLISH }
}

impl Reader {
    /// Returns the reader of a link: the language is that of the mail, or what the browser accepts if the country no longer
    /// has that one.
    pub fn of(link: &Link, messages: Option<&Messages>, accept_language: &str) -> Self {
        let locale = match messages {
            Some(messages) if !messages.has_locale(&link.locale) => messages.negotiate(accept_language),
            _ => link.locale.clone(),
        };
        let language = locale.split('-').next().unwrap_or_default();
        Self { words: words_in(language), locale }
    }

    /// Returns the reader of a page without a link.
    pub fn of_no_link(accept_language: &str) -> Self {
        let language = host_language(accept_language);
        Self { words: words_in(language), locale: language.to_owned() }
    }

    pub fn response(&self, status: StatusCode, page: Page<'_>) -> Response {
        let fixed = |value| HeaderValue::from_static(value);
        let headers = [
            (header::CONTENT_TYPE, fixed("text/html; charset=utf-8")),
            (header::CONTENT_SECURITY_POLICY, POLICY.clone()),
            // The address is a secret: no cache, site or search engine may get it.
            (header::CACHE_CONTROL, fixed("no-store")),
            (header::REFERRER_POLICY, fixed("no-referrer")),
            (HeaderName::from_static("x-robots-tag"), fixed("noindex, nofollow")),
            (header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
            (header::X_FRAME_OPTIONS, fixed("DENY")),
        ];
        let mut response = (status, headers, self.html(page).into_string()).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response
    }

    fn html(&self, Page { title, note, reasons, appointment, button }: Page<'_>) -> Markup {
        let words = self.words;
        // The country's words may be in a language that the host does not have.
        let theirs = self.locale.as_str();
        let is_same = theirs.split('-').next() == Some(words.language);
        html! {
            (DOCTYPE)
            html lang=(if is_same { theirs } else { words.language }) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="format-detection" content="telephone=no";
                    title { (title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    main {
                        h1 lang=[(!is_same && button.is_some()).then_some(theirs)] { (title) }
                        @if !reasons.is_empty() {
                            ul lang=[(!is_same).then_some(theirs)] { @for reason in &reasons { li { (reason) } } }
                        }
                        p { (note) }
                        @if let Some((appointment, texts)) = appointment {
                            dl { @for (label, value) in self.details(appointment, texts) { dt { (label) } dd { (value) } } }
                        }
                        @if let Some(button) = button {
                            form method="post" { button type="submit" lang=[(!is_same).then_some(theirs)] { (button) } }
                        }
                    }
                }
            }
        }
    }

    /// Returns what a calendar shows of the appointment, and its doctor and hospital unless the country's words have them.
    fn details(&self, appointment: &Appointment, texts: &CalendarTexts) -> Vec<(&'static str, String)> {
        let words = self.words;
        let Appointment { phase, slot, doctor, hospital, .. } = appointment;
        let mut details = Vec::new();
        let mut add = |label, value: Option<&String>| details.extend(value.map(|value| (label, value.clone())));
        add(words.appointment, texts.summary.as_ref());
        match slot {
            Some(slot) => {
                add(words.date, Some(&self.date(slot)));
                add(words.time, Some(&self.time(slot)));
            }
            None => add(words.date, Some(&words.undated.to_owned())),
        }
        add(words.place, texts.location.as_ref());
        let is_shown =
            |key: &&String| [&texts.summary, &texts.location].into_iter().flatten().any(|text| text.contains(*key));
        add(words.doctor, doctor.as_ref().filter(|doctor| !is_shown(doctor)));
        add(words.hospital, hospital.as_ref().filter(|hospital| !is_shown(hospital)));
        // A confirmed appointment may have been cancelled since.
        add(words.status, (*phase == Phase::Cancelled).then(|| words.cancelled.to_owned()).as_ref());
        details
    }

    fn date(&self, slot: &Slot) -> String {
        let date = slot.start.date();
        if self.words.language != "es" {
            return date.strftime("%A %-d %B %Y").to_string();
        }
        let place = |number: i8| usize::try_from(number).expect("counted from 0");
        let weekday = DAYS[place(date.weekday().to_monday_zero_offset())];
        format!("{weekday} {} de {} de {}", date.day(), MONTHS[place(date.month() - 1)], date.year())
    }

    /// Returns the local time with the city of its zone.
    fn time(&self, Slot { start, zone, .. }: &Slot) -> String {
        let city = zone.rsplit('/').next().unwrap_or(zone).replace('_', " ");
        let of = match self.words.language {
            _ if zone.starts_with("Etc/") => city,
            "es" => format!("hora de {city}"),
            _ => format!("{city} time"),
        };
        format!("{} ({of})", start.strftime("%H:%M"))
    }
}

#[cfg(test)]
mod tests {
    use citas_core::model::Step;
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;

    const ODD: &str = "<b onclick='x'>&\"";

    fn appointment(zone: &str) -> Appointment {
        Appointment {
            id: Uuid::nil(),
            phase: Phase::Pending,
            slot: Some(Slot { start: "2026-03-04T08:05".parse().unwrap(), minutes: 30, zone: zone.into() }),
            starts_at: Some("2026-03-04T13:05:00Z".parse().unwrap()),
            created_at: Timestamp::UNIX_EPOCH,
            patient: "p".into(),
            doctor: Some("45678".into()),
            hospital: Some("00006219".into()),
            unverified: false,
            wake: None,
            revision: 1,
            steps: Vec::<Step>::new(),
            attributes: vec![],
        }
    }

    fn reader(locale: &str) -> Reader {
        let words = if locale.starts_with("es") { &SPANISH } else { &ENGLISH };
        Reader { words, locale: locale.into() }
    }

    fn html(locale: &str, appointment: &Appointment, texts: &CalendarTexts) -> String {
        let page = Page { title: "T".into(), appointment: Some((appointment, texts)), ..Page::default() };
        reader(locale).html(page).into_string()
    }

    #[test]
    fn the_time_is_local_and_in_the_readers_language() {
        let texts = CalendarTexts { summary: Some("Cita, CMP 45678".into()), location: Some("Usaquén".into()) };
        let spanish = html("es-CO", &appointment("America/Bogota"), &texts);
        for part in
            ["lang=\"es-CO\"", "miércoles 4 de marzo de 2026", "08:05 (hora de Bogota)", "Cita, CMP 45678", "Usaquén"]
        {
            assert!(spanish.contains(part), "{part} in {spanish}");
        }
        assert_eq!(spanish.matches("45678").count(), 1, "the country has words for it: {spanish}");
        assert!(spanish.contains("<dt>Establecimiento</dt><dd>00006219</dd>"), "and none for this: {spanish}");
        let english = html("en", &appointment("America/Punta_Arenas"), &CalendarTexts::default());
        for part in ["Wednesday 4 March 2026", "08:05 (Punta Arenas time)", "<dt>Doctor</dt><dd>45678</dd>", "00006219"]
        {
            assert!(english.contains(part), "{part} in {english}");
        }
    }

    #[test]
    fn an_appointment_without_a_date_says_so() {
        let undated = Appointment { slot: None, starts_at: None, ..appointment("America/Bogota") };
        let html = html("es-CO", &undated, &CalendarTexts::default());
        assert!(html.contains("<dt>Fecha</dt><dd>por asignar</dd>") && !html.contains("Estado"), "{html}");
    }

    #[test]
    fn an_appointment_that_is_cancelled_says_so_whatever_was_done_before() {
        let cancelled = Appointment { phase: Phase::Cancelled, ..appointment("America/Bogota") };
        let html = html("es-CO", &cancelled, &CalendarTexts::default());
        assert!(html.contains("<dt>Estado</dt><dd>cancelada</dd>"), "{html}");
    }

    #[test]
    fn words_of_a_language_that_the_host_lacks_are_marked_as_such() {
        let page = Page { title: "Confirmar".into(), button: Some("Confirmar".into()), ..Page::default() };
        let html = reader("pt-BR").html(page).into_string();
        for part in ["<html lang=\"en\">", "<h1 lang=\"pt-BR\">", "<button type=\"submit\" lang=\"pt-BR\">"] {
            assert!(html.contains(part), "{part} in {html}");
        }
    }

    #[test]
    fn markup_in_any_text_is_shown_and_not_run() {
        let texts = CalendarTexts { summary: Some(ODD.into()), location: Some(ODD.into()) };
        let page = Page {
            title: ODD.into(),
            note: ODD,
            reasons: vec![ODD.into()],
            appointment: Some((&appointment("America/Lima"), &texts)),
            button: Some(ODD.into()),
        };
        let html = reader("en").html(page).into_string();
        assert!(!html.contains("<b ") && html.matches("&lt;b onclick='x'&gt;&amp;").count() == 7, "{html}");
    }

    #[test]
    fn a_page_about_no_link_has_the_language_of_the_browser() {
        for (accepted, language) in [("es-CL,en;q=0.5", "es"), ("de, en", "en"), ("de", "en"), ("", "en"), ("es", "es")]
        {
            assert_eq!(Reader::of_no_link(accepted).words.language, language, "{accepted}");
        }
    }

    #[test]
    fn the_policy_allows_the_style_of_the_page_alone() {
        let policy = POLICY.to_str().unwrap();
        assert!(policy.contains(&BASE64_STANDARD.encode(Sha256::digest(STYLE))), "{policy}");
        let html = reader("en").html(Page::default()).into_string();
        assert!(html.contains(&format!("<style>{STYLE}</style>")), "its bytes are those of the digest");
    }
}
