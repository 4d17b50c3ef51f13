"""Promises of the templates whose absence an emulated AWS would not show."""

import json
import os
import re
import string
import struct
import subprocess

import pytest

import templates
from templates import ROOT

PLATFORM = templates.platform()
COUNTRY = templates.country()
FUNCTIONS = {name: f"{name}Role" for name in ["Api", "Relay", "Notifier", "Trial", "Wake", "Precompile"]}
ARN = "arn:aws:{}:us-east-1:123456789012:{}"
TABLES = ARN.format("dynamodb", "table/citas-*")


def of_type(stack, kind):
    return {name: each["Properties"] for name, each in stack.items() if each["Type"] == kind}


def properties(name, stack=PLATFORM):
    return stack[name]["Properties"]


# ── A country's data ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_countrys_table_is_named_for_it_and_costs_what_it_is_used():
    table = properties("Table", COUNTRY)
    assert table["TableName"] == "citas-pe"
    assert table["BillingMode"] == "PAY_PER_REQUEST"


def test_a_countrys_table_can_be_restored_and_is_not_deleted():
    assert properties("Table", COUNTRY)["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert properties("Table", COUNTRY)["DeletionProtectionEnabled"] is True
    assert (COUNTRY["Table"]["DeletionPolicy"], COUNTRY["Table"]["UpdateReplacePolicy"]) == (
        "RetainExceptOnCreate",
        "Retain",
    )


def test_a_countrys_table_is_encrypted_with_the_platforms_key():
    encryption = {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": "{import citas-KeyArn}"}
    assert properties("Table", COUNTRY)["SSESpecification"] == encryption


def test_a_countrys_table_forgets_what_has_expired():
    assert properties("Table", COUNTRY)["TimeToLiveSpecification"] == {"AttributeName": "ttl", "Enabled": True}


def test_a_countrys_table_has_an_index_for_each_filter_and_one_of_scheduled_actions():
    table = properties("Table", COUNTRY)

    def key(schema):
        return [(each["AttributeName"], each["KeyType"]) for each in schema["KeySchema"]]

    assert key(table) == [("pk", "HASH"), ("sk", "RANGE")]
    indexes = {index["IndexName"]: index for index in table["GlobalSecondaryIndexes"]}
    wakes = indexes.pop("wakes")
    assert (key(wakes), wakes["Projection"]) == (
        [("wakeHour", "HASH"), ("wakeAt", "RANGE")],
        {"ProjectionType": "KEYS_ONLY"},
    )
    assert sorted(indexes) == ["doctor", "hospital", "owner", "patient", "phase"]
    for name, index in indexes.items():
        assert key(index) == [(name, "HASH"), ("start", "RANGE")]
        assert index["Projection"] == {"ProjectionType": "ALL"}
    assert {each["AttributeType"] for each in table["AttributeDefinitions"]} == {"S"}


def test_the_stream_carries_revisions_and_events_to_the_relay_and_sets_aside_what_does_not_go():
    assert properties("Table", COUNTRY)["StreamSpecification"] == {"StreamViewType": "NEW_IMAGE"}
    mapping = properties("Outbox", COUNTRY)
    assert mapping["EventSourceArn"] == "{Table.StreamArn}"
    assert mapping["FunctionName"] == "{import citas-RelayArn}"
    [pattern] = [json.loads(each["Pattern"]) for each in mapping["FilterCriteria"]["Filters"]]
    # The relay changes the revisions that it numbers, and the migration replaces them: neither is an insertion.
    assert pattern == {"eventName": ["INSERT"], "dynamodb": {"NewImage": {"kind": {"S": ["revision", "event"]}}}}
    assert mapping["StartingPosition"] == "TRIM_HORIZON"
    assert mapping["BisectBatchOnFunctionError"] is True
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert 0 < mapping["MaximumRetryAttempts"] <= 100
    # A stream keeps its records for a day.
    assert 0 < mapping["MaximumRecordAgeInSeconds"] < 24 * 3600
    assert mapping["DestinationConfig"] == {"OnFailure": {"Destination": "{import citas-UnpublishedArn}"}}


def test_the_stream_carries_decisions_and_what_canaries_came_to_to_the_trial():
    mapping = properties("Decisions", COUNTRY)
    assert mapping["EventSourceArn"] == "{Table.StreamArn}"
    assert mapping["FunctionName"] == "{import citas-TrialArn}"
    stored, canary = [json.loads(each["Pattern"]) for each in mapping["FilterCriteria"]["Filters"]]
    assert stored == {"eventName": ["INSERT"], "dynamodb": {"NewImage": {"kind": {"S": ["revision", "event"]}}}}
    # The trial function writes its own sums under other kinds, so that it does not trigger itself.
    assert canary == {"dynamodb": {"NewImage": {"kind": {"S": ["canary"]}}}}
    assert mapping["StartingPosition"] == "LATEST"
    assert 0 < mapping["MaximumRetryAttempts"] <= 100


def test_a_restored_tables_stream_can_be_named():
    resources = templates.resolved(
        templates.translated("countries/country.yaml"), {"Country": "pe", "StreamArn": "arn:other"}
    )
    for mapping in ["Outbox", "Decisions"]:
        assert properties(mapping, resources)["EventSourceArn"] == "arn:other"


def test_a_countrys_staff_is_a_group_of_the_platforms_users():
    group = properties("Staff", COUNTRY)
    assert (group["UserPoolId"], group["GroupName"]) == ("{import citas-UserPoolId}", "pe:staff")
    # Cognito's rule for names of groups, as far as it concerns ours.
    assert re.fullmatch(r"[\w:]{1,128}", group["GroupName"])


def test_a_country_imports_only_what_the_platform_exports():
    exports = [
        each["Export"]["Name"] for each in templates.translated("template.yaml")["Outputs"].values() if "Export" in each
    ]
    exported = {each["Fn::Sub"].replace("${AWS::StackName}", "citas") for each in exports}
    imported = set(re.findall(r"{import ([^}]+)}", json.dumps(COUNTRY)))
    assert imported and imported <= exported


def test_a_country_brings_data_and_alarms_and_nothing_that_runs():
    kinds = {each["Type"] for each in COUNTRY.values()}
    assert kinds == {
        "AWS::DynamoDB::Table",
        "AWS::Lambda::EventSourceMapping",
        "AWS::Cognito::UserPoolGroup",
        "AWS::CloudWatch::Alarm",
    }


def test_what_outlives_a_stack_is_in_the_way_of_no_second_attempt():
    kept = {
        name: (each["DeletionPolicy"], each["UpdateReplacePolicy"])
        for name, each in (PLATFORM | COUNTRY).items()
        if "DeletionPolicy" in each
    }
    assert kept == dict.fromkeys(
        ["Key", "Pseudonyms", "LinkKeys", "Registry", "Users", "MailIdentity", "Table"], ("RetainExceptOnCreate", "Retain")
    )
    # CloudFormation cannot delete these while they are protected, so what may fail for its name comes first.
    assert PLATFORM["Users"]["DependsOn"] == "Registry"
    assert COUNTRY["Table"]["DependsOn"] == "Staff"


def test_a_sender_that_the_account_has_already_is_used():
    template = templates.translated("template.yaml")
    resolver = templates.Resolver(template, {})
    assert template["Resources"]["MailIdentity"]["Condition"] == "SenderIsNew"
    for choice, is_new in [("create", True), ("existing", False)]:
        resolver.values = {"SenderIdentity": choice}
        assert resolver.of(template["Conditions"]["SenderIsNew"]) is is_new
    users = [name for name, each in template["Resources"].items() if "MailIdentity" in json.dumps(each)]
    assert users == [], "nothing needs the stack's own identity"

# ── The API and who may call it ───────────────────────────────────────────────────────────────────────────────────────


def test_what_concerns_patients_needs_a_token_and_the_rest_does_not():
    routes = {route["RouteKey"]: route for route in of_type(PLATFORM, "AWS::ApiGatewayV2::Route").values()}
    guarded = {
        key
        for key, route in routes.items()
        if (route.get("AuthorizationType"), route.get("AuthorizerId")) == ("JWT", "{Authorizer}")
    }
    assert guarded == {"ANY /v1/{country}/{proxy+}"}
    assert set(routes) - guarded == {"OPTIONS /v1/{country}/{proxy+}", "ANY /v1/{country}/schema", "$default"}
    assert {route["Target"] for route in routes.values()} == {"integrations/{Integration}"}
    assert properties("Integration")["IntegrationUri"] == "{Api.Arn}"
    assert properties("Integration")["PayloadFormatVersion"] == "2.0"


def test_pages_of_other_origins_call_if_these_are_named():
    assert "CorsConfiguration" not in properties("HttpApi")
    given = {"MailFrom": "citas@example.com", "CorsOrigins": "https://a.example,https://b.example"}
    cors = properties("HttpApi", templates.resolved(templates.translated("template.yaml"), given))["CorsConfiguration"]
    assert cors["AllowOrigins"] == ["https://a.example", "https://b.example"]
    assert {"Authorization", "Idempotency-Key", "If-Match"} <= set(cors["AllowHeaders"])
    assert {"ETag", "Location", "Link", "Retry-After", "X-Request-Id"} <= set(cors["ExposeHeaders"])
    # A page signs its requests with a token. The browser adds no credentials of its own.
    assert "AllowCredentials" not in cors


@pytest.mark.parametrize("given, good", [
    ("", True),
    ("*", True),
    ("https://a.example,http://localhost:5173", True),
    ("https://a.example/", False),
    ("a.example", False),
    ("https://a.example, https://b.example", False),
    ("https://*.example", False),
])
def test_an_origin_that_no_browser_sends_is_refused(given, good):
    parameter = templates.translated("template.yaml")["Parameters"]["CorsOrigins"]
    assert (re.fullmatch(parameter["AllowedPattern"], given) is not None) == good
    assert "https://app.example.com" in parameter["ConstraintDescription"]


def test_a_token_is_our_pools_and_for_our_client():
    authorizer = properties("Authorizer")
    assert authorizer["AuthorizerType"] == "JWT"
    assert authorizer["IdentitySource"] == ["$request.header.Authorization"]
    assert authorizer["JwtConfiguration"] == {"Issuer": "https://{Users.ProviderName}", "Audience": ["{Client}"]}


def test_a_token_may_be_for_the_client_of_an_app():
    authorizer = properties("Authorizer", templates.platform(AppClients="one,two"))
    assert authorizer["JwtConfiguration"]["Audience"] == ["{Client}", "one", "two"]


def test_the_client_keeps_no_secret_and_takes_no_password():
    client = properties("Client")
    assert client["GenerateSecret"] is False
    assert client["AllowedOAuthFlowsUserPoolClient"] is True
    assert client["AllowedOAuthFlows"] == ["code"]
    assert client["ExplicitAuthFlows"] == ["ALLOW_REFRESH_TOKEN_AUTH"]
    servers = of_type(PLATFORM, "AWS::Cognito::UserPoolResourceServer")
    scopes = {
        f"{server['Identifier']}/{scope['ScopeName']}" for server in servers.values() for scope in server["Scopes"]
    }
    assert scopes == set(client["AllowedOAuthScopes"]) == {"appointments/read", "appointments/write", "rules/read"}
    # Cognito refuses a client whose scopes do not exist yet.
    assert set(PLATFORM["Client"]["DependsOn"]) == set(servers)


def test_users_write_none_of_their_attributes_but_the_address():
    # Whatever else is in a token was verified by somebody.
    assert properties("Client")["WriteAttributes"] == ["email"]


def test_the_api_takes_identities_from_claims_if_the_operator_names_these():
    templates_of = "cl=run:{/run},pe=dni:{/dni};acr>=2"
    api = properties("Api", templates.platform(Identities=templates_of))
    assert api["Environment"]["Variables"] == ENVIRONMENT["Api"] | {"CITAS_IDENTITY": templates_of}


@pytest.mark.parametrize("given, good", [
    ("", True),
    ("pe=dni:{/dni}", True),
    ("pe=dni:{/https:~1~1id.example~1dni};acr>=2,cl=run:{/run}-{/dv}", True),
    ("pe=dni", False),
    ("pe=dni:{dni}", False),
    ("dni:{/dni}", False),
    ("pe=dni:{/dni};acr=2", False),
    ("pe=dni:{/dni},", False),
])
def test_an_identity_that_the_api_would_not_start_with_is_refused(given, good):
    parameter = templates.translated("template.yaml")["Parameters"]["Identities"]
    assert (re.fullmatch(parameter["AllowedPattern"], given) is not None) == good


def test_a_function_may_add_claims_to_access_tokens():
    assert "LambdaConfig" not in properties("Users")
    arn = ARN.format("lambda", "function:claims")
    stack = templates.platform(TokenFunction=arn)
    trigger = {"PreTokenGenerationConfig": {"LambdaArn": arn, "LambdaVersion": "V2_0"}}
    assert properties("Users", stack)["LambdaConfig"] == trigger
    assert properties("TokenFunctionPermission", stack)["FunctionName"] == arn
    assert PLATFORM["TokenFunctionPermission"]["Condition"] == "HasTokenFunction"


def test_no_country_is_named_by_the_platform():
    [group] = of_type(PLATFORM, "AWS::Cognito::UserPoolGroup").values()
    assert group["GroupName"] == "platform"


def test_the_api_is_throttled_and_logs_requests_without_personal_data():
    stage = properties("Stage")
    assert stage["DefaultRouteSettings"]["ThrottlingRateLimit"] > 0
    assert stage["DefaultRouteSettings"]["ThrottlingBurstLimit"] > 0
    routes = of_type(PLATFORM, "AWS::ApiGatewayV2::Route").values()
    public = {route["RouteKey"] for route in routes if "AuthorizationType" not in route}
    assert set(stage["RouteSettings"]) == public
    for settings in stage["RouteSettings"].values():
        assert all(0 < settings[limit] < stage["DefaultRouteSettings"][limit] for limit in stage["DefaultRouteSettings"])
    line = json.loads(stage["AccessLogSettings"]["Format"])
    assert line["requestId"] == "$context.requestId"
    # The key to the function's own log lines.
    assert line["function"] == "$context.integration.requestId"
    assert not re.search(r"\$context\.(path|identity|authorizer\.claims|httpMethod)", json.dumps(line))


# ── Functions ─────────────────────────────────────────────────────────────────────────────────────────────────────────

KEY = "{{resolve:secretsmanager:{Pseudonyms}}}"
LINK_KEYS = "{{resolve:secretsmanager:{LinkKeys}}}"
ENVIRONMENT = {
    "Api": {
        "CITAS_LOG": "info",
        "CITAS_KEY": KEY,
        "CITAS_LINK_KEYS": LINK_KEYS,
        "CITAS_TABLES": "citas-",
        "CITAS_REGISTRY": "s3://{Registry}",
        "CITAS_REFRESH_SECONDS": "30",
        "CITAS_HOLD_MINUTES": "5",
    },
    "Relay": {"CITAS_LOG": "info", "CITAS_TABLES": "citas-", "CITAS_TOPIC": "{Events}"},
    "Notifier": {
        "CITAS_LOG": "info",
        "CITAS_TABLES": "citas-",
        "CITAS_REGISTRY": "s3://{Registry}",
        "CITAS_REFRESH_SECONDS": "30",
        "CITAS_MAIL_FROM": "Citas <citas@example.com>",
        "CITAS_CONFIGURATION_SET": "{Mail}",
        "CITAS_LINK_KEYS": LINK_KEYS,
        "CITAS_PUBLIC_URL": "{HttpApi.ApiEndpoint}",
    },
    "Trial": {
        "CITAS_LOG": "info",
        "CITAS_TABLES": "citas-",
        "CITAS_REGISTRY": "s3://{Registry}",
        "CITAS_REFRESH_SECONDS": "30",
    },
    "Wake": {
        "CITAS_LOG": "info",
        "CITAS_KEY": KEY,
        "CITAS_TABLES": "citas-",
        "CITAS_REGISTRY": "s3://{Registry}",
        "CITAS_REFRESH_SECONDS": "30",
    },
    "Precompile": {
        "CITAS_LOG": "info",
        "CITAS_REGISTRY": "s3://citas-registry-123456789012-us-east-1",
        "CITAS_TRUSTED_KEYS": "",
    },
}


def test_the_functions_are_these():
    assert set(of_type(PLATFORM, "AWS::Lambda::Function")) == set(FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_runs_on_arm_and_is_told_what_it_needs(name):
    function = properties(name)
    assert (function["Runtime"], function["Architectures"]) == ("provided.al2023", ["arm64"])
    assert function["Environment"]["Variables"] == ENVIRONMENT[name]
    assert function["TracingConfig"] == {"Mode": "Active"}


def test_replies_go_to_the_sender_unless_another_address_is_named():
    notifier = properties("Notifier", templates.platform(MailReplyTo="help@example.com"))
    expected = ENVIRONMENT["Notifier"] | {"CITAS_MAIL_REPLY_TO": "help@example.com"}
    assert notifier["Environment"]["Variables"] == expected


def test_links_in_mail_lead_to_the_api_unless_another_address_is_named():
    notifier = properties("Notifier", templates.platform(PublicUrl="https://citas.example.com"))
    expected = ENVIRONMENT["Notifier"] | {"CITAS_PUBLIC_URL": "https://citas.example.com"}
    assert notifier["Environment"]["Variables"] == expected


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_logs_where_logs_are_forgotten_in_time(name):
    logging = properties(name)["LoggingConfig"]
    assert logging == {"LogFormat": "JSON", "LogGroup": f"{{{name}Log}}"}
    assert 0 < properties(f"{name}Log")["RetentionInDays"] <= 90


def test_every_log_group_forgets():
    assert all("RetentionInDays" in group for group in of_type(PLATFORM, "AWS::Logs::LogGroup").values())


@pytest.mark.parametrize("name", ["Pseudonyms", "LinkKeys"])
def test_a_secret_key_is_made_once_encrypted_and_kept(name):
    secret = properties(name)
    assert secret["KmsKeyId"] == "{Key.Arn}"
    # A name of its own would be in the way of a second attempt for a month.
    assert "Name" not in secret
    made = secret["GenerateSecretString"]
    excluded = set(made["ExcludeCharacters"])
    assert made["PasswordLength"] == 64 and made["ExcludeUppercase"] is made["ExcludePunctuation"] is True
    assert set(string.ascii_lowercase) - excluded == set("abcdef") and not excluded & set(string.digits)


def test_scheduled_actions_are_begun_each_minute_and_a_failure_waits_for_the_next():
    rule = properties("WakeSchedule")
    assert (rule["ScheduleExpression"], rule["State"]) == ("rate(1 minute)", "ENABLED")
    assert [each["Arn"] for each in rule["Targets"]] == ["{Wake.Arn}"]
    assert properties("Wake")["Timeout"] < 60
    retries = properties("WakeRetries")
    assert (retries["MaximumRetryAttempts"], retries["MaximumEventAgeInSeconds"]) == (0, 60)


def test_the_registrys_name_is_the_one_that_precompile_is_told():
    assert ENVIRONMENT["Precompile"]["CITAS_REGISTRY"] == f"s3://{properties('Registry')['BucketName']}"


# ── Roles ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

REGISTRY = "arn:aws:s3:::citas-registry-123456789012-us-east-1"
# The bucket by its name, or by reference.
REGISTRIES = {REGISTRY, "{Registry.Arn}"}

# Of the functions that decide with rules and store the result.
DECIDING = {
    TABLES: {"BatchGetItem", "ConditionCheckItem", "DeleteItem", "GetItem", "PutItem", "Query", "UpdateItem"},
    f"{TABLES}/index/*": {"Query"},
    "registry/*/channel.json": {"GetObject"},
    "registry/*/versions/*": {"GetObject"},
    "registry/native/*": {"GetObject"},
    "registry": {"ListBucket"},
    "{Key.Arn}": {"Decrypt"},
}

MAY = {
    "ApiRole": DECIDING | {TABLES: DECIDING[TABLES] | {"BatchWriteItem"}},
    "WakeRole": DECIDING,
    "RelayRole": {
        f"{TABLES}/stream/*": {"DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"},
        TABLES: {"GetItem", "UpdateItem"},
        "{Events}": {"Publish"},
        "{Unpublished.Arn}": {"SendMessage"},
        "{Key.Arn}": {"Decrypt", "GenerateDataKey"},
    },
    "NotifierRole": {
        "{Notices.Arn}": {"ReceiveMessage", "DeleteMessage", "GetQueueAttributes"},
        ARN.format("ses", "identity/*"): {"SendEmail", "SendRawEmail"},
        ARN.format("ses", "configuration-set/{Mail}"): {"SendEmail", "SendRawEmail"},
        TABLES: {"GetItem", "PutItem", "UpdateItem"},
        "registry/*/channel.json": {"GetObject"},
        "registry/*/versions/*": {"GetObject"},
        "registry/native/*": {"GetObject"},
        "registry": {"ListBucket"},
        "{Key.Arn}": {"Decrypt"},
    },
    "TrialRole": {
        f"{TABLES}/stream/*": {"DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"},
        TABLES: {"GetItem", "Query", "UpdateItem"},
        "registry/*/channel.json": {"GetObject", "PutObject"},
        "registry/*/versions/*": {"GetObject"},
        "registry/native/*": {"GetObject"},
        "registry": {"ListBucket"},
        "{Key.Arn}": {"Decrypt", "GenerateDataKey"},
    },
    "PrecompileRole": {
        "registry/*/channel.json": {"GetObject"},
        "registry/*/versions/*": {"GetObject"},
        "registry/native/*": {"GetObject", "PutObject"},
        "registry": {"ListBucket"},
        "{Key.Arn}": {"Decrypt", "GenerateDataKey"},
    },
}

# Actions that AWS grants on all resources or none: X-Ray's traces have no ARN.
ON_EVERYTHING = {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}


def statements(role):
    [policy] = role["Policies"]
    return policy["PolicyDocument"]["Statement"]


def several(value):
    return value if isinstance(value, list) else [value]


def test_every_function_has_a_role_of_its_own_and_no_policy_that_somebody_else_writes():
    roles = of_type(PLATFORM, "AWS::IAM::Role")
    assert {properties(name)["Role"] for name in FUNCTIONS} == {f"{{{role}.Arn}}" for role in FUNCTIONS.values()}
    assert set(roles) == set(FUNCTIONS.values())
    for role in roles.values():
        assert "ManagedPolicyArns" not in role
        [trust] = role["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Principal"] == {"Service": "lambda.amazonaws.com"}


@pytest.mark.parametrize("function, role", FUNCTIONS.items())
def test_a_role_may_do_this_and_nothing_else(function, role):
    may = {}
    for statement in statements(properties(role)):
        assert statement["Effect"] == "Allow"
        actions = set(several(statement["Action"]))
        assert not any("*" in action for action in actions), statement
        for resource in several(statement["Resource"]):
            if resource == "*":
                assert actions <= ON_EVERYTHING, statement
                continue
            for registry in REGISTRIES:
                resource = re.sub(rf"^{re.escape(registry)}(?=/|$)", "registry", resource)
            may.setdefault(resource, set()).update(action.split(":")[1] for action in actions)
    assert may == MAY[role] | {f"{{{function}Log.Arn}}": {"CreateLogStream", "PutLogEvents"}}


def test_the_notifier_sends_in_our_name_alone_and_writes_only_what_it_has_sent():
    conditions = {
        each["Sid"]: each["Condition"] for each in statements(properties("NotifierRole")) if "Condition" in each
    }
    assert conditions == {
        "Send": {"StringEquals": {"ses:FromAddress": "citas@example.com"}},
        "ReadWhatEventsAreAbout": {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["A#*", "M", "P#*"]}},
        "RememberWhatWasSent": {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["N#*"]}},
        "CountWhereACanaryGivesNoAnswer": {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["T#*"]}},
    }


