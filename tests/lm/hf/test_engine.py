"""The engine against the plain model: one forward a candidate, no packing, no cache, whole logits."""

import threading
from concurrent.futures import Future

import numpy as np
import pytest
import torch
from tests.hanging import LONG, Hang, cancelled_when
from transformers import AutoModelForCausalLM

from hexarec.core import Cancel, run
from hexarec.core.errors import CancelledError, CapabilityError, DeadlineError, ModelError, OptionError
from hexarec.lm.base import SLOT, Choice, JsonSchema, Prompt, Trie, Turn
from hexarec.lm.hf import worker
from hexarec.lm.hf.engine import HF
from hexarec.lm.hf.weights import load
from hexarec.parts.train.kinds import PrefixTuning, PromptTuning
from hexarec.parts.train.tunable import Tunable

TITLES = ["Toy Story (1995)", "Toy Soldiers (1991)", "Heat (1995)", "The Godfather (1972)", "The Godfather", "Fargo"]
HISTORY = "The user liked these films: " + ", ".join(f"Film {n} ({1950 + n})" for n in range(12)) + ". Next: "


@pytest.fixture(scope="module")
def engine(llama_dir):
    return HF(str(llama_dir), dtype="float32")


def plain(folder, **kwargs):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **kwargs).eval()


def odds(model, ids):
    """(t, vocabulary) log-probabilities after each token of a single sequence."""
    with torch.no_grad():
        return torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), -1).numpy()


def reference(model, engine, prompt, text, closed=False):
    before = engine.tokens.prompt(prompt)
    after = list(engine.tokens.text(text)) + ([engine.tokens.end] if closed else [])
    rows = odds(model, before + after)
    return sum(rows[len(before) - 1 + n, token] for n, token in enumerate(after))


@pytest.mark.parametrize("path", ["packed", "masked"])
def test_scores_equal_the_unpacked_model(any_dir, path):
    engine, model = HF(str(any_dir), dtype="float32", path=path), plain(any_dir)
    prompts = [Prompt.plain(HISTORY), Prompt.user("Which film next?"), Prompt.plain("x")]
    rows = engine.score(prompts, [TITLES, TITLES[:1], [*TITLES, "", "用户 \ud800 é"]])
    for prompt, row, texts in zip(prompts, rows, [TITLES, TITLES[:1], [*TITLES, "", "用户 ? é"]], strict=True):
        wanted = [reference(model, engine, prompt, text) for text in texts]
        assert np.allclose(row.logprobs, wanted, atol=1e-3, rtol=0)
        assert row.tokens.tolist() == [len(engine.tokens.text(text)) for text in texts]
    assert rows[2].logprobs[6] == 0 and rows[2].tokens[6] == 0, "an empty choice is sure"


def test_the_masked_path_refuses_what_it_cannot(engine, llama_dir, tmp_path):
    masked, asked = HF(str(llama_dir), dtype="float32", path="masked"), Prompt.plain(HISTORY, max_tokens=4)
    trie = engine.trie(TITLES)
    assert masked.can == {"score", "label", "hidden", "vectors", "weights"}
    for ask in (
        lambda: masked.generate([asked]),
        lambda: masked.generate([asked], Choice(("Heat", "Fargo"))),
        lambda: masked.generate([asked], Trie(("Heat", "Fargo"))),
        lambda: masked.generate([asked], JsonSchema({"enum": ["Heat"]})),
        lambda: list(masked.stream(asked)),
        lambda: masked.trie(TITLES),
        lambda: masked.search([asked], trie),
        lambda: masked.slate(asked, TITLES, 2),
    ):
        with pytest.raises(CapabilityError):
            ask()
    Tunable(load(str(llama_dir), dtype="float32"), PrefixTuning(3), seed=1).save(tmp_path / "prefix")
    with pytest.raises(CapabilityError, match="prefix adapter"):
        masked.score([Prompt(raw=HISTORY, adapter=str(tmp_path / "prefix"))], [TITLES])
    Tunable(load(str(llama_dir), dtype="float32"), PromptTuning(3), seed=1).save(tmp_path / "soft")
    soft = Prompt(raw=HISTORY, adapter=str(tmp_path / "soft"))
    wanted = engine.score([soft], [TITLES])[0].logprobs
    assert np.allclose(masked.score([soft], [TITLES])[0].logprobs, wanted, atol=1e-3)


