//! Admits callers to countries: finds the rules in force, the caller's role and the patients for whom the caller acts. Only
//! the rules know which patient an identity means.

use std::sync::Arc;

use futures::try_join;
use quick_cache::sync::Cache;

use crate::model::{
    Caller, CountryCode, Forbidden, MAX_KEY_BYTES, Party, Pseudonyms, Relation, Role, Scope, Tie, Today,
};
use crate::people::Access;
use crate::ports::{AccountLinks, Clock, Fault, PatientLinks, ReadLog, Unavailable};
use crate::release::{Catalogue, InForce};

/// Maximum number of identities whose keys are remembered. A key and its text have at most [`MAX_KEY_BYTES`] each.
const MAX_IDENTITIES: usize = 10_000;

/// Age in years from which nobody is a child, for rules that set none.
const ADULT_AGE: u8 = 18;

/// Reasons for which a caller is not admitted to a country.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The host knows no such country.
    #[error("there is no country `{0}` here")]
    UnknownCountry(CountryCode),
    /// The token is valid but does not permit the request.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The country's rules gave no result.
    #[error("the rules gave no answer")]
    RulesUnavailable(#[source] Option<Fault>),
    /// The ledger does not answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<Fault> for AccessError {
    fn from(fault: Fault) -> Self {
        Self::RulesUnavailable(Some(fault))
    }
}

/// Admits callers to countries, and keeps the links of accounts to patients.
pub struct AccessControl {
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) ledger: Arc<dyn PatientLinks>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) names: Pseudonyms,
    /// Log of readings; none if they are not recorded.
    pub(crate) read_log: Option<Arc<dyn ReadLog>>,
    identities: KnownIdentities,
}

/// Keys of verified identities by the rules' serial number and the text; `None` for a text without a key.
type KnownIdentities = Cache<(u64, String), Option<String>>;

impl AccessControl {
    pub(crate) fn new(
        catalogue: Arc<Catalogue>,
        ledger: Arc<dyn PatientLinks>,
        clock: Arc<dyn Clock>,
        names: Pseudonyms,
    ) -> Self {
        Self { catalogue, ledger, clock, names, read_log: None, identities: Cache::new(MAX_IDENTITIES) }
    }

    /// Returns the rules of the country and the caller's access there, if the token has the scope. The access has no ties,
    /// so this is for what depends on no patient.
    pub(crate) fn admit(
        &self,
        caller: &Caller,
        country: CountryCode,
        scope: Scope,
    ) -> Result<(InForce, Access), AccessError> {
        let entry = self.catalogue.entry(country).ok_or(AccessError::UnknownCountry(country))?;
        let access = Access::of_token(caller, country, &self.names)?;
        caller.needs(scope)?;
        Ok((entry.in_force().ok_or(AccessError::RulesUnavailable(None))?, access))
    }

    /// Returns the rules of the country and the caller's access there, if the token has the scope. Only patients have ties.
    pub(crate) async fn enter(
        &self,
        caller: &Caller,
        country: CountryCode,
        scope: Scope,
    ) -> Result<(InForce, Access), AccessError> {
        let (rules, mut access) = self.admit(caller, country, scope)?;
        if access.role == Role::Patient {
            let links = async { Ok(self.ledger.account_links(country, &caller.subject).await?) };
            let (identity, AccountLinks { links, .. }) = try_join!(self.identity(&rules, caller), links)?;
            let (own, today) = (|patient| Tie { patient, relation: Relation::Oneself }, self.today(&rules));
            access.ties =
                identity.map(own).into_iter().chain(links.iter().filter_map(|link| link.tie(today))).collect();
        }
        Ok((rules, access))
    }

