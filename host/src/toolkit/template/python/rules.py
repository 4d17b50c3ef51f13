"""The rules of `{{code}}`: bookings, later actions, and the view for clients.

When a topic grows, give it a module of its own. docs/rules.md explains every term. Every fact arrives as an argument.
There is no clock and no network, and `random` returns the same numbers in every call. Code outside functions runs once,
when the component is built. Only then can it read files.
"""

import tomllib
from datetime import date, datetime, time, timedelta
from pathlib import Path

from componentize_py_types import Err
from wit_world.exports import AppointmentRules as Rules
from wit_world.exports.appointment_rules import Action, Descriptor, Message
from wit_world.imports.types import Appointment, Context, Field, Phase, Plan, Slot, Violation, ZoneClock

from facts import civil, claims, clock_of, instant_of, local_time, text, with_text

HERE = Path(__file__).parent

VERSION = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]["version"]

SCHEMAS = {name: (HERE / "schema" / f"{name}.json").read_text() for name in ["request", "appointment", "cancel"]}

# IANA time zones, the most common one first.
ZONES = ["{{zone}}"]

# Languages of the messages (BCP 47), the default first.
LOCALES = ["en"]

# Time before the start until which a patient may cancel.
CANCEL = timedelta(hours=24)

# Length of an appointment in minutes. Appointments start on a multiple of it, counted from the full hour.
MINUTES = 30

LEAD = timedelta(minutes=60)

HORIZON = timedelta(days=90)

# Opening hours by the day of the week, from Monday on. An appointment may end at closing time.
WEEKDAY = (time(8), time(18))
SATURDAY = (time(9), time(13))
WEEK = [WEEKDAY, WEEKDAY, WEEKDAY, WEEKDAY, WEEKDAY, SATURDAY, None]

# Public holidays by month and day, each with its law.
HOLIDAYS = {(1, 1): "New Year's Day"}

# Texts of each message code, one for each of LOCALES.
WORDS = {
    "{{code}}.date.nonexistent": ["That date does not exist in the calendar."],
    "{{code}}.date.holiday": ["That day is a public holiday ({holiday}). Please choose another date."],
    "{{code}}.date.too-far": ["That date cannot be booked yet. Choose one no later than {latest}."],
    "{{code}}.time.off-grid": ["Appointments start every {every} minutes from the full hour."],
    "{{code}}.time.closed": ["Closed at that time. Monday to Friday: {weekdays}; Saturday: {saturday}."],
    "{{code}}.time.too-soon": ["That is too soon. The appointment can start from {earliest} on."],
    "{{code}}.cancel.too-late": ["You can cancel the appointment until {hours} hours before it."],
    "{{code}}.cancel.not-allowed-now": ["The appointment can no longer be cancelled (it is {phase})."],
    "{{code}}.action.unknown": ["There is no action {action}."],
}

LIVE = {Phase.REQUESTED, Phase.PENDING, Phase.BOOKED, Phase.ARRIVED}


class AppointmentRules(Rules):
    """Decides on bookings and actions. Raises the list of violations: everything that is wrong, at once."""

    def describe(self) -> Descriptor:
        return Descriptor(
            country="{{code}}",
            version=VERSION,
            zones=ZONES,
            locales=LOCALES,
            request_schema=SCHEMAS["request"],
            appointment_schema=SCHEMAS["appointment"],
            actions=[Action("cancel", ["patient", "staff", "platform"], SCHEMAS["cancel"])],
            messages=[
                Message(code, locale, words) for code, texts in WORDS.items() for locale, words in zip(LOCALES, texts)
            ],
        )

    def book(self, context: Context, request: list[Field]) -> Plan:
        clock = clock_of(context, ZONES[0])
        day, hour = text(request, "/date"), text(request, "/time")
        if start := local_time(day, hour):
            broken = against(context, clock, start)
        else:
            broken = [violation("/date", "date.nonexistent"), *off_grid(time.fromisoformat(hour))]
        if broken:
            raise Err(broken)
        doctor, patient = text(request, "/doctor"), patient_key(request)
        at = instant_of(clock, start)
        return Plan(
            phase=Phase.BOOKED,
            slot=Slot(civil(start), MINUTES, clock.zone),
            claims=[
                claim for holder in (f"doctor/{doctor}", f"patient/{patient}") for claim in claims(holder, at, MINUTES, MINUTES)
            ],
            patient=patient,
            doctor=doctor,
            hospital=text(request, "/hospital"),
            attributes=request,
            events=[],
        )

    def act(self, context: Context, current: Appointment, action: str, input: list[Field]) -> Plan:
        if action != "cancel":
            raise Err([violation("", "action.unknown", action=action)])
        if current.phase not in LIVE:
            raise Err([violation("", "cancel.not-allowed-now", phase=current.phase.name.lower().replace("_", "-"))])
        at = current.slot.start
        local = datetime(at.year, at.month, at.day, at.hour, at.minute)
        left = instant_of(clock_of(context, current.slot.zone), local) - context.now
        if context.role == "patient" and left < CANCEL.total_seconds():
            raise Err([violation("", "cancel.too-late", hours=CANCEL // timedelta(hours=1))])
        attributes = with_text(current.attributes, "/cancellation/reason", text(input, "/reason"))
        return Plan(
            phase=Phase.CANCELLED,
            slot=current.slot,
            claims=[],
            patient=patient_key(attributes),
            doctor=text(attributes, "/doctor"),
            hospital=text(attributes, "/hospital"),
            attributes=attributes,
            events=[],
        )

    def present(self, appointments: list[Appointment]) -> list[list[Field]]:
        return [appointment.attributes for appointment in appointments]


def against(context: Context, clock: ZoneClock, start: datetime) -> list[Violation]:
    """Returns the violations of every rule that a start breaks, in the order of the form."""
    broken = []
    if holiday := HOLIDAYS.get((start.month, start.day)):
        broken.append(violation("/date", "date.holiday", holiday=holiday))
    latest = date(clock.now.year, clock.now.month, clock.now.day) + HORIZON
    if start.date() > latest:
        broken.append(violation("/date", "date.too-far", latest=latest))
    broken.extend(off_grid(start.time()))
    hours, ends = WEEK[start.weekday()], start + timedelta(minutes=MINUTES)
    if not hours or start.time() < hours[0] or ends > datetime.combine(start, hours[1]):
        weekdays, saturday = ("–".join(f"{at:%H:%M}" for at in hours) for hours in (WEEKDAY, SATURDAY))
        broken.append(violation("/time", "time.closed", weekdays=weekdays, saturday=saturday))
    begins, earliest = instant_of(clock, start), context.now + int(LEAD.total_seconds())
    if begins < earliest:
        local = start + timedelta(seconds=earliest + 59 - begins)
        broken.append(violation("/time", "time.too-soon", earliest=f"{local:%Y-%m-%d %H:%M}"))
    return broken


def off_grid(start: time) -> list[Violation]:
    return [violation("/time", "time.off-grid", every=MINUTES)] if start.minute % MINUTES else []


def patient_key(fields: list[Field]) -> str:
    """Returns the key by which the patient's appointments are found."""
    return f"id:{text(fields, '/patient')}"


def violation(path: str, what: str, **params: object) -> Violation:
    return Violation(path, f"{{code}}.{what}", [(name, str(value)) for name, value in params.items()])
