//! Sends the notices of each event once. The rules choose recipients and texts, and the mailer delivers them. Knows
//! nothing of queues or SMTP.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::model::{CalendarTexts, Event, EventData, Revision};
use crate::notify::links::{LinkedNotice, Links, fill_links};
use crate::notify::message::{self, Sender};
use crate::ports::{Clock, Fault, Ledger, Mail, MailError, Mailer, Unavailable};
use crate::release::Catalogue;
use crate::rules::LoadedRules;
use crate::trial::{Routed, TrialRecorder};

/// Errors after which notices of an event are still to be sent.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// The country has no rules in force.
    #[error("no rules are in force")]
    NoRules,
    /// The ledger does not have the revision of the event.
    #[error("there is no revision {0}")]
    NoRevision(u32),
    /// The rules gave no result.
    #[error("the rules gave no notices: {0}")]
    Fault(#[from] Fault),
    /// The mail cannot be sent now.
    #[error(transparent)]
    Mail(MailError),
    /// The ledger does not answer.
    #[error(transparent)]
    Ledger(#[from] Unavailable),
}

type Composed = Result<Mail, MailError>;

/// Sends the notices of events.
pub struct Notifier {
    catalogue: Arc<Catalogue>,
    ledger: Arc<dyn Ledger>,
    mailer: Arc<dyn Mailer>,
    sender: Sender,
    links: Option<Links>,
    clock: Arc<dyn Clock>,
    trying: Option<TrialRecorder>,
    /// Notices that are sent but not recorded in the ledger yet. If recording fails, a retry sends nothing twice.
    sent: Mutex<HashSet<(Uuid, usize)>>,
}

impl Notifier {
    /// Creates a notifier over these adapters whose mail comes from `sender`.
    pub fn new(
        catalogue: Arc<Catalogue>,
        ledger: Arc<dyn Ledger>,
        mailer: Arc<dyn Mailer>,
        sender: Sender,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { catalogue, ledger, mailer, sender, links: None, clock, trying: None, sent: Mutex::default() }
    }

    /// Makes links in mail. `None` puts words in their place.
    #[must_use]
    pub fn linking(self, links: Option<Links>) -> Self {
        Self { links, ..self }
    }

    /// Records the faults of canaries.
    #[must_use]
    pub fn trying(self, trying: TrialRecorder) -> Self {
        Self { trying: Some(trying), ..self }
    }

    /// Sends an event's notices, unless they were sent before. A crash between sending and recording repeats them, each
    /// with the same Message-ID.
    ///
    /// # Errors
    /// Returns an error if some notices may not have been sent. The caller must pass the event again.
    pub async fn notify(&self, event: &Event) -> Result<(), NotifyError> {
        if self.ledger.notified(event.country, event.id).await? {
            return Ok(());
        }
        let EventData { revision, .. } = event.data;
        let found = self.ledger.revision(event.country, event.subject, revision).await?;
        let revision = Arc::new(found.ok_or(NotifyError::NoRevision(revision))?);
        let (notices, texts) = self.notices(event, &revision).await?;
        if notices.is_empty() {
            return Ok(());
        }
        for (index, notice) in notices.iter().enumerate() {
            let mail = message::compose(event, &revision, notice, index, &self.sender, &texts);
            self.send_once(event, mail, index, notices.len()).await?;
        }
        self.mark(event, event.id).await?;
        self.sent().retain(|(id, _)| *id != event.id);
        Ok(())
    }

    /// Sends the `index`th of `count` notices, unless it was sent before. Each of several notices is recorded by
    /// itself: a process that stops between two of them, or cannot send the second, does not repeat the first.
    async fn send_once(&self, event: &Event, mail: Composed, index: usize, count: usize) -> Result<(), NotifyError> {
        let (one_of_several, id) = (count > 1, notice_id(event.id, index));
        if self.sent().contains(&(event.id, index)) || one_of_several && self.ledger.notified(event.country, id).await?
        {
            return Ok(());
        }
        self.send(event, mail).await?;
        self.sent().insert((event.id, index));
        if one_of_several { self.mark(event, id).await } else { Ok(()) }
    }

    async fn mark(&self, event: &Event, id: Uuid) -> Result<(), NotifyError> {
        Ok(self.ledger.mark_notified(event.country, id, self.clock.now()).await?)
    }

    /// Calls the patient's version for an event's notices and makes their links. If one of them has an invitation, also
    /// calls it for the calendar's texts.
    async fn notices(
        &self,
        event: &Event,
        revision: &Arc<Revision>,
    ) -> Result<(Vec<LinkedNotice>, CalendarTexts), NotifyError> {
        let rules = self.catalogue.entry(event.country).and_then(|entry| entry.in_force());
        let rules = rules.ok_or(NotifyError::NoRules)?;
        let (name, told, links) = (event.name().to_owned(), revision.clone(), self.links.clone());
        let call = move |rules: &LoadedRules| {
            let notices = rules.notices(&name, &told.appointment)?;
            let invites = notices.iter().any(|notice| notice.invite);
            let texts = invites.then(|| rules.calendar_texts(&told.appointment)).transpose()?;
            let notices = notices.into_iter().map(|notice| fill_links(links.as_ref(), rules, &told, notice));
            Ok((notices.collect(), texts.unwrap_or_default()))
        };
        let routed = Routed::new(&rules, &revision.appointment.patient, call);
        let answer = self.catalogue.executor().run_eventually(event.country, move || routed.call()).await;
        Ok(answer.settle(&rules, self.trying.as_ref()).await?)
    }

    fn sent(&self) -> MutexGuard<'_, HashSet<(Uuid, usize)>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends one notice. A mail that is refused for good counts as done: another attempt would not help.
    async fn send(&self, event: &Event, mail: Composed) -> Result<(), NotifyError> {
        let sent = match mail {
            Ok(mail) => self.mailer.send(&mail).await,
            Err(error) => Err(error),
        };
        let outcome = match &sent {
            Ok(()) => "sent",
            Err(MailError::Refused(_)) => "refused",
            Err(MailError::Unavailable(_)) => "unavailable",
        };
        metrics::counter!("citas_mails_total", "country" => event.country.to_string(), "outcome" => outcome)
            .increment(1);
        match sent {
            Ok(()) => Ok(()),
            Err(MailError::Refused(why)) => {
                tracing::warn!(country = %event.country, event = %event.id, why, "a mail is refused for good");
                Ok(())
            }
            Err(error) => Err(NotifyError::Mail(error)),
        }
    }
}

/// Returns the id under which the ledger records one of an event's notices. An event's id is random in its last 62
/// bits, so no other event has the ids next to it.
fn notice_id(event: Uuid, index: usize) -> Uuid {
    Uuid::from_u128(event.as_u128() ^ (index as u128 + 1))
}
