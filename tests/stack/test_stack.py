"""The deployed stack as its clients, a country's team and the platform team use it."""

import base64
import datetime
import itertools
import json
import re
import shutil
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import icalendar
import pytest

import templates
from bookings import HALF_HOURS, book, is_holiday, request, working_days
from cloud import FUNCTIONS, PLATFORM, REFRESH_SECONDS, ROOT, SCOPES, address, eventually

# Recipients to whom SES sends no mail, for reasons that server.py gives.
REFUSED, UNVERIFIED_SENDER = "ana@refused.example", "ana@unverified-sender.example"


def test_a_booking_in_peru_is_mailed_once_with_its_events_id(cloud):
    before, patient = set(cloud.events("pe")), address()
    booked = book(cloud, "pe", cloud.token(), patient)
    [event] = set(cloud.events("pe")) - before
    mails = eventually("the mail arrives", lambda: cloud.mails_to(patient))
    assert len(mails) == 1
    assert any(event in value for value in mails[0].values()), mails[0].items()
    invitation = next(part for part in mails[0].walk() if part.get_content_type() == "text/calendar")
    [entry] = icalendar.Calendar.from_ical(invitation.get_payload(decode=True)).events
    assert (entry["UID"], entry["SUMMARY"], entry["LOCATION"]) == tuple(
        booked[member] for member in ["id", "description", "location"]
    )
    assert entry["ATTENDEE"] == f"mailto:{patient}"
    assert entry.start == datetime.datetime.fromisoformat(booked["startsAt"])
    assert entry.end - entry.start == datetime.timedelta(minutes=booked["minutes"])
    assert [alarm["TRIGGER"].dt for alarm in entry.walk("VALARM")] == [
        -datetime.timedelta(hours=24),
        -datetime.timedelta(hours=2),
    ]


def test_a_booking_in_chile_tells_nobody(cloud):
    token, chilean, peruvian = cloud.token(), address(), address()
    book(cloud, "cl", token, chilean)
    book(cloud, "pe", token, peruvian)
    eventually("the later one's mail arrives", lambda: cloud.mails_to(peruvian))
    assert cloud.mails_to(chilean) == []
    assert cloud.events("cl") == []


def test_what_was_booked_is_got_listed_and_cancelled(cloud):
    token = cloud.token()
    booked = book(cloud, "pe", token)
    place = f"/v1/pe/appointments/{booked['id']}"
    assert cloud.call("GET", place, token)[1]["id"] == booked["id"]
    status, page = cloud.call("GET", "/v1/pe/appointments", token)
    assert (status, [each["id"] for each in page["items"]]) == (200, [booked["id"]])
    assert cloud.call("POST", f"{place}/cancel", token, {}, **{"If-Match": '"1"'})[1]["phase"] == "cancelled"
    assert cloud.call("POST", f"{place}/cancel", token, {}, **{"If-Match": '"1"'})[0] == 412


def test_the_link_in_a_mail_confirms_once_without_a_token(cloud):
    cloud.deploy_country("ut")
    cloud.publish("tests/contract_2")
    cloud.promote("ut", "2.0.0")
    patient, token = address(), cloud.token()
    date = str(datetime.date.today() + datetime.timedelta(days=20))
    visit = {"patient": "1", "doctor": "45678", "date": date, "time": "09:30", "email": patient}
    _, booked = eventually("it is booked", lambda: booked_in(cloud, "ut", token, visit))
    [mail] = eventually("the mail arrives", lambda: cloud.mails_to(patient))
    text = next(part for part in mail.walk() if part.get_content_type() == "text/plain")
    [link] = re.findall(r"To confirm it: (\S+)\. ", text.get_payload(decode=True).decode())
    path = link.removeprefix(cloud.outputs["ApiUrl"])
    assert path.startswith("/links/"), link
    for _ in range(2):
        status, page = cloud.fetch("GET", path)
        assert (status, b'<form method="post">' in page) == (200, True), page
    forged = f"{path[:-1]}{'B' if path[-1] == 'A' else 'A'}"
    assert [cloud.fetch(method, forged)[0] for method in ["GET", "POST"]] == [404, 404]
    place = f"/v1/ut/appointments/{booked['id']}"
    assert cloud.call("GET", place, token)[1]["phase"] == "pending"
    with ThreadPoolExecutor(5) as presses:
        pages = list(presses.map(lambda _: cloud.fetch("POST", path), range(5)))
    assert {status for status, _ in pages} == {200}, pages
    _, history = cloud.call("GET", f"{place}/history", token)
    assert [each["action"] for each in history["items"]] == ["book", "confirm"]
    assert history["items"][1]["appointment"]["phase"] == "booked"


