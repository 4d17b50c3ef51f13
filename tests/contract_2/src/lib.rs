//! The country of `contract_1` on the bindings of contract 2.0.0: a visit is confirmed within two days or lapses, a session
//! has three places, and a room is any of two. It reads what 1.0.0 stored.
//!
//! On any target but WebAssembly this crate is empty.

#![cfg(target_arch = "wasm32")]

use contract::citas::rules::types::{
    Appointment, Choice, Civil, Claim, Context, Field, Party, Phase, Plan, Query, Refusal, Role, Slot, Value,
    Violation, Wake,
};
use contract::exports::citas::rules::{appointment_rules, fact_rules, notice_rules};

#[allow(unsafe_code, missing_docs, clippy::pedantic, reason = "generated code")]
mod contract {
    wit_bindgen::generate!({
        path: "../../wit/2.0.0",
        inline: "package citas:tests; world country {
            export citas:rules/appointment-rules@2.0.0;
            export citas:rules/fact-rules@2.0.0;
            export citas:rules/notice-rules@2.0.0;
        }",
        additional_derives: [PartialEq],
        generate_all,
    });
    use crate::Country;
    export!(Country);
}

struct Country;

/// Zone of the country. It is UTC, so that a claim consists of texts of the request.
const ZONE: &str = "Etc/UTC";
const DAY: i64 = 24 * 60 * 60;

type Decision = Result<Plan, Refusal>;

impl appointment_rules::Guest for Country {
    fn describe() -> Result<appointment_rules::Descriptor, String> {
        use appointment_rules::{Action, ClaimWords, Descriptor, Message};
        if cfg!(feature = "undescribed") {
            return Err("there is no calendar for this year".into());
        }
        let everybody = [Role::Patient, Role::Staff, Role::Platform];
        let action = |name: &str, roles: &[Role]| Action {
            name: name.into(),
            roles: roles.into(),
            input_schema: include_str!("schema/none.json").into(),
        };
        let reschedule = Action {
            input_schema: include_str!("schema/reschedule.json").into(),
            ..action("reschedule", &[Role::Staff])
        };
        let message =
            |(code, text): (&str, &str)| Message { code: code.into(), locale: "en".into(), text: text.into() };
        let words = |(prefix, path, code): (&str, &str, &str)| ClaimWords {
            prefix: prefix.into(),
            path: path.into(),
            code: code.into(),
        };
        Ok(Descriptor {
            country: "ut".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            zones: vec![ZONE.into()],
            locales: vec!["en".into()],
            request_schema: include_str!("schema/request.json").into(),
            appointment_schema: include_str!("schema/appointment.json").into(),
            actions: vec![
                action("cancel", &everybody),
                action("confirm", &everybody),
                action("wait", &[Role::Staff]),
                action("no-show", &[Role::Staff]),
                action("lapse", &[Role::Clock]),
                action("remind", &[Role::Clock]),
                reschedule,
            ],
            messages: [
                ("ut.time.closed", "Closed before {opens}."),
                ("ut.cancel.not-allowed-now", "The appointment is cancelled already."),
                ("ut.action.not-allowed-now", "Not now."),
                ("ut.call-us", "Please call us."),
                ("ut.doctor.taken", "The doctor is busy then."),
                ("ut.session.full", "The session is full."),
                ("ut.patient.taken", "The patient has another appointment then."),
                ("ut.account.limit", "This account has two appointments already."),
            ]
            .map(message)
            .into(),
            claims: [
                ("doctor/", "/time", "ut.doctor.taken"),
                ("session/", "/time", "ut.session.full"),
                ("patient/", "/time", "ut.patient.taken"),
                ("live/account/", "", "ut.account.limit"),
            ]
            .map(words)
            .into(),
            keep_days: None,
            horizon_days: 400,
            adult_age: 18,
        })
    }

