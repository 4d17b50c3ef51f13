//! The mails that Colombia sends to the patient, in the language that the patient asked for. They never mention the
//! specialty or a reason.

use citas_kit::civil::{Date, Time};
use citas_kit::dates::{english, spanish};
use citas_kit::fields::Fields;
use citas_kit::letter::{Letter, Link};
use citas_kit::{Appointment, Civil, Notice, Phase};

use crate::house::CHANGE_HOURS;
use crate::messages::LOCALES;
use crate::specialties::Specialty;
use crate::view;
use crate::waiting::{CONFIRM_BY, DUE};

/// Returns the notices for an event: one, or none.
pub fn notices(event: &str, current: &Appointment) -> Vec<Notice> {
    let booked = Fields::new(&current.attributes);
    let mail = Mail { current, booked, in_english: booked.text("/locale") == Some(LOCALES[1]) };
    mail.notice(event).into_iter().collect()
}

/// A mail about an appointment.
struct Mail<'a> {
    current: &'a Appointment,
    booked: Fields<'a>,
    in_english: bool,
}

/// The texts of a mail about an event.
struct Words {
    title: &'static str,
    lead: String,
    sections: Vec<(&'static str, Vec<String>)>,
    link: Option<Link<'static>>,
    invite: bool,
}

impl Words {
    fn new(title: &'static str, lead: String, sections: Vec<(&'static str, Vec<String>)>) -> Self {
        Self { title, lead, sections, link: None, invite: false }
    }
}