def keys(role):
    """Returns the partition keys of each statement that names some."""
    conditions = {each["Sid"]: each.get("Condition") for each in statements(properties(role))}
    return {
        name: condition["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]
        for name, condition in conditions.items()
        if condition
    }


def test_what_is_found_of_trials_is_all_that_the_trial_writes_and_all_that_the_api_adds_to():
    assert keys("TrialRole") == {
        "ReadRevisions": ["A#*", "M", "P#*", "T#*"],
        "KeepWhatIsFound": ["T#*"],
    }
    assert keys("ApiRole") == {"CountWhatACanaryDecides": ["T#*"], "RecordReadings": ["W#*"]}


def test_the_relay_reads_nothing_personal_and_the_clock_uses_no_idempotency_key():
    assert keys("RelayRole") == {"NumberRevisions": ["A#*", "M"]}
    assert keys("WakeRole") == {
        "ChangeAppointments": ["A#*", "C#*", "G#*", "M", "P#*", "T#*"],
        "PostponeAndCount": ["A#*", "T#*"],
    }


def test_services_may_call_only_from_where_we_put_them():
    permissions = {each["Principal"]: each for each in of_type(PLATFORM, "AWS::Lambda::Permission").values()}
    services = ["apigateway", "cognito-idp", "events", "s3"]
    assert set(permissions) == {f"{service}.amazonaws.com" for service in services}
    assert permissions["cognito-idp.amazonaws.com"]["SourceArn"] == "{Users.Arn}"
    assert permissions["events.amazonaws.com"]["SourceArn"] == "{WakeSchedule.Arn}"
    assert permissions["apigateway.amazonaws.com"]["SourceArn"] == ARN.format("execute-api", "{HttpApi}/*")
    assert permissions["s3.amazonaws.com"]["SourceArn"] == REGISTRY
    assert permissions["s3.amazonaws.com"]["SourceAccount"] == "123456789012"


# ── The registry ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_registry_is_private_versioned_encrypted_and_kept():
    bucket = properties("Registry")
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert bucket["PublicAccessBlockConfiguration"] == dict.fromkeys(
        ["BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"], True
    )
    assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    [rule] = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "{Key.Arn}"}


