"""Reads what the host gives: the leaves of a document, and a zone's clock. Instants are Unix seconds."""

from datetime import datetime, timedelta

from wit_world.imports.types import Civil, Context, Field, Value_Text, ZoneClock

EPOCH = datetime(1970, 1, 1)


def text(fields: list[Field], path: str) -> str | None:
    """The text at a JSON Pointer; none where there is none."""
    return next((it.value.value for it in fields if it.path == path and isinstance(it.value, Value_Text)), None)


def with_text(fields: list[Field], path: str, value: str) -> list[Field]:
    """The same leaves with this text at that place."""
    return [*(field for field in fields if field.path != path), Field(path, Value_Text(value))]


def clock_of(context: Context, zone: str) -> ZoneClock:
    """The clock of one of the zones of `describe`."""
    return next(clock for clock in context.clocks if clock.zone == zone)


def local_time(date: str, time: str) -> datetime | None:
    """`2026-12-01` and `09:30` on the wall; none where the calendar has no such day."""
    try:
        return datetime.fromisoformat(f"{date}T{time}")
    except ValueError:
        return None


def instant_of(clock: ZoneClock, local: datetime) -> int:
    """When a zone's clocks show that: of two instants the earlier. A time that they skip is the host's to refuse."""
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
    """As the contract has it."""
    return Civil(local.year, local.month, local.day, local.hour, local.minute)


def claims(holder: str, instant: int, minutes: int, grid: int) -> list[str]:
    """One claim for each cell of `grid` minutes, in UTC, that the stretch touches: two that overlap always share one."""
    cell = grid * 60
    cells = range(instant // cell * cell, instant + minutes * 60, cell)
    return [f"{holder}/{EPOCH + timedelta(seconds=at):%Y-%m-%dT%H:%MZ}" for at in cells]
