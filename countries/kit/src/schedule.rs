//! Checks the date and time of appointments for all countries. The numbers and the holidays are each country's own.
//!
//! Codes are `<country>.date.nonexistent`, `.date.holiday`, `.date.too-far`, `.time.off-grid`, `.time.closed` and
//! `.time.too-soon`, always in this order.

use std::ops::Range;

use crate::civil::{Date, Time, Weekday};
use crate::claims::claims;
use crate::clock::{Reading, civil_text, utc_text};
use crate::fields::Fields;
use crate::holidays::{Holiday, holiday};
use crate::violations::Findings;
use crate::{Civil, Claim, Context, Field, Phase, Plan, Slot, Violation, ZoneClock};

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
    pub horizon_days: u16,
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
#[derive(Clone, Debug)]
pub struct Visit<'a> {
    /// Circumstances of the call.
    pub context: &'a Context,
    /// Clock of the appointment's date and time.
    pub clock: &'a ZoneClock,
    /// Code of the place whose holidays apply.
    pub place: String,
    /// Length of the appointment.
    pub length: Length,
    /// True if the visit cannot wait. This lifts hours, holidays and lead time.
    pub urgent: bool,
}

/// The people whose time an appointment takes.
#[derive(Clone, Copy, Debug)]
pub struct Holders<'a> {
    /// Key of the doctor.
    pub doctor: Option<&'a str>,
    /// Key of the patient, if known. Then nobody else can book the patient's time.
    pub patient: Option<&'a str>,
}

