//! Emergencies. Emergency care depends on neither identity nor coverage (DS 027-2015-SA), so an emergency lifts most rules;
//! therefore only staff record one.

use citas_kit::fields::Fields;
use citas_kit::{Context, Violation};

/// True if staff records an emergency.
pub fn is_recorded(context: &Context, request: Fields) -> bool {
    request.flag("/emergency") && context.caller.is_staff()
}

/// Returns a violation if somebody else than staff declares an emergency.
pub fn violation(context: &Context, request: Fields) -> Option<Violation> {
    let declared = request.flag("/emergency") && !context.caller.is_staff();
    declared.then(|| Violation::new("/emergency", "pe.emergency.staff-only"))
}
