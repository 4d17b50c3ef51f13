//! The command `citas`, with one file per verb. The exit status is 0 (success), 1 (a negative result or an error) or 2
//! (misuse).

mod completions;
mod dev;
mod examples;
#[cfg(feature = "aws")]
mod ledger;
mod listen;
mod log;
mod rules;
mod serve;
#[cfg(feature = "aws")]
mod sign_in;
mod stop;
mod terminal;
mod token;

use std::error::Error;
use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::{Args as _, Command, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::config::{Folders, HostOptions, refuse_unknown_settings};
use crate::local::smtp::SmtpMailer;
#[cfg(feature = "compiler")]
use crate::wasm::judge::judge_main;

/// Medical appointments in many countries, each under its own rules
#[derive(Parser)]
#[command(name = "citas", version)]
struct Citas {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Build the countries in a folder, serve them, and swap a country when its sources change
    Dev(dev::Options),
    /// Serve the API under published rules
    Serve(serve::Options),
    /// Print an access token of the local issuer
    Token(token::Options),
    /// Build, check, test and publish a country's rules, and put them into force
    #[command(subcommand)]
    Rules(rules::Verb),
    /// Care for the tables of a platform on AWS
    #[cfg(feature = "aws")]
    #[command(subcommand)]
    Ledger(ledger::Verb),
    /// Print a script that completes command lines in a shell
    Completions(completions::Options),
    /// Judge one version of rules for the host that started this process
    #[cfg(feature = "compiler")]
    #[command(name = crate::wasm::judge::VERB, hide = true)]
    Judge,
}

/// Result of a verb: success, or a negative result that it has explained already.
pub(crate) enum Answer {
    Done,
    No,
}

/// Misuse of the command line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Misuse(String);

type Outcome = Result<Answer, Box<dyn Error>>;

/// Maximum time to wait until standard error accepts the last message.
const COMPLAINT_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let Citas { verb } = parsed();
    if let Err(unknown) = refuse_unknown_settings() {
        complain(&format!("citas: {unknown}"));
        return ExitCode::from(2);
    }
    let outcome = match verb {
        Verb::Dev(options) => dev::run(&options),
        Verb::Serve(options) => serve::run(&options),
        Verb::Token(options) => token::run(&options),
        Verb::Rules(verb) => rules::run(verb),
        #[cfg(feature = "aws")]
        Verb::Ledger(verb) => ledger::run(verb),
        Verb::Completions(options) => completions::run(&options),
        #[cfg(feature = "compiler")]
        Verb::Judge => return judge_main(),
    };
    match outcome {
        Ok(Answer::Done) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::from(1),
        Err(error) => {
            complain(&format!("citas: {}", chain(error.as_ref())));
            ExitCode::from(if error.is::<Misuse>() { 2 } else { 1 })
        }
    }
}

/// Parses the command line of this process. Misuse ends it with status 2.
fn parsed() -> Citas {
    Citas::from_arg_matches(&command().get_matches()).unwrap_or_else(|error| error.format(&mut command()).exit())
}

/// Returns the description of the command line, with examples. `--data`, `--registry` and `--json` may stand before a verb
/// too; those before it are hidden from the help of verbs that have no use for them.
fn command() -> Command {
    let command = Citas::command();
    // The options bring a description of their own.
    let about = command.get_about().cloned().unwrap_or_default();
    let anywhere = rules::Report::augment_args(Folders::augment_args(command)).about(about);
    examples::added(anywhere.mut_args(|option| option.global(true).hide(true)))
}

/// Writes a line to standard output. A reader that has closed the pipe, as `head` does, is no error.
fn say(line: impl Display) -> io::Result<()> {
    match writeln!(anstream::stdout(), "{line}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Writes lines to standard output for a server. The server neither ends nor waits if nobody reads them.
fn announce(lines: String) {
    // Without a thread nothing is written, which is no reason to end.
    let _ = thread::Builder::new().spawn(move || {
        if let Err(error) = writeln!(io::stdout(), "{lines}") {
            tracing::warn!(%error, "standard output does not take where this serves");
        }
    });
}

/// Returns the mailer of `--smtp`, if there is one.
fn smtp(options: &HostOptions) -> Result<Option<SmtpMailer>, Misuse> {
    let mailer = options.smtp.as_deref().map(SmtpMailer::new).transpose();
    mailer.map_err(|why| Misuse(format!("--smtp: {why}")))
}

/// Writes a line to standard error. Waits a limited time until it is accepted.
fn complain(line: &str) {
    let line = format!("{line}\n");
    let (written, is_written) = mpsc::channel();
    let _ = thread::Builder::new().spawn(move || {
        // An error here cannot be reported anywhere.
        let _ = io::stderr().write_all(line.as_bytes());
        let _ = written.send(());
    });
    let _ = is_written.recv_timeout(COMPLAINT_TIMEOUT);
}

/// Joins the texts of an error and its causes, without repetitions and without the numbers of the system's errors.
fn chain(error: &dyn Error) -> String {
    without_numbers(joined(error))
}

/// Removes the numbers that the standard library appends to the system's errors, such as ` (os error 2)`.
fn without_numbers(mut text: String) -> String {
    while let Some(start) = text.find(" (os error ") {
        let end = text[start..].find(')').map_or(text.len(), |length| start + length + 1);
        text.replace_range(start..end, "");
    }
    text
}

fn joined(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_system_is_told_without_its_number() {
        let absent = io::Error::from_raw_os_error(2);
        let error: Box<dyn Error> = format!("pe.key cannot be read: {absent}, and so on").into();
        let told = chain(error.as_ref());
        assert_eq!(told, "pe.key cannot be read: No such file or directory, and so on");
    }
}
