//! A country's channel: the version in use, the version before it, the candidate on trial, and the history of changes.

use jiff::Timestamp;
use schemars::JsonSchema;
use semver::Version;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

/// A country's channel (`channel.json`): the version in use, the version on trial, and the latest changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Channel {
    /// The version in use.
    pub current: Version,
    /// The version that was in use before. A rollback returns to it.
    pub previous: Option<Version>,
    /// Number that rises by one with each change.
    pub sequence: u64,
    /// Time of the latest change.
    pub changed_at: Timestamp,
    /// True if the version in use is pinned: it stays in use until it is released. The commands enforce this, not the
    /// methods of this type.
    #[serde(default)]
    pub pinned: bool,
    /// The version on trial, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Candidate>,
    /// The latest changes, oldest first. They are in the same file, so that one conditional write stores a change and
    /// its record.
    #[serde(default)]
    pub history: Vec<ChannelChange>,
}

/// Record of one change to a channel, with its author.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChannelChange {
    /// Sequence of the channel after the change.
    pub sequence: u64,
    /// Kind of the change.
    pub verb: ChannelVerb,
    /// Version that the change is about: the one in use after it, or the one on trial.
    pub version: Version,
    /// Number of the trial that the change is about, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<u64>,
    /// Time of the change.
    pub at: Timestamp,
    /// Name of the author.
    pub by: String,
    /// Reason, in the author's words.
    pub why: String,
}

/// A version on trial beside the version in use. A shadow's results are compared and have no effect. A canary also
/// decides for some patients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Candidate {
    /// The version on trial.
    pub version: Version,
    /// Number of the trial: the channel's sequence when the trial began. It is unique among the trials of the country.
    pub trial: u64,
    /// Terms under which the candidate decides for patients; `None` for a shadow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
}

/// Share of the patients for whom a candidate decides, and the margin beyond which it is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Canary {
    /// Share of the patients, in percent: 1 to 100.
    pub share: u8,
    /// Maximum share of the candidate's decisions that may be refusals which the version in use would not have made, in
    /// percent: 0 to 100. The same maximum applies separately to its calls without a result.
    pub margin: u8,
}

/// Kinds of change to a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
#[serde(rename_all = "kebab-case")]
pub enum ChannelVerb {
    /// Puts another version into use.
    Promote,
    /// Puts the previous version into use again.
    Rollback,
    /// Keeps the version in use until it is released.
    Pin,
    /// Releases the version in use, so that it can be replaced.
    Unpin,
    /// Puts a version on trial that decides nothing.
    Shadow,
    /// Puts a version on trial that decides for some patients.
    Canary,
    /// Ends the trial.
    Withdraw,
}

impl ChannelVerb {
    /// Returns the name of the verb, as in `channel.json`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Returns true if the verb changes the version in use.
    pub fn puts_into_use(self) -> bool {
        matches!(self, Self::Promote | Self::Rollback)
    }
}

/// Maximum number of changes in a channel's history. Hosts read the whole file, so it must not grow without bound.
const REMEMBERED_CHANGES: usize = 50;

/// Author, time and reason of a change to a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeNote {
    /// Time of the change.
    pub at: Timestamp,
    /// Name of the author.
    pub by: String,
    /// Reason, in the author's words.
    pub why: String,
}

/// Error for a change to a channel whose sequence is the largest possible number.
#[derive(Debug, thiserror::Error)]
#[error(
    "the channel's sequence is {0} and cannot rise any further, so nothing can be changed; restore a channel.json from before"
)]
pub struct SequenceSpent(u64);

impl Channel {
    /// Returns a country's first channel, with a version in use.
    pub fn first(version: Version, note: ChangeNote) -> Self {
        let mut channel = Self {
            current: version.clone(),
            previous: None,
            sequence: 1,
            changed_at: note.at,
            pinned: false,
            candidate: None,
            history: Vec::new(),
        };
        channel.record(ChannelVerb::Promote, version, None, note);
        channel
    }

    /// Returns the channel with another version in use. A promotion ends a trial and a pin.
    ///
    /// # Errors
    /// Returns an error if the sequence cannot rise any further.
    pub fn promote(&self, version: Version, note: ChangeNote) -> Result<Self, SequenceSpent> {
        let mut channel = self.next(note.at)?;
        channel.previous = Some(std::mem::replace(&mut channel.current, version.clone()));
        (channel.pinned, channel.candidate) = (false, None);
        channel.record(ChannelVerb::Promote, version, None, note);
        Ok(channel)
    }