def test_bfloat16_is_near_and_int8_keeps_the_order_mostly(llama_dir):
    model = plain(llama_dir)
    exact = HF(str(llama_dir), dtype="float32")
    texts = [f"{a} {b}" for a in ("Heat", "Fargo", "Toy", "War") for b in ("the film", "a drama", "(1995)", "sea")]
    wanted = np.array([reference(model, exact, Prompt.plain(HISTORY), text) for text in texts])
    for dtype, least in (("bfloat16", 0.97), ("int8", 0.9)):
        engine = HF(str(llama_dir), dtype=dtype)
        found = engine.score([Prompt.plain(HISTORY)], [texts])[0].logprobs
        assert engine.base.dtype == dtype
        assert 0 < np.abs(found - wanted).max(), f"{dtype} must really be another arithmetic"
        assert np.corrcoef(found, wanted)[0, 1] > least


def test_permuting_candidates_permutes_scores_exactly(engine):
    order = np.random.default_rng(0).permutation(len(TITLES))
    one = engine.score([Prompt.plain(HISTORY)], [TITLES])[0].logprobs
    other = engine.score([Prompt.plain(HISTORY)], [[TITLES[n] for n in order]])[0].logprobs
    engine.prefixes.forget()
    cold = engine.score([Prompt.plain(HISTORY)], [[TITLES[n] for n in order]])[0].logprobs
    assert np.array_equal(one[order], cold)
    assert np.allclose(cold, other, atol=1e-4), "a warm prefix changes rounding only"


def test_a_batch_equals_its_singletons(engine):
    prompts = [Prompt.plain(HISTORY[:n]) for n in (3, 40, 90, 150)] + [Prompt.plain(HISTORY[:40])]
    texts = [TITLES[: 1 + n] for n in range(5)]
    together = engine.score(prompts, texts)
    for prompt, own, row in zip(prompts, texts, together, strict=True):
        engine.prefixes.forget()
        assert np.allclose(engine.score([prompt], [own])[0].logprobs, row.logprobs, atol=1e-4)


def test_candidates_beyond_one_forward_are_cut_into_several(llama_dir):
    small, large = (HF(str(llama_dir), dtype="float32", rows=rows) for rows in (64, 4096))
    texts = [f"Film {a} of {b}" for a in range(12) for b in range(9)]
    prompts = [Prompt.plain(HISTORY), Prompt.plain("Next: ")]
    for one, other in zip(small.score(prompts, [texts, texts]), large.score(prompts, [texts, texts]), strict=True):
        assert np.allclose(one.logprobs, other.logprobs, atol=1e-4)
    assert small.worker.forwards > 2 * large.worker.forwards


def test_closed_scores_add_the_end_of_the_answer(engine, llama_dir):
    model, prompt = plain(llama_dir), Prompt.user("Which film?")
    found = engine.score([prompt], [TITLES], closed=True)[0]
    wanted = [reference(model, engine, prompt, text, closed=True) for text in TITLES]
    assert np.allclose(found.logprobs, wanted, atol=1e-3)


def test_labels_equal_the_plain_model_and_share_their_beginnings(any_dir):
    engine, model = HF(str(any_dir), dtype="float32"), plain(any_dir)
    prompts = [Prompt.plain(f"{HISTORY}{title}? Answer Yes or No:") for title in TITLES]
    prompts += [Prompt.user("Is it?"), Prompt.plain(f"{HISTORY}Heat? Answer Yes or No:\n")]
    with run() as work:
        found = engine.label(prompts, ["Yes", "No"])
    for prompt, row in zip(prompts, found, strict=True):
        ids = engine.tokens.prompt(prompt)
        tokens = [engine.tokens.text(f" {w}" if prompt.ending == ":" else w)[0] for w in ("Yes", "No")]
        assert np.allclose(row, odds(model, ids)[-1][tokens], atol=1e-3)
    whole = sum(len(engine.tokens.prompt(prompt)) for prompt in prompts)
    assert work.ledger.tokens_in < 0.5 * whole, "the common history is read once"
    assert work.ledger.calls == len(prompts)


