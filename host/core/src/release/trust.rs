//! Decides whose signatures are trusted for a country. Signatures are made by minisign (Ed25519 over `BLAKE2b`) over a
//! version's manifest, which contains the digests of the other files. Reads no file: the caller passes the text of the
//! trust file.
//!
//! ```text
//! # countries   public key, as `citas rules keygen` and `minisign -G` print it   remarks that help to find the owner
//! pe            RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3         Lima, rules@salud.example
//! pe,cl         RWS…
//! *             RWT…                                                             the platform team
//! ```

use std::str::FromStr;

use minisign_verify::{Error, PublicKey, Signature};

use crate::model::{Artifact, CountryCode};
use crate::ports::Refusal;

/// Keys that may sign, with the countries of each.
pub struct Trust(Vec<Trusted>);

struct Trusted {
    scope: Scope,
    key: PublicKey,
}

enum Scope {
    Every,
    Countries(Vec<CountryCode>),
}

/// Function that reads the trust file. It is called for every version before it is judged, so that the key of a new
/// team needs no restart.
pub type TrustSource = Box<dyn Fn() -> Result<Trust, String> + Send + Sync>;

/// An invalid line of a trust file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {cause}; a line has countries (`pe`, `pe,cl` or `*`), a space and a minisign public key")]
pub struct NotTrust {
    line: usize,
    cause: String,
}

impl FromStr for Trust {
    type Err = NotTrust;

    fn from_str(text: &str) -> Result<Self, NotTrust> {
        let meant = |line: &str| !line.is_empty() && !line.starts_with('#');
        let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| meant(line));
        let trusted = lines.map(|(at, line)| trusted(line).map_err(|cause| NotTrust { line: at + 1, cause }));
        trusted.collect::<Result<_, _>>().map(Self)
    }
}

fn trusted(line: &str) -> Result<Trusted, String> {
    let mut words = line.split_whitespace();
    let (Some(countries), Some(key)) = (words.next(), words.next()) else {
        return Err("there is no key".into());
    };
    let country = |code: &str| code.parse::<CountryCode>().map_err(|error| error.to_string());
    let scope = match countries {
        "*" => Scope::Every,
        some => Scope::Countries(some.split(',').map(country).collect::<Result<_, _>>()?),
    };
    let key = PublicKey::from_base64(key)
        .map_err(|_| format!("`{key}` is no public key: one has 56 characters and begins with RW"))?;
    Ok(Trusted { scope, key })
}

impl Trust {
    /// Checks that the manifest is signed with a key that is trusted for its country.
    ///
    /// # Errors
    /// Returns the reason of the refusal.
    pub fn check(&self, artifact: &Artifact) -> Result<(), Refusal> {
        let signature = artifact.signature.as_deref().ok_or(Refusal::Unsigned)?;
        let signature = Signature::decode(signature).map_err(|_| Refusal::NotASignature)?;
        let signed = artifact.manifest.bytes();
        let mut refusal = Refusal::UnknownKey;
        for Trusted { scope, key } in &self.0 {
            match (key.verify(&signed, &signature, false), scope) {
                (Ok(()), Scope::Every) => return Ok(()),
                (Ok(()), Scope::Countries(countries)) if countries.contains(&artifact.manifest.country) => {
                    return Ok(());
                }
                (Ok(()), Scope::Countries(countries)) => refusal = Refusal::KeyOfAnother(listed(countries)),
                (Err(Error::UnexpectedKeyId), _) => {}
                (Err(_), _) => refusal = Refusal::Altered,
            }
        }
        Err(refusal)
    }
}

fn listed(countries: &[CountryCode]) -> String {
    countries.iter().map(CountryCode::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    #[test]
    fn a_trust_file_has_comments_and_blank_lines() {
        let text = format!("# who may sign\n\npe,cl {KEY} Lima\n  * {KEY}\n");
        assert_eq!(text.parse::<Trust>().map(|trust| trust.0.len()), Ok(2));
    }

    #[test]
    fn a_line_that_cannot_be_meant_is_named() {
        for (text, said) in [
            ("pe".to_owned(), "line 1: there is no key"),
            (format!("# first\nperu {KEY}"), "line 2"),
            ("pe RWQf6LRCGA9i53".to_owned(), "is no public key"),
        ] {
            let error = text.parse::<Trust>().map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