/// Prefix of the key of an unknown patient, which consists of the doctor and the start.
pub const ANONYMOUS: &str = "anonymous/";

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

    /// Returns the plan of an appointment with an allowed start. The plan has no events. Without a patient's key it claims
    /// only the doctor's time.
    #[must_use]
    pub fn plan(&self, visit: &Visit, start: Civil, patient: Option<&str>, attributes: Vec<Field>) -> Plan {
        let text = |path| Fields::new(&attributes).text(path).map(String::from);
        let (doctor, hospital) = (text("/doctor"), text("/hospital"));
        let instant = visit.clock.read(start).instant();
        let anonymous = || [ANONYMOUS, doctor.as_deref().unwrap_or_default(), "/", &utc_text(instant)].concat();
        Plan {
            phase: Phase::Booked,
            slot: Some(visit.length.slot(visit.clock, start)),
            claims: self.claims(Holders { doctor: doctor.as_deref(), patient }, instant, visit.length.minutes),
            choices: Vec::new(),
            patient: patient.map_or_else(anonymous, String::from),
            doctor,
            hospital,
            attributes,
            events: Vec::new(),
            wake: None,
            off_agenda: visit.urgent,
        }
    }

    /// Returns the slot of a visit in an opening, and its start in Unix seconds. An opening of another zone is offered in
    /// the time of the visit's own clock.
    ///
    /// # Errors
    /// Returns the rules that the start breaks, or none if the opening itself does not fit.
    pub fn within(&self, visit: &Visit, opening: &Slot) -> Result<(Slot, i64), Vec<Violation>> {
        let clock = visit.context.clock(&opening.zone).filter(|_| opening.minutes >= visit.length.minutes);
        let Some(Reading::Once(instant) | Reading::Twice { earlier: instant, .. }) =
            clock.map(|clock| clock.read(opening.start))
        else {
            return Err(Vec::new());
        };
        let start = self.allow(visit, visit.clock.civil(instant))?;
        Ok((visit.length.slot(visit.clock, start), instant))
    }

    /// Returns the claims on the holders' time, `minutes` from `start` in Unix seconds.
    #[must_use]
    pub fn claims(&self, holders: Holders, start: i64, minutes: u16) -> Vec<Claim> {
        let mut all = Vec::with_capacity(8);
        if let Some(doctor) = holders.doctor {
            all.extend(claims(&["doctor/", doctor].concat(), start, minutes, self.claim_minutes));
        }
        if let Some(patient) = holders.patient {
            let of_patient = ["patient/", patient].concat();
            all.extend(claims(&of_patient, start, minutes, self.claim_minutes).map(Claim::personal));
        }
        all
    }

    /// Returns the times back to back from opening to closing time that start in `since` <= start < `until`, from today
    /// until the horizon. Holidays have theirs: whether one may be booked, [`within`](Self::within) decides.
    pub fn house_hours<'a>(
        &self,
        visit: &Visit<'a>,
        since: Civil,
        until: Civil,
    ) -> impl Iterator<Item = Slot> + use<'a> {
        let day = |civil| Date::of(civil).map_or(0, Date::days);
        let today = day(visit.clock.now);
        let days = day(since).max(today)..=day(until).min(today + i64::from(self.horizon_days));
        let (week, urgent, length, clock) = (self.week, visit.urgent, visit.length, visit.clock);
        let starts = days.map(Date::from_days).flat_map(move |date| {
            let minutes = if urgent { 0..24 * 60 } else { week.minutes(date.weekday()) };
            let last = minutes.end.saturating_sub(length.minutes - 1);
            let times = (minutes.start..last).step_by(length.minutes.into()).filter_map(Time::after_midnight);
            times.map(move |time| date.at(time))
        });
        let order = |civil: Civil| (civil.year, civil.month, civil.day, civil.hour, civil.minute);
        let within = move |start: &Civil| order(since) <= order(*start) && order(*start) < order(until);
        starts.filter(within).map(move |start| length.slot(clock, start))
    }

    /// Returns the last day of a term of `days` business days: Monday to Friday, without the holidays of the place. The
    /// first is the one after `date`.
    #[must_use]
    pub fn business_days_after(&self, date: Date, days: u16, place: &str) -> Date {
        let closed = |date: Date| date.weekday() >= Weekday::Saturday || self.holiday_name(date, place).is_some();
        (0..days).fold(date, |date, _| {
            let mut next = date.plus(1);
            while closed(next) {
                next = next.plus(1);
            }
            next
        })
    }

    fn check_date(&self, findings: &mut Findings, visit: &Visit, date: Date) {
        if !visit.urgent {
            findings.note(self.holiday(date, &visit.place));
        }
        findings.note(self.too_far(visit.clock, date));
    }

    fn nonexistent(&self) -> Violation {
        self.violation("/date", "date.nonexistent")
    }

    fn holiday(&self, date: Date, place: &str) -> Option<Violation> {
        let name = self.holiday_name(date, place)?;
        Some(self.violation("/date", "date.holiday").with("holiday", name))
    }

    fn holiday_name(&self, date: Date, place: &str) -> Option<&'static str> {
        self.holidays.iter().find_map(|table| holiday(table, date, place))
    }

    fn too_far(&self, clock: &ZoneClock, date: Date) -> Option<Violation> {
        let latest = Date::of(clock.now)?.plus(self.horizon_days.into());
        (date > latest).then(|| self.violation("/date", "date.too-far").with("latest", latest.text()))
    }

    fn off_grid(&self, length: Length, time: Option<Time>) -> Option<Violation> {
        let fits = time.is_some_and(|time| time.minute().is_multiple_of(length.every));
        (!fits).then(|| self.violation("/time", "time.off-grid").with("every", length.every.to_string()))
    }

    fn closed(&self, length: Length, date: Date, time: Time) -> Option<Violation> {
        let hours = self.week.minutes(date.weekday());
        let open = hours.start <= time.minutes() && time.minutes() + length.minutes <= hours.end;
        let Week { weekdays, saturday } = self.week;
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

impl Week {
    /// Returns the opening hours of a day in minutes after midnight; empty on Sundays.
    const fn minutes(self, weekday: Weekday) -> Range<u16> {
        let hours = match weekday {
            Weekday::Sunday => return 0..0,
            Weekday::Saturday => self.saturday,
            _ => self.weekdays,
        };
        hours.opens.minutes()..hours.closes.minutes()
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
    use crate::holidays::{EVERYWHERE, On};
    use crate::testing;

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
        testing::context(vec![testing::clock("Xx/City", testing::civil("2026-11-24", "10:00"), -300, None)])
    }

    fn visit(context: &Context, urgent: bool) -> Visit<'_> {
        let length = Length { minutes: 30, every: 15 };
        Visit { context, clock: &context.clocks[0], place: "01".into(), length, urgent }
    }

    fn codes(date: &str, time: &str, urgent: bool) -> Vec<String> {
        let context = context();
        let request = [Field::text("/date", date), Field::text("/time", time)];
        testing::codes(SCHEDULE.start(&visit(&context, urgent), Fields::new(&request)))
    }

    fn house_hours(since: (&str, &str), until: (&str, &str), urgent: bool) -> Vec<String> {
        let (since, until) = (testing::civil(since.0, since.1), testing::civil(until.0, until.1));
        let context = context();
        let hours = SCHEDULE.house_hours(&visit(&context, urgent), since, until);
        hours.map(|slot| civil_text(slot.start)).collect()
    }

    #[test]
    fn the_house_is_open_back_to_back_from_opening_to_closing_time() {
        let tuesday = house_hours(("2026-12-01", "00:00"), ("2026-12-02", "00:00"), false);
        assert_eq!(tuesday.len(), 20);
        assert_eq!(tuesday[..2], ["2026-12-01 08:00", "2026-12-01 08:30"]);
        assert_eq!(tuesday[19], "2026-12-01 17:30");
        assert_eq!(house_hours(("2026-12-05", "00:00"), ("2026-12-07", "08:00"), false).len(), 6, "a Saturday's");
        assert_eq!(house_hours(("2026-12-06", "00:00"), ("2026-12-07", "00:00"), true).len(), 48, "never closed");
        assert_eq!(house_hours(("2026-12-08", "00:00"), ("2026-12-09", "00:00"), false).len(), 20, "a holiday");
    }

    #[test]
    fn the_house_s_hours_lie_between_the_bounds_and_within_the_horizon() {
        let morning = house_hours(("2026-12-01", "08:30"), ("2026-12-01", "09:30"), false);
        assert_eq!(morning, ["2026-12-01 08:30", "2026-12-01 09:00"]);
        assert!(house_hours(("2026-12-02", "08:00"), ("2026-12-01", "18:00"), false).is_empty());
        let all = house_hours(("1970-01-01", "00:00"), ("9999-12-31", "00:00"), false);
        assert_eq!((all[0].as_str(), all[all.len() - 1].as_str()), ("2026-11-24 08:00", "2027-02-22 17:30"));
    }

    #[test]
    fn an_opening_is_refused_by_the_rules_or_because_it_does_not_fit() {
        let context = context();
        let opening = |date, time, minutes, zone: &str| {
            let slot = Slot { start: testing::civil(date, time), minutes, zone: zone.into() };
            SCHEDULE.within(&visit(&context, false), &slot)
        };
        let (slot, start) = opening("2026-12-01", "09:15", 60, "Xx/City").expect("allowed");
        assert_eq!((slot.minutes, utc_text(start).as_str()), (30, "2026-12-01T14:15Z"));
        assert_eq!(testing::codes(opening("2026-12-08", "09:15", 30, "Xx/City")), ["xx.date.holiday"]);
        for (minutes, zone) in [(15, "Xx/City"), (30, "Nowhere")] {
            assert_eq!(opening("2026-12-01", "09:15", minutes, zone), Err(Vec::new()), "{minutes} {zone}");
        }
    }

    #[test]
    fn a_plain_visit_is_allowed() {
        assert!(codes("2026-12-01", "09:15", false).is_empty());
    }

    #[test]
    fn a_term_of_business_days_begins_the_day_after_and_leaves_out_weekends_and_holidays() {
        let after = |date, days| SCHEDULE.business_days_after(Date::parse(date).expect(date), days, "01").text();
        assert_eq!(after("2026-11-24", 3), "2026-11-27");
        assert_eq!(after("2026-11-26", 3), "2026-12-01", "over a weekend");
        assert_eq!(after("2026-12-04", 3), "2026-12-10", "over a weekend and a feast");
        assert_eq!(after("2026-11-28", 1), "2026-11-30", "from a Saturday");
        assert_eq!(after("2026-11-28", 0), "2026-11-28");
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
