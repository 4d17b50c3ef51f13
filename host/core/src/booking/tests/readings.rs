//! Tests of the read log, over fake rules, a fake ledger and a log that may fail.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::booking::ReadSearch;
use crate::model::{ActionDescriptor, Forbidden, Link, PatientRead, ReadOperation, ReadReason, Reading, Relation, Tie};
use crate::ports::{ReadLog, ReadLogUnavailable, ReadPage, ReadQuery};

/// A log of what was recorded and what was searched.
#[derive(Default)]
struct Recorded {
    readings: Mutex<Vec<Reading>>,
    searches: Mutex<Vec<ReadQuery>>,
    is_broken: AtomicBool,
}

impl Recorded {
    fn outcome(&self) -> Result<(), ReadLogUnavailable> {
        let broken = || ReadLogUnavailable { country: pe(), cause: "the disk is full".into() };
        if self.is_broken.load(Ordering::Relaxed) { Err(broken()) } else { Ok(()) }
    }
}

#[async_trait]
impl ReadLog for Recorded {
    async fn record(&self, _: CountryCode, reading: Reading) -> Result<(), ReadLogUnavailable> {
        self.outcome()?;
        self.readings.lock().unwrap().push(reading);
        Ok(())
    }
    async fn ready(&self, _: CountryCode) -> Result<(), ReadLogUnavailable> {
        self.outcome()
    }
    async fn readings(&self, _: CountryCode, query: &ReadQuery) -> Result<ReadPage, ReadLogUnavailable> {
        self.outcome()?;
        self.searches.lock().unwrap().push(query.clone());
        Ok(ReadPage { readings: self.readings.lock().unwrap().clone(), next: None })
    }
}

/// Returns a desk with one appointment, which logs who reads it.
fn desk() -> (Desk, Arc<Recorded>) {
    let mut rules = Deciding::new(Ok(Ok(booked())));
    let confirm = ActionDescriptor { name: "confirm".into(), roles: vec!["patient".into()], input_schema: "{}".into() };
    rules.descriptor.actions.push(confirm);
    let stored = Some(revision(Uuid::nil()));
    let mut desk = Desk::new(rules, OneAppointment { stored, ..OneAppointment::default() });
    let log = Arc::new(Recorded::default());
    desk.booking = desk.booking.logging_reads(log.clone());
    (desk, log)
}

fn eva() -> Caller {
    Caller { subject: "eva".into(), groups: ["pe:staff".to_owned()].into(), ..ana() }
}

fn page() -> Query {
    Query { limit: 20, ..Query::default() }
}

#[tokio::test]
async fn a_reading_says_who_read_which_patient_and_why() {
    let (desk, log) = desk();
    desk.booking.get(&ana(), pe(), Uuid::nil()).await.unwrap();
    desk.booking.list(&eva(), pe(), Spellings::default(), page()).await.unwrap();
    desk.booking.history(&eva(), pe(), Uuid::nil(), 0, 10).await.unwrap();
    desk.booking.show_link(&Link::new(&revision(Uuid::nil()), "confirm", "en"), "r-7").await.unwrap();
    let readings = log.readings.lock().unwrap().clone();
    let told: Vec<_> = readings
        .iter()
        .map(|reading| {
            let [patient] = &reading.patients[..] else { panic!("one patient: {reading:?}") };
            assert_eq!((patient.person, &patient.appointments[..]), (Uuid::nil(), &[Uuid::nil()][..]));
            (reading.subject.as_str(), reading.operation, patient.reason)
        })
        .collect();
    let expected = [
        ("ana", ReadOperation::Get, ReadReason::Owner),
        ("eva", ReadOperation::List, ReadReason::Staff),
        ("eva", ReadOperation::History, ReadReason::Staff),
        ("link", ReadOperation::Link, ReadReason::Owner),
    ];
    assert_eq!(told, expected);
    assert_eq!(readings[3].request_id, "r-7");
}

#[tokio::test]
async fn what_is_not_shown_is_not_a_reading() {
    let (desk, log) = desk();
    let luis = Caller { subject: "luis".into(), ..ana() };
    assert!(desk.booking.get(&luis, pe(), Uuid::nil()).await.is_err());
    assert!(desk.booking.history(&luis, pe(), Uuid::nil(), 0, 10).await.is_err());
    desk.book().await.unwrap();
    assert_eq!(*log.readings.lock().unwrap(), []);
}

