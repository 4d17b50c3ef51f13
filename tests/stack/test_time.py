"""The deployed stack as time passes: each test moves the functions' clock."""

import re
import secrets
import uuid
from datetime import datetime, timedelta

import pytest

from bookings import is_holiday, request, working_days
from cloud import address, eventually

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def number():
    """Returns a number that no other doctor or patient has."""
    return str(10**9 + secrets.randbelow(9 * 10**9))


def first_accepted(outcomes):
    """Returns the first outcome that is not the refusal of a holiday."""
    return next(outcome for outcome in outcomes if not is_holiday(*outcome))


def start_of(appointment):
    return datetime.fromisoformat(appointment["startsAt"])


class Appointment:
    """An appointment, what is done to it, and the mails about it."""

    def __init__(self, cloud, country, token, bodies, **headers):
        self.cloud, self.patient, self.email = cloud, token, address()
        path = f"/v1/{country}/appointments"

        def send(body):
            self.body = body | {"email": self.email}
            return cloud.call("POST", path, token, self.body, **headers)

        status, self.made = first_accepted(map(send, bodies))
        assert status == 201, self.made
        self.place = f"{path}/{self.made['id']}"

    def do(self, token, action, **members):
        return self.cloud.call("POST", f"{self.place}/{action}", token, members)

    def done(self, token, action, **members):
        status, answer = self.do(token, action, **members)
        assert status == 200, answer
        return answer

    def refused(self, token, action, **members):
        return codes(self.do(token, action, **members))

    def now(self):
        return self.cloud.call("GET", self.place, self.patient)[1]

    def history(self):
        items = self.cloud.call("GET", f"{self.place}/history", self.patient)[1]["items"]
        return [step["action"] for step in items]

    def mails(self, count):
        """Waits until there are so many mails, and returns their texts."""
        eventually(f"there are {count} mails", lambda: len(self.cloud.mails_to(self.email)) == count)
        mails = self.cloud.mails_to(self.email)
        parts = [part for mail in mails for part in mail.walk() if part.get_content_type() == "text/plain"]
        return [part.get_payload(decode=True).decode() for part in parts]


def codes(outcome):
    """Returns the status of a refusal, and the codes of its violations."""
    status, answer = outcome
    return status, *(each["code"] for each in answer.get("violations", []))


# ── Peru: a reminder a day before ──


def visit(cloud, token, time, date=None, **headers):
    """Books on this day, or on the first that is no holiday. The doctor has no other appointment."""
    days, doctor = [date] if date else working_days(), {"doctor": number()[:5]}
    return Appointment(cloud, "pe", token, (request("pe", day, time) | doctor for day in days), **headers)


def reminder_of(visit):
    return start_of(visit.made) - DAY


def test_a_reminder_is_mailed_once_by_the_clock(cloud, clock):
    booked = visit(cloud, cloud.token(), "10:00")
    clock.move_to(reminder_of(booked) - MINUTE)
    cloud.let_time_pass()
    assert booked.history() == ["book"]
    clock.move_to(reminder_of(booked))
    for _ in range(2):
        cloud.let_time_pass()
    assert booked.history() == ["book", "remind"]
    booked.mails(2)


def test_all_that_is_due_is_done_once_though_the_clock_jumps_a_day_ahead_and_back(cloud, clock):
    token, key = cloud.token(), {"Idempotency-Key": str(uuid.uuid4())}
    first = visit(cloud, token, "10:00")
    date = first.made["date"]
    later = visit(cloud, token, "17:00", date)

    def reminded(*visits):
        """Lets time pass, and returns how often each patient was reminded."""
        cloud.let_time_pass()
        return [visit.history().count("remind") for visit in visits]

    clock.move_to(reminder_of(first) + 2 * HOUR - DAY)
    assert reminded(first, later) == [0, 0]
    clock.move(days=1)
    clock.move(days=-1)
    assert reminded(first, later) == [0, 0]

    clock.move(days=1)
    assert reminded(first, later) == [1, 0]
    ahead = visit(cloud, token, "18:00", date, **key)
    clock.move(days=-1)
    repeated = cloud.call("POST", "/v1/pe/appointments", token, ahead.body, **key)
    assert repeated == (201, ahead.made)
    # Its reminder lies in the hours of which a function with the clock ahead has done all that is due.
    back = visit(cloud, token, "10:30", date)
    assert reminded(first, later, ahead, back) == [1, 0, 0, 0]

    clock.move_to(reminder_of(back))
    assert reminded(first, later, ahead, back) == [1, 0, 0, 1]
    clock.move_to(reminder_of(ahead))
    for _ in range(2):
        assert reminded(first, later, ahead, back) == [1, 1, 1, 1]
    visits = [first, later, ahead, back]
    for each in visits:
        each.mails(2)
    _, page = cloud.call("GET", "/v1/pe/appointments", token)
    assert {each["id"] for each in page["items"]} == {each.made["id"] for each in visits}


