//! The mails that Peru sends: one to the patient when an appointment is booked, moved or cancelled. They never mention
//! the reason for the visit.

use citas_kit::civil::{Date, Time, Weekday};
use citas_kit::fields::Fields;
use citas_kit::{Appointment, Civil, Notice};

use crate::{districts, messages::LOCALES};

/// Returns the notice for an event, if the event has one.
pub fn notices(event: &str, current: &Appointment) -> Option<Notice> {
    let (title, closing) = match event {
        "booked" => ("Su cita médica está reservada", INVITED),
        "rescheduled" => ("Su cita médica fue reprogramada", INVITED),
        "cancelled" => ("Su cita médica fue cancelada", "Si no lo solicitó, comuníquese con el establecimiento."),
        _ => return None,
    };
    let booked = Fields::new(&current.attributes);
    let to = booked.text("/email")?;
    let start = current.slot.as_ref()?.start;
    let details = details(current, booked, start);
    Some(Notice {
        to: to.into(),
        locale: LOCALES[0].into(),
        subject: format!("{title}: {}, {}", long_date(start), Time::of(start).text()),
        text: text(title, &details, closing),
        html: Some(html(title, &details, closing)),
        invite: true,
    })
}

const INVITED: &str = "Adjuntamos una invitación para su calendario.";

/// Returns the details of the appointment for the mail, each with its label.
fn details(current: &Appointment, booked: Fields, start: Civil) -> Vec<(&'static str, String)> {
    let said = |path| booked.text(path).unwrap_or_default();
    let district = districts::name(said("/district")).unwrap_or_default();
    vec![
        ("Fecha", long_date(start)),
        ("Hora", format!("{} (hora del Perú)", Time::of(start).text())),
        ("Médico", format!("CMP {}", said("/doctor"))),
        ("Establecimiento", format!("IPRESS {}", said("/hospital"))),
        ("Distrito", district.into()),
        ("Código de la cita", current.id.clone()),
    ]
}

fn text(title: &str, details: &[(&str, String)], closing: &str) -> String {
    let line = |(label, value): &(&str, String)| [*label, ": ", value, "\n"].concat();
    let lines: String = details.iter().map(line).collect();
    [title, ".\n\n", &lines, "\n", closing, "\n"].concat()
}

fn html(title: &str, details: &[(&str, String)], closing: &str) -> String {
    let row = |(label, value): &(&str, String)| ["<dt>", *label, "</dt><dd>", &escaped(value), "</dd>"].concat();
    let rows: String = details.iter().map(row).collect();
    ["<h1>", title, "</h1><dl>", &rows, "</dl><p>", closing, "</p>"].concat()
}

/// Escapes text for use between tags and in attributes.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

/// Formats a date as `martes 1 de diciembre de 2026`.
fn long_date(civil: Civil) -> String {
    const MONTHS: [&str; 12] = [
        "enero",
        "febrero",
        "marzo",
        "abril",
        "mayo",
        "junio",
        "julio",
        "agosto",
        "setiembre",
        "octubre",
        "noviembre",
        "diciembre",
    ];
    let Some(date) = Date::of(civil) else {
        return String::new();
    };
    let weekday = match date.weekday() {
        Weekday::Monday => "lunes",
        Weekday::Tuesday => "martes",
        Weekday::Wednesday => "miércoles",
        Weekday::Thursday => "jueves",
        Weekday::Friday => "viernes",
        Weekday::Saturday => "sábado",
        Weekday::Sunday => "domingo",
    };
    let month = MONTHS[usize::from(date.month() - 1)];
    format!("{weekday} {} de {month} de {}", date.day(), date.year())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::booked;
    use citas_kit::Field;
    use citas_kit::fields::set;

    #[test]
    fn a_booking_is_told_to_the_patient() {
        let notice = notices("booked", &booked()).expect("a mail");
        assert_eq!(notice.to, "ana@example.com");
        assert_eq!(notice.subject, "Su cita médica está reservada: martes 1 de diciembre de 2026, 09:30");
        for said in ["CMP 45678", "IPRESS 00006219", "Miraflores", "09:30 (hora del Perú)"] {
            assert!(notice.text.contains(said), "{said}");
            assert!(notice.html.as_deref().is_some_and(|html| html.contains(said)), "{said}");
        }
        assert!(notice.invite);
    }

    #[test]
    fn moving_and_cancelling_are_told_and_nothing_else() {
        for (event, told) in [("rescheduled", true), ("cancelled", true), ("no-show", false), ("", false)] {
            assert_eq!(notices(event, &booked()).is_some(), told, "{event}");
        }
    }

    #[test]
    fn the_reason_stays_between_patient_and_doctor() {
        let mut appointment = booked();
        for path in ["/reason", "/cancellation/reason"] {
            set(&mut appointment.attributes, Field::text(path, "dolor de rodilla"));
        }
        let notice = notices("cancelled", &appointment).expect("a mail");
        let whole = [notice.subject, notice.text, notice.html.unwrap_or_default()].concat();
        assert!(!whole.contains("rodilla"));
    }

    #[test]
    fn markup_in_a_value_is_shown_not_run() {
        let mut appointment = booked();
        set(&mut appointment.attributes, Field::text("/doctor", "<b onclick='x'>&\""));
        let html = notices("booked", &appointment).and_then(|notice| notice.html).expect("a mail");
        assert!(html.contains("CMP &lt;b onclick=&#39;x&#39;&gt;&amp;&quot;"));
    }

    #[test]
    fn without_an_address_there_is_no_mail() {
        let mut appointment = booked();
        appointment.attributes.retain(|field| field.path != "/email");
        assert_eq!(notices("booked", &appointment), None);
    }
}