#[tokio::test]
async fn without_the_log_staff_get_no_list_and_everybody_one_appointment() {
    let (desk, log) = desk();
    log.is_broken.store(true, Ordering::Relaxed);
    let refused = desk.booking.list(&eva(), pe(), Spellings::default(), page()).await.unwrap_err();
    assert!(matches!(refused, BookingError::ReadLog(_)), "{refused}");
    desk.booking.list(&ana(), pe(), Spellings::default(), page()).await.unwrap();
    desk.booking.get(&eva(), pe(), Uuid::nil()).await.unwrap();
    desk.booking.history(&eva(), pe(), Uuid::nil(), 0, 10).await.unwrap();
    let search = ReadSearch { actor: Some("ana".into()), limit: 20, ..ReadSearch::default() };
    assert!(matches!(desk.booking.readings(&eva(), pe(), search).await, Err(BookingError::ReadLog(_))));
}

#[tokio::test]
async fn a_search_of_the_log_names_a_patient_or_an_actor_and_is_a_reading_itself() {
    let (desk, log) = desk();
    let search = |patient: Option<&str>, actor: Option<&str>| ReadSearch {
        patient: patient.map(str::to_owned),
        actor: actor.map(str::to_owned),
        limit: 20,
        ..ReadSearch::default()
    };
    let of_all = desk.booking.readings(&eva(), pe(), search(None, None)).await;
    assert!(matches!(of_all, Err(BookingError::ReadingsOfAll)));
    desk.booking.readings(&eva(), pe(), search(Some("dni:10117410"), Some("ana"))).await.unwrap();
    desk.booking.readings(&eva(), pe(), search(None, Some("ana"))).await.unwrap();

    let person = names().patient(pe(), "dni:10117410");
    let [both, by_actor] = &log.searches.lock().unwrap()[..] else { panic!("two searches") };
    assert_eq!((both.person, both.subject.as_deref()), (Some(person), Some("ana")));
    assert_eq!((by_actor.person, by_actor.subject.as_deref()), (None, Some("ana")));
    let year_ago = ManualClock::default().now() - crate::model::READINGS_KEPT;
    assert_eq!(both.from, year_ago, "what is older has had its time");
    let read = PatientRead { person, reason: ReadReason::Staff, appointments: vec![] };
    let readings = log.readings.lock().unwrap();
    assert_eq!(readings.iter().map(|reading| &reading.patients).collect::<Vec<_>>(), [&vec![read], &vec![]]);
}

#[test]
fn staff_of_some_hospitals_and_patients_without_an_identity_search_no_log() {
    let access = |caller: &Caller| Access::of_token(caller, pe(), &names()).unwrap();
    let searched = |access: &Access, key: Option<&str>, actor: Option<&str>| {
        crate::booking::readings::searched(access, pe(), key.map(str::to_owned), actor)
    };
    let own = Some("dni:10117410".to_owned());
    let mut patient = access(&ana());
    assert!(searched(&patient, None, None).is_err());
    for relation in [Relation::Parent, Relation::Guardian, Relation::Carer, Relation::Oneself] {
        patient.ties = vec![Tie { patient: "dni:10117410".into(), relation }];
        let found = searched(&patient, None, None);
        assert_eq!(found.is_ok(), relation == Relation::Oneself, "{relation:?}");
    }
    assert_eq!(searched(&patient, None, Some("ana")), Ok(own.clone()));
    assert_eq!(searched(&patient, own.as_deref(), None), Ok(own));
    for (key, actor) in [(Some("dni:00000001"), None), (None, Some("eva"))] {
        assert!(searched(&patient, key, actor).is_err(), "{key:?} {actor:?}");
    }
    let mut staff = access(&eva());
    assert_eq!(searched(&staff, None, Some("ana")), Ok(None));
    staff.hospitals = Some(["00006219".to_owned()].into());
    let Err(Forbidden(words)) = searched(&staff, None, Some("ana")) else { panic!("it is refused") };
    assert!(words.contains("all hospitals"), "{words}");
}