def test_a_manifest_that_arrives_is_precompiled():
    [trigger] = properties("Registry")["NotificationConfiguration"]["LambdaConfigurations"]
    assert trigger["Event"] == "s3:ObjectCreated:*"
    assert trigger["Function"] == "{Precompile.Arn}"
    assert trigger["Filter"]["S3Key"]["Rules"] == [{"Name": "suffix", "Value": "manifest.json"}]
    assert PLATFORM["Registry"]["DependsOn"] == "PrecompilePermission"


def test_native_code_is_written_by_precompile_alone():
    denied = {each["Sid"]: each for each in properties("RegistryPolicy")["PolicyDocument"]["Statement"]}[
        "NativeCodeIsOurs"
    ]
    assert (denied["Effect"], denied["Principal"], denied["Action"]) == ("Deny", "*", "s3:PutObject")
    assert denied["Resource"] == "{Registry.Arn}/native/*"
    assert denied["Condition"] == {"ArnNotEquals": {"aws:PrincipalArn": "{PrecompileRole.Arn}"}}


# ── Events, queues, mail ──────────────────────────────────────────────────────────────────────────────────────────────


def policies():
    """Yields each policy of resources, with these resources."""
    for kind, of in [("S3::Bucket", "Bucket"), ("SNS::Topic", "Topics"), ("SQS::Queue", "Queues")]:
        for name, policy in of_type(PLATFORM, f"AWS::{kind}Policy").items():
            yield name, several(policy[of]), policy["PolicyDocument"]["Statement"]


