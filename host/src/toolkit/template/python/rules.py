"""The rules of `{{code}}`: bookings, later actions, the view for clients, and mails.

When a topic grows, give it a module of its own. docs/rules.md explains every term. Every fact arrives as an argument.
There is no clock and no network, and `random` returns the same numbers in every call. Code outside functions runs once,
when the component is built. Only then can it read files.
"""

import re
import tomllib
from datetime import date, datetime, time, timedelta
from pathlib import Path

from componentize_py_types import Err
from wit_world.exports import AppointmentRules as Rules, NoticeRules as Notices
from wit_world.exports.appointment_rules import Action, ClaimWords, Descriptor, Message
from wit_world.exports.notice_rules import Notice
from wit_world.imports.types import (
    Appointment, Context, Field, Party, Phase, Plan, Role, Slot, Violation, Wake, ZoneClock,
)

from facts import civil, claims, clock_of, instant_of, local_time, text, with_text

HERE = Path(__file__).parent

VERSION = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]["version"]

SCHEMAS = {name: (HERE / "schema" / f"{name}.json").read_text() for name in ["request", "appointment", "cancel", "empty"]}

# IANA time zones, the most common one first.
ZONES = ["{{zone}}"]

# Languages of the messages (BCP 47), the default first.
LOCALES = ["en"]

# Time before the start until which a patient may cancel.
CANCEL = timedelta(hours=24)

# Time before the start at which the patient is reminded.
REMINDER = timedelta(hours=24)

# Length of an appointment in minutes. Appointments start on a multiple of it, counted from the full hour.
MINUTES = 30

# Number of patients in a group session: a booking without a doctor.
GROUP_PLACES = 10

LEAD = timedelta(minutes=60)

HORIZON = timedelta(days=90)

# Opening hours by the day of the week, from Monday on. An appointment may end at closing time.
WEEKDAY = (time(8), time(18))
SATURDAY = (time(9), time(13))
WEEK = [WEEKDAY, WEEKDAY, WEEKDAY, WEEKDAY, WEEKDAY, SATURDAY, None]

# Public holidays by month and day, each with its law.
HOLIDAYS = {(1, 1): "New Year's Day"}

# Phases that hold their claims.
LIVE = [Phase.REQUESTED, Phase.PENDING, Phase.BOOKED, Phase.ARRIVED]

# Actions with their roles and phases. An action for the role `clock` alone is not part of the API.
ACTIONS = {
    "cancel": ([Role.PATIENT, Role.STAFF, Role.PLATFORM], LIVE, SCHEMAS["cancel"]),
    "arrive": ([Role.STAFF], [Phase.BOOKED], SCHEMAS["empty"]),
    "complete": ([Role.STAFF], [Phase.ARRIVED], SCHEMAS["empty"]),
    "remind": ([Role.CLOCK], [Phase.BOOKED], SCHEMAS["empty"]),
}

# The message for a taken claim, by the beginning of its key.
TAKEN = [
    ClaimWords("doctor/", "/time", "{{code}}.doctor.taken"),
    ClaimWords("group/", "/time", "{{code}}.group.full"),
    ClaimWords("patient/", "/time", "{{code}}.patient.taken"),
]

# Texts of each message code, one for each of LOCALES.
WORDS = {
    "{{code}}.date.nonexistent": ["That date does not exist in the calendar."],
    "{{code}}.date.holiday": ["That day is a public holiday ({holiday}). Please choose another date."],
    "{{code}}.date.too-far": ["That date cannot be booked yet. Choose one no later than {latest}."],
    "{{code}}.time.off-grid": ["Appointments start every {every} minutes from the full hour."],
    "{{code}}.time.closed": ["Closed at that time. Monday to Friday: {weekdays}; Saturday: {saturday}."],
    "{{code}}.time.too-soon": ["That is too soon. The appointment can start from {earliest} on."],
    "{{code}}.doctor.taken": ["The doctor is not free at that time. Please choose another time."],
    "{{code}}.group.full": ["The group session is full. Please choose another time."],
    "{{code}}.patient.taken": ["The patient has another appointment at that time."],
    "{{code}}.cancel.too-late": ["You can cancel the appointment until {hours} hours before it."],
    "{{code}}.cancel.not-allowed-now": ["The appointment can no longer be cancelled (it is {phase})."],
    "{{code}}.arrive.not-allowed-now": ["Only a booked appointment can begin (this one is {phase})."],
    "{{code}}.complete.not-allowed-now": ["Only a patient who has arrived can be seen (the appointment is {phase})."],
    "{{code}}.remind.not-allowed-now": ["There is nothing to remind of (the appointment is {phase})."],
    "{{code}}.action.unknown": ["There is no action {action}."],
}