def test_a_label_of_several_tokens_is_scored_as_a_whole(any_dir):
    engine, model = HF(str(any_dir), dtype="float32"), plain(any_dir)
    prompts = [Prompt.plain("Will it do:"), Prompt.user("Will it do?"), Prompt.plain("会吗：")]
    labels = ["Yes", "perhaps not", "是的"]
    found = engine.label(prompts, labels)
    for prompt, row in zip(prompts, found, strict=True):
        space = " " if prompt.ending == ":" else ""
        assert np.allclose(row, [reference(model, engine, prompt, space + word) for word in labels], atol=1e-3)
    one = engine.label(prompts, ["Yes", "No"])
    assert np.allclose(found[:, 0], one[:, 0], atol=1e-4), "a word of one token is worth the same either way"
    assert len(engine.tokens.text("perhaps not")) > 2
    with pytest.raises(ModelError, match="same token"):
        engine.label(prompts, ["perhaps not", " perhaps not"])
    long = HF(str(any_dir), dtype="float32", window=16)
    assert np.isnan(long.label([Prompt.plain("x" * 60)], ["Yes", "perhaps not"])).all()
    assert engine.label([], ["perhaps not"]).shape == (0, 1)


def test_hidden_states_equal_the_plain_model(any_dir):
    engine, model = HF(str(any_dir), dtype="float32"), plain(any_dir)
    prompts = [Prompt.plain(HISTORY), Prompt.plain("Heat")]
    for layer in (-1, 0, 1, 2, -2):
        for pool in ("mean", "last"):
            found = engine.hidden(prompts, layer, pool)
            for prompt, row in zip(prompts, found, strict=True):
                with torch.no_grad():
                    ids = torch.tensor([engine.tokens.prompt(prompt)])
                    states = model(ids, output_hidden_states=True).hidden_states[layer][0]
                wanted = states.mean(0) if pool == "mean" else states[-1]
                assert np.allclose(row, wanted.numpy(), atol=1e-4)
    with pytest.raises(OptionError, match="layers 0 to 2"):
        engine.hidden(prompts, 3)


def test_vectors_stand_where_the_slots_are(engine, llama_dir):
    model = plain(llama_dir)
    vectors = np.random.default_rng(1).normal(size=(2, 64)).astype(np.float32)
    prompt = Prompt(raw=f"The user {SLOT} and the film {SLOT}. Answer:", vectors=vectors)
    found = engine.label([prompt], ["Yes", "No"])[0]
    ids = engine.tokens.prompt(prompt)
    embedded = model.get_input_embeddings()(torch.tensor([ids])).detach()
    embedded[0, [n for n, token in enumerate(ids) if token == engine.tokens.slot]] = torch.tensor(vectors)
    with torch.no_grad():
        rows = torch.log_softmax(model(inputs_embeds=embedded).logits[0, -1].double(), -1)
    tokens = [engine.tokens.text(f" {w}")[0] for w in ("Yes", "No")]
    assert np.allclose(found, rows[tokens].numpy(), atol=1e-3)
    other = engine.label([Prompt(raw=prompt.raw, vectors=-vectors)], ["Yes", "No"])[0]
    assert not np.allclose(found, other), "the warm prefix of other vectors is not this one's"
    with pytest.raises(ModelError, match="1 slots for 2 vectors"):
        engine.label([Prompt(raw=f"{SLOT}", vectors=vectors)], ["Yes", "No"])


def of_items(user, items):
    """One question about each item behind the same history, with vectors of user and item in the slots."""
    rows = zip(TITLES, items, strict=False)
    return [Prompt(raw=f"{HISTORY} {SLOT}. And {t} {SLOT}?", vectors=np.stack([user, one])) for t, one in rows]


def counted(ask):
    with run() as work:
        made = ask()
    return made, work.ledger.tokens_in


def test_questions_of_one_user_vector_are_read_behind_it_once(llama_dir):
    draw = np.random.default_rng(3).normal(size=(8, 64)).astype(np.float32)
    engine = HF(str(llama_dir), dtype="float32", prefix_mb=0)
    alone = [counted(lambda one=one: engine.label([one], ["Yes", "No"])) for one in of_items(draw[0], draw[1:4])]
    together, tokens = counted(lambda: engine.label(of_items(draw[0], draw[1:4]), ["Yes", "No"]))
    assert np.allclose(together, np.concatenate([made for made, _ in alone]), atol=1e-4)
    begins = len(engine.tokens.prompt(Prompt(raw=HISTORY)))
    assert tokens <= sum(one for _, one in alone) - 2 * begins
    others = [*of_items(draw[0], draw[1:4]), *of_items(draw[4], draw[5:8])]
    mixed = engine.label(others, ["Yes", "No"])
    assert np.allclose(mixed[:3], together, atol=1e-4), "another user's vector stands behind the same history"
    assert not np.allclose(mixed[3:], together, atol=1e-3)


