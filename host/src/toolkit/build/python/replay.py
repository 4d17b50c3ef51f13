"""Repeats calls that failed in the component: `python replay.py <folder> <calls> <output>`.

Runs the same sources in this Python, where an exception has a message and a place, without what a component lacks.
Writes one text for each call. Each call has a process of its own, as it has an instance of its own in the host.
"""

import enum
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
import traceback
from pathlib import Path

TIMEOUT = 5  # Seconds for one call.
MEMORY = 1 << 30  # Bytes for one call, many times those of a component.
FRAMES = 3
ENDLESS = f"it does not end within {TIMEOUT} s outside the component either; is there a loop without an end?"

folder, calls, output = map(Path, sys.argv[1:])
TOOLS = Path(__file__).parent
CONTRACT = json.loads((TOOLS / "contract.json").read_text(encoding="utf-8"))
CLASSES = {"appointment-rules": "AppointmentRules", "slot-rules": "SlotRules", "notice-rules": "NoticeRules"}


def snake(name: str) -> str:
    return name.replace("-", "_")


def pascal(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("-"))


class Ended(BaseException):
    """The end of a call that no code of the rules can catch, as none can in a component."""


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
        raise Ended(why)


def argument(kind, value, types):
    """Converts JSON to a value of the bindings."""
    match kind["kind"]:
        case "record":
            members = (argument(of, value[name], types) for name, of in kind["members"])
            return getattr(types, pascal(kind["name"]))(*members)
        case "variant":
            of = dict(kind["cases"])[value["tag"]]
            return getattr(types, f"{pascal(kind['name'])}_{pascal(value['tag'])}")(argument(of, value["val"], types))
        case "enum":
            return getattr(types, pascal(kind["name"]))[snake(value).upper()]
        case "list":
            return [argument(kind["of"], item, types) for item in value]
        case "option":
            return None if value is None else argument(kind["of"], value, types)
        case _:
            return value


def wrong(kind, value):
    """Returns the path of the first value that is wrong, the value and the type that it should have."""
    match kind["kind"]:
        case "record":
            if type(value).__name__ != pascal(kind["name"]):
                return "", value, kind
            for name, of in kind["members"]:
                member = getattr(value, snake(name), MISSING)
                if found := wrong(of, member):
                    return below(f".{snake(name)}", found)
        case "list":
            if not isinstance(value, list):
                return "", value, kind
            for index, item in enumerate(value):
                if found := wrong(kind["of"], item):
                    return below(f"[{index}]", found)
        case "tuple":
            if not isinstance(value, tuple) or len(value) != len(kind["of"]):
                return "", value, kind
            for index, (of, item) in enumerate(zip(kind["of"], value)):
                if found := wrong(of, item):
                    return below(f"[{index}]", found)
        case "option":
            return None if value is None else wrong(kind["of"], value)
        case "variant":
            of = {f"{pascal(kind['name'])}_{pascal(tag)}": of for tag, of in kind["cases"]}.get(type(value).__name__)
            return below(".value", wrong(of, value.value)) if of else ("", value, kind)
        case _:
            return None if is_right(kind, value) else ("", value, kind)
    return None


MISSING = object()


def below(step, found):
    return found and (step + found[0], *found[1:])


def is_right(kind, value) -> bool:
    match kind["kind"]:
        case "integer":
            return isinstance(value, int) and kind["least"] <= value <= kind["most"]
        case "text":
            return isinstance(value, str) and not any("\ud800" <= char <= "\udfff" for char in value)
        case "flag":
            return isinstance(value, bool)
        case "enum":
            return isinstance(value, enum.Enum) and type(value).__name__ == pascal(kind["name"])
    return False


