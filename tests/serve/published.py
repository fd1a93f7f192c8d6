"""A client that holds every JSON answer of the API against /openapi.json: what is published is what is said, all of it."""

import re
from functools import cache

from fastapi import FastAPI
from fastapi.testclient import TestClient
from jsonschema import Draft202012Validator

JSON = "application/json"
SPECS = {}


class Published(TestClient):
    """A test client whose JSON answers must fit the schema of their operation and status, without a field more."""

    def request(self, method, url, **more):
        answer = super().request(method, url, **more)
        if isinstance(self.app, FastAPI) and answer.headers.get("content-type", "") == JSON:
            check(spec_of(self.app), answer)
        return answer


def check(spec, answer):
    """Raise AssertionError for an answer that is not as published; what the file does not know is not looked at."""
    path = answer.request.url.raw_path.decode().partition("?")[0]
    operation = spec.operation(answer.request.method, path)
    if operation is None:
        return
    fits = spec.validator(operation, str(answer.status_code))
    assert fits is not None, f"{operation} publishes no {answer.status_code}: {answer.text[:300]}"
    wrong = [f"{'/'.join(map(str, one.path))}: {one.message[:200]}" for one in fits.iter_errors(answer.json())]
    assert wrong == [], f"{operation} answers {answer.status_code} otherwise than published"


def spec_of(app):
    """The file of an app; apps differ by the routes of gorse alone."""
    gorse = app.state.backend.settings.gorse
    if gorse not in SPECS:
        SPECS[gorse] = Spec(app.openapi())
    return SPECS[gorse]


class Spec:
    """An OpenAPI file, of which operations are found by address."""

    def __init__(self, told):
        schemas = {name: closed(schema) for name, schema in told["components"]["schemas"].items()}
        self._told, self._components = told, {"schemas": schemas}
        self._paths = {
            path: re.compile("/".join("[^/]+" if part.startswith("{") else re.escape(part) for part in path.split("/")))
            for path in sorted(told["paths"], key=lambda path: path.count("{"))
        }
        self.validator = cache(self._validator)

    def operation(self, method, address):
        """(path, method) of who answers there; None for nobody in the file."""
        for path, pattern in self._paths.items():
            if method.lower() in self._told["paths"][path] and pattern.fullmatch(address):
                return path, method.lower()
        return None

    def _validator(self, operation, code):
        path, method = operation
        answer = self._told["paths"][path][method]["responses"].get(code)
        if answer is None or JSON not in answer.get("content", {}):
            return None
        return Draft202012Validator({**answer["content"][JSON]["schema"], "components": self._components})


def closed(schema):
    """A schema that allows no field it does not name, unless it says that it does."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: closed(value) for name, value in schema.items()}
    return {"additionalProperties": False, **made} if isinstance(schema.get("properties"), dict) else made
