//! Links of accounts to patients.

use std::collections::BTreeSet;
use std::slice::from_ref;
use std::sync::Arc;

use citas_core::model::{LinkedPatient, PatientLink, PatientLinkState, Relation, Role};
use citas_core::ports::{AccountLinks, Ledger, PatientLinkChange, PatientLinkError, RequestPosition};
use futures::future::join_all;

use super::stored::Inside;
use crate::support::appointments::*;

/// Returns the first revision of an account's link to person `number`.
pub fn link(number: usize, subject: &str, state: PatientLinkState) -> PatientLink {
    PatientLink {
        country: pe(),
        person: person(number),
        subject: subject.into(),
        revision: 1,
        state,
        relation: Relation::Parent,
        from: "2026-12-01".parse().ok(),
        until: None,
        updated_at: now(),
        by: "eva".into(),
        role: Role::Staff,
        request_id: "r-1".into(),
        personal: Some(LinkedPatient {
            patient: format!("dni:7770000{number}"),
            reason: "partida de nacimiento, ñandú".into(),
            birth_date: "2019-02-03".parse().ok(),
        }),
    }
}

/// Returns the revision after `before`, a minute later.
fn after(before: &PatientLink, state: PatientLinkState) -> PatientLink {
    let updated_at = before.updated_at + minutes(1);
    PatientLink { revision: before.revision + 1, state, updated_at, ..before.clone() }
}

/// Stores a revision after those that are there.
async fn put(ledger: &dyn Ledger, revision: PatientLink) -> Result<(), PatientLinkError> {
    let PatientLink { country, person, subject, .. } = &revision;
    let changes = ledger.account_links(*country, subject).await?.changes;
    let before = ledger.patient_link(*country, *person, subject).await?;
    ledger.put_patient_link(PatientLinkChange { revision, before, changes }).await
}

pub async fn a_link_is_read_back_as_it_was_written(ledger: Arc<dyn Ledger>) {
    let nothing = ledger.account_links(pe(), "ana").await.unwrap();
    assert_eq!(nothing, AccountLinks::default());
    assert_eq!(ledger.patient_link(pe(), person(1), "ana").await.unwrap(), None);
    assert_eq!(ledger.patient_link_history(pe(), person(1), "ana", 0, 10).await.unwrap(), []);
    let first = link(1, "ana", PatientLinkState::Requested);
    let mut second = after(&first, PatientLinkState::Active);
    (second.relation, second.until, second.from) = (Relation::Guardian, "2027-01-31".parse().ok(), None);
    second.personal.as_mut().unwrap().birth_date = None;
    let written = [first, second.clone(), after(&second, PatientLinkState::Ended)];
    for (number, revision) in written.iter().enumerate() {
        put(&*ledger, revision.clone()).await.unwrap();
        assert_eq!(ledger.patient_link(pe(), person(1), "ana").await.unwrap().as_ref(), Some(revision));
        assert_eq!(ledger.patient_link_history(pe(), person(1), "ana", 0, 10).await.unwrap(), written[..=number]);
        assert_eq!(ledger.person_links(pe(), person(1), None, 10).await.unwrap(), from_ref(revision));
    }
    assert_eq!(ledger.patient_link_history(pe(), person(1), "ana", 1, 1).await.unwrap(), written[1..2]);
    assert_eq!(ledger.patient_link(cl(), person(1), "ana").await.unwrap(), None);
    assert_eq!(ledger.patient_link(pe(), person(2), "ana").await.unwrap(), None);
    assert_eq!(ledger.patient_link(pe(), person(1), "an").await.unwrap(), None);
    assert_eq!(ledger.account_links(cl(), "ana").await.unwrap(), AccountLinks::default());
}

