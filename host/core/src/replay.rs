//! Judges a stored decision again: what the rules were given lies in each revision's provenance. Stores nothing.

use jiff::Timestamp;

use crate::appointment::{Provenance, Revision};
use crate::loaded::LoadedRules;
use crate::rules::{Context, Fault, Plan, Verdict};

/// What these rules make of what led to `revision`, of which `before` is the one before, in the circumstances of then.
///
/// # Errors
/// When there is no answer.
pub fn again(rules: &LoadedRules, before: Option<&Revision>, revision: &Revision) -> Result<Verdict, Fault> {
    judge(rules, before, revision, &revision.provenance.context)
}

/// The same for rules that need not be those of then: their zones may be others, so the clocks are set anew to that time.
///
/// # Errors
/// When there is no answer.
pub fn under(rules: &LoadedRules, before: Option<&Revision>, revision: &Revision) -> Result<Verdict, Fault> {
    let Context { now, role, .. } = revision.provenance.context;
    let now = Timestamp::from_second(now).map_err(|error| Fault::BadAnswer(error.to_string()))?;
    judge(rules, before, revision, &rules.context(now, role))
}

fn judge(
    rules: &LoadedRules,
    before: Option<&Revision>,
    revision: &Revision,
    context: &Context,
) -> Result<Verdict, Fault> {
    let Provenance { action, input, .. } = &revision.provenance;
    match before {
        None => rules.judge_booking(context, input),
        Some(before) => rules.judge_action(context, &before.appointment, action, input),
    }
}

/// The members in which a plan is another than what is stored. Claims count while the appointment holds them; events are not
/// kept with a revision.
#[must_use]
pub fn differences(plan: &Plan, revision: &Revision) -> Vec<&'static str> {
    let stored = &revision.appointment;
    let claims = !stored.phase.is_live() || plan.claims == revision.claims;
    let same = [
        ("phase", plan.phase == stored.phase),
        ("slot", plan.slot == stored.slot),
        ("claims", claims),
        ("patient", plan.patient == revision.patient),
        ("doctor", plan.doctor == revision.doctor),
        ("hospital", plan.hospital == revision.hospital),
        ("attributes", plan.attributes == stored.attributes),
    ];
    same.into_iter().filter_map(|(member, same)| (!same).then_some(member)).collect()
}