def words(kind) -> str:
    match kind["kind"]:
        case "integer":
            return f"an int from {kind['least']} to {kind['most']}"
        case "text":
            return "a str"
        case "flag":
            return "a bool"
        case "enum":
            names = ", ".join(snake(name).upper() for name in kind["names"])
            return f"a {pascal(kind['name'])}: {names}"
        case "variant":
            return "one of " + ", ".join(f"{pascal(kind['name'])}_{pascal(tag)}" for tag, _ in kind["cases"])
        case "list":
            of = kind["of"].get("name")
            return f"a list of {pascal(of)}" if of else "a list"
        case "tuple":
            return f"a tuple of {len(kind['of'])}"
        case "record":
            return f"a {pascal(kind['name'])}"
    return kind["kind"]


def shown(value) -> str:
    if value is MISSING:
        return "it is missing"
    if inspect.isawaitable(value):
        return "a coroutine (rules wait for nothing: the function must not be async)"
    text = repr(value)
    text = text if len(text) <= 60 else f"{text[:60]}…"
    return text if value is None or isinstance(value, (str, bool)) else f"{text}, of the type {type(value).__name__}"


def objection(name, verb, kind, value) -> str | None:
    found = wrong(kind, value)
    if not found:
        return None
    path, actual, expected = found
    root = kind.get("name") or ("violations" if verb == "raises" else "answer")
    place = f"`{name}` {verb} `{snake(root)}{path}`:" if path else f"`{name}` {verb}"
    return f"{place} {shown(actual)}; expected {words(expected)}"


def place(error) -> str:
    """Returns where an exception comes from in the country's own sources, the innermost place first."""
    frames = reversed(traceback.extract_tb(error.__traceback__))
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(folder)]
    places = [f"{Path(frame.filename).relative_to(folder)}:{frame.lineno}" for frame in own][:FRAMES]
    callers = f", called from {', '.join(places[1:])}" if places[1:] else ""
    said = str(error) if isinstance(error, Ended) else f"{type(error).__name__}: {error}"
    return f"{places[0]}: {said}{callers}" if places else said


def overtime(_signal, _frame):
    raise Ended(ENDLESS)


def replayed(call) -> str | None:
    """Returns what is wrong with a call; None if it works here."""
    import rules
    from componentize_py_types import Err
    from wit_world.imports import types

    name = snake(call["function"])
    interface = next(home for home, functions in CONTRACT.items() if call["function"] in functions)
    kinds = CONTRACT[interface][call["function"]]
    owner = getattr(rules, CLASSES[interface])()
    function = getattr(owner, name, None)
    if not callable(function):
        return f"{CLASSES[interface]} has no function `{name}`"
    given = [argument(kind, value, types) for (_, kind), value in zip(kinds["given"], call["arguments"])]
    os.environ.clear()
    signal.signal(signal.SIGALRM, overtime)
    signal.alarm(TIMEOUT)
    sys.setprofile(watch)
    try:
        answer = function(*given)
    except Err as error:
        sys.setprofile(None)
        if not kinds.get("refusal"):
            return f"`{name}` raises Err; only `book` and `act` may refuse"
        if error.value == []:
            return f"`{name}` raises an empty list; a refusal has at least one Violation"
        return objection(name, "raises", kinds["refusal"], error.value)
    except BaseException as error:
        sys.setprofile(None)
        return place(error)
    finally:
        sys.setprofile(None)
        signal.alarm(0)
    return objection(name, "returns", kinds["answer"], answer)


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
    bindings = output.parent / "bindings"
    # The tool's own program names the folder in which it was installed first.
    tool = [sys.executable, "-c", "import componentize_py; componentize_py.script()", "--wit-path", TOOLS / "rules.wit"]
    subprocess.run([*tool, "--world", "full-country", "bindings", bindings], check=True, stdout=subprocess.DEVNULL)
    sys.path[:0] = [str(folder), str(bindings)]
    sys.dont_write_bytecode = True
    try:
        importlib.import_module("rules")
    except Exception as error:
        sys.exit(f"Python {platform.python_version()} cannot run these sources: {place(error)}")
    return [alone(call) for call in json.loads(calls.read_text(encoding="utf-8"))]


output.write_text(json.dumps(main()), encoding="utf-8")
