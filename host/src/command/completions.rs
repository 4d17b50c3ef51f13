//! `citas completions`: prints a script that completes command lines in a shell.

use clap::{Args, Command};
use clap_complete::{Shell, generate};

use super::{Answer, Outcome, command, say};

#[derive(Args)]
pub struct Options {
    /// Shell that reads the script
    shell: Shell,
}

pub fn run(options: &Options) -> Outcome {
    let all = command();
    let verbs = all.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned();
    let mut visible = Command::new("citas").args(all.get_arguments().cloned()).subcommands(verbs);
    let mut script = Vec::new();
    generate(options.shell, &mut visible, "citas", &mut script);
    say(String::from_utf8(script)?.trim_end())?;
    Ok(Answer::Done)
}
