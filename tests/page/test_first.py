"""The first page of a process costs what the others cost: what is made once is made before the server listens."""

import asyncio
import cProfile
import pstats

import httpx
import pytest

from hexarec.serve.http.app import make_app
from hexarec.serve.page import said, words
from hexarec.serve.page.render import ENVIRONMENT
from serve.conftest import URL, backend_over

FEW = 3
"""Calls of the first page, as a multiple of those of the second: some are new to SQLAlchemy."""


async def calls_of(app, state, lang):
    """Function calls on the event loop until a page is there."""

    async def with_state(scope, receive, send):
        await app({**scope, "state": dict(state)}, receive, send)

    profile = cProfile.Profile()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(with_state), base_url=URL) as client:
        profile.enable()
        answer = await client.get("/", headers={"accept-language": lang})
        profile.disable()
    assert answer.status_code == 200 and words.word(lang, "home.title") in answer.text
    return pstats.Stats(profile).total_calls


@pytest.fixture
def as_in_a_new_process():
    for kept in (words.words_of.cache_clear, said._patterns.cache_clear, ENVIRONMENT.cache.clear):
        kept()


@pytest.mark.parametrize("lang", words.LANGUAGES)
def test_the_first_page_makes_nothing_for_the_others(as_in_a_new_process, tmp_path, data, lang):
    app = make_app(backend_over(tmp_path / "home", data))

    async def both():
        async with app.router.lifespan_context(app) as state:
            return [await calls_of(app, state, lang) for _ in range(2)]

    first, second = asyncio.run(both())
    assert first < FEW * second, (first, second)