impl Mail<'_> {
    fn notice(&self, event: &str) -> Option<Notice> {
        let to = self.booked.text("/email")?;
        let words = self.words(event)?;
        let letter = Letter {
            locale: self.say(LOCALES[0], LOCALES[1]),
            title: words.title,
            lead: &words.lead,
            details: &self.details(),
            link: words.link,
            sections: &words.sections,
            footer: self.say(
                "Recibe este mensaje automático porque su dirección de correo se registró en esta solicitud.",
                "You get this automatic message because your mail address was given in this request.",
            ),
        };
        let subject = match self.start() {
            Some(start) => format!("{}: {}, {}", words.title, self.date(start), Time::of(start).text()),
            None => words.title.into(),
        };
        let (text, html) = (letter.text(), Some(letter.html()));
        Some(Notice { to: to.into(), locale: letter.locale.into(), subject, text, html, invite: words.invite })
    }

    /// Returns the texts for an event, or `None` if the patient gets no mail. Events about delays concern only staff.
    fn words(&self, event: &str) -> Option<Words> {
        Some(match event {
            "requested" => self.requested(),
            "authorised" => Words::new(
                self.say("Su solicitud de cita está autorizada", "Your request is authorised"),
                self.say("Le asignaremos una fecha y le escribiremos para que la confirme.", AFTERWARDS).into(),
                self.no_longer_needed(),
            ),
            "declined" => Words::new(
                self.say("Su solicitud de cita no fue autorizada", "Your request is not authorised"),
                self.say("No podemos asignarle la cita que pidió.", "We cannot give you the appointment.").into(),
                vec![(
                    self.say("Qué puede hacer", "What you can do"),
                    vec![self.say("Comuníquese con su EPS.", "Please contact your EPS.").into()],
                )],
            ),
            "assigned" => self.to_confirm(self.say("Confirme su cita médica", "Confirm your appointment")),
            "rescheduled" if self.current.phase == Phase::Pending => self
                .to_confirm(self.say("Confirme la nueva fecha de su cita", "Confirm the new time of your appointment")),
            "rescheduled" => self.expected(self.say("Su cita médica fue reprogramada", "Your appointment was moved")),
            "booked" => self.expected(self.say("Su cita médica está reservada", "Your appointment is booked")),
            "confirmed" => self.expected(self.say("Su cita médica está confirmada", "Your appointment is confirmed")),
            // Calendars have the appointment already.
            "reminder" => Words {
                invite: false,
                ..self.expected(self.say("Recordatorio de su cita médica", "Reminder of your appointment"))
            },
            "lapsed" => self.lapsed(),
            "cancelled" => self.cancelled(),
            _ => return None,
        })
    }

    fn requested(&self) -> Words {
        let due = self.day(DUE).unwrap_or_default();
        let lead = match (Specialty::of(self.booked).is_authorised(), self.in_english) {
            (true, true) => format!("We will decide on the authorisation by {due}, and then assign an appointment."),
            (true, false) => {
                format!("Revisaremos la autorización a más tardar el {due}; luego le asignaremos una cita.")
            }
            (false, true) => format!("We will assign an appointment by {due}, and write to you to confirm it."),
            (false, false) => {
                format!("Le asignaremos una cita a más tardar el {due} y le escribiremos para que la confirme.")
            }
        };
        Words::new(self.say("Recibimos su solicitud de cita", "We have your request"), lead, self.no_longer_needed())
    }

    /// Returns the words of an appointment that the patient has to confirm. It is in no calendar before.
    fn to_confirm(&self, title: &'static str) -> Words {
        let (when, until) = (self.when(), self.moment(CONFIRM_BY).unwrap_or_default());
        let lead = if self.in_english {
            format!("You have an appointment {when}. Confirm it by {until}, or somebody else gets it.")
        } else {
            format!("Tiene una cita {when}. Confírmela a más tardar el {until}; si no, la cita se libera.")
        };
        let link = Link { label: self.say("Confirmar la cita", "Confirm the appointment"), action: "confirm" };
        let sections = vec![self.cannot_come()];
        Words { link: Some(link), ..Words::new(title, lead, sections) }
    }

    /// Returns the words of an appointment to which the patient is expected.
    fn expected(&self, title: &'static str) -> Words {
        let bring = (
            self.say("Qué llevar", "What to bring"),
            vec![
                self.say(
                    "El documento de identidad con el que pidió la cita y, si la hay, la autorización de su EPS.",
                    "The identity document of the request and, if there is one, the authorisation of your EPS.",
                )
                .into(),
            ],
        );
        let when = self.when();
        let lead = if self.in_english { format!("We expect you {when}.") } else { format!("Le esperamos {when}.") };
        Words { invite: true, ..Words::new(title, lead, vec![bring, self.cannot_come()]) }
    }

    fn lapsed(&self) -> Words {
        let title = self.say("Su cita médica no fue confirmada", "Your appointment was not confirmed");
        if self.current.phase == Phase::Requested {
            let lead = self.say(
                "La hora se liberó. Le asignaremos otra una sola vez más: le escribiremos para que la confirme.",
                "The time was released. We will assign another one, once: we will write to you to confirm it.",
            );
            return Words::new(title, lead.into(), self.no_longer_needed());
        }
        let lead = self.say(
            "La hora se liberó y la solicitud terminó, porque ya van dos citas sin confirmar.",
            "The time was released and the request is over, because two appointments were not confirmed.",
        );
        Words::new(title, lead.into(), self.ask_again())
    }

    fn cancelled(&self) -> Words {
        let title = self.say("Su cita médica fue cancelada", "Your appointment was cancelled");
        let lead = match (self.start(), self.in_english) {
            (Some(_), true) => format!("We no longer expect you {}.", self.when()),
            (Some(_), false) => format!("Ya no le esperamos {}.", self.when()),
            (None, true) => "Your request is over.".into(),
            (None, false) => "Su solicitud terminó.".into(),
        };
        // Calendars have it only once it was confirmed or booked at once.
        let was_certain =
            self.current.steps.iter().any(|step| step.action == "confirm") || self.booked.get(DUE).is_none();
        Words { invite: was_certain && self.start().is_some(), ..Words::new(title, lead, self.ask_again()) }
    }

    fn no_longer_needed(&self) -> Vec<(&'static str, Vec<String>)> {
        let how = self.say(
            "Cancele la solicitud en la aplicación o página web donde la hizo, o llame a la IPS.",
            "Cancel the request in the app or on the website where you made it, or call the hospital.",
        );
        vec![(self.say("Si ya no la necesita", "If you no longer need it"), vec![how.into()])]
    }

    fn ask_again(&self) -> Vec<(&'static str, Vec<String>)> {
        let how = self.say(
            "Pida otra cita en la aplicación o página web, o llame a la IPS.",
            "Request another appointment in the app or on the website, or call the hospital.",
        );
        vec![(self.say("Si todavía necesita atención", "If you still need care"), vec![how.into()])]
    }

    fn cannot_come(&self) -> (&'static str, Vec<String>) {
        let how = if self.in_english {
            format!(
                "Cancel the appointment or move it in the app or on the website until {CHANGE_HOURS} hours before it, or call the hospital."
            )
        } else {
            format!(
                "Cancele la cita o cámbiela de fecha en la aplicación o página web hasta {CHANGE_HOURS} horas antes, o llame a la IPS."
            )
        };
        (self.say("Si no puede asistir", "If you cannot come"), vec![how])
    }

    /// Returns the details, each with its label.
    fn details(&self) -> Vec<(&'static str, String)> {
        let mut details = vec![(self.say("Qué", "What"), self.say("Cita médica", "Medical appointment").into())];
        let name = self.booked.text("/name").map(|name| (self.say("Paciente", "Patient"), name.into()));
        details.extend(name);
        if let (Some(start), Some(slot)) = (self.start(), &self.current.slot) {
            let minutes = self.say("minutos", "minutes");
            details.push((self.say("Fecha", "Date"), self.date(start)));
            let time = format!("{} ({}), {} {minutes}", Time::of(start).text(), self.zone(), slot.minutes);
            details.push((self.say("Hora", "Time"), time));
        }
        details.extend(view::location(self.booked).map(|place| (self.say("Lugar", "Place"), place)));
        let doctor = self.booked.text("/doctor").map(|number| ["ReTHUS ", number].concat());
        details.extend(doctor.map(|doctor| (self.say("Médico", "Doctor"), doctor)));
        details.push((self.say("Código de la solicitud", "Code of the request"), self.current.id.clone()));
        details
    }

    fn when(&self) -> String {
        let Some(start) = self.start() else {
            return String::new();
        };
        self.at(start)
    }

    /// Formats a time with its zone in words.
    fn at(&self, civil: Civil) -> String {
        let (date, time, zone) = (self.date(civil), Time::of(civil).text(), self.zone());
        if self.in_english {
            format!("on {date} at {time} ({zone})")
        } else {
            format!("el {date} a las {time} ({zone})")
        }
    }

    fn zone(&self) -> &'static str {
        self.say("hora de Colombia", "time of Colombia")
    }

    fn date(&self, civil: Civil) -> String {
        if self.in_english { english(civil) } else { spanish(civil) }
    }

    /// Formats the day of an attribute.
    fn day(&self, path: &str) -> Option<String> {
        let date = Date::parse(self.booked.text(path)?)?;
        Some(self.date(date.at(Time::new(0, 0))))
    }

    /// Formats the local time of an attribute.
    fn moment(&self, path: &str) -> Option<String> {
        let (date, time) = self.booked.text(path)?.split_once(' ')?;
        let civil = Date::parse(date)?.at(Time::parse(time)?);
        Some([&self.date(civil), ", ", time].concat())
    }

    fn start(&self) -> Option<Civil> {
        self.current.slot.as_ref().map(|slot| slot.start)
    }

    fn say(&self, in_spanish: &'static str, in_english: &'static str) -> &'static str {
        if self.in_english { in_english } else { in_spanish }
    }
}

