//! Converts between the time on a wall clock and instants, using only the [`ZoneClock`] that the host gives. Instants
//! are Unix times, in seconds.

use crate::civil::{Date, Time, push_date, push_time};
use crate::{Civil, Context, Slot, ZoneClock};

const MINUTE: i64 = 60;
const DAY: i64 = 86_400;

/// The instants at which a zone's clocks show one civil time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// No instant: the clocks jump over this time.
    Never {
        /// Instant by the offset before the jump.
        shifted: i64,
    },
    /// One instant, the common case.
    Once(i64),
    /// Two instants: the clocks go back over this time.
    Twice {
        /// First instant, which is the one that counts.
        earlier: i64,
        /// Second instant.
        later: i64,
    },
}

impl Reading {
    /// Returns the instant that counts: the earlier of two. The host refuses a time that does not exist; until then the
    /// offset before the jump determines its instant.
    #[must_use]
    pub const fn instant(self) -> i64 {
        match self {
            Self::Never { shifted: instant } | Self::Once(instant) | Self::Twice { earlier: instant, .. } => instant,
        }
    }
}

impl ZoneClock {
    /// Returns the instants at which this zone's clocks show `civil`.
    #[must_use]
    pub fn read(&self, civil: Civil) -> Reading {
        let local = local_seconds(civil);
        let mut found = None;
        let mut shifted = local;
        for (index, shift) in self.shifts.iter().enumerate() {
            let instant = local - i64::from(shift.offset_minutes) * MINUTE;
            let begun = index == 0 || instant >= shift.at;
            let ended = self.shifts.get(index + 1).is_some_and(|next| instant >= next.at);
            if ended {
                shifted = instant;
            }
            match found {
                None if begun && !ended => found = Some(instant),
                Some(earlier) if begun && !ended => {
                    return Reading::Twice { earlier, later: instant };
                }
                _ => {}
            }
        }
        found.map_or(Reading::Never { shifted }, Reading::Once)
    }

    /// Returns the last second of a day by this zone's clocks.
    #[must_use]
    pub fn end_of(&self, day: Date) -> i64 {
        self.read(day.plus(1).at(Time::new(0, 0))).instant() - 1
    }

    /// Returns the time that this zone's clocks show at an instant.
    #[must_use]
    pub fn civil(&self, instant: i64) -> Civil {
        let current = self.shifts.iter().rev().find(|shift| shift.at <= instant);
        let offset = current.or(self.shifts.first()).map_or(0, |shift| shift.offset_minutes);
        utc_civil(instant + i64::from(offset) * MINUTE)
    }
}

impl Context {
    /// Returns the clock of a zone, or `None` if the descriptor does not list the zone.
    #[must_use]
    pub fn clock(&self, zone: &str) -> Option<&ZoneClock> {
        self.clocks.iter().find(|clock| clock.zone == zone)
    }

    /// Returns the instant at which a slot starts, or `None` if its zone has no clock.
    #[must_use]
    pub fn start_of(&self, slot: &Slot) -> Option<i64> {
        Some(self.clock(&slot.zone)?.read(slot.start).instant())
    }
}

/// Formats an instant as `2026-12-01T14:15Z`.
#[must_use]
pub fn utc_text(instant: i64) -> String {
    let mut text = String::with_capacity(17);
    push_utc(&mut text, instant);
    text
}

pub(crate) fn push_utc(text: &mut String, instant: i64) {
    let civil = utc_civil(instant);
    push_civil(text, civil, 'T');
    text.push('Z');
}

/// Formats a civil time for people, as `2026-12-01 09:15`.
#[must_use]
pub fn civil_text(civil: Civil) -> String {
    let mut text = String::with_capacity(16);
    push_civil(&mut text, civil, ' ');
    text
}

fn push_civil(text: &mut String, civil: Civil, between: char) {
    if let Some(date) = Date::of(civil) {
        push_date(text, date);
    }
    text.push(between);
    push_time(text, Time::of(civil));
}

/// Returns the seconds that would be the instant if the zone were UTC.
fn local_seconds(civil: Civil) -> i64 {
    let days = Date::of(civil).map_or(0, Date::days);
    days * DAY + i64::from(Time::of(civil).minutes()) * MINUTE
}