# The spellings of each key.
CODE, NUMBER = re.compile("[0-9A-Z-]{1,20}"), re.compile("[0-9]{1,10}")
KEYS = {Party.PATIENT: CODE, Party.DOCTOR: NUMBER, Party.HOSPITAL: CODE}

# Texts of the mail about each event.
SUBJECTS = {
    "booked": "Your appointment is booked",
    "cancelled": "Your appointment is cancelled",
    "reminder": "Your appointment is tomorrow",
}


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
            actions=[Action(name, roles, schema) for name, (roles, _, schema) in ACTIONS.items()],
            messages=[
                Message(code, locale, words) for code, texts in WORDS.items() for locale, words in zip(LOCALES, texts)
            ],
            claims=TAKEN,
            keep_days=None,
            horizon_days=HORIZON.days,
            adult_age=18,
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
        begins = instant_of(clock, start)
        slot = Slot(civil(start), MINUTES, clock.zone)
        return plan(Phase.BOOKED, ["booked"], slot, begins, request, wake=reminder(context, begins))

    def act(self, context: Context, current: Appointment, action: str, input: list[Field]) -> Plan:
        if action not in ACTIONS:
            raise Err([violation("", "action.unknown", action=action)])
        _, phases, _ = ACTIONS[action]
        if current.phase not in phases:
            phase = current.phase.name.lower().replace("_", "-")
            raise Err([violation("", f"{action}.not-allowed-now", conflict=True, phase=phase)])
        slot, begins, attributes = current.slot, current.starts_at, current.attributes
        match action:
            # The time was checked when it was booked.
            case "arrive":
                return plan(Phase.ARRIVED, [], slot, begins, attributes, off_agenda=True)
            case "complete":
                return plan(Phase.FULFILLED, [], slot, begins, attributes)
            case "remind":
                return plan(Phase.BOOKED, ["reminder"], slot, begins, attributes, off_agenda=True)
        if context.caller.role == Role.PATIENT and begins - context.now < CANCEL.total_seconds():
            raise Err([violation("", "cancel.too-late", hours=CANCEL // timedelta(hours=1))])
        attributes = with_text(attributes, "/cancellation/reason", text(input, "/reason"))
        return plan(Phase.CANCELLED, ["cancelled"], slot, begins, attributes)

    def present(self, role: Role, appointments: list[Appointment]) -> list[list[Field]]:
        return [appointment.attributes for appointment in appointments]

    def key(self, of: Party, spelling: str) -> str | None:
        """Returns the key that a spelling means: `12345678` is the patient `id:12345678`."""
        prefix = "id:" if of == Party.PATIENT else ""
        spelt = spelling.strip().upper().removeprefix(prefix.upper())
        return f"{prefix}{spelt}" if KEYS[of].fullmatch(spelt) else None


class NoticeRules(Notices):
    """Writes the mails of an event."""

    def notices(self, event: str, current: Appointment) -> list[Notice]:
        subject, to = SUBJECTS.get(event), text(current.attributes, "/email")
        if not subject or not to:
            return []
        date, time, hospital = (text(current.attributes, path) for path in ("/date", "/time", "/hospital"))
        words = f"{subject}.\n\nDate: {date}\nTime: {time}\nPlace: {hospital}\n"
        return [Notice(to, "en", subject, words, html=None, invite=event != "reminder")]


def plan(
    phase: Phase,
    events: list[str],
    slot: Slot,
    begins: int,
    attributes: list[Field],
    wake: Wake | None = None,
    off_agenda: bool = False,
) -> Plan:
    """Returns the plan of an appointment in a phase, with all that it holds there: a plan replaces the one before."""
    doctor, hospital, patient = text(attributes, "/doctor"), text(attributes, "/hospital"), patient_key(attributes)
    if doctor:
        where = claims(f"doctor/{doctor}", begins, MINUTES, MINUTES)
    else:
        where = claims(f"group/{hospital}", begins, MINUTES, MINUTES, places=GROUP_PLACES)
    whose = claims(f"patient/{patient}", begins, MINUTES, MINUTES, personal=True)
    return Plan(
        phase=phase,
        slot=slot,
        claims=[*where, *whose] if phase in LIVE else [],
        choices=[],
        patient=patient,
        doctor=doctor,
        hospital=hospital,
        attributes=attributes,
        events=events,
        wake=wake,
        off_agenda=off_agenda,
    )


def reminder(context: Context, begins: int) -> Wake | None:
    """Returns the wake that reminds the patient; None if it is too late for it."""
    at = begins - int(REMINDER.total_seconds())
    return Wake(at, "remind") if at >= context.now + 60 else None


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


def violation(path: str, what: str, conflict: bool = False, **params: object) -> Violation:
    texts = [(name, str(value)) for name, value in params.items()]
    return Violation(path, f"{{code}}.{what}", texts, conflict)
