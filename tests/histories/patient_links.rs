//! The links of accounts to patients in plain maps.

use async_trait::async_trait;
use citas_core::model::{CountryCode, PatientLink, PatientLinkState};
use citas_core::ports::{
    AccountLinks, PatientLinkChange, PatientLinkError, PatientLinks, RequestPosition, Unavailable,
};
use uuid::Uuid;

use super::maps::MapLedger;

impl MapLedger {
    /// Returns the latest revisions of a country's links that meet a condition.
    fn latest_links(&self, country: CountryCode, meets: impl Fn(&PatientLink) -> bool) -> Vec<PatientLink> {
        let latest =
            |maps: &mut super::maps::Maps| maps.links.values().filter_map(|link| link.last().cloned()).collect();
        let mut links: Vec<PatientLink> = self.maps(country, latest);
        links.retain(meets);
        links
    }
}

#[async_trait]
impl PatientLinks for MapLedger {
    async fn put_patient_link(&self, change: PatientLinkChange) -> Result<(), PatientLinkError> {
        let PatientLinkChange { revision, changes, .. } = change;
        self.maps(revision.country, |maps| {
            let of_account = maps.links.iter().filter(|((_, subject), _)| *subject == revision.subject);
            let made: usize = of_account.map(|(_, link)| link.len()).sum();
            let link = maps.links.entry((revision.person, revision.subject.clone())).or_default();
            if made != changes as usize || link.len() + 1 != revision.revision as usize {
                return Err(PatientLinkError::Stale);
            }
            link.push(revision);
            Ok(())
        })
    }

    async fn account_links(&self, country: CountryCode, subject: &str) -> Result<AccountLinks, Unavailable> {
        let changes = self.maps(country, |maps| {
            let of_account = maps.links.iter().filter(|((_, of), _)| of == subject);
            of_account.map(|(_, link)| link.len()).sum::<usize>()
        });
        let is_live = |link: &PatientLink| link.subject == subject && link.state != PatientLinkState::Ended;
        Ok(AccountLinks { links: self.latest_links(country, is_live), changes: changes.try_into().unwrap() })
    }

    async fn patient_link(
        &self,
        country: CountryCode,
        person: Uuid,
        subject: &str,
    ) -> Result<Option<PatientLink>, Unavailable> {
        Ok(self.latest_links(country, |link| link.person == person && link.subject == subject).pop())
    }

    async fn person_links(
        &self,
        country: CountryCode,
        person: Uuid,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<PatientLink>, Unavailable> {
        let is_after = |link: &PatientLink| after.is_none_or(|after| *link.subject > *after);
        let mut links = self.latest_links(country, |link| link.person == person && is_after(link));
        links.truncate(limit);
        Ok(links)
    }

    async fn patient_link_history(
        &self,
        country: CountryCode,
        person: Uuid,
        subject: &str,
        after: u32,
        limit: usize,
    ) -> Result<Vec<PatientLink>, Unavailable> {
        let stored = self.maps(country, |maps| maps.links.get(&(person, subject.to_owned())).cloned());
        let later = stored.unwrap_or_default().into_iter().filter(|link| link.revision > after);
        Ok(later.take(limit).collect())
    }

    async fn requested_links(
        &self,
        country: CountryCode,
        after: Option<&RequestPosition>,
        limit: usize,
    ) -> Result<Vec<PatientLink>, Unavailable> {
        let is_after = |link: &PatientLink| after.is_none_or(|after| RequestPosition::of(link) > *after);
        let is_requested = |link: &PatientLink| link.state == PatientLinkState::Requested && is_after(link);
        let mut links = self.latest_links(country, is_requested);
        links.sort_by_key(RequestPosition::of);
        links.truncate(limit);
        Ok(links)
    }
}
