"""The country of ../src/lib.rs in Python. Its rules.toml names no contract, as those from before there was another."""

from pathlib import Path

from componentize_py_types import Err
from wit_world.exports import AppointmentRules as Rules
from wit_world.exports.appointment_rules import Action, Descriptor, Message
from wit_world.imports.types import Civil, Phase, Plan, Slot, Violation

SCHEMAS = {name: (Path(__file__).parent / "schema" / f"{name}.json").read_text() for name in ["request", "appointment", "cancel"]}


class AppointmentRules(Rules):
    def describe(self):
        return Descriptor(
            country="ut",
            version="1.0.0",
            zones=["Etc/UTC"],
            locales=["en"],
            request_schema=SCHEMAS["request"],
            appointment_schema=SCHEMAS["appointment"],
            actions=[Action("cancel", ["patient", "staff", "platform"], SCHEMAS["cancel"])],
            messages=[
                Message("ut.time.closed", "en", "Closed before {opens}."),
                Message("ut.cancel.not-allowed-now", "en", "The appointment is cancelled already."),
            ],
        )

    def book(self, context, request):
        doctor, date, time = (text(request, path) for path in ("/doctor", "/date", "/time"))
        if time < "08:00":
            raise Err([Violation("/time", "ut.time.closed", [("opens", "08:00")])])
        return plan(Phase.BOOKED, [f"doctor/{doctor}/{date}T{time}Z"], request, "booked")

    def act(self, context, current, action, input):
        if current.phase != Phase.BOOKED:
            raise Err([Violation("", "ut.cancel.not-allowed-now", [])])
        return plan(Phase.CANCELLED, [], current.attributes, "cancelled")

    def present(self, appointments):
        return [appointment.attributes for appointment in appointments]


def plan(phase, claims, attributes, event):
    year, month, day = map(int, text(attributes, "/date").split("-"))
    hour, minute = map(int, text(attributes, "/time").split(":"))
    return Plan(
        phase=phase,
        slot=Slot(Civil(year, month, day, hour, minute), 30, "Etc/UTC"),
        claims=claims,
        patient=f"id:{text(attributes, '/patient')}",
        doctor=text(attributes, "/doctor"),
        hospital=None,
        attributes=attributes,
        events=[event],
    )


def text(fields, path):
    return next(field.value.value for field in fields if field.path == path)
