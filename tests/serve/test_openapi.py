"""What /openapi.json says is true: thousands of right and wrong requests, by schemathesis, in process."""

import json
from collections import Counter

import pytest
import requests
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode, checks

from hexarec.data.worlds import world
from hexarec.serve.http.app import make_app
from hexarec.serve.http.guards import SAFE_HEADERS

from .conftest import URL, backend_over, key_for
from .published import spec_of

FEW, MANY = 4, 500
CHECKS = [
    checks.not_a_server_error, checks.status_code_conformance, checks.content_type_conformance,
    checks.response_headers_conformance, checks.response_schema_conformance,
]  # fmt: skip
ANYTHING = ("/v1/events:batch",)  # wrong lines are told one by one in a 200
CASES = Counter()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    backend = backend_over(tmp_path_factory.mktemp("api") / "home", world("checkerboard").data, gorse=True)
    app = make_app(backend)
    with TestClient(app, base_url=URL) as client:
        schema = schemathesis.openapi.from_dict(app.openapi())
        schema.config.generation.with_security_parameters = (
            False  # every call has a right key; test_access has the others
        )
        # too many elements may be too many bytes first, and a deadline of a millisecond comes before the answer
        for check, more in ((schema.config.checks.negative_data_rejection, "413"),
                            (schema.config.checks.not_a_server_error, "504")):  # fmt: skip
            check.expected_statuses = [*check.expected_statuses, more]
        yield schema, client, key_for(backend, "admin")


@schemathesis.serializer("application/x-ndjson")
def lines_of(ctx, value):
    return {"data": value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")}


def operations():
    """The operations of the API, as method and path, without a server."""
    from hexarec.serve.http.routes import ROUTERS, gorse

    routers = (*ROUTERS, gorse.router)
    return sorted(
        (method, route.path_format) for router in routers for route in router.routes for method in route.methods
    )


def test_every_answer_is_typed(served):
    """Every JSON answer is a model with a name of its own, or an array; what they hold is checked by `published`."""
    spec, untyped = served[1].app.openapi(), []
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            for code, told in operation["responses"].items():
                schema = told.get("content", {}).get("application/json", {}).get("schema")
                if code.startswith("2") and "application/json" in told.get("content", {}):
                    named = schema and ("$ref" in schema or schema.get("type") == "array")
                    untyped += [] if named else [(method, path)]
    assert untyped == []
    assert [name for name in spec["components"]["schemas"] if "__" in name] == []  # two of one name


def test_an_answer_that_is_not_as_published_is_found(served):
    """What every client of these tests relies on."""
    spec = spec_of(served[1].app)
    fits = spec.validator(("/health/ready", "get"), "200")
    right = {"status": "ok", "reasons": [], "seconds_up": 1.0}
    assert list(fits.iter_errors(right)) == []
    for wrong in ({**right, "pipelines": 3}, {**right, "status": "fine"}, {"status": "ok"}):
        assert list(fits.iter_errors(wrong)), wrong


def try_operation(served, method, path, mode, examples):
    schema, client, headers = served
    operation = schema[path][method]
    if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query):
        pytest.skip("nothing but an id can be wrong with it, see test_hostile")
    wrong_is_told = [checks.negative_data_rejection] if path not in ANYTHING else []

    @seed(0)
    @settings(max_examples=examples, deadline=None, derandomize=True, database=None,
              suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate, Phase.shrink])  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=mode))
    def one(case):
        CASES[method, path] += 1
        sent = requests.Request(**case.as_transport_kwargs(base_url=URL, headers=headers)).prepare()
        answer = client.request(sent.method, sent.url, content=sent.body, headers=sent.headers)
        sound(answer)
        case.validate_response(answer, checks=CHECKS + wrong_is_told, headers=headers)

    one()


def sound(answer):
    """Every answer has the headers of safety and an id; every error has the one shape."""
    for name, value in SAFE_HEADERS:
        assert answer.headers[name.decode()] == value.decode()
    assert answer.headers["x-request-id"]
    if answer.status_code >= 400 and "ready" not in str(answer.request.url):
        error = json.loads(answer.content)["error"]
        assert set(error) == {"type", "message", "hint", "field", "request_id"}
        assert error["type"] and error["message"] and error["request_id"]
        assert "Traceback" not in answer.text


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize(("method", "path"), operations(), ids=lambda value: value)
def test_operation(served, method, path, mode):
    try_operation(served, method, path, mode, FEW)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize(("method", "path"), operations(), ids=lambda value: value)
def test_operation_with_many(served, method, path, mode):
    try_operation(served, method, path, mode, MANY)


def test_every_operation_was_tried(capsys):
    with capsys.disabled():
        print(f"\nschemathesis: {sum(CASES.values())} cases over {len(CASES)} operations")
    assert not CASES or set(CASES) == set(operations())
