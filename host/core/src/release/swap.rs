//! Brings a version into force: has it judged, checks its identity, and replaces the rules in one atomic store. After a
//! failure the rules in force stay, and the reason is recorded.

use std::sync::Arc;

use semver::Version;

use crate::model::appointment::CountryCode;
use crate::model::channel::Candidate;
use crate::model::limits::Limits;
use crate::model::manifest::RulesPackage;
use crate::ports::clock::Clock;
use crate::ports::rules::{Engine, Refusal};
use crate::release::admission::{Admission, NotAdmitted};
use crate::release::catalogue::{Catalogue, RefusedVersion};
use crate::release::routing::OnTrial;
use crate::release::verify::check_identity;
use crate::rules::loaded::LoadedRules;

/// Native code of a component that was judged before, with data of its manifest.
pub struct NativeCode {
    /// Compiled code.
    pub code: Vec<u8>,
    /// Digest of the component.
    pub digest: String,
    /// Limits that the component declares.
    pub limits: Limits,
}

/// Puts admitted rules into force or on trial.
pub struct Swapper {
    admission: Arc<dyn Admission>,
    catalogue: Arc<Catalogue>,
    clock: Arc<dyn Clock>,
}

impl Swapper {
    /// Puts rules that `admission` admits into `catalogue`.
    pub fn new(admission: Arc<dyn Admission>, catalogue: Arc<Catalogue>, clock: Arc<dyn Clock>) -> Self {
        Self { admission, catalogue, clock }
    }

    /// Returns the engine that runs the rules.
    pub(crate) fn engine(&self) -> &dyn Engine {
        self.admission.engine()
    }

    /// Puts a package into force if it is admitted. `what` is its name for the platform team. The descriptor must name
    /// the given country, and the given version if there is one.
    ///
    /// # Errors
    /// Returns the reason why it is not in force. A refusal is recorded here; the caller records that a package could
    /// not be judged.
    pub async fn swap(
        &self,
        country: CountryCode,
        version: Option<&str>,
        what: &str,
        package: RulesPackage,
    ) -> Result<(), NotAdmitted> {
        match self.admission.admit(&Arc::new(package), self.clock.now()).await {
            Ok(rules) => Ok(self.install(country, version, what, Ok(rules))?),
            Err(NotAdmitted::Refused(refusal)) => Ok(self.install(country, version, what, Err(refusal))?),
            Err(unjudged) => Err(unjudged),
        }
    }

    /// Puts a package into force without judging it if it was accepted before; returns none if it was not.
    pub(crate) async fn swap_accepted(
        &self,
        country: CountryCode,
        version: &str,
        what: &str,
        package: &Arc<RulesPackage>,
    ) -> Option<Result<(), Refusal>> {
        let rules = self.admission.recall(package).await?;
        Some(self.install(country, Some(version), what, Ok(rules)))
    }

    /// Puts native code into force. Its component was judged before it was compiled.
    ///
    /// # Errors
    /// Returns the reason of the refusal.
    pub fn swap_native(
        &self,
        country: CountryCode,
        version: &str,
        what: &str,
        native: &NativeCode,
    ) -> Result<(), Refusal> {
        self.install(country, Some(version), what, self.native(native))
    }

    /// Puts a package on trial if it is admitted.
    ///
    /// # Errors
    /// Returns the reason why it is not on trial. A refusal is recorded here; the caller records that a package could
    /// not be judged.
    pub async fn try_out(
        &self,
        country: CountryCode,
        terms: &Candidate,
        package: Arc<RulesPackage>,
    ) -> Result<(), NotAdmitted> {
        match self.admission.admit(&package, self.clock.now()).await {
            Ok(rules) => Ok(self.put_on_trial(country, terms, Ok(rules))?),
            Err(NotAdmitted::Refused(refusal)) => Ok(self.put_on_trial(country, terms, Err(refusal))?),
            Err(unjudged) => Err(unjudged),
        }
    }

