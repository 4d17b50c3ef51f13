//! Makes secret keys.

use citas_core::model::KEY_DIGITS;
use p256::elliptic_curve::rand_core::{OsRng, RngCore as _};

/// Returns a new key: a line of hexadecimal digits.
pub(super) fn new_key() -> String {
    let mut key = [0; KEY_DIGITS / 2];
    OsRng.fill_bytes(&mut key);
    let digits = key.iter().fold(String::new(), |digits, byte| digits + &format!("{byte:02x}"));
    format!("{digits}\n")
}
