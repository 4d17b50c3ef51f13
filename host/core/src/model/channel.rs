//! A country's channel: the version in use, the version before it, the candidate on trial, and the history of changes.

use jiff::Timestamp;
use semver::Version;
use serde::{Deserialize, Serialize};

/// `channel.json`: which version is in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Channel {
    /// The version in use.
    pub current: Version,
    /// The one before it: where a rollback goes.
    pub previous: Option<Version>,
    /// Rises by one with each change.
    pub sequence: u64,
    /// When it last changed.
    pub changed_at: Timestamp,
    /// Whether it stays so until it is released.
    #[serde(default)]
    pub pinned: bool,
    /// The version on trial beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Candidate>,
    /// The latest changes, the last one last. It is in the same file, so that one conditional write makes both true.
    #[serde(default)]
    pub history: Vec<ChannelChange>,
}

/// What one change made of a channel, and whose it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChannelChange {
    /// The channel's sequence after it.
    pub sequence: u64,
    /// What was done.
    pub verb: ChannelVerb,
    /// The version that it was about: the one in use after it, or the one on trial.
    pub version: Version,
    /// The trial that it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<u64>,
    /// When.
    pub at: Timestamp,
    /// Who did it.
    pub by: String,
    /// Why, in their words.
    pub why: String,
}

/// A version on trial beside the one in use: a shadow, whose answers are compared and count for nothing, or a canary too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Candidate {
    /// Which.
    pub version: Version,
    /// The channel's sequence when the trial began, which tells it from every other trial of the country.
    pub trial: u64,
    /// The patients for whom it decides; none for a shadow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
}

/// For how many patients a candidate decides, and when it is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Canary {
    /// Share of the patients, in percent: 1 to 100.
    pub share: u8,
    /// How many more of its decisions, in percent, may be refusals that the version in use would not have made, and as many
    /// may get no answer: 0 to 100.
    pub margin: u8,
}

/// What may be done to a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChannelVerb {
    /// Another version comes into use.
    Promote,
    /// The version before comes into use again.
    Rollback,
    /// The version in use stays so until it is released.
    Pin,
    /// It may be another one again.
    Unpin,
    /// A version is tried beside it, and decides nothing.
    Shadow,
    /// A version is tried beside it, and decides for some patients.
    Canary,
    /// The trial is over.
    Withdraw,
}

impl ChannelVerb {
    /// The command's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::Rollback => "rollback",
            Self::Pin => "pin",
            Self::Unpin => "unpin",
            Self::Shadow => "shadow",
            Self::Canary => "canary",
            Self::Withdraw => "withdraw",
        }
    }
}

/// How many changes a channel remembers. Hosts read the whole file, so it may not grow for ever.
const REMEMBERED_CHANGES: usize = 50;

/// Author, time and reason of a change to a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeNote {
    /// When.
    pub at: Timestamp,
    /// Name of the author.
    pub by: String,
    /// Why, in their words.
    pub why: String,
}

/// The channel's sequence is the largest number that it can be.
#[derive(Debug, thiserror::Error)]
#[error(
    "the channel's sequence is {0} and cannot rise any further, so nothing can be changed; restore a channel.json from before"
)]
pub struct SequenceSpent(u64);

impl Channel {
    /// Returns a country's first channel.
    #[must_use]
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

    /// Puts another version into use, which ends a trial.
    ///
    /// # Errors
    /// When the sequence cannot rise any further.
    pub fn promote(&self, version: Version, note: ChangeNote) -> Result<Self, SequenceSpent> {
        let mut channel = self.next(note.at)?;
        channel.previous = Some(std::mem::replace(&mut channel.current, version.clone()));
        (channel.pinned, channel.candidate) = (false, None);
        channel.record(ChannelVerb::Promote, version, None, note);
        Ok(channel)
    }

    /// Puts the version before into use again, which ends a trial; none where there is no such version. The result has no
    /// version before it: a second rollback would bring back the version that the first one removed.
    ///
    /// # Errors
    /// When the sequence cannot rise any further.
    pub fn rollback(&self, note: ChangeNote) -> Result<Option<Self>, SequenceSpent> {
        let Some(version) = self.previous.clone() else { return Ok(None) };
        let mut channel = self.next(note.at)?;
        (channel.current, channel.previous) = (version.clone(), None);
        (channel.pinned, channel.candidate) = (false, None);
        channel.record(ChannelVerb::Rollback, version, None, note);
        Ok(Some(channel))
    }

    /// Keeps the version in use until it is released.
    ///
    /// # Errors
    /// When the sequence cannot rise any further.
    pub fn pin(&self, note: ChangeNote) -> Result<Self, SequenceSpent> {
        let mut channel = self.next(note.at)?;
        channel.pinned = true;
        channel.record(ChannelVerb::Pin, self.current.clone(), None, note);
        Ok(channel)
    }

    /// Lets the version in use change again.
    ///
    /// # Errors
    /// When the sequence cannot rise any further.
    pub fn unpin(&self, note: ChangeNote) -> Result<Self, SequenceSpent> {
        let mut channel = self.next(note.at)?;
        channel.pinned = false;
        channel.record(ChannelVerb::Unpin, self.current.clone(), None, note);
        Ok(channel)
    }

    /// Puts a version on trial. A change of a trial's terms does not begin another trial.
    ///
    /// # Errors
    /// When the sequence cannot rise any further.
    pub fn try_out(&self, version: Version, canary: Option<Canary>, note: ChangeNote) -> Result<Self, SequenceSpent> {
        let mut channel = self.next(note.at)?;
        let running = self.candidate.as_ref().filter(|candidate| candidate.version == version);
        let trial = running.map_or(channel.sequence, |candidate| candidate.trial);
        channel.candidate = Some(Candidate { version: version.clone(), trial, canary });
        let verb = if canary.is_some() { ChannelVerb::Canary } else { ChannelVerb::Shadow };
        channel.record(verb, version, Some(trial), note);
        Ok(channel)
    }

    /// Ends the trial; none where no version is on trial.
    ///
    /// # Errors
    /// When the sequence cannot rise any further.
    pub fn withdraw(&self, note: ChangeNote) -> Result<Option<Self>, SequenceSpent> {
        let Some(Candidate { version, trial, .. }) = self.candidate.clone() else { return Ok(None) };
        let mut channel = self.next(note.at)?;
        channel.candidate = None;
        channel.record(ChannelVerb::Withdraw, version, Some(trial), note);
        Ok(Some(channel))
    }

    /// The last change of a kind.
    #[must_use]
    pub fn last(&self, of: impl Fn(ChannelVerb) -> bool) -> Option<&ChannelChange> {
        self.history.iter().rev().find(|change| of(change.verb))
    }

    /// The latest trial, whether or not it is over: its number and the version.
    #[must_use]
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
        let back = second().rollback(note()).unwrap().unwrap();
        assert_eq!((back.current.clone(), back.previous.clone(), back.sequence), (version("1.0.0"), None, 3));
        assert_eq!(back.rollback(note()).unwrap(), None);
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
            last.rollback(note()).map(drop),
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
