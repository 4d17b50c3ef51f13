//! Checks the date and time of appointments for all countries. The numbers and the holidays are each country's own.
//!
//! Codes are `<country>.date.nonexistent`, `.date.holiday`, `.date.too-far`, `.time.off-grid`, `.time.closed` and
//! `.time.too-soon`, always in this order.

use crate::civil::{Date, Time, Weekday};
use crate::claims::claims;
use crate::clock::{Reading, civil_text};
use crate::fields::Fields;
use crate::holidays::{Holiday, holiday};
use crate::violations::Findings;
use crate::{Civil, Context, Field, Offer, Phase, Plan, Slot, Violation, ZoneClock};

/// A country's rules of date and time.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// First part of the violation codes.
    pub country: &'static str,
    /// Opening hours of the establishments.
    pub week: Week,
    /// Holidays, in one or more tables.
    pub holidays: &'static [&'static [Holiday]],
    /// Minimum time from the booking to the start, in minutes.
    pub lead_minutes: i64,
    /// Maximum time from the booking to the date, in days.
    pub horizon_days: i64,
    /// Grid of the claims, in minutes.
    pub claim_minutes: u16,
}

/// Opening hours of a week. Sundays are closed.
#[derive(Clone, Copy, Debug)]
pub struct Week {
    /// Hours from Monday to Friday.
    pub weekdays: Hours,
    /// Hours on Saturday.
    pub saturday: Hours,
}

/// Opening hours of a day. An appointment may end exactly at closing time.
#[derive(Clone, Copy, Debug)]
pub struct Hours {
    /// Earliest start.
    pub opens: Time,
    /// Latest end.
    pub closes: Time,
}

/// Length of an appointment, and the minutes of the hour at which it may start.
#[derive(Clone, Copy, Debug)]
pub struct Length {
    /// Length in minutes.
    pub minutes: u16,
    /// Interval of the starts: the minute of the hour is a multiple of it.
    pub every: u8,
}

/// Everything that determines when an appointment may take place.
#[derive(Clone, Copy, Debug)]
pub struct Visit<'a> {
    /// Circumstances of the call.
    pub context: &'a Context,
    /// Clock of the appointment's date and time.
    pub clock: &'a ZoneClock,
    /// Code of the place whose holidays apply.
    pub place: &'a str,
    /// Length of the appointment.
    pub length: Length,
    /// True if the visit cannot wait. This lifts hours, holidays and lead time.
    pub urgent: bool,
}

/// The patient of a plan.
#[derive(Clone, Debug, Default)]
pub struct Whom {
    /// Key that finds the appointment, for example `dni:10117410`.
    pub key: String,
    /// True if the patient is known. The plan then claims the patient's time, so that nobody else can book it.
    pub claimed: bool,
}

impl Schedule {
    /// Returns the start that `/date` and `/time` name, if it is allowed.
    ///
    /// # Errors
    /// Returns a violation for every rule that the start breaks.
    pub fn start(&self, visit: &Visit, request: Fields) -> Result<Civil, Vec<Violation>> {
        let text = |path| request.text(path).unwrap_or_default();
        let date = Date::parse(text("/date"));
        let time = Time::parse(text("/time"));
        if let (Some(date), Some(time)) = (date, time) {
            return self.allow(visit, date.at(time));
        }
        let mut findings = Findings::default();
        match date {
            Some(date) => self.check_date(&mut findings, visit, date),
            None => findings.note(Some(self.nonexistent())),
        }
        findings.note(self.off_grid(visit.length, time));
        findings.conclude(None)
    }

    /// Returns the start if it is allowed.
    ///
    /// # Errors
    /// Returns a violation for every rule that the start breaks.
    pub fn allow(&self, visit: &Visit, start: Civil) -> Result<Civil, Vec<Violation>> {
        let Some(date) = Date::of(start) else {
            return Err(vec![self.nonexistent()]);
        };
        let time = Time::of(start);
        let mut findings = Findings::default();
        self.check_date(&mut findings, visit, date);
        findings.note(self.off_grid(visit.length, Some(time)));
        if !visit.urgent {
            findings.note(self.closed(visit.length, date, time));
        }
        findings.note(self.too_soon(visit, start));
        findings.conclude(Some(start))
    }

