//! The mails that Peru sends: one to the patient when an appointment is booked, moved or cancelled, and a reminder the
//! day before. They never mention the reason for the visit.

use citas_kit::civil::Time;
use citas_kit::dates::{self, spanish_time as at};
use citas_kit::fields::Fields;
use citas_kit::letter::Letter;
use citas_kit::{Appointment, Civil, Notice, Slot};

use crate::house::CHANGE_HOURS;
use crate::messages::LOCALES;
use crate::{districts, view};

/// Returns the notices for an event: one, or none.
pub fn notices(event: &str, current: &Appointment) -> Vec<Notice> {
    notice(event, current).into_iter().collect()
}

fn notice(event: &str, current: &Appointment) -> Option<Notice> {
    let booked = Fields::new(&current.attributes);
    let to = booked.text("/email")?;
    let slot = current.slot.as_ref()?;
    let when = format!("el {} a {} (hora del Perú)", long_date(slot.start), at(Time::of(slot.start).minutes().into()));
    let (title, lead, sections) = match event {
        "booked" => ("Su cita médica está reservada", format!("Le esperamos {when}."), to_come(booked, slot.start)),
        "rescheduled" => (
            "Su cita médica fue reprogramada",
            format!("La fecha anterior ya no vale: ahora le esperamos {when}."),
            to_come(booked, slot.start),
        ),
        "reminder" => {
            ("Recordatorio de su cita médica", format!("Le esperamos {when}."), to_prepare(booked, slot.start))
        }
        "cancelled" => ("Su cita médica fue cancelada", format!("Ya no le esperamos {when}."), over()),
        _ => return None,
    };
    let letter = Letter {
        locale: LOCALES[0],
        title,
        lead: &lead,
        details: &details(current, booked, slot),
        link: None,
        sections: &sections,
        footer: "Recibe este mensaje automático porque su dirección de correo se registró en esta cita.",
    };
    Some(Notice {
        to: to.into(),
        locale: letter.locale.into(),
        subject: format!("{title}: {}, {}", long_date(slot.start), Time::of(slot.start).text()),
        text: letter.text(),
        html: Some(letter.html()),
        // Calendars have the appointment already.
        invite: event != "reminder",
    })
}

/// Returns the details of the appointment, each with its label.
fn details(current: &Appointment, booked: Fields, slot: &Slot) -> Vec<(&'static str, String)> {
    let said = |path| booked.text(path).unwrap_or_default();
    let mut details = vec![
        ("Qué", "Cita médica".into()),
        ("Fecha", long_date(slot.start)),
        ("Hora", format!("{} (hora del Perú), {} minutos", Time::of(slot.start).text(), slot.minutes)),
        ("Establecimiento de salud", view::establishment(booked)),
    ];
    let district = districts::full_name(said("/district")).map(|name| ("Distrito", name));
    details.extend(district);
    details.push(("Médico (Colegio Médico del Perú)", view::doctor(booked)));
    details.push(("Código de la cita", current.id.clone()));
    details
}

