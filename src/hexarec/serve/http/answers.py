"""Answers of the API as types, beside those of lists and events in `shapes`; /openapi.json is made from them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from hexarec.serve.http.shapes import Degraded

Body = dict[str, Any]
State = Literal["draft", "running", "stopped", "shipped"]


class StoredItem(BaseModel):
    """An item; `version` grows with every change."""

    item_id: str
    title: str
    text: str
    attributes: Body
    titles: dict[str, str]
    texts: dict[str, str]
    since: float | None
    version: int
    deleted: bool


class ItemPage(BaseModel):
    """Items by id; `next` is where to go on, null at the end."""

    items: list[StoredItem]
    next: str | None


class StoredUser(BaseModel):
    """A user and what they stated."""

    user_id: str
    attributes: Body
    lang: str | None


class UserPage(BaseModel):
    """Users by id; `next` is where to go on, null at the end."""

    users: list[StoredUser]
    next: str | None


class Erased(BaseModel):
    """What an erasure removed: rows by table, saved pipelines and files that were written anew."""

    erased: dict[str, int]


class Job(BaseModel):
    """A background job; `done` of `total` steps of its phase, `eta` seconds left of it."""

    id: str
    kind: str
    args: Body
    created: float
    state: Literal["waiting", "running", "paused", "done", "failed", "cancelled"]
    worker: str | None
    beat: float | None
    started: float | None
    ended: float | None
    phase: str
    done: int
    total: int | None
    since: float | None
    cancel: bool
    result: Body | None
    error: str | None
    attempts: int
    key: str | None = Field(description="id of the key that pays")
    eta: float | None


class LoggedJob(Job):
    """A job with the numbered lines of its log."""

    log: list[tuple[int, str]]


class KindOfJob(BaseModel):
    """What a kind of job does, and the types of its arguments."""

    about: str
    args: dict[str, str]


class Jobs(BaseModel):
    """The newest jobs, and the kinds there are."""

    jobs: list[Job]
    kinds: dict[str, KindOfJob]


class Version(BaseModel):
    """One version of a document."""

    name: str
    version: int
    created: float
    active: bool


class PipelineVersion(Version):
    """A version of a pipeline: its configuration and what it was fitted on."""

    model_config = ConfigDict(extra="allow")
    config: Body | None = None
    seed: int | None = None
    events: int | None = None
    users: int | None = None
    items: int | None = None
    data_key: str | None = None
    artefacts: list[Body] = Field([], description="what was tuned for it, see /v1/registry")


class ServedPipeline(PipelineVersion):
    """The active version, and the one that this server serves now."""

    serving: int | None
    waiting: int = Field(0, description="questions that wait")


class Pipelines(BaseModel):
    """The pipelines, and why some could not be taken up."""

    pipelines: list[ServedPipeline]
    broken: dict[str, str]


class PipelineVersions(BaseModel):
    """Every version of a pipeline, oldest first."""

    versions: list[PipelineVersion]


class PromptVersion(Version):
    """A version of a prompt by language: one text, or named pieces."""

    en: str | dict[str, str]
    zh: str | dict[str, str]
    note: str


class Prompts(BaseModel):
    """The active version of every prompt."""

    prompts: list[PromptVersion]


class PromptVersions(BaseModel):
    """Every version of a prompt, oldest first."""

    versions: list[PromptVersion]


class StoppedBy(BaseModel):
    """The rule that ended an experiment, the arm that met it, and by which value."""

    rule: str
    arm: str
    value: float
    lists: int
    said: str


class Experiment(Version):
    """An experiment as it was defined, and what became of it."""

    kind: Literal["ab", "interleave"]
    arms: dict[str, str]
    shares: dict[str, float]
    salt: str
    layer: str
    kinds: list[str]
    window: float
    guardrails: dict[str, float]
    tau: float | None
    looks: int | None = None
    users: int | None = None
    stop_if: list[str] = []
    state: State
    started: float | None
    ended: float | None
    result: Body | None = None
    stopped_by: StoppedBy | None = None
    shipped: str | None = None


class Experiments(BaseModel):
    """All experiments."""

    experiments: list[Experiment]


class Effect(BaseModel):
    """An arm against control; null where it is not read, `stopped` says why."""

    effect: float | None
    low: float | None
    high: float | None
    p: float | None
    method: str
    n: list[int]
    sample_ratio_p: float | None
    level: float
    stopped: str


class GuardrailRead(BaseModel):
    """Harm (above 0 is worse) with its interval, and the verdict."""

    harm: float | None
    low: float | None
    high: float | None
    verdict: Literal["held", "broken", "open", "unread"]
    margin: float


class Reading(BaseModel):
    """What an experiment says so far."""

    state: State
    stopped_by: StoppedBy | None = None
    units: dict[str, int] = {}
    effects: dict[str, Effect] = {}
    guardrails: dict[str, dict[str, GuardrailRead]] = {}
    preferred: str | None = Field(None, description="of an interleaving: the arm whose preference it is")
    preference: Body | None = None


class ReadExperiment(Experiment):
    """An experiment with its reading."""

    reading: Reading


class Key(BaseModel):
    """A key without its secret; calls, tokens and dollars are limits of a UTC day."""

    id: str
    name: str
    scopes: list[str]
    created: float
    expires: float | None
    revoked: float | None
    rate: float | None
    burst: int | None
    calls: int | None
    tokens: int | None
    dollars: float | None
    spent_today: dict[str, float]


class MadeKey(Key):
    """A new key with its secret."""

    key: str


class Keys(BaseModel):
    """All keys."""

    keys: list[Key]


class AuditEntry(BaseModel):
    """Who did what to what."""

    seq: int
    time: float
    who: str
    what: str
    target: str
    request: str
    digest: str


class Audit(BaseModel):
    """Links of the audit log, and the first broken one."""

    rows: list[AuditEntry]
    broken_at: int | None


class Model(BaseModel):
    """A pipeline under OpenAI's name for it."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    version: int


