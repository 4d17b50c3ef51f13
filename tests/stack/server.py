"""Runs ministack with additions that the tests need. Ends when its standard input does, however that ends."""

import base64
import contextvars
import email
import json
import os
import struct
import sys
import threading
from email.utils import parseaddr
from pathlib import Path

from ministack import app
from ministack.core import iam_actions, iam_evaluator, lambda_runtime, sigv4
from ministack.services import secretsmanager, ses_v2
from ministack.services.cloudformation import provisioners

# Requests count as TLS requests: the loopback interface has no TLS, and the policies that demand it are in force.
pin = app.pin_request_origin
app.pin_request_origin = lambda address, secure: pin(address, True)

# A batch counts as publishing: AWS has no separate action for it.
action_of = iam_actions.extract_iam_action


def action(*asked, **more):
    found = action_of(*asked, **more)
    return "sns:Publish" if found == "sns:PublishBatch" else found


iam_actions.extract_iam_action = action

# A mail is authorised on the sender's identity, with the sender's address in `ses:FromAddress`.
sender = contextvars.ContextVar("sender", default=None)
resource_of = iam_actions._ses_v2_resource_arn


def mail_resource(method, path, body, region, account):
    if path.rstrip("/") != "/v2/email/outbound-emails":
        return resource_of(method, path, body, region, account)
    mail = json.loads(body)
    named = (
        mail.get("FromEmailAddress")
        or email.message_from_bytes(base64.b64decode(mail["Content"]["Raw"]["Data"]))["From"]
    )
    sender.set(parseaddr(named)[1])
    return f"arn:aws:ses:{region}:{account}:identity/{sender.get()}"


iam_actions._ses_v2_resource_arn = mail_resource
value_of = iam_evaluator._resolve_condition_key


def condition_key(key, context):
    value = value_of(key, context)
    if key.lower() == "ses:fromaddress":
        return sender.get()
    # The principal of a session is its role.
    if key.lower() == "aws:principalarn" and value and ":assumed-role/" in value:
        account, role = value.split(":")[4], value.split("/")[1]
        return f"arn:aws:iam::{account}:role/{role}"
    return value


iam_evaluator._resolve_condition_key = condition_key

# A request to a table is authorised by the partition keys that it names.
context_of = iam_actions.dynamodb_service_context


def with_leading_keys(body):
    asked = json.loads(body or b"{}")
    parts = [part for item in asked.get("TransactItems", []) for part in item.values()] or [asked]
    named = [(part.get("Item") or part.get("Key") or {}).get("pk", {}).get("S") for part in parts]
    return context_of(body) | {"dynamodb:leadingkeys": [key for key in named if key]}


iam_actions.dynamodb_service_context = with_leading_keys

# CloudFormation makes a secret with all options of Secrets Manager. ministack's CloudFormation knows few of them.
provisioners._sm_secret_string = lambda properties: json.loads(
    secretsmanager._get_random_password(properties["GenerateSecretString"])[2]
)["RandomPassword"]

# ministack keeps only the text of a raw mail. The tests read the whole mail in place of its text.
parsed = ses_v2._parse_raw_mime
ses_v2._parse_raw_mime = lambda raw: (
    parsed(raw) | {"BodyParts": [{"ContentType": "text/plain", "Data": base64.b64decode(raw).decode()}]}
)

# Recipients at these domains get no mail. SES says so with the words of its developer guide.
WHY_REFUSED = {
    "refused.example": "Address blacklisted.",
    "unverified-sender.example": "Email address is not verified. The following identities failed the check in region "
    "US-EAST-1: {sender}",
}
rejection_of = ses_v2._message_rejection


def rejection(source, recipients=()):
    domains = [recipient.rpartition("@")[2] for recipient in recipients or ()]
    [why, *_] = [WHY_REFUSED[domain] for domain in domains if domain in WHY_REFUSED] or [None]
    return why.format(sender=parseaddr(source)[1]) if why else rejection_of(source, recipients)


ses_v2._message_rejection = rejection

# The functions have a wall clock that the tests move. This process has its libraries already and keeps the machine's clock.
os.environ["LD_PRELOAD"] = os.environ["CLOCK"]

# The deadline of an invocation is a time by the functions' clock.
handler_of = lambda_runtime.ProvidedWorker._build_handler_class


def handler(*arguments):
    class Handler(handler_of(*arguments)):
        def send_header(self, name, value):
            if name == "Lambda-Runtime-Deadline-Ms":
                [ahead] = struct.unpack("q", Path(os.environ["CLOCK_AHEAD"]).read_bytes())
                value = int(value) + 1000 * ahead
            super().send_header(name, value)

    return Handler


lambda_runtime.ProvidedWorker._build_handler_class = handler

# So is the time of a signature, and any is accepted. The SDK corrects it by the dates of responses, but only after a request
# has failed.
sigv4.request_time_failure = lambda *_, **__: None

threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
sys.argv = ["ministack"]
app.main()
