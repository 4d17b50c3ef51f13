//! Appointments that an account books without a verified tie to the patient, and their verification.

use super::*;
use crate::booking::SlotSearch;
use crate::booking::merged::merged;
use crate::model::{Phase, Step};

const TIME: &str = "patient/dni:10117410/2026-12-01T14:30Z";
const LIVE: &str = "live/patient/dni:10117410";
const DOCTOR: &str = "doctor/45678/2026-12-01T14:30Z";

/// Returns a plan with claims on the doctor's time, on the patient's, and on one of the patient's places.
fn wanted(places: u16) -> Plan {
    let live = Claim { places, personal: true, ..Claim::new(LIVE) };
    Plan { claims: vec![Claim::new(DOCTOR), Claim::new(TIME), live], ..booked() }
}

/// Returns an appointment that `ana` booked for a patient to whom nobody has verified her tie.
fn unverified() -> Revision {
    let mut stored = revision(Uuid::nil());
    stored.appointment.unverified = true;
    stored.appointment.wake = Some(Wake { at: stored.updated_at, action: "remind".into() });
    let live = kept_of(LIVE, Some("ana"));
    stored.personal_places = [(live.clone(), 3)].into();
    stored.claims = vec![held(DOCTOR), held(&kept_of(TIME, Some("ana"))), HeldClaim { key: live, ordinal: 2 }];
    stored
}

fn desk_with(stored: Revision) -> Desk {
    let ledger = OneAppointment { stored: Some(stored), ..OneAppointment::default() };
    Desk::new(Deciding::new(Ok(Ok(wanted(1000)))), ledger)
}

fn staff() -> Caller {
    Caller { subject: "eva".into(), groups: ["pe:staff".to_owned()].into(), ..ana() }
}

fn request<'a>(action: &'a str, if_match: Option<&str>) -> ActionRequest<'a> {
    let if_match = if_match.map(|tag| vec![tag.to_owned()]);
    ActionRequest { id: Uuid::nil(), action, input: json!({}), slot: None, if_match, key: None }
}

fn keys(change: &Change) -> Vec<&str> {
    change.claims.iter().map(|claim| claim.key.as_str()).collect()
}

#[tokio::test]
async fn who_books_without_a_tie_takes_personal_claims_that_are_in_nobodys_way() {
    let taken = Some(kept(TIME));
    let desk = Desk::new(Deciding::new(Ok(Ok(wanted(3)))), OneAppointment { taken, ..OneAppointment::default() });
    desk.book().await.unwrap();
    let [change] = &desk.changes()[..] else { panic!("one change is stored") };
    let own = |key: &str| kept_of(key, Some("ana"));
    assert_eq!(keys(change), [DOCTOR, &own(TIME), &own(LIVE)]);
    let Revision { owner, appointment, personal_places, .. } = &change.revision;
    assert_eq!((owner.as_deref(), appointment.unverified), (Some("ana"), true));
    assert_eq!(*personal_places, [(own(LIVE), 3)].into());
}

#[tokio::test]
async fn who_acts_for_the_patient_or_is_staff_books_for_the_patient() {
    for access in [parent("ana"), access("eva", &["pe:staff"]), access("ops", &["platform"])] {
        let desk = Desk::new(Deciding::new(Ok(Ok(wanted(3)))), OneAppointment::default());
        desk.decide_as(access, "book").await.unwrap();
        let [change] = &desk.changes()[..] else { panic!("one change is stored") };
        assert_eq!(keys(change), [DOCTOR, &kept(TIME), &kept(LIVE)]);
        let Revision { owner, appointment, personal_places, .. } = &change.revision;
        assert_eq!((owner, appointment.unverified, personal_places.len()), (&None, false, 0));
    }
}