def test_a_warm_prefix_of_vectors_is_found_by_what_they_are(llama_dir):
    draw = np.random.default_rng(4).normal(size=(3, 64)).astype(np.float32)
    first, again, other = (
        of_items(user, [item])[0] for user, item in zip(draw[[0, 0, 1]], draw[[1, 2, 2]], strict=True)
    )
    engine, cold = (HF(str(llama_dir), dtype="float32", prefix_mb=mb) for mb in (8, 0))
    engine.label([first], ["Yes", "No"])
    begins = len(engine.tokens.prompt(Prompt(raw=f"{HISTORY} {SLOT}"))) - 1
    for asked, least, most in ((again, begins + 1, 10**6), (other, 0, begins)):
        with run() as work:
            found = engine.label([asked], ["Yes", "No"])
        assert least <= work.ledger.tokens_cached <= most
        assert np.allclose(found, cold.label([asked], ["Yes", "No"]), atol=1e-4)


def test_no_number_stands_for_two_vectors(monkeypatch):
    from hexarec.lm.hf import named

    monkeypatch.setattr(named, "MOST", 2)
    numbers, rows = named.Named(), np.eye(3, dtype=np.float32)
    assert numbers.numbers(rows[[0, 1, 0]]) == [-1, -2, -1]
    assert numbers.numbers(rows[[2]]) == [-3]
    assert numbers.numbers(rows[[0, 1]]) == [-1, -4], "the one that was not asked for longest is forgotten"


def test_a_warm_prefix_saves_tokens_and_changes_nothing(llama_dir):
    engine = HF(str(llama_dir), dtype="float32")
    cold = engine.score([Prompt.plain(HISTORY)], [TITLES])[0].logprobs
    longer = Prompt.plain(f"{HISTORY}Film 99 (1999). Next: ")
    with run() as work:
        again = engine.score([Prompt.plain(HISTORY)], [TITLES])[0].logprobs
        grown = engine.score([longer], [TITLES])[0].logprobs
    size = len(engine.tokens.prompt(Prompt.plain(HISTORY)))
    assert work.ledger.tokens_cached >= 2 * size - 4
    assert np.allclose(cold, again, atol=1e-4)
    engine.prefixes.forget()
    assert np.allclose(grown, engine.score([longer], [TITLES])[0].logprobs, atol=1e-4)


def test_a_tenant_never_meets_the_prefix_of_another(llama_dir):
    engine = HF(str(llama_dir), dtype="float32")
    for tenant, cached in (("a", False), ("a", True), ("b", False), ("", False), ("a", True)):
        with run(tenant=tenant) as work:
            engine.score([Prompt.plain(HISTORY)], [TITLES])
        assert bool(work.ledger.tokens_cached) == cached


def test_the_prefix_memory_is_bounded(llama_dir):
    engine = HF(str(llama_dir), dtype="float32", prefix_mb=0.2)
    for n in range(12):
        engine.score([Prompt.plain(f"{n} {HISTORY}")], [TITLES])
        assert engine.prefixes.size <= 0.2e6
    assert engine.prefixes.size > 0
    with run() as work:
        engine.score([Prompt.plain(f"11 {HISTORY}")], [TITLES])
        engine.score([Prompt.plain(f"0 {HISTORY}")], [TITLES])
    size = len(engine.tokens.prompt(Prompt.plain(f"11 {HISTORY}")))
    assert 0 < work.ledger.tokens_cached <= size, "the newest is warm, the oldest is gone"