    /// Returns the plan of an appointment with an allowed start. The plan has no events.
    #[must_use]
    pub fn plan(&self, clock: &ZoneClock, length: Length, start: Civil, whom: Whom, attributes: Vec<Field>) -> Plan {
        let text = |path| Fields::new(&attributes).text(path).map(String::from);
        let (doctor, hospital) = (text("/doctor"), text("/hospital"));
        let patient = whom.claimed.then_some(whom.key.as_str());
        let instant = clock.read(start).instant();
        Plan {
            phase: Phase::Booked,
            slot: Some(length.slot(clock, start)),
            claims: self.claims(length, instant, doctor.as_deref(), patient),
            patient: whom.key,
            doctor,
            hospital,
            attributes,
            events: Vec::new(),
        }
    }

    /// Returns the offer for an opening, if booking it is allowed. An opening of another zone is offered in the time of
    /// the visit's own clock.
    #[must_use]
    pub fn offer(&self, visit: &Visit, opening: &Slot, doctor: Option<&str>, patient: Option<&str>) -> Option<Offer> {
        if opening.minutes < visit.length.minutes {
            return None;
        }
        let instant = match visit.context.clock(&opening.zone)?.read(opening.start) {
            Reading::Never { .. } => return None,
            exists => exists.instant(),
        };
        let start = self.allow(visit, visit.clock.civil(instant)).ok()?;
        Some(Offer {
            slot: visit.length.slot(visit.clock, start),
            claims: self.claims(visit.length, instant, doctor, patient),
        })
    }

    fn claims(&self, length: Length, start: i64, doctor: Option<&str>, patient: Option<&str>) -> Vec<String> {
        let holders = [("doctor/", doctor), ("patient/", patient)];
        let mut all = Vec::with_capacity(8);
        for (kind, name) in holders {
            let Some(name) = name else { continue };
            let holder = [kind, name].concat();
            all.extend(claims(&holder, start, length.minutes, self.claim_minutes));
        }
        all
    }

    fn check_date(&self, findings: &mut Findings, visit: &Visit, date: Date) {
        if !visit.urgent {
            findings.note(self.holiday(date, visit.place));
        }
        findings.note(self.too_far(visit.clock, date));
    }

    fn nonexistent(&self) -> Violation {
        self.violation("/date", "date.nonexistent")
    }

    fn holiday(&self, date: Date, place: &str) -> Option<Violation> {
        let mut tables = self.holidays.iter();
        let name = tables.find_map(|table| holiday(table, date, place))?;
        Some(self.violation("/date", "date.holiday").with("holiday", name))
    }

    fn too_far(&self, clock: &ZoneClock, date: Date) -> Option<Violation> {
        let latest = Date::of(clock.now)?.plus(self.horizon_days);
        (date > latest).then(|| self.violation("/date", "date.too-far").with("latest", latest.text()))
    }

    fn off_grid(&self, length: Length, time: Option<Time>) -> Option<Violation> {
        let fits = time.is_some_and(|time| time.minute().is_multiple_of(length.every));
        (!fits).then(|| self.violation("/time", "time.off-grid").with("every", length.every.to_string()))
    }

    fn closed(&self, length: Length, date: Date, time: Time) -> Option<Violation> {
        let Week { weekdays, saturday } = self.week;
        let hours = match date.weekday() {
            Weekday::Sunday => None,
            Weekday::Saturday => Some(saturday),
            _ => Some(weekdays),
        };
        let open =
            hours.is_some_and(|hours| time >= hours.opens && time.minutes() + length.minutes <= hours.closes.minutes());
        (!open).then(|| {
            self.violation("/time", "time.closed").with("weekdays", weekdays.text()).with("saturday", saturday.text())
        })
    }

    fn too_soon(&self, visit: &Visit, start: Civil) -> Option<Violation> {
        let lead = if visit.urgent { 0 } else { self.lead_minutes * 60 };
        let earliest = visit.context.now + lead;
        (visit.clock.read(start).instant() < earliest).then(|| {
            let earliest = civil_text(visit.clock.civil(earliest + 59));
            self.violation("/time", "time.too-soon").with("earliest", earliest)
        })
    }