#[tokio::test]
async fn an_action_keeps_the_owner_and_the_limits_of_the_booking_whoever_does_it() {
    for (access, action) in
        [(access("ana", &[]), "cancel"), (parent("ana"), "cancel"), (access("eva", &["pe:staff"]), "arrive")]
    {
        let desk = desk_with(unverified());
        desk.decide_as(access, action).await.unwrap();
        let [change] = &desk.changes()[..] else { panic!("one change is stored") };
        let settled = change.places().plain().unwrap();
        assert_eq!(settled.claims, unverified().claims, "it takes no other claims");
        let Revision { owner, appointment, personal_places, .. } = &change.revision;
        assert_eq!((owner.as_deref(), appointment.unverified), (Some("ana"), true));
        assert_eq!(*personal_places, unverified().personal_places);
    }
}

#[tokio::test]
async fn an_action_that_names_another_patient_gives_the_appointment_an_owner() {
    let mut other = wanted(3);
    other.patient = "ce:PER:000123".into();
    for (access, action, owner) in
        [(parent("ana"), "cancel", Some("ana")), (access("eva", &["pe:staff"]), "arrive", None)]
    {
        let ledger = OneAppointment { stored: Some(verified()), ..OneAppointment::default() };
        let desk = Desk::new(Deciding::new(Ok(Ok(other.clone()))), ledger);
        desk.decide_as(access, action).await.unwrap();
        assert_eq!(desk.changes()[0].revision.owner.as_deref(), owner);
    }
}

#[tokio::test]
async fn verification_takes_the_claims_of_the_patient_and_changes_nothing_that_the_rules_planned() {
    let desk = desk_with(unverified());
    let view = desk.booking.act(&staff(), pe(), request("verify", Some("1"))).await.unwrap();
    let [change] = &desk.changes()[..] else { panic!("one change is stored") };
    assert_eq!(change.held, unverified().claims);
    assert_eq!(
        change.claims,
        [Claim::new(DOCTOR), Claim::new(kept(TIME)), Claim { places: 3, ..Claim::new(kept(LIVE)) }]
    );
    assert!(change.events.is_empty() && change.agenda.is_none() && desk.rules.calls().is_empty());

    let before = unverified().appointment;
    let Revision { owner, appointment, personal_places, provenance, updated_at, .. } = &*view.revision;
    assert_eq!((owner, personal_places.len()), (&None, 0));
    let step = Step { action: "verify".into(), role: Role::Staff, at: *updated_at };
    let steps = [before.steps.clone(), vec![step]].concat();
    assert_eq!(*appointment, Appointment { unverified: false, revision: 2, steps, ..before });
    assert_eq!((provenance.action.as_str(), provenance.subject.as_str()), ("verify", "eva"));
    assert_eq!(provenance.context.caller.role, Role::Staff);
    assert_eq!((provenance.rules.clone(), view.tag().as_str()), (unverified().provenance.rules, "2"));
}

#[tokio::test]
async fn an_appointment_from_before_owners_were_apart_becomes_the_patients_with_the_claims_that_it_has() {
    let mut stored = revision(Uuid::nil());
    stored.claims = vec![held(DOCTOR), held(&kept(TIME))];
    let desk = desk_with(stored.clone());
    let view = desk.booking.act(&staff(), pe(), request("verify", None)).await.unwrap();
    assert_eq!((&view.revision.owner, &view.revision.claims), (&None, &stored.claims));
}

#[tokio::test]
async fn what_is_in_the_way_of_a_verification_is_not_named() {
    let taken = Some(kept(TIME));
    let ledger = OneAppointment { taken, stored: Some(unverified()), ..OneAppointment::default() };
    let desk = Desk::new(Deciding::new(Ok(Ok(wanted(3)))), ledger);
    let refused = desk.booking.act(&staff(), pe(), request("verify", None)).await;
    assert!(matches!(refused, Err(BookingError::PatientTaken)), "{refused:?}");
    assert_eq!(desk.changes().len(), 0);
}

#[tokio::test]
async fn a_verified_appointment_stays_as_it_is() {
    let desk = desk_with(verified());
    let view = desk.booking.act(&staff(), pe(), request("verify", None)).await.unwrap();
    assert_eq!((view.revision.appointment.revision, desk.changes().len()), (1, 0));
}