def test_waiting_requests_become_one_forward(llama_dir):
    engine = HF(str(llama_dir), dtype="float32", prefix_mb=0)
    prompts = [Prompt.plain(HISTORY[n:]) for n in range(8)]
    alone = [engine.score([prompt], [TITLES])[0].logprobs for prompt in prompts]
    before, found, put = engine.worker.forwards, [None] * len(prompts), engine.worker._tasks.put
    everyone = threading.Semaphore(0)

    def counted(task):
        put(task)
        everyone.release()

    engine.worker._tasks.put = counted

    def ask(n):
        found[n] = engine.score([prompts[n]], [TITLES])[0].logprobs

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(len(prompts))]
    with engine.worker.lock:
        for thread in threads:
            thread.start()
        for _ in threads:
            assert everyone.acquire(timeout=30)
    for thread in threads:
        thread.join()
    assert engine.worker.forwards - before <= 2, "the first one, and all that came meanwhile"
    for one, other in zip(alone, found, strict=True):
        assert np.allclose(one, other, atol=1e-4)


def test_a_deadline_and_a_cancel_stop_a_waiting_caller(llama_dir):
    engine = HF(str(llama_dir), dtype="float32")
    engine.worker.rate = 1.0
    with run(seconds=5), pytest.raises(DeadlineError):
        engine.score([Prompt.plain(HISTORY)], [TITLES])
    engine.worker.rate = 1e9
    with Hang() as slow:
        engine.worker.forward = slow
        with cancelled_when(slow.met), pytest.raises(CancelledError):
            engine.score([Prompt.plain(HISTORY)], [TITLES])
        assert not slow.came_back


def test_what_does_not_fit_the_window_is_nan_and_fails_nobody_else(llama_dir):
    engine = HF(str(llama_dir), dtype="float32", window=60)
    long, short = Prompt.plain(HISTORY * 3), Prompt.plain("Next: ")
    rows = engine.score([long, short], [TITLES, [TITLES[0], HISTORY * 2]])
    assert np.isnan(rows[0].logprobs).all()
    assert np.isfinite(rows[1].logprobs[0]) and np.isnan(rows[1].logprobs[1])
    labels = engine.label([long, short], ["Yes", "No"])
    assert np.isnan(labels[0]).all() and np.isfinite(labels[1]).all()
    assert np.isnan(engine.hidden([long])).all()
    answer = engine.generate([long])[0]
    assert answer.finish == "error" and "window" not in answer.text and "room for" in answer.error


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_vectors_that_are_no_numbers_are_refused_and_lose_no_neighbour(bad, llama_dir):
    engine = HF(str(llama_dir), dtype="float32")
    good, torn = np.ones((1, 64), np.float32), np.full((1, 64), bad, np.float32)
    asked = [Prompt(raw=f"{HISTORY} {SLOT}?", vectors=one) for one in (good, torn)]
    with pytest.raises(ModelError, match="holds NaN or infinity"):
        engine.label(asked, ["Yes", "No"])
    assert np.isfinite(engine.label(asked[:1], ["Yes", "No"])).all()


def test_an_error_in_a_forward_reaches_its_caller_and_the_engine_goes_on(llama_dir):
    engine = HF(str(llama_dir), dtype="float32")
    wrong = Prompt(raw=f"{SLOT} x", vectors=np.zeros((1, 3), np.float32))
    with pytest.raises(ModelError, match="vectors of 64 numbers, not 3"):
        engine.score([wrong], [TITLES])
    assert np.isfinite(engine.score([Prompt.plain("x")], [TITLES])[0].logprobs).all()


@pytest.mark.parametrize("options", [{"rows": 3}, {"prefix_mb": -1}, {"path": "fast"}, {"dtype": "float8"}])
def test_impossible_settings_are_refused(llama_dir, options):
    with pytest.raises(OptionError, match="float8|impossible"):
        HF(str(llama_dir), **options)


def test_weights_are_a_module_of_their_own(engine):
    module, tokenizer = engine.weights()
    assert module is not engine.base.model
    assert tokenizer.backend_tokenizer.to_str() == engine.base.tokenizer.backend_tokenizer.to_str()


def test_an_open_assistant_turn_goes_on(engine):
    turns = (Turn("user", "Which film?"), Turn("assistant", "I would watch"))
    ids = engine.tokens.prompt(Prompt(turns=turns))
    assert engine.tokens.decode(ids).endswith("I would watch")
    assert np.isfinite(engine.score([Prompt(turns=turns)], [TITLES])[0].logprobs).all()