# ── Colombia: the journey of docs/colombia.md ──

GENERAL = {"specialty": "medicina-general"}
SPECIALIST = {"specialty": "cardiologia", "authorisation": "A-102030"}
THERAPY = {"specialty": "terapia", "authorisation": "A-102030"}
HOSPITAL = {"hospital": "110010000101"}


def person():
    return {"document": {"type": "CC", "number": number()}, "municipality": "11001", "eps": "EPS001"}


def slot(date, time="10:00", **members):
    return HOSPITAL | {"doctor": number(), "date": date, "time": time} | members


class Request(Appointment):
    """A request in Colombia, by a patient or by staff, and the appointment that it becomes."""

    def __init__(self, cloud, specialty, who=None, patient=None):
        self.staff = cloud.token("co:staff")
        super().__init__(cloud, "co", patient or cloud.token(), [(who or person()) | specialty])
        assert self.made["phase"] == "requested"

    def assigned(self, first=10, **members):
        """Assigns a time on the first day from then on that is no holiday."""
        days = working_days(first)
        tries = (self.do(self.staff, "assign", **slot(day, reason="agenda completa", **members)) for day in days)
        status, answer = first_accepted(tries)
        assert (status, answer["status"]) == (200, "por-confirmar"), answer
        return answer

    def link(self, mails):
        """Waits until there are so many mails, and returns the path of their only link."""
        [link] = re.findall(r"Confirmar la cita: (\S+)", "".join(self.mails(mails)))
        return link.removeprefix(self.cloud.outputs["ApiUrl"])


def vaccination(cloud, token, who, date, time):
    members = HOSPITAL | {"specialty": "vacunacion", "date": date, "time": time, "email": address()}
    return cloud.call("POST", "/v1/co/appointments", token, who | members)


def test_colombias_journey_leads_from_a_request_to_the_visit(cloud, clock):
    request = Request(cloud, SPECIALIST)
    staff, date = request.staff, next(working_days(10))
    assert request.refused(staff, "assign", **slot(date)) == (409, "co.assign.not-authorised")
    assert request.do(request.patient, "authorise")[0] == 403
    assert request.done(staff, "authorise")["status"] == "autorizada"
    start = start_of(request.assigned())
    path = request.link(3)
    for _ in range(2):
        assert (cloud.fetch("GET", path)[0], request.now()["status"]) == (200, "por-confirmar")
    assert (cloud.fetch("POST", path)[0], request.now()["status"]) == (200, "confirmada")

    clock.move_to(start - DAY - MINUTE)
    cloud.let_time_pass()
    assert request.history()[-1] == "confirm"
    clock.move_to(start - DAY)
    cloud.let_time_pass()
    assert request.history()[-1] == "remind"
    request.mails(5)
    clock.move_to(start - 2 * HOUR - MINUTE)
    assert request.refused(staff, "arrive") == (422, "co.arrive.too-early")
    clock.move_to(start - 2 * HOUR)
    assert request.done(staff, "arrive")["status"] == "en-espera"
    assert request.refused(staff, "complete") == (422, "co.complete.too-early")
    clock.move_to(start)
    assert [cloud.fetch(method, path)[0] for method in ["GET", "POST"]] == [410, 410]
    assert request.done(staff, "complete")["status"] == "atendida"
    assert request.history() == ["book", "authorise", "assign", "confirm", "remind", "arrive", "complete"]


