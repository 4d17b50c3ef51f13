//! The specialties, and the way from a request to an appointment in each. Which specialty takes which way is a decision of
//! the platform, not law.

use citas_kit::fields::Fields;
use citas_kit::schedule::Length;
use citas_kit::settings::Setting;

/// A specialty of the request schema.
#[derive(Clone, Copy, Debug)]
pub struct Specialty {
    /// Name of the specialty in `/specialty`.
    pub name: &'static str,
    /// Length of an appointment.
    pub length: Length,
    /// The resource that an appointment takes: a doctor, a session or a room.
    pub setting: Setting,
    /// The way from the request to the appointment.
    pub way: Way,
}

/// The way from a request to an appointment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Staff assign a time.
    Assigned,
    /// Staff authorise the request before they assign a time.
    Authorised {
        /// True if the request needs the number of the insurer's authorisation.
        needs_number: bool,
    },
    /// The patient books a time at once.
    Direct,
}

/// Rooms of a hospital for therapy.
const THERAPY_ROOMS: &[&str] = &["1", "2", "3"];

const VACCINATION: Setting = Setting::Session { name: "vacunacion", places: 10 };

const DIRECT_ACCESS: Way = Way::Authorised { needs_number: false };
const REFERRED: Way = Way::Authorised { needs_number: true };

/// The specialties, the commonest first.
pub const SPECIALTIES: &[Specialty] = &[
    specialty("medicina-general", 20, Setting::Doctor, Way::Assigned),
    specialty("odontologia", 30, Setting::Doctor, Way::Assigned),
    specialty("pediatria", 30, Setting::Doctor, DIRECT_ACCESS),
    specialty("ginecologia", 30, Setting::Doctor, DIRECT_ACCESS),
    specialty("medicina-interna", 30, Setting::Doctor, REFERRED),
    specialty("cardiologia", 30, Setting::Doctor, REFERRED),
    specialty("dermatologia", 30, Setting::Doctor, REFERRED),
    specialty("oftalmologia", 30, Setting::Doctor, REFERRED),
    specialty("ortopedia", 30, Setting::Doctor, REFERRED),
    specialty("psiquiatria", 30, Setting::Doctor, REFERRED),
    specialty("terapia", 30, Setting::Rooms(THERAPY_ROOMS), REFERRED),
    specialty("vacunacion", 30, VACCINATION, Way::Direct),
];

/// Creates a specialty with appointments back to back.
const fn specialty(name: &'static str, minutes: u8, setting: Setting, way: Way) -> Specialty {
    Specialty { name, length: Length { minutes: minutes as u16, every: minutes }, setting, way }
}

impl Specialty {
    /// Returns the specialty of a request or of a stored appointment. A name that is not in the table any more is treated
    /// as general medicine.
    pub fn of(request: Fields) -> &'static Self {
        let name = request.text("/specialty").unwrap_or_default();
        SPECIALTIES.iter().find(|specialty| specialty.name == name).unwrap_or(&SPECIALTIES[0])
    }

    /// True if staff authorise a request before they assign a time.
    pub const fn is_authorised(&self) -> bool {
        matches!(self.way, Way::Authorised { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_schema_has_the_specialties_of_the_table() {
        let schema = include_str!("schema/request.json");
        let (_, listed) = schema.split_once("\"specialty\"").expect("the member");
        let (_, listed) = listed.split_once("\"enum\": [").expect("a list");
        let (listed, _) = listed.split_once(']').expect("its end");
        let listed: Vec<_> = listed.split(',').map(|name| name.trim().trim_matches('"')).collect();
        assert_eq!(listed, SPECIALTIES.iter().map(|specialty| specialty.name).collect::<Vec<_>>());
    }

    #[test]
    fn starts_and_lengths_fit_the_grid_of_the_claims() {
        let cell = crate::house::HOUSE.schedule.claim_minutes;
        for Specialty { name, length, .. } in SPECIALTIES {
            assert!(length.minutes.is_multiple_of(cell) && 60 % length.minutes == 0, "{name}");
            assert_eq!(length.minutes, u16::from(length.every), "{name}");
        }
    }
}
