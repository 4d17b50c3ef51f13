"""The recipes of the justfile, with `sam` and `cargo` replaced by programs that record their arguments."""

import json
import os
import subprocess
import sys

import pytest

from tools import ROOT, commands, tools

# A trust file's lines, with everything that a shell would act upon.
KEYS = "pe RWQabc;* RWTdef  the team; touch INJECTED"
VALUES = {
    "spaces": "a  b c",
    "semicolon": "a; touch INJECTED",
    "star": "* RWT? [a-z]*",
    "quotes": """it's "so" 'or' so""",
    "dollar": "$HOME $(touch INJECTED) `touch INJECTED` ${PATH}",
    "newlines": "pe RWQabc\n* RWTdef\n",
    "equals": "a=b c=d OnCall=x",
    "nothing": "",
}

# Records the arguments of a call. A call of `precompile` takes the next answer, and the last one again and again.
RECORDER = """
import json, os, sys
from pathlib import Path
folder = Path(os.environ["RECORDS"])
name, arguments = Path(sys.argv[1]).name, sys.argv[2:]
with (folder / "calls").open("a") as calls:
    calls.write(json.dumps([name, *arguments]) + "\\n")
status = json.loads(os.environ.get("STATUS", "{}"))
if arguments[:2] == ["remote", "invoke"]:
    event = json.loads(arguments[arguments.index("--event") + 1])
    answers = folder / "answers"
    response = {"StatusCode": 200}
    if event.get("verb") == "list":
        first, *rest = json.loads(answers.read_text())
        if rest:
            answers.write_text(json.dumps(rest))
        response |= first
    print(json.dumps(response))
sys.exit(status.get(arguments[0], 0))
"""


class Recipes:
    def __init__(self, folder):
        self.folder = folder
        (folder / "recorder.py").write_text(RECORDER)
        record = f'exec {sys.executable} {folder}/recorder.py "$0" "$@"'
        self.commands = commands(folder / "commands", sam=record, cargo=record)
        self.lists([])

    def lists(self, *answers):
        """Sets the answers of `precompile` to successive questions for the versions: a list, or a whole response."""
        responses = [answer if isinstance(answer, dict) else {"Payload": json.dumps(answer)} for answer in answers]
        (self.folder / "answers").write_text(json.dumps(responses))

    def run(self, *arguments, **status):
        """Runs a recipe. `status` has the exit status of `sam`, by its first argument."""
        environment = os.environ | {
            "PATH": f"{self.commands}:{os.environ['PATH']}",
            "RECORDS": str(self.folder),
            "STATUS": json.dumps(status),
        }
        command = [tools() / "bin/just", "--justfile", ROOT / "justfile", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)

    def calls(self, name="sam", first=None):
        text = (self.folder / "calls").read_text() if (self.folder / "calls").exists() else ""
        calls = [json.loads(line) for line in text.splitlines()]
        return [rest for called, *rest in calls if called == name and first in [None, rest[0]]]

    def events(self):
        """Returns the events with which `precompile` was invoked, and whether the caller waited."""
        return [
            (json.loads(call[call.index("--event") + 1]), "InvocationType=Event" not in call)
            for call in self.calls(first="remote")
        ]


@pytest.fixture
def recipes(tmp_path):
    yield Recipes(tmp_path)
    assert not list(ROOT.glob("INJECTED*")), "a parameter was run as a command"


def version(state, country="pe", number="1.0.0", in_use=True, **more):
    return {"country": country, "version": number, "in_use": in_use, "state": state, **more}