def test_nothing_is_read_or_written_in_clear():
    for name, _, document in policies():
        [clear] = [each for each in document if each.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}]
        assert (clear["Effect"], clear["Principal"]) == ("Deny", "*"), name
        # A topic's policy does not accept `sns:*`. Publishing is the action that carries data.
        assert clear["Action"] in ["s3:*", "sqs:*", "sns:Publish"], name
    covered = {each for _, resources, _ in policies() for each in resources}
    # The alarms' topic carries no personal data.
    assert covered == {"{Registry}", "{Events}", "{Notices}", "{DeadLetters}", "{Unpublished}"}


def test_only_the_topic_writes_to_the_queues():
    allowed = [each for _, _, document in policies() for each in document if each["Effect"] == "Allow"]
    assert allowed == [
        {
            "Sid": "TheTopicWrites",
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": ["{Notices.Arn}", "{DeadLetters.Arn}"],
            "Condition": {"ArnEquals": {"aws:SourceArn": "{Events}"}},
        }
    ]


def test_what_holds_events_is_encrypted_with_our_key():
    holders = [properties(name) for name in ["Events", "Notices", "DeadLetters", "Unpublished"]]
    assert {each["KmsMasterKeyId"] for each in holders} == {"{Key.Arn}"}
    assert properties("Key")["EnableKeyRotation"] is True
    # The topic forwards to encrypted queues, and needs the key for that.
    service = [
        each
        for each in properties("Key")["KeyPolicy"]["Statement"]
        if each["Principal"] == {"Service": "sns.amazonaws.com"}
    ]
    assert [each["Action"] for each in service] == [["kms:Decrypt", "kms:GenerateDataKey"]]


