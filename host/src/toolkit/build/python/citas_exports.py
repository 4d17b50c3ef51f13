"""Exports the classes of a country's rules.py, with the errors of their functions as the contract has them."""

import rules
from componentize_py_types import Err
from wit_world.imports import types

from citas_contract import functions_of, pascal, told
from citas_functions import FUNCTIONS

FOLDER = rules.__file__.rpartition("/")[0]


def worded(function, error):
    """Returns a method that raises what the contract has for an error."""

    def call(_self, *given):
        try:
            return function(*given)
        except Err as refusal:
            raise Err(types.Refusal_Violations(refusal.value)) from None
        except BaseException as exception:
            said = told(exception, FOLDER).encode("utf-8", "backslashreplace").decode()
            raise Err(types.Refusal_Fault(said) if error["kind"] == "variant" else said) from None

    return call


for interface, functions in FUNCTIONS.items():
    owner = pascal(interface)
    own = functions_of(owner, getattr(rules, owner), functions)
    methods = {name: worded(function, kinds["error"]) for (name, function), kinds in zip(own.items(), functions.values())}
    globals()[owner] = type(owner, (), methods)