def overrides(recipes):
    """Returns the parameters as the real sam reads them."""
    [call] = recipes.calls(first="deploy")
    given = call[call.index("--parameter-overrides") + 1 :]
    read = (
        "import json, sys; from samcli.cli.types import CfnParameterOverridesType as Type;"
        "print(json.dumps(Type().convert(tuple(json.load(sys.stdin)), None, None)))"
    )
    done = subprocess.run(
        [tools() / "bin/python", "-c", read], input=json.dumps(given), capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("value", [KEYS, *VALUES.values()], ids=["keys", *VALUES])
def test_a_parameter_arrives_whole(recipes, value):
    done = recipes.run("deploy", "citas@example.com", f"TrustedKeys={value}", "OnCall=ana@example.com")
    assert done.returncode == 0, done.stderr
    assert overrides(recipes) == {
        "MailFrom": "citas@example.com",
        "TrustedKeys": value,
        "OnCall": "ana@example.com",
    }


@pytest.mark.parametrize("value", [KEYS, *VALUES.values()], ids=["keys", *VALUES])
def test_a_countrys_parameter_arrives_whole(recipes, value):
    assert recipes.run("deploy-country", "pe", f"StreamArn={value}").returncode == 0
    assert overrides(recipes) == {"Country": "pe", "StreamArn": value}
    [call] = recipes.calls(first="deploy")
    assert call[call.index("--stack-name") + 1] == "citas-pe"


@pytest.mark.parametrize("parameter", ["TrustedKeys", "--no-execute-changeset", "A B=c", "Keys=a\\b"])
def test_what_is_no_parameter_is_refused(recipes, parameter):
    done = recipes.run("deploy", "citas@example.com", parameter)
    assert done.returncode != 0 and "error: " in done.stderr
    assert recipes.calls(first="deploy") == []


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_what_other_recipes_take_arrives_whole(recipes, value):
    value = value or "-"
    for arguments in [
        ["dev", "--listen", value],
        ["test", value],
        ["cases", value],
        ["release", "pe", "1.0.0", "s3://citas", value],
    ]:
        assert recipes.run(*arguments).returncode == 0
    assert recipes.calls("cargo") == [
        ["run", "--", "dev", "--listen", value],
        ["test", value],
        ["run", "--quiet", "--", "rules", "test", f"countries/{value}"],
        ["run", "--quiet", "--features", "aws", "--", "rules", "publish", "countries/pe", "--registry", "s3://citas"],
        [
            *["run", "--quiet", "--features", "aws", "--", "rules", "promote", "pe", "1.0.0"],
            *["--registry", "s3://citas", "--why", value],
        ],
    ]
    done = recipes.run("ci", value)
    assert done.returncode == 2 and f"`{value}` is no step" in done.stderr


@pytest.mark.parametrize("recipe", [["deploy", "citas@example.com"], ["deploy-country", "pe"]])
def test_a_deployment_is_repeated_without_changes_and_fails_if_sam_does(recipes, recipe):
    assert recipes.run(*recipe).returncode == 0
    [call] = recipes.calls(first="deploy")
    assert "--no-fail-on-empty-changeset" in call
    # What a first deployment made is deleted with its stack. Otherwise the stack could not be deployed again.
    assert call[call.index("--on-failure") + 1] == "DELETE"
    before = recipes.events()
    done = recipes.run(*recipe, deploy=1)
    assert done.returncode != 0 and "the stack is not deployed" in done.stderr
    assert recipes.events() == before, "nothing follows"


def test_a_build_that_fails_deploys_nothing(recipes):
    assert recipes.run("deploy", "citas@example.com", build=1).returncode != 0
    assert recipes.calls(first="deploy") == []


def test_native_code_is_made_version_by_version_and_waited_for(recipes):
    names = ["pe", "cl", "bo"]
    states = ["missing missing missing", "missing compiled missing", "compiled compiled compiled"]
    recipes.lists(*[[version(state, name) for state, name in zip(line.split(), names)] for line in states])
    done = recipes.run("deploy", "citas@example.com")
    assert done.returncode == 0, done.stderr

    def compile(country):
        return {"verb": "compile", "country": country, "version": "1.0.0"}, False

    listed = {"verb": "list"}, True
    # No more than two at once, each once, and Lambda repeats them if they fail.
    expected = [({"verb": "deployed"}, True), listed, compile("pe"), compile("cl"), listed, compile("bo"), listed]
    assert recipes.events() == expected
    assert "pe 1.0.0: compiled" in done.stdout


@pytest.mark.parametrize("state", ["refused", "unreadable"])
def test_a_deployment_fails_if_what_is_in_use_cannot_be_loaded(recipes, state):
    recipes.lists([version(state, why="it has an import"), version("compiled", "cl")])
    done = recipes.run("deploy", "citas@example.com")
    assert done.returncode != 0 and "cannot load what is in use: pe 1.0.0" in done.stderr
    assert "it has an import" in done.stdout


def test_a_version_that_is_not_in_use_may_be_refused(recipes):
    recipes.lists([version("compiled"), version("refused", number="1.1.0", in_use=False, why="it has an import")])
    done = recipes.run("deploy", "citas@example.com")
    assert done.returncode == 0 and "pe 1.1.0: refused: it has an import" in done.stdout


def test_a_function_that_fails_fails_the_deployment(recipes):
    recipes.lists({"FunctionError": "Unhandled", "Payload": '{"errorMessage": "no keys"}'})
    done = recipes.run("deploy", "citas@example.com")
    assert done.returncode != 0 and "the function `precompile` failed" in done.stderr and "no keys" in done.stderr
    done = recipes.run("native-code", remote=1)
    assert done.returncode != 0 and "cannot be invoked" in done.stderr