#[tokio::test]
async fn a_verification_of_another_revision_or_with_an_input_is_refused() {
    for stored in [unverified(), verified()] {
        let desk = desk_with(stored);
        let stale = desk.booking.act(&staff(), pe(), request("verify", Some("2"))).await;
        assert!(matches!(stale, Err(BookingError::Stale { current: 1 })), "{stale:?}");
        for input in [json!({ "a/b": 1 }), json!([]), json!("x")] {
            let request = ActionRequest { input, ..request("verify", None) };
            let refused = desk.booking.act(&staff(), pe(), request).await;
            assert!(matches!(refused, Err(BookingError::Violations(_))), "{refused:?}");
        }
        let slot = Some(NamedSlot::Held(Uuid::nil()));
        let refused = desk.booking.act(&staff(), pe(), ActionRequest { slot, ..request("verify", None) }).await;
        let Err(BookingError::Violations(Rejection { violations, .. })) = refused else { panic!("{refused:?}") };
        assert_eq!(violations[0].path, "/hold");
        assert_eq!(desk.changes().len(), 0);
    }
}

#[tokio::test]
async fn whoever_acts_for_the_patient_verifies_what_others_booked_and_who_booked_it_does_not() {
    let desk = desk_with(unverified());
    let find = async |access: &Access| desk.booking.verifiable(access, pe(), Uuid::nil()).await.map(|_| ());
    for access in [parent("luis"), parent("ana"), access("eva", &["pe:staff"]), access("ops", &["platform"])] {
        assert!(find(&access).await.is_ok(), "{access:?}");
    }
    assert!(matches!(find(&access("ana", &[])).await, Err(BookingError::Forbidden(_))));
    assert!(matches!(find(&access("luis", &[])).await, Err(BookingError::UnknownAppointment)));
}

#[tokio::test]
async fn an_absent_appointment_takes_as_many_reads_and_calls_as_one_that_the_caller_may_not_see() {
    let somebodys = Revision { owner: Some("luis".into()), ..unverified() };
    let search = || SlotSearch {
        spelt: Spellings::default(),
        members: vec![],
        appointment: Some(Uuid::nil()),
        from: None,
        days: 7,
        after: None,
        limit: 10,
    };
    let mut answers = Vec::new();
    for stored in [None, Some(somebodys), Some(verified())] {
        let mut rules = Deciding::new(Ok(Ok(wanted(3))));
        rules.openings = Some(vec![]);
        rules.descriptor.horizon_days = Some(30);
        let desk = Desk::new(rules, OneAppointment { stored, ..OneAppointment::default() });
        let (booking, ana, id) = (&desk.booking, ana(), Uuid::nil());
        let errors = [
            booking.get(&ana, pe(), id).await.map(drop),
            booking.history(&ana, pe(), id, 0, 10).await.map(drop),
            booking.act(&ana, pe(), request("cancel", None)).await.map(drop),
            booking.act(&ana, pe(), request("verify", None)).await.map(drop),
            booking.slots(&ana, pe(), search()).await.map(drop),
        ];
        let errors = errors.map(|found| found.unwrap_err().to_string());
        let rules = desk.catalogue.rules(pe()).unwrap();
        let calls = rules.counters.answered.load(Ordering::Relaxed) + rules.counters.faults.load(Ordering::Relaxed);
        answers.push((errors, desk.reads(), calls));
    }
    assert_eq!((answers[0].1, answers[0].2), (5, 0), "one read for each request");
    assert_eq!((&answers[1], &answers[2]), (&answers[0], &answers[0]));
}

/// Returns the owners of the facts of a patient that the rules get, when somebody books or acts.
async fn owners_of_facts(access: Access, action: &str, stored: Revision) -> Vec<OwnerFilter> {
    let query = FactQuery {
        name: "own".into(),
        of: Party::Patient,
        key: PATIENT.into(),
        phases: vec![],
        since: None,
        until: None,
        at_most: 3,
    };
    let mut rules = Deciding::new(Ok(Ok(wanted(3))));
    rules.queries = vec![query];
    for action in &mut rules.descriptor.actions {
        action.roles = ["patient", "staff", "clock"].map(str::to_owned).into();
        action.input_schema = "{}".into();
    }
    let desk = Desk::new(rules, OneAppointment { stored: Some(stored), ..OneAppointment::default() });
    desk.decide_as(access, action).await.unwrap();
    let queries = desk.ledger.queries.lock().unwrap();
    queries.iter().map(|query| query.owner.clone()).collect()
}

