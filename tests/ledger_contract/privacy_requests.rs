//! Requests of patients about their personal data.

use std::sync::Arc;

use citas_core::model::{Demand, PrivacyOutcome, PrivacyRequest, PrivacyState, PrivacyStep, PrivacyTexts, Role};
use citas_core::ports::{Ledger, PrivacyError, PrivacyQuery};
use futures::future::join_all;

use super::stored::Inside;
use crate::support::appointments::*;

fn step(action: &str) -> PrivacyStep {
    PrivacyStep {
        action: action.into(),
        at: now(),
        subject: "ana".into(),
        role: Role::Patient,
        request_id: format!("r-{action}"),
    }
}

/// Returns request `number` about a person, due in so many minutes.
fn filed(number: usize, of: usize, due: usize) -> PrivacyRequest {
    PrivacyRequest {
        id: id(number),
        country: pe(),
        person: person(of),
        demand: Demand::Access,
        owner: Some("ana".into()),
        verified: false,
        received_at: now(),
        due_at: now() + minutes(due),
        extended_from: None,
        outcome: None,
        proof: None,
        steps: vec![step("file")],
        texts: Some(PrivacyTexts {
            patient: format!("dni:1011741{of}"),
            details: Some("¿Quién leyó mis datos? «ñandú»".into()),
            ..PrivacyTexts::default()
        }),
    }
}

fn extended(mut request: PrivacyRequest, by: usize) -> PrivacyRequest {
    (request.extended_from, request.due_at) = (Some(request.due_at), request.due_at + minutes(by));
    request.texts.get_or_insert_default().extension = Some("much to copy".into());
    request.steps.push(step("extend"));
    request
}

fn closed(mut request: PrivacyRequest) -> PrivacyRequest {
    (request.outcome, request.proof) = (Some(PrivacyOutcome::PartlyGranted), Some("letter 12".into()));
    request.steps.push(step("close"));
    request
}

async fn put(ledger: &Arc<dyn Ledger>, request: &PrivacyRequest) {
    ledger.put_privacy_request(request.clone()).await.unwrap();
}

pub async fn a_privacy_request_is_read_back_at_each_step(ledger: Arc<dyn Ledger>) {
    assert_eq!(ledger.privacy_request(pe(), id(1)).await.unwrap(), None);
    let first = filed(1, 1, 10);
    let second = extended(first.clone(), 30);
    let third = closed(second.clone());
    for request in [&first, &second, &third] {
        put(&ledger, request).await;
        assert_eq!(ledger.privacy_request(pe(), id(1)).await.unwrap().as_ref(), Some(request));
        let all = PrivacyQuery { limit: 10, ..PrivacyQuery::default() };
        assert_eq!(
            ledger.privacy_requests(pe(), &all).await.unwrap(),
            std::slice::from_ref(request),
            "once in the list"
        );
    }
    let staffs = PrivacyRequest { owner: None, texts: None, ..filed(2, 2, 5) };
    put(&ledger, &staffs).await;
    assert_eq!(ledger.privacy_request(pe(), id(2)).await.unwrap(), Some(staffs));
    assert_eq!(ledger.privacy_request(cl(), id(1)).await.unwrap(), None);
}

pub async fn a_step_follows_the_one_before(ledger: Arc<dyn Ledger>) {
    let first = filed(1, 1, 10);
    let second = closed(first.clone());
    let stale = async |request: &PrivacyRequest| {
        let outcome = ledger.put_privacy_request(request.clone()).await;
        assert!(matches!(outcome, Err(PrivacyError::Stale)), "{outcome:?}");
    };
    stale(&second).await;
    put(&ledger, &first).await;
    stale(&PrivacyRequest { demand: Demand::Erasure, ..first.clone() }).await;
    stale(&closed(second.clone())).await;
    put(&ledger, &second).await;
    stale(&extended(first, 1)).await;
    assert_eq!(ledger.privacy_request(pe(), id(1)).await.unwrap(), Some(second));
}

