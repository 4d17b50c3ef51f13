//! Messages between the host and the process that judges, over its standard input and output. Each message begins with
//! a frame: the length of a JSON text in four bytes, then the text. Raw bytes follow, as many as the text declares.

use std::io::{self, ErrorKind, Read, Write};

use citas_core::model::Limits;
use citas_core::ports::FailedCall;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Budget, Usage};

/// Maximum length of a JSON text, in bytes.
pub(super) const MAX_TEXT: u32 = 1 << 20;

/// Package to judge. The bytes of the component and the cases follow.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    pub budget: Budget,
    /// True if the code must run on every machine of this kind, not only on this one.
    pub portable: bool,
    /// Digest of the portable component.
    pub digest: String,
    pub limits: Limits,
    pub now: Timestamp,
    /// True if the component is native code already. It is then judged without compiling.
    pub is_native: bool,
    pub component_bytes: u64,
    pub cases_bytes: u64,
}

/// Verdict on a package. The native code follows if the package was accepted and had to be compiled.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Report {
    pub verdict: Result<Accepted, Refused>,
    pub usage: Usage,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Refused {
    pub why: String,
    /// Failed calls of the component; see `Refusal::Reported`.
    pub failed: Vec<FailedCall>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Accepted {
    pub country: String,
    pub version: String,
    pub code_bytes: u64,
    pub code_digest: String,
}

pub(super) fn frame(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let text = serde_json::to_vec(value)?;
    let length = u32::try_from(text.len()).ok().filter(|length| *length <= MAX_TEXT);
    let length = length.ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "the message is too long"))?;
    Ok([&length.to_be_bytes()[..], &text].concat())
}

pub(super) fn read_frame<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > MAX_TEXT {
        return Err(io::Error::new(ErrorKind::InvalidData, "the message is too long"));
    }
    Ok(serde_json::from_slice(&read_bytes(from, u64::from(length))?)?)
}

pub(super) fn read_bytes(from: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if from.take(length).read_to_end(&mut bytes)? as u64 == length {
        Ok(bytes)
    } else {
        Err(ErrorKind::UnexpectedEof.into())
    }
}

pub(super) fn write_all(to: &mut impl Write, parts: &[&[u8]]) -> io::Result<()> {
    parts.iter().try_for_each(|part| to.write_all(part))?;
    to.flush()
}
