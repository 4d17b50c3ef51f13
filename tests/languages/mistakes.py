"""A booking that ends in the mistake that its hospital names. Each stands on one line, with the words that tell it."""

import datetime
import json
import logging
import os
import time
import uuid

from componentize_py_types import Err
from wit_world.exports import NoticeRules as Notices, SlotRules as Slots
from wit_world.imports.types import Field, Phase, Plan, Slot, Value_Decimal, Value_Integer, Value_Text, Violation

from sound import AppointmentRules as Sound


def with_(plan, **members):
    for name, value in members.items():
        setattr(plan, name, value)
    return plan


def without(plan, name):
    delattr(plan, name)
    return plan


def raised(error):
    raise error


def wait(plan):
    while True:
        pass


def greedy(plan):
    return with_(plan, claims=["x" * 1000 for _ in range(10**9)])


def again(plan):
    return again(plan)


async def later(plan):
    return plan


def swallowed(plan):
    try:
        print("here")
    except Exception:
        pass
    return plan


MISTAKES = {
    "RAISED": lambda plan: raised(ValueError("the register is closed")), # ValueError: the register is closed
    "RAISED-VIOLATION": lambda plan: raised(Err(Violation("/date", "bo.x", [], False))), # raises Violation(path='/date', code='bo.x', params=[], conflict=Fal…, of the type Violation; expected a list of Violation
    "RAISED-NOTHING": lambda plan: raised(Err([])), # raises an empty list; a refusal has at least one Violation
    "RAISED-TEXT": lambda plan: raised(Err("no")), # raises 'no'; expected a list of Violation
    "RAISED-PARAMS": lambda plan: raised(Err([Violation("/date", "bo.x", {"hours": "24"}, False)])), # raises `violations[0].params`: {'hours': '24'}, of the type dict; expected a list
    "RAISED-PARAM-NUMBER": lambda plan: raised(Err([Violation("/date", "bo.x", [("hours", 24)], False)])), # raises `violations[0].params[0][1]`: 24, of the type int; expected a str
    "RAISED-DICT": lambda plan: raised(Err([{"path": "/date", "code": "bo.x", "params": []}])), # raises `violations[0]`: {'path': '/date', 'code': 'bo.x', 'params': []}, of the type dict; expected a Violation
    "RAISED-SANS-CONFLICT": lambda plan: raised(Err([Violation("/date", "bo.x", [])])), # @ TypeError: Violation.__init__() missing 1 required positional argument: 'conflict'
    "WRONG-WORD": lambda plan: with_(plan, phase=Phase.RESERVED), # @ RESERVED
    "WORD-AS-TEXT": lambda plan: with_(plan, phase="booked"), # returns `plan.phase`: 'booked'; expected a Phase: REQUESTED
    "BARE-VALUE": lambda plan: with_(plan, attributes=[Field("/a", "x")]), # returns `plan.attributes[0].value`: 'x'; expected one of Value_Text
    "DICT-VALUE": lambda plan: with_(plan, attributes=[{"path": "/a", "value": Value_Text("x")}]), # returns `plan.attributes[0]`: {'path': '/a', 'value': Value_Text(value='x')}, of the type dict; expected a Field
    "MISSING": lambda plan: without(plan, "claims"), # returns `plan.claims`: it is missing; expected a list
    "MISSING-ARGUMENT": lambda plan: Plan(phase=Phase.BOOKED, slot=None, claims=[], patient="id:1"), # @ TypeError: Plan.__init__() missing 7 required positional arguments
    "UNKNOWN-ARGUMENT": lambda plan: Violation(path="", kode="x", params=[]), # @ TypeError: Violation.__init__() got an unexpected keyword argument 'kode'
    "CLAIM-TEXT": lambda plan: with_(plan, claims=["doctor/1"]), # returns `plan.claims[0]`: 'doctor/1'; expected a Claim
    "SLOT-TEXT": lambda plan: with_(plan, slot="2026-12-01T09:30"), # returns `plan.slot`: '2026-12-01T09:30'; expected a Slot
    "NUMBER-AS-TEXT": lambda plan: with_(plan, slot=Slot(plan.slot.start, "30", plan.slot.zone)), # returns `plan.slot.minutes`: '30'; expected an int from 0 to 65535
    "FRACTION": lambda plan: with_(plan, slot=Slot(plan.slot.start, 7.5, plan.slot.zone)), # returns `plan.slot.minutes`: 7.5, of the type float; expected an int from 0 to 65535
    "TOO-LARGE": lambda plan: with_(plan, slot=Slot(plan.slot.start, 65536, plan.slot.zone)), # returns `plan.slot.minutes`: 65536, of the type int; expected an int from 0 to 65535
    "NEGATIVE": lambda plan: with_(plan, slot=Slot(plan.slot.start, -30, plan.slot.zone)), # returns `plan.slot.minutes`: -30, of the type int; expected an int from 0 to 65535
    "INEXACT": lambda plan: with_(plan, attributes=[Field("/a", Value_Integer(2**53))]), # an integer at `/a` beyond ±9007199254740991
    "ENORMOUS": lambda plan: with_(plan, attributes=[Field("/a", Value_Integer(2**63))]), # returns `plan.attributes[0].value.value`: 9223372036854775808, of the type int; expected an int
    "INTEGER-FRACTION": lambda plan: with_(plan, attributes=[Field("/a", Value_Integer(0.5))]), # returns `plan.attributes[0].value.value`: 0.5, of the type float; expected an int
    "DECIMAL-NUMBER": lambda plan: with_(plan, attributes=[Field("/a", Value_Decimal(0.5))]), # returns `plan.attributes[0].value.value`: 0.5, of the type float; expected a str
    "TEXT-NUMBER": lambda plan: with_(plan, patient=12345678), # returns `plan.patient`: 12345678, of the type int; expected a str
    "TEXT-NONE": lambda plan: with_(plan, patient=None), # returns `plan.patient`: None; expected a str
    "TEXT-FOR-LIST": lambda plan: with_(plan, events="booked"), # returns `plan.events`: 'booked'; expected a list
    "TUPLE-FOR-LIST": lambda plan: with_(plan, events=("booked",)), # returns `plan.events`: ('booked',), of the type tuple; expected a list
    "GENERATOR": lambda plan: with_(plan, claims=(claim for claim in plan.claims)), # of the type generator; expected a list
    "DICT": lambda plan: {"phase": "booked"}, # returns {'phase': 'booked'}, of the type dict; expected a Plan
    "SURROGATE": lambda plan: with_(plan, patient="\ud800"), # returns `plan.patient`: '\ud800'; expected a str
    "NO-RETURN": lambda plan: None, # returns None; expected a Plan
    "ASYNC": later, # returns a coroutine (rules wait for nothing: the function must not be async); expected a Plan
    "PRINT": lambda plan: print("here"), # @ a component prints nothing; raise an exception to see a value here
    "PRINT-SWALLOWED": swallowed, # a component prints nothing; raise an exception to see a value here
    "LOGGING": lambda plan: logging.getLogger().warning("here"), # @ a component 
    "NOW": lambda plan: with_(plan, patient=str(datetime.datetime.now())), # @ a component has no clock; `context.now` has the time
    "TODAY": lambda plan: with_(plan, patient=str(datetime.date.today())), # @ a component has no clock; `context.now` has the time
    "TIME": lambda plan: with_(plan, patient=str(time.time())), # @ a component has no clock; `context.now` has the time
    "SLEEP": lambda plan: time.sleep(1), # @ a component has no clock; `context.now` has the time
    "OPEN": lambda plan: open("rules.py").read(), # @ a component can read files, import modules and ask the system only outside functions
    "ENVIRON": lambda plan: with_(plan, patient=os.environ["HOME"]), # @ KeyError: 'HOME'
    "UUID": lambda plan: with_(plan, patient=str(uuid.uuid4())), # @ a component can read files, import modules and ask the system only outside functions
    "IMPORT": lambda plan: __import__("decimal"), # @ a component can read files, import modules and ask the system only outside functions
    "UNDEFINED": lambda plan: nowhere(), # @ NameError: name 'nowhere' is not defined
    "NONE-MEMBER": lambda plan: plan.doctor_name.strip(), # @ AttributeError: 'Plan' object has no attribute 'doctor_name'
    "NONE-DEREF": lambda plan: None.strip(), # @ AttributeError: 'NoneType' object has no attribute 'strip'
    "KEY": lambda plan: {}["x"], # @ KeyError: 'x'
    "INDEX": lambda plan: [][0], # @ IndexError: list index out of range
    "DIVISION": lambda plan: 1 // 0, # @ ZeroDivisionError
    "CONCATENATION": lambda plan: "id:" + 5, # @ TypeError: can only concatenate str (not "int") to str
    "JSON": lambda plan: json.loads("{"), # @ JSONDecodeError: Expecting property name
    "RECURSION": again, # RecursionError: maximum recursion depth exceeded
    "EXIT": lambda plan: raised(SystemExit(1)), # SystemExit: 1
    "HUGE": greedy, # the call used up its budget of fuel
    "LOOP": wait, # the call used up its budget of fuel
}


CALLS = {
    "act": lambda self, context, current, action, input: input[0].value.value + current.slot.start.at, # @ 'Civil' object has no attribute 'at'
    "offers": lambda self, context, place, current, openings: [place.doctor + it.slot.start.at for it in openings], # @ 'Civil' object has no attribute 'at'
    "notices": lambda self, event, current: [event, current.phase] if event == "reminder" else [], # returns `answer[0]`: 'reminder'; expected a Notice
}


class AppointmentRules(Sound):
    act = CALLS["act"]

    def book(self, context, request):
        name = next(field.value.value for field in request if field.path == "/hospital")
        plan = super().book(context, request)
        return MISTAKES[name](plan) if name in MISTAKES else plan


class SlotRules(Slots):
    offers = CALLS["offers"]

    def openings(self, context, place, since, until):
        return []


class NoticeRules(Notices):
    notices = CALLS["notices"]
