//! The descriptor: everything that the host needs to know of these rules before it calls them.

use citas_kit::messages::catalogue;
use citas_kit::settings::{ROOM, SESSION};
use citas_kit::{Action, ClaimWords, Descriptor, Role};

use crate::house::{ADULT_AGE, COUNTRY, HOUSE, ZONE};
use crate::messages::{LOCALES, words};
use crate::waiting::{LAPSE, OVERDUE, REQUEST};

/// Returns the descriptor, which is constant.
pub fn descriptor() -> Descriptor {
    Descriptor {
        country: COUNTRY.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        zones: vec![ZONE.into()],
        locales: LOCALES.map(String::from).into(),
        request_schema: include_str!("schema/request.json").into(),
        appointment_schema: include_str!("schema/appointment.json").into(),
        actions: actions(),
        messages: catalogue(&LOCALES, &words()),
        claims: claims(),
        keep_days: None,
        horizon_days: HOUSE.schedule.horizon_days,
        adult_age: ADULT_AGE,
    }
}

fn actions() -> Vec<Action> {
    const STAFF: [Role; 2] = [Role::Staff, Role::Platform];
    const ANYBODY: [Role; 3] = [Role::Patient, Role::Staff, Role::Platform];
    let mut actions = vec![
        Action::without_input("authorise", &STAFF, "Authorising a specialist's appointment"),
        Action::new("decline", &STAFF, include_str!("schema/decline.json")),
        Action::new("assign", &STAFF, include_str!("schema/assign.json")),
        Action::without_input("confirm", &ANYBODY, "Confirming the assigned time"),
        Action::without_input(LAPSE, &[Role::Clock], "Releasing a time that was not confirmed"),
        Action::without_input(OVERDUE, &[Role::Clock], "Telling that a request waits for too long"),
    ];
    actions.extend(HOUSE.actions(include_str!("schema/cancel.json"), include_str!("schema/reschedule.json")));
    actions
}

fn claims() -> Vec<ClaimWords> {
    let words = |(prefix, path, code): (&str, &str, &str)| ClaimWords {
        prefix: prefix.into(),
        path: path.into(),
        code: code.into(),
    };
    let own = [
        (REQUEST, "/specialty", "co.request.open"),
        (SESSION, "/time", "co.session.full"),
        (ROOM, "/time", "co.room.taken"),
    ];
    HOUSE.claim_words(&[("", "/document/number")]).into_iter().chain(own.map(words)).collect()
}