    /// Returns the patient whom the issuer of the token has verified the caller to be; `None` if the rules know no such key.
    pub(super) async fn identity(&self, rules: &InForce, caller: &Caller) -> Result<Option<String>, AccessError> {
        let identity = caller.identities.get(&rules.used.country).filter(|text| text.len() <= MAX_KEY_BYTES);
        let Some(identity) = identity else { return Ok(None) };
        let (known, rules) = ((rules.used.serial, identity.clone()), Arc::clone(&rules.used));
        if let Some(key) = self.identities.get(&known) {
            return Ok(key);
        }
        let (country, spelling) = (rules.country, known.1.clone());
        let key = self.catalogue.executor().run(country, move || rules.key(Party::Patient, &spelling)).await??;
        if key.is_none() {
            tracing::debug!(%country, "a token's identity is no patient's key");
        }
        self.identities.insert(known, key.clone());
        Ok(key)
    }

    /// Returns the day in the country, and its age of majority.
    pub(super) fn today(&self, rules: &InForce) -> Today {
        let date = rules.used.zones()[0].civil(self.clock.now()).date();
        Today { date, adult_age: rules.used.descriptor.adult_age.unwrap_or(ADULT_AGE) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use jiff::Timestamp;

    use super::*;
    use crate::model::{
        Appointment, Context, Descriptor, Field, LinkedPatient, PatientLink, PatientLinkState, Verdict,
    };
    use crate::ports::{PatientLinkChange, Rules};
    use crate::rules::LoadedRules;
    use crate::testing::{Described, ManualClock, MemoryLinks};

    /// Rules that have keys of numbers only, and fail on an empty text.
    #[derive(Default)]
    struct Numbers {
        calls: AtomicUsize,
    }

    impl Rules for Numbers {
        fn contract(&self) -> &'static str {
            "2.0.0"
        }
        fn describe(&self) -> Result<Descriptor, Fault> {
            Described::default().describe()
        }
        fn book(&self, context: &Context, request: &[Field]) -> Result<Verdict, Fault> {
            Described::default().book(context, request)
        }
        fn act(&self, context: &Context, current: &Appointment, name: &str, input: &[Field]) -> Result<Verdict, Fault> {
            Described::default().act(context, current, name, input)
        }
        fn present(&self, role: Role, appointments: &[&Appointment]) -> Result<Vec<Vec<Field>>, Fault> {
            Described::default().present(role, appointments)
        }
        fn key(&self, of: Party, spelling: &str) -> Result<Option<String>, Fault> {
            assert_eq!(of, Party::Patient);
            self.calls.fetch_add(1, Ordering::Relaxed);
            if spelling.is_empty() {
                return Err(Fault::Busy);
            }
            Ok(spelling.parse::<u32>().ok().map(|number| format!("dni:{number}")))
        }
    }

    fn pe() -> CountryCode {
        "pe".parse().unwrap()
    }

    fn ana(identity: &str, groups: &[&str]) -> Caller {
        Caller {
            subject: "ana".into(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            scopes: [Scope::Read.as_str().to_owned()].into(),
            identities: [(pe(), identity.to_owned())].into(),
            request_id: "r-1".into(),
        }
    }

    fn control() -> (AccessControl, Arc<Numbers>) {
        let (catalogue, rules) = (Arc::new(Catalogue::default()), Arc::new(Numbers::default()));
        install(&catalogue, &rules);
        let (links, clock) = (Arc::new(MemoryLinks::default()), Arc::new(ManualClock::default()));
        (AccessControl::new(catalogue, links, clock, Pseudonyms::new(b"key")), rules)
    }

    fn install(catalogue: &Catalogue, rules: &Arc<Numbers>) {
        catalogue.install(LoadedRules::of(rules.clone(), "sha256:00".into()).unwrap(), Timestamp::UNIX_EPOCH);
    }

    async fn ties(control: &AccessControl, caller: &Caller) -> Vec<Tie> {
        control.enter(caller, pe(), Scope::Read).await.unwrap().1.ties
    }

    #[tokio::test]
    async fn whom_the_issuer_has_verified_is_the_patient_that_the_rules_have_a_key_for() {
        let (control, _) = control();
        let own = Tie { patient: "dni:7".into(), relation: Relation::Oneself };
        assert_eq!(ties(&control, &ana("007", &[])).await, [own]);
        assert_eq!(ties(&control, &ana("seven", &[])).await, [], "the rules have no key for it");
        let abroad = Caller { identities: [("cl".parse().unwrap(), "7".to_owned())].into(), ..ana("7", &[]) };
        assert_eq!(ties(&control, &abroad).await, [], "it is of another country");
        assert_eq!(ties(&control, &ana("7", &["pe:staff"])).await, [], "staff see patients by their role");
    }

    /// Stores a link of Ana's account to this patient for these days.
    async fn link(control: &AccessControl, patient: &str, state: PatientLinkState, from: &str, until: &str) {
        let changes = control.ledger.account_links(pe(), "ana").await.unwrap().changes;
        let revision = PatientLink {
            country: pe(),
            person: control.names.patient(pe(), patient),
            subject: "ana".into(),
            revision: 1,
            state,
            relation: Relation::Carer,
            from: from.parse().ok(),
            until: until.parse().ok(),
            updated_at: control.clock.now(),
            by: "eva".into(),
            role: Role::Staff,
            request_id: "r-1".into(),
            personal: Some(LinkedPatient { patient: patient.into(), reason: "seen".into(), birth_date: None }),
        };
        control.ledger.put_patient_link(PatientLinkChange { revision, before: None, changes }).await.unwrap();
    }

    #[tokio::test]
    async fn links_that_are_valid_today_are_ties_beside_the_identity_of_the_token() {
        let (control, _) = control();
        // It is the 24th of November in Lima.
        link(&control, "dni:1", PatientLinkState::Active, "2026-11-24", "2026-11-24").await;
        link(&control, "dni:2", PatientLinkState::Active, "2026-11-25", "2026-12-24").await;
        link(&control, "dni:3", PatientLinkState::Active, "2026-11-01", "2026-11-23").await;
        link(&control, "dni:4", PatientLinkState::Requested, "2026-11-24", "2026-11-24").await;
        let tie = |patient: &str, relation| Tie { patient: patient.into(), relation };
        let expected = [tie("dni:7", Relation::Oneself), tie("dni:1", Relation::Carer)];
        assert_eq!(ties(&control, &ana("7", &[])).await, expected);
        let luis = Caller { subject: "luis".into(), identities: [].into(), ..ana("", &[]) };
        assert_eq!(ties(&control, &luis).await, []);
        assert_eq!(control.admit(&ana("7", &[]), pe(), Scope::Read).unwrap().1.ties, []);
    }

    #[tokio::test]
    async fn the_key_of_an_identity_is_asked_of_each_version_of_the_rules_once() {
        let (control, rules) = control();
        for version in 1..=2 {
            install(&control.catalogue, &rules);
            for _ in 0..3 {
                assert_eq!(ties(&control, &ana("7", &[])).await.len(), 1);
            }
            assert_eq!(rules.calls.load(Ordering::Relaxed), version);
        }
        let long = "7".repeat(MAX_KEY_BYTES + 1);
        assert_eq!(ties(&control, &ana(&long, &[])).await, []);
        assert_eq!(rules.calls.load(Ordering::Relaxed), 2, "no key is so long");
    }

    #[tokio::test]
    async fn without_an_answer_of_the_rules_nobody_enters_and_the_next_request_asks_again() {
        let (control, rules) = control();
        for calls in [1, 2] {
            let refused = control.enter(&ana("", &[]), pe(), Scope::Read).await.err().unwrap();
            assert!(matches!(refused, AccessError::RulesUnavailable(Some(Fault::Busy))), "{refused}");
            assert_eq!(rules.calls.load(Ordering::Relaxed), calls);
        }
    }
}
