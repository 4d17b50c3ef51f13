//! Computes the day of the June solstice in Chile. Ley 21.357 makes it a holiday without naming dates.

use citas_kit::civil::Date;

/// Offset of Chile's clocks from UTC in June, in days: four hours behind (Santiago, winter time).
const OFFSET_DAYS: f64 = -4.0 / 24.0;

/// Difference between ephemeris time and UTC, in days: 69 seconds in 2024, and a few more by mid-century.
const DELTA_T_DAYS: f64 = 70.0 / 86_400.0;

/// Julian day of 1 January 1970, 00:00 UTC.
const UNIX_EPOCH: f64 = 2_440_587.5;

/// Returns the date in Chile on which the sun is northernmost. Accurate to about a minute for the years 1000 to 3000.
/// Source: J. Meeus, *Astronomical Algorithms*, 2nd edition, chapter 27.
#[expect(clippy::cast_possible_truncation, reason = "a day of this millennium fits")]
pub fn june_solstice(year: i16) -> Date {
    let mean = mean_june_solstice(f64::from(year));
    let centuries = (mean - 2_451_545.0) / 36_525.0;
    let perihelion = (35_999.373 * centuries - 2.47).to_radians();
    let speed = 1.0 + 0.0334 * perihelion.cos() + 0.0007 * (2.0 * perihelion).cos();
    let perturbation: f64 = PERTURBATIONS
        .iter()
        .map(|(amplitude, phase, motion)| amplitude * (phase + motion * centuries).to_radians().cos())
        .sum();
    let ephemeris = mean + 0.00001 * perturbation / speed;
    let local = ephemeris - DELTA_T_DAYS + OFFSET_DAYS - UNIX_EPOCH;
    Date::from_days(local.floor() as i64)
}

/// Returns the solstice as a Julian ephemeris day, without the planets' pull (Meeus, table 27.B).
fn mean_june_solstice(year: f64) -> f64 {
    let y = (year - 2000.0) / 1000.0;
    2_451_716.567_67 + y * (365_241.626_03 + y * (0.003_25 + y * (0.008_88 - y * 0.000_30)))
}

/// Perturbations: amplitude, phase in degrees, motion in degrees per century (Meeus, table 27.C).
const PERTURBATIONS: [(f64, f64, f64); 24] = [
    (485.0, 324.96, 1934.136),
    (203.0, 337.23, 32_964.467),
    (199.0, 342.08, 20.186),
    (182.0, 27.85, 445_267.112),
    (156.0, 73.14, 45_036.886),
    (136.0, 171.52, 22_518.443),
    (77.0, 222.54, 65_928.934),
    (74.0, 296.72, 3034.906),
    (70.0, 243.58, 9037.513),
    (58.0, 119.81, 33_718.147),
    (52.0, 297.17, 150.678),
    (50.0, 21.02, 2281.226),
    (45.0, 247.54, 29_929.562),
    (44.0, 325.15, 31_555.956),
    (29.0, 60.93, 4443.417),
    (18.0, 155.12, 67_555.328),
    (17.0, 288.79, 4562.452),
    (16.0, 198.04, 62_894.029),
    (14.0, 199.76, 31_436.921),
    (12.0, 95.39, 14_577.848),
    (12.0, 287.11, 31_931.756),
    (12.0, 320.81, 34_777.259),
    (9.0, 227.73, 1222.114),
    (8.0, 15.45, 16_859.074),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_solstice_falls_on_the_days_that_chile_kept() {
        for (year, day) in [(2022, 21), (2023, 21), (2024, 20), (2025, 20), (2026, 21), (2027, 21), (2028, 20)] {
            assert_eq!(june_solstice(year).text(), format!("{year}-06-{day}"));
        }
    }

    #[test]
    fn near_midnight_the_minute_decides() {
        // 03:32 UTC on the 21st is 23:32 on the 20th in Chile.
        assert_eq!(june_solstice(2021).text(), "2021-06-20");
    }
}
