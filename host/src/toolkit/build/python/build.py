"""Makes a component of a country's Python: `python build.py <folder> <wit> <output>`.

Runs rules.py once, with all that it imports, and keeps what stands in memory then beside the interpreter, CPython.
"""

import ast
import os
import shutil
import sys
import tempfile
from pathlib import Path

import componentize_py

folder, wit, output = map(Path, sys.argv[1:])

WORLDS = {
    (False, False): "country",
    (True, False): "country-with-slots",
    (False, True): "country-with-notices",
    (True, True): "full-country",
}


def names(module: str) -> set[str]:
    """The classes that a module makes or imports."""
    found = set()
    for item in ast.parse(module, "rules.py").body:
        if isinstance(item, ast.ClassDef):
            found.add(item.name)
        elif isinstance(item, ast.ImportFrom):
            found.update(alias.asname or alias.name for alias in item.names)
    return found


source = folder / "rules.py"
try:
    # The optional interfaces are those that there is a class for.
    classes = names(source.read_text(encoding="utf-8"))
except (OSError, SyntaxError) as error:
    sys.exit(f"{source}: {error}")
world = WORLDS["SlotRules" in classes, "NoticeRules" in classes]

with tempfile.TemporaryDirectory() as scratch:
    # A copy, for the interpreter writes its `__pycache__` beside the sources.
    copied = Path(scratch) / "rules"
    shutil.copytree(folder, copied, ignore=shutil.ignore_patterns("__pycache__", "cases", "target", ".*"))
    os.environ["VIRTUAL_ENV"] = sys.prefix
    options = ["--quiet", "--wit-path", wit, "--world", world]
    # Nothing of WASI: a call that would need it traps.
    sys.argv = ["componentize-py", *map(str, options), "componentize", "--stub-wasi"]
    sys.argv += ["--python-path", str(copied), "--output", str(output), "rules"]
    try:
        componentize_py.script()
    except AssertionError as error:
        # What the rules' own code said, without where in the tool that came out.
        sys.exit(str(error).split("\n\nCaused by:")[0])
