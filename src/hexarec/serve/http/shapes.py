"""Requests of the API as types, and its one error; /openapi.json is made from them and from `answers`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

MOST_ITEMS = 1_000


def _short(one: str) -> str:
    if len(one.encode("utf-8", "replace")) > 512:
        raise ValueError("an id has at most 512 bytes")
    return one


def _person(one: str) -> str:
    if one.startswith("session:"):
        raise ValueError("an id of a user does not begin with session:; give the session itself")
    return one


Id = Annotated[
    str, StringConstraints(min_length=1, max_length=512, pattern=r"^[^\x00]+$"), AfterValidator(_short)
]  # fmt: skip
UserId = Annotated[Id, AfterValidator(_person)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Text = Annotated[str, StringConstraints(max_length=20_000, pattern=r"^[^\x00]*$")]
Kind = Literal["view", "click", "like", "dislike", "purchase", "rate", "skip", "hide", "review", "tag"]
Seconds = Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)]
Number = Annotated[float, Field(ge=-1e15, le=1e15, allow_inf_nan=False)]
Lang = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z]{2,3}(-[a-zA-Z0-9]{2,8})*$")]
Attribute = Text | bool | Number | Annotated[list[Text], Field(max_length=1_000)] | None
AttributeName = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00]+$")]
Attributes = Annotated[dict[AttributeName, Attribute], Field(max_length=100)]


Pieces = Annotated[dict[AttributeName, Text], Field(min_length=1, max_length=100)]


class Strict(BaseModel):
    """A request: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class PastEvent(Strict):
    """One event that comes with a question: what was done, oldest first when times are left out."""

    item_id: Id
    type: Kind = "click"
    value: Number | None = None
    time: Seconds | None = None


class Session(Strict):
    """What somebody did in this visit, known or not."""

    id: Id | None = None
    events: Annotated[list[PastEvent], Field(max_length=MOST_ITEMS)] = []


class Recommend(Strict):
    """A question for a list."""

    user_id: UserId | None = None
    session: Session | None = None
    history: Annotated[list[Id | PastEvent], Field(max_length=MOST_ITEMS)] = []
    n: Annotated[int, Field(ge=1, le=200)] = 10
    pipeline: Name | None = None
    filter: dict[str, Any] | None = Field(None, description="a typed filter: {field, op, value} or {and|or|not: [...]}")
    exclude: Annotated[list[Id], Field(max_length=10_000)] = []
    allow_seen: bool = False
    text: Text | None = Field(None, description="a wish in words, for stages that read it")
    context: Annotated[dict[str, Any], Field(max_length=100)] = {}
    lang: Lang | None = None
    explain: bool = False
    trace: bool = False
    deadline_ms: Annotated[int, Field(ge=1, le=600_000)] | None = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0


class Similar(Strict):
    """A question for items like one item."""

    item_id: Id
    n: Annotated[int, Field(ge=1, le=200)] = 10
    pipeline: Name | None = None
    filter: dict[str, Any] | None = None
    deadline_ms: Annotated[int, Field(ge=1, le=600_000)] | None = None


class Document(Strict):
    """A document to be ordered, as text."""

    text: Text


class Rerank(Strict):
    """Documents for a query (the shape of Jina and Cohere), or, our extension, items for a user."""

    model: Name | None = None
    query: Text = ""
    documents: Annotated[list[Text | Document], Field(max_length=MOST_ITEMS)] = []
    top_n: Annotated[int, Field(ge=1, le=MOST_ITEMS)] | None = None
    return_documents: bool = False
    user_id: UserId | None = None
    item_ids: Annotated[list[Id], Field(max_length=MOST_ITEMS)] = []
    deadline_ms: Annotated[int, Field(ge=1, le=600_000)] | None = None


class Embeddings(Strict):
    """Texts to be turned into vectors (the shape of OpenAI)."""

    model: str = Field("minilm", max_length=200)
    input: Text | Annotated[list[Text], Field(min_length=1, max_length=2_048)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Field(ge=1, le=2**53)] | None = None
    user: UserId | None = None


class ChatMessage(BaseModel):
    """One turn; text, or parts of which the texts are read."""

    model_config = ConfigDict(extra="ignore")
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text | Annotated[list[dict[str, Any]], Field(max_length=100)] | None = None


class Chat(BaseModel):
    """A conversation in the shape of OpenAI's chat completions; `model` is a pipeline. Unknown settings are ignored."""

    model_config = ConfigDict(extra="ignore")
    model: str = Field(max_length=100)
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=200)]
    stream: bool = False
    stream_options: dict[str, Any] | None = None
    user: UserId | None = None
    n: Annotated[int, Field(ge=1, le=1)] | None = None
    dialogue_id: Id | None = Field(None, description="the server keeps the state of this dialogue")
    state: dict[str, Any] | None = Field(None, description="the state of the last answer, kept by the client")
    deadline_ms: Annotated[int, Field(ge=1, le=600_000)] | None = None


