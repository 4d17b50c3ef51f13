//! Tests of the stored data of a ledger, beside the port: the sequence of a country's revisions, and personal parts.

use std::sync::Arc;

use async_trait::async_trait;
use citas_core::model::{Event, Relation, Revision, Tie};
use citas_core::ports::{Change, Ledger};
use uuid::Uuid;

use super::races::race;
use crate::support::appointments::*;

/// Reads the data that an adapter has stored for Peru.
#[async_trait]
pub trait Stored: Send + Sync {
    /// Returns the number of each revision in the country's sequence, with its appointment and its own number, in the
    /// order of the sequence.
    async fn sequence(&self) -> Vec<(u64, Uuid, u32)>;

    /// Returns all that is stored except the personal parts, as text.
    async fn open_rows(&self) -> String;

    /// Deletes all personal parts of a person.
    async fn erase(&self, person: Uuid);
}

/// A ledger and its stored data.
pub type Inside = (Arc<dyn Ledger>, Arc<dyn Stored>);

pub async fn revisions_are_numbered_in_the_order_of_their_commits_without_a_gap((ledger, stored): Inside) {
    let (mut first, mut expected) = (booked(1), Vec::new());
    for number in [3, 1, 2] {
        ledger.commit(booking(booked(number), &[&format!("doctor:{number}")])).await.unwrap();
        expected.push((id(number), 1));
        // A change that is refused gets no number.
        assert!(ledger.commit(booking(booked(9), &[&format!("doctor:{number}")])).await.is_err());
    }
    first.claims = held(&["doctor:1"]);
    let mut next = after(&first);
    // The clock of the second change is behind.
    next.updated_at = now() - minutes(60);
    ledger.commit(change(next)).await.unwrap();
    expected.push((id(1), 2));
    let expected: Vec<_> = (1..).zip(expected).map(|(number, (id, revision))| (number, id, revision)).collect();
    assert_eq!(stored.sequence().await, expected);
}

pub async fn revisions_that_are_stored_at_once_have_a_number_each((ledger, stored): Inside) {
    let rivals = (0..60).map(|number| booking(booked(number), &[&format!("doctor:{}", number % 40)])).collect();
    let results = race(&ledger, rivals).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 40);
    let next = results.iter().flatten().map(|stored| change(after(&stored.revision))).collect();
    assert!(race(&ledger, next).await.iter().all(Result::is_ok));
    let sequence = stored.sequence().await;
    assert_eq!(sequence.iter().map(|(number, ..)| *number).collect::<Vec<_>>(), (1..=80).collect::<Vec<_>>());
    for (number, result) in results.iter().enumerate().filter(|(_, result)| result.is_ok()) {
        let of_one: Vec<u32> =
            sequence.iter().filter(|(_, id, _)| *id == self::id(number)).map(|(.., revision)| *revision).collect();
        assert_eq!(of_one, [1, 2], "{result:?}");
    }
}

/// Returns a booking with personal values that occur nowhere else, and these values.
fn personal(number: usize) -> (Change, [&'static str; 4]) {
    let values = ["Zutano Mengánez", "zutano@example.org", "7770001", "run:7770001-0"];
    let mut change = booking(booked(number), &["doctor/45678/2026-12-01T14:30Z"]);
    let appointment = &mut change.revision.appointment;
    appointment.patient = values[3].into();
    appointment.attributes.push(text("/name", values[0]));
    appointment.attributes.push(text("/phone", values[2]));
    change.revision.personal.extend(["/name".into(), "/phone".into()]);
    change.revision.provenance.input = vec![text("/name", values[0]), text("/email", values[1])];
    let tie = Tie { patient: values[3].into(), relation: Relation::Oneself };
    change.revision.provenance.context.caller.ties = vec![tie];
    change.receipt = Some(receipt("k", &change.revision));
    change.events = vec![Event::new(id(70 + number), "booked", &change.revision)];
    (change, values)
}

pub async fn no_open_row_has_a_personal_value((ledger, stored): Inside) {
    let (change, values) = personal(1);
    let first = ledger.commit(change).await.unwrap().revision;
    ledger.commit(self::change(after(&first))).await.unwrap();
    let rows = stored.open_rows().await;
    assert!(rows.contains("Miraflores") && rows.contains(&id(1).to_string()), "{rows}");
    for value in values {
        assert!(!rows.contains(value), "{value}");
    }
    assert_eq!(ledger.appointment(pe(), id(1)).await.unwrap().unwrap().appointment.patient, values[3]);
}

pub async fn an_erased_revision_is_read_without_its_personal_part((ledger, stored): Inside) {
    let first = ledger.commit(personal(1).0).await.unwrap().revision;
    let second = ledger.commit(change(after(&first))).await.unwrap().revision;
    let mut other = booked(2);
    other.person = person(2);
    ledger.commit(change(other.clone())).await.unwrap();
    stored.erase(person(1)).await;
    // This process may have the latest revision in its cache.
    let erased = ledger.revision(pe(), id(1), 1).await.unwrap().unwrap();
    let open = |revision: &Revision| revision.clone().apart().0;
    assert_eq!(erased, open(&first));
    assert_eq!(erased.appointment.patient, person(1).to_string());
    assert_eq!(ledger.history(pe(), id(1), 0, 10).await.unwrap(), [erased, open(&second)]);
    assert_eq!(ledger.revision(pe(), id(2), 1).await.unwrap(), Some(other));
}
