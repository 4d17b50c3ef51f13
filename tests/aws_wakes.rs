//! The function `wake`, killed between any two steps of its work: each scheduled action is done once.

use std::sync::Arc;

use citas::system::{SystemClock, UuidIds};
use citas_core::booking::Booking;
use citas_core::model::{Caller, Role};
use citas_core::ports::{DueWake, Ledger as _, Wakes as _};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use uuid::Uuid;

use crate::aws_freeze::Bucket;
use crate::aws_steps::{ana, peru};
use crate::ledger_dynamo::Tables;
use crate::support::appointments::{names, pe};
use crate::support::components::{component, version};
use crate::support::kill_switch::KillSwitch;
use crate::support::lambda::Lambda;
use crate::support::requests;

/// Number of reminders that are due.
const REMINDERS: usize = 5;

/// Books an appointment whose reminder is due.
async fn due(tables: &Tables, booking: &Booking, number: usize) -> Uuid {
    let staff = Caller { groups: ["pe:staff".to_owned()].into(), ..ana() };
    let booked = booking.book(&staff, pe(), requests::pe(number), None).await.unwrap().revision;
    let wake = booked.appointment.wake.clone().expect("a reminder");
    let due = DueWake { appointment: booked.appointment.id, revision: 1, wake, failed: 0 };
    let past = Timestamp::now() - SignedDuration::from_mins(1);
    tables.ledger().postpone(pe(), &due, past).await.unwrap();
    due.appointment
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_between_any_two_steps_the_function_does_each_reminder_once() {
    let (tables, peru_version) = (Tables::new().await, version("pe"));
    let bucket = Bucket::of(pe(), [(&peru_version, component("pe"))]).await;
    let ledger = tables.ledger();
    let booking =
        Booking::new(peru(), Arc::new(tables.ledger()), Arc::new(SystemClock), Arc::new(UuidIds), names(), "test");
    let ids = join_all((0..REMINDERS).map(|number| due(&tables, &booking, number))).await;
    // The first look at a table reads the hours of two days.
    assert_eq!(ledger.due(pe(), Timestamp::now(), 10).await.unwrap().len(), REMINDERS);

    let mut kills = 0;
    let answered = |pieces: usize| {
        let switch = KillSwitch::after(pieces, tables.endpoint());
        let mut wake = bucket.function(env!("CARGO_BIN_EXE_wake"));
        wake.env("AWS_ENDPOINT_URL_DYNAMODB", &switch.address).env("CITAS_TABLES", tables.table(""));
        let mut function = Lambda::start(&mut wake);
        switch.kills(function.id());
        function.invoke_or_die(&json!({})).is_some()
    };
    while !answered(kills) {
        kills += 1;
    }

    for id in ids {
        let history = ledger.history(pe(), id, 0, 10).await.unwrap();
        let steps: Vec<_> =
            history.last().unwrap().appointment.steps.iter().map(|step| (step.action.as_str(), step.role)).collect();
        assert_eq!((history.len(), steps), (2, vec![("book", Role::Staff), ("remind", Role::Clock)]));
    }
    assert_eq!(ledger.due(pe(), Timestamp::now(), 10).await.unwrap(), []);
    tables.assert_whole(REMINDERS, 2 * REMINDERS, "killed").await;
    assert!(kills > 2 * REMINDERS, "it was killed {kills} times");
}