class NewEvent(Strict):
    """Something a user did. `event_id` is made by the client: sent again, it counts once."""

    event_id: Id
    type: Kind = "click"
    user_id: UserId | None = None
    session_id: Id | None = None
    item_id: Id
    value: Number | None = None
    time: Seconds | None = Field(None, description="unix seconds UTC; the time of arrival without it")
    text: Text = ""
    request_id: Id | None = Field(None, description="the list it came from")
    position: Annotated[int, Field(ge=1, le=100_000)] | None = None


class Events(Strict):
    """A few events at once; many go to /v1/events:batch as NDJSON."""

    events: Annotated[list[NewEvent], Field(min_length=1, max_length=MOST_ITEMS)]


class ItemBody(Strict):
    """An item. Attributes are text, numbers, true or false, or lists of text."""

    title: Text
    text: Text = ""
    attributes: Attributes = {}
    titles: Annotated[dict[Lang, Text], Field(max_length=50)] = {}
    texts: Annotated[dict[Lang, Text], Field(max_length=50)] = {}
    since: Seconds | None = Field(None, description="unix seconds from which it may be recommended")


class ItemPatch(Strict):
    """The fields of an item that change; null in attributes removes one."""

    title: Text | None = None
    text: Text | None = None
    attributes: Attributes | None = None
    titles: dict[Lang, Text] | None = None
    texts: dict[Lang, Text] | None = None
    since: Seconds | None = None


class UserBody(Strict):
    """What a user states about themselves."""

    attributes: Attributes = {}
    lang: Lang | None = None


class Explanation(Strict):
    """A question why an item suits a user."""

    user_id: UserId | None = None
    history: Annotated[list[Id | PastEvent], Field(max_length=MOST_ITEMS)] = []
    item_id: Id
    pipeline: Name | None = None
    lang: Lang | None = None
    deadline_ms: Annotated[int, Field(ge=1, le=600_000)] | None = None


class NewJob(Strict):
    """Background work."""

    kind: Name
    args: Annotated[dict[str, Any], Field(max_length=100)] = {}


class NewExperiment(Strict):
    """An experiment: arms are pipelines, control first."""

    name: Name
    kind: Literal["ab", "interleave"] = "ab"
    arms: Annotated[dict[Name, Name], Field(min_length=2, max_length=10)]
    shares: dict[Name, Annotated[float, Field(ge=0, le=1)]] | None = None
    layer: str = Field("", max_length=64, description="drawn from with the salt: another layer, another assignment")
    salt: str | None = Field(None, max_length=200)
    kinds: Annotated[list[Kind], Field(min_length=1)] = ["click"]
    window: Annotated[float, Field(gt=0, le=1e8)] = 86_400.0
    guardrails: dict[str, Annotated[float, Field(ge=0, le=1e6)]] = {}
    tau: Annotated[float, Field(gt=0, le=1e6)] | None = Field(None, description="makes every look valid (mixture SPRT)")
    looks: Annotated[int, Field(ge=1, le=100)] | None = Field(
        None, description="looks that are planned, at equal parts of `users` (O'Brien-Fleming); not with tau"
    )
    users: Annotated[int, Field(ge=1, le=10**9)] | None = Field(None, description="users of both arms together")
    stop_if: Annotated[list[Annotated[str, StringConstraints(max_length=200)]], Field(max_length=20)] = Field(
        [], description="rules such as p95_ms>800; an arm that meets one ends the experiment"
    )


class Move(Strict):
    """What becomes of an experiment."""

    state: Literal["running", "stopped", "shipped"]
    ship: Name | None = None


class PromptBody(Strict):
    """A prompt by language: one text, or the named pieces that a method has. Slots are written {name}."""

    en: Text | Pieces
    zh: Text | Pieces = ""
    note: str = Field("", max_length=1_000)


class Activate(Strict):
    """Which version is served."""

    version: Annotated[int, Field(ge=1, le=2**31 - 1)]


class NewKey(Strict):
    """A key to be made."""

    name: str = Field(min_length=1, max_length=100)
    scopes: Annotated[list[str], Field(min_length=1, max_length=20)]
    days: Annotated[float, Field(gt=0, le=36_500)] | None = None
    rate: Annotated[float, Field(gt=0, le=1e6)] | None = None
    burst: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    calls: Annotated[int, Field(ge=1, le=2**53)] | None = None
    tokens: Annotated[int, Field(ge=1, le=2**53)] | None = None
    dollars: Annotated[float, Field(gt=0, le=1e9)] | None = None


class ErrorBody(BaseModel):
    """What went wrong, and what mends it."""

    type: str
    message: str
    hint: str | None = None
    field: str | None = None
    request_id: str | None = None


class Error(BaseModel):
    """The one shape of every error."""

    error: ErrorBody
