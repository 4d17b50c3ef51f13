"""The templates as CloudFormation gets them: read, and translated from SAM, with every reference resolved as far as the
template allows. An attribute of another resource becomes its logical name in braces: `{Api.Arn}`."""

import os
import re
from pathlib import Path

from samtranslator.public.translator import ManagedPolicyLoader
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parents[2]
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
PSEUDO = {
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::AccountId": "123456789012",
    "AWS::StackName": "citas",
}


def platform(**given):
    given = {"MailFrom": "citas@example.com", "OnCall": "oncall@example.com"} | given
    return resolved(translated("template.yaml"), given)


def country():
    return resolved(translated("countries/country.yaml"), {"Country": "pe"})


def translated(path):
    template = yaml_parse((ROOT / path).read_text())
    if "Transform" not in template:
        return template
    # The value that `sam deploy` sets once the code is uploaded.
    template["Globals"]["Function"]["CodeUri"] = "s3://code/zip"
    return transform(template, {}, ManagedPolicyLoader(None))


def resolved(template, given):
    values = {name: str(each["Default"]) for name, each in template["Parameters"].items() if "Default" in each}
    return Resolver(template, PSEUDO | values | given).of(template["Resources"])


class Resolver:
    def __init__(self, template, values):
        self.conditions, self.values = template.get("Conditions", {}), values

    def of(self, value):
        if isinstance(value, list):
            found = [self.of(each) for each in value]
            return [each for each in found if each is not None]
        if not isinstance(value, dict):
            return value
        match list(value.items()):
            case [("Ref", "AWS::NoValue")]:
                return None
            case [("Ref", name)]:
                return self.name(name)
            case [("Fn::GetAtt", attribute)]:
                return self.name(".".join(attribute) if isinstance(attribute, list) else attribute)
            case [("Fn::Sub", text)]:
                return re.sub(r"\$\{([^}!]+)\}", lambda found: str(self.name(found[1])), text)
            case [("Fn::Split", [separator, text])]:
                return self.of(text).split(separator)
            case [("Fn::ImportValue", export)]:
                return f"{{import {self.of(export)}}}"
            case [("Fn::If", [condition, then, otherwise])]:
                return self.of(then if self.of(self.conditions[condition]) else otherwise)
            case [("Fn::Equals", [one, other])]:
                return self.of(one) == self.of(other)
            case [("Fn::Not", [one])]:
                return not self.of(one)
        found = {key: self.of(each) for key, each in value.items()}
        return {key: each for key, each in found.items() if each is not None}

    def name(self, name):
        return self.values.get(name, f"{{{name}}}")
