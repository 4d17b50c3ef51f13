"""An emulated AWS: a server, the real templates deployed to it with `sam`, and requests of clients.

Everything starts on a free port and ends with the tests. Policies are enforced (`AUTH=true`): an action that a function
may not perform fails here as it does on AWS.
"""

import base64
import contextlib
import email
import hashlib
import http.client
import itertools
import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from html.parser import HTMLParser
from pathlib import Path

import boto3

from clock import Clock
from tools import commands, tools

ROOT = Path(__file__).parents[2]
REGION = "us-east-1"
PLATFORM = "citas"
MAIL_FROM = "citas@example.com"
REFRESH_SECONDS = 1
FUNCTIONS = ["api", "relay", "notifier", "trial", "wake", "precompile"]
SCOPES = "appointments/read appointments/write rules/read"


def eventually(what, found, seconds=30):
    """Polls `found` until it returns a true value, and returns that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        result = found()
        if result:
            return result
        time.sleep(0.1)
    raise AssertionError(f"within {seconds} seconds it never was so that {what}")


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def address():
    """Returns a mail address that nobody else has."""
    return f"{secrets.token_hex(6)}@example.com"


def binaries():
    """Returns the folder of cargo's builds for this machine: the functions and the command."""
    named = os.environ.get("CITAS_BINARIES")
    if not named:
        raise RuntimeError(
            "CITAS_BINARIES names no folder: `.ci/run` names target/debug, where cargo puts functions and command"
        )
    folder = (ROOT / named).resolve()
    missing = [name for name in FUNCTIONS + ["citas"] if not (folder / name).is_file()]
    if missing:
        raise RuntimeError(f"{folder} has no {', '.join(missing)}: `cargo build --features aws` makes them")
    return folder


