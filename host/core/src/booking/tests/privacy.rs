//! Tests of privacy requests, over fake rules and a fake ledger.

use jiff::SignedDuration;

use super::*;
use crate::booking::{PrivacyAction, PrivacySearch};
use crate::model::{Demand, PrivacyOutcome, PrivacyTexts};

fn desk() -> Desk {
    Desk::new(Deciding::new(Ok(Ok(booked()))), OneAppointment::default())
}

/// Ana, whose issuer has verified that she is this patient.
fn verified() -> Caller {
    Caller { subject: "ana-verified".into(), identities: [(pe(), "dni:10117410".to_owned())].into(), ..ana() }
}

fn all() -> PrivacySearch {
    PrivacySearch { limit: 10, ..PrivacySearch::default() }
}

#[tokio::test]
async fn a_verified_patient_files_without_a_key_and_sees_what_others_filed_in_their_name() {
    let desk = desk();
    let (own, is_new) =
        desk.booking.file_privacy_request(&verified(), pe(), json!({ "demand": "access" })).await.unwrap();
    assert!(is_new && own.verified);
    assert_eq!(own.person, names().patient(pe(), "dni:10117410"));
    // The next one gets the same id from these tests' ids.
    let own = PrivacyRequest { id: Uuid::from_u128(2), ..own };
    *desk.ledger.privacy.lock().unwrap() = [(own.id, own.clone())].into();
    let input = json!({ "demand": "erasure", "patient": "dni:10117410" });
    let (stranger, _) = desk.booking.file_privacy_request(&ana(), pe(), input).await.unwrap();
    assert!(!stranger.verified);
    let found = desk.booking.privacy_requests(&verified(), pe(), all()).await.unwrap().0;
    assert_eq!(found.len(), 2);
    let found = desk.booking.privacy_requests(&ana(), pe(), all()).await.unwrap().0;
    assert_eq!(found.iter().map(|request| request.id).collect::<Vec<_>>(), [stranger.id]);
    assert!(desk.booking.privacy_request(&verified(), pe(), stranger.id).await.is_ok());
    let hidden = desk.booking.privacy_request(&ana(), pe(), own.id).await;
    assert!(matches!(hidden, Err(BookingError::UnknownPrivacyRequest)));
    let withdrawn = desk
        .booking
        .step_privacy_request(&verified(), pe(), stranger.id, PrivacyAction::Withdraw, json!({}), None)
        .await;
    assert!(matches!(withdrawn, Err(BookingError::Forbidden(_))), "only whoever filed it withdraws it");
}

#[tokio::test]
async fn without_terms_of_the_country_an_answer_has_thirty_days_and_as_many_more() {
    let desk = desk();
    let staff = Caller { groups: ["pe:staff".to_owned()].into(), ..ana() };
    let input = json!({ "demand": "access", "patient": "dni:10117410" });
    let (filed, _) = desk.booking.file_privacy_request(&staff, pe(), input).await.unwrap();
    let month = SignedDuration::from_hours(30 * 24);
    assert_eq!((filed.due_at, filed.owner), (filed.received_at + month, None));
    let reason = json!({ "reason": "much to copy" });
    let extended = desk.booking.step_privacy_request(&staff, pe(), filed.id, PrivacyAction::Extend, reason, None).await;
    let extended = extended.unwrap();
    assert_eq!((extended.extended_from, extended.due_at), (Some(filed.due_at), filed.due_at + month));
}

#[tokio::test]
async fn an_erased_request_is_answered_without_its_former_texts() {
    let desk = desk();
    let staff = Caller { groups: ["pe:staff".to_owned()].into(), ..ana() };
    let input = json!({ "demand": "erasure", "patient": "dni:10117410", "details": "everything" });
    let (filed, _) = desk.booking.file_privacy_request(&staff, pe(), input).await.unwrap();
    assert_eq!(filed.demand, Demand::Erasure);
    desk.ledger.privacy.lock().unwrap().get_mut(&filed.id).unwrap().texts = None;
    let given = json!({ "outcome": "granted", "answer": "It is erased.", "proof": "letter 12" });
    let closed = desk.booking.step_privacy_request(&staff, pe(), filed.id, PrivacyAction::Close, given, None).await;
    let closed = closed.unwrap();
    assert_eq!((closed.outcome, closed.proof.as_deref()), (Some(PrivacyOutcome::Granted), Some("letter 12")));
    let texts = PrivacyTexts { answer: Some("It is erased.".into()), ..PrivacyTexts::default() };
    assert_eq!(closed.texts, Some(texts));
}
