//! Limits on the number of live appointments of a patient and of an account, as claims with places. So they hold for
//! concurrent bookings too.
//!
//! Only a new booking is limited. Later changes take the same claims without a limit, because they add no appointment.
//! An appointment that earlier rules booked counts from its first change on.

use crate::fields::{Fields, set};
use crate::{Caller, Claim, Field, Role};

/// Prefix of the claims that count a patient's live appointments.
pub const PATIENT: &str = "live/patient/";

/// Prefix of the claims that count an account's live appointments.
pub const ACCOUNT: &str = "live/account/";

/// Path of the attribute that names the account that booked. No schema describes it, so it is personal, and
/// [`present`](crate::AppointmentRules::present) leaves it out.
const BOOKED_BY: &str = "/account";

/// Maximum number of live appointments at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// Appointments of a patient, by any account.
    pub patient: u16,
    /// Appointments that an account booked, for any patient.
    pub account: u16,
}

impl Quotas {
    /// Limits of staff, which no caller reaches.
    pub const NONE: Self = Self { patient: 1000, account: 1000 };

    /// Returns the limits for a caller. Staff have none.
    #[must_use]
    pub fn of(self, caller: &Caller) -> Self {
        if caller.is_staff() { Self::NONE } else { self }
    }

    /// Returns the claims that count an appointment for its patient, if known, and for the account, if one booked it.
    pub fn claims(self, patient: Option<&str>, account: Option<&str>) -> impl Iterator<Item = Claim> {
        let counted = |of, who: &str, places| Claim::new([of, who].concat()).with_places(places);
        let patient = patient.map(|patient| counted(PATIENT, patient, self.patient).personal());
        let account = account.map(|account| counted(ACCOUNT, account, self.account));
        patient.into_iter().chain(account)
    }
}

impl Caller {
    /// True for staff of the country and of the platform.
    #[must_use]
    pub const fn is_staff(&self) -> bool {
        matches!(self.role, Role::Staff | Role::Platform)
    }

    /// Returns the account that a booking of this caller counts for, or `None` for staff.
    #[must_use]
    pub fn counted(&self) -> Option<&str> {
        (self.role == Role::Patient && !self.account.is_empty()).then_some(&self.account)
    }
}

/// Adds the account that booked a new appointment to its attributes.
pub fn sign(attributes: &mut Vec<Field>, caller: &Caller) {
    if let Some(account) = caller.counted() {
        set(attributes, Field::text(BOOKED_BY, account));
    }
}

/// Returns the account that booked the appointment, or `None` if staff booked it or it is erased.
#[must_use]
pub fn booked_by(attributes: Fields<'_>) -> Option<&str> {
    attributes.text(BOOKED_BY)
}

/// Returns the attributes that clients may see: all but the account.
#[must_use]
pub fn unsigned(mut attributes: Vec<Field>) -> Vec<Field> {
    attributes.retain(|field| field.path != BOOKED_BY);
    attributes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::caller;

    const QUOTAS: Quotas = Quotas { patient: 3, account: 10 };

    #[test]
    fn a_patient_s_booking_counts_for_the_patient_and_the_account() {
        let patient = caller(Role::Patient, "a1");
        let claims: Vec<_> = QUOTAS.of(&patient).claims(Some("id:7"), patient.counted()).collect();
        let counted =
            [Claim::new("live/patient/id:7").with_places(3).personal(), Claim::new("live/account/a1").with_places(10)];
        assert_eq!(claims, counted);
    }

    #[test]
    fn staff_books_beyond_the_limits_and_for_no_account() {
        for role in [Role::Staff, Role::Platform] {
            let staff = caller(role, "a1");
            let claims: Vec<_> = QUOTAS.of(&staff).claims(Some("id:7"), staff.counted()).collect();
            assert_eq!(claims, [Claim::new("live/patient/id:7").with_places(1000).personal()]);
        }
    }

    #[test]
    fn an_unknown_patient_or_account_has_no_quota() {
        assert_eq!(QUOTAS.claims(None, None).count(), 0);
        assert_eq!(caller(Role::Patient, "").counted(), None);
    }

    #[test]
    fn the_account_is_kept_but_not_shown() {
        let mut attributes = vec![Field::text("/date", "2026-12-01")];
        sign(&mut attributes, &caller(Role::Staff, "s1"));
        assert_eq!(booked_by(Fields::new(&attributes)), None);
        sign(&mut attributes, &caller(Role::Patient, "a1"));
        assert_eq!(booked_by(Fields::new(&attributes)), Some("a1"));
        assert_eq!(unsigned(attributes), [Field::text("/date", "2026-12-01")]);
    }
}
