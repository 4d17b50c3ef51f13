"""Makes a component of a country's Python: `python build.py <folder> <contract> <output>`.

Runs rules.py once, with all that it imports, and keeps what stands in memory then beside the interpreter, CPython.
"""

import ast
import difflib
import json
import os
import shutil
import sys
from pathlib import Path

import componentize_py

TOOLS = Path(__file__).parent

folder, contract, output = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
FUNCTIONS = json.loads((TOOLS / "contract.json").read_text(encoding="utf-8"))[contract]
CLASSES = {"".join(part.capitalize() for part in name.split("-")): name for name in FUNCTIONS}


def names(module: str) -> tuple[set[str], set[str]]:
    """Returns the classes that a module makes, and the names that it imports."""
    body = ast.parse(module, "rules.py").body
    made = {item.name for item in body if isinstance(item, ast.ClassDef)}
    imports = (item for item in body if isinstance(item, ast.ImportFrom))
    return made, {alias.asname or alias.name for item in imports for alias in item.names}


def misspelt(made: set[str]) -> list[str]:
    """Returns the classes whose names are nearly those of the contract."""
    known = {name.lower(): name for name in CLASSES}
    near = lambda name: difflib.get_close_matches(name.lower().replace("_", ""), known, cutoff=0.9)
    return sorted(name for name in made if name not in CLASSES and near(name))


source = folder / "rules.py"
try:
    made, imported = names(source.read_text(encoding="utf-8"))
except (OSError, SyntaxError) as error:
    sys.exit(f"{source}: {error}")
exported = [name for name in CLASSES if name in made | imported]
if misspelt(made) or "AppointmentRules" not in exported:
    found = ", ".join(misspelt(made) or sorted(made)) or "no class"
    known = ", ".join(CLASSES)
    sys.exit(f"rules.py has {found}; the host calls {known} in contract {contract}, of which AppointmentRules is required")

# The world is the classes that there are.
scratch = output.parent
wit = (TOOLS / f"rules-{contract}.wit").read_text(encoding="utf-8")
world = " ".join(f"export {CLASSES[name]};" for name in exported)
(scratch / "rules.wit").write_text(f"{wit}\nworld sources {{ {world} }}\n", encoding="utf-8")

# A copy, for the interpreter writes its `__pycache__` beside the sources.
sources, own = scratch / "rules", scratch / "own"
shutil.copytree(folder, sources, ignore=shutil.ignore_patterns("__pycache__", "cases", "target", ".*"))
own.mkdir()
for module in ["citas_contract.py", "citas_exports.py"]:
    shutil.copy(TOOLS / module, own)
functions = {CLASSES[name]: FUNCTIONS[CLASSES[name]] for name in exported}
(own / "citas_functions.py").write_text(f"FUNCTIONS = {functions!r}\n", encoding="utf-8")

# The first contract has no words for an exception.
module = "rules" if contract == "1.0.0" else "citas_exports"
os.environ["VIRTUAL_ENV"] = sys.prefix
# Nothing of WASI: a call that would need it traps.
sys.argv = ["componentize-py", "--quiet", "--wit-path", str(scratch / "rules.wit"), "--world", "sources"]
sys.argv += ["componentize", "--stub-wasi", "--python-path", str(sources), "--python-path", str(own)]
sys.argv += ["--output", str(output), module]
try:
    componentize_py.script()
except AssertionError as error:
    # What the rules' own code said, without where in the tool that came out.
    sys.exit(str(error).split("\n\nCaused by:")[0])
