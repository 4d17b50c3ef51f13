//! Examples in the help of each verb. A test parses every one of them.

use clap::Command;

/// Examples of a verb.
type Examples = (&'static str, &'static [&'static str]);

/// Examples by the names of the verb, from the outermost on.
const EXAMPLES: &[Examples] = &[
    (
        "citas",
        &[
            "citas dev",
            "citas serve --data /var/lib/citas --listen 0.0.0.0:8080 --issuer https://id.example.com",
            "citas rules status --data /var/lib/citas",
            "citas --data /var/lib/citas rules rollback pe --why 'the holiday was another day'",
        ],
    ),
    ("citas dev", &["citas dev", "citas dev --port 0 --countries ../countries"]),
    (
        "citas serve",
        &[
            "citas serve --data /var/lib/citas --issuer https://id.example.com --smtp smtp://localhost:25",
            "citas serve --data /var/lib/citas --issuer https://id.example.com --identity 'pe=dni:{/doc};acr>=2'",
            "citas serve --data /var/lib/citas --admin-listen 127.0.0.1:9090 --trust /etc/citas/trust",
        ],
    ),
    (
        "citas token",
        &[
            "citas token --data /var/lib/citas --subject luis",
            "citas token --subject ana --identity pe=dni:10117410",
            "citas token --group pe:staff",
            "citas token --group platform --scope rules/read",
        ],
    ),
    (
        "citas completions",
        &["citas completions bash > ~/.local/share/bash-completion/completions/citas", "citas completions zsh"],
    ),
    #[cfg(feature = "aws")]
    ("citas ledger", &["citas ledger migrate pe --tables citas-"]),
    #[cfg(feature = "aws")]
    ("citas ledger migrate", &["citas ledger migrate pe --tables citas-"]),
    (
        "citas rules",
        &[
            "citas rules new bo --zone America/La_Paz",
            "citas rules test countries/bo",
            "citas rules publish countries/bo --key bo.key",
            "citas rules promote bo 1.0.0 --why 'the first' --wait 30s",
            "citas rules status",
        ],
    ),
    ("citas rules new", &["citas rules new bo --zone America/La_Paz", "citas rules new bo --lang js"]),
    ("citas rules build", &["citas rules build countries/pe --output pe.wasm"]),
    (
        "citas rules check",
        &["citas rules check countries/pe", "citas rules check pe.wasm --cases countries/pe/cases --json"],
    ),
    ("citas rules test", &["citas rules test countries/pe", "citas rules test countries/pe --only holiday"]),
    ("citas rules bench", &["citas rules bench countries/pe"]),
    ("citas rules impact", &["citas rules impact countries/pe --data /var/lib/citas"]),
    (
        "citas rules replay",
        &["citas rules replay pe 01935f00-5a5b-7c6d-8e9f-0123456789ab --revision 1 --data /var/lib/citas"],
    ),
    (
        "citas rules publish",
        &[
            "citas rules publish countries/pe --key pe.key --data /var/lib/citas",
            "citas rules publish pe.wasm --cases countries/pe/cases --source 3ced7ee",
        ],
    ),
    ("citas rules keygen", &["citas rules keygen pe --output /etc/citas/pe.key"]),
    (
        "citas rules verify",
        &["citas rules verify pe 1.0.1 --trust /etc/citas/trust", "citas rules verify pe --data /var/lib/citas"],
    ),
    (
        "citas rules promote",
        &[
            "citas rules promote pe 1.0.1 --why 'a holiday was decreed' --wait 30s",
            "citas rules promote pe 1.0.1 --why 'a holiday was decreed' --trust /etc/citas/trust",
        ],
    ),
    (
        "citas rules rollback",
        &[
            "citas rules rollback pe --dry-run",
            "citas rules rollback pe --why 'it was another day'",
            "citas rules rollback pe --to 1.0.3 --why 'it was another day' --wait 30s",
        ],
    ),
    (
        "citas rules pin",
        &["citas rules pin pe --why 'election day'", "citas rules pin pe --release --why 'it is over'"],
    ),
    ("citas rules shadow", &["citas rules shadow pe 1.1.0 --why 'shorter visits'"]),
    ("citas rules canary", &["citas rules canary pe 1.1.0 --share 5 --why 'shorter visits'"]),
    ("citas rules withdraw", &["citas rules withdraw pe --why 'it refuses too much'"]),
    ("citas rules diff", &["citas rules diff pe", "citas rules diff pe --trial 7 --json"]),
    ("citas rules history", &["citas rules history pe --limit 5"]),
    ("citas rules versions", &["citas rules versions pe", "citas rules versions pe --registry /srv/registry --json"]),
    ("citas rules status", &["citas rules status", "citas rules status pe --json"]),
];

/// Adds the examples to the help of a command and of its verbs.
pub fn added(command: Command) -> Command {
    let name = command.get_name().to_owned();
    added_at(command, &name)
}

fn added_at(mut command: Command, path: &str) -> Command {
    let verbs: Vec<String> = command.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    for verb in verbs {
        let path = format!("{path} {verb}");
        command = command.mut_subcommand(verb, |verb| added_at(verb, &path));
    }
    match EXAMPLES.iter().find(|(of, _)| *of == path) {
        Some((_, examples)) => command.after_help(format!("Examples:\n  {}", examples.join("\n  "))),
        None => command,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::command;

    #[test]
    fn every_verb_has_examples_and_each_of_them_parses() {
        let mut named = 0;
        verbs(&command(), "citas", &mut |path| {
            let examples = EXAMPLES.iter().find(|(of, _)| *of == path);
            let (_, examples) = examples.unwrap_or_else(|| panic!("`{path}` has no example"));
            named += 1;
            for example in *examples {
                let line = example.split_once(" > ").map_or(*example, |(line, _)| line);
                let parsed = command().try_get_matches_from(shlex::split(line).unwrap());
                assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
            }
        });
        assert_eq!(named, EXAMPLES.len(), "an example names a verb that there is not");
    }

    fn verbs(command: &Command, path: &str, seen: &mut impl FnMut(&str)) {
        seen(path);
        for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help") {
            verbs(verb, &format!("{path} {}", verb.get_name()), seen);
        }
    }

    #[test]
    fn options_of_folders_may_stand_before_the_verb() {
        for line in ["citas --data d rules status", "citas rules --data d status", "citas rules status --data d"] {
            let matches = command().get_matches_from(line.split(' '));
            let status = matches.subcommand_matches("rules").unwrap().subcommand_matches("status").unwrap();
            assert_eq!(status.get_one::<std::path::PathBuf>("data").unwrap().to_str(), Some("d"), "{line}");
        }
        let both = command().get_matches_from("citas --data outer rules status --data inner".split(' '));
        let status = both.subcommand_matches("rules").unwrap().subcommand_matches("status").unwrap();
        assert_eq!(status.get_one::<std::path::PathBuf>("data").unwrap().to_str(), Some("inner"));
    }

    #[test]
    fn the_help_begins_with_what_the_program_is() {
        let help = command().render_help().to_string();
        assert!(help.starts_with("Medical appointments in many countries"), "{help}");
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }
}