pub async fn a_link_follows_its_latest_revision_and_the_links_of_its_account(ledger: Arc<dyn Ledger>) {
    let first = link(1, "ana", PatientLinkState::Active);
    let stale = async |revision: PatientLink, before: Option<PatientLink>, changes: u32| {
        let outcome = ledger.put_patient_link(PatientLinkChange { revision, before, changes }).await;
        assert!(matches!(outcome, Err(PatientLinkError::Stale)), "{outcome:?}");
    };
    let second = after(&first, PatientLinkState::Ended);
    stale(second.clone(), None, 0).await;
    stale(first.clone(), None, 1).await;
    put(&*ledger, first.clone()).await.unwrap();
    stale(first.clone(), None, 1).await;
    stale(after(&second, PatientLinkState::Active), Some(first.clone()), 1).await;
    // Another link of the account has changed meanwhile.
    put(&*ledger, link(2, "ana", PatientLinkState::Requested)).await.unwrap();
    stale(second.clone(), Some(first.clone()), 1).await;
    put(&*ledger, link(1, "luis", PatientLinkState::Active)).await.unwrap();
    let change = PatientLinkChange { revision: second.clone(), before: Some(first.clone()), changes: 2 };
    ledger.put_patient_link(change).await.unwrap();
    assert_eq!(ledger.patient_link_history(pe(), person(1), "ana", 0, 10).await.unwrap(), [first, second]);
}

pub async fn the_links_of_an_account_are_those_that_have_not_ended(ledger: Arc<dyn Ledger>) {
    let states = [
        PatientLinkState::Active,
        PatientLinkState::Requested,
        PatientLinkState::Ended,
        PatientLinkState::Active,
        PatientLinkState::Requested,
    ];
    let links: Vec<_> = states.iter().enumerate().map(|(number, state)| link(number + 1, "ana", *state)).collect();
    for link in links.iter().rev() {
        put(&*ledger, link.clone()).await.unwrap();
    }
    put(&*ledger, link(1, "ana2", PatientLinkState::Active)).await.unwrap();
    let of_ana = async || ledger.account_links(pe(), "ana").await.unwrap();
    let live = [0, 1, 3, 4].map(|number| links[number].clone());
    assert_eq!(of_ana().await, AccountLinks { links: live.into(), changes: 5 });
    let (ended, answered) = (after(&links[0], PatientLinkState::Ended), after(&links[1], PatientLinkState::Active));
    put(&*ledger, ended.clone()).await.unwrap();
    put(&*ledger, answered.clone()).await.unwrap();
    let live = [answered, links[3].clone(), links[4].clone()];
    assert_eq!(of_ana().await, AccountLinks { links: live.into(), changes: 7 });
    // It may be made again.
    let again = after(&ended, PatientLinkState::Active);
    put(&*ledger, again.clone()).await.unwrap();
    assert_eq!(of_ana().await.links[0], again);
}

pub async fn the_links_to_a_person_are_listed_each_as_it_is_now(ledger: Arc<dyn Ledger>) {
    let subjects = ["a", "a#", "a#0000000001", "A", "ñ/%", "auth0|7", "L#a"];
    let mut expected = Vec::new();
    for subject in subjects {
        let first = link(1, subject, PatientLinkState::Active);
        put(&*ledger, first.clone()).await.unwrap();
        let second = after(&first, PatientLinkState::Ended);
        put(&*ledger, second.clone()).await.unwrap();
        assert_eq!(
            ledger.patient_link_history(pe(), person(1), subject, 0, 10).await.unwrap(),
            [first, second.clone()]
        );
        expected.push(second);
    }
    put(&*ledger, link(2, "a", PatientLinkState::Active)).await.unwrap();
    let (mut walked, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = ledger.person_links(pe(), person(1), after.as_deref(), 2).await.unwrap();
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        after = Some(last.subject.clone());
        walked.extend(page);
    }
    let by_subject = |links: &mut Vec<PatientLink>| links.sort_by(|one, other| one.subject.cmp(&other.subject));
    assert_eq!(ledger.person_links(pe(), person(1), None, 100).await.unwrap(), walked);
    by_subject(&mut walked);
    by_subject(&mut expected);
    assert_eq!(walked, expected);
}