def test_in_colombia_a_time_that_is_not_confirmed_is_free_again(cloud, clock):
    request, other = Request(cloud, GENERAL), Request(cloud, GENERAL)
    doctor, began = number(), clock.now()
    assigned = request.assigned(doctor=doctor)
    wanted = slot(assigned["date"], doctor=doctor, reason="agenda completa")
    assert other.refused(other.staff, "assign", **wanted) == (409, "co.doctor.taken")
    path = request.link(2)

    clock.move_to(began + 2 * DAY - MINUTE)
    cloud.let_time_pass()
    assert (cloud.fetch("GET", path)[0], request.now()["status"]) == (200, "por-confirmar")
    clock.move(minutes=2)
    assert request.refused(request.patient, "confirm") == (422, "co.confirm.too-late")
    assert cloud.fetch("POST", path)[0] == 422
    cloud.let_time_pass()
    lapsed = request.now()
    assert (lapsed["status"], lapsed["lapses"], lapsed.get("startsAt")) == ("solicitada", 1, None)
    assert (cloud.fetch("POST", path)[0], request.history()[-1]) == (409, "lapse")
    assert other.done(other.staff, "assign", **wanted)["status"] == "por-confirmar"

    # The time to confirm ends two hours before the start, and the second lapse ends the request.
    start = start_of(assigned)
    clock.move_to(start - 30 * HOUR)
    again = request.done(request.staff, "assign", **slot(assigned["date"], reason="agenda completa"))
    clock.move_to(start_of(again) - 2 * HOUR - MINUTE)
    cloud.let_time_pass()
    assert (request.now()["status"], other.now()["status"]) == ("por-confirmar", "solicitada")
    clock.move_to(start_of(again) - 2 * HOUR)
    cloud.let_time_pass()
    assert request.now()["status"] == "cancelada"
    assert request.history() == ["book", "assign", "lapse", "assign", "lapse"]
    assert request.refused(request.staff, "assign", **wanted)[0] == 409


@pytest.mark.parametrize("specialty, refusal", [(GENERAL, "co.assign.reason-missing"), (SPECIALIST, None)])
def test_in_colombia_a_missed_deadline_of_staff_is_recorded_and_the_request_stays(cloud, clock, specialty, refusal):
    request = Request(cloud, specialty)
    midnight = datetime.fromisoformat(f"{request.made['due']}T00:00:00-05:00") + DAY
    clock.move_to(midnight - MINUTE)
    cloud.let_time_pass()
    assert request.history() == ["book"]
    clock.move_to(midnight)
    for _ in range(2):
        cloud.let_time_pass()
    assert (request.history(), request.now()["status"]) == (["book", "overdue"], "solicitada")
    if refusal:
        outcomes = (request.do(request.staff, "assign", **slot(day)) for day in working_days(14))
        assert codes(first_accepted(outcomes)) == (422, refusal)
    else:
        assert request.done(request.staff, "authorise")["status"] == "autorizada"
    assert request.assigned(14)["status"] == "por-confirmar"


def test_in_colombia_a_patient_moves_twice_and_changes_nothing_on_the_last_day(cloud, clock):
    request = Request(cloud, GENERAL)
    patient, staff = request.patient, request.staff
    date = request.assigned()["date"]
    for time in ["11:00", "12:00"]:
        request.done(patient, "reschedule", date=date, time=time)
    assert request.refused(patient, "reschedule", date=date, time="13:00") == (422, "co.reschedule.limit")
    assert request.refused(staff, "reschedule", date=date, time="13:00") == (422, "co.reschedule.reason-missing")
    start = start_of(request.done(staff, "reschedule", date=date, time="13:00", reason="médico enfermo"))
    assert request.done(patient, "confirm")["status"] == "confirmada"

    unmoved = Request(cloud, GENERAL)
    unmoved.assigned(time="13:00")
    unmoved.done(unmoved.patient, "confirm")
    clock.move_to(start - DAY + MINUTE)
    assert request.refused(patient, "cancel") == (422, "co.cancel.too-late")
    late = unmoved.refused(unmoved.patient, "reschedule", date=date, time="14:00")
    assert late == (422, "co.reschedule.too-late")
    assert request.done(staff, "cancel", reason="médico enfermo")["status"] == "cancelada"
    assert unmoved.done(staff, "reschedule", date=date, time="14:00", reason="médico enfermo")["status"] == "confirmada"


