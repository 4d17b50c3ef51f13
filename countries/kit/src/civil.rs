//! Dates and times of day as people write them. Knows no zones and no instants: those are in [`clock`](crate::clock).

use crate::Civil;

/// A date that exists in the Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    year: i16,
    month: u8,
    day: u8,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weekday {
    /// The first day by ISO 8601.
    Monday,
    /// The second day.
    Tuesday,
    /// The third day.
    Wednesday,
    /// The fourth day.
    Thursday,
    /// The fifth day.
    Friday,
    /// The sixth day.
    Saturday,
    /// The last day.
    Sunday,
}

/// A time of day, to the minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    hour: u8,
    minute: u8,
}

impl Date {
    /// Returns the date if the calendar has it.
    #[must_use]
    pub const fn new(year: i16, month: u8, day: u8) -> Option<Self> {
        if month < 1 || month > 12 || day < 1 || day > days_in(year, month) {
            return None;
        }
        Some(Self { year, month, day })
    }

    /// Parses `YYYY-MM-DD`, nothing else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text.as_bytes() else {
            return None;
        };
        let year = i16::from(two(y1, y2)?) * 100 + i16::from(two(y3, y4)?);
        Self::new(year, two(m1, m2)?, two(d1, d2)?)
    }

    /// Returns the date of a civil time if the calendar has it.
    #[must_use]
    pub const fn of(civil: Civil) -> Option<Self> {
        Self::new(civil.year, civil.month, civil.day)
    }

    /// Returns the date this many days after 1 January 1970. Source: H. Hinnant, "chrono-compatible low-level date
    /// algorithms".
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "each part is within its range by construction; years beyond i16 are no use here"
    )]
    pub const fn from_days(days: i64) -> Self {
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = year_of_era + era * 400 + (month <= 2) as i64;
        Self { year: year as i16, month: month as u8, day: day as u8 }
    }

    /// Returns the days since 1 January 1970; the inverse of [`Date::from_days`].
    #[must_use]
    pub const fn days(self) -> i64 {
        let month = self.month as i64;
        let year = self.year as i64 - (month <= 2) as i64;
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let from_march = (month + 9) % 12;
        let of_year = (153 * from_march + 2) / 5 + self.day as i64 - 1;
        let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
        era * 146_097 + of_era - 719_468
    }

    /// Returns the date this many days later, or earlier if negative.
    #[must_use]
    pub const fn plus(self, days: i64) -> Self {
        Self::from_days(self.days() + days)
    }

    /// Returns the day of the week.
    #[must_use]
    pub const fn weekday(self) -> Weekday {
        Weekday::of(self.days())
    }

    /// Returns Easter Sunday of a year. Source: the "anonymous Gregorian" computus, Meeus, *Astronomical Algorithms*,
    /// chapter 8.
    #[must_use]
    pub const fn easter(year: i16) -> Self {
        let y = year as i64;
        let (golden, century, of_century) = (y % 19, y / 100, y % 100);
        let correction = (century - (century + 8) / 25 + 1) / 3;
        let epact = (19 * golden + century - century / 4 - correction + 15) % 30;
        let to_sunday = (32 + 2 * (century % 4) + 2 * (of_century / 4) - epact - of_century % 4) % 7;
        let adjusted = (golden + 11 * epact + 22 * to_sunday) / 451;
        let from_march = epact + to_sunday - 7 * adjusted + 21;
        let first_of_march = Self { year, month: 3, day: 1 };
        first_of_march.plus(from_march)
    }

    /// Returns the year.
    #[must_use]
    pub const fn year(self) -> i16 {
        self.year
    }

    /// Returns the month, from 1.
    #[must_use]
    pub const fn month(self) -> u8 {
        self.month
    }

    /// Returns the day of the month, from 1.
    #[must_use]
    pub const fn day(self) -> u8 {
        self.day
    }

    /// Returns this date at a time of day.
    #[must_use]
    pub const fn at(self, time: Time) -> Civil {
        Civil { year: self.year, month: self.month, day: self.day, hour: time.hour, minute: time.minute }
    }

    /// Formats the date as `YYYY-MM-DD`.
    #[must_use]
    pub fn text(self) -> String {
        let mut text = String::with_capacity(17);
        push_date(&mut text, self);
        text
    }
}

impl Weekday {
    /// Returns the day of the week that is so many days after 1 January 1970, which was a Thursday.
    #[must_use]
    pub const fn of(days: i64) -> Self {
        match (days + 3).rem_euclid(7) {
            0 => Self::Monday,
            1 => Self::Tuesday,
            2 => Self::Wednesday,
            3 => Self::Thursday,
            4 => Self::Friday,
            5 => Self::Saturday,
            _ => Self::Sunday,
        }
    }
}

impl Time {
    /// Creates a time of day.
    ///
    /// # Panics
    /// Panics if there is no such time: a mistake in a constant, which the compiler finds.
    #[must_use]
    pub const fn new(hour: u8, minute: u8) -> Self {
        assert!(hour < 24 && minute < 60, "no such time of day");
        Self { hour, minute }
    }

