//! `citas rules replay`: evaluates a stored decision again with the rules that made it.

use std::error::Error;
use std::path::PathBuf;

use citas_core::model::{Artifact, CountryCode, Limits, Revision, Violation, digest};
use citas_core::ports::Registry;
use citas_core::rules::LoadedRules;
use citas_core::trial::{Difference, Replayed, Shown, planned, replay as judge_again};
use clap::Args;
use serde_json::{Value, json};
use uuid::Uuid;

use super::stored::Tables;
use super::{Answer, InRegistry, Misuse, Outcome, Source, load};
use crate::command::terminal::time;

#[derive(Args)]
pub struct Options {
    /// Country code, for example `pe`
    country: CountryCode,
    /// Id of the appointment
    #[arg(value_name = "APPOINTMENT")]
    id: Uuid,
    /// Revision of the appointment [default: the latest]
    #[arg(long, value_name = "NUMBER")]
    revision: Option<u32>,
    /// Rules that made the decision, if they were never published: a country's folder, or a component file
    #[arg(long, value_name = "FOLDER|WASM")]
    rules: Option<PathBuf>,
    /// `rules.toml` with the limits of a component file [default: the standard limits]
    #[arg(long, requires = "rules", value_name = "FILE")]
    limits: Option<PathBuf>,
    #[command(flatten)]
    tables: Tables,
    #[command(flatten)]
    pub(super) registry: InRegistry,
}

pub(super) async fn replay(options: &Options) -> Outcome {
    let Options { country, id, revision: number, .. } = *options;
    let ledger = options.tables.or_in(&options.registry.folders.data, country).await?;
    let found = match number {
        Some(number) => ledger.revision(id, number).await?,
        None => ledger.appointment(id).await?,
    };
    let revision = found.ok_or_else(|| {
        let what = number.map_or_else(String::new, |number| format!("revision {number} of an "));
        Misuse(format!("{country} has no {what}appointment {id}; the API gives an appointment's `id` and `revision`"))
    })?;
    let (component, limits) = component(options, &revision).await?;
    let rules = load(&component, &limits)?;
    let (before, facts) = (ledger.before(&revision).await?, ledger.facts(&revision).await?);
    let replayed = judge_again(&rules, before.as_deref(), &revision, facts, None);
    let same = replayed == Replayed::Same;
    let (words, value) = (to_text(&rules, &revision, &replayed), report(&rules, &revision, &replayed));
    options.registry.report.say(&words, &value);
    Ok(if same { Answer::Done } else { Answer::No })
}

/// Returns the exact component that decided, and its limits.
async fn component(options: &Options, revision: &Revision) -> Result<(Vec<u8>, Limits), Box<dyn Error>> {
    let decided = &revision.provenance.rules;
    let Some(path) = &options.rules else {
        return published(&*options.registry.open().await?, revision).await;
    };
    let source = Source { path: path.clone(), cases: None, limits: options.limits.clone() };
    let component = source.component()?;
    let found = digest(&component);
    if found == decided.digest {
        return Ok((component, source.limits()?));
    }
    Err(format!(
        "{} is {found}, and what decided is version {} with the digest {}; build the sources as they were then",
        path.display(),
        decided.version,
        decided.digest,
    )
    .into())
}

/// Finds the component in the registry by its digest. Tries the version of that name first: another with the same bytes
/// was published later.
async fn published(registry: &dyn Registry, revision: &Revision) -> Result<(Vec<u8>, Limits), Box<dyn Error>> {
    let (country, decided) = (revision.country, &revision.provenance.rules);
    let mut versions = registry.versions(country).await?;
    versions.sort_by_key(|version| version.to_string() != decided.version);
    for version in versions {
        if registry.manifest(country, &version).await?.digest != decided.digest {
            continue;
        }
        let Artifact { component, manifest, .. } = registry.fetch(country, &version).await?;
        let found = digest(&component);
        if found == decided.digest {
            return Ok((component, manifest.limits));
        }
        return Err(format!(
            "version {version} of {country} in the registry is {found}, and its manifest says {}: somebody altered the \
             file; name the one that was published with --rules",
            decided.digest,
        )
        .into());
    }
    Err(format!(
        "the registry has no version of {country} with the digest {}, which decided as version {}; name the registry \
         that has it with --registry, or, as rules that `citas dev` built are never published, the folder or the \
         component with --rules",
        decided.digest, decided.version,
    )
    .into())
}

