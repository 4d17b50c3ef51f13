"""Repeats calls that failed in the component: `python replay.py <folder> <contract> <calls> <output>`.

Runs the same sources in this Python, where an exception has a message and a place, without what a component lacks.
Writes one text for each call. Each call has a process of its own, as it has an instance of its own in the host.
"""

import importlib
import inspect
import io
import json
import os
import platform
import resource
import signal
import subprocess
import sys
from pathlib import Path

TIMEOUT = 5  # Seconds for one call.
MEMORY = 1 << 30  # Bytes for one call, many times those of a component.
ENDLESS = f"it does not end within {TIMEOUT} s outside the component either; is there a loop without an end?"

folder, contract, calls, output = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
TOOLS = Path(__file__).parent
CONTRACT = json.loads((TOOLS / "contract.json").read_text(encoding="utf-8"))[contract]
WIT = TOOLS / f"rules-{contract}.wit"


bindings = output.parent / "bindings"
# The tool's own program names the folder in which it was installed first.
tool = [sys.executable, "-c", "import componentize_py; componentize_py.script()", "--wit-path", WIT]
subprocess.run([*tool, "--world", "full-country", "bindings", bindings], check=True, stdout=subprocess.DEVNULL)
sys.path[:0] = [str(folder), str(bindings)]
sys.dont_write_bytecode = True

from citas_contract import Mistake, functions_of, pascal, snake, told  # noqa: E402
from componentize_py_types import Err  # noqa: E402
from wit_world.imports import types  # noqa: E402

CLOCK = "a component has no clock; `context.now` has the time, and `context.clocks` the local times"
FILES = "a component can read files, import modules and ask the system only outside functions, when it is built"
PRINT = "a component prints nothing; raise an exception to see a value here"
CLOCKS = {"time", "time_ns", "sleep", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time"}


def absent(function) -> str | None:
    """Returns why a function of the interpreter fails in a component; None if it works."""
    module, name = getattr(function, "__module__", None), function.__name__
    owner = getattr(function, "__self__", None)
    if module == "time" and name in CLOCKS:
        return CLOCK
    if inspect.isclass(owner) and owner.__module__ == "datetime" and name in ("now", "today", "utcnow"):
        return CLOCK
    if module == "builtins" and name in ("print", "input"):
        return PRINT
    if isinstance(owner, (io.TextIOWrapper, io.BufferedWriter)):
        return PRINT
    if module in ("posix", "io", "_io", "_socket"):
        return FILES
    return None


def watch(_frame, event, function):
    if event == "c_call" and (why := absent(function)):
        raise Mistake(why)


def argument(kind, value, owner):
    """Converts JSON to a value of the bindings. `owner` has the types of the function's interface."""
    made = lambda name: getattr(types, name, None) or getattr(owner, name)
    match kind["kind"]:
        case "record":
            return made(pascal(kind["name"]))(*(argument(of, value[name], owner) for name, of in kind["members"]))
        case "variant":
            inner = argument(dict(kind["cases"])[value["tag"]], value["val"], owner)
            return made(f"{pascal(kind['name'])}_{pascal(value['tag'])}")(inner)
        case "enum":
            return made(pascal(kind["name"]))[snake(value).upper()]
        case "list":
            return [argument(kind["of"], item, owner) for item in value]
        case "option":
            return None if value is None else argument(kind["of"], value, owner)
        case _:
            return value


def overtime(_signal, _frame):
    raise Mistake(ENDLESS)


def replayed(call) -> str | None:
    """Returns what is wrong with a call; None if it works here."""
    import rules

    name = call["function"]
    interface = next(home for home, functions in CONTRACT.items() if name in functions)
    home = importlib.import_module(f"wit_world.exports.{snake(interface)}")
    kinds = CONTRACT[interface][name]["given"]
    given = [argument(kind, value, home) for (_, kind), value in zip(kinds, call["arguments"])]
    try:
        function = functions_of(pascal(interface), getattr(rules, pascal(interface)), CONTRACT[interface])[snake(name)]
        os.environ.clear()
        signal.signal(signal.SIGALRM, overtime)
        signal.alarm(TIMEOUT)
        sys.setprofile(watch)
        function(*given)
    except Err:
        sys.setprofile(None)
        return None
    except BaseException as error:
        sys.setprofile(None)
        return told(error, str(folder))
    finally:
        sys.setprofile(None)
        signal.alarm(0)


def alone(call) -> str:
    """Repeats a call in a process of its own."""
    reads, writes = os.pipe()
    if child := os.fork():
        os.close(writes)
        with os.fdopen(reads, encoding="utf-8") as pipe:
            said = pipe.read()
        _, status = os.waitpid(child, 0)
        return said or (ENDLESS if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU else "it ends Python, too")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (TIMEOUT + 1, TIMEOUT + 1))
    said = replayed(call) or f"the call works in Python {platform.python_version()}"
    os.write(writes, said.encode("utf-8", "backslashreplace"))
    os._exit(0)


def main() -> list[str]:
    try:
        importlib.import_module("rules")
    except Exception as error:
        sys.exit(f"Python {platform.python_version()} cannot run these sources: {told(error, str(folder))}")
    return [alone(call) for call in json.loads(calls.read_text(encoding="utf-8"))]


output.write_text(json.dumps(main()), encoding="utf-8")