    /// Puts a package on trial without judging it if it was accepted before; returns none if it was not.
    pub(crate) async fn try_out_accepted(
        &self,
        country: CountryCode,
        terms: &Candidate,
        package: &Arc<RulesPackage>,
    ) -> Option<Result<(), Refusal>> {
        let rules = self.admission.recall(package).await?;
        Some(self.put_on_trial(country, terms, Ok(rules)))
    }

    /// Puts native code on trial. Its component was judged before it was compiled.
    ///
    /// # Errors
    /// Returns the reason of the refusal.
    pub fn try_out_native(&self, country: CountryCode, terms: &Candidate, native: &NativeCode) -> Result<(), Refusal> {
        self.put_on_trial(country, terms, self.native(native))
    }

    /// Continues the trial of a version under new terms. Returns false if this version is not on trial.
    pub(crate) fn keep_trying(&self, country: CountryCode, terms: &Candidate) -> bool {
        let tried = self.catalogue.entry(country).and_then(|entry| entry.candidate);
        let Some(tried) = tried.filter(|tried| tried.terms.version == terms.version) else { return false };
        self.catalogue.try_out(country, Some(OnTrial::new(tried.rules.clone(), terms.clone())));
        true
    }

    /// Ends the trial, if there is one.
    pub(crate) fn end_trial(&self, country: CountryCode) {
        self.catalogue.try_out(country, None);
    }

    fn put_on_trial(
        &self,
        country: CountryCode,
        terms: &Candidate,
        admitted: Result<LoadedRules, Refusal>,
    ) -> Result<(), Refusal> {
        let version = &terms.version;
        let rules = admitted
            .and_then(|rules| check_identity(&rules, country, Some(&version.to_string())).map(|()| rules))
            .inspect_err(|refusal| self.refuse_candidate(country, version, &refusal.to_string()))?;
        self.catalogue.try_out(country, Some(OnTrial::new(Arc::new(rules), terms.clone())));
        Ok(())
    }

    fn native(&self, NativeCode { code, digest, limits }: &NativeCode) -> Result<LoadedRules, Refusal> {
        LoadedRules::native(self.engine(), code, limits, digest.clone())
    }

    /// Puts rules into force if their country and version are the published ones. Records a refusal for the platform
    /// team.
    fn install(
        &self,
        country: CountryCode,
        version: Option<&str>,
        what: &str,
        admitted: Result<LoadedRules, Refusal>,
    ) -> Result<(), Refusal> {
        let rules = admitted
            .and_then(|rules| check_identity(&rules, country, version).map(|()| rules))
            .inspect_err(|refusal| self.refuse(country, what, &refusal.to_string()))?;
        self.catalogue.install(rules, self.clock.now());
        Ok(())
    }

    /// Returns true if the country has rules in force, of the given version if there is one.
    pub(crate) fn is_in_force(&self, country: CountryCode, version: Option<&Version>) -> bool {
        let rules = self.catalogue.rules(country);
        rules.is_some_and(|rules| version.is_none_or(|version| version.to_string() == rules.id.version))
    }

    /// Returns the last version that did not come into force, and the reason; none if a later one did.
    pub(crate) fn refused(&self, country: CountryCode) -> Option<(String, String)> {
        let refused = self.catalogue.entry(country)?.refused.filter(|refused| !refused.on_trial);
        let RefusedVersion { what, why, .. } = refused?;
        Some((what, why))
    }

    /// Records that a version did not come into force.
    pub fn refuse(&self, country: CountryCode, what: &str, why: &str) {
        self.note(country, what.to_owned(), why, false);
    }

    /// Records that a version did not come on trial.
    pub(crate) fn refuse_candidate(&self, country: CountryCode, version: &Version, why: &str) {
        self.note(country, format!("the candidate {version}"), why, true);
    }

    fn note(&self, country: CountryCode, what: String, why: &str, on_trial: bool) {
        let refused = RefusedVersion { at: self.clock.now(), what, why: why.to_owned(), on_trial };
        self.catalogue.refuse(country, &refused);
    }
}