pub async fn privacy_requests_are_listed_by_the_time_of_the_answer(ledger: Arc<dyn Ledger>) {
    let mut stored = vec![filed(1, 1, 30), filed(2, 2, 10), filed(3, 1, 20), filed(4, 1, 20), filed(5, 3, 40)];
    stored[4].owner = Some("luis".into());
    for request in &stored {
        put(&ledger, request).await;
    }
    stored[2] = closed(stored[2].clone());
    stored[1] = extended(stored[1].clone(), 100);
    for request in &stored[1..3] {
        put(&ledger, request).await;
    }
    let all = || PrivacyQuery { limit: 10, ..PrivacyQuery::default() };
    let listed = async |query: PrivacyQuery| -> Vec<usize> {
        let found = ledger.privacy_requests(pe(), &query).await.unwrap();
        let number = |request: &PrivacyRequest| {
            let number = (1..=5).find(|number| id(*number) == request.id).unwrap();
            assert_eq!(request, &stored[number - 1]);
            number
        };
        found.iter().map(number).collect()
    };
    assert_eq!(listed(all()).await, [3, 4, 1, 5, 2]);
    let open = || PrivacyQuery { state: Some(PrivacyState::Open), ..all() };
    assert_eq!(listed(open()).await, [4, 1, 5, 2]);
    assert_eq!(listed(PrivacyQuery { state: Some(PrivacyState::Closed), ..all() }).await, [3]);
    assert_eq!(listed(PrivacyQuery { person: Some(person(1)), ..all() }).await, [3, 4, 1]);
    assert_eq!(listed(PrivacyQuery { person: Some(person(1)), ..open() }).await, [4, 1]);
    assert_eq!(listed(PrivacyQuery { owner: Some("luis".into()), ..all() }).await, [5]);
    assert_eq!(listed(PrivacyQuery { owner: Some("ana".into()), person: Some(person(2)), ..all() }).await, [2]);
    assert_eq!(listed(PrivacyQuery { due_before: Some(now() + minutes(30)), ..open() }).await, [4]);
    for query in [all(), open(), PrivacyQuery { person: Some(person(1)), ..all() }] {
        let whole = listed(query.clone()).await;
        let (mut walked, mut after) = (Vec::new(), None);
        loop {
            let page = listed(PrivacyQuery { limit: 2, after, ..query.clone() }).await;
            let Some(last) = page.last() else { break };
            after = Some(stored[last - 1].position());
            walked.extend(page);
        }
        assert_eq!(walked, whole);
    }
    assert_eq!(ledger.privacy_requests(cl(), &all()).await.unwrap(), []);
}

pub async fn an_erased_privacy_request_is_read_without_its_texts((ledger, stored): Inside) {
    let (first, other) = (filed(1, 1, 10), filed(2, 2, 20));
    for request in [&first, &extended(first.clone(), 5), &other] {
        put(&ledger, request).await;
    }
    let rows = stored.open_rows().await;
    assert!(rows.contains(&id(1).to_string()), "{rows}");
    for value in ["10117411", "10117412", "ñandú", "much to copy"] {
        assert!(!rows.contains(value), "{value}");
    }
    stored.erase(person(1)).await;
    let erased = PrivacyRequest { texts: None, ..extended(first, 5) };
    assert_eq!(ledger.privacy_request(pe(), id(1)).await.unwrap().as_ref(), Some(&erased));
    let all = PrivacyQuery { limit: 10, ..PrivacyQuery::default() };
    assert_eq!(ledger.privacy_requests(pe(), &all).await.unwrap(), [erased.clone(), other]);
    // An answer after the erasure has texts again.
    let mut answered = closed(erased);
    answered.texts = Some(PrivacyTexts { answer: Some("erased".into()), ..PrivacyTexts::default() });
    put(&ledger, &answered).await;
    assert_eq!(ledger.privacy_request(pe(), id(1)).await.unwrap(), Some(answered));
}

pub async fn of_twenty_steps_at_once_one_is_stored(ledger: Arc<dyn Ledger>) {
    let first = filed(1, 1, 10);
    put(&ledger, &first).await;
    let steps = (0..20).map(|number| {
        let (ledger, mut next) = (Arc::clone(&ledger), closed(first.clone()));
        next.proof = Some(format!("letter {number}"));
        tokio::spawn(async move { (ledger.put_privacy_request(next.clone()).await, next) })
    });
    let outcomes = join_all(steps).await.into_iter().map(Result::unwrap);
    let stored: Vec<PrivacyRequest> = outcomes
        .filter_map(|(outcome, next)| match outcome {
            Ok(()) => Some(next),
            Err(PrivacyError::Stale) => None,
            Err(PrivacyError::Unavailable(error)) => panic!("{error}"),
        })
        .collect();
    assert_eq!(stored.len(), 1);
    assert_eq!(ledger.privacy_request(pe(), id(1)).await.unwrap().as_ref(), stored.first());
}