def test_a_model_that_would_give_wrong_numbers_is_refused(llama_dir, tmp_path):
    import json
    import shutil

    from safetensors.torch import load_file, save_file

    lacking = shutil.copytree(llama_dir, tmp_path / "lacking")
    state = load_file(lacking / "model.safetensors")
    del state["model.layers.1.mlp.up_proj.weight"]
    save_file(state, lacking / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="lacks 1 weights, such as model.layers.1.mlp.up_proj"):
        HF(str(lacking))
    scaled = shutil.copytree(llama_dir, tmp_path / "scaled")
    config = json.loads((scaled / "config.json").read_text())
    (scaled / "config.json").write_text(json.dumps({**config, "logits_scaling": 8.0}))
    with pytest.raises(ModelError, match="logits_scaling"):
        HF(str(scaled))


# ---------------------------------------------------------------- what a forward holds
def forwards_of(engine, monkeypatch):
    """The tokens of each forward from now on."""
    seen, old = [], engine.worker.body.run

    def counted(requests, **kwargs):
        seen.append(sum(request.tokens for request in requests))
        return old(requests, **kwargs)

    monkeypatch.setattr(engine.worker.body, "run", counted)
    return seen


def test_no_forward_has_more_rows_than_allowed_and_stretches_change_nothing(any_dir, monkeypatch):
    small, whole = (HF(str(any_dir), dtype="float32", prefix_mb=0, rows=rows) for rows in (64, 4096))
    prompts = [Prompt.plain(HISTORY + HISTORY), Prompt.user("Which film next?"), Prompt.plain(f"{HISTORY} again")]
    wanted = whole.score(prompts, [TITLES * 3] * 3)
    told = whole.label(prompts, ["Yes", "No"])
    seen = forwards_of(small, monkeypatch)
    found = small.score(prompts, [TITLES * 3] * 3)
    for one, other in zip(found, wanted, strict=True):
        assert np.allclose(one.logprobs, other.logprobs, atol=1e-4)
    assert np.allclose(small.label(prompts, ["Yes", "No"]), told, atol=1e-4)
    assert small.generate(prompts)[0].text == whole.generate(prompts)[0].text
    assert max(seen) <= 64 and len(seen) > 12


def test_vectors_stand_in_their_slots_in_any_stretch(llama_dir):
    vectors = np.random.default_rng(0).normal(size=(3, 64)).astype(np.float32)
    prompt = Prompt(raw=f"{SLOT} {HISTORY} {SLOT} {HISTORY} {SLOT}:", vectors=vectors)
    rows = [HF(str(llama_dir), dtype="float32", rows=n).label([prompt], ["Yes", "No"]) for n in (64, 4096)]
    assert np.allclose(*rows, atol=1e-4)


def test_a_call_holds_the_keys_of_a_forward_and_not_of_all_its_prompts(llama_dir):
    import gc
    import weakref

    from hexarec.lm.hf import jobs

    engine, alive, most = HF(str(llama_dir), dtype="float32", prefix_mb=0, rows=256), weakref.WeakSet(), []
    old = jobs.Jobs._start

    def counted(self, setting):
        made = old(self, setting)
        gc.collect()
        alive.add(made)
        most.append(len(alive))
        return made

    jobs.Jobs._start = counted
    try:
        engine.score([Prompt.plain(f"{n} {HISTORY}") for n in range(24)], [TITLES] * 24)
    finally:
        jobs.Jobs._start = old
    assert max(most) <= 4, most


def test_what_prompts_of_one_call_have_in_common_is_computed_once(llama_dir):
    engine = HF(str(llama_dir), dtype="float32")
    prompts = [Prompt.plain(HISTORY)] * 3 + [Prompt.plain(f"{HISTORY}Film {n}: ") for n in range(3)]
    size = len(engine.tokens.prompt(prompts[0]))
    with run() as work:
        rows = engine.score(prompts, [TITLES] * 6)
    assert work.ledger.tokens_cached >= 5 * (size - 16)
    alone = HF(str(llama_dir), dtype="float32", prefix_mb=0)
    for prompt, row in zip(prompts, rows, strict=True):
        assert np.allclose(row.logprobs, alone.score([prompt], [TITLES])[0].logprobs, atol=1e-4)


