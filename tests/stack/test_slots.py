"""Free slots, holds and agendas on the deployed stack."""

import secrets
from collections import Counter
from urllib.parse import urlencode

from bookings import PATIENTS, working_days
from cloud import address

HOSPITAL = "00006219"


class Doctor:
    """A doctor of Peru whom no other test books."""

    def __init__(self, cloud):
        self.cloud, self.key = cloud, str(10_000 + secrets.randbelow(80_000))
        self.patient, self.staff = cloud.token(), cloud.token("pe:staff")

    def free(self, **parameters):
        """Returns the page of free slots of a week of working days."""
        search = {"doctor": self.key, "hospital": HOSPITAL, "district": "150122", "from": next(working_days()), "days": 7}
        status, page = self.cloud.call("GET", f"/v1/pe/slots?{urlencode(search | parameters)}", self.patient)
        assert status == 200, page
        return page

    def post(self, path, body, token=None):
        return self.cloud.call("POST", f"/v1/pe/{path}", token or self.patient, body)

    def book(self, **named):
        return self.post("appointments", {"dni": next(PATIENTS), "email": address(), "district": "150122", **named})

    def starts(self):
        return [slot["startsAt"] for slot in self.free()["items"]]


def test_a_slot_that_is_shown_is_held_booked_and_moved(cloud):
    doctor = Doctor(cloud)
    first, second, *_ = doctor.free()["items"]

    status, hold = doctor.post("holds", {"slot": first["slot"]})
    assert status == 201, hold
    assert first["startsAt"] not in doctor.starts()
    stranger = cloud.token()
    status, refused = doctor.post("holds", {"slot": first["slot"]}, stranger)
    assert status == 409 and refused["type"] == "/problems/slot-taken", refused

    status, booked = doctor.book(hold=hold["id"])
    assert (status, booked["startsAt"]) == (201, first["startsAt"]), booked
    assert cloud.call("GET", f"/v1/pe/holds/{hold['id']}", doctor.patient)[0] == 404

    status, moved = doctor.post(f"appointments/{booked['id']}/reschedule", {"slot": second["slot"]})
    assert (status, moved["startsAt"], moved["revision"]) == (200, second["startsAt"], 2), moved
    starts = doctor.starts()
    assert first["startsAt"] in starts and second["startsAt"] not in starts


def test_a_hold_that_is_given_up_frees_its_slot_and_an_account_has_three(cloud):
    doctor = Doctor(cloud)
    slots = doctor.free()["items"]
    holds = [doctor.post("holds", {"slot": slot["slot"]}) for slot in slots[:4]]
    assert [status for status, _ in holds] == [201, 201, 201, 409], holds
    assert holds[3][1]["type"] == "/problems/hold-limit", holds[3]
    assert cloud.call("DELETE", f"/v1/pe/holds/{holds[0][1]['id']}", doctor.patient)[0] == 204
    assert slots[0]["startsAt"] in doctor.starts()
    assert doctor.post("holds", {"slot": slots[3]["slot"]})[0] == 201


def test_an_agenda_bounds_what_is_shown_and_booked(cloud):
    doctor = Doctor(cloud)
    before = doctor.free()["items"]
    date = before[0]["start"][:10]
    hours = {"date": date, "from": "09:00", "to": "10:00", "minutes": 30, "zone": "America/Lima", "hospital": HOSPITAL}
    agenda, path = {"weekly": [], "extra": [hours]}, f"/v1/pe/agendas/{doctor.key}"
    assert cloud.call("PUT", path, doctor.patient, agenda, **{"If-None-Match": "*"})[0] == 403
    status, stored = cloud.call("PUT", path, doctor.staff, agenda, **{"If-None-Match": "*"})
    assert (status, stored["revision"], stored["outside"]) == (201, 1, []), stored

    shown = doctor.free()["items"]
    assert [slot["start"][11:16] for slot in shown] == ["09:00", "09:30"], shown
    outside = next(slot for slot in before if slot["start"][11:16] == "10:30" and slot["start"][:10] == date)
    status, refused = doctor.book(slot=outside["slot"])
    assert status == 422 and refused["violations"][0]["code"] == "agenda.outside", refused
    status, booked = doctor.book(slot=shown[0]["slot"])
    assert status == 201, booked

    closed = {"weekly": []}
    status, planned = cloud.call("PUT", f"{path}?dry-run=true", doctor.staff, closed, **{"If-Match": '"1"'})
    assert status == 200 and [each["id"] for each in planned["outside"]] == [booked["id"]], planned
    assert cloud.call("PUT", path, doctor.staff, closed, **{"If-Match": '"1"'})[0] == 200
    assert doctor.free()["reason"]["code"] == "no-agenda"
    status, history = cloud.call("GET", f"{path}/history", doctor.staff)
    assert [each["revision"] for each in history["items"]] == [1, 2], history


def test_a_month_of_a_doctor_is_counted_by_day(cloud):
    doctor = Doctor(cloud)
    days = {day["date"]: day["free"] for day in doctor.free(view="days", days=31)["items"]}
    week = Counter(slot["start"][:10] for slot in doctor.free(limit=1000)["items"])
    assert len(days) == 31 and sum(week.values()) > 0
    assert [week[date] for date in list(days)[:7]] == list(days.values())[:7]
