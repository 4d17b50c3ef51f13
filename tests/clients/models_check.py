"""Parses each kind of answer with the models of datamodel-code-generator (pydantic)."""

import os
from typing import Any, TypeVar

import httpx
import models
from pydantic import BaseModel

Model = TypeVar("Model", bound=BaseModel)

client = httpx.Client(base_url=os.environ["BASE"], headers={"Authorization": f"Bearer {os.environ['TOKEN']}"})


def parsed(model: type[Model], answer: httpx.Response, status: int = 200) -> Model:
    """Parses an answer, and checks that the model keeps every member of it."""
    assert answer.status_code == status, answer.text
    found = model.model_validate_json(answer.content)
    kept = found.model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert kept.keys() == answer.json().keys(), (model, kept)
    return found


def example(name: str) -> Any:
    """Returns the first example of a schema in the description that the host serves now."""
    return client.get("/openapi.json").json()["components"]["schemas"][name]["examples"][0]


def check(country: str, doctor: str, cancel: dict[str, str]) -> None:
    prefix = country.capitalize()
    request, appointment, page, history, move = (
        getattr(models, prefix + name) for name in ("Request", "Appointment", "Page", "History", "RescheduleInput")
    )
    appointments = f"/v1/{country}/appointments"
    body = example(prefix + "Request") | {"doctor": doctor}
    request.model_validate(body)
    booked = parsed(appointment, client.post(appointments, json=body), 201)
    one = f"{appointments}/{booked.id}"
    problem = parsed(models.Problem, client.post(appointments, json=body), 409)
    assert problem.freeSlots and problem.freeSlots[0].minutes > 0
    parsed(page, client.get(appointments, params={"limit": 1}))
    parsed(appointment, client.get(one))
    moving = example(prefix + "RescheduleInput")
    move.model_validate(moving)
    parsed(appointment, client.post(f"{one}/reschedule", json=moving))
    parsed(appointment, client.post(f"{one}/cancel", json=cancel))
    parsed(models.Problem, client.post(f"{one}/cancel", json=cancel), 409)
    assert len(parsed(history, client.get(f"{one}/history")).items) == 3
    refused = parsed(models.Problem, client.post(appointments, json=body | {"email": "nobody"}), 422)
    assert refused.violations and refused.violations[0].pointer == "/email"
    parsed(models.Problem, client.get(f"/v1/{country}/rules"), 403)
    parsed(models.CountrySchemas, client.get(f"/v1/{country}/schema"))
    staff = {"Authorization": f"Bearer {os.environ['PLATFORM_TOKEN']}"}
    parsed(models.RulesStatus, client.get(f"/v1/{country}/rules", headers=staff))


check("pe", "54001", {"reason": "Viaje"})
check("cl", "54001", {"reason": "patient"})
parsed(models.Countries, client.get("/v1/countries"))
parsed(models.Health, client.get("/healthz"))
parsed(models.Readiness, client.get("/readyz"))
parsed(models.KeySet, client.get("/.well-known/jwks.json"))
parsed(models.Problem, client.get("/v1/pe/appointments", headers={"Authorization": ""}), 401)