def test_requests_of_different_adapters_or_layers_are_not_merged(llama_dir):
    from contextlib import nullcontext

    from hexarec.lm.hf.worker import _Task

    engine = HF(str(llama_dir), dtype="float32")
    asked = engine.job(Prompt.plain("x"))
    from hexarec.lm.hf.forward import Piece, Request

    def task(adapter, layers):
        return _Task(
            Request([Piece(engine.worker.body.prefix(), asked.tokens)]), lambda s: s, nullcontext, adapter, layers
        )

    first, same, other, deep = task("a", False), task("a", False), task("b", False), task("a", True)
    for one in (other, same, deep):
        engine.worker._tasks.put(one)
    taken, left = engine.worker.together(first)
    assert taken == [first, same] and left == [other, deep]


# ---------------------------------------------------------------- in time
def test_a_first_request_is_not_refused_by_a_guess_and_a_slow_moment_does_not_refuse_for_ever(llama_dir):
    engine = HF(str(llama_dir), dtype="float32", prefix_mb=0)
    prompt = Prompt.plain(HISTORY)
    with run(seconds=20.0):
        engine.score([prompt], [TITLES])
    engine.worker.rate = 0.5  # a stall
    refused = 0
    for _ in range(60):
        try:
            with run(seconds=20.0):
                engine.score([prompt], [TITLES])
            break
        except DeadlineError:
            refused += 1
    assert 0 < refused < 30 and engine.worker.rate > 1


def test_an_adapter_that_is_loaded_waits_for_no_forward_to_be_asked_for(llama_dir, tmp_path):
    from hexarec.lm.hf.weights import load
    from hexarec.parts.train.kinds import LoRA
    from hexarec.parts.train.tunable import Tunable

    tunable = Tunable(load(str(llama_dir), dtype="float32"), LoRA(r=2), seed=1)
    for one in tunable.parameters.values():
        one.data.add_(0.1)
    path = str(tunable.save(tmp_path / "one"))
    engine = HF(str(llama_dir), dtype="float32")
    asked = Prompt(raw="Next:", adapter=path)
    engine.label([asked], ["Yes", "No"])
    stop, ended = Cancel(), []

    def ask():
        with run(cancel=stop):
            try:
                engine.label([asked], ["Yes", "No"])
            except CancelledError:
                ended.append(True)

    with engine.worker.lock:  # a forward under way
        thread = threading.Thread(target=ask)
        thread.start()
        stop.set()
        thread.join(LONG)
        assert ended == [True] and not thread.is_alive()
    other = str(tunable.save(tmp_path / "two"))
    stop, ended = Cancel(), []
    asked = Prompt(raw="Next:", adapter=other)
    with engine.worker.lock:  # one that must be loaded hears the cancel too
        thread = threading.Thread(target=ask)
        thread.start()
        stop.set()
        thread.join(LONG)
        assert ended == [True]


# ---------------------------------------------------------------- text is text
def test_a_slot_character_in_a_text_without_vectors_is_text(llama_dir):
    engine = HF(str(llama_dir), dtype="float32")
    engine.tokens.slot = engine.tokens.end  # as in a tokenizer without an unknown or a padding token
    ids, places = engine.tokens.read(Prompt.plain(f"Heat{SLOT} and Fargo"))
    assert engine.tokens.end not in ids and places == []
    assert engine.tokens.decode(ids) == f"Heat{SLOT} and Fargo"
    # and with vectors the slot is found though its token ends chats too
    row = engine.label([Prompt.user(f"liked {SLOT}?")], ["Yes", "No"])
    vectors = np.ones((1, 64), np.float32)
    turn = Prompt(turns=(Turn("user", f"liked {SLOT}?"),), vectors=vectors)
    assert np.abs(engine.label([turn], ["Yes", "No"]) - row).max() > 1e-4


class LateOnce(Future):
    """A future whose answer comes just after the first look has given up."""

    looks = 0

    def result(self, timeout=None):
        made = super().result()
        type(self).looks += 1
        if type(self).looks == 1:
            raise TimeoutError
        return made


def test_an_answer_that_comes_right_after_a_look_is_an_answer(engine, monkeypatch):
    prompts = [Prompt.plain(f"{HISTORY}Heat? Answer Yes or No:")]
    wanted = engine.label(prompts, ["Yes", "No"])
    task = worker._Task
    monkeypatch.setattr(worker, "_Task", lambda *given: task(*given, done=LateOnce()))
    assert np.allclose(engine.label(prompts, ["Yes", "No"]), wanted, atol=1e-4) and LateOnce.looks == 2
