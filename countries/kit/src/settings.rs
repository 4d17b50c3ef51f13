//! Resources of an appointment besides the time of its doctor and its patient: a place in a session, or a room.

use crate::claims::claims;
use crate::{Choice, Claim, Field};

/// Prefix of the claims on the places of a session.
pub const SESSION: &str = "session/";

/// Prefix of the claims on a room's time.
pub const ROOM: &str = "room/";

/// Path of the attribute that names the room.
pub const ROOM_PATH: &str = "/room";

/// The form of an appointment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// A doctor sees the patient. The appointment takes no other resource.
    Doctor,
    /// Several people are seen at once, by no doctor in particular.
    Session {
        /// Name of the sessions, of which a hospital has one at a time.
        name: &'static str,
        /// Number of people that one session has room for.
        places: u16,
    },
    /// A doctor sees the patient in any of the hospital's rooms with these names.
    Rooms(&'static [&'static str]),
}

impl Setting {
    /// True if a session is held by no doctor in particular.
    #[must_use]
    pub const fn is_session(self) -> bool {
        matches!(self, Self::Session { .. })
    }

    /// Returns the places of an opening in this setting.
    #[must_use]
    pub const fn places(self) -> u16 {
        match self {
            Self::Session { places, .. } => places,
            Self::Doctor | Self::Rooms(_) => 1,
        }
    }

    /// Returns the claims on a hospital's session, `minutes` from `start` in Unix seconds, on a grid of `cell` minutes.
    #[must_use]
    pub fn claims(self, hospital: &str, start: i64, minutes: u16, cell: u16) -> Vec<Claim> {
        let Self::Session { name, places } = self else {
            return Vec::new();
        };
        let session = [SESSION, name, "/", hospital].concat();
        claims(&session, start, minutes, cell).map(|claim| claim.with_places(places)).collect()
    }

    /// Returns the rooms of a hospital of which the appointment takes one.
    #[must_use]
    pub fn choices(self, hospital: &str, start: i64, minutes: u16, cell: u16) -> Vec<Choice> {
        let Self::Rooms(rooms) = self else {
            return Vec::new();
        };
        let choice = |name: &&str| Choice {
            claims: claims(&[ROOM, hospital, "/", name].concat(), start, minutes, cell).collect(),
            attributes: vec![Field::text(ROOM_PATH, *name)],
        };
        rooms.iter().map(choice).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Unix time of 2026-12-01T14:00Z, in seconds.
    const START: i64 = 1_796_133_600;

    #[test]
    fn a_session_has_its_places_in_each_cell() {
        let session = Setting::Session { name: "flu", places: 10 };
        let claims = session.claims("H-1", START, 30, 15);
        let places = |minute| Claim::new(["session/flu/H-1/2026-12-01T14:", minute].concat()).with_places(10);
        assert_eq!(claims, [places("00Z"), places("15Z")]);
        assert!(session.choices("H-1", START, 30, 15).is_empty());
        assert_eq!((session.places(), Setting::Doctor.places()), (10, 1));
    }

    #[test]
    fn any_of_the_rooms_is_a_choice_that_names_it() {
        let rooms = Setting::Rooms(&["1", "2"]);
        let choices = rooms.choices("H-1", START, 15, 15);
        let room = |name: &str| Choice {
            claims: vec![Claim::new(["room/H-1/", name, "/2026-12-01T14:00Z"].concat())],
            attributes: vec![Field::text("/room", name)],
        };
        assert_eq!(choices, [room("1"), room("2")]);
        assert!(rooms.claims("H-1", START, 15, 15).is_empty());
    }

    #[test]
    fn a_doctor_alone_takes_nothing_else() {
        assert!(Setting::Doctor.claims("H-1", START, 30, 15).is_empty());
        assert!(Setting::Doctor.choices("H-1", START, 30, 15).is_empty());
    }
}