class Cloud:
    """The server, the platform's stack, and a stack for each deployed country."""

    def __init__(self, work):
        self.work = work
        installed = tools()
        self.commands = commands(
            work / "commands",
            sam=f'exec {installed}/bin/python -m samcli "$@"',
            just=f'exec {installed}/bin/just "$@"',
        )
        self.binaries = binaries()
        self.port = free_port()
        # Address to which the sign-in page redirects a browser.
        self.callback = f"http://localhost:{free_port()}/callback"
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CITAS_"))},
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
            "SAM_CLI_TELEMETRY": "0",
        }
        self.clock = Clock(work)
        self.log = work / "ministack.log"
        self.server = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("server.py")],
            env={
                **self.environment,
                "AUTH": "true",
                "BIND_HOST": "127.0.0.1",
                # It unpacks the functions there, some 300 MB, and leaves them.
                "TMPDIR": str(work),
                "GATEWAY_PORT": str(self.port),
                "MINISTACK_HOST": "localhost",
                "MINISTACK_REGION": REGION,
                "IOT_MTLS_ENABLED": "0",
                "CLOCK": str(self.clock.library),
                "CLOCK_AHEAD": str(self.clock.file),
            },
            stdin=subprocess.PIPE,
            stdout=self.log.open("w"),
            stderr=subprocess.STDOUT,
        )
        eventually("the server answers", self._answers, 60)

    def _answers(self):
        assert self.server.poll() is None, self.log.read_text()
        try:
            return urllib.request.urlopen(f"{self.endpoint}/_ministack/health", timeout=5).status == 200
        except OSError:
            return False

    def stop(self):
        (self.work / "functions.log").write_text("\n".join(self.function_logs()))
        self.server.stdin.close()
        self.server.wait(timeout=20)

    def client(self, service):
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    # ── Deployment, as in README.md ──

    def just(self, *arguments, **environment):
        """Runs a recipe. Returns its output."""
        done = self.run("just", *arguments, **environment)
        assert done.returncode == 0, (
            f"just {' '.join(arguments)}:\n{done.stdout}\n{done.stderr}\n{self.log.read_text()[-4000:]}"
        )
        return done.stdout

    def run(self, command, *arguments, **environment):
        """Runs `just` or `sam` to its end."""
        path = f"{self.commands}:{self.environment['PATH']}"
        return subprocess.run(
            [self.commands / command, *arguments],
            cwd=ROOT,
            env={**self.environment, "PATH": path, **environment},
            capture_output=True,
            text=True,
        )

    def deploy_platform(self):
        # The symbols are removed: nobody reads them here, and sam packs the whole file each time.
        stripped = self.work / "bootstraps"
        stripped.mkdir()
        for name in FUNCTIONS:
            subprocess.run(["strip", "-o", stripped / name, self.binaries / name], check=True)
        self.bootstraps, self.trusted = f"{stripped}/%", self.trusted_keys()
        self.deploy_platform_again()
        outputs = self.client("cloudformation").describe_stacks(StackName=PLATFORM)["Stacks"][0]["Outputs"]
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in outputs}

    def deploy_platform_again(self, *parameters):
        """Deploys the platform with its parameters and these. Returns the output."""
        parameters = [
            f"RefreshSeconds={REFRESH_SECONDS}",
            f"CallbackUrl={self.callback}",
            f"TrustedKeys={self.trusted}",
            *parameters,
        ]
        return self.just("deploy", MAIL_FROM, *parameters, ARCHITECTURE="x86_64", BOOTSTRAP=self.bootstraps)

    def deploy_country(self, country):
        return self.just("deploy-country", country)

    def citas(self, *arguments):
        """Runs the command with the account's keys. Returns its output."""
        done = subprocess.run(
            [self.binaries / "citas", *arguments], cwd=ROOT, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"citas {' '.join(map(str, arguments))}: {done.stdout}{done.stderr}"
        return done.stdout

    def trusted_keys(self):
        """Returns the lines of a trust file with one key, which may sign for every country."""
        self.key = self.work / "rules.key"
        made = json.loads(self.citas("rules", "keygen", "pe", "--output", self.key, "--json"))
        return f"# who may sign;* {made['trust'].split()[1]}"

    def publish(self, folder):
        self.citas("rules", "publish", folder, "--key", self.key, "--registry", self.outputs["Registry"])

    def trial(self, verb, country, *arguments):
        """Runs `citas rules` with the verb `shadow`, `canary` or `withdraw`."""
        registry = ["--why", "a test", "--registry", self.outputs["Registry"]]
        self.citas("rules", verb, country, *arguments, *registry)

    def found(self, country):
        """Returns the findings of `citas rules diff` for the latest trial. The exit status is 1 if any differ."""
        command = [self.binaries / "citas", "rules", "diff", country, "--json", "--tables", f"{PLATFORM}-"]
        done = subprocess.run(
            [*command, "--registry", self.outputs["Registry"]],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode in [0, 1] and done.stdout, done.stderr
        return json.loads(done.stdout)["found"]

    def channel(self, country):
        """Returns the channel: the version in use and the version on trial."""
        bucket = self.outputs["Registry"].removeprefix("s3://")
        return json.load(self.client("s3").get_object(Bucket=bucket, Key=f"{country}/channel.json")["Body"])

    def promote(self, country, version):
        """Promotes a version once its native code is there. An operator waits for that too."""
        eventually(f"{country} {version} is compiled", lambda: self.native(country, version), 120)
        self.citas("rules", "promote", country, version, "--why", "a test", "--registry", self.outputs["Registry"])

    def native(self, country, version):
        """Returns the keys of the version's native code."""
        s3, bucket = self.client("s3"), self.outputs["Registry"].removeprefix("s3://")
        manifest = s3.get_object(Bucket=bucket, Key=f"{country}/versions/{version}/manifest.json")["Body"].read()
        digest = json.loads(manifest)["digest"].removeprefix("sha256:")
        found = s3.list_objects_v2(Bucket=bucket, Prefix="native/").get("Contents", [])
        return [each["Key"] for each in found if digest in each["Key"]]

    def forget_native(self, country, version):
        for key in self.native(country, version):
            self.client("s3").delete_object(Bucket=self.outputs["Registry"].removeprefix("s3://"), Key=key)

    # ── State of the deployment ──

    def function_logs(self):
        """Yields the functions' log lines, to find out why a test fails."""
        logs = self.client("logs")
        for group in logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/")["logGroups"]:
            pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"])
            yield from (
                f"{group['logGroupName']} {event['message'].rstrip()}" for page in pages for event in page["events"]
            )

    def functions(self):
        """Returns the code that each function runs, and the time of its last change."""
        listed = self.client("lambda").list_functions()["Functions"]
        return {each["FunctionName"]: (each["CodeSha256"], each["LastModified"]) for each in listed}

    def mails_to(self, recipient):
        with urllib.request.urlopen(f"{self.endpoint}/_ministack/ses/messages") as answer:
            accounts = json.load(answer)["messages"].values()
        mails = [mail for account in accounts for mail in account if mail["To"] == [recipient]]
        return [email.message_from_string(mail["BodyText"]) for mail in mails]

    def events(self, country):
        """Returns the ids of the country's events that are or were in its outbox."""
        pages = (
            self.client("dynamodb")
            .get_paginator("scan")
            .paginate(
                TableName=f"{PLATFORM}-{country}",
                FilterExpression="kind = :event",
                ExpressionAttributeValues={":event": {"S": "event"}},
            )
        )
        return [item["sk"]["S"].rsplit("#", 1)[-1] for page in pages for item in page["Items"]]

    # ── Time ──

    def let_time_pass(self):
        """Invokes the function that does what is due, as EventBridge does each minute."""
        answer = self.client("lambda").invoke(FunctionName=f"{PLATFORM}-wake", Payload="{}")
        assert "FunctionError" not in answer, answer["Payload"].read()

    @contextlib.contextmanager
    def nothing_done_by_itself(self):
        """Disables the schedules of EventBridge meanwhile."""
        events = self.client("events")
        names = [rule["Name"] for rule in events.list_rules()["Rules"] if "ScheduleExpression" in rule]
        assert names, "the stack has a schedule"
        for name in names:
            events.disable_rule(Name=name)
        try:
            yield
        finally:
            for name in names:
                events.enable_rule(Name=name)

    # ── Users ──

    def user(self, *groups):
        """Creates a user who may sign in, as an administrator does. Returns the name and the password."""
        cognito, pool = self.client("cognito-idp"), self.outputs["UserPoolId"]
        name, password = address(), f"Aa1-{secrets.token_urlsafe(16)}"
        cognito.admin_create_user(UserPoolId=pool, Username=name, MessageAction="SUPPRESS")
        cognito.admin_set_user_password(UserPoolId=pool, Username=name, Password=password, Permanent=True)
        for group in groups:
            cognito.admin_add_user_to_group(UserPoolId=pool, Username=name, GroupName=group)
        return name, password

    def token(self, *groups):
        return self.sign_in(*self.user(*groups))

    def sign_in(self, name, password, client=None, scopes=SCOPES):
        """Gets an access token by the authorization code grant with PKCE (RFC 7636), through the sign-in page."""
        client = client or self.outputs["ClientId"]
        verifier = secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        back = self.browse(
            "/oauth2/authorize?"
            + urllib.parse.urlencode(
                {
                    "response_type": "code",
                    "client_id": client,
                    "redirect_uri": self.outputs["CallbackUrl"],
                    "scope": scopes,
                    "state": "here",
                    "code_challenge": challenge,
                    "code_challenge_method": "S256",
                }
            ),
            name,
            password,
        )
        code = urllib.parse.parse_qs(urllib.parse.urlsplit(back).query)["code"][0]
        answer = self._open(
            "/oauth2/token",
            {
                "grant_type": "authorization_code",
                "client_id": client,
                "code": code,
                "redirect_uri": self.outputs["CallbackUrl"],
                "code_verifier": verifier,
            },
        )
        return json.load(answer)["access_token"]

    def browse(self, page, name, password):
        """Fills in the sign-in page as a browser does. Returns the address to which the page redirects it."""
        form = Form(self._open(page).read().decode()).fields | {"username": name, "password": password}
        back = self._open("/login", form).headers["Location"]
        assert back and back.startswith(self.outputs["CallbackUrl"]), back
        return back

    def sign_in_by_command(self, name, password):
        """Returns the output of `citas token --cognito` while a user signs in with a browser."""
        options = {"--cognito": self.endpoint, "--client-id": self.outputs["ClientId"]}
        options["--callback"] = self.outputs["CallbackUrl"]
        command = subprocess.Popen(
            [self.binaries / "citas", "token", *itertools.chain(*options.items())],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            page = next(line for line in command.stderr if line.startswith(self.endpoint)).strip()
            back = self.browse(page.removeprefix(self.endpoint), name, password)
            assert urllib.request.urlopen(back, timeout=10).status == 200
            token, said = command.communicate(timeout=10)
        finally:
            command.kill()
        assert command.returncode == 0, said
        return token

    def _open(self, path, form=None):
        data = urllib.parse.urlencode(form).encode() if form else None
        try:
            return urllib.request.build_opener(NoRedirect).open(f"{self.endpoint}{path}", data)
        except urllib.error.HTTPError as answer:
            if answer.code == 302:
                return answer
            raise AssertionError(f"{path}: {answer.code} {answer.read()}") from answer

    def call(self, method, path, token=None, body=None, **headers):
        """Sends a request through API Gateway. Returns status and JSON."""
        status, said = self.fetch(method, path, token, body, **headers)
        return status, json.loads(said) if said else None

    def fetch(self, method, path, token=None, body=None, **headers):
        """Sends a request through API Gateway. Returns status and body."""
        api = urllib.parse.urlsplit(self.outputs["ApiUrl"]).hostname.split(".")[0]
        headers = {"Host": f"{api}.execute-api.localhost:{self.port}", "Content-Type": "application/json", **headers}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Returns a redirection to the caller and does not follow it."""

    def redirect_request(self, *_):
        return None


class Form(HTMLParser):
    """Fields of a page's form."""

    def __init__(self, page):
        super().__init__()
        self.fields = {}
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "input" and "name" in attributes:
            self.fields[attributes["name"]] = attributes.get("value") or ""
