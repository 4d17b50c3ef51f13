"""The commands `sam` and `just`, installed where no other program of the machine is replaced."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def tools():
    """Returns the folder of an environment with sam and just."""
    made = subprocess.run(
        [ROOT / "tests/stack/environment", ROOT / "tests/stack/sam.txt", ROOT / "target/tmp"],
        check=True,
        capture_output=True,
        text=True,
    )
    return Path(made.stdout.strip())


def commands(folder, **scripts):
    """Writes programs into a folder: each is a shell script of these lines. Returns the folder."""
    folder.mkdir(exist_ok=True)
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return folder
