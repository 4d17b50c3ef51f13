//! Opaque names for people and accounts, made with a secret key. A person has one name, which does not reveal the person
//! without the key.

use std::str::FromStr;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use uuid::{Builder, Uuid};

use crate::model::appointment::CountryCode;
use crate::model::claim::{Claim, key_of, resource_and_minute};

/// Prefix of a personal claim's resource in the ledger.
const PERSONAL: &str = "personal/";

/// Prefix of the personal claims of an account that nobody has verified, before the account's opaque id.
const ACCOUNT: &str = "account/";

/// Length of a written key, in hexadecimal digits: 32 bytes.
pub const KEY_DIGITS: usize = 64;

/// Error for a text that is not a key.
#[derive(Debug, thiserror::Error)]
#[error("a key is {KEY_DIGITS} hexadecimal digits")]
pub struct NotAKey;

/// Makes opaque names with one secret key (HMAC with SHA-256, RFC 2104).
#[derive(Clone)]
pub struct Pseudonyms(Hmac<Sha256>);

impl FromStr for Pseudonyms {
    type Err = NotAKey;

    /// Creates names with the key that these hexadecimal digits write.
    fn from_str(text: &str) -> Result<Self, NotAKey> {
        Ok(Self::new(&key_bytes(text)?))
    }
}

/// Returns the key that these hexadecimal digits write.
pub(super) fn key_bytes(text: &str) -> Result<Vec<u8>, NotAKey> {
    let digit = |digit: char| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let digits: Vec<u8> = text.chars().map(digit).collect::<Option<_>>().ok_or(NotAKey)?;
    if digits.len() != KEY_DIGITS {
        return Err(NotAKey);
    }
    Ok(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

impl Pseudonyms {
    /// Creates names with this secret key. It is the same on every host of the platform and never changes.
    pub fn new(key: &[u8]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC takes a key of any length"))
    }

    /// Returns the opaque id of a patient.
    pub fn patient(&self, country: CountryCode, patient: &str) -> Uuid {
        self.name(&["patient", country.as_str(), patient])
    }

    /// Returns the opaque id of an account for the rules of a country.
    pub fn account(&self, country: CountryCode, subject: &str) -> String {
        self.name(&["account", country.as_str(), subject]).to_string()
    }

    /// Returns the claim in the ledger's form. A personal claim keeps its minute, and its resource becomes opaque. A personal
    /// claim of an appointment with an owner is the owner's alone: it is in no other's way.
    #[must_use]
    pub fn claim(&self, country: CountryCode, claim: Claim, owner: Option<&str>) -> Claim {
        if !claim.personal {
            return claim;
        }
        let (resource, minute) = resource_and_minute(&claim.key);
        let name = self.name(&["claim", country.as_str(), resource]);
        let of = owner.map_or_else(String::new, |owner| format!("{ACCOUNT}{}/", self.account(country, owner)));
        Claim { key: key_of(&format!("{of}{PERSONAL}{}", name.simple()), minute), ..claim }
    }

    fn name(&self, parts: &[&str]) -> Uuid {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(&part.len().to_be_bytes());
            mac.update(part.as_bytes());
        }
        let digest: [u8; 32] = mac.finalize().into_bytes().into();
        Builder::from_custom_bytes(digest[..16].try_into().expect("a digest has 32 bytes")).into_uuid()
    }
}

/// Returns the patient's key of a personal claim in the ledger's form, without the prefix of an account; `None` for any
/// other claim.
pub(crate) fn personal_key(key: &str) -> Option<&str> {
    let of_account = key.strip_prefix(ACCOUNT).and_then(|rest| rest.split_once('/'));
    Some(of_account.map_or(key, |(_, of_patient)| of_patient)).filter(|key| key.starts_with(PERSONAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pe() -> CountryCode {
        "pe".parse().unwrap()
    }

    #[test]
    fn a_person_has_one_name_for_each_country_and_key() {
        let (one, other) = (Pseudonyms::new(b"one"), Pseudonyms::new(b"other"));
        let name = one.patient(pe(), "dni:10117410");
        assert_eq!(name, one.patient(pe(), "dni:10117410"));
        for different in [
            one.patient("cl".parse().unwrap(), "dni:10117410"),
            one.patient(pe(), "dni:10117411"),
            other.patient(pe(), "dni:10117410"),
        ] {
            assert_ne!(name, different);
        }
        assert_ne!(name.to_string(), one.account(pe(), "dni:10117410"));
    }

    #[test]
    fn a_written_key_is_its_bytes() {
        let (written, key): (Pseudonyms, _) =
            ("00ff10aB".repeat(8).parse().unwrap(), [0x00, 0xff, 0x10, 0xab].repeat(8));
        assert_eq!(written.patient(pe(), "p"), Pseudonyms::new(&key).patient(pe(), "p"));
        for wrong in ["", "00", &"g".repeat(64), &"0".repeat(65), &"é".repeat(32)] {
            assert!(wrong.parse::<Pseudonyms>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_personal_claim_keeps_its_minute_and_hides_its_resource() {
        let names = Pseudonyms::new(b"key");
        let kept = |key: &str, personal| names.claim(pe(), Claim { personal, ..Claim::new(key) }, None).key;
        assert_eq!(kept("doctor/45678/2026-12-01T14:15Z", false), "doctor/45678/2026-12-01T14:15Z");
        let hidden = kept("patient/dni:10117410/2026-12-01T14:15Z", true);
        let (resource, minute) = resource_and_minute(&hidden);
        assert!(resource.starts_with("personal/") && !resource.contains("10117410"), "{resource}");
        assert_eq!(minute, resource_and_minute("a/2026-12-01T14:15Z").1);
        let same = kept("patient/dni:10117410/2027-01-01T00:00Z", true);
        assert_eq!(resource_and_minute(&same).0, resource, "one resource for all its minutes");
    }

    #[test]
    fn a_personal_claim_of_an_owner_differs_from_the_patients_by_its_prefix() {
        let names = Pseudonyms::new(b"key");
        let claim = Claim { personal: true, ..Claim::new("patient/dni:10117410/2026-12-01T14:30Z") };
        let of = |owner| names.claim(pe(), claim.clone(), owner).key;
        assert_eq!(of(Some("ana")), format!("account/{}/{}", names.account(pe(), "ana"), of(None)));
        assert_ne!(of(Some("ana")), of(Some("luis")));
        assert_eq!(personal_key(&of(Some("ana"))), Some(of(None).as_str()));
        assert_eq!(personal_key(&of(None)), Some(of(None).as_str()));
        let open = Claim::new("doctor/45678/2026-12-01T14:15Z");
        assert_eq!(names.claim(pe(), open.clone(), Some("ana")), open);
        for open in [&open.key, "live/account/1", "account/1", "account/1/2", "account/personal/3"] {
            assert_eq!(personal_key(open), None, "{open}");
        }
    }
}