def test_the_key_is_used_by_nobody_outside_the_account():
    for statement in properties("Key")["KeyPolicy"]["Statement"]:
        if statement["Principal"] == {"AWS": "*"}:
            assert statement["Condition"]["StringEquals"]["kms:CallerAccount"] == "123456789012"
        else:
            assert statement["Principal"] in [
                {"AWS": "arn:aws:iam::123456789012:root"},
                {"Service": "sns.amazonaws.com"},
            ]


def test_what_is_not_delivered_is_kept():
    dead = "{DeadLetters.Arn}"
    assert properties("NoticesSubscription")["RedrivePolicy"] == {"deadLetterTargetArn": dead}
    assert properties("Notices")["RedrivePolicy"]["deadLetterTargetArn"] == dead
    assert properties("Notices")["RedrivePolicy"]["maxReceiveCount"] >= 5
    fortnight = 14 * 24 * 3600
    assert {properties(name)["MessageRetentionPeriod"] for name in ["DeadLetters", "Unpublished"]} == {fortnight}


def test_notices_come_as_they_were_published_and_are_not_handed_out_twice_at_once():
    subscription = properties("NoticesSubscription")
    assert (subscription["Protocol"], subscription["RawMessageDelivery"]) == ("sqs", True)
    assert subscription["FilterPolicy"] == {"type": [{"prefix": "citas.appointment."}]}
    assert PLATFORM["NoticesSubscription"]["DependsOn"] == "NoticesPolicy"
    mapping = properties("NotifierQueue")
    assert (mapping["EventSourceArn"], mapping["FunctionName"]) == ("{Notices.Arn}", "{Notifier}")
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    # Lambda's minimum.
    assert mapping["ScalingConfig"]["MaximumConcurrency"] >= 2
    assert properties("Notices")["VisibilityTimeout"] >= 6 * properties("Notifier")["Timeout"]


