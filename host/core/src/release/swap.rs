//! Puts a version into force or on trial: asks for its judgement, checks its identity, and replaces the rules in one atomic
//! store. After a failure the rules in force stay, and the reason is recorded.

use std::sync::Arc;

use semver::Version;

use crate::model::{Candidate, CountryCode, Limits, RulesPackage};
use crate::ports::{Clock, Engine, Refusal};
use crate::release::admission::{Admission, NotAdmitted};
use crate::release::catalogue::{Catalogue, RefusedVersion};
use crate::release::routing::OnTrial;
use crate::release::verify::check_identity;
use crate::rules::LoadedRules;

/// Native code of a component that was judged before, with data of its manifest.
pub struct NativeCode {
    /// Compiled code.
    pub code: Vec<u8>,
    /// Digest of the component.
    pub digest: String,
    /// Limits that the component declares.
    pub limits: Limits,
}

/// A place for rules: in force, or on trial.
#[derive(Clone, Copy)]
pub enum Target<'a> {
    /// Puts a published version into force.
    Version(&'a Version),
    /// Puts the last good version into force, which this host kept.
    LastGood(&'a Version),
    /// Puts rules into force that were not published, under this name.
    Unpublished(&'a str),
    /// Puts a candidate on trial beside the version in force.
    Trial(&'a Candidate),
}

impl<'a> Target<'a> {
    fn version(self) -> Option<&'a Version> {
        match self {
            Self::Version(version) | Self::LastGood(version) => Some(version),
            Self::Trial(terms) => Some(&terms.version),
            Self::Unpublished(_) => None,
        }
    }

    fn what(self) -> String {
        match self {
            Self::Version(version) => format!("version {version}"),
            Self::LastGood(version) => format!("the last good version {version}"),
            Self::Unpublished(what) => what.to_owned(),
            Self::Trial(terms) => format!("the candidate {}", terms.version),
        }
    }
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

    /// Judges a package and puts it into its target. The descriptor must name the given country, and the published version
    /// if there is one.
    ///
    /// # Errors
    /// Returns the reason why it is not there. A refusal is recorded here; the caller records that a package could not be
    /// judged.
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

    /// Puts a package into its target without judging it if it was accepted before; returns none if it was not.
    pub(crate) async fn swap_accepted(
        &self,
        country: CountryCode,
        target: Target<'_>,
        package: &Arc<RulesPackage>,
    ) -> Option<Result<(), Refusal>> {
        let rules = self.admission.recall(package).await?;
        Some(self.install(country, target, Ok(rules)))
    }

    /// Puts native code into its target. Its component was judged before it was compiled.
    ///
    /// # Errors
    /// Returns the reason of the refusal.
    pub(crate) fn swap_native(
        &self,
        country: CountryCode,
        target: Target<'_>,
        NativeCode { code, digest, limits }: &NativeCode,
    ) -> Result<(), Refusal> {
        self.install(country, target, LoadedRules::native(self.engine(), code, limits, digest.clone()))
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

    /// Puts rules into their target if their country and version are the published ones. Records a refusal for the
    /// platform team.
    fn install(
        &self,
        country: CountryCode,
        target: Target<'_>,
        admitted: Result<LoadedRules, Refusal>,
    ) -> Result<(), Refusal> {
        let rules = admitted
            .and_then(|rules| check_identity(&rules, country, target.version()).map(|()| rules))
            .inspect_err(|refusal| self.refuse_target(country, target, &refusal.to_string()))?;
        if let Target::Trial(terms) = target {
            self.catalogue.try_out(country, Some(OnTrial::new(Arc::new(rules), terms.clone())));
        } else {
            self.catalogue.install(rules, self.clock.now());
        }
        Ok(())
    }

    /// Returns true if the country has rules in force, of the given version if there is one.
    pub(crate) fn is_in_force(&self, country: CountryCode, version: Option<&Version>) -> bool {
        let rules = self.catalogue.rules(country);
        rules.is_some_and(|rules| version.is_none_or(|version| version.to_string() == rules.id.version))
    }

    /// Returns the last version that did not come into force; none if a later one did.
    pub(crate) fn refused(&self, country: CountryCode) -> Option<RefusedVersion> {
        self.catalogue.entry(country)?.refused.filter(|refused| !refused.on_trial)
    }

    /// Forgets the refusal of a version that is no longer to be in use.
    pub(crate) fn forget_refusal(&self, country: CountryCode) {
        self.catalogue.forget_refusal(country);
    }

    /// Records why something is not in force.
    pub fn refuse(&self, country: CountryCode, what: &str, why: &str) {
        self.refuse_target(country, Target::Unpublished(what), why);
    }

    /// Records why a version is not in its target.
    pub(crate) fn refuse_target(&self, country: CountryCode, target: Target<'_>, why: &str) {
        self.catalogue.refuse(country, &self.refusal(target, why, false));
    }

    /// Records why a version is not in its target yet. The host tries it again.
    pub(crate) fn postpone(&self, country: CountryCode, target: Target<'_>, why: &str) {
        self.catalogue.refuse(country, &self.refusal(target, why, true));
    }

    /// Records an earlier refusal again, with another reason.
    pub(crate) fn refuse_again(&self, country: CountryCode, refused: RefusedVersion, why: String) {
        self.catalogue.refuse(country, &RefusedVersion { why, ..refused });
    }

    fn refusal(&self, target: Target<'_>, why: &str, retried: bool) -> RefusedVersion {
        RefusedVersion {
            what: target.what(),
            version: target.version().cloned(),
            why: why.to_owned(),
            at: self.clock.now(),
            on_trial: matches!(target, Target::Trial(_)),
            retried,
        }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use jiff::Timestamp;

    use super::*;
    use crate::testing::{Deciding, Described, ManualClock};

    /// Admits the component `good` as version 1.0.0 of Peru, has accepted it before, and refuses every other.
    struct Gate;

    fn good() -> LoadedRules {
        LoadedRules::of(Arc::new(Described::default()), "sha256:00".into()).unwrap()
    }

    #[async_trait]
    impl Admission for Gate {
        fn engine(&self) -> &dyn Engine {
            unreachable!("nothing is compiled here")
        }
        async fn recall(&self, package: &Arc<RulesPackage>) -> Option<LoadedRules> {
            (package.component == b"good").then(good)
        }
        async fn admit(&self, package: &Arc<RulesPackage>, _: Timestamp) -> Result<LoadedRules, NotAdmitted> {
            match &package.component[..] {
                b"good" => Ok(good()),
                b"unjudged" => Err(NotAdmitted::Unjudged("the machine is busy".into())),
                _ => Err(Refusal::Precompiled.into()),
            }
        }
    }

    fn pe() -> CountryCode {
        "pe".parse().unwrap()
    }

    fn package(component: &str) -> Arc<RulesPackage> {
        Arc::new(RulesPackage { component: component.into(), limits: Limits::default(), cases: "[]".into() })
    }

    fn swapper() -> (Swapper, Arc<Catalogue>) {
        let catalogue = Arc::new(Catalogue::default());
        (Swapper::new(Arc::new(Gate), catalogue.clone(), Arc::new(ManualClock::default())), catalogue)
    }

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn a_refused_version_leaves_what_is_in_force_and_is_recorded() {
        let (swapper, catalogue) = swapper();
        swapper.swap(pe(), Target::Unpublished("the first"), &package("good")).await.unwrap();
        let refused = swapper.swap(pe(), Target::Unpublished("the second"), &package("bad")).await;
        assert!(matches!(refused, Err(NotAdmitted::Refused(Refusal::Precompiled))));
        let entry = catalogue.entry(pe()).unwrap();
        assert_eq!(entry.rules.unwrap().id.version, "1.0.0");
        let RefusedVersion { what, on_trial, .. } = entry.refused.unwrap();
        assert_eq!((what.as_str(), on_trial), ("the second", false));
    }

    #[tokio::test]
    async fn what_could_not_be_judged_is_left_to_the_caller_to_record() {
        let (swapper, catalogue) = swapper();
        let unjudged = swapper.swap(pe(), Target::Unpublished("it"), &package("unjudged")).await;
        assert!(matches!(unjudged, Err(NotAdmitted::Unjudged(_))));
        assert!(catalogue.entry(pe()).is_none());
    }

    #[tokio::test]
    async fn rules_of_another_version_or_country_are_refused() {
        let (swapper, catalogue) = swapper();
        let (first, second) = (version("1.0.0"), version("2.0.0"));
        let target = Target::Version(&second);
        let refused = swapper.swap(pe(), target, &package("good")).await.unwrap_err().to_string();
        assert!(refused.contains("the version is `1.0.0` where the manifest says `2.0.0`"), "{refused}");
        let cl = "cl".parse().unwrap();
        let refused = swapper.swap(cl, Target::Unpublished("it"), &package("good")).await.unwrap_err().to_string();
        assert!(refused.contains("the country is `pe` where the manifest says `cl`"), "{refused}");
        let target = Target::Version(&first);
        assert!(swapper.swap_accepted(pe(), target, &package("good")).await.unwrap().is_ok());
        assert!(swapper.swap_accepted(pe(), target, &package("bad")).await.is_none());
        assert_eq!(catalogue.rules(pe()).unwrap().id.version, "1.0.0");
    }

    #[tokio::test]
    async fn a_candidate_comes_on_trial_and_nothing_else_changes() {
        let (swapper, catalogue) = swapper();
        catalogue.install(good(), Timestamp::UNIX_EPOCH);
        let terms = Candidate { version: version("1.0.0"), trial: 7, canary: None };
        swapper.swap(pe(), Target::Trial(&terms), &package("good")).await.unwrap();
        let entry = catalogue.entry(pe()).unwrap();
        assert_eq!((entry.candidate.unwrap().terms.trial, entry.swaps), (7, 1));
        let refused = Candidate { version: version("3.0.0"), ..terms };
        swapper.swap(pe(), Target::Trial(&refused), &package("bad")).await.unwrap_err();
        let refused = catalogue.entry(pe()).unwrap().refused.unwrap();
        assert_eq!((refused.what.as_str(), refused.on_trial), ("the candidate 3.0.0", true));
        swapper.end_trial(pe());
        assert!(catalogue.entry(pe()).unwrap().candidate.is_none());
    }

    #[test]
    fn other_terms_go_on_with_the_rules_on_trial() {
        let (swapper, catalogue) = swapper();
        let terms = Candidate { version: version("1.0.0"), trial: 7, canary: None };
        assert!(!swapper.keep_trying(pe(), &terms), "nothing is on trial");
        let (_, rules) = Deciding::new(Err(crate::ports::Fault::Busy)).loaded();
        catalogue.try_out(pe(), Some(OnTrial::new(rules.clone(), terms.clone())));
        let canary = Some(crate::model::Canary { share: 5, margin: 5 });
        assert!(swapper.keep_trying(pe(), &Candidate { canary, ..terms.clone() }));
        let tried = catalogue.entry(pe()).unwrap().candidate.unwrap();
        assert!(Arc::ptr_eq(&tried.rules, &rules) && tried.terms.canary == canary);
        assert!(!swapper.keep_trying(pe(), &Candidate { version: version("1.1.0"), ..terms }));
    }
}
