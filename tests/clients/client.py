"""Books, lists, moves and cancels in both countries with the client of openapi-python-client."""

import os
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import httpx
from citas_client import AuthenticatedClient
from citas_client.api.cl import cl_book, cl_cancel, cl_list, cl_reschedule
from citas_client.api.pe import (
    pe_book,
    pe_cancel,
    pe_create_hold,
    pe_delete_hold,
    pe_get_hold,
    pe_history,
    pe_list,
    pe_no_show,
    pe_reschedule,
    pe_slots,
)
from citas_client.models import (
    ClAppointment,
    ClCancelInput,
    ClCancelInputReason,
    ClPage,
    ClRequestWithRun,
    ClRescheduleInput,
    HeldRequest,
    Hold,
    HoldRequest,
    PeAppointment,
    PeCancelInput,
    PeHistory,
    PeNoShowInput,
    PePage,
    PeRequestWithDni,
    PeRescheduleInput,
    PeSlotsView,
    Phase,
    Problem,
    SlotDays,
    SlotRequest,
    Slots,
)

BASE = os.environ["BASE"]
client = AuthenticatedClient(base_url=BASE, token=os.environ["TOKEN"])


def example(name: str) -> dict[str, Any]:
    """Returns the first example of a schema in the description that the host serves now."""
    schema = httpx.get(f"{BASE}/openapi.json").json()["components"]["schemas"][name]
    first: dict[str, Any] = schema["examples"][0]
    return first


def peru() -> None:
    request = PeRequestWithDni.from_dict(example("PeRequest") | {"doctor": "53001"})
    booked = pe_book.sync_detailed(client=client, body=request, idempotency_key=str(uuid4()))
    assert booked.status_code == HTTPStatus.CREATED, booked.content
    appointment = booked.parsed
    assert isinstance(appointment, PeAppointment)
    assert appointment.phase == Phase.BOOKED

    taken = pe_book.sync(client=client, body=request)
    assert isinstance(taken, Problem) and taken.free_slots, taken

    page = pe_list.sync(client=client, doctor="53001")
    assert isinstance(page, PePage) and appointment.id in [item.id for item in page.items]

    move = PeRescheduleInput.from_dict(example("PeRescheduleInput"))
    moved = pe_reschedule.sync(appointment.id, client=client, body=move, if_match='"1"')
    assert isinstance(moved, PeAppointment) and (moved.date, moved.revision) == (move.date, 2), moved

    hospital, district = request.hospital, request.district
    slots = pe_slots.sync(client=client, doctor="53001", hospital=hospital, district=district)
    assert isinstance(slots, Slots) and slots.items, slots
    days = pe_slots.sync(
        client=client, doctor="53001", hospital=hospital, district=district, view=PeSlotsView.DAYS
    )
    assert isinstance(days, SlotDays) and sum(day.free for day in days.items) == len(slots.items), days
    # A slot stands for its own members. The patient and the place are those of the example.
    theirs = {k: v for k, v in request.to_dict().items() if k not in ("date", "time", "doctor", "hospital")}
    chosen = SlotRequest.from_dict(theirs | {"slot": slots.items[-1].slot})
    by_slot = pe_book.sync(client=client, body=chosen)
    assert isinstance(by_slot, PeAppointment) and by_slot.starts_at == slots.items[-1].starts_at, by_slot

    held = pe_create_hold.sync(client=client, body=HoldRequest(slot=slots.items[-2].slot))
    assert isinstance(held, Hold) and held.starts_at == slots.items[-2].starts_at, held
    assert pe_get_hold.sync(held.id, client=client) == held
    by_hold = pe_book.sync(client=client, body=HeldRequest.from_dict(theirs | {"hold": str(held.id)}))
    assert isinstance(by_hold, PeAppointment) and by_hold.starts_at == held.starts_at, by_hold
    # A patient may have three appointments to come, and other clients book for the same one.
    for booked_so in (by_slot, by_hold):
        assert isinstance(pe_cancel.sync(booked_so.id, client=client, body=PeCancelInput()), PeAppointment)
    other = pe_create_hold.sync(client=client, body=HoldRequest(slot=slots.items[-3].slot))
    assert isinstance(other, Hold), other
    assert pe_delete_hold.sync_detailed(other.id, client=client).status_code == HTTPStatus.NO_CONTENT

    forbidden = pe_no_show.sync(appointment.id, client=client, body=PeNoShowInput())
    assert isinstance(forbidden, Problem) and forbidden.status == HTTPStatus.FORBIDDEN, forbidden

    cancelled = pe_cancel.sync(appointment.id, client=client, body=PeCancelInput(reason="Viaje"))
    assert isinstance(cancelled, PeAppointment) and cancelled.phase == Phase.CANCELLED, cancelled

    history = pe_history.sync(appointment.id, client=client)
    assert isinstance(history, PeHistory)
    assert [entry.action for entry in history.items] == ["book", "reschedule", "cancel"]


def chile() -> None:
    request = ClRequestWithRun.from_dict(example("ClRequest") | {"doctor": "53001"})
    appointment = cl_book.sync(client=client, body=request)
    assert isinstance(appointment, ClAppointment), appointment

    page = cl_list.sync(client=client, phase=[Phase.BOOKED, Phase.ARRIVED])
    assert isinstance(page, ClPage) and appointment.id in [item.id for item in page.items]

    move = ClRescheduleInput.from_dict(example("ClRescheduleInput"))
    moved = cl_reschedule.sync(appointment.id, client=client, body=move)
    assert isinstance(moved, ClAppointment) and moved.time == move.time, moved

    cancel = ClCancelInput(reason=ClCancelInputReason.PATIENT)
    cancelled = cl_cancel.sync(appointment.id, client=client, body=cancel)
    assert isinstance(cancelled, ClAppointment) and cancelled.phase == Phase.CANCELLED, cancelled


peru()
chile()