class Models(BaseModel):
    """What `model` may be."""

    object: Literal["list"]
    data: list[Model]


class Embedding(BaseModel):
    """A vector: numbers, or base64 of little-endian float32."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    """What was read."""

    prompt_tokens: int
    total_tokens: int


class Embedded(BaseModel):
    """Vectors in the order of the texts."""

    object: Literal["list"]
    model: str
    data: list[Embedding]
    usage: EmbeddingUsage


class Claim(BaseModel):
    """A statement of the words, and whether the catalog bears it out."""

    text: str
    verdict: str


class EvidenceTold(BaseModel):
    """What an explanation rests on."""

    kind: str
    items: list[str]
    detail: str


class FromStore(BaseModel):
    """Questions to language models that were answered from the store."""

    cached: int


class Explained(BaseModel):
    """Evidence and words for one item."""

    item_id: str
    text: str
    status: str
    faithful: bool
    claims: list[Claim]
    evidence: list[EvidenceTold]
    usage: FromStore
    degraded: list[Degraded]


class Ranked(BaseModel):
    """One place of a reranking."""

    index: int
    relevance_score: float | None
    item_id: str | None = None
    document: dict[str, str] | None = None


class RankedUsage(BaseModel):
    """What it cost."""

    total_tokens: int


class Reranked(BaseModel):
    """Most relevant first."""

    model: str
    results: list[Ranked]
    usage: RankedUsage
    degraded: list[Degraded] = []


class ChatItem(BaseModel):
    """An item that a reply names."""

    item_id: str
    title: str


class ChatReply(BaseModel):
    """The assistant's turn, with the items, the act and the state beside the text."""

    role: Literal["assistant"]
    content: str
    items: list[ChatItem]
    act: str
    state: Body
    status: str
    degraded: list[Degraded]


class ChatChoice(BaseModel):
    """The one choice of a completion."""

    index: int
    message: ChatReply
    finish_reason: Literal["stop"]
    logprobs: None


class ChatUsage(EmbeddingUsage):
    """Tokens read and written."""

    completion_tokens: int


class Completion(BaseModel):
    """A reply in OpenAI's shape."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: ChatUsage
