"""Checks what the functions of a country answer against the contract, and says where an exception comes from.

Part of the component, where no file can be read, and of the replay outside it.
"""

import enum

from componentize_py_types import Err

FRAMES = 3
MISSING = object()


class Mistake(BaseException):
    """What ends a call, in words. No code of the rules catches it."""


def snake(name: str) -> str:
    return name.replace("-", "_")


def pascal(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("-"))


def refusal_of(kinds):
    """Returns the type of a function's list of violations; None if it may not refuse."""
    error = kinds.get("error") or {"kind": None}
    match error["kind"]:
        case "variant":
            return dict(error["cases"])["violations"]
        case "list":
            return error
    return None


def functions_of(owner: str, rules, functions):
    """Returns the functions of a class with a check of what they answer, by their names in Python."""
    for name in functions:
        function = getattr(rules, snake(name), None)
        if not callable(function) or getattr(function, "__isabstractmethod__", False):
            names = ", ".join(map(snake, functions))
            raise TypeError(f"`{owner}` has no function `{snake(name)}`; the contract asks for {names}")
    own = rules()
    return {snake(name): checked(name, kinds, getattr(own, snake(name))) for name, kinds in functions.items()}


def checked(name: str, kinds, function):
    """Returns a function with a check of what it answers."""
    refusal, answers = refusal_of(kinds), fits(kinds["answer"])

    def call(*given):
        try:
            answer = function(*given)
        except Err as error:
            if not refusal:
                raise Mistake(f"`{name}` raises Err; only `book` and `act` may refuse") from None
            if error.value == []:
                raise Mistake(f"`{name}` raises an empty list; a refusal has at least one Violation") from None
            require(name, "raises", refusal, error.value)
            raise
        if not answers(answer):
            require(name, "returns", kinds["answer"], answer)
        return answer

    return call


def told(error: BaseException, folder: str) -> str:
    """Returns what an exception says, and where it comes from in the country's own sources, the innermost place first."""
    steps, step = [], error.__traceback__
    while step:
        steps.append(step)
        step = step.tb_next
    places = []
    for step in reversed(steps):
        file = step.tb_frame.f_code.co_filename
        if file.startswith(f"{folder}/"):
            places.append(f"{file.removeprefix(f'{folder}/')}:{step.tb_lineno}")
        if len(places) == FRAMES:
            break
    innermost, callers = places[:1], places[1:]
    said = str(error) if isinstance(error, Mistake) else f"{type(error).__name__}: {error}"
    called = [f"called from {', '.join(callers)}"] if callers else []
    return ", ".join([": ".join([*innermost, said]), *called])


def fits(kind):
    """Returns a quick test of values: true for those in which `wrong` finds nothing."""
    match kind["kind"]:
        case "record":
            name, members = pascal(kind["name"]), [(snake(name), fits(of)) for name, of in kind["members"]]

            def is_record(value):
                if type(value).__name__ != name:
                    return False
                for member, is_right in members:
                    if not is_right(getattr(value, member, MISSING)):
                        return False
                return True

            return is_record
        case "list":
            of = fits(kind["of"])
            return lambda value: isinstance(value, list) and all(map(of, value))
        case "option":
            of = fits(kind["of"])
            return lambda value: value is None or of(value)
        case "variant":
            cases = {f"{pascal(kind['name'])}_{pascal(tag)}": fits(of) for tag, of in kind["cases"]}
            return lambda value: (of := cases.get(type(value).__name__)) is not None and of(value.value)
        case "text":
            return lambda value: isinstance(value, str) and (value.isascii() or is_right(kind, value))
        case _:
            return lambda value: wrong(kind, value) is None


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
    if hasattr(value, "__await__"):
        return "a coroutine (rules wait for nothing: the function must not be async)"
    text = repr(value)
    text = text if len(text) <= 60 else f"{text[:60]}…"
    return text if value is None or isinstance(value, (str, bool)) else f"{text}, of the type {type(value).__name__}"


def require(name, verb, kind, value):
    """Raises a mistake if a value is not of a type."""
    found = wrong(kind, value)
    if not found:
        return
    path, actual, expected = found
    root = kind.get("name") or ("violations" if verb == "raises" else "answer")
    place = f"`{name}` {verb} `{snake(root)}{path}`:" if path else f"`{name}` {verb}"
    raise Mistake(f"{place} {shown(actual)}; expected {words(expected)}")
