//! Free slots of a house with one doctor.

use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::civil::{Date, DateTime};

use super::*;
use crate::booking::{MAX_DAYS, SlotPage, SlotSearch};
use crate::model::{ActionDescriptor, Appointment, Context, Descriptor, Notice, Offered, Opening, Place};
use crate::ports::Rules;
use crate::testing::Described;

const ZONE: &str = "America/Lima";

/// Rules that offer each of their openings.
struct House {
    descriptor: Descriptor,
    openings: Vec<&'static str>,
    /// Maximum number of offers of one call.
    fits: usize,
    reason: Option<Violation>,
    calls: Mutex<Vec<(DateTime, DateTime)>>,
    /// Number of calls for offers.
    offers: AtomicUsize,
}

impl Default for House {
    fn default() -> Self {
        let mut descriptor = Described::default().0;
        descriptor.horizon_days = Some(90);
        descriptor.request_schema = r#"{
            "required": ["dni", "urgent"],
            "properties": {
                "district": { "pattern": "^[0-9]{6}$", "x-place": true }, "urgent": { "type": "boolean", "x-place": true }
            }
        }"#
        .into();
        Self {
            descriptor,
            openings: vec![],
            fits: usize::MAX,
            reason: None,
            calls: Mutex::default(),
            offers: AtomicUsize::default(),
        }
    }
}

fn slot(start: &str) -> Slot {
    Slot { start: start.parse().unwrap(), minutes: 30, zone: ZONE.into() }
}

impl Rules for House {
    fn contract(&self) -> &'static str {
        "2.0.0"
    }
    fn describe(&self) -> Result<Descriptor, Fault> {
        Ok(self.descriptor.clone())
    }
    fn book(&self, _: &Context, _: &[Field]) -> Result<Verdict, Fault> {
        Err(Fault::Busy)
    }
    fn act(&self, _: &Context, _: &Appointment, _: &str, _: &[Field]) -> Result<Verdict, Fault> {
        Err(Fault::Busy)
    }
    fn present(&self, _: Role, _: &[&Appointment]) -> Result<Vec<Vec<Field>>, Fault> {
        Err(Fault::Busy)
    }
    fn has_openings(&self) -> bool {
        true
    }
    fn openings(&self, _: &Context, _: &Place, since: DateTime, until: DateTime) -> Result<Vec<Opening>, Fault> {
        self.calls.lock().unwrap().push((since, until));
        let slots = self.openings.iter().map(|start| slot(start));
        let opening = |slot| Opening { slot, doctor: None, hospital: None, places: 1, fields: vec![] };
        Ok(slots.filter(|slot| (since..until).contains(&slot.start)).map(opening).collect())
    }
    fn offers(
        &self,
        _: &Context,
        place: &Place,
        _: Option<&Appointment>,
        openings: &[Opening],
    ) -> Result<Option<Offered>, Fault> {
        self.offers.fetch_add(1, Ordering::Relaxed);
        if openings.len() > self.fits {
            return Err(Fault::AnswerTooLarge { limit: 0 });
        }
        let offer = |(opening, Opening { slot, doctor, .. }): (usize, &Opening)| Offer {
            opening,
            slot: slot.clone(),
            claims: vec![Claim::new(format!("doctor/{}/{}", doctor.as_deref().unwrap_or("45678"), slot.start))],
            choices: vec![],
            request: place.fields.clone(),
        };
        let offers: Vec<Offer> =
            if self.reason.is_some() { vec![] } else { openings.iter().enumerate().map(offer).collect() };
        let offers = offers.into_iter().rev().collect();
        Ok(Some(Offered { offers, reason: self.reason.clone() }))
    }
    fn notices(&self, _: &str, _: &Appointment) -> Result<Vec<Notice>, Fault> {
        Ok(vec![])
    }
}