    /// Returns the version that a rollback leads to: the last one before the one in use that was in force, as far as
    /// hosts have told (`was_in_force`), or else the previous one. Returns `None` after a rollback: a second one would
    /// bring back the version that the first one removed.
    pub fn version_before(&self, was_in_force: &[Version]) -> Option<&Version> {
        let previous = self.previous.as_ref()?;
        let used = self.history.iter().rev().filter(|change| change.verb.puts_into_use()).map(|change| &change.version);
        let mut before = std::iter::once(previous).chain(used).filter(|version| **version != self.current);
        if was_in_force.iter().all(|version| *version == self.current) {
            return before.next();
        }
        before.find(|version| was_in_force.contains(version))
    }

    /// Returns the channel with an earlier version in use again. A rollback ends a trial and a pin. Its result has no
    /// previous version.
    ///
    /// # Errors
    /// Returns an error if the sequence cannot rise any further.
    pub fn rollback(&self, version: Version, note: ChangeNote) -> Result<Self, SequenceSpent> {
        let mut channel = self.next(note.at)?;
        (channel.current, channel.previous) = (version.clone(), None);
        (channel.pinned, channel.candidate) = (false, None);
        channel.record(ChannelVerb::Rollback, version, None, note);
        Ok(channel)
    }

    /// Returns the channel with its version in use pinned until it is released.
    ///
    /// # Errors
    /// Returns an error if the sequence cannot rise any further.
    pub fn pin(&self, note: ChangeNote) -> Result<Self, SequenceSpent> {
        let mut channel = self.next(note.at)?;
        channel.pinned = true;
        channel.record(ChannelVerb::Pin, self.current.clone(), None, note);
        Ok(channel)
    }

    /// Returns the channel with its version in use released.
    ///
    /// # Errors
    /// Returns an error if the sequence cannot rise any further.
    pub fn unpin(&self, note: ChangeNote) -> Result<Self, SequenceSpent> {
        let mut channel = self.next(note.at)?;
        channel.pinned = false;
        channel.record(ChannelVerb::Unpin, self.current.clone(), None, note);
        Ok(channel)
    }

    /// Returns the channel with a version on trial. Other terms for the same version continue the same trial.
    ///
    /// # Errors
    /// Returns an error if the sequence cannot rise any further.
    pub fn try_out(&self, version: Version, canary: Option<Canary>, note: ChangeNote) -> Result<Self, SequenceSpent> {
        let mut channel = self.next(note.at)?;
        let running = self.candidate.as_ref().filter(|candidate| candidate.version == version);
        let trial = running.map_or(channel.sequence, |candidate| candidate.trial);
        channel.candidate = Some(Candidate { version: version.clone(), trial, canary });
        let verb = if canary.is_some() { ChannelVerb::Canary } else { ChannelVerb::Shadow };
        channel.record(verb, version, Some(trial), note);
        Ok(channel)
    }

    /// Returns the channel without a trial, or `None` if no version is on trial.
    ///
    /// # Errors
    /// Returns an error if the sequence cannot rise any further.
    pub fn withdraw(&self, note: ChangeNote) -> Result<Option<Self>, SequenceSpent> {
        let Some(Candidate { version, trial, .. }) = self.candidate.clone() else { return Ok(None) };
        let mut channel = self.next(note.at)?;
        channel.candidate = None;
        channel.record(ChannelVerb::Withdraw, version, Some(trial), note);
        Ok(Some(channel))
    }

    /// Returns the latest change of the kinds that `of` selects.
    pub fn last(&self, of: impl Fn(ChannelVerb) -> bool) -> Option<&ChannelChange> {
        self.history.iter().rev().find(|change| of(change.verb))
    }

    /// Returns the number and the version of the latest trial, running or ended.
    pub fn latest_trial(&self) -> Option<(u64, &Version)> {
        self.history.iter().rev().find_map(|change| Some((change.trial?, &change.version)))
    }

    /// Returns a copy with the next sequence.
    fn next(&self, at: Timestamp) -> Result<Self, SequenceSpent> {
        let sequence = self.sequence.checked_add(1).ok_or(SequenceSpent(self.sequence))?;
        Ok(Self { sequence, changed_at: at, ..self.clone() })
    }

