//! Colombia's public holidays, the same everywhere, and the days that later laws add.

use citas_kit::civil::Date;
use citas_kit::holidays::{EVERYWHERE, Holiday, On};

/// Holidays of Ley 51 de 1983, art. 1. Those of art. 2 move to the Monday after, unless they fall on a Monday. A feast that
/// is counted from Easter Sunday falls on a fixed day of the week, so its Monday is a fixed number of days away: Ascension
/// is 39 days after Easter, Corpus Christi 60, and the Sacred Heart 68.
pub const HOLIDAYS: &[Holiday] = &[
    national("Año Nuevo", On::Day(1, 1)),
    national("Día de los Reyes Magos", On::Monday(1, 6)),
    national("Día de San José", On::Monday(3, 19)),
    national("Jueves Santo", On::Easter(-3)),
    national("Viernes Santo", On::Easter(-2)),
    national("Día del Trabajo", On::Day(5, 1)),
    national("Ascensión del Señor", On::Easter(39 + 4)),
    national("Corpus Christi", On::Easter(60 + 4)),
    national("Sagrado Corazón de Jesús", On::Easter(68 + 3)),
    national("San Pedro y San Pablo", On::Monday(6, 29)),
    national("Día de la Independencia", On::Day(7, 20)),
    national("Batalla de Boyacá", On::Day(8, 7)),
    national("Asunción de la Virgen", On::Monday(8, 15)),
    national("Día de la Raza", On::Monday(10, 12)),
    national("Todos los Santos", On::Monday(11, 1)),
    national("Independencia de Cartagena", On::Monday(11, 11)),
    national("Inmaculada Concepción", On::Day(12, 8)),
    national("Navidad", On::Day(12, 25)),
];

/// Holidays that later laws add, each with the law and its first year. Edit this table when there is another.
pub const LATER: &[Holiday] = &[
    // Ley 2578 de 2026, of 1 June, as the Python package `holidays` 0.109 cites it. Its text was not read.
    national("Día de Nuestra Señora del Rosario de Chiquinquirá", On::Rule(chiquinquira)),
];

const fn national(name: &'static str, on: On) -> Holiday {
    Holiday { name, on, places: EVERYWHERE }
}

/// Returns the Monday from 9 to 15 July, from the law's first year on.
fn chiquinquira(year: i16) -> Option<Date> {
    let ninth = Date::new(year, 7, 9).filter(|_| year >= 2026)?;
    let after_monday = ninth.weekday() as i64;
    Some(ninth.plus((7 - after_monday) % 7))
}

#[cfg(test)]
mod tests {
    use super::*;
    use citas_kit::holidays::holiday;

    /// The calendars from 2025 to 2030, as the Python package `holidays` 0.109 computes them.
    const CALENDARS: [(i16, &str); 6] = [
        (2025, "01-01 01-06 03-24 04-17 04-18 05-01 06-02 06-23 06-30 07-20 08-07 08-18 10-13 11-03 11-17 12-08 12-25"),
        (
            2026,
            "01-01 01-12 03-23 04-02 04-03 05-01 05-18 06-08 06-15 06-29 07-13 07-20 08-07 08-17 10-12 11-02 11-16 12-08 12-25",
        ),
        (
            2027,
            "01-01 01-11 03-22 03-25 03-26 05-01 05-10 05-31 06-07 07-05 07-12 07-20 08-07 08-16 10-18 11-01 11-15 12-08 12-25",
        ),
        (
            2028,
            "01-01 01-10 03-20 04-13 04-14 05-01 05-29 06-19 06-26 07-03 07-10 07-20 08-07 08-21 10-16 11-06 11-13 12-08 12-25",
        ),
        (
            2029,
            "01-01 01-08 03-19 03-29 03-30 05-01 05-14 06-04 06-11 07-02 07-09 07-20 08-07 08-20 10-15 11-05 11-12 12-08 12-25",
        ),
        (
            2030,
            "01-01 01-07 03-25 04-18 04-19 05-01 06-03 06-24 07-01 07-15 07-20 08-07 08-19 10-14 11-04 11-11 12-08 12-25",
        ),
    ];

    #[test]
    fn each_year_has_the_holidays_of_the_published_calendars() {
        for (year, calendar) in CALENDARS {
            let first = Date::new(year, 1, 1).expect("new year");
            let days = (0..366).map(|day| first.plus(day)).filter(|date| date.year() == year);
            let kept =
                days.filter(|date| [HOLIDAYS, LATER].iter().any(|table| holiday(table, *date, "11001").is_some()));
            let kept: Vec<_> = kept.map(|date| date.text()[5..].to_owned()).collect();
            assert_eq!(kept.join(" "), calendar, "{year}");
        }
    }

    #[test]
    fn a_law_has_no_effect_before_its_first_year() {
        let monday = Date::new(2025, 7, 14).expect("a Monday");
        assert_eq!(holiday(LATER, monday, "11001"), None);
    }

    #[test]
    fn a_holiday_that_moved_is_a_working_day_where_it_was() {
        for day in ["2026-01-06", "2026-03-19", "2027-10-12"] {
            assert_eq!(holiday(HOLIDAYS, Date::parse(day).expect(day), "11001"), None, "{day}");
        }
    }
}