    fn violation(&self, path: &str, what: &str) -> Violation {
        Violation::new(path, [self.country, ".", what].concat())
    }
}

impl Length {
    fn slot(self, clock: &ZoneClock, start: Civil) -> Slot {
        Slot { start, minutes: self.minutes, zone: clock.zone.clone() }
    }
}

impl Hours {
    fn text(self) -> String {
        [&self.opens.text(), "–", &self.closes.text()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shift;
    use crate::holidays::{EVERYWHERE, On};

    const HOURS: Hours = Hours { opens: Time::new(8, 0), closes: Time::new(18, 0) };
    const SCHEDULE: Schedule = Schedule {
        country: "xx",
        week: Week { weekdays: HOURS, saturday: Hours { opens: Time::new(9, 0), closes: Time::new(12, 0) } },
        holidays: &[&[Holiday { name: "feast", on: On::Day(12, 8), places: EVERYWHERE }]],
        lead_minutes: 60,
        horizon_days: 90,
        claim_minutes: 15,
    };

    /// Returns the context of 2026-11-24T15:00Z, a Tuesday, with a clock five hours behind that shows 10:00.
    fn context() -> Context {
        let start = Date::parse("2026-11-24").expect("a date");
        Context {
            now: start.days() * 86_400 + 15 * 3600,
            clocks: vec![ZoneClock {
                zone: "Xx/City".into(),
                now: start.at(Time::new(10, 0)),
                shifts: vec![Shift { at: 0, offset_minutes: -300 }],
            }],
            role: "patient".into(),
        }
    }

    fn codes(date: &str, time: &str, urgent: bool) -> Vec<String> {
        let context = context();
        let visit = Visit {
            context: &context,
            clock: &context.clocks[0],
            place: "01",
            length: Length { minutes: 30, every: 15 },
            urgent,
        };
        let request = [Field::text("/date", date), Field::text("/time", time)];
        let broken = SCHEDULE.start(&visit, Fields::new(&request)).err().unwrap_or_default();
        broken.into_iter().map(|violation| violation.code).collect()
    }

    #[test]
    fn a_plain_visit_is_allowed() {
        assert!(codes("2026-12-01", "09:15", false).is_empty());
    }

    #[test]
    fn the_lead_time_is_counted_to_the_second() {
        assert!(codes("2026-11-24", "11:00", false).is_empty());
        assert_eq!(codes("2026-11-24", "10:45", false), ["xx.time.too-soon"]);
        assert!(codes("2026-11-24", "10:00", true).is_empty());
        assert_eq!(codes("2026-11-24", "09:45", true), ["xx.time.too-soon"]);
    }

    #[test]
    fn the_horizon_is_counted_in_days() {
        assert!(codes("2027-02-22", "17:30", false).is_empty());
        assert_eq!(codes("2027-02-23", "08:00", false), ["xx.date.too-far"]);
        assert_eq!(codes("2027-02-23", "08:00", true), ["xx.date.too-far"]);
    }

    #[test]
    fn a_visit_ends_by_closing_time_and_starts_from_opening_time() {
        assert!(codes("2026-12-01", "08:00", false).is_empty());
        assert!(codes("2026-12-01", "17:30", false).is_empty());
        assert!(codes("2026-11-28", "11:30", false).is_empty());
        for (date, time) in [
            ("2026-12-01", "07:45"),
            ("2026-12-01", "17:45"),
            ("2026-11-28", "08:45"),
            ("2026-11-28", "11:45"),
            ("2026-11-29", "10:00"),
        ] {
            assert_eq!(codes(date, time, false), ["xx.time.closed"], "{date} {time}");
            assert!(codes(date, time, true).is_empty());
        }
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once_and_in_order() {
        assert_eq!(codes("2026-12-08", "21:07", false), ["xx.date.holiday", "xx.time.off-grid", "xx.time.closed"]);
        assert_eq!(codes("2026-02-30", "21:07", false), ["xx.date.nonexistent", "xx.time.off-grid"]);
        assert_eq!(codes("2027-12-08", "25:00", false), ["xx.date.holiday", "xx.date.too-far", "xx.time.off-grid"]);
        assert_eq!(codes("", "", false), ["xx.date.nonexistent", "xx.time.off-grid"]);
    }
}
