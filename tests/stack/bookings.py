"""Requests to the countries, and days on which they are accepted."""

import datetime
import itertools

from cloud import address

REQUESTS = {
    "pe": {"doctor": "45678", "hospital": "00006219", "district": "150122"},
    "cl": {
        "doctor": "123456",
        "hospital": "109100",
        "run": "12.345.678-5",
        "comuna": "13101",
        "modality": "presencial",
        "prevision": {"system": "fonasa", "tramo": "B"},
    },
    "xx": {"doctor": "300"},
}

# Peru's patients, one for each booking, because nobody may have more than three to come.
PATIENTS = (f"{number:08}" for number in itertools.count(20_000_001))

# Weeks from now and half hours of a person's day. No two tests use the same pair.
HALF_HOURS = (
    (week, f"{hour:02}:{minute}") for week in itertools.count() for hour in range(9, 20) for minute in ["00", "30"]
)


def working_days(first=3, week=0):
    """Yields days on which doctors see patients, by the calendar alone. Only the rules know the holidays."""
    today = datetime.date.today()
    days = (today + datetime.timedelta(days=ahead) for ahead in range(first + 7 * week, 80))
    return (str(day) for day in days if day.weekday() < 5)


def request(country, date, time, email=None):
    patient = {"dni": next(PATIENTS)} if country == "pe" else {}
    return REQUESTS[country] | patient | {"date": date, "time": time, "email": email or address()}


def book(cloud, country, token, email=None, first=3):
    """Books on the first day that is no holiday."""
    week, half_hour = next(HALF_HOURS)
    for date in working_days(first, week):
        status, answer = cloud.call(
            "POST", f"/v1/{country}/appointments", token, request(country, date, half_hour, email)
        )
        if not is_holiday(status, answer):
            assert status == 201, (status, answer)
            return answer
    raise AssertionError("every day is a holiday")


def is_holiday(status, answer):
    return status == 422 and any(each["code"].endswith(".date.holiday") for each in answer["violations"])
