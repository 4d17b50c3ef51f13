"""Reads the host's input: the leaves of a document, and the clock of a zone. An instant is a Unix time in seconds."""

from datetime import datetime, timedelta

from wit_world.imports.types import Civil, Claim, Context, Field, Value_Text, ZoneClock

EPOCH = datetime(1970, 1, 1)


def text(fields: list[Field], path: str) -> str | None:
    """Returns the text at a JSON Pointer; None if there is none."""
    return next((it.value.value for it in fields if it.path == path and isinstance(it.value, Value_Text)), None)


def with_text(fields: list[Field], path: str, value: str) -> list[Field]:
    """Returns the same leaves with this text at this path."""
    return [*(field for field in fields if field.path != path), Field(path, Value_Text(value))]


def clock_of(context: Context, zone: str) -> ZoneClock:
    """Returns the clock of one of the zones of `describe`."""
    return next(clock for clock in context.clocks if clock.zone == zone)


def local_time(date: str, time: str) -> datetime | None:
    """Returns the local time of `2026-12-01` and `09:30`; None if the calendar has no such day."""
    try:
        return datetime.fromisoformat(f"{date}T{time}")
    except ValueError:
        return None


def instant_of(clock: ZoneClock, local: datetime) -> int:
    """Returns the instant of a local time, the earlier one of two. The host refuses a time that the clocks skip."""
    seconds = skipped = (local - EPOCH) // timedelta(seconds=1)
    for index, shift in enumerate(clock.shifts):
        instant = seconds - shift.offset_minutes * 60
        ended = index + 1 < len(clock.shifts) and instant >= clock.shifts[index + 1].at
        if not ended and (index == 0 or instant >= shift.at):
            return instant
        if ended:
            skipped = instant
    return skipped


def civil(local: datetime) -> Civil:
    """Converts a local time to the contract's type."""
    return Civil(local.year, local.month, local.day, local.hour, local.minute)


def claims(holder: str, instant: int, minutes: int, grid: int, places: int = 1, personal: bool = False) -> list[Claim]:
    """Returns one claim per UTC cell of `grid` minutes that the time touches. Two that overlap always share one."""
    cell = grid * 60
    cells = range(instant // cell * cell, instant + minutes * 60, cell)
    return [Claim(f"{holder}/{EPOCH + timedelta(seconds=at):%Y-%m-%dT%H:%MZ}", places, personal) for at in cells]