/// Describes violations in the country's first language, with personal data redacted.
pub(super) fn reasons(rules: &LoadedRules, revision: &Revision, violations: &[Violation]) -> Vec<Value> {
    redacted(rules, revision).reasons(rules, violations)
}

fn redacted<'a>(rules: &'a LoadedRules, revision: &'a Revision) -> Shown<'a> {
    let decided = &revision.provenance;
    Shown::of(rules, &decided.action, revision.appointment.revision == 1, &decided.input).about(Some(revision))
}

/// Joins the descriptions of violations in one line.
pub(super) fn join_reasons(reasons: &[Value]) -> String {
    let word = |reason: &Value, member: &str| reason[member].as_str().unwrap_or_default().to_owned();
    let reason = |reason: &Value| format!("{}: {}", word(reason, "code"), word(reason, "message"));
    reasons.iter().map(reason).collect::<Vec<_>>().join("; ")
}

/// Describes a difference. Shows values only if they are known to name nobody.
fn difference(rules: &LoadedRules, Difference { path, stored, came }: &Difference) -> Value {
    json!({ "path": path, "stored": planned(rules, path, stored), "came": planned(rules, path, came) })
}

fn report(rules: &LoadedRules, revision: &Revision, replayed: &Replayed) -> Value {
    let decided = &revision.provenance;
    let (differences, violations, fault) = match replayed {
        Replayed::Same => (vec![], vec![], None),
        Replayed::Differs(differences) => {
            (differences.iter().map(|found| difference(rules, found)).collect(), vec![], None)
        }
        Replayed::Refused(violations) => (vec![], reasons(rules, revision, violations), None),
        Replayed::Silent(fault) => (vec![], vec![], Some(fault.to_string())),
    };
    json!({
        "same": *replayed == Replayed::Same, "country": revision.country, "id": revision.appointment.id,
        "revision": revision.appointment.revision, "action": decided.action, "at": revision.updated_at,
        "role": decided.context.caller.role, "rules": decided.rules, "contract": decided.contract, "host": decided.host,
        "input": redacted(rules, revision).input(), "phase": revision.appointment.phase, "slot": revision.appointment.slot,
        "differences": differences, "violations": violations, "fault": fault,
    })
}

fn to_text(rules: &LoadedRules, revision: &Revision, replayed: &Replayed) -> String {
    let (appointment, decided) = (&revision.appointment, &revision.provenance);
    let mut lines = vec![format!(
        "{} {} revision {}: `{}` at {} by the role {}, under {} {}",
        revision.country,
        appointment.id,
        appointment.revision,
        decided.action,
        time(revision.updated_at),
        decided.context.caller.role.as_str(),
        decided.rules.version,
        decided.rules.digest,
    )];
    let members = redacted(rules, revision).input();
    lines.extend(members.iter().map(|(name, value)| format!("    {name}: {value}")));
    lines.push(match replayed {
        Replayed::Same => {
            let slot = appointment.slot.as_ref();
            let slot = slot.map_or_else(String::new, |slot| format!(", {} {}", slot.start, slot.zone));
            format!("the same decision again: {}{slot}", appointment.phase.as_str())
        }
        Replayed::Differs(differences) => format!("another decision: {}", differing(rules, differences)),
        Replayed::Refused(violations) => {
            format!("now refused: {}", join_reasons(&reasons(rules, revision, violations)))
        }
        Replayed::Silent(fault) => format!("no answer: {fault}"),
    });
    lines.join("\n")
}

fn differing(rules: &LoadedRules, differences: &[Difference]) -> String {
    let word = |found: &Difference| {
        let shown = difference(rules, found);
        format!("{} is stored as {} and came as {}", found.path, shown["stored"], shown["came"])
    };
    differences.iter().map(word).collect::<Vec<_>>().join("; ")
}
