//! Chile's public holidays, and the days that single laws add to them. Regional holidays depend on the comuna's code.

use citas_kit::civil::{Date, Weekday};
use citas_kit::holidays::{EVERYWHERE, Holiday, On};

use crate::solstice::june_solstice;

/// Holidays by rule. Those without a law beside them are from Ley 2.977.
pub const HOLIDAYS: &[Holiday] = &[
    national("Año Nuevo", On::Day(1, 1)),
    national("Feriado adicional de Año Nuevo", On::Rule(second_of_january)),
    national("Viernes Santo", On::Easter(-2)),
    national("Sábado Santo", On::Easter(-1)),
    national("Día del Trabajo", On::Day(5, 1)), // Código del Trabajo, art. 35
    national("Día de las Glorias Navales", On::Day(5, 21)),
    national("Día Nacional de los Pueblos Indígenas", On::Rule(indigenous_peoples)),
    national("San Pedro y San Pablo", On::Rule(|year| to_monday(year, 6, 29))),
    national("Día de la Virgen del Carmen", On::Day(7, 16)), // Ley 20.148
    national("Asunción de la Virgen", On::Day(8, 15)),
    national("Feriado adicional de Fiestas Patrias", On::Rule(seventeenth_of_september)),
    national("Independencia Nacional", On::Day(9, 18)),
    national("Día de las Glorias del Ejército", On::Day(9, 19)),
    national("Feriado adicional de Fiestas Patrias", On::Rule(twentieth_of_september)),
    national("Encuentro de Dos Mundos", On::Rule(|year| to_monday(year, 10, 12))),
    national("Día de las Iglesias Evangélicas y Protestantes", On::Rule(protestant_churches)),
    national("Día de Todos los Santos", On::Day(11, 1)),
    national("Inmaculada Concepción", On::Day(12, 8)),
    national("Navidad", On::Day(12, 25)),
    regional("Asalto y Toma del Morro de Arica", On::Day(6, 7), &["15"]), // Ley 20.663
    regional("Nacimiento del Prócer de la Independencia", On::Day(8, 20), &["16101", "16103"]), // Ley 20.768
];

/// Days that one law or decree made a holiday once, each with that law. Edit this table when such a day is announced.
/// The announcement may come as late as a week before, so publish the change on the same day.
pub const EXTRA_DAYS: &[Holiday] = &[
    // Ley 21.357, transitory article: the day of the first year, whatever the solstice.
    national("Día Nacional de los Pueblos Indígenas", On::Once(2021, 6, 21)),
    // Ley 21.704: Magallanes and Chiloé.
    regional("Feriado excepcional", On::Once(2024, 9, 21), &["12", "102"]),
];

const fn national(name: &'static str, on: On) -> Holiday {
    regional(name, on, EVERYWHERE)
}

