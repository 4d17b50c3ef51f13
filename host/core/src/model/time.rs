//! Converts between instants and the local time of a zone, with the tz database. Reads no clock: the caller passes the
//! time.

use std::ops::Range;

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use crate::model::context::{Shift, ZoneClock};

/// Period on each side of now for which the rules receive a zone's shifts, in seconds: 400 days.
const HORIZON_SECONDS: i64 = 400 * 24 * 60 * 60;

/// A zone of the tz database that the rules name.
#[derive(Clone, Debug)]
pub struct Zone {
    name: String,
    tz: TimeZone,
}

impl Zone {
    /// Returns the zone with this IANA name, or `None` if there is no such zone.
    pub fn named(name: &str) -> Option<Self> {
        let tz = TimeZone::get(name).ok()?;
        (tz.iana_name() == Some(name)).then(|| Self { name: name.to_owned(), tz })
    }

    /// Returns the IANA name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the local time at an instant.
    pub fn civil(&self, at: Timestamp) -> DateTime {
        self.tz.to_datetime(at)
    }

    /// Returns the instant at which the local time is `civil`. A time that occurs twice gives the earlier instant; a
    /// skipped time gives `None`.
    pub fn instant(&self, civil: DateTime) -> Option<Timestamp> {
        let found = self.tz.to_ambiguous_timestamp(civil);
        if matches!(found.offset(), AmbiguousOffset::Gap { .. }) { None } else { found.earlier().ok() }
    }

    /// Returns the instant at which the local time is `civil`, as [`Zone::instant`]; of a skipped time, the instant that its
    /// clocks would show without the shift.
    pub(crate) fn instant_or_next(&self, civil: DateTime) -> Timestamp {
        self.tz.to_ambiguous_timestamp(civil).compatible().unwrap_or(Timestamp::MAX)
    }

    /// Returns the first instant of a day and that of the next day.
    pub fn day(&self, date: Date) -> Range<Timestamp> {
        let first = |date: Date| self.tz.to_ambiguous_timestamp(date.at(0, 0, 0, 0)).compatible();
        let end = date.tomorrow().and_then(first);
        first(date).unwrap_or(Timestamp::MIN)..end.unwrap_or(Timestamp::MAX)
    }

    /// Returns the zone's local time and shifts at `now`, for the rules.
    pub fn clock(&self, now: Timestamp) -> ZoneClock {
        let shift = |at: i64, offset: Offset| Shift {
            at,
            offset_minutes: i16::try_from(offset.seconds() / 60).expect("an offset is at most a day or so"),
        };
        let beginning = now.saturating_sub(SignedDuration::from_secs(HORIZON_SECONDS)).unwrap_or(Timestamp::MIN);
        let in_force = self.tz.preceding(beginning).next().map_or(i64::MIN, |last| last.timestamp().as_second());
        let mut shifts = vec![shift(in_force, self.tz.to_offset(beginning))];
        let horizon = now.as_second() + HORIZON_SECONDS;
        let later = self.tz.following(beginning).take_while(|next| next.timestamp().as_second() <= horizon);
        shifts.extend(later.map(|next| shift(next.timestamp().as_second(), next.offset())));
        ZoneClock { zone: self.name.clone(), now: self.civil(now), shifts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn santiago() -> Zone {
        Zone::named("America/Santiago").unwrap()
    }

    #[test]
    fn a_midnight_that_the_clocks_skip_is_nonexistent() {
        let gap = "2026-09-06T00:30".parse().unwrap();
        assert_eq!(santiago().instant(gap), None);
    }

    #[test]
    fn an_hour_that_occurs_twice_is_the_earlier() {
        let fold = "2026-04-04T23:30".parse().unwrap();
        assert_eq!(santiago().instant(fold), Some("2026-04-05T02:30:00Z".parse().unwrap()));
    }

    #[test]
    fn a_day_lasts_from_its_first_instant_to_that_of_the_next() {
        let day = |date: &str| santiago().day(date.parse().unwrap());
        let instants = |start: &str, end: &str| start.parse().unwrap()..end.parse().unwrap();
        assert_eq!(day("2026-12-01"), instants("2026-12-01T03:00:00Z", "2026-12-02T03:00:00Z"));
        assert_eq!(day("2026-04-04"), instants("2026-04-04T03:00:00Z", "2026-04-05T04:00:00Z"), "an hour longer");
        assert_eq!(day("2026-09-06"), instants("2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z"), "an hour shorter");
        assert_eq!(day("9999-12-31").end, Timestamp::MAX);
    }

    #[test]
    fn the_clock_has_the_shifts_of_400_days_on_each_side_and_the_one_in_force_before() {
        let now: Timestamp = "2026-11-24T15:00:00Z".parse().unwrap();
        let clock = santiago().clock(now);
        let offsets: Vec<i16> = clock.shifts.iter().map(|shift| shift.offset_minutes).collect();
        assert_eq!(offsets, [-180, -240, -180, -240, -180]);
        assert!(clock.shifts[0].at <= now.as_second() - HORIZON_SECONDS);
        assert_eq!(clock.now, "2026-11-24T12:00".parse().unwrap());
    }

    #[test]
    fn a_zone_without_shifts_still_says_how_far_it_is_from_utc() {
        let clock = Zone::named("America/Lima").unwrap().clock("2026-11-24T15:00:00Z".parse().unwrap());
        assert_eq!(clock.shifts.len(), 1);
        assert_eq!(clock.shifts[0].offset_minutes, -300);
    }

    #[test]
    fn a_zone_that_does_not_exist_is_none() {
        assert!(Zone::named("America/Atlantis").is_none());
        assert!(Zone::named("america/lima").is_none());
    }
}