def booked_in(cloud, country, token, request):
    """Returns the status and the appointment, or none while the functions have no rules of the country."""
    status, answer = cloud.call("POST", f"/v1/{country}/appointments", token, request)
    return (status, answer) if status == 201 else None


def test_revisions_are_numbered_without_a_gap_and_nothing_personal_lies_open(cloud):
    email = address()
    book(cloud, "pe", cloud.token(), email)

    def items():
        pages = cloud.client("dynamodb").get_paginator("scan").paginate(TableName="citas-pe", ConsistentRead=True)
        return [item for page in pages for item in page["Items"]]

    def numbers():
        numbers = [item.get("sequence", {"N": "0"})["N"] for item in items() if item["kind"]["S"] == "revision"]
        return sorted(map(int, numbers))

    eventually("each revision has a number", lambda: numbers() == list(range(1, len(numbers()) + 1)))
    personal = {item["kind"]["S"] for item in items() if email in json.dumps(item)}
    assert personal == {"personal"}


def test_the_command_prints_the_token_of_whoever_signs_in(cloud):
    printed = cloud.sign_in_by_command(*cloud.user("pe:staff"))
    [token] = printed.splitlines()
    booked = book(cloud, "pe", token)
    assert cloud.call("GET", f"/v1/pe/appointments/{booked['id']}", token)[1]["id"] == booked["id"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json", "/v1/countries", "/v1/pe/schema"])
def test_what_everybody_may_see_needs_no_token(cloud, path):
    assert cloud.call("GET", path)[0] == 200


@pytest.mark.parametrize("path", ["/docs", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css"])
def test_the_description_is_shown_with_all_that_its_page_needs(cloud, path):
    status, page = cloud.fetch("GET", path)
    assert (status, len(page) > 200) == (200, True)


def test_the_platform_team_sees_which_rules_are_in_force(cloud):
    status, answer = cloud.call("GET", "/v1/pe/rules", cloud.token("platform"))
    assert (status, answer["rules"]["version"]) == (200, "3.0.0")
    assert cloud.call("GET", "/v1/pe/rules", cloud.token())[0] == 403


@pytest.mark.parametrize(
    "method, path", [("GET", "/v1/pe/appointments"), ("POST", "/v1/pe/appointments"), ("GET", "/v1/pe/rules")]
)
def test_without_a_token_nobody_comes_in(cloud, method, path):
    assert cloud.call(method, path)[0] == 401


def test_a_forged_token_is_refused(cloud):
    header, claims, signature = cloud.token().split(".")
    other = json.loads(base64.urlsafe_b64decode(claims + "=="))
    other["cognito:groups"] = ["platform"]
    altered = base64.urlsafe_b64encode(json.dumps(other).encode()).decode().rstrip("=")
    assert cloud.call("GET", "/v1/pe/appointments", f"{header}.{claims}.{signature}")[0] == 200
    assert cloud.call("GET", "/v1/pe/appointments", f"{header}.{altered}.{signature}")[0] == 401
    assert cloud.call("GET", "/v1/pe/appointments", f"{header}.{claims}.{signature[:-8]}AAAAAAAA")[0] == 401


def test_a_token_for_another_audience_is_refused(cloud):
    client = cloud.client("cognito-idp").create_user_pool_client(
        UserPoolId=cloud.outputs["UserPoolId"],
        ClientName="another",
        AllowedOAuthFlowsUserPoolClient=True,
        AllowedOAuthFlows=["code"],
        AllowedOAuthScopes=SCOPES.split(),
        CallbackURLs=[cloud.outputs["CallbackUrl"]],
        SupportedIdentityProviders=["COGNITO"],
    )["UserPoolClient"]["ClientId"]
    token = cloud.sign_in(*cloud.user(), client=client)
    assert cloud.call("GET", "/v1/pe/appointments", token)[0] == 401


def test_an_expired_token_is_refused(cloud):
    cognito = cloud.client("cognito-idp")
    known = {"UserPoolId": cloud.outputs["UserPoolId"], "ClientId": cloud.outputs["ClientId"]}
    client = cognito.describe_user_pool_client(**known)["UserPoolClient"]
    kept = {name: value for name, value in client.items() if value and name not in ["CreationDate", "LastModifiedDate"]}
    seconds = {"AccessTokenValidity": 3, "TokenValidityUnits": kept["TokenValidityUnits"] | {"AccessToken": "seconds"}}
    cognito.update_user_pool_client(**kept | seconds)
    try:
        token = cloud.token()
    finally:
        cognito.update_user_pool_client(**kept)

    def status():
        return cloud.call("GET", "/v1/pe/appointments", token)[0]

    assert status() == 200
    eventually("the token has expired", lambda: status() == 401)


def test_another_countrys_staff_is_refused(cloud):
    staff = cloud.token("pe:staff")
    assert cloud.call("GET", "/v1/pe/appointments", staff)[0] == 200
    week, half_hour = next(HALF_HOURS)
    for method, body in [("GET", None), ("POST", request("cl", next(working_days(week=week)), half_hour))]:
        status, answer = cloud.call(method, "/v1/cl/appointments", staff, body)
        assert (status, answer["type"]) == (403, "/problems/forbidden")


def test_a_scope_that_was_not_granted_is_missed(cloud):
    reader = cloud.sign_in(*cloud.user(), scopes="appointments/read")
    assert cloud.call("GET", "/v1/pe/appointments", reader)[0] == 200
    week, half_hour = next(HALF_HOURS)
    body = request("pe", next(working_days(week=week)), half_hour)
    status, _ = cloud.call("POST", "/v1/pe/appointments", reader, body)
    assert status == 403


def test_twenty_at_once_for_one_slot_are_one_booking(cloud):
    token, (week, half_hour) = cloud.token(), next(HALF_HOURS)
    for date in working_days(week=week):
        wanted = [request("pe", date, half_hour) for _ in range(20)]
        with ThreadPoolExecutor(20) as clients:
            answers = list(clients.map(lambda body: cloud.call("POST", "/v1/pe/appointments", token, body), wanted))
        if not is_holiday(*answers[0]):
            break
    assert sorted(status for status, _ in answers) == [201] + 19 * [409]


class Clients:
    """Clients that repeat a request without a pause and record the status of every answer."""

    def __init__(self, cloud, token):
        self.cloud, self.token, self.statuses, self.done = cloud, token, [], threading.Event()
        self.threads = [threading.Thread(target=self._ask) for _ in range(2)]

    def _ask(self):
        while not self.done.is_set():
            self.statuses.append(self.cloud.call("GET", "/v1/pe/appointments", self.token)[0])

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        for thread in self.threads:
            thread.join()


def peru_with_a_holiday(folder, date):
    """Copies the sources, with one more holiday in Peru 3.0.1."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns("target", ".git", ".venv", ".aws-sam"))
    # The copy starts with the compiled dependencies, in a place of its own: its builds must not pass for the tree's.
    shutil.copytree(ROOT / "target/rules", folder / "target/rules")
    edit(folder / "countries/pe/Cargo.toml", r'^version = "3\.0\.0"', 'version = "3.0.1"')
    year, month, day = map(int, date.split("-"))
    edit(
        folder / "countries/pe/src/holidays.rs",
        r"^(    national\()",
        rf'    national("Feriado de prueba", On::Once({year}, {month}, {day})),\n\1',
    )
    return folder / "countries/pe"


def edit(file, pattern, replacement):
    text, found = re.subn(pattern, replacement, file.read_text(), count=1, flags=re.MULTILINE)
    assert found, f"{file} has no {pattern}"
    file.write_text(text)


@pytest.fixture(scope="session")
def holiday(cloud, tmp_path_factory):
    """Returns a day that is a holiday in Peru 3.0.1 alone. That version is published and not in use."""
    # Far enough ahead that no golden case uses the day.
    date = book(cloud, "pe", cloud.token(), first=40)["date"]
    cloud.publish(peru_with_a_holiday(tmp_path_factory.mktemp("newer") / "sources", date))
    return date


def test_a_new_version_comes_into_force_while_everything_runs(cloud, holiday):
    token = cloud.token()
    deployed = cloud.functions()
    with Clients(cloud, token) as clients:
        cloud.promote("pe", "3.0.1")
        promoted = time.monotonic()
        _, other = next(HALF_HOURS)

        def refused():
            return is_holiday(*cloud.call("POST", "/v1/pe/appointments", token, request("pe", holiday, other)))

        eventually("the new holiday is kept", refused)
        took = time.monotonic() - promoted
    # Besides the interval, a function takes time to load the rules, and this machine to answer.
    assert took < REFRESH_SECONDS + 5
    assert set(clients.statuses) == {200}
    assert cloud.functions() == deployed
    cloud.citas("rules", "rollback", "pe", "--why", "a test", "--registry", cloud.outputs["Registry"])
    eventually("the rules before are in force again", lambda: not refused())


def book_on(cloud, date):
    """Books on this day, for a patient and with a doctor that no other booking has."""
    dni = f"{uuid.uuid4().int % 100_000_000:08}"
    body = request("pe", date, "10:00") | {"dni": dni, "doctor": dni[:5]}
    return cloud.call("POST", "/v1/pe/appointments", cloud.token(), body)


def test_a_shadow_is_compared_where_it_costs_no_client(cloud, holiday):
    cloud.trial("shadow", "pe", "3.0.1")
    place = "book refused pe.date.holiday"

    def found():
        # Decisions stored before the functions know of the trial are not compared.
        assert book_on(cloud, holiday)[0] == 201
        found = cloud.found("pe")
        return found if place in found["places"] else None

    try:
        found = eventually("the shadow is compared", found, 60)
        sample = found["places"][place]["sample"]
        assert (sample["input"]["date"], sample["input"]["dni"], sample["input"]["email"]) == (holiday, "…", "…")
        assert found["differed"] <= found["compared"] and "example.com" not in json.dumps(found)
    finally:
        cloud.trial("withdraw", "pe")


def test_a_canary_that_refuses_too_much_is_taken_back_over_all_functions(cloud, holiday):
    cloud.trial("canary", "pe", "3.0.1", "--share", "100", "--margin", "1")

    def refused():
        return is_holiday(*book_on(cloud, holiday))

    eventually("the canary decides", refused)
    # One refusal in a hundred is within the margin. The second is not, whichever instances of the function decide.
    eventually("the canary is taken back", lambda: refused() or "candidate" not in cloud.channel("pe"))
    eventually("the channel has it no more", lambda: "candidate" not in cloud.channel("pe"))
    last = cloud.channel("pe")["history"][-1]
    assert (last["verb"], last["version"], last["by"]) == ("withdraw", "3.0.1", "citas")
    eventually("the version in use decides alone", lambda: not refused())
    assert cloud.found("pe")["canary"]["refused"] >= 2


def test_what_nobody_signed_is_not_compiled(cloud):
    s3, bucket = cloud.client("s3"), cloud.outputs["Registry"].removeprefix("s3://")
    # The files of 3.0.0, published as another version without a signature.
    for name in ["rules.wasm", "cases.json", "manifest.json"]:
        content = s3.get_object(Bucket=bucket, Key=f"pe/versions/3.0.0/{name}")["Body"].read()
        if name == "manifest.json":
            content = json.dumps(json.loads(content) | {"version": "0.0.1"}).encode()
        s3.put_object(Bucket=bucket, Key=f"pe/versions/0.0.1/{name}", Body=content)
    eventually("it is refused", lambda: any("it is not signed" in line for line in cloud.function_logs()))


def test_another_country_is_its_own_stack_and_a_component(cloud):
    def platform():
        return cloud.client("cloudformation").describe_stacks(StackName=PLATFORM)["Stacks"][0].get("LastUpdatedTime")

    before = cloud.functions(), platform()
    assert "xx" not in json.dumps(cloud.call("GET", "/v1/countries")[1])
    cloud.deploy_country("xx")
    cloud.publish("tests/chaos")
    cloud.promote("xx", "1.0.0")
    eventually("the country is known", lambda: "xx" in json.dumps(cloud.call("GET", "/v1/countries")[1]))
    assert book(cloud, "xx", cloud.token())["country"] == "xx"
    assert (cloud.functions(), platform()) == before


def test_a_deployment_is_repeated_and_makes_native_code_that_is_missing(cloud):
    functions, keys = cloud.functions(), cloud.native("cl", "3.0.0")
    # The native code is missing, as after a deployment with another engine whose last step failed.
    cloud.forget_native("pe", "3.0.0")
    said = cloud.deploy_platform_again()
    assert "compiling pe 3.0.0" in said and "compiling cl 3.0.0" not in said, said
    assert cloud.native("pe", "3.0.0") and cloud.native("cl", "3.0.0") == keys
    assert cloud.functions() == functions
    cloud.deploy_country("pe")


def test_precompile_by_hand_makes_all_native_code_that_is_missing(cloud):
    cloud.forget_native("pe", "3.0.0")
    answer = cloud.client("lambda").invoke(FunctionName=f"{PLATFORM}-precompile", Payload="{}")
    assert "FunctionError" not in answer, answer["Payload"].read()
    assert cloud.native("pe", "3.0.0")


def test_a_deployment_fails_if_functions_could_not_load_what_is_in_use(cloud):
    s3, bucket = cloud.client("s3"), cloud.outputs["Registry"].removeprefix("s3://")
    key = "yy/channel.json"
    s3.put_object(Bucket=bucket, Key=key, Body=b"{")
    try:
        done = cloud.run("just", "native-code")
        assert done.returncode != 0 and "yy channel.json" in done.stderr, done.stdout + done.stderr
    finally:
        s3.delete_object(Bucket=bucket, Key=key)


def test_keys_that_may_sign_arrive_whole(cloud):
    function = cloud.client("lambda").get_function_configuration(FunctionName=f"{PLATFORM}-precompile")
    assert " " in cloud.trusted and ";" in cloud.trusted
    assert function["Environment"]["Variables"]["CITAS_TRUSTED_KEYS"] == cloud.trusted


def test_a_first_deployment_that_failed_is_repeated(cloud, tmp_path):
    template = tmp_path / "country.yaml"
    broken = "  Broken:\n    Type: AWS::Cognito::UserPoolGroup\n    DependsOn: [Table, Decisions]\n"
    broken += "    Properties: { GroupName: broken, UserPoolId: us-east-1_nowhere }\n"
    template.write_text((ROOT / "countries/country.yaml").read_text().replace("\nOutputs:\n", f"\n{broken}\nOutputs:\n"))
    options = ["--template-file", str(template), "--stack-name", f"{PLATFORM}-qq", "--on-failure", "DELETE"]
    done = cloud.run("sam", "deploy", *options, "--parameter-overrides", "Country=qq")
    assert done.returncode != 0 and "Broken" in done.stdout, done.stdout + done.stderr
    assert "citas-qq" not in cloud.client("dynamodb").list_tables()["TableNames"]
    cloud.deploy_country("qq")
    assert "citas-qq" in cloud.client("dynamodb").list_tables()["TableNames"]


def counted(cloud, function):
    """Returns the sum of each counter in a function's log: by namespace, name, and labels."""
    sums = {}
    for line in cloud.function_logs():
        group, _, text = line.partition(" ")
        if not (group.endswith(f"-{function}") and text.startswith('{"_aws"')):
            continue
        document = json.loads(text)
        for metrics in document["_aws"]["CloudWatchMetrics"]:
            for names, metric in itertools.product(metrics["Dimensions"], metrics["Metrics"]):
                labels = frozenset((name, document[name]) for name in names)
                place, value = (metrics["Namespace"], metric["Name"], labels), document[metric["Name"]]
                sums[place] = sums.get(place, 0) + (value if isinstance(value, int) else 0)
    return sums


def watched(alarm):
    labels = frozenset((each["Name"], each["Value"]) for each in alarm["Dimensions"])
    return alarm["Namespace"], alarm["MetricName"], labels


@pytest.mark.parametrize(
    "recipient, alarm",
    [
        (UNVERIFIED_SENDER, templates.platform()["NoticesFailAlarm"]),
        (REFUSED, templates.country()["MailsRefusedAlarm"]),
    ],
)
def test_a_mail_that_ses_does_not_take_is_counted_where_an_alarm_looks(cloud, recipient, alarm):
    place = watched(alarm["Properties"])
    before = counted(cloud, "notifier").get(place, 0)
    book(cloud, "pe", cloud.token(), recipient)
    eventually("it is counted", lambda: counted(cloud, "notifier").get(place, 0) > before)
    assert cloud.mails_to(recipient) == []


# ── Least privilege: each function's work, with its own role and with the others' ──


def does_api(cloud):
    # Peru accepts an emergency from its staff, on a holiday too.
    week, half_hour = next(HALF_HOURS)
    body = request("pe", next(working_days(week=week)), half_hour) | {"emergency": True}
    key = {"Idempotency-Key": str(uuid.uuid4())}
    return cloud.call("POST", "/v1/pe/appointments", cloud.token("pe:staff"), body, **key)[0] == 201


def does_relay(cloud):
    [item, *_] = cloud.client("dynamodb").scan(
        TableName="citas-pe", FilterExpression="kind = :event", ExpressionAttributeValues={":event": {"S": "event"}}
    )["Items"]
    return invoke(cloud, "relay", stream_record(cloud, item))


def does_trial(cloud):
    """Withdraws a canary whose decisions exceed its margin."""
    cloud.trial("canary", "pe", "3.0.1", "--share", "1", "--margin", "0")
    item = {
        "pk": {"S": f"T#{cloud.channel('pe')['candidate']['trial']}"},
        "sk": {"S": "K"},
        "kind": {"S": "canary"},
        "country": {"S": "pe"},
        "decided": {"N": "1"},
        "refused": {"N": "1"},
        "unanswered": {"N": "0"},
    }
    cloud.client("dynamodb").put_item(TableName="citas-pe", Item=item)

    def taken_back():
        return invoke(cloud, "trial", stream_record(cloud, item)) and "candidate" not in cloud.channel("pe")

    try:
        # An instance's copy of the channel is up to an interval old.
        deadline = time.monotonic() + REFRESH_SECONDS + 3
        while time.monotonic() < deadline:
            if taken_back():
                return True
        return False
    finally:
        if "candidate" in cloud.channel("pe"):
            cloud.trial("withdraw", "pe")


def stream_record(cloud, item):
    """Returns the stream record of an item that was written to Peru's table."""
    return {
        "eventID": "1",
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "eventSourceARN": cloud.client("dynamodb").describe_table(TableName="citas-pe")["Table"]["LatestStreamArn"],
        "dynamodb": {
            "ApproximateCreationDateTime": 1795510800,
            "Keys": {name: item[name] for name in ["pk", "sk"]},
            "NewImage": item,
            "SequenceNumber": "1",
            "SizeBytes": 1,
            "StreamViewType": "NEW_IMAGE",
        },
    }


def does_wake(cloud):
    """Postpones an action that the rules do not have. No booking leads to one, so a stored action is changed, and made due."""
    booked, now = book(cloud, "pe", cloud.token()), datetime.datetime.now(datetime.timezone.utc)
    dynamodb = cloud.client("dynamodb")
    item = {"TableName": "citas-pe", "Key": {"pk": {"S": f"A#{booked['id']}"}, "sk": {"S": "A"}}}
    dynamodb.update_item(
        **item,
        UpdateExpression="SET wakeHour = :hour, wakeAt = :at, wake.#action = :action",
        ExpressionAttributeNames={"#action": "action"},
        ExpressionAttributeValues={
            ":hour": {"S": now.strftime("%Y-%m-%dT%HZ")},
            ":at": {"S": now.strftime("%Y-%m-%dT%H:%M:%S.%f000Z")},
            ":action": {"S": "unheard-of"},
        },
    )
    answer = cloud.client("lambda").invoke(FunctionName=f"{PLATFORM}-wake", Payload="{}")
    is_postponed = "wakeFailed" in dynamodb.get_item(**item)["Item"]
    # The next test finds nothing due.
    dynamodb.update_item(**item, UpdateExpression="REMOVE wakeHour, wakeAt, wake")
    return "FunctionError" not in answer and is_postponed


def does_notifier(cloud):
    event = an_event(cloud) | {"id": str(uuid.uuid4())}
    return invoke(
        cloud,
        "notifier",
        {
            "messageId": "1",
            "receiptHandle": "1",
            "body": json.dumps(event),
            "attributes": {},
            "messageAttributes": {},
            "md5OfBody": "",
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:citas-notices",
            "awsRegion": "us-east-1",
        },
    )


def does_precompile(cloud):
    bucket = cloud.outputs["Registry"].removeprefix("s3://")
    cloud.forget_native("pe", "3.0.0")
    return invoke(
        cloud,
        "precompile",
        {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": "us-east-1",
            "eventTime": "2026-11-24T15:00:00.000Z",
            "eventName": "ObjectCreated:Put",
            "s3": {
                "bucket": {"name": bucket, "arn": f"arn:aws:s3:::{bucket}"},
                "object": {"key": "pe/versions/3.0.0/manifest.json"},
            },
        },
    )


def invoke(cloud, function, record):
    answer = cloud.client("lambda").invoke(
        FunctionName=f"{PLATFORM}-{function}", Payload=json.dumps({"Records": [record]})
    )
    said = json.loads(answer["Payload"].read() or "null") or {}
    return "FunctionError" not in answer and not said.get("batchItemFailures")


def an_event(cloud):
    """Returns a published event as a subscriber of the topic gets it."""
    sns, sqs = cloud.client("sns"), cloud.client("sqs")
    queue = sqs.create_queue(QueueName=f"listener-{uuid.uuid4()}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = {
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "sns.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": arn,
            }
        ]
    }
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(policy)})
    subscription = sns.subscribe(
        TopicArn=cloud.outputs["EventsArn"],
        Protocol="sqs",
        Endpoint=arn,
        ReturnSubscriptionArn=True,
        Attributes={"RawMessageDelivery": "true"},
    )["SubscriptionArn"]
    try:
        assert does_relay(cloud)

        def heard():
            return sqs.receive_message(QueueUrl=queue).get("Messages")

        return json.loads(eventually("the event is published", heard)[0]["Body"])
    finally:
        sns.unsubscribe(SubscriptionArn=subscription)


JOBS = {
    "api": does_api,
    "relay": does_relay,
    "notifier": does_notifier,
    "trial": does_trial,
    "wake": does_wake,
    "precompile": does_precompile,
}


@pytest.mark.parametrize("function, role", list(itertools.product(FUNCTIONS, FUNCTIONS)))
def test_a_function_does_its_job_with_its_own_role_alone(cloud, holiday, function, role):
    functions = cloud.client("lambda")
    name = f"{PLATFORM}-{function}"
    if not cloud.events("pe"):
        book(cloud, "pe", cloud.token())
    own = functions.get_function_configuration(FunctionName=name)
    others = functions.get_function_configuration(FunctionName=f"{PLATFORM}-{role}")["Role"]
    # The timeout is set to its old value: the server starts a new environment for a timeout and not for a role.
    functions.update_function_configuration(FunctionName=name, Role=others, Timeout=own["Timeout"])
    try:
        assert JOBS[function](cloud) == (role == function)
    finally:
        functions.update_function_configuration(FunctionName=name, Role=own["Role"], Timeout=own["Timeout"])