    /// Parses `HH:MM`, nothing else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let &[h1, h2, b':', m1, m2] = text.as_bytes() else {
            return None;
        };
        let (hour, minute) = (two(h1, h2)?, two(m1, m2)?);
        (hour < 24 && minute < 60).then_some(Self { hour, minute })
    }

    /// Returns the time of day of a civil time.
    #[must_use]
    pub const fn of(civil: Civil) -> Self {
        Self { hour: civil.hour, minute: civil.minute }
    }

    /// Returns the time of day `minutes` after midnight, or `None` after the end of the day.
    #[must_use]
    pub fn after_midnight(minutes: u16) -> Option<Self> {
        let hour = u8::try_from(minutes / 60).ok().filter(|hour| *hour < 24)?;
        Some(Self { hour, minute: (minutes % 60) as u8 })
    }

    /// Returns the minute of the hour.
    #[must_use]
    pub const fn minute(self) -> u8 {
        self.minute
    }

    /// Returns the minutes since midnight.
    #[must_use]
    pub const fn minutes(self) -> u16 {
        self.hour as u16 * 60 + self.minute as u16
    }

    /// Formats the time as `HH:MM`.
    #[must_use]
    pub fn text(self) -> String {
        let mut text = String::with_capacity(5);
        push_time(&mut text, self);
        text
    }
}

const fn days_in(year: i16, month: u8) -> u8 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Parses two ASCII digits as a number.
fn two(tens: u8, units: u8) -> Option<u8> {
    (tens.is_ascii_digit() && units.is_ascii_digit()).then(|| (tens - b'0') * 10 + (units - b'0'))
}

pub(crate) fn push_date(text: &mut String, date: Date) {
    let [century, of_century] = [date.year / 100, date.year % 100].map(i16::unsigned_abs);
    push_two(text, century);
    push_two(text, of_century);
    text.push('-');
    push_two(text, date.month.into());
    text.push('-');
    push_two(text, date.day.into());
}

pub(crate) fn push_time(text: &mut String, time: Time) {
    push_two(text, time.hour.into());
    text.push(':');
    push_two(text, time.minute.into());
}

/// Appends two digits without the formatting machinery, which costs more than the rest of a claim.
fn push_two(text: &mut String, number: u16) {
    for digit in [number / 10 % 10, number % 10] {
        text.push(char::from_digit(digit.into(), 10).unwrap_or('0'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> Date {
        Date::parse(text).expect(text)
    }

    #[test]
    fn only_dates_that_exist_are_read() {
        assert_eq!(date("2028-02-29").text(), "2028-02-29");
        for wrong in [
            "2026-02-29",
            "2026-02-30",
            "2026-13-01",
            "2026-00-10",
            "2026-04-31",
            "2026-1-01",
            "26-01-01",
            "2026/01/01",
            " 2026-01-01",
            "2026-01-01Z",
            "２026-01-01",
            "",
            "1900-02-29",
        ] {
            assert_eq!(Date::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_times_that_exist_are_read() {
        assert_eq!(Time::parse("09:05"), Some(Time::new(9, 5)));
        assert_eq!(Time::new(23, 59).text(), "23:59");
        for wrong in ["24:00", "09:60", "9:05", "09:05:00", "", "+9:05"] {
            assert_eq!(Time::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_day_has_its_minutes_and_no_more() {
        assert_eq!(Time::after_midnight(0), Some(Time::new(0, 0)));
        assert_eq!(Time::after_midnight(1439), Some(Time::new(23, 59)));
        assert_eq!(Time::after_midnight(1440), None);
        assert_eq!(Time::after_midnight(u16::MAX), None);
    }

    #[test]
    fn every_day_of_four_centuries_goes_there_and_back() {
        let first = date("1899-12-31").days();
        for days in first..first + 146_097 {
            let day = Date::from_days(days);
            assert_eq!(day.days(), days);
            assert_eq!(Date::new(day.year(), day.month(), day.day()), Some(day));
        }
    }

    #[test]
    fn weekdays_and_distances_are_the_calendar_s() {
        assert_eq!(date("1970-01-01").weekday(), Weekday::Thursday);
        assert_eq!(date("2026-12-01").weekday(), Weekday::Tuesday);
        assert_eq!(date("1969-12-28").weekday(), Weekday::Sunday);
        assert_eq!(date("2026-12-31").plus(1), date("2027-01-01"));
        assert_eq!(date("2028-03-01").plus(-1), date("2028-02-29"));
        assert!(date("2026-12-31") < date("2027-01-01"));
    }

    #[test]
    fn easter_is_where_the_almanac_has_it() {
        for known in [
            "1961-04-02",
            "2000-04-23",
            "2008-03-23",
            "2023-04-09",
            "2024-03-31",
            "2025-04-20",
            "2026-04-05",
            "2027-03-28",
            "2028-04-16",
            "2038-04-25",
            "2285-03-22",
        ] {
            let known = date(known);
            assert_eq!(Date::easter(known.year()), known);
        }
    }
}
