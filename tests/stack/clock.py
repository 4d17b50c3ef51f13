"""The wall clock of the functions, which tests move. The server and the tests keep the machine's clock."""

import math
import os
import struct
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path


class Clock:
    def __init__(self, work):
        self.library, self.file = work / "clock.so", work / "clock"
        source = Path(__file__).with_suffix(".c")
        subprocess.run(["cc", "-O2", "-Wall", "-shared", "-fPIC", "-o", self.library, source], check=True)
        self._put_ahead(timedelta())

    def now(self):
        return datetime.now(timezone.utc) + self.ahead

    def move_to(self, instant):
        """Moves it to this instant, or less than a second after it."""
        self._put_ahead(instant - datetime.now(timezone.utc))

    def move(self, **duration):
        self._put_ahead(self.ahead + timedelta(**duration))

    def put_back(self):
        self._put_ahead(timedelta())

    def _put_ahead(self, ahead):
        """Writes the seconds where running functions have mapped them, so the file is not replaced."""
        seconds = math.ceil(ahead.total_seconds())
        self.ahead = timedelta(seconds=seconds)
        file = os.open(self.file, os.O_WRONLY | os.O_CREAT)
        os.pwrite(file, struct.pack("q", seconds), 0)
        os.close(file)
