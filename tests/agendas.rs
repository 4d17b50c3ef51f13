//! Properties of random agendas: what is open, what covers a slot, and what overlaps.

use citas_core::model::{Agenda, Opening, Place, Slot, Zone};
use jiff::civil::{Date, DateTime};
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use serde_json::{Value, json};

use crate::support::chance::Chance;

const AGENDAS: usize = 400;
/// Zones whose clocks skip and repeat an hour at midnight, at ten in the evening, by half an hour, and never.
const ZONES: [&str; 4] = ["America/Santiago", "Pacific/Easter", "Australia/Lord_Howe", "America/Lima"];
const WEEK: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
/// Weeks in which clocks of these zones are set.
const WEEKS: [(i16, i8, i8); 4] = [(2026, 4, 1), (2026, 9, 2), (2026, 10, 1), (2027, 4, 1)];

fn zones() -> Vec<Zone> {
    ZONES.iter().map(|name| Zone::named(name).unwrap()).collect()
}

fn zone(name: &str) -> Zone {
    Zone::named(name).unwrap()
}

fn time(minutes: usize) -> String {
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

struct Random(Chance);

impl Random {
    fn hours(&mut self) -> Value {
        let from = 5 * self.0.below(280);
        let to = (from + 5 + 5 * self.0.below(60)).min(24 * 60);
        let mut hours = json!({
            "from": time(from), "to": time(to), "minutes": *self.0.pick(&[5, 20, 25, 30, 45, 60]),
            "zone": self.0.pick(&ZONES), "places": 1 + self.0.below(3),
        });
        if self.0.once_in(2) {
            hours["hospital"] = json!(self.0.pick(&["h", "i"]));
        }
        if self.0.once_in(3) {
            hours["request"] = json!({ "modality": self.0.pick(&["near", "far"]) });
        }
        hours
    }

    fn day(&mut self, first: Date) -> Date {
        first.saturating_add(i32::try_from(self.0.below(9)).unwrap().days())
    }

    /// Returns an agenda with exceptions in the week from `first` on.
    fn agenda(&mut self, first: Date) -> Agenda {
        let mut weekly = Vec::new();
        for _ in 0..self.0.below(6) {
            let mut hours = self.hours();
            hours["weekday"] = json!(self.0.pick(&WEEK));
            if self.0.once_in(4) {
                hours["since"] = json!(self.day(first));
            }
            if self.0.once_in(4) {
                hours["until"] = json!(self.day(first));
            }
            weekly.push(hours);
        }
        let mut closed = Vec::new();
        for _ in 0..self.0.below(3) {
            let mut one = json!({ "date": self.day(first) });
            if self.0.once_in(2) {
                one["from"] = json!(time(60 * self.0.below(12)));
                one["to"] = json!(time(60 * (12 + self.0.below(13))));
            }
            closed.push(one);
        }
        let mut extra = Vec::new();
        for _ in 0..self.0.below(3) {
            let mut hours = self.hours();
            hours["date"] = json!(self.day(first));
            extra.push(hours);
        }
        serde_json::from_value(json!({ "weekly": weekly, "closed": closed, "extra": extra })).unwrap()
    }

    fn place(&mut self) -> Place {
        let hospital = self.0.once_in(2).then(|| (*self.0.pick(&["h", "i", "j"])).to_owned());
        let modality = json!({ "modality": self.0.pick(&["near", "far"]) });
        let fields = if self.0.once_in(2) { citas_core::model::json::flatten(&modality).unwrap() } else { Vec::new() };
        Place { doctor: None, hospital, fields }
    }
}

fn openings(agenda: &Agenda, place: &Place, since: DateTime, until: DateTime) -> Vec<(Timestamp, Opening)> {
    agenda.openings("1", place, &zones(), since, until)
}

fn end(starts_at: Timestamp, slot: &Slot) -> Timestamp {
    starts_at + SignedDuration::from_mins(slot.minutes.into())
}

/// Calls `check` with random agendas, a place, and a range of days in which clocks are set.
fn each(check: impl Fn(&mut Chance, &Agenda, &Place, DateTime, DateTime)) {
    for seed in 1..=AGENDAS {
        let mut random = Random(Chance::seeded(u64::try_from(seed).unwrap()));
        let (year, month, day) = *random.0.pick(&WEEKS);
        let first = Date::constant(year, month, day);
        let (agenda, place) = (random.agenda(first), random.place());
        let since = first.at(0, 0, 0, 0);
        check(&mut random.0, &agenda, &place, since, since.saturating_add(9.days()));
    }
}

#[test]
fn openings_of_random_agendas_exist_are_in_order_and_lie_in_their_hours() {
    each(|_, agenda, place, since, until| {
        let found = openings(agenda, place, since, until);
        assert!(found.is_sorted_by_key(|(starts_at, _)| *starts_at));
        for (starts_at, Opening { slot, hospital, .. }) in &found {
            assert_eq!(zone(&slot.zone).instant(slot.start), Some(*starts_at), "the clocks show it, the first time");
            assert!((since..until).contains(&slot.start));
            assert!(hospital.is_none() || place.hospital.is_none() || *hospital == place.hospital);
            let closes = agenda.closed.iter().filter(|closed| closed.date == slot.start.date());
            let is_extra = agenda.extra.iter().any(|extra| extra.date == slot.start.date());
            let whole_day = |closed: &&citas_core::model::Closed| closed.from.is_none() && closed.to.is_none();
            assert!(is_extra || closes.filter(whole_day).count() == 0, "{slot:?}");
        }
    });
}

#[test]
fn a_range_of_days_has_the_openings_of_its_parts() {
    each(|chance, agenda, place, since, until| {
        let middle = since.saturating_add(i32::try_from(chance.below(9 * 24)).unwrap().hours());
        let mut parts = openings(agenda, place, since, middle);
        parts.extend(openings(agenda, place, middle, until));
        parts.sort_by_key(|(starts_at, _)| *starts_at);
        let whole = openings(agenda, place, since, until);
        let slots = |found: &[(Timestamp, Opening)]| {
            let mut slots: Vec<String> = found.iter().map(|(at, opening)| format!("{at} {opening:?}")).collect();
            slots.sort_unstable();
            slots
        };
        assert_eq!(slots(&parts), slots(&whole));
    });
}

#[test]
fn an_agenda_covers_exactly_what_lies_in_one_of_its_openings() {
    let covered = std::cell::Cell::new(0);
    each(|chance, agenda, place, since, until| {
        let found = openings(agenda, place, since.saturating_sub(3.days()), until.saturating_add(3.days()));
        for _ in 0..40 {
            let zone = zone(ZONES[chance.below(ZONES.len())]);
            // Half of the slots begin at an opening, or near one.
            let near = (!found.is_empty() && chance.once_in(2)).then(|| chance.pick(&found).0);
            let minutes = SignedDuration::from_mins(5 * i64::try_from(chance.below(7)).unwrap() - 15);
            let anywhere = since.saturating_add(i32::try_from(5 * chance.below(9 * 288)).unwrap().minutes());
            let start = near.map_or(anywhere, |near| zone.civil(near + minutes));
            let Some(starts_at) = zone.instant(start) else { continue };
            let length = *chance.pick(&[5, 20, 30, 60]);
            let slot = Slot { start, minutes: length, zone: zone.name().to_owned() };
            let expected =
                found.iter().any(|(at, opening)| *at <= starts_at && end(starts_at, &slot) <= end(*at, &opening.slot));
            assert_eq!(agenda.covers(&slot, starts_at, place, &zones()), expected, "{slot:?} in {agenda:?}");
            covered.set(covered.get() + usize::from(expected));
        }
    });
    assert!(covered.get() > 100, "{}", covered.get());
}

#[test]
fn openings_of_an_agenda_without_an_overlap_never_overlap() {
    let apart = std::cell::Cell::new(0);
    each(|_, agenda, _, since, until| {
        if !agenda.overlaps(&zones(), since.date()).is_empty() {
            return;
        }
        let found = openings(agenda, &Place::default(), since, until);
        for pair in found.windows(2) {
            assert!(end(pair[0].0, &pair[0].1.slot) <= pair[1].0, "{pair:?} in {agenda:?}");
        }
        apart.set(apart.get() + usize::from(found.len() > 1));
    });
    assert!(apart.get() > 50, "{}", apart.get());
}