    fn book(context: Context, request: Vec<Field>) -> Decision {
        if text(&request, "/time") < "08:00" {
            return no("/time", "ut.time.closed", &[("opens", "08:00")]);
        }
        if text(&request, "/email") == "panic@example.com" {
            return Err(Refusal::Fault("it was told to fail at rules.rs:1".into()));
        }
        let missed = context.facts.iter().find(|fact| fact.name == "missed");
        if missed.is_some_and(|missed| missed.appointments.len() == 2) {
            return no("", "ut.call-us", &[]);
        }
        let mut attributes = request;
        if context.caller.role == Role::Patient {
            attributes.push(field("/account", &context.caller.account));
        }
        if kind(&attributes) == "visit" {
            let wake = Wake { at: context.now + 2 * DAY, action: "lapse".into() };
            return Ok(plan(Phase::Pending, attributes, 2, &["booked"], Some(wake)));
        }
        let wake = reminder(&context, &attributes);
        Ok(plan(Phase::Booked, attributes, 2, &["booked"], wake))
    }

    fn act(context: Context, current: Appointment, action: String, input: Vec<Field>) -> Decision {
        let is_kept = |field: &Field| !input.iter().any(|new| new.path == field.path);
        let kept = current.attributes.iter().filter(|field| is_kept(field)).cloned();
        let attributes: Vec<Field> = kept.chain(input.iter().cloned()).collect();
        let is_live = matches!(current.phase, Phase::Pending | Phase::Booked);
        let to = |phase, event, wake| Ok(plan(phase, attributes.clone(), 1_000, &[event], wake));
        if action == "confirm" && text(&attributes, "/email") == "fault@example.com" {
            return Err(Refusal::Fault("it was told to fail at rules.rs:1".into()));
        }
        match (action.as_str(), current.phase) {
            ("cancel", _) if is_live => to(Phase::Cancelled, "cancelled", None),
            ("cancel", _) => conflict("ut.cancel.not-allowed-now"),
            ("confirm", Phase::Pending) => to(Phase::Booked, "confirmed", reminder(&context, &attributes)),
            ("reschedule", _) if is_live => to(current.phase, "rescheduled", current.wake),
            ("lapse", Phase::Pending) => to(Phase::Cancelled, "lapsed", None),
            ("remind", Phase::Booked) => to(Phase::Booked, "reminder", None),
            ("wait", _) if is_live => to(Phase::Waitlisted, "waiting", current.wake),
            ("no-show", _) if is_live => to(Phase::NoShow, "missed", None),
            _ => conflict("ut.action.not-allowed-now"),
        }
    }

    fn present(role: Role, appointments: Vec<Appointment>) -> Result<Vec<Vec<Field>>, String> {
        let viewer = match role {
            Role::Patient => "patient",
            Role::Staff => "staff",
            Role::Platform => "platform",
            Role::Clock => "clock",
        };
        let shown = |appointment: Appointment| {
            let attributes = appointment.attributes.into_iter().filter(|field| field.path != "/account");
            attributes.chain([field("/viewer", viewer)]).collect()
        };
        Ok(appointments.into_iter().map(shown).collect())
    }

    fn key(of: Party, spelling: String) -> Result<Option<String>, String> {
        let number = spelling.strip_prefix("id:").unwrap_or(&spelling).replace('.', "");
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        Ok(match of {
            Party::Patient if is_number => Some(["id:", &number].concat()),
            Party::Doctor if is_number => Some(number),
            _ => None,
        })
    }
}

impl fact_rules::Guest for Country {
    fn before_booking(context: Context, request: Vec<Field>) -> Result<Vec<Query>, String> {
        Ok(vec![Query {
            name: "missed".into(),
            of: Party::Patient,
            key: ["id:", text(&request, "/patient")].concat(),
            phases: vec![Phase::NoShow],
            since: Some(context.now - 180 * DAY),
            until: None,
            at_most: 2,
        }])
    }

    fn before_action(_: Context, _: Appointment, _: String, _: Vec<Field>) -> Result<Vec<Query>, String> {
        Ok(Vec::new())
    }
}