const fn regional(name: &'static str, on: On, places: &'static [&'static str]) -> Holiday {
    Holiday { name, on, places }
}

/// Returns 2 January if 1 January is a Sunday (Ley 20.983).
fn second_of_january(year: i16) -> Option<Date> {
    Date::new(year, 1, 2).filter(|date| date.weekday() == Weekday::Monday)
}

/// Returns the day of the June solstice, from the law's second year on (Ley 21.357).
fn indigenous_peoples(year: i16) -> Option<Date> {
    (year >= 2022).then(|| june_solstice(year))
}

/// Moves a holiday from Tuesday, Wednesday or Thursday to the Monday before, and from Friday to the Monday after (Ley
/// 19.668).
fn to_monday(year: i16, month: u8, day: u8) -> Option<Date> {
    let date = Date::new(year, month, day)?;
    Some(match date.weekday() {
        Weekday::Tuesday => date.plus(-1),
        Weekday::Wednesday => date.plus(-2),
        Weekday::Thursday => date.plus(-3),
        Weekday::Friday => date.plus(3),
        _ => date,
    })
}

/// Returns 17 September if it is a Monday (Ley 20.215) or a Friday (Ley 20.983): the bridge before 18 and 19 September.
fn seventeenth_of_september(year: i16) -> Option<Date> {
    let bridges = |date: &Date| matches!(date.weekday(), Weekday::Monday | Weekday::Friday);
    Date::new(year, 9, 17).filter(bridges)
}

/// Returns 20 September if it is a Friday: the bridge after 18 and 19 September (Ley 20.215).
fn twentieth_of_september(year: i16) -> Option<Date> {
    Date::new(year, 9, 20).filter(|date| date.weekday() == Weekday::Friday)
}

/// Returns 31 October, moved from Tuesday to the Friday before, and from Wednesday to the Friday after (Ley 20.299).
fn protestant_churches(year: i16) -> Option<Date> {
    let date = Date::new(year, 10, 31)?;
    Some(match date.weekday() {
        Weekday::Tuesday => date.plus(-4),
        Weekday::Wednesday => date.plus(2),
        _ => date,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use citas_kit::holidays::holiday;

    fn kept(date: Date, place: &str) -> bool {
        [HOLIDAYS, EXTRA_DAYS].iter().any(|table| holiday(table, date, place).is_some())
    }

    fn year(year: i16, place: &str) -> Vec<String> {
        let first = Date::new(year, 1, 1).expect("new year");
        let days = (0..366).map(|day| first.plus(day)).filter(|date| date.year() == year);
        days.filter(|date| kept(*date, place)).map(|date| date.text()[5..].to_owned()).collect()
    }

    #[test]
    fn santiago_keeps_the_official_calendars() {
        let calendars: [(i16, &[&str]); 5] = [
            (
                2023,
                &[
                    "01-01", "01-02", "04-07", "04-08", "05-01", "05-21", "06-21", "06-26", "07-16", "08-15", "09-18",
                    "09-19", "10-09", "10-27", "11-01", "12-08", "12-25",
                ],
            ),
            (
                2024,
                &[
                    "01-01", "03-29", "03-30", "05-01", "05-21", "06-20", "06-29", "07-16", "08-15", "09-18", "09-19",
                    "09-20", "10-12", "10-31", "11-01", "12-08", "12-25",
                ],
            ),
            (
                2025,
                &[
                    "01-01", "04-18", "04-19", "05-01", "05-21", "06-20", "06-29", "07-16", "08-15", "09-18", "09-19",
                    "10-12", "10-31", "11-01", "12-08", "12-25",
                ],
            ),
            (
                2026,
                &[
                    "01-01", "04-03", "04-04", "05-01", "05-21", "06-21", "06-29", "07-16", "08-15", "09-18", "09-19",
                    "10-12", "10-31", "11-01", "12-08", "12-25",
                ],
            ),
            (
                2027,
                &[
                    "01-01", "03-26", "03-27", "05-01", "05-21", "06-21", "06-28", "07-16", "08-15", "09-17", "09-18",
                    "09-19", "10-11", "10-31", "11-01", "12-08", "12-25",
                ],
            ),
        ];
        for (number, calendar) in calendars {
            assert_eq!(year(number, "13101"), calendar, "{number}");
        }
    }

    #[test]
    fn moved_holidays_move_as_their_laws_say() {
        let text = |date: Option<Date>| date.map(Date::text).unwrap_or_default();
        assert_eq!(text(to_monday(2022, 6, 29)), "2022-06-27");
        assert_eq!(text(to_monday(2029, 6, 29)), "2029-07-02");
        assert_eq!(text(to_monday(2029, 10, 12)), "2029-10-15");
        assert_eq!(text(protestant_churches(2029)), "2029-11-02");
        assert_eq!(text(protestant_churches(2023)), "2023-10-27");
        assert_eq!(text(seventeenth_of_september(2029)), "2029-09-17");
        assert_eq!(text(seventeenth_of_september(2026)), "");
        assert_eq!(text(twentieth_of_september(2030)), "2030-09-20");
    }

    #[test]
    fn regional_holidays_stay_in_their_comunas() {
        let day = |month, day| Date::new(2027, month, day).expect("a date");
        assert!(kept(day(6, 7), "15101"));
        assert!(!kept(day(6, 7), "13101"));
        assert!(kept(day(8, 20), "16101") && kept(day(8, 20), "16103"));
        assert!(!kept(day(8, 20), "16102"));
    }

    #[test]
    fn the_day_of_ley_21_704_was_kept_in_magallanes_and_chiloe() {
        let day = Date::new(2024, 9, 21).expect("a date");
        assert!(kept(day, "12101") && kept(day, "10201"));
        assert!(!kept(day, "13101") && !kept(day, "10101"));
        assert!(!kept(Date::new(2025, 9, 21).expect("a date"), "12101"));
    }

    #[test]
    fn indigenous_peoples_have_one_day_in_2021() {
        assert_eq!(year(2021, "13101").iter().filter(|day| day.starts_with("06-2")).count(), 2);
        assert!(kept(Date::new(2021, 6, 21).expect("a date"), "13101"));
    }
}