type Sections = Vec<(&'static str, Vec<String>)>;

/// Returns the instructions for the patient of an upcoming appointment, and a mention of the invitation.
fn to_come(booked: Fields, start: Civil) -> Sections {
    let calendar = ("Su calendario", vec!["Adjuntamos una invitación para que la cita quede en su calendario.".into()]);
    to_prepare(booked, start).into_iter().chain([calendar]).collect()
}

/// Returns the instructions for the patient of an upcoming appointment.
fn to_prepare(booked: Fields, start: Civil) -> Sections {
    // An emergency is often nearer than the time limit.
    let change = if booked.flag("/emergency") {
        "Llame al establecimiento de salud.".into()
    } else {
        format!(
            "Cancele la cita o cámbiela de fecha en la aplicación o página web donde la reservó, o llame al establecimiento \
             de salud. Puede hacerlo hasta {CHANGE_HOURS} horas antes: {}.",
            deadline(start)
        )
    };
    vec![
        ("Qué llevar", vec!["Su DNI, o el documento de identidad con el que reservó.".into()]),
        ("Si no puede asistir", vec![change, "Rechazar la invitación de su calendario no cancela la cita.".into()]),
    ]
}

/// Returns what the patient of a cancelled appointment can do.
fn over() -> Sections {
    vec![
        (
            "Si todavía necesita atención",
            vec!["Reserve otra cita en la aplicación o página web, o llame al establecimiento de salud.".into()],
        ),
        ("Si usted no pidió cancelarla", vec!["Llame al establecimiento de salud.".into()]),
        ("Su calendario", vec!["La invitación adjunta retira la cita de su calendario.".into()]),
    ]
}

/// Returns the last time at which a patient may cancel or move an appointment.
fn deadline(start: Civil) -> String {
    let minutes = i64::from(Time::of(start).minutes()) - CHANGE_HOURS * 60;
    let day = if minutes < 0 { "del día anterior" } else { "de ese día" };
    format!("hasta {} {day}", at(minutes))
}

/// Formats a date as `martes 1 de diciembre de 2026`, in Peru's spelling of the ninth month.
fn long_date(civil: Civil) -> String {
    dates::spanish(civil).replace("septiembre", "setiembre")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::booked;
    use citas_kit::Field;
    use citas_kit::fields::set;

    #[test]
    fn a_booking_is_told_to_the_patient() {
        let notice = notice("booked", &booked()).expect("a mail");
        assert_eq!(notice.to, "ana@example.com");
        assert_eq!(notice.subject, "Su cita médica está reservada: martes 1 de diciembre de 2026, 09:30");
        assert!(notice.invite);
        for said in [
            "Le esperamos el martes 1 de diciembre de 2026 a las 09:30 (hora del Perú).",
            "09:30 (hora del Perú), 30 minutos",
            "IPRESS 00006219",
            "Miraflores, Lima",
            "CMP 45678",
            "Su DNI",
            "hasta 2 horas antes: hasta las 07:30 de ese día.",
        ] {
            assert!(notice.text.contains(said), "{said} in {}", notice.text);
            assert!(notice.html.as_deref().is_some_and(|html| html.contains(said)), "{said}");
        }
    }

    #[test]
    fn a_cancelled_appointment_asks_for_nothing_of_the_patient() {
        let notice = notice("cancelled", &booked()).expect("a mail");
        assert!(notice.text.contains("Ya no le esperamos el martes 1 de diciembre"), "{}", notice.text);
        assert!(notice.text.contains("Reserve otra cita"), "{}", notice.text);
        for no_longer in ["Si no puede asistir", "Qué llevar", "Su DNI"] {
            assert!(!notice.text.contains(no_longer), "{no_longer} in {}", notice.text);
        }
    }

    #[test]
    fn a_reminder_says_when_where_and_how_to_cancel_and_has_no_second_invitation() {
        let notice = notice("reminder", &booked()).expect("a mail");
        assert_eq!(notice.subject, "Recordatorio de su cita médica: martes 1 de diciembre de 2026, 09:30");
        for said in ["Le esperamos el martes 1 de diciembre", "IPRESS 00006219", "Su DNI", "hasta las 07:30 de ese día"]
        {
            assert!(notice.text.contains(said), "{said} in {}", notice.text);
        }
        assert!(!notice.invite && !notice.text.contains("Adjuntamos"), "{}", notice.text);
    }

    #[test]
    fn the_time_limit_may_be_on_the_day_before_and_an_emergency_has_none() {
        let at = |hour| Civil { hour, ..booked().slot.expect("a slot").start };
        assert_eq!(deadline(at(9)), "hasta las 07:30 de ese día");
        assert_eq!(deadline(at(3)), "hasta la 01:30 de ese día");
        assert_eq!(deadline(at(1)), "hasta las 23:30 del día anterior");
        let mut emergency = booked();
        set(&mut emergency.attributes, crate::samples::emergency());
        let text = notice("booked", &emergency).expect("a mail").text;
        assert!(!text.contains("horas antes") && text.contains("Llame al establecimiento"), "{text}");
    }

    #[test]
    fn moving_cancelling_and_reminders_are_told_and_nothing_else() {
        for (event, told) in
            [("rescheduled", true), ("cancelled", true), ("reminder", true), ("no-show", false), ("", false)]
        {
            assert_eq!(notices(event, &booked()).len() == 1, told, "{event}");
        }
    }

    #[test]
    fn the_reason_stays_between_patient_and_doctor() {
        let mut appointment = booked();
        for path in ["/reason", "/cancellation/reason"] {
            set(&mut appointment.attributes, Field::text(path, "dolor de rodilla"));
        }
        let notice = notice("cancelled", &appointment).expect("a mail");
        let whole = [notice.subject, notice.text, notice.html.unwrap_or_default()].concat();
        assert!(!whole.contains("rodilla"));
    }

    #[test]
    fn markup_in_a_value_is_shown_not_run() {
        let mut appointment = booked();
        set(&mut appointment.attributes, Field::text("/doctor", "<b onclick='x'>&\""));
        let html = notice("booked", &appointment).and_then(|notice| notice.html).expect("a mail");
        assert!(html.contains("CMP &lt;b onclick=&#39;x&#39;&gt;&amp;&quot;"));
    }

    #[test]
    fn without_an_address_there_is_no_mail() {
        let mut appointment = booked();
        appointment.attributes.retain(|field| field.path != "/email");
        assert_eq!(notice("booked", &appointment), None);
    }
}