impl notice_rules::Guest for Country {
    fn notices(event: String, current: Appointment) -> Result<Vec<notice_rules::Notice>, String> {
        let to = text(&current.attributes, "/email");
        if to.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![notice_rules::Notice {
            to: to.into(),
            locale: "en".into(),
            subject: event,
            text: "You have an appointment. To confirm it: {link:confirm}. To cancel it: {link:cancel}.".into(),
            html: Some("<p>You have an appointment. <a href=\"{link:confirm}\">Confirm</a></p>".into()),
            invite: false,
        }])
    }
}

/// Returns the wake on the day before, if that is ahead.
fn reminder(context: &Context, attributes: &[Field]) -> Option<Wake> {
    let at = unix(start(attributes)) - DAY;
    (at >= context.now + 60).then(|| Wake { at, action: "remind".into() })
}

/// Makes a plan. An account may have `limit` live appointments.
fn plan(phase: Phase, attributes: Vec<Field>, limit: u16, events: &[&str], wake: Option<Wake>) -> Plan {
    let patient = ["id:", text(&attributes, "/patient")].concat();
    let minute = [text(&attributes, "/date"), "T", text(&attributes, "/time"), "Z"].concat();
    let claim = |parts: &[&str], places| Claim { key: parts.concat(), places, personal: false };
    let mut claims = vec![claim(&["patient/", &patient, "/", &minute], 1)];
    if !text(&attributes, "/account").is_empty() {
        claims.push(claim(&["live/account/", text(&attributes, "/account")], limit));
    }
    let mut choices = Vec::new();
    match kind(&attributes) {
        "session" => claims.push(claim(&["session/", &minute], 3)),
        "room" => choices.extend(["1", "2"].map(|room| Choice {
            claims: vec![claim(&["room/", room, "/", &minute], 1)],
            attributes: vec![field("/room", room)],
        })),
        _ => claims.push(claim(&["doctor/", text(&attributes, "/doctor"), "/", &minute], 1)),
    }
    Plan {
        phase,
        slot: Some(Slot { start: start(&attributes), minutes: 30, zone: ZONE.into() }),
        claims,
        choices,
        patient,
        doctor: Some(text(&attributes, "/doctor").into()),
        hospital: None,
        attributes,
        events: events.iter().map(|event| (*event).into()).collect(),
        wake,
        off_agenda: false,
    }
}

fn kind(attributes: &[Field]) -> &str {
    let kind = text(attributes, "/kind");
    if kind.is_empty() { "visit" } else { kind }
}

fn start(fields: &[Field]) -> Civil {
    let (date, time) = (text(fields, "/date"), text(fields, "/time"));
    let number = |text: &str, from: usize| text.get(from..from + 2).and_then(|digits| digits.parse().ok()).unwrap_or(0);
    let year = date.get(..4).and_then(|digits| digits.parse().ok()).unwrap_or(0);
    Civil { year, month: number(date, 5), day: number(date, 8), hour: number(time, 0), minute: number(time, 3) }
}

/// Returns the Unix time of a time in UTC, in seconds (Howard Hinnant's days from civil).
fn unix(civil: Civil) -> i64 {
    let (year, month, day) = (i64::from(civil.year), i64::from(civil.month), i64::from(civil.day));
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    days * DAY + i64::from(civil.hour) * 3_600 + i64::from(civil.minute) * 60
}

fn field(path: &str, text: &str) -> Field {
    Field { path: path.into(), value: Value::Text(text.into()) }
}

/// Returns the text at a JSON Pointer; empty if there is none.
fn text<'a>(fields: &'a [Field], path: &str) -> &'a str {
    let found = fields.iter().find(|field| field.path == path);
    found.map_or("", |field| if let Value::Text(text) = &field.value { text } else { "" })
}

fn no(path: &str, code: &str, params: &[(&str, &str)]) -> Decision {
    let params = params.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Err(Refusal::Violations(vec![Violation { path: path.into(), code: code.into(), params, conflict: false }]))
}

fn conflict(code: &str) -> Decision {
    let violation = Violation { path: String::new(), code: code.into(), params: Vec::new(), conflict: true };
    Err(Refusal::Violations(vec![violation]))
}