#[test]
fn a_schema_with_a_member_that_the_host_gives_a_request_is_refused() {
    let refusal = |schema: &str, input: &str| {
        let mut house = House::default();
        house.descriptor.request_schema = schema.into();
        house.descriptor.actions =
            vec![ActionDescriptor { name: "move".into(), roles: vec!["patient".into()], input_schema: input.into() }];
        LoadedRules::of(Arc::new(house), String::new()).map(drop).map_err(|refusal| refusal.to_string())
    };
    let with = |member: &str| format!(r#"{{ "properties": {{ "{member}": {{ "type": "string" }} }} }}"#);
    assert_eq!(refusal(&with("time"), &with("time")), Ok(()));
    for (member, meaning) in [("slot", "the token of a free slot"), ("hold", "the id of a hold")] {
        let refused = refusal(&with(member), "{}").unwrap_err();
        assert!(refused.contains("request-schema") && refused.contains(meaning), "{refused}");
        let refused = refusal("{}", &with(member)).unwrap_err();
        assert!(refused.contains("`move`") && refused.contains(meaning), "{refused}");
    }
}

fn search() -> SlotSearch {
    let from = Some(Date::constant(2026, 12, 1));
    SlotSearch {
        spelt: Spellings::default(),
        members: vec![],
        appointment: None,
        from,
        days: 7,
        after: None,
        limit: 100,
    }
}

/// The use cases over a house and a ledger in which the claim of this start is taken.
struct Reception {
    house: Arc<House>,
    booking: Booking,
}

impl Reception {
    fn of(house: House, taken: Option<&str>) -> Self {
        Self::with(house, taken, vec![])
    }

    fn with(house: House, taken: Option<&str>, agendas: Vec<AgendaRevision>) -> Self {
        let (house, catalogue) = (Arc::new(house), Arc::new(Catalogue::default()));
        catalogue.install(LoadedRules::of(house.clone(), "sha256:00".into()).unwrap(), Timestamp::UNIX_EPOCH);
        let taken = taken.map(|start| format!("doctor/45678/{}", slot(start).start));
        let (stored, agendas) = (Some(revision(Uuid::nil())), agendas.into());
        let ledger = OneAppointment { stored, taken, agendas, ..OneAppointment::default() };
        let clock = Arc::new(ManualClock::default());
        let booking = Booking::new(catalogue, Arc::new(ledger), clock, Arc::new(NewIds), names(), "0.1.0");
        Self { house, booking }
    }

    async fn slots(&self, search: SlotSearch) -> Result<SlotPage, BookingError> {
        self.booking.slots(&ana(), pe(), search).await
    }

    async fn starts(&self, search: SlotSearch) -> Vec<String> {
        starts(&self.slots(search).await.unwrap())
    }
}

fn starts(page: &SlotPage) -> Vec<String> {
    page.slots.iter().map(|free| free.slot.start.strftime("%dT%H:%M").to_string()).collect()
}

fn reason(page: &SlotPage) -> Option<&str> {
    page.reason.as_ref().map(|reason| reason.violations[0].code.as_str())
}

#[tokio::test]
async fn slots_are_the_offers_of_the_days_in_order_without_those_that_are_taken() {
    let openings =
        vec!["2026-12-03T09:00", "2026-12-01T09:30", "2026-12-01T09:00", "2026-11-30T09:00", "2026-12-08T09:00"];
    let desk = Reception::of(House { openings, ..House::default() }, Some("2026-12-01T09:30"));
    let page = desk.slots(search()).await.unwrap();
    assert_eq!(starts(&page), ["01T09:00", "03T09:00"]);
    assert_eq!((page.from, page.to), (Date::constant(2026, 12, 1), Date::constant(2026, 12, 7)));
    assert_eq!((reason(&page), page.next_available.as_ref(), page.zone.as_str()), (None, None, ZONE));
    assert_eq!(page.slots[0].starts_at, "2026-12-01T14:00:00Z".parse().unwrap());
}

#[tokio::test]
async fn a_slot_that_is_offered_twice_is_shown_once() {
    let openings = vec!["2026-12-01T09:00", "2026-12-01T09:00"];
    assert_eq!(Reception::of(House { openings, ..House::default() }, None).starts(search()).await, ["01T09:00"]);
}

#[tokio::test]
async fn pages_have_every_slot_once() {
    let openings = vec!["2026-12-01T09:00", "2026-12-01T09:30", "2026-12-02T09:00", "2026-12-03T09:00"];
    let desk = Reception::of(House { openings, ..House::default() }, None);
    let first = desk.slots(SlotSearch { limit: 3, ..search() }).await.unwrap();
    assert_eq!(starts(&first), ["01T09:00", "01T09:30", "02T09:00"]);
    let last = desk.slots(SlotSearch { limit: 3, after: first.next, ..search() }).await.unwrap();
    assert_eq!((starts(&last), last.next), (vec!["03T09:00".to_owned()], None));
    let whole = desk.slots(SlotSearch { limit: 4, ..search() }).await.unwrap();
    assert_eq!((whole.slots.len(), whole.next), (4, None));
}

#[tokio::test]
async fn an_empty_search_has_a_reason_and_the_next_free_slot() {
    let next = |page: &SlotPage| page.next_available.as_ref().map(|free| free.slot.start.date());
    let empty = Reception::of(House::default(), None).slots(search()).await.unwrap();
    assert_eq!((reason(&empty), next(&empty)), (Some("no-agenda"), None));

    let openings = vec!["2026-12-01T09:00", "2027-02-20T09:00"];
    let full = Reception::of(House { openings, ..House::default() }, Some("2026-12-01T09:00"));
    let page = full.slots(search()).await.unwrap();
    assert_eq!((reason(&page), next(&page)), (Some("full"), Some(Date::constant(2027, 2, 20))));

    // The horizon is 90 days.
    let far = House { openings: vec!["2027-02-23T09:00"], ..House::default() };
    assert_eq!(next(&Reception::of(far, None).slots(search()).await.unwrap()), None);

    let holiday = Some(Violation::new("/date", "pe.date.holiday"));
    let closed = House { openings: vec!["2026-12-01T09:00"], reason: holiday, ..House::default() };
    assert_eq!(reason(&Reception::of(closed, None).slots(search()).await.unwrap()), Some("pe.date.holiday"));
}

#[tokio::test]
async fn days_that_are_too_much_for_one_call_are_asked_for_in_parts() {
    let openings = vec!["2026-12-01T09:00", "2026-12-02T09:00", "2026-12-05T09:00", "2026-12-07T09:00"];
    let house = |fits| House { openings: openings.clone(), fits, ..House::default() };
    let desk = Reception::of(house(1), None);
    assert_eq!(desk.starts(search()).await.len(), 4);
    assert!(desk.house.calls.lock().unwrap().len() < 12);
    let none = Reception::of(house(0), None).slots(search()).await;
    assert!(matches!(none, Err(BookingError::RulesUnavailable(Some(Fault::AnswerTooLarge { .. })))), "{none:?}");
}

#[tokio::test]
async fn a_search_without_a_day_begins_today_and_ends_with_the_calendar() {
    let desk = Reception::of(House { openings: vec!["2026-11-24T16:00"], ..House::default() }, None);
    let page = desk.slots(SlotSearch { from: None, ..search() }).await.unwrap();
    assert_eq!((page.from, starts(&page)), (Date::constant(2026, 11, 24), vec!["24T16:00".to_owned()]));
    let end = desk.slots(SlotSearch { from: Some(Date::MAX), days: MAX_DAYS, ..search() }).await;
    assert!(matches!(end, Err(BookingError::NoSuchTime(_))), "{end:?}");
}

#[tokio::test]
async fn what_is_known_of_the_request_has_the_types_of_its_schema_and_is_checked_by_it() {
    let members = |list: &[(&str, &str)]| SlotSearch {
        members: list.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect(),
        ..search()
    };
    let desk = Reception::of(House { openings: vec!["2026-12-01T09:00"], ..House::default() }, None);
    let page = desk.slots(members(&[("district", "150122"), ("urgent", "true")])).await.unwrap();
    let urgent = Field { path: "/urgent".into(), value: Value::Flag(true) };
    assert_eq!(page.slots[0].request, [field("/district", "150122"), urgent]);
    for (name, text) in [("district", "12"), ("urgent", "yes")] {
        let refused = desk.slots(members(&[(name, text)])).await;
        let Err(BookingError::NoSuchPlace { parameter, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(parameter, name);
    }
}

#[tokio::test]
async fn a_country_without_openings_has_no_slots() {
    let desk = Desk::new(Deciding::new(Ok(Ok(booked()))), OneAppointment::default());
    assert!(matches!(desk.booking.slots(&ana(), pe(), search()).await, Err(BookingError::NoSlots)));
}

/// Returns an agenda with an opening on each of these days of December, at nine by the clocks of Lima, at a hospital.
fn agenda(doctor: &str, days: &[u8], hospital: &str, request: &Json) -> AgendaRevision {
    let extra = |day: &u8| {
        json!({
            "date": format!("2026-12-{day:02}"), "from": "09:00", "to": "09:30", "minutes": 30, "zone": ZONE,
            "hospital": hospital, "request": request,
        })
    };
    let extra: Vec<Json> = days.iter().map(extra).collect();
    AgendaRevision {
        country: pe(),
        doctor: doctor.into(),
        revision: 1,
        updated_at: Timestamp::UNIX_EPOCH,
        subject: "eva".into(),
        role: Role::Staff,
        request_id: "r".into(),
        agenda: serde_json::from_value(json!({ "weekly": [], "extra": extra })).unwrap(),
    }
}

fn of_doctor(doctor: &str) -> SlotSearch {
    SlotSearch { spelt: Spellings { doctor: Some(doctor.into()), ..Spellings::default() }, ..search() }
}

#[tokio::test]
async fn the_openings_of_a_doctor_with_an_agenda_are_those_of_the_agenda() {
    let house = || House { openings: vec!["2026-12-01T11:00"], ..House::default() };
    let desk = Reception::with(house(), None, vec![agenda("1", &[2, 3, 20], "h", &json!({}))]);
    assert_eq!(desk.starts(of_doctor("1")).await, ["02T09:00", "03T09:00"]);
    assert_eq!(desk.house.calls.lock().unwrap().len(), 0, "the country is not asked for its own");
    assert_eq!(desk.starts(of_doctor("2")).await, ["01T11:00"]);
    let empty = Reception::with(house(), None, vec![agenda("1", &[], "h", &json!({}))]);
    let page = empty.slots(of_doctor("1")).await.unwrap();
    assert_eq!((reason(&page), page.slots.len()), (Some("no-agenda"), 0));
}

#[tokio::test]
async fn without_a_doctor_the_openings_of_all_who_have_an_agenda_there_are_merged() {
    let district = |code: &str| json!({ "district": code });
    let agendas = vec![
        agenda("1", &[1, 3], "h", &district("150122")),
        agenda("2", &[2, 3], "h", &district("150101")),
        agenda("3", &[1, 4], "i", &json!({})),
    ];
    let desk = Reception::with(House::default(), None, agendas);
    let found = async |hospital: Option<&str>, members: &[(&str, &str)]| {
        let spelt = Spellings { hospital: hospital.map(str::to_owned), ..Spellings::default() };
        let members = members.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let page = desk.slots(SlotSearch { spelt, members, ..search() }).await.unwrap();
        let slots = page.slots.iter();
        slots.map(|free| format!("{} {}", free.slot.start.day(), free.doctor.as_deref().unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(found(Some("h"), &[]).await, ["1 1", "2 2", "3 1", "3 2"]);
    assert_eq!(found(Some("i"), &[]).await, ["1 3", "4 3"]);
    assert_eq!(found(None, &[("district", "150101")]).await, ["1 3", "2 2", "3 2", "4 3"]);
    assert_eq!(found(Some("h"), &[("district", "150122")]).await, ["1 1", "3 1"]);
}

#[tokio::test]
async fn openings_that_are_too_much_for_one_call_are_offered_in_parts_and_the_size_is_learned() {
    let days: Vec<u8> = (1..=7).collect();
    let agendas = (0..40).map(|number| agenda(&number.to_string(), &days, "h", &json!({}))).collect();
    let desk = Reception::with(House { fits: 20, ..House::default() }, None, agendas);
    let week = SlotSearch { limit: 1_000, ..search() };
    assert_eq!(desk.slots(week.clone()).await.unwrap().slots.len(), 280);
    let first = desk.house.offers.swap(0, Ordering::Relaxed);
    assert_eq!(desk.slots(week).await.unwrap().slots.len(), 280);
    let second = desk.house.offers.load(Ordering::Relaxed);
    assert!(second < first && second <= 28, "{first} calls, then {second}");
}

#[tokio::test]
async fn a_search_with_too_many_openings_is_refused() {
    let mut all = agenda("1", &[], "h", &json!({}));
    let hours = json!({ "from": "00:00", "to": "24:00", "minutes": 5, "zone": ZONE });
    let day = |weekday: &str| {
        let mut hours = hours.clone();
        hours["weekday"] = weekday.into();
        hours
    };
    let week = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"].map(day);
    all.agenda = serde_json::from_value(json!({ "weekly": week })).unwrap();
    let agendas = (0..21).map(|number| AgendaRevision { doctor: number.to_string(), ..all.clone() }).collect();
    let desk = Reception::with(House::default(), None, agendas);
    let refused = desk.slots(search()).await;
    assert!(matches!(refused, Err(BookingError::TooManyOpenings { .. })), "{refused:?}");
    assert_eq!(desk.slots(SlotSearch { days: 1, ..search() }).await.unwrap().slots.len(), 100);
}
