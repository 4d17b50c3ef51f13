//! Peru's public holidays. Regional holidays depend on the district's UBIGEO.

use citas_kit::holidays::{EVERYWHERE, Holiday, On};

/// Public holidays. National ones are from D.Leg. 713, art. 6, unless a line says otherwise.
pub const HOLIDAYS: &[Holiday] = &[
    national("Año Nuevo", On::Day(1, 1)),
    national("Jueves Santo", On::Easter(-3)),
    national("Viernes Santo", On::Easter(-2)),
    national("Día del Trabajo", On::Day(5, 1)),
    national("Batalla de Arica y Día de la Bandera", On::Day(6, 7)), // Ley 31788
    national("San Pedro y San Pablo", On::Day(6, 29)),
    national("Día de la Fuerza Aérea del Perú", On::Day(7, 23)), // Ley 31822
    national("Fiestas Patrias", On::Day(7, 28)),
    national("Fiestas Patrias", On::Day(7, 29)),
    national("Batalla de Junín", On::Day(8, 6)), // Ley 31530
    national("Santa Rosa de Lima", On::Day(8, 30)),
    national("Combate de Angamos", On::Day(10, 8)),
    national("Todos los Santos", On::Day(11, 1)),
    national("Inmaculada Concepción", On::Day(12, 8)),
    national("Batalla de Ayacucho", On::Day(12, 9)), // Ley 31381
    national("Navidad", On::Day(12, 25)),
    regional("Aniversario de Arequipa", On::Day(8, 15), &["04"]), // Ley 24875
    regional("Aniversario de Huánuco", On::Day(8, 15), &["10"]),  // Ley 24704
    regional("Alto de la Alianza", On::Day(5, 26), &["23"]),      // Ley 24681
];

const fn national(name: &'static str, on: On) -> Holiday {
    regional(name, on, EVERYWHERE)
}

const fn regional(name: &'static str, on: On, places: &'static [&'static str]) -> Holiday {
    Holiday { name, on, places }
}

#[cfg(test)]
mod tests {
    use super::*;
    use citas_kit::civil::Date;
    use citas_kit::holidays::holiday;

    fn year(year: i16, place: &str) -> Vec<String> {
        let first = Date::new(year, 1, 1).expect("new year");
        let days = (0..366).map(|day| first.plus(day)).filter(|date| date.year() == year);
        let kept = days.filter(|date| holiday(HOLIDAYS, *date, place).is_some());
        kept.map(|date| date.text()[5..].to_owned()).collect()
    }

    /// Returns the sixteen holidays of a year in which Maundy Thursday and Good Friday fall on these days.
    fn calendar(thursday: &str, friday: &str) -> Vec<String> {
        let days = [
            "01-01", thursday, friday, "05-01", "06-07", "06-29", "07-23", "07-28", "07-29", "08-06", "08-30", "10-08",
            "11-01", "12-08", "12-09", "12-25",
        ];
        days.map(String::from).into()
    }

    #[test]
    fn lima_keeps_the_official_calendars() {
        assert_eq!(year(2025, "150122"), calendar("04-17", "04-18"));
        assert_eq!(year(2026, "150122"), calendar("04-02", "04-03"));
        assert_eq!(year(2027, "150122"), calendar("03-25", "03-26"));
    }

    #[test]
    fn easter_sunday_is_no_holiday() {
        let sunday = Date::easter(2026);
        assert_eq!(holiday(HOLIDAYS, sunday, "150122"), None);
    }

    #[test]
    fn regional_holidays_stay_in_their_regions() {
        for (region, day) in [("040101", "08-15"), ("100101", "08-15"), ("230101", "05-26")] {
            let kept = year(2026, region);
            assert_eq!(kept.len(), 17, "{region}");
            assert!(kept.contains(&day.to_string()), "{region}");
        }
    }
}
