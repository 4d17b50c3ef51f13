//! Links in mail: reads the appointment of a link and does its action. The holder of the mail acts in the role of a patient,
//! for this action alone.

use std::sync::Arc;

use serde_json::json;

use crate::booking::decide::{Decider, RuleRequest};
use crate::booking::{Booking, BookingError, MAX_ATTEMPTS};
use crate::model::{CalendarTexts, Link, ReadOperation, Revision, Standing};
use crate::people::Access;
use crate::release::InForce;
use crate::rules::{LoadedRules, Rejection};
use crate::trial::Routed;

/// Content of a link's page.
pub struct LinkView {
    /// The appointment as it is now.
    pub revision: Arc<Revision>,
    /// The country's words for it.
    pub texts: CalendarTexts,
    /// Rules in use.
    pub rules: Arc<LoadedRules>,
    /// State of the link.
    pub outcome: LinkOutcome,
}

/// State of a link, or the outcome of following it.
pub enum LinkOutcome {
    /// The action can be done.
    Open,
    /// The action was done now.
    Acted,
    /// The action had been done before.
    Done,
    /// The appointment is no longer what the mail shows.
    Changed,
    /// The rules refuse the action.
    Refused(Rejection),
    /// The appointment's state does not allow the action, or what it needs is taken.
    NotNow(Option<Rejection>),
    /// The rules in force do not let patients do the action.
    Impossible,
}

/// Error for a link that cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The link has expired.
    #[error("the link has expired")]
    Expired,
    /// There is no such appointment, or the ledger or the rules do not answer.
    #[error(transparent)]
    Booking(#[from] BookingError),
}

impl Booking {
    /// Returns the appointment of a link and the link's state. Changes nothing.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub async fn show_link(&self, link: &Link, request_id: &str) -> Result<LinkView, LinkError> {
        let (rules, current) = self.linked(link).await?;
        let outcome = match closed(link, &current) {
            Some(outcome) => outcome,
            None => self.preview(link, &rules, &current).await?,
        };
        Ok(self.link_view(rules, current, outcome, request_id).await?)
    }

    /// Does the action of a link, unless it was done before or the appointment has changed since the mail.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub async fn follow_link(&self, link: &Link, request_id: &str) -> Result<LinkView, LinkError> {
        let mut seen = 0;
        for _ in 0..MAX_ATTEMPTS {
            let (rules, current) = self.linked(link).await?;
            seen = current.appointment.revision;
            if let Some(outcome) = closed(link, &current) {
                return Ok(self.link_view(rules, current, outcome, request_id).await?);
            }
            let request = self.link_request(link, &current, request_id);
            match self.decide_and_store(&rules, Arc::clone(&request), None, Some(&current)).await {
                Ok(view) => return Ok(self.link_view(rules, view.revision, LinkOutcome::Acted, request_id).await?),
                Err(BookingError::Stale { .. }) => {}
                Err(error) => return Ok(self.link_view(rules, current, refused(error)?, request_id).await?),
            }
        }
        Err(BookingError::Stale { current: seen }.into())
    }

    /// Returns the rules and the appointment of a link that has not expired.
    async fn linked(&self, link: &Link) -> Result<(InForce, Arc<Revision>), LinkError> {
        let entry = self.decider.catalogue.entry(link.country).ok_or(BookingError::UnknownCountry(link.country))?;
        if self.clock.now() >= link.expires_at {
            return Err(LinkError::Expired);
        }
        let rules = entry.in_force().ok_or(BookingError::RulesUnavailable(None))?;
        let found =
            self.decider.ledger.appointment(link.country, link.appointment).await.map_err(BookingError::from)?;
        Ok((rules, found.ok_or(BookingError::UnknownAppointment)?))
    }

    /// Returns whether the rules in use would allow the action. Assumes so for a patient of the canary, whose decisions are
    /// counted.
    async fn preview(&self, link: &Link, rules: &InForce, current: &Arc<Revision>) -> Result<LinkOutcome, LinkError> {
        if rules.canary_of(&current.appointment.patient).is_some() {
            return Ok(LinkOutcome::Open);
        }
        let decider = Decider { trying: None, ..self.decider.clone() };
        let request = self.link_request(link, current, "");
        match decider.decide(rules, &request, Some(current)).await {
            Ok(_) => Ok(LinkOutcome::Open),
            Err(error) => refused(error),
        }
    }

    fn link_request(&self, link: &Link, current: &Revision, request_id: &str) -> Arc<RuleRequest> {
        Arc::new(RuleRequest {
            access: Access::of_link(current, &self.decider.names, request_id),
            action: link.action.clone(),
            input: json!({}),
            if_match: None,
            hold: None,
            now: self.clock.now(),
        })
    }

    /// Adds the country's words, and records the reading. Ignores errors of the rules: the page works without their words, and
    /// the action may be done already.
    async fn link_view(
        &self,
        rules: InForce,
        revision: Arc<Revision>,
        outcome: LinkOutcome,
        request_id: &str,
    ) -> Result<LinkView, BookingError> {
        let shown = revision.clone();
        let call = move |rules: &LoadedRules| rules.calendar_texts(&shown.appointment);
        let routed = Routed::new(&rules, &revision.appointment.patient, call);
        let texts = match self.decider.catalogue.executor().run(rules.used.country, move || routed.call()).await {
            Ok(answer) => answer.settle(&rules, self.decider.trying.as_ref()).await,
            Err(fault) => Err(fault),
        };
        let access = Access::of_link(&revision, &self.decider.names, request_id);
        self.log_shown(&access, ReadOperation::Link, revision.country, [&*revision]).await?;
        Ok(LinkView { revision, texts: texts.unwrap_or_default(), rules: rules.used, outcome })
    }
}

/// Returns the outcome of a link that has nothing left to do.
fn closed(link: &Link, current: &Revision) -> Option<LinkOutcome> {
    match link.standing(&current.appointment) {
        Standing::Open => None,
        Standing::Done => Some(LinkOutcome::Done),
        Standing::Changed => Some(LinkOutcome::Changed),
    }
}

/// Returns the outcome of a link whose action was refused.
fn refused(error: BookingError) -> Result<LinkOutcome, LinkError> {
    match error {
        BookingError::Violations(rejection) => Ok(LinkOutcome::Refused(rejection)),
        BookingError::NotAllowedNow(rejection) => Ok(LinkOutcome::NotNow(Some(rejection))),
        BookingError::SlotTaken { rejection, .. } => Ok(LinkOutcome::NotNow(rejection)),
        BookingError::UnknownAction(_) | BookingError::Forbidden(_) => Ok(LinkOutcome::Impossible),
        error => Err(error.into()),
    }
}