#[tokio::test]
async fn facts_about_a_patient_are_those_of_the_same_standing() {
    let link = |stored: &Revision| Access::of_link(stored, &names(), "r-1");
    let (clock, staff) = (Access::of_clock("r-1".into()), access("eva", &["pe:staff"]));
    let own = OwnerFilter::Account("ana".into());
    let (patients, owners) = (vec![OwnerFilter::Nobody], vec![own.clone()]);
    let both = vec![OwnerFilter::Nobody, own];
    for (access, action, stored, expected) in [
        (access("ana", &[]), "book", verified(), &owners),
        (parent("ana"), "book", verified(), &patients),
        (staff.clone(), "book", verified(), &patients),
        (parent("ana"), "cancel", verified(), &patients),
        (staff.clone(), "cancel", verified(), &patients),
        (clock.clone(), "cancel", verified(), &patients),
        (link(&verified()), "cancel", verified(), &patients),
        (access("ana", &[]), "cancel", unverified(), &owners),
        (clock, "cancel", unverified(), &owners),
        (link(&unverified()), "cancel", unverified(), &owners),
        (parent("ana"), "cancel", unverified(), &both),
        (staff, "cancel", unverified(), &both),
    ] {
        let about = format!("{action} by {access:?}");
        assert_eq!(owners_of_facts(access, action, stored).await, *expected, "{about}");
    }
}

/// Returns the appointments of a list: `ana` owns those with an even number, and the others are verified ones of two people.
fn listed() -> Vec<Revision> {
    let appointment = |number: u128| {
        let mut one = revision(Uuid::from_u128(number));
        one.owner = number.is_multiple_of(2).then(|| "ana".into());
        let patient = if number.is_multiple_of(3) { PATIENT } else { "ce:PER:000123" };
        one.appointment.patient = patient.into();
        one.person = names().patient(pe(), patient);
        one.appointment.phase = Phase::Booked;
        one
    };
    (1..=30).map(appointment).collect()
}

#[tokio::test]
async fn a_patient_lists_their_own_and_those_of_the_patients_for_whom_they_act_in_one_order() {
    let ledger = OneAppointment { others: listed(), ..OneAppointment::default() };
    let of_patient = Some(names().patient(pe(), PATIENT));
    for (access, person, is_listed) in [
        (access("ana", &[]), None, (|number| number % 2 == 0) as fn(u128) -> bool),
        (parent("ana"), None, |number| number % 2 == 0 || number % 3 == 0),
        (parent("ana"), of_patient, |number| number % 3 == 0),
        (parent("ana"), Some(Uuid::nil()), |_| false),
        (parent("luis"), None, |number| number % 2 != 0 && number % 3 == 0),
        (access("luis", &[]), None, |_| false),
        (access("eva", &["pe:staff"]), None, |_| true),
    ] {
        for (order, limit) in
            [(Order::Ascending, 1), (Order::Ascending, 4), (Order::Descending, 7), (Order::Ascending, 100)]
        {
            let mut query = Query { person, order, limit, ..Query::default() };
            let mut found = Vec::new();
            loop {
                let page = merged(&ledger, pe(), access.queries(query.clone(), pe(), &names())).await.unwrap();
                assert!(page.items.len() <= limit && (page.next.is_none() || !page.items.is_empty()));
                found.extend(page.items.iter().map(|item| item.appointment.id.as_u128()));
                query.after = page.next;
                if query.after.is_none() {
                    break;
                }
            }
            let mut expected: Vec<u128> = (1..=30).filter(|number| is_listed(*number)).collect();
            if order == Order::Descending {
                expected.reverse();
            }
            assert_eq!(found, expected, "{access:?} {order:?} {limit}");
        }
    }
}

#[test]
fn a_tie_that_is_named_twice_is_listed_once() {
    let twice = Access { ties: [parent("ana").ties, parent("ana").ties].concat(), ..parent("ana") };
    assert_eq!(twice.queries(Query::default(), pe(), &names()).len(), 2);
}
