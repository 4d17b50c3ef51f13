//! The free slots of every day of two years, in every zone of the countries: each can be booked at once, at the same instant of the
//! clock, and is one instant; none stands in an hour that does not exist, and none is shown twice.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use citas::system::UuidIds;
use citas_core::booking::{ActionRequest, Booking, FreeSlot, MAX_DAYS, NamedSlot, SlotSearch, Spellings};
use citas_core::model::{Caller, CountryCode, Limits, Scope, SlotToken};
use citas_core::ports::Clock as _;
use citas_core::release::Catalogue;
use citas_core::rules::LoadedRules;
use jiff::civil::Date;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use serde_json::{Map, Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::histories::MapLedger;
use crate::support::appointments::names;
use crate::support::chance::Chance;
use crate::support::components::{SharedEngine, component};
use crate::support::host::Host;
use crate::support::patience::let_others_run_first;
use crate::support::requests::run;
use crate::support::set_clock::SetClock;

const FIRST: Date = Date::constant(2026, 1, 1);
const LAST: Date = Date::constant(2027, 12, 31);

/// Number of slots that the searches of all places show together, at least.
const SHOWN: usize = 100_000;

/// Number of bookings after which a place gets an empty ledger.
const BOOKINGS: usize = 1000;

/// A place at which slots are searched for.
#[derive(Clone)]
struct Place {
    country: &'static str,
    zone: &'static str,
    doctor: Option<&'static str>,
    hospital: Option<&'static str>,
    /// Members of a request that are known.
    members: &'static [(&'static str, &'static str)],
    /// True for a search by staff.
    is_staff: bool,
    /// Action that takes a slot, if a booking has none.
    action: Option<&'static str>,
    /// Number of days from one search to the next.
    every: i64,
}

const LIMA: Place = Place {
    country: "pe",
    zone: "America/Lima",
    doctor: Some("45678"),
    hospital: Some("00006219"),
    members: &[("district", "150122")],
    is_staff: false,
    action: None,
    every: 1,
};

const SANTIAGO: Place = Place {
    country: "cl",
    zone: "America/Santiago",
    doctor: Some("123456"),
    hospital: Some("109100"),
    members: &[("comuna", "13101"), ("modality", "presencial")],
    is_staff: false,
    action: None,
    every: 1,
};

const BOGOTA: Place = Place {
    country: "co",
    zone: "America/Bogota",
    doctor: None,
    hospital: Some("110010000101"),
    members: &[("municipality", "11001"), ("specialty", "vacunacion")],
    is_staff: false,
    action: None,
    every: 1,
};

/// Returns all places. Remote appointments in Chile are shorter than those in person. In Colombia, staff assign a slot to a
/// request, and only a vaccination is booked at once.
fn places() -> Vec<Place> {
    let chile = |zone, doctor, members| Place { zone, doctor: Some(doctor), members, ..SANTIAGO };
    vec![
        LIMA,
        Place {
            doctor: Some("200004"),
            members: &[("district", "150122"), ("emergency", "true")],
            is_staff: true,
            every: 3,
            ..LIMA
        },
        SANTIAGO,
        chile("America/Punta_Arenas", "200001", &[("comuna", "12101"), ("modality", "remota")]),
        chile("America/Coyhaique", "200002", &[("comuna", "11101"), ("modality", "presencial")]),
        chile("Pacific/Easter", "200003", &[("comuna", "05201"), ("modality", "remota")]),
        BOGOTA,
        Place {
            doctor: Some("7"),
            members: &[("municipality", "11001"), ("specialty", "medicina-general")],
            is_staff: true,
            action: Some("assign"),
            every: 3,
            ..BOGOTA
        },
    ]
}

impl Place {
    fn country(&self) -> CountryCode {
        self.country.parse().unwrap()
    }

    /// Returns the request of patient `number`, without the leaves of a slot.
    fn request(&self, number: usize) -> Map<String, Value> {
        let email = format!("patient{number}@example.com");
        let patient = match self.country {
            "pe" => json!({ "dni": format!("{:08}", number + 1), "email": email }),
            "cl" => json!({
                "run": run(10_000_000 + number), "email": email, "prevision": { "system": "fonasa", "tramo": "B" },
            }),
            _ => json!({
                "document": { "type": "CC", "number": (1_000_000 + number).to_string() }, "email": email, "eps": "EPS001",
            }),
        };
        let typed = |value: &str| if value == "true" { json!(true) } else { json!(value) };
        let members = self.members.iter().map(|(name, value)| ((*name).to_owned(), typed(value)));
        patient.as_object().unwrap().clone().into_iter().chain(members).collect()
    }

    fn caller(&self, number: usize) -> Caller {
        let groups = if self.is_staff { vec![format!("{}:staff", self.country)] } else { Vec::new() };
        Caller {
            subject: format!("account {number}"),
            groups: groups.into_iter().collect(),
            scopes: Scope::ALL.map(|scope| scope.as_str().to_owned()).into(),
            identities: [].into(),
            request_id: format!("request {number}"),
        }
    }

    fn search(&self, from: Date) -> SlotSearch {
        let text = |text: &str| text.to_owned();
        let members = self.members.iter().map(|(name, value)| (text(name), text(value)));
        SlotSearch {
            spelt: Spellings { patient: None, doctor: self.doctor.map(text), hospital: self.hospital.map(text) },
            members: members.collect(),
            appointment: None,
            from: Some(from),
            days: 1,
            after: None,
            limit: 1000,
        }
    }
}

/// A place with its host.
struct Counter {
    place: Place,
    runtime: Runtime,
    clock: Arc<SetClock>,
    catalogue: Arc<Catalogue>,
    booking: Booking,
    chance: Chance,
    /// Number of the next patient.
    next: usize,
    shown: HashSet<Timestamp>,
}

impl Counter {
    fn of(place: Place) -> Self {
        let catalogue = Arc::new(Catalogue::default());
        let rules = LoadedRules::load(&SharedEngine, component(place.country), &Limits::default()).unwrap();
        catalogue.install(rules, Timestamp::UNIX_EPOCH);
        let clock = Arc::new(SetClock::at(Timestamp::UNIX_EPOCH));
        Self {
            runtime: Builder::new_current_thread().build().unwrap(),
            booking: Self::booking(&catalogue, &clock),
            chance: Chance::seeded(7),
            next: 0,
            shown: HashSet::new(),
            place,
            clock,
            catalogue,
        }
    }

    /// Returns the use cases over an empty ledger.
    fn booking(catalogue: &Arc<Catalogue>, clock: &Arc<SetClock>) -> Booking {
        let ledger = Arc::new(MapLedger::default());
        Booking::new(catalogue.clone(), ledger, clock.clone(), Arc::new(UuidIds), names(), "0.2.0")
    }

    /// Checks every day. Returns the number of slots of each month.
    fn check(mut self) -> BTreeMap<(i16, i8), usize> {
        let mut slots = BTreeMap::new();
        for day in FIRST.series(self.place.every.days()).take_while(|day| *day <= LAST) {
            *slots.entry((day.year(), day.month())).or_default() += self.day(day);
        }
        slots
    }

    /// Checks the slots of a day, as they are shown at some instant of the month before or of the day. Returns their number.
    fn day(&mut self, day: Date) -> usize {
        let noon = day.at(12, 0, 0, 0).in_tz(self.place.zone).unwrap().timestamp();
        let before = if self.chance.once_in(4) { 0 } else { 24 * 60 * self.chance.below(usize::from(MAX_DAYS)) };
        let before = i64::try_from(before + self.chance.below(24 * 60)).unwrap();
        let second = i64::try_from(self.chance.below(60)).unwrap();
        self.clock.set(noon - SignedDuration::from_mins(before) + SignedDuration::from_secs(second));
        let shown = self.search(day);
        self.check_times(day, &shown);
        for slot in &shown {
            self.take(slot);
        }
        shown.len()
    }

    fn search(&self, day: Date) -> Vec<FreeSlot> {
        let (caller, search) = (self.place.caller(0), self.place.search(day));
        let found = self.booking.slots(&caller, self.place.country(), search);
        self.runtime.block_on(found).unwrap_or_else(|error| panic!("{} on {day}: {error}", self.place.zone)).slots
    }

    /// Checks that each slot is one instant of the day, and that no instant is shown twice.
    fn check_times(&mut self, day: Date, shown: &[FreeSlot]) {
        let zone = TimeZone::get(self.place.zone).unwrap();
        let mut starts = HashSet::new();
        for FreeSlot { slot, starts_at, .. } in shown {
            assert_eq!((slot.start.date(), slot.zone.as_str()), (day, self.place.zone));
            let instant = match zone.to_ambiguous_timestamp(slot.start).offset() {
                AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(slot.start).unwrap(),
                AmbiguousOffset::Fold { before, .. } => before.to_timestamp(slot.start).unwrap(),
                AmbiguousOffset::Gap { .. } => panic!("{} does not exist in {}", slot.start, slot.zone),
            };
            assert_eq!(*starts_at, instant, "{slot:?}");
            assert!(self.shown.insert(*starts_at) && starts.insert(slot.start), "{slot:?} is shown twice");
        }
    }

    /// Takes a slot at the instant at which it was shown.
    fn take(&mut self, free: &FreeSlot) {
        let number = self.next;
        self.next += 1;
        if number % BOOKINGS == BOOKINGS - 1 {
            self.booking = Self::booking(&self.catalogue, &self.clock);
        }
        let (place, country) = (&self.place, self.place.country());
        let FreeSlot { slot, doctor, hospital, request, .. } = free.clone();
        let token = SlotToken { country, slot, doctor, hospital, request, place: Vec::new() };
        let (mut request, caller) = (place.request(number), place.caller(number));
        let taken = self.runtime.block_on(async {
            if let Some(action) = place.action {
                let requested = self.booking.book(&caller, country, Value::from(request), None).await?;
                let id = requested.revision.appointment.id;
                // The slot may be later than the law has it.
                let input = json!({ "reason": "the patient asked for it" });
                let assign =
                    ActionRequest { id, action, input, slot: Some(NamedSlot::Free(token)), if_match: None, key: None };
                return self.booking.act(&caller, country, assign).await;
            }
            token.set_in(&mut request).unwrap();
            self.booking.book(&caller, country, Value::from(request), None).await
        });
        let taken = taken.unwrap_or_else(|error| panic!("{free:?} was shown and then refused: {error:?}"));
        let appointment = &taken.revision.appointment;
        assert_eq!((&appointment.slot, appointment.starts_at), (&Some(free.slot.clone()), Some(free.starts_at)));
        assert_eq!((&appointment.doctor, &appointment.hospital), (&free.doctor, &free.hospital));
    }
}

#[test]
fn each_slot_of_every_day_of_two_years_can_be_booked_at_the_instant_at_which_it_is_shown() {
    let_others_run_first();
    let started = Instant::now();
    let checked =
        places().into_iter().map(|place| std::thread::spawn(move || (place.clone(), Counter::of(place).check())));
    let mut total = 0;
    for checked in checked.collect::<Vec<_>>() {
        let (place, months) = checked.join().unwrap();
        let slots: usize = months.values().sum();
        assert!(months.len() == 24 && months.values().all(|slots| *slots > 100), "{}: {months:?}", place.zone);
        println!("{} {:?}: {slots} slots", place.zone, place.members);
        total += slots;
    }
    println!("{total} slots were shown, and 0 of them refused, in {:?}", started.elapsed());
    assert!(total >= SHOWN, "{total}");
}

/// Days before and after the clocks of Chile change.
const AROUND_SHIFTS: [Date; 8] = [
    Date::constant(2026, 4, 1),
    Date::constant(2026, 4, 6),
    Date::constant(2026, 9, 5),
    Date::constant(2026, 9, 7),
    Date::constant(2027, 4, 3),
    Date::constant(2027, 4, 5),
    Date::constant(2027, 9, 4),
    Date::constant(2027, 9, 6),
];

#[test]
fn each_slot_of_the_days_around_a_shift_can_be_booked_over_http() {
    let host = Host::of(&["pe", "cl", "co"]);
    let mut next = 0;
    for place in places().into_iter().filter(|place| place.action.is_none()) {
        for day in AROUND_SHIFTS {
            let noon = day.at(12, 0, 0, 0).in_tz(place.zone).unwrap().timestamp();
            host.clock.shift_wall(noon.duration_since(host.clock.now()) - SignedDuration::from_hours(49));
            let staff = host.staff(place.country);
            let keys = [("doctor", place.doctor), ("hospital", place.hospital)];
            let keys = keys.into_iter().filter_map(|(name, key)| Some((name, key?)));
            let query: Vec<_> =
                keys.chain(place.members.iter().copied()).map(|(name, text)| format!("{name}={text}")).collect();
            let path = format!("/v1/{}/slots?from={day}&days=1&{}", place.country, query.join("&"));
            let shown = staff.get(&path).expect(200).json();
            assert!(shown["items"].as_array().unwrap().len() >= 10, "{path}: {shown}");
            for slot in shown["items"].as_array().unwrap() {
                let mut request = place.request(next);
                request.insert("slot".into(), slot["slot"].clone());
                let booked = staff.booked(place.country, &request.into());
                assert_eq!(booked["startsAt"], slot["startsAt"]);
                next += 1;
            }
        }
    }
    println!("{next} slots booked over HTTP");
}