pub async fn requests_are_listed_the_oldest_first_until_they_are_answered(ledger: Arc<dyn Ledger>) {
    let requested = |number: usize, subject: &str, minute: usize| {
        let updated_at = now() + minutes(minute);
        PatientLink { updated_at, ..link(number, subject, PatientLinkState::Requested) }
    };
    let requests = [
        requested(5, "ana", 1),
        requested(1, "bea", 2),
        requested(1, "caro", 2),
        requested(2, "ana", 2),
        requested(3, "bea", 3),
    ];
    for request in requests.iter().rev() {
        put(&*ledger, request.clone()).await.unwrap();
    }
    put(&*ledger, link(9, "ana", PatientLinkState::Active)).await.unwrap();
    assert_eq!(ledger.requested_links(pe(), None, 100).await.unwrap(), requests);
    let mut after_last = None;
    for pair in requests.chunks(2) {
        let page = ledger.requested_links(pe(), after_last.as_ref(), 2).await.unwrap();
        assert_eq!(page, pair);
        after_last = page.last().map(RequestPosition::of);
    }
    assert_eq!(ledger.requested_links(cl(), None, 100).await.unwrap(), []);
    put(&*ledger, after(&requests[1], PatientLinkState::Active)).await.unwrap();
    let refused = after(&requests[3], PatientLinkState::Ended);
    put(&*ledger, refused.clone()).await.unwrap();
    let left = [0, 2, 4].map(|number| requests[number].clone());
    assert_eq!(ledger.requested_links(pe(), None, 100).await.unwrap(), left);
    let again = after(&refused, PatientLinkState::Requested);
    put(&*ledger, again.clone()).await.unwrap();
    let all = ledger.requested_links(pe(), None, 100).await.unwrap();
    assert_eq!(all.iter().filter(|link| link.subject == "ana").collect::<Vec<_>>(), [&left[0], &again]);
}

pub async fn of_twenty_who_change_the_links_of_an_account_at_once_one_is_stored(ledger: Arc<dyn Ledger>) {
    let puts = (0..20).map(|number| {
        let ledger = Arc::clone(&ledger);
        let revision = link(number / 2, "ana", PatientLinkState::Active);
        let change = PatientLinkChange { revision, before: None, changes: 0 };
        tokio::spawn(async move { ledger.put_patient_link(change).await })
    });
    let outcomes: Vec<_> = join_all(puts).await.into_iter().map(Result::unwrap).collect();
    let stored = outcomes.iter().enumerate().filter(|(_, outcome)| outcome.is_ok()).map(|(number, _)| number / 2);
    let stored: Vec<usize> = stored.collect();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(()) | Err(PatientLinkError::Stale))), "{outcomes:?}");
    let AccountLinks { links, changes } = ledger.account_links(pe(), "ana").await.unwrap();
    assert_eq!((links, changes), (vec![link(stored[0], "ana", PatientLinkState::Active)], 1));
    assert_eq!(stored.len(), 1);
    let of_persons = join_all((0..10).map(|number| ledger.person_links(pe(), person(number), None, 10))).await;
    let persons: BTreeSet<usize> = of_persons
        .iter()
        .enumerate()
        .filter(|(_, links)| !links.as_ref().unwrap().is_empty())
        .map(|(n, _)| n)
        .collect();
    assert_eq!(persons, [stored[0]].into());
}

pub async fn an_erased_link_is_read_without_its_personal_part((ledger, stored): Inside) {
    let first = link(1, "ana", PatientLinkState::Requested);
    let (second, other) = (after(&first, PatientLinkState::Active), link(2, "ana", PatientLinkState::Active));
    for revision in [&first, &second, &other] {
        put(&*ledger, revision.clone()).await.unwrap();
    }
    let rows = stored.open_rows().await;
    assert!(rows.contains("ana") && rows.contains("parent"), "{rows}");
    for value in ["7770000", "nacimiento", "2019-02-03"] {
        assert!(!rows.contains(value), "{value}");
    }
    stored.erase(person(1)).await;
    let [first, second] = [first, second].map(|link| PatientLink { personal: None, ..link });
    assert_eq!(ledger.patient_link_history(pe(), person(1), "ana", 0, 10).await.unwrap(), [first, second.clone()]);
    assert_eq!(ledger.patient_link(pe(), person(1), "ana").await.unwrap(), Some(second));
    let AccountLinks { links, changes } = ledger.account_links(pe(), "ana").await.unwrap();
    let whole: Vec<_> = links.into_iter().filter(|link| link.personal.is_some()).collect();
    assert_eq!((whole, changes), (vec![other], 3));
}