def test_an_address_that_bounced_or_complained_gets_no_more_mail():
    mail = properties("Mail")
    assert mail["SuppressionOptions"] == {"SuppressedReasons": ["BOUNCE", "COMPLAINT"]}
    assert mail["DeliveryOptions"] == {"TlsPolicy": "REQUIRE"}
    assert properties("MailIdentity")["EmailIdentity"] == "citas@example.com"
    assert properties("MailEvents")["ConfigurationSetName"] == "{Mail}"
    events = properties("MailEvents")["EventDestination"]
    assert events["Enabled"] is True and {"bounce", "complaint"} <= set(events["MatchingEventTypes"])
    assert "CloudWatchDestination" in events


# ── Alarms ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def anchors():
    """Returns the anchors of the headings in docs/operations.md, by GitHub's rule."""
    headings = re.findall(r"^#+ (.+)$", (ROOT / "docs/operations.md").read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


ALARMS = of_type(PLATFORM, "AWS::CloudWatch::Alarm") | of_type(COUNTRY, "AWS::CloudWatch::Alarm")

# It is raised by what does not happen.
SILENT = "WakeStoppedAlarm"


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_calls_somebody_and_says_where_to_read_on(name):
    alarm = ALARMS[name]
    [anchor] = re.findall(r"docs/operations\.md#([\w-]+)$", alarm["AlarmDescription"])
    assert anchor in anchors()
    assert alarm["AlarmActions"] in [["{Alarms}"], ["{import citas-AlarmsArn}"]]
    assert alarm["TreatMissingData"] == ("breaching" if name == SILENT else "notBreaching")


def test_scheduled_actions_that_nothing_begins_raise_an_alarm_within_a_quarter_of_an_hour():
    alarm = ALARMS[SILENT]
    assert (alarm["MetricName"], alarm["Statistic"]) == ("Invocations", "Sum")
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("LessThanThreshold", 1)
    # The schedule is each minute.
    assert 5 * 60 <= alarm["Period"] * alarm["EvaluationPeriods"] <= 15 * 60


@pytest.mark.parametrize("name", [name for name in ALARMS if name != SILENT])
def test_an_alarm_is_raised_by_too_much(name):
    alarm = ALARMS[name]
    assert alarm["ComparisonOperator"].startswith("GreaterThan")
    # Counts are summed. A size counts with its maximum. SES reports rates as they are.
    counted, size, rate = "Errors Throttles 5xx ThrottledRequests SystemErrors".split(), "Age Number oldest".split(), "Rate"
    metric = alarm["MetricName"]
    if metric in counted or metric.endswith("_total"):
        assert alarm["Statistic"] == "Sum"
    elif any(word in metric for word in size):
        assert alarm["Statistic"] == "Maximum"
    else:
        assert alarm.get("Statistic") == "Average" if rate in metric else alarm["ExtendedStatistic"] == "p99"
    assert 1 <= alarm.get("DatapointsToAlarm", 1) <= alarm["EvaluationPeriods"]


def test_alarms_are_mailed_to_whoever_is_on_call():
    subscription = properties("AlarmsByMail")
    assert (subscription["TopicArn"], subscription["Protocol"], subscription["Endpoint"]) == (
        "{Alarms}",
        "email",
        "oncall@example.com",
    )
    assert len({alarm["AlarmName"] for alarm in ALARMS.values()}) == len(ALARMS)


def test_every_section_on_an_alarm_has_one():
    named = {alarm["AlarmDescription"].split("#")[1] for alarm in ALARMS.values()}
    assert {anchor for anchor in anchors() if anchor.startswith("alarm-")} == named


def test_the_alarms_watch_what_goes_wrong():
    watched = {
        (alarm["Namespace"], alarm["MetricName"], *sorted(each["Value"] for each in alarm.get("Dimensions", [])))
        for alarm in ALARMS.values()
    }
    functions = [f"{{{name}}}" for name in FUNCTIONS]
    assert watched == {
        ("AWS/ApiGateway", "5xx", "{HttpApi}"),
        ("AWS/ApiGateway", "Latency", "{HttpApi}"),
        *[("AWS/Lambda", "Errors", function) for function in functions],
        *[("AWS/Lambda", "Throttles", function) for function in functions],
        ("AWS/Lambda", "IteratorAge", "{Relay}"),
        ("AWS/Lambda", "Invocations", "{Wake}"),
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "{Unpublished.QueueName}"),
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "{DeadLetters.QueueName}"),
        ("AWS/SQS", "ApproximateAgeOfOldestMessage", "{Notices.QueueName}"),
        ("Citas", "citas_messages_total", "failed"),
        ("Citas", "citas_mails_total", "pe", "refused"),
        ("AWS/SES", "Reputation.BounceRate"),
        ("AWS/SES", "Reputation.ComplaintRate"),
        ("AWS/DynamoDB", "ThrottledRequests", "TransactWriteItems", "{Table}"),
        ("AWS/DynamoDB", "ThrottledRequests", "Query", "{Table}"),
        ("AWS/DynamoDB", "SystemErrors", "TransactWriteItems", "{Table}"),
        ("Citas", "citas_rules_faults_total", "pe"),
        ("Citas", "citas_rules_swaps_total", "pe", "refused"),
        ("Citas", "citas_wakes_total", "late", "pe"),
        ("Citas", "citas_wakes_oldest_seconds", "pe"),
    }


