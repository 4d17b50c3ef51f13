//! Tokens of free slots: each stands for the leaves of a request that select the slot.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::appointment::{Appointment, CountryCode, Field, Slot};
use super::json::set;
use super::keyring::Keyring;

/// Purpose of the tokens. Another layout of their content needs another purpose.
const PURPOSE: &str = "slot/1";

/// Content of a free slot's token. It has no time of its own, so that a slot has the same token as long as it is offered,
/// and names no version of the rules: whoever books the slot is judged anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlotToken {
    /// Country of the slot.
    pub country: CountryCode,
    /// The slot in local time.
    pub slot: Slot,
    /// Key of the doctor.
    pub doctor: Option<String>,
    /// Key of the hospital.
    pub hospital: Option<String>,
    /// Leaves of the request that select the slot.
    pub request: Vec<Field>,
    /// Leaves of the place at which the slot was found, such as a district. A hold looks for the slot there again.
    pub place: Vec<Field>,
}

/// Error for a request that does not go with its slot.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OtherSlot {
    /// The request has another value in the place of a leaf.
    #[error("the slot stands for another value at `{0}` than the request has; leave one of the two out")]
    Leaf(String),
    /// The appointment is elsewhere.
    #[error("the slot is with another doctor or at another hospital than the appointment")]
    Elsewhere,
}

impl SlotToken {
    /// Returns the signed token.
    pub fn token(&self, keys: &Keyring) -> String {
        keys.sign(PURPOSE, &serde_json::to_vec(self).expect("members with text keys"))
    }

    /// Returns the content of a token; `None` if it was not signed with these keys for a slot of this country.
    pub fn read(keys: &Keyring, country: CountryCode, token: &str) -> Option<Self> {
        let read: Self = serde_json::from_slice(&keys.verify(PURPOSE, token)?).ok()?;
        Some(read).filter(|read| read.country == country)
    }

    /// Adds the leaves of the slot to a request.
    ///
    /// # Errors
    /// Returns an error if the request has another value in the place of a leaf.
    pub fn set_in(&self, request: &mut Map<String, Json>) -> Result<(), OtherSlot> {
        let other = self.request.iter().find(|leaf| !set(request, leaf));
        other.map_or(Ok(()), |leaf| Err(OtherSlot::Leaf(leaf.path.clone())))
    }

    /// Returns the slot for an action on this appointment whose input may have these members.
    ///
    /// # Errors
    /// Returns an error if the slot is with another doctor or at another hospital.
    pub fn for_action(mut self, current: &Appointment, members: &[&str]) -> Result<Self, OtherSlot> {
        let differs = |slot: &Option<String>, now: &Option<String>| slot.is_some() && now.is_some() && slot != now;
        if differs(&self.doctor, &current.doctor) || differs(&self.hospital, &current.hospital) {
            return Err(OtherSlot::Elsewhere);
        }
        let is_member = |field: &Field| field.path.split('/').nth(1).is_some_and(|name| members.contains(&name));
        self.request.retain(is_member);
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Value;
    use crate::testing::revision;

    fn keys() -> Keyring {
        "0a".repeat(32).parse().unwrap()
    }

    fn slot() -> SlotToken {
        let text = |path: &str, text: &str| Field { path: path.into(), value: Value::Text(text.into()) };
        SlotToken {
            country: "pe".parse().unwrap(),
            slot: Slot { start: "2026-12-01T09:30".parse().unwrap(), minutes: 30, zone: "America/Lima".into() },
            doctor: Some("45678".into()),
            hospital: None,
            request: vec![text("/date", "2026-12-01"), text("/place/district", "150122")],
            place: vec![text("/place/district", "150122")],
        }
    }

    #[test]
    fn a_token_comes_back_in_its_own_country() {
        let token = slot().token(&keys());
        assert_eq!(SlotToken::read(&keys(), "pe".parse().unwrap(), &token), Some(slot()));
        assert_eq!(SlotToken::read(&keys(), "cl".parse().unwrap(), &token), None);
        assert_eq!(SlotToken::read(&"0b".repeat(32).parse().unwrap(), "pe".parse().unwrap(), &token), None);
        let other = keys().sign("link/1", &serde_json::to_vec(&slot()).unwrap());
        assert_eq!(SlotToken::read(&keys(), "pe".parse().unwrap(), &other), None);
        assert_eq!(token, slot().token(&keys()), "a slot has one token");
    }

    #[test]
    fn an_action_gets_the_leaves_that_its_input_has_and_the_appointment_stays_with_its_doctor() {
        let mut current = revision(uuid::Uuid::nil()).appointment;
        let of_action = |current: &Appointment| slot().for_action(current, &["date", "time"]);
        assert_eq!(of_action(&current).unwrap().request, slot().request[..1]);
        current.hospital = Some("00006219".into());
        assert!(of_action(&current).is_ok(), "the slot is at no hospital");
        current.doctor = Some("99999".into());
        assert_eq!(of_action(&current), Err(OtherSlot::Elsewhere));
    }

    #[test]
    fn a_request_gets_the_leaves_of_its_slot_and_keeps_its_own() {
        let set = |request: Json| {
            let mut members = request.as_object().unwrap().clone();
            slot().set_in(&mut members).map(|()| Json::Object(members))
        };
        let whole = json!({ "date": "2026-12-01", "dni": null, "place": { "district": "150122", "floor": {} } });
        assert_eq!(set(json!({ "dni": null, "place": { "floor": {} } })), Ok(whole.clone()));
        assert_eq!(set(whole.clone()), Ok(whole));
        for (other, place) in [
            (json!({ "date": "2026-12-02" }), "/date"),
            (json!({ "date": { "day": 1 } }), "/date"),
            (json!({ "date": null }), "/date"),
            (json!({ "place": "150122" }), "/place/district"),
        ] {
            assert_eq!(set(other), Err(OtherSlot::Leaf(place.into())));
        }
    }
}
