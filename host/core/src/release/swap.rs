//! Brings a version into force: have it judged, check that it is what it was promised to be, then one atomic store. Any
//! failure keeps what is in force and says why.

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

/// What was made of a component that was judged before, and what its manifest says.
pub struct NativeCode {
    /// The code.
    pub code: Vec<u8>,
    /// The component's.
    pub digest: String,
    /// The component's.
    pub limits: Limits,
}

/// The place of a version.
#[derive(Clone, Copy)]
pub enum Target<'a> {
    /// In force.
    Use {
        /// Its number, where it was published.
        version: Option<&'a Version>,
        /// Its name for the platform team.
        what: &'a str,
    },
    /// On trial beside the version in force.
    Trial(&'a Candidate),
}

impl<'a> Target<'a> {
    /// In force, as something that was not published.
    #[must_use]
    pub fn named(what: &'a str) -> Self {
        Self::Use { version: None, what }
    }

    fn version(self) -> Option<&'a Version> {
        match self {
            Self::Use { version, .. } => version,
            Self::Trial(terms) => Some(&terms.version),
        }
    }
}

/// Puts what is admitted into force or on trial.
pub struct Swapper {
    admission: Arc<dyn Admission>,
    catalogue: Arc<Catalogue>,
    clock: Arc<dyn Clock>,
}

impl Swapper {
    /// Puts into `catalogue` what `admission` admits.
    pub fn new(admission: Arc<dyn Admission>, catalogue: Arc<Catalogue>, clock: Arc<dyn Clock>) -> Self {
        Self { admission, catalogue, clock }
    }

    /// Returns the engine that runs the rules.
    pub(crate) fn engine(&self) -> &dyn Engine {
        self.admission.engine()
    }

    /// Judges a package and puts it where it is to go.
    ///
    /// # Errors
    /// Why it is not there. A refusal is recorded; that it could not be judged is for the caller to record.
    pub async fn swap(
        &self,
        country: CountryCode,
        target: Target<'_>,
        package: &Arc<RulesPackage>,
    ) -> Result<(), NotAdmitted> {
        match self.admission.admit(package, self.clock.now()).await {
            Ok(rules) => Ok(self.install(country, target, Ok(rules))?),
            Err(NotAdmitted::Refused(refusal)) => Ok(self.install(country, target, Err(refusal))?),
            Err(unjudged) => Err(unjudged),
        }
    }

    /// Puts a package where it is to go without judging it, if it was accepted before; none where it was not.
    pub(crate) async fn swap_accepted(
        &self,
        country: CountryCode,
        target: Target<'_>,
        package: &Arc<RulesPackage>,
    ) -> Option<Result<(), Refusal>> {
        let rules = self.admission.recall(package).await?;
        Some(self.install(country, target, Ok(rules)))
    }

    /// Puts native code where it is to go, whose component was judged before it was compiled.
    ///
    /// # Errors
    /// Why it will not do.
    pub(crate) fn swap_native(
        &self,
        country: CountryCode,
        target: Target<'_>,
        NativeCode { code, digest, limits }: &NativeCode,
    ) -> Result<(), Refusal> {
        self.install(country, target, LoadedRules::native(self.engine(), code, limits, digest.clone()))
    }

    /// Has the trial go on under other terms. Whether there is one.
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

    /// Puts rules where they are to go, if they are the published ones. Records a refusal.
    fn install(
        &self,
        country: CountryCode,
        target: Target<'_>,
        admitted: Result<LoadedRules, Refusal>,
    ) -> Result<(), Refusal> {
        let rules = admitted
            .and_then(|rules| check_identity(&rules, country, target.version()).map(|()| rules))
            .inspect_err(|refusal| self.refuse(country, target, &refusal.to_string()))?;
        match target {
            Target::Use { .. } => self.catalogue.install(rules, self.clock.now()),
            Target::Trial(terms) => {
                self.catalogue.try_out(country, Some(OnTrial::new(Arc::new(rules), terms.clone())));
            }
        }
        Ok(())
    }

    /// Whether a country has rules; of that version, where one is asked for.
    pub(crate) fn is_in_force(&self, country: CountryCode, version: Option<&Version>) -> bool {
        let rules = self.catalogue.rules(country);
        rules.is_some_and(|rules| version.is_none_or(|version| version.to_string() == rules.id.version))
    }

    /// What did not come into force last, and why, unless something did since.
    pub(crate) fn refused(&self, country: CountryCode) -> Option<(String, String)> {
        let refused = self.catalogue.entry(country)?.refused.filter(|refused| !refused.on_trial);
        let RefusedVersion { what, why, .. } = refused?;
        Some((what, why))
    }

    /// Records why something is not where it was to go.
    pub fn refuse(&self, country: CountryCode, target: Target<'_>, why: &str) {
        let (what, on_trial) = match target {
            Target::Use { what, .. } => (what.to_owned(), false),
            Target::Trial(terms) => (format!("the candidate {}", terms.version), true),
        };
        self.catalogue.refuse(country, &RefusedVersion { at: self.clock.now(), what, why: why.to_owned(), on_trial });
    }
}
