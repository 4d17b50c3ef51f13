//! `citas rules impact`: lists the upcoming appointments that would be refused by rules that are not in force yet.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use citas_core::model::{Revision, VERIFY};
use citas_core::ports::{Clock as _, Position, Query};
use citas_core::rules::LoadedRules;
use citas_core::trial::{Replayed, replay};
use clap::Args;
use serde_json::{Value, json};
use uuid::Uuid;

use super::replay::{join_reasons, reasons};
use super::stored::{Stored, Tables};
use super::{Answer, Outcome, Report, Source, load};
use crate::system::SystemClock;

/// Number of appointments in memory at a time, besides the results for those that would not stand.
const PAGE: usize = 200;

/// Maximum number of appointments that are listed as stored differently.
const SHOWN: usize = 5;

#[derive(Args)]
pub struct Options {
    /// Country's folder, or component file, with rules that are not in force yet
    #[arg(value_name = "FOLDER|WASM")]
    rules: PathBuf,
    /// `rules.toml` with the limits of a component file [default: the standard limits]
    #[arg(long, value_name = "FILE")]
    limits: Option<PathBuf>,
    /// Data folder of the host, which may be running
    #[arg(long, env = "CITAS_DATA", default_value = "data", value_name = "DIR")]
    data: PathBuf,
    #[command(flatten)]
    tables: Tables,
    #[command(flatten)]
    pub(super) report: Report,
}

/// Results of a walk over the upcoming appointments.
#[derive(Default)]
struct Impact {
    judged: usize,
    /// Appointments that would not stand: refused, or without an answer.
    fallen: Vec<Value>,
    lines: Vec<String>,
    refused: usize,
    differing: usize,
    shown: Vec<Value>,
}

pub(super) async fn impact(options: &Options) -> Outcome {
    let source = Source { path: options.rules.clone(), cases: None, limits: options.limits.clone() };
    let rules = load(&source.component()?, &source.limits()?)?;
    let ledger = options.tables.or_in(&options.data, rules.country).await?;
    let found = walk(&rules, &ledger).await?;
    let Impact { judged, refused, differing, .. } = found;
    let unanswered = found.fallen.len() - refused;
    let sum = format!(
        "{} {}: {judged} appointments to come, {refused} would be refused, {unanswered} would get no answer, {differing} would be stored otherwise",
        rules.country, rules.id.version,
    );
    let value = json!({
        "country": rules.country, "rules": rules.id, "judged": judged, "refused": refused, "unanswered": unanswered,
        "differing": differing, "appointments": found.fallen, "otherwise": found.shown,
    });
    let more = differing.saturating_sub(SHOWN);
    let more = (more > 0).then(|| format!("differ   {more} more"));
    options.report.say(&found.lines.into_iter().chain(more).chain([sum]).collect::<Vec<_>>().join("\n"), &value);
    Ok(if value["appointments"] == json!([]) { Answer::Done } else { Answer::No })
}

/// Walks over the appointments that start from now on, then over those without a start. Reads each page separately, so
/// that a running host can move its write-ahead log into the file in between.
async fn walk(rules: &LoadedRules, ledger: &Stored) -> Result<Impact, Box<dyn Error>> {
    let to_come = Query { from: Some(SystemClock.now()), limit: PAGE, ..Query::default() };
    let first_without_start = Position { starts_at: None, id: Uuid::nil() };
    let without_start = Query { after: Some(first_without_start), limit: PAGE, ..Query::default() };
    let mut found = Impact::default();
    for mut query in [to_come, without_start] {
        loop {
            let page = ledger.page(&query).await?;
            for latest in page.items.into_iter().filter(|revision| revision.appointment.phase.is_live()) {
                let (revision, replayed) = judge(rules, ledger, latest.into()).await?;
                found.note(rules, &revision, replayed);
            }
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
    }
    Ok(found)
}

/// Judges the decision that set the present slot of an appointment, and the latest one. An action such as a confirmation
/// does not check the date, so the latest alone is not enough. Returns the one with the worse outcome.
async fn judge(
    rules: &LoadedRules,
    ledger: &Stored,
    mut latest: Arc<Revision>,
) -> Result<(Arc<Revision>, Replayed), Box<dyn Error>> {
    let mut before = ledger.before(&latest).await?;
    // The host verifies without the rules.
    while latest.provenance.action == VERIFY
        && let Some(decided) = before
    {
        before = ledger.before(&decided).await?;
        latest = decided;
    }
    let facts = ledger.facts(&latest).await?;
    let judged = (latest.clone(), replay(rules, before.as_deref(), &latest, facts, None));
    let mut setting = latest.clone();
    while let Some(earlier) = before.take_if(|before| before.appointment.slot == latest.appointment.slot) {
        before = ledger.before(&earlier).await?;
        setting = earlier;
    }
    if setting.appointment.revision == latest.appointment.revision {
        return Ok(judged);
    }
    let facts = ledger.facts(&setting).await?;
    let replayed = replay(rules, before.as_deref(), &setting, facts, None);
    Ok(if gravity(&replayed) > gravity(&judged.1) { (setting, replayed) } else { judged })
}

/// Returns a number that is higher for a worse outcome.
fn gravity(replayed: &Replayed) -> u8 {
    match replayed {
        Replayed::Same => 0,
        Replayed::Differs(_) => 1,
        Replayed::Silent(_) => 2,
        Replayed::Refused(_) => 3,
    }
}

impl Impact {
    /// Counts an appointment by the outcome of one of its decisions.
    fn note(&mut self, rules: &LoadedRules, revision: &Revision, replayed: Replayed) {
        self.judged += 1;
        let (id, start) = (revision.appointment.id, start(revision));
        let about = |more: Value| {
            let mut value = json!({
                "id": id, "slot": revision.appointment.slot, "revision": revision.appointment.revision,
                "action": revision.provenance.action,
            });
            value.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
            value
        };
        match replayed {
            Replayed::Same => {}
            Replayed::Refused(violations) => {
                let reasons = reasons(rules, revision, &violations);
                self.refused += 1;
                self.lines.push(format!("refused  {id}  {start}  {}", join_reasons(&reasons)));
                self.fallen.push(about(json!({ "violations": reasons })));
            }
            Replayed::Silent(fault) => {
                let fault = fault.to_string();
                self.lines.push(format!("silent   {id}  {start}  {fault}"));
                self.fallen.push(about(json!({ "fault": fault })));
            }
            Replayed::Differs(differences) => {
                self.differing += 1;
                if self.differing <= SHOWN {
                    let members: Vec<String> = differences.into_iter().map(|difference| difference.path).collect();
                    self.lines.push(format!("differs  {id}  {start}  {}", members.join(", ")));
                    self.shown.push(about(json!({ "members": members })));
                }
            }
        }
    }
}

fn start(revision: &Revision) -> String {
    let slot = revision.appointment.slot.as_ref();
    slot.map_or_else(|| "no date yet".into(), |slot| format!("{} {}", slot.start, slot.zone))
}
