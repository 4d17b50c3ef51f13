//! Signs short texts that the host gives to others and gets back from them, such as links in mail. Knows nothing of their
//! content.

use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::pseudonym::{NotAKey, key_bytes};

/// Maximum number of keys: the one that signs, and the one before.
const MAX_KEYS: usize = 2;

/// Length of a signature in bytes: half a digest (RFC 2104, section 5).
const SIGNATURE_BYTES: usize = 16;

/// Error for a text that is not a list of keys.
#[derive(Debug, thiserror::Error)]
pub enum NotAKeyring {
    /// There is no key, or there are too many.
    #[error("expected 1 to {MAX_KEYS} keys, the newest first, separated by white space; found {0}")]
    Number(usize),
    /// One of the keys is malformed.
    #[error(transparent)]
    Key(#[from] NotAKey),
}

/// Secret keys that sign tokens (HMAC with SHA-256). The first key signs and all verify, so that a key can be replaced
/// while its tokens are in use.
#[derive(Clone)]
pub struct Keyring(Vec<Hmac<Sha256>>);

impl FromStr for Keyring {
    type Err = NotAKeyring;

    /// Reads keys of 64 hexadecimal digits, the newest first, with white space between them.
    fn from_str(text: &str) -> Result<Self, NotAKeyring> {
        let keys: Vec<&str> = text.split_whitespace().collect();
        if keys.is_empty() || keys.len() > MAX_KEYS {
            return Err(NotAKeyring::Number(keys.len()));
        }
        let mac = |key: &str| Ok(Hmac::new_from_slice(&key_bytes(key)?).expect("HMAC takes a key of any length"));
        Ok(Self(keys.into_iter().map(mac).collect::<Result<_, NotAKey>>()?))
    }
}

impl Keyring {
    /// Returns a token with `content`, in letters, digits, `-` and `_`. Anyone can read it. A token for one purpose is not
    /// valid for another.
    pub fn sign(&self, purpose: &str, content: &[u8]) -> String {
        let signature = mac(&self.0[0], purpose, content).finalize().into_bytes();
        BASE64_URL_SAFE_NO_PAD.encode([content, &signature[..SIGNATURE_BYTES]].concat())
    }

    /// Returns the content of a token for this purpose, or `None` if none of these keys signed it. Compares signatures in
    /// constant time.
    pub fn verify(&self, purpose: &str, token: &str) -> Option<Vec<u8>> {
        let mut content = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
        let signature = content.split_off(content.len().checked_sub(SIGNATURE_BYTES)?);
        let is_of = |key| mac(key, purpose, &content).verify_truncated_left(&signature).is_ok();
        self.0.iter().any(is_of).then_some(content)
    }
}

fn mac(key: &Hmac<Sha256>, purpose: &str, content: &[u8]) -> Hmac<Sha256> {
    // The length keeps the end of a purpose from being the start of a content.
    key.clone().chain_update(purpose.len().to_be_bytes()).chain_update(purpose).chain_update(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring(keys: &[&str]) -> Keyring {
        keys.iter().map(|key| key.repeat(32)).collect::<Vec<_>>().join("\n").parse().unwrap()
    }

    #[test]
    fn a_token_says_what_was_signed_for_its_purpose() {
        let keys = keyring(&["0a"]);
        for content in [&b""[..], b"pe", &[0xff; 300]] {
            let token = keys.sign("link", content);
            assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{token}");
            assert_eq!(keys.verify("link", &token).as_deref(), Some(content));
            assert_eq!(keys.verify("slot", &token), None);
        }
        let token = keys.sign("link", b"pe");
        assert_eq!(keys.verify("lin", &keys.sign("link", b"")), None);
        assert_eq!(keys.verify("linkp", &token), None);
    }

    #[test]
    fn a_token_with_another_character_is_invalid() {
        let keys = keyring(&["0a"]);
        let token = keys.sign("link", b"pe and more");
        for place in 0..token.len() {
            for other in ["A", "B", "_", "=", ".", ""] {
                let altered = [&token[..place], other, &token[place + 1..]].concat();
                assert!(altered == token || keys.verify("link", &altered).is_none(), "{altered}");
            }
        }
        for other in ["", "A", &token[1..], &format!("{token}A"), &format!("{token}="), &format!("{token} ")] {
            assert_eq!(keys.verify("link", other), None, "{other}");
        }
    }

    #[test]
    fn the_newest_key_signs_and_the_one_before_still_verifies() {
        let [old, both, new] = [keyring(&["0a"]), keyring(&["0b", "0a"]), keyring(&["0b"])];
        let before = old.sign("link", b"pe");
        assert!(both.verify("link", &before).is_some());
        assert_eq!(new.verify("link", &before), None, "its key is gone");
        assert!(new.verify("link", &both.sign("link", b"pe")).is_some());
        assert_eq!(old.verify("link", &both.sign("link", b"pe")), None);
    }

    #[test]
    fn one_or_two_keys_are_read() {
        let key = "0a".repeat(32);
        assert!(format!("{key}\n").parse::<Keyring>().is_ok());
        let [none, three] = [String::new(), format!("{key} {key}\n{key}")];
        for (keys, why) in [(none, "found 0"), (three, "found 3"), (format!("{key} 0a"), "64 hexadecimal")] {
            let refused = keys.parse::<Keyring>().err().unwrap().to_string();
            assert!(refused.contains(why) && !refused.contains("0a0a"), "{refused}");
        }
    }
}
