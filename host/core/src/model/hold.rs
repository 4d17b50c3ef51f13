//! Holds: slots that are kept for an account for some minutes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::claim::HeldClaim;
use super::slot_token::SlotToken;

/// A slot that is kept for one account until an instant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// Id of the hold.
    pub id: Uuid,
    /// Subject of the token that made the hold.
    pub owner: String,
    /// The slot, as its token has it.
    pub slot: SlotToken,
    /// Start of the slot.
    pub starts_at: Timestamp,
    /// Time when the hold was made.
    pub made_at: Timestamp,
    /// Time from which the claims of the hold are free.
    pub expires_at: Timestamp,
    /// Places that the hold has until then.
    pub claims: Vec<HeldClaim>,
}

impl Hold {
    /// True if the hold has its places at this time.
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }
}