def test_in_colombia_a_patient_who_missed_two_appointments_in_half_a_year_is_asked_to_call(cloud, clock):
    who, patient, staff = person(), cloud.token(), cloud.token("co:staff")
    status, first = first_accepted(vaccination(cloud, patient, who, day, "09:00") for day in working_days())
    assert status == 201, first
    status, second = vaccination(cloud, patient, who, first["date"], "15:00")
    assert status == 201, second
    for missed in [first, second]:
        place = f"/v1/co/appointments/{missed['id']}/no-show"
        clock.move_to(start_of(missed) - MINUTE)
        assert codes(cloud.call("POST", place, staff, {})) == (422, "co.no-show.too-early")
        clock.move_to(start_of(missed))
        assert cloud.call("POST", place, staff, {})[1]["status"] == "no-asistio"
    body = who | GENERAL | {"email": address()}

    def asked(token):
        return cloud.call("POST", "/v1/co/appointments", token, body)

    assert codes(asked(patient)) == (422, "co.patient.call-us")
    status, by_staff = asked(staff)
    assert status == 201, by_staff
    assert cloud.call("POST", f"/v1/co/appointments/{by_staff['id']}/cancel", staff, {})[0] == 200
    clock.move(days=180)
    assert asked(patient)[0] == 201


def test_in_colombia_a_request_needs_what_its_specialty_needs_and_may_be_declined(cloud):
    request = Request(cloud, SPECIALIST)

    def asked(body):
        return codes(cloud.call("POST", "/v1/co/appointments", request.patient, body))

    assert asked(request.body) == (409, "co.request.open")
    without_number = request.body | person()
    del without_number["authorisation"]
    assert asked(without_number) == (422, "co.authorisation.missing")
    assert request.refused(request.patient, "decline", reason="falta la orden")[0] == 403
    assert request.done(request.staff, "decline", reason="falta la orden")["status"] == "negada"
    assert request.refused(request.staff, "authorise") == (409, "co.authorise.not-allowed-now")


def test_in_colombia_a_session_an_account_and_a_patient_have_limits(cloud):
    account, patient, who = cloud.token(), cloud.token(), person()
    status, first = first_accepted(vaccination(cloud, account, person(), day, "09:00") for day in working_days(10))
    assert status == 201, first

    def vaccinated(token, who, time):
        return codes(vaccination(cloud, token, who, first["date"], time))

    assert [vaccinated(account, person(), "09:00") for _ in range(9)] == 9 * [(201,)]
    assert vaccinated(account, person(), "09:00") == (409, "co.session.full")
    assert [vaccinated(account, person(), "09:30") for _ in range(10)] == 10 * [(201,)]
    assert vaccinated(account, person(), "10:00") == (409, "co.account.limit")
    times = [f"{hour}:{minute}" for hour in range(10, 15) for minute in ["00", "30"]]
    assert [vaccinated(patient, who, time) for time in times] == 10 * [(201,)]
    assert vaccinated(patient, who, "15:00") == (409, "co.patient.limit")
    assert vaccinated(cloud.token("co:staff"), who, "15:00") == (201,)


def test_in_colombia_a_hospital_has_three_rooms_for_therapy(cloud):
    requests = [Request(cloud, THERAPY) for _ in range(4)]
    for request in requests:
        request.done(request.staff, "authorise")
    rooms = [requests[0].assigned(12)]
    wanted = {"date": rooms[0]["date"], "time": "10:00"}
    rooms += [request.done(request.staff, "assign", **slot(**wanted)) for request in requests[1:3]]
    assert [assigned["room"] for assigned in rooms] == ["1", "2", "3"]
    assert requests[3].refused(requests[3].staff, "assign", **slot(**wanted)) == (409, "co.room.taken")