def test_faults_of_the_rules_are_counted_where_the_host_logs_them():
    filters = of_type(PLATFORM, "AWS::Logs::MetricFilter").values()
    assert {each["LogGroupName"] for each in filters} == {"{ApiLog}", "{NotifierLog}", "{WakeLog}"}
    for each in filters:
        [line] = re.findall(r'^{ \$\.message = "(.+)" }$', each["FilterPattern"])
        assert f'"{line}"' in (ROOT / "host/core/src/rules/loaded.rs").read_text()
        [metric] = each["MetricTransformations"]
        assert (metric["MetricNamespace"], metric["MetricName"]) == ("Citas", "citas_rules_faults_total")
        assert metric["Dimensions"] == [{"Key": "country", "Value": "$.country"}]


def test_the_dashboard_is_one():
    widgets = json.loads(properties("Dashboard")["DashboardBody"])["widgets"]
    assert len(widgets) >= 6


# ── Building ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def elf(machine):
    """Returns the start of a file in the format ELF: 64 bits, little-endian, an executable for `machine`."""
    return b"\x7fELF" + bytes([2, 1, 1]) + bytes(9) + struct.pack("<HHI", 2, machine, 1)


AARCH64, X86_64 = 183, 62


def make(folder, name, content, **variables):
    (folder / "from").mkdir()
    (folder / "to").mkdir()
    if content is not None:
        (folder / "from" / name.lower()).write_bytes(content)
    environment = os.environ | {"ARTIFACTS_DIR": str(folder / "to"), "BOOTSTRAP": f"{folder}/from/%"} | variables
    done = subprocess.run(["make", "-C", ROOT, f"build-{name}"], env=environment, capture_output=True, text=True)
    return done, folder / "to/bootstrap"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_bootstrap_for_the_functions_machine_is_taken(tmp_path, name):
    done, bootstrap = make(tmp_path, name, elf(AARCH64))
    assert done.returncode == 0, done.stderr
    assert bootstrap.read_bytes() == elf(AARCH64)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_bootstrap_for_another_machine_is_refused(tmp_path, name):
    done, bootstrap = make(tmp_path, name, elf(X86_64))
    assert done.returncode != 0 and "is not built for arm64" in done.stderr
    assert not bootstrap.exists()


def test_tests_take_a_bootstrap_for_their_own_machine(tmp_path):
    done, bootstrap = make(tmp_path, "Api", elf(X86_64), ARCHITECTURE="x86_64")
    assert done.returncode == 0, done.stderr
    assert bootstrap.exists()


@pytest.mark.parametrize(
    "content, says", [(None, "is not there"), (b"#!/bin/sh\nexec python3\n", "is no ELF file"), (b"", "is no ELF file")]
)
def test_what_is_no_program_is_refused(tmp_path, content, says):
    done, bootstrap = make(tmp_path, "Api", content)
    assert done.returncode != 0 and says in done.stderr
    assert not bootstrap.exists()


def test_an_unknown_machine_is_refused(tmp_path):
    done, _ = make(tmp_path, "Api", elf(AARCH64), ARCHITECTURE="riscv64")
    assert done.returncode != 0