const AFTERWARDS: &str = "We will assign an appointment, and write to you to confirm it.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{assigned, booked, requested, specialist, with};

    fn mail(event: &str, current: &Appointment) -> Notice {
        notices(event, current).into_iter().next().unwrap_or_else(|| panic!("no mail of {event}"))
    }

    #[test]
    fn the_mail_about_a_request_names_its_due_date() {
        let general = mail("requested", &requested());
        assert_eq!(
            (general.to.as_str(), general.subject.as_str()),
            ("ana@example.com", "Recibimos su solicitud de cita")
        );
        assert!(general.text.contains("a más tardar el viernes 27 de noviembre de 2026"), "{}", general.text);
        let special = mail("requested", &specialist());
        assert!(special.text.contains("la autorización a más tardar el martes 1 de diciembre"), "{}", special.text);
        assert!(!general.invite && !special.invite);
    }

    #[test]
    fn an_assigned_time_is_confirmed_by_a_link_and_in_no_calendar_yet() {
        let notice = mail("assigned", &assigned());
        for said in [
            "el viernes 27 de noviembre de 2026 a las 09:00 (hora de Colombia)",
            "a más tardar el jueves 26 de noviembre de 2026, 12:00",
            "Confirmar la cita: {link:confirm}",
            "IPS 110010000101",
            "ReTHUS 52123456",
        ] {
            assert!(notice.text.contains(said), "{said} in {}", notice.text);
        }
        assert!(notice.html.is_some_and(|html| html.contains("<a href=\"{link:confirm}\"")));
        assert!(!notice.invite);
    }

    #[test]
    fn a_confirmed_appointment_has_an_invitation_and_its_reminder_has_none() {
        for (event, invite) in [("confirmed", true), ("rescheduled", true), ("cancelled", true), ("reminder", false)] {
            let notice = mail(event, &booked());
            assert_eq!(notice.invite, invite, "{event}");
            assert!(!notice.text.contains("{link:"), "{event}");
        }
        assert!(!mail("cancelled", &assigned()).invite, "no calendar has it");
        assert!(!mail("cancelled", &requested()).invite, "it has no date");
    }

    #[test]
    fn mail_is_in_english_on_request() {
        for event in [
            "requested",
            "authorised",
            "declined",
            "assigned",
            "rescheduled",
            "confirmed",
            "reminder",
            "lapsed",
            "cancelled",
        ] {
            let (spanish, current) = (mail(event, &assigned()), with(assigned(), "/locale", "en"));
            let english = mail(event, &current);
            assert_eq!((spanish.locale.as_str(), english.locale.as_str()), ("es-CO", "en"));
            assert!(!english.text.contains("cita") && !english.text.contains("solicitud"), "{}", english.text);
            assert_eq!(english.text.lines().count(), spanish.text.lines().count(), "{event}");
        }
    }

    #[test]
    fn a_delay_sends_no_mail_to_the_patient() {
        for event in ["authorisation-late", "assignment-late", "no-show", ""] {
            assert!(notices(event, &requested()).is_empty(), "{event}");
        }
        let mut unreachable = assigned();
        unreachable.attributes.retain(|field| field.path != "/email");
        assert!(notices("assigned", &unreachable).is_empty());
    }

    #[test]
    fn the_specialty_and_reasons_stay_between_patient_and_doctor() {
        let current = with(with(specialist(), "/cancellation/reason", "rodilla"), "/assignment/reason", "rodilla");
        for event in ["requested", "declined", "cancelled", "assigned"] {
            let Notice { subject, text, html, .. } = mail(event, &current);
            let whole = [subject, text, html.unwrap_or_default()].concat();
            assert!(!whole.contains("rodilla") && !whole.contains("cardiolog"), "{whole}");
        }
    }

    #[test]
    fn markup_in_a_value_is_shown_not_run() {
        let html = mail("requested", &with(requested(), "/name", "<b onclick='x'>&\"")).html.expect("html");
        assert!(html.contains("&lt;b onclick=&#39;x&#39;&gt;&amp;&quot;") && !html.contains("<b "));
    }
}
