//! Holidays as their laws state them: by rule, not by a list of years.

use crate::civil::{Date, Weekday};

/// A holiday.
#[derive(Clone, Copy, Debug)]
pub struct Holiday {
    /// Name of the holiday in the country's language.
    pub name: &'static str,
    /// Day on which the holiday falls.
    pub on: On,
    /// Places that keep the holiday: prefixes of the country's place codes.
    pub places: &'static [&'static str],
}

/// The whole country: every place code begins with the empty prefix.
pub const EVERYWHERE: &[&str] = &[""];

/// Day on which a holiday falls.
#[derive(Clone, Copy, Debug)]
pub enum On {
    /// Month and day, in every year.
    Day(u8, u8),
    /// Days after Easter Sunday, or before it if negative.
    Easter(i64),
    /// Month and day, or the Monday after unless it is a Monday.
    Monday(u8, u8),
    /// A rule that returns the date, or `None` for a year without the holiday.
    Rule(fn(year: i16) -> Option<Date>),
    /// Year, month and day, in one year only.
    Once(i16, u8, u8),
}

impl On {
    fn is(self, date: Date) -> bool {
        match self {
            Self::Day(month, day) => (date.month(), date.day()) == (month, day),
            // Few days are so far from a Sunday, and to find Easter costs more than to find the weekday.
            Self::Easter(days) => {
                let sunday = date.days() - days;
                Weekday::of(sunday) == Weekday::Sunday && Date::easter(date.year()).days() == sunday
            }
            Self::Monday(month, day) => {
                let days_after = |day: Date| (0..7).contains(&(date.days() - day.days()));
                date.weekday() == Weekday::Monday && Date::new(date.year(), month, day).is_some_and(days_after)
            }
            Self::Rule(rule) => rule(date.year()) == Some(date),
            Self::Once(year, month, day) => (date.year(), date.month(), date.day()) == (year, month, day),
        }
    }
}

/// Returns the name of the holiday that a place keeps on a date: the first match in the table.
#[must_use]
pub fn holiday(table: &[Holiday], date: Date, place: &str) -> Option<&'static str> {
    let kept =
        |holiday: &&Holiday| holiday.on.is(date) && holiday.places.iter().any(|prefix| place.starts_with(prefix));
    table.iter().find(kept).map(|holiday| holiday.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Holiday] = &[
        Holiday { name: "new year", on: On::Day(1, 1), places: EVERYWHERE },
        Holiday { name: "good friday", on: On::Easter(-2), places: EVERYWHERE },
        Holiday { name: "harvest", on: On::Rule(|year| Date::new(year, 2, 29)), places: &["04", "1602"] },
        Holiday { name: "kings", on: On::Monday(1, 6), places: EVERYWHERE },
        Holiday { name: "census", on: On::Once(2027, 6, 10), places: EVERYWHERE },
    ];

    fn on(date: &str, place: &str) -> Option<&'static str> {
        holiday(TABLE, Date::parse(date).expect(date), place)
    }

    #[test]
    fn each_kind_of_day_is_found() {
        assert_eq!(on("2031-01-01", "150122"), Some("new year"));
        assert_eq!(on("2026-04-03", "150122"), Some("good friday"));
        assert_eq!(on("2027-06-10", "150122"), Some("census"));
        assert_eq!(on("2028-06-10", "150122"), None);
        for (day, name) in [("2025-01-06", Some("kings")), ("2026-01-12", Some("kings")), ("2026-01-06", None)] {
            assert_eq!(on(day, "150122"), name, "{day}");
        }
        assert_eq!((on("2026-01-05", "150122"), on("2026-01-19", "150122")), (None, None), "other Mondays");
    }

    #[test]
    fn a_regional_holiday_is_kept_in_its_places_only() {
        assert_eq!(on("2028-02-29", "040101"), Some("harvest"));
        assert_eq!(on("2028-02-29", "160201"), Some("harvest"));
        assert_eq!(on("2028-02-29", "160101"), None);
        assert_eq!(on("2027-02-28", "040101"), None);
    }
}