    fn record(
        &mut self,
        verb: ChannelVerb,
        version: Version,
        trial: Option<u64>,
        ChangeNote { at, by, why }: ChangeNote,
    ) {
        self.history.push(ChannelChange { sequence: self.sequence, verb, version, trial, at, by, why });
        self.history.drain(..self.history.len().saturating_sub(REMEMBERED_CHANGES));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note() -> ChangeNote {
        ChangeNote { at: Timestamp::UNIX_EPOCH, by: "ana".into(), why: "a test".into() }
    }

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn second() -> Channel {
        Channel::first(version("1.0.0"), note()).promote(version("1.1.0"), note()).unwrap()
    }

    #[test]
    fn a_rollback_goes_back_once() {
        let before = second().version_before(&[]).cloned().unwrap();
        let back = second().rollback(before, note()).unwrap();
        assert_eq!((back.current.clone(), back.previous.clone(), back.sequence), (version("1.0.0"), None, 3));
        assert_eq!(back.version_before(&[version("1.1.0")]), None);
    }

    #[test]
    fn a_rollback_leads_to_the_last_version_that_was_in_force() {
        let third = second().promote(version("1.2.0"), note()).unwrap();
        let before = |was: &[&str]| {
            let was: Vec<Version> = was.iter().map(|text| version(text)).collect();
            third.version_before(&was).map(ToString::to_string)
        };
        assert_eq!(before(&["1.0.0"]).as_deref(), Some("1.0.0"), "1.1.0 was refused, and so is 1.2.0");
        assert_eq!(before(&["1.0.0", "1.2.0"]).as_deref(), Some("1.0.0"), "1.1.0 was refused");
        assert_eq!(before(&["1.0.0", "1.1.0", "1.2.0"]).as_deref(), Some("1.1.0"));
        assert_eq!(before(&[]).as_deref(), Some("1.1.0"), "no host has told");
        assert_eq!(before(&["1.2.0"]).as_deref(), Some("1.1.0"), "the host was not there before");
        assert_eq!(before(&["0.9.0"]), None, "what the history has forgotten is named with --to");
    }

    #[test]
    fn a_pin_keeps_the_trial_and_a_promotion_ends_it() {
        let tried = second().try_out(version("1.2.0"), None, note()).unwrap();
        let pinned = tried.pin(note()).unwrap();
        assert!(pinned.pinned && pinned.candidate == tried.candidate && pinned.previous == tried.previous);
        let released = pinned.unpin(note()).unwrap();
        assert!(!released.pinned && released.candidate == tried.candidate);
        let promoted = pinned.promote(version("1.2.0"), note()).unwrap();
        assert!(!promoted.pinned && promoted.candidate.is_none());
    }

    #[test]
    fn other_terms_do_not_begin_another_trial() {
        let tried = second().try_out(version("1.2.0"), None, note()).unwrap();
        let canary = Some(Canary { share: 5, margin: 5 });
        let canary = tried.try_out(version("1.2.0"), canary, note()).unwrap();
        assert_eq!((tried.candidate.unwrap().trial, canary.candidate.as_ref().unwrap().trial), (3, 3));
        assert_eq!(canary.withdraw(note()).unwrap().unwrap().candidate, None);
    }

    #[test]
    fn the_last_sequence_changes_no_more() {
        let last = Channel { sequence: u64::MAX, ..second().try_out(version("1.2.0"), None, note()).unwrap() };
        let refused = [
            last.promote(version("1.3.0"), note()).map(drop),
            last.rollback(version("1.0.0"), note()).map(drop),
            last.pin(note()).map(drop),
            last.unpin(note()).map(drop),
            last.try_out(version("1.3.0"), None, note()).map(drop),
            last.withdraw(note()).map(drop),
        ];
        for refused in refused {
            let words = refused.unwrap_err().to_string();
            assert!(words.contains("18446744073709551615 and cannot rise any further"), "{words}");
        }
        let before_last = Channel { sequence: u64::MAX - 1, ..last };
        assert_eq!(before_last.pin(note()).unwrap().sequence, u64::MAX);
    }

    #[test]
    fn a_channel_remembers_its_last_changes() {
        let mut channel = Channel::first(version("1.0.0"), note());
        channel.history = vec![channel.history[0].clone(); 10_000];
        assert_eq!(channel.pin(note()).unwrap().history.len(), REMEMBERED_CHANGES);
    }
}
