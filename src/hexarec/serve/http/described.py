"""What /openapi.json says beyond the routes: keys are bearer tokens, everything may fail, errors have one shape."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from hexarec.serve.http.shapes import Error

ERRORS = {
    "400": "not HTTP as it should be", "401": "no valid key", "403": "the key lacks the scope", "404": "not found",
    "408": "the body came too slowly", "409": "conflict, or not now", "413": "too large", "415": "compressed",
    "421": "another host", "422": "invalid", "429": "rate or budget used up", "500": "a fault of the server",
    "501": "not installed, or not supported", "502": "a model failed", "503": "overloaded", "504": "deadline",
    "507": "the disk of the store is full",
}  # fmt: skip
SHAPE = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}


def describe(app: FastAPI) -> None:
    """Add it to what FastAPI describes.

    Not as `responses` of the application: of each of those every route, pages too, would make a validator that nothing
    asks, a second of work before the first answer.
    """
    usual = app.openapi

    def described() -> dict[str, Any]:
        made = usual()
        parts = made.setdefault("components", {})
        parts.setdefault("securitySchemes", {})["key"] = {"type": "http", "scheme": "bearer"}
        error = Error.model_json_schema(ref_template="#/components/schemas/{model}")
        parts["schemas"] = schemas = {**error.pop("$defs"), "Error": error, **parts.get("schemas", {})}
        for usual_one in ("HTTPValidationError", "ValidationError"):
            schemas.pop(usual_one, None)
        for methods in made["paths"].values():
            for operation in methods.values():
                _complete(operation)
        return made

    app.openapi = described  # type: ignore[method-assign]


def _complete(operation: dict[str, Any]) -> None:
    """Security and errors of one operation; what a route says of an error itself stays."""
    if operation.get("x-scope", "none") != "none":
        operation["security"] = [{"key": []}]
    told = operation["responses"]
    if told.get("422", {}).get("description") == "Validation Error":  # FastAPI's own shape, which no answer has
        del told["422"]
    for code, text in ERRORS.items():
        said = told.setdefault(code, {"description": text, "content": SHAPE})
        if "content" in said:  # JSON also where the answer itself is none
            said["content"] = {"application/json": next(iter(said["content"].values()))}
