//! `citas rules keygen`, and signing with its keys. Uses minisign's format, so that `minisign` itself can sign and
//! verify as well.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use citas_core::model::{CountryCode, Manifest};
use minisign::{KeyPair, SecretKeyBox};
use serde_json::json;

use super::{Answer, Outcome, Report};
use crate::files::{self, Access};

/// Maximum size of a key file, in bytes. A key file has about 350.
const MAX_KEY_BYTES: u64 = 64 << 10;

/// Generates a country's key pair. Fails if one of the files exists, because an overwritten key is lost.
pub(super) fn keygen(country: CountryCode, secret: Option<PathBuf>, report: &Report) -> Outcome {
    let secret = secret.unwrap_or_else(|| PathBuf::from(format!("{country}.key")));
    let public = secret.with_extension("pub");
    let keys = KeyPair::generate_unencrypted_keypair()?;
    write_new(&secret, &keys.sk.to_box(None)?.into_string(), Access::Private)?;
    write_new(&public, &keys.pk.to_box()?.into_string(), Access::Shared)?;
    let line = format!("{country} {}", keys.pk.to_base64());
    let words = format!(
        "{} is secret: give it to nobody but what publishes. {} is for everybody.\nthe line for the host's trust file:\n{line}",
        secret.display(),
        public.display()
    );
    report.say(&words, &json!({ "secret": secret, "public": public, "trust": line }));
    Ok(Answer::Done)
}

/// Signs a manifest. Returns the content of `manifest.json.minisig`.
pub(super) fn sign(manifest: &Manifest, key: &Path) -> Result<String, Box<dyn std::error::Error>> {
    let text = files::read_text(key, MAX_KEY_BYTES).map_err(|cause| match cause.kind() {
        ErrorKind::NotFound => {
            format!("there is no key file {}; name one that `citas rules keygen` made", key.display())
        }
        _ => format!("{} cannot be read: {cause}", key.display()),
    })?;
    let secret = SecretKeyBox::from_string(&text).and_then(SecretKeyBox::into_unencrypted_secret_key);
    let secret = secret.map_err(|_| {
        format!(
            "{} is no secret key without a password; `citas rules keygen` makes one, and `minisign -C -W` removes a password",
            key.display()
        )
    })?;
    let what = format!("citas {} {} {}", manifest.country, manifest.version, manifest.digest);
    let signature = minisign::sign(None, &secret, &manifest.bytes()[..], Some(&what), None)?;
    Ok(signature.into_string())
}

fn write_new(path: &Path, text: &str, access: Access) -> Result<(), String> {
    files::create(path, text.as_bytes(), access)
        .map_err(|cause| format!("{} cannot be written: {cause}", path.display()))
}
