//! Dates and times in the words of Spanish and English, for letters.

use crate::Civil;
use crate::civil::Date;

const SPANISH_MONTHS: [&str; 12] = [
    "enero",
    "febrero",
    "marzo",
    "abril",
    "mayo",
    "junio",
    "julio",
    "agosto",
    "septiembre",
    "octubre",
    "noviembre",
    "diciembre",
];

const SPANISH_WEEKDAYS: [&str; 7] = ["lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"];

const ENGLISH_MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const ENGLISH_WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Formats a date as `martes 1 de diciembre de 2026`. Peru's ninth month is `setiembre`.
#[must_use]
pub fn spanish(civil: Civil) -> String {
    let written = |date: Date| {
        let (weekday, month) = named(date, &SPANISH_WEEKDAYS, &SPANISH_MONTHS);
        format!("{weekday} {} de {month} de {}", date.day(), date.year())
    };
    Date::of(civil).map(written).unwrap_or_default()
}

/// Formats a date as `Tuesday 1 December 2026`.
#[must_use]
pub fn english(civil: Civil) -> String {
    let written = |date: Date| {
        let (weekday, month) = named(date, &ENGLISH_WEEKDAYS, &ENGLISH_MONTHS);
        format!("{weekday} {} {month} {}", date.day(), date.year())
    };
    Date::of(civil).map(written).unwrap_or_default()
}

/// Formats minutes since midnight, of that day or another, as `las 09:30`. One o'clock is singular: `la 01:30`.
#[must_use]
pub fn spanish_time(minutes: i64) -> String {
    let (hour, minute) = (minutes.div_euclid(60).rem_euclid(24), minutes.rem_euclid(60));
    let article = if hour == 1 { "la" } else { "las" };
    format!("{article} {hour:02}:{minute:02}")
}

fn named(date: Date, weekdays: &[&'static str; 7], months: &[&'static str; 12]) -> (&'static str, &'static str) {
    (weekdays[date.weekday() as usize], months[usize::from(date.month() - 1)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::civil;

    #[test]
    fn a_date_is_written_with_its_weekday() {
        for (date, in_spanish, in_english) in [
            ("2026-12-01", "martes 1 de diciembre de 2026", "Tuesday 1 December 2026"),
            ("2027-01-31", "domingo 31 de enero de 2027", "Sunday 31 January 2027"),
            ("2026-09-07", "lunes 7 de septiembre de 2026", "Monday 7 September 2026"),
        ] {
            let civil = civil(date, "09:30");
            assert_eq!((spanish(civil).as_str(), english(civil).as_str()), (in_spanish, in_english));
        }
    }

    #[test]
    fn one_o_clock_is_singular_in_spanish_and_midnight_is_passed() {
        for (minutes, written) in [(570, "las 09:30"), (90, "la 01:30"), (-30, "las 23:30"), (1500, "la 01:00")] {
            assert_eq!(spanish_time(minutes), written);
        }
    }
}