fn utc_civil(instant: i64) -> Civil {
    let minutes = instant.rem_euclid(DAY) / MINUTE;
    let [hour, minute] = [minutes / 60, minutes % 60].map(|part| u8::try_from(part).unwrap_or_default());
    Date::from_days(instant.div_euclid(DAY)).at(Time::new(hour, minute))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shift;

    fn at(text: &str) -> Civil {
        let (date, time) = text.split_once(' ').expect("date and time");
        let date = Date::parse(date).expect("a date");
        date.at(Time::parse(time).expect("a time"))
    }

    fn utc(text: &str) -> i64 {
        local_seconds(at(text))
    }

    /// Returns the clock of Santiago in 2027: back on 4 April at 03:00Z, forward on 5 September at 04:00Z.
    fn santiago() -> ZoneClock {
        let shift = |at, offset_minutes| Shift { at, offset_minutes };
        ZoneClock {
            zone: "America/Santiago".into(),
            now: at("2027-01-01 09:00"),
            shifts: vec![
                shift(utc("2026-09-06 04:00"), -180),
                shift(utc("2027-04-04 03:00"), -240),
                shift(utc("2027-09-05 04:00"), -180),
            ],
        }
    }

    #[test]
    fn an_ordinary_time_is_one_instant() {
        let reading = santiago().read(at("2027-01-15 09:30"));
        assert_eq!(reading, Reading::Once(utc("2027-01-15 12:30")));
        let winter = santiago().read(at("2027-07-15 09:30"));
        assert_eq!(winter, Reading::Once(utc("2027-07-15 13:30")));
    }

    #[test]
    fn a_time_before_the_first_shift_is_read_by_its_offset() {
        let reading = santiago().read(at("2026-01-15 09:30"));
        assert_eq!(reading, Reading::Once(utc("2026-01-15 12:30")));
    }

    #[test]
    fn a_day_ends_before_the_next_one_begins_also_when_the_clocks_skip_midnight() {
        let end = |date| santiago().end_of(Date::parse(date).expect(date));
        assert_eq!(end("2027-01-15"), utc("2027-01-16 03:00") - 1);
        assert_eq!(end("2027-07-15"), utc("2027-07-16 04:00") - 1);
        assert_eq!(end("2027-09-04"), utc("2027-09-05 04:00") - 1, "the next day begins at one");
    }

    #[test]
    fn the_hour_that_comes_twice_is_the_earlier() {
        let reading = santiago().read(at("2027-04-03 23:30"));
        let (earlier, later) = (utc("2027-04-04 02:30"), utc("2027-04-04 03:30"));
        assert_eq!(reading, Reading::Twice { earlier, later });
        assert_eq!(reading.instant(), earlier);
        assert_eq!(santiago().read(at("2027-04-03 22:59")), Reading::Once(utc("2027-04-04 01:59")));
        assert_eq!(santiago().read(at("2027-04-04 00:00")), Reading::Once(utc("2027-04-04 04:00")));
    }

    #[test]
    fn the_hour_that_is_skipped_is_never() {
        let reading = santiago().read(at("2027-09-05 00:30"));
        let shifted = utc("2027-09-05 04:30");
        assert_eq!(reading, Reading::Never { shifted });
        assert_eq!(santiago().read(at("2027-09-04 23:59")), Reading::Once(utc("2027-09-05 03:59")));
        assert_eq!(santiago().read(at("2027-09-05 01:00")), Reading::Once(utc("2027-09-05 04:00")));
    }

    #[test]
    fn an_instant_shows_the_time_that_was_read() {
        for civil in ["2026-12-24 10:00", "2027-04-04 00:00", "2027-09-05 01:00"].map(at) {
            let clock = santiago();
            assert_eq!(clock.civil(clock.read(civil).instant()), civil);
        }
    }

    #[test]
    fn a_clock_without_shifts_is_utc_and_no_panic() {
        let bare = ZoneClock { shifts: Vec::new(), ..santiago() };
        let civil = at("2027-01-15 09:30");
        assert_eq!(bare.read(civil).instant(), utc("2027-01-15 09:30"));
        assert_eq!(bare.civil(utc("2027-01-15 09:30")), civil);
    }

    #[test]
    fn instants_are_written_in_utc_to_the_minute() {
        assert_eq!(utc_text(1_796_134_500), "2026-12-01T14:15Z");
        assert_eq!(utc_text(-60), "1969-12-31T23:59Z");
    }
}
