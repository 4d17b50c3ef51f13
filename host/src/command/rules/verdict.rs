//! Waits until the host on the data folder has taken or refused a change of a channel, and reports its verdict. Learns it
//! from the host's status file.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use citas_core::model::{Channel, CountryCode};
use citas_core::release::RefusedVersion;
use clap::Args;
use jiff::SignedDuration;
use serde_json::json;

use super::{Answer, InRegistry, Outcome};
use crate::command::terminal::{self, BAD, GOOD, OPEN, styled};
use crate::config::RegistryPlace;
use crate::status::{self, CountryStatus, Verdict};
use crate::system::SystemClock;

/// Maximum wait for a verdict at a terminal.
const WAIT: Duration = Duration::from_secs(30);

/// Interval between looks at the status file.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Options of a verb that waits for a host.
#[derive(Args)]
pub struct Waiting {
    /// Maximum time to wait for the verdict of the host on the data folder, for example `30s`; `0s` does not wait
    /// [default: 30s at a terminal, else 0s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    wait: Option<Duration>,
}

/// Place that a change is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    /// The version in use.
    Use,
    /// The version on trial, or the end of the trial.
    Trial,
}

/// A change of a channel, in words.
pub(super) struct Change<'a> {
    pub country: CountryCode,
    /// Channel after the change.
    pub channel: &'a Channel,
    pub aim: Aim,
    pub words: String,
}

/// Answer of the host on a data folder to a change.
enum Heard {
    /// No host runs there.
    NoHost,
    /// A verdict, and the version in force.
    Told(Verdict, Option<String>),
}

/// Parses a time such as `30s` or `2m`.
fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    parsed.ok_or_else(|| "a time is a number with a unit, such as 30s or 2m".to_owned())
}

impl Waiting {
    fn longest(&self) -> Duration {
        self.wait.unwrap_or(if terminal::is_terminal() { WAIT } else { Duration::ZERO })
    }
}

impl Change<'_> {
    /// Reports the change and the host's verdict. The answer is negative if the host refuses the version, or if a verdict
    /// was waited for and did not come.
    pub(super) async fn reported(self, waiting: &Waiting, registry: &InRegistry) -> Outcome {
        let (data, wait) = (&registry.folders.data, waiting.longest());
        let heard = self
            .heard(data, wait)
            .await
            .map_err(|cause| format!("what the host on {} says cannot be read: {cause}", data.display()))?;
        let (verdict, told) = self.words_of(&heard, wait, registry);
        let mut value = json!(self.channel);
        value["verdict"] = verdict.into();
        if let Heard::Told(Verdict::Refused(refused) | Verdict::Waiting(Some(refused)), _) = &heard {
            value["why"] = refused.why.clone().into();
        }
        registry.report.say(&format!("{}\n{told}", self.words), &value);
        let is_bad = match heard {
            Heard::Told(Verdict::Reached, _) => false,
            Heard::Told(Verdict::Refused(_), _) => true,
            Heard::Told(Verdict::Waiting(_), _) => !wait.is_zero(),
            // Whoever asks for a verdict is told that there is none.
            Heard::NoHost => waiting.wait.is_some_and(|wait| !wait.is_zero()) && !is_bucket(registry),
        };
        Ok(if is_bad { Answer::No } else { Answer::Done })
    }

    async fn heard(&self, data: &Path, wait: Duration) -> io::Result<Heard> {
        let deadline = Instant::now() + wait;
        let _progress = (!wait.is_zero()).then(|| terminal::progress("waiting for the verdict of the host"));
        loop {
            let heard = self.look(data)?;
            if !matches!(heard, Heard::Told(Verdict::Waiting(_), _)) || Instant::now() >= deadline {
                return Ok(heard);
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    fn look(&self, data: &Path) -> io::Result<Heard> {
        let Some(host) = status::read(data, &SystemClock)? else { return Ok(Heard::NoHost) };
        let Some(here) = host.get(&self.country) else { return Ok(Heard::Told(Verdict::Waiting(None), None)) };
        let verdict = match self.aim {
            Aim::Use => here.verdict(self.channel),
            Aim::Trial => here.trial_verdict(self.channel),
        };
        Ok(Heard::Told(verdict, in_force(here)))
    }

    /// Returns the verdict as a word and as a sentence.
    fn words_of(&self, heard: &Heard, wait: Duration, registry: &InRegistry) -> (&'static str, String) {
        let (country, data) = (self.country, registry.folders.data.display());
        let wanted = match (self.aim, &self.channel.candidate) {
            (Aim::Use, _) => "in force",
            (Aim::Trial, Some(_)) => "on trial",
            (Aim::Trial, None) => "withdrawn",
        };
        let words = match heard {
            Heard::NoHost if is_bucket(registry) => {
                format!("no host runs on {data}; functions take the change when they next read the bucket")
            }
            Heard::NoHost => format!("no host runs on {data}; a host takes the change when it starts there"),
            Heard::Told(Verdict::Reached, _) => styled(GOOD, wanted),
            Heard::Told(Verdict::Refused(refused), version) => {
                let stays = version.as_ref().map_or_else(String::new, |version| format!("; {version} stays in force"));
                format!("{}: {}{stays}", styled(BAD, "refused"), refused.why)
            }
            Heard::Told(Verdict::Waiting(_), _) if wait.is_zero() => {
                format!("`citas rules status {country}` says when it is {wanted}")
            }
            Heard::Told(Verdict::Waiting(refused), _) => {
                let why = refused.as_ref().map_or_else(
                    || format!("the host on {data} has not taken the change; does it follow this registry?"),
                    |RefusedVersion { why, .. }| format!("{why}; the host tries again"),
                );
                format!("{}: {why}", styled(OPEN, format_args!("not {wanted} within {} s", wait.as_secs())))
            }
        };
        let verdict = match heard {
            Heard::NoHost => "no-host",
            Heard::Told(Verdict::Reached, _) => match wanted {
                "in force" => "in-force",
                "on trial" => "on-trial",
                _ => "withdrawn",
            },
            Heard::Told(Verdict::Refused(_), _) => "refused",
            Heard::Told(Verdict::Waiting(_), _) => "waiting",
        };
        (verdict, words)
    }
}

fn in_force(here: &CountryStatus) -> Option<String> {
    here.in_force.as_ref().map(|rules| rules.id.version.clone())
}

fn is_bucket(registry: &InRegistry) -> bool {
    match registry.folders.registry() {
        RegistryPlace::Folder(_) => false,
        #[cfg(feature = "aws")]
        RegistryPlace::Bucket { .. } => true,
    }
}
