"""Answers in words: greedy against transformers, constraints against brute force."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from hexarec.core import run
from hexarec.core.errors import ModelError, OptionError
from hexarec.lm.base import Choice, JsonSchema, Prompt, Sample, Trie
from hexarec.lm.hf.engine import HF
from hexarec.lm.tokentrie import TokenTrie

CATALOG = [
    f"{a} {b}" for a in ("Toy", "The", "War of", "Heat", "Fargo") for b in ("Story", "Sea", "Film", "Action", "")
]
CATALOG = [title.strip() for title in CATALOG]
PROMPT = Prompt.plain("The user liked Heat (1995) and Fargo (1996). Next: ")


@pytest.fixture(scope="module")
def engine(llama_dir):
    return HF(str(llama_dir), dtype="float32")


def brute(engine, prompt, trie, norm, banned=()):
    """Every allowed sequence with its score, one plain forward each."""
    model = engine.weights()[0]
    before, found = engine.tokens.prompt(prompt), {}
    alive = [n for n in range(len(trie)) if n not in banned]
    allowed = [trie.sequence(n) for n in alive]
    for number, sequence in zip(alive, allowed, strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([before + sequence], device=model.device)).logits[0].double()
        total = 0.0
        for place, token in enumerate(sequence):
            row = logits[len(before) - 1 + place]
            legal = sorted({s[place] for s in allowed if s[:place] == sequence[:place]})
            rows = row if norm == "full" else row[legal]
            total += float(row[token] - torch.logsumexp(rows, 0))
        found[number] = total
    return found


@pytest.mark.parametrize("norm", ["full", "local"])
def test_beams_as_wide_as_the_catalog_equal_brute_force(any_dir, norm):
    engine = HF(str(any_dir), dtype="float32")
    trie = engine.trie(CATALOG)
    for banned in ((), (0, 3, 7)):
        found = engine.search([PROMPT], trie, k=50, beams=50, norm=norm, banned=[banned])[0]
        wanted = brute(engine, PROMPT, trie, norm, banned)
        assert [hit.number for hit in found] == sorted(wanted, key=wanted.get, reverse=True)
        assert np.allclose([hit.logprob for hit in found], sorted(wanted.values(), reverse=True), atol=1e-3)


@pytest.mark.parametrize("beams", [1, 2, 3, 7, 40])
@pytest.mark.parametrize("norm", ["full", "local"])
def test_no_beam_width_gives_an_invalid_repeated_or_banned_item(engine, beams, norm):
    trie, banned = engine.trie(CATALOG), set(range(0, 25, 3))
    prompts = [PROMPT, Prompt.user("Which film?"), Prompt.plain("x")]
    for hits in engine.search(prompts, trie, k=beams, beams=beams, norm=norm, banned=[banned] * 3):
        numbers = [hit.number for hit in hits]
        assert len(set(numbers)) == len(numbers) and not banned & set(numbers)
        assert all(0 <= n < len(CATALOG) for n in numbers)
        assert 0 < len(numbers) <= len(CATALOG) - len(banned)
        assert [hit.logprob for hit in hits] == sorted((hit.logprob for hit in hits), reverse=True)
    everything = engine.search([PROMPT], trie, k=1, beams=2, banned=[range(24)])[0]
    assert [hit.number for hit in everything] == [24]
    assert engine.search([PROMPT], trie, k=1, beams=2, banned=[range(25)]) == [[]]


def test_beams_equal_those_of_transformers(engine, llama_dir):
    model = AutoModelForCausalLM.from_pretrained(llama_dir, dtype=torch.float32).eval()
    trie, before = engine.trie(CATALOG), engine.tokens.prompt(PROMPT)
    legal = {}
    for number in range(len(trie)):
        sequence = trie.sequence(number)
        for place, token in enumerate(sequence):
            legal.setdefault(tuple(sequence[:place]), set()).add(token)
    made = model.generate(
        torch.tensor([before]),
        attention_mask=torch.ones(1, len(before), dtype=torch.long),
        num_beams=4,
        num_return_sequences=4,
        max_new_tokens=12,
        length_penalty=0.0,
        early_stopping="never",
        do_sample=False,
        eos_token_id=engine.tokens.end,
        pad_token_id=engine.tokens.end,
        prefix_allowed_tokens_fn=lambda _, ids: sorted(legal.get(tuple(ids[len(before) :].tolist()), {2})),
        return_dict_in_generate=True,
        output_scores=True,
    )
    texts = [engine.tokens.decode(row[len(before) :].tolist()) for row in made.sequences]
    found = engine.search([PROMPT], trie, k=4, beams=4)[0]
    assert [CATALOG[hit.number] for hit in found] == texts
    assert np.allclose([hit.logprob for hit in found], made.sequences_scores.numpy(), atol=1e-3)


@pytest.mark.parametrize("norm", ["full", "local"])
def test_beams_that_cannot_win_are_dropped_and_the_best_stay_the_same(engine, norm):
    trie, rows = engine.trie(CATALOG), []
    for k in (1, 3, 8):
        with run() as work:
            hits = engine.search([PROMPT], trie, k=k, beams=8, norm=norm)[0]
        rows.append(work.ledger.tokens_out)
        every = engine.search([PROMPT], trie, k=8, beams=8, norm=norm)[0]
        assert [hit.number for hit in hits] == [hit.number for hit in every[:k]]
        assert np.allclose([hit.logprob for hit in hits], [hit.logprob for hit in every[:k]], atol=1e-4)
    assert rows == sorted(rows) and (rows[0] < rows[-1] or norm == "local")


def test_forced_tokens_take_one_forward_and_score_as_single_ones_do(engine):
    titles = [f"{word} is the only film with this very long name in the catalog" for word in ("Heat", "Fargo", "Sea")]
    trie, scored = engine.trie(titles), engine.score([PROMPT], [titles], closed=True)[0].logprobs
    before = engine.worker.forwards
    hits = engine.search([PROMPT], trie, k=3, beams=3)[0]
    assert engine.worker.forwards - before < 8 < trie.depth
    assert np.allclose([hit.logprob for hit in hits], sorted(scored, reverse=True), atol=1e-3)


def test_a_batch_of_searches_equals_single_ones(engine):
    trie = engine.trie(CATALOG)
    prompts = [PROMPT, Prompt.user("Which film?"), Prompt.plain("x")]
    together = engine.search(prompts, trie, k=5, beams=6)
    for prompt, hits in zip(prompts, together, strict=True):
        alone = engine.search([prompt], trie, k=5, beams=6)[0]
        assert [hit.number for hit in hits] == [hit.number for hit in alone]
        assert np.allclose([hit.logprob for hit in hits], [hit.logprob for hit in alone], atol=1e-4)


def test_a_ban_changes_nothing_but_what_it_names(engine):
    trie = engine.trie(CATALOG)
    free = {hit.number: hit.logprob for hit in engine.search([PROMPT], trie, k=40, beams=40)[0]}
    less = {hit.number: hit.logprob for hit in engine.search([PROMPT], trie, k=40, beams=40, banned=[[4]])[0]}
    assert set(free) - set(less) == {4}
    assert all(abs(free[n] - less[n]) < 1e-4 for n in less)


def test_a_slate_never_repeats_and_each_place_sees_those_before(engine):
    hits = engine.slate(Prompt.plain("My list:\n"), CATALOG, 30)
    assert sorted(hit.number for hit in hits) == list(range(len(CATALOG)))
    # as a list reads: a space before each title, a new line and not the end of an answer behind it
    trie = engine.trie(CATALOG, before=" ", after="\n")
    asked = Prompt.plain(f"My list:\n1. {CATALOG[hits[0].number]}\n2.")
    second = engine.search([asked], trie, k=1, beams=4, banned=[[hits[0].number]])[0][0]
    assert second.number == hits[1].number
    scored = engine.score([Prompt.plain("My list:\n1.")], [[f" {CATALOG[hits[0].number]}\n"]])[0]
    assert abs(scored.logprobs[0] - hits[0].logprob) < 1e-3
    with pytest.raises(OptionError, match="raw"):
        engine.slate(Prompt.user("x"), CATALOG, 2)


@pytest.mark.parametrize("width", [1, 4])
def test_free_beams_equal_those_of_transformers(any_dir, width):
    engine = HF(str(any_dir), dtype="float32")
    model = AutoModelForCausalLM.from_pretrained(any_dir, dtype=torch.float32).eval()
    asked = replace(PROMPT, sample=Sample(max_tokens=6))
    before = engine.tokens.prompt(asked)
    made = model.generate(
        torch.tensor([before]), attention_mask=torch.ones(1, len(before), dtype=torch.long), num_beams=width,
        num_return_sequences=width, max_new_tokens=6, length_penalty=0.0, early_stopping="never", do_sample=False,
        eos_token_id=sorted(engine.tokens.ends), pad_token_id=engine.tokens.end, return_dict_in_generate=True,
        output_scores=True,
    )  # fmt: skip
    texts = [engine.tokens.decode(row[len(before) :].tolist()) for row in made.sequences]
    found = engine.beam([asked], width)[0]
    # token sequences of one text are one answer here
    assert [one.text for one in found] == list(dict.fromkeys(texts))
    if width > 1:
        best = [float(made.sequences_scores[texts.index(one.text)]) for one in found]
        assert np.allclose([one.logprob for one in found], best, atol=1e-3)


def test_free_beams_are_different_in_order_and_equal_those_of_a_single_prompt(engine):
    prompts = [Prompt.plain(text, max_tokens=8, stop=("e",)) for text in ("The film", "x", "用户喜欢")]
    together = engine.beam(prompts, 7)
    for prompt, own in zip(prompts, together, strict=True):
        alone = engine.beam([prompt], 7)[0]
        assert [one.text for one in own] == [one.text for one in alone]
        assert len({one.text for one in own}) == len(own) <= 7 and all("e" not in one.text for one in own)
        odds = [one.logprob for one in own]
        assert odds == sorted(odds, reverse=True) and np.allclose(odds, [one.logprob for one in alone], atol=1e-4)
        assert {one.finish for one in own} <= {"stop", "length"}
    greedy = engine.generate([replace(prompts[0], sample=Sample(max_tokens=8))])[0].text
    assert engine.beam([replace(prompts[0], sample=Sample(max_tokens=8))], 1)[0][0].text == greedy


def test_an_end_scores_as_the_whole_answer_does(engine):
    asked = Prompt.plain("The film", max_tokens=3)
    for one in engine.beam([asked], 5)[0]:
        closed = one.finish == "stop"
        scored = engine.score([asked], [[one.text]], closed=closed)[0]
        if len(engine.tokens.text(one.text)) <= 3:
            assert scored.logprobs[0] == pytest.approx(one.logprob, abs=1e-3) or not closed


def test_impossible_beams_are_refused(engine):
    with pytest.raises(OptionError, match="0 beams"):
        engine.beam([PROMPT], 0)
    with pytest.raises(ModelError, match="room"):
        HF(engine.spec.removeprefix("hf:"), dtype="float32", window=20).beam([PROMPT], 2)
    with run() as work:
        engine.beam([replace(PROMPT, sample=Sample(max_tokens=4))] * 2, 3)
    assert work.ledger.calls == 2 and 0 < work.ledger.tokens_out <= 2 * 3 * 4


def test_a_trie_of_another_tokenizer_is_refused(engine):
    with pytest.raises(ModelError, match="another tokenizer"):
        engine.search([PROMPT], TokenTrie.build([[1, 2]], "other"))
    with pytest.raises(OptionError, match="4 beams"):
        engine.search([PROMPT], engine.trie(CATALOG), k=5, beams=4)


def test_greedy_text_equals_transformers_in_any_batch(any_dir):
    engine = HF(str(any_dir), dtype="float32")
    model = AutoModelForCausalLM.from_pretrained(any_dir, dtype=torch.float32).eval()
    prompts = [Prompt.plain(text, max_tokens=12) for text in ("The film", "Answer with one letter:", "a", "用户喜欢")]
    answers = engine.generate(prompts)
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = engine.tokens.prompt(prompt)
        made = model.generate(
            torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), max_new_tokens=12,
            do_sample=False, eos_token_id=engine.tokens.end, pad_token_id=engine.tokens.end,
        )  # fmt: skip
        assert answer.text == engine.tokens.decode(made[0, len(ids) :].tolist())
        assert answer.tokens_in == len(ids) and 0 < answer.tokens_out <= 12
        assert "".join(engine.stream(prompt)) == answer.text


def test_draws_follow_the_seed_and_not_the_batch(engine):
    asked = [Prompt.plain("The film", seed=seed, temperature=1.0, top_p=0.9, max_tokens=10) for seed in range(4)]
    together = [answer.text for answer in engine.generate(asked)]
    assert len(set(together)) > 1
    assert [engine.generate([prompt])[0].text for prompt in asked] == together


def test_a_stop_text_ends_the_answer_unsaid(engine):
    free = engine.generate([Prompt.plain("The film", max_tokens=20)])[0].text
    mark = free[5:7]
    cut = engine.generate([Prompt.plain("The film", max_tokens=20, stop=(mark,))])[0]
    assert cut.finish == "stop" and cut.text == free.split(mark)[0]
    assert "".join(engine.stream(Prompt.plain("The film", max_tokens=20, stop=(mark,)))) == cut.text


def test_a_choice_is_the_most_probable_whole_option(engine):
    options = ("Toy", "Toy Story", "Heat (1995)", "No")
    answer = engine.generate([PROMPT], Choice(options))[0]
    scores = engine.score([PROMPT], [options], closed=True)[0].logprobs
    assert answer.text == options[int(scores.argmax())] and answer.finish == "stop"
    drawn = {engine.generate([Prompt.plain("x", seed=n, temperature=3.0)], Choice(options))[0].text for n in range(12)}
    assert drawn <= set(options) and len(drawn) > 1


def test_an_answer_within_a_trie_is_a_title(engine):
    answers = engine.generate([PROMPT, Prompt.user("Which?")], Trie(tuple(CATALOG)))
    assert all(answer.text in CATALOG and answer.finish == "stop" for answer in answers)
    warm = engine.generate([Prompt.plain("x", temperature=2.0, seed=3)], Trie(tuple(CATALOG)))[0]
    assert warm.text in CATALOG


def test_json_keeps_to_its_schema(engine):
    schema = {
        "type": "object",
        "properties": {"choice": {"enum": ["A", "B"]}, "rank": {"type": "array", "items": {"type": "integer"}}},
        "required": ["choice", "rank"],
        "additionalProperties": False,
    }
    for seed in range(3):
        asked = Prompt.plain("JSON: ", seed=seed, temperature=1.0, max_tokens=200)
        answer = engine.generate([asked], JsonSchema(schema))[0]
        if answer.finish == "stop":
            made = json.loads(answer.text)
            assert made["choice"] in "AB" and all(isinstance(n, int) for n in made["rank"])
    short = engine.generate([Prompt.plain("JSON: ", max_tokens=3)], JsonSchema(schema))[0]
    assert short.finish == "length"
    enum = engine.generate([Prompt.plain("x", max_tokens=30)], JsonSchema({"enum": ["Heat", "Fargo"]}))[0]
    assert json.loads(enum.text) in ("Heat", "Fargo") and enum.finish == "stop"


def test_tokens_are_counted(engine):
    engine.prefixes.forget()
    with run() as work:
        answer = engine.generate([Prompt.plain("The film", max_tokens=7)])[0]
    assert (work.ledger.calls, work.ledger.tokens_in) == (1, answer.tokens_in)
    assert work.ledger.tokens_out == answer.tokens_out


def test_many_prompts_within_a_choice_or_a_trie_are_one_scoring_and_one_search(engine, monkeypatch):
    prompts = [Prompt.plain(f"{n} {PROMPT.raw or 'Next'}") for n in range(5)]
    single = {
        within: [engine.generate([prompt], within)[0].text for prompt in prompts]
        for within in (Choice(("Heat", "Fargo", "Heat 2")), Trie(tuple(CATALOG)))
    }
    for within, expected in single.items():
        engine.prefixes.forget()
        before = engine.worker.forwards
        made = engine.generate(prompts, within)
        assert [one.text for one in made] == expected and all(one.tokens_in > 0 for one in made)
        alone = engine.worker.forwards - before
        engine.prefixes.forget()
        before = engine.worker.forwards
        for prompt in prompts:
            engine.generate([prompt], within)
        assert alone < engine.worker.forwards - before


def test_a_search_does_not_run_past_the_window(llama_dir):
    lm = HF(str(llama_dir), dtype="float32", window=64)
    trie = lm.trie(CATALOG)
    prompt = Prompt.plain("x " * 30)
    assert lm.length(prompt) < 64 < lm.length(prompt) + trie.depth
    with pytest.raises(ModelError, match="has room for"):
        lm.search([prompt], trie, k=1)
