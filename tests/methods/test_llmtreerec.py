import re
from dataclasses import replace

import numpy as np
import pytest

from hexarec.core import (
    CapabilityError,
    Catalog,
    Dataset,
    IdTable,
    Interactions,
    Item,
    ModelError,
    OptionError,
    Queries,
    Users,
    load,
    run,
    save,
)  # fmt: skip
from hexarec.data.worlds import world
from hexarec.lm.base import Completion
from hexarec.lm.cassette import Cassette
from hexarec.lm.fake import Double, Overlap
from hexarec.lm.open import open_encoder
from hexarec.methods.llmtreerec import PROMPTS, LLMTreeRec

WORLD = world("cold")
DATA, QUERIES = WORLD.data, WORLD.queries.take(slice(0, 6))
SMALL = {"leaf": 6, "branch": 4, "width": 3, "per_leaf": 2, "dim": None}


def tree_of(lm=None, data=DATA, **options):
    choose = {} if lm is None else {"choose": "model", "interests": False}
    return LLMTreeRec(open_encoder("tfidf"), lm, **{**SMALL, **choose, **options}).fit(data)


class Listening(Overlap):
    """Answers as Overlap does and remembers every prompt."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def label(self, prompts, labels):
        self.asked += [prompt.text for prompt in prompts]
        return super().label(prompts, labels)

    def generate(self, prompts, within=None):
        self.asked += [prompt.text for prompt in prompts]
        return super().generate(prompts, within)


def without_events(data):
    columns = {"user": np.zeros(0, np.int64), "item": np.zeros(0, np.int64), "time": np.zeros(0)}
    return Dataset(data.catalog, Interactions.of(columns, len(data.users.ids)), data.users)


def test_the_tree_is_made_of_the_catalog_alone():
    """The released loader puts every test user's items into the tree and cuts only the others."""
    full, bare = tree_of(), tree_of(data=without_events(DATA))
    assert full.tree_.parent_ == bare.tree_.parent_ and (full.tree_.leaf_of_ == bare.tree_.leaf_of_).all()
    assert sorted(np.flatnonzero(bare.tree_.leaf_of_ >= 0).tolist()) == np.flatnonzero(DATA.catalog.alive).tolist()
    ours, theirs = full.retrieve(QUERIES, 8), bare.retrieve(QUERIES, 8)
    assert ours.items.tolist() == theirs.items.tolist()


def test_withdrawn_items_are_in_no_leaf():
    gone = replace(DATA, catalog=DATA.catalog.remove([str(DATA.catalog.items.ids[3])]))
    leaves = tree_of(data=gone).tree_.leaf_of_
    assert leaves[3] == -1 < leaves[2]


@pytest.mark.parametrize("search", ["depth", "beam", "proportional"])
def test_someone_who_knows_the_truth_reaches_it(search):
    found = tree_of(search=search).retrieve_knowing(WORLD.queries, WORLD.truth, 8)
    for i in range(len(found)):
        assert set(WORLD.truth[i].items.tolist()) & set(found[i].items.tolist())


@pytest.mark.parametrize(("branch", "width"), [(12, 10), (4, 5), (4, 3)])
def test_a_beam_that_is_wider_than_a_page_still_finds_a_whole_list(branch, width):
    method = tree_of(search="beam", leaf=2, branch=branch, width=width, per_leaf=1)
    found = method.retrieve(QUERIES, width)
    leaves = [{int(method.tree_.leaf_of_[item]) for item in found[i].items} for i in range(len(found))]
    assert all(len(own) == width for own in leaves)


def _leaves(method, k):
    """The leaf of each item found for the first question, in order."""
    found = method.retrieve(QUERIES.take(slice(0, 1)), k)
    return method.tree_.leaf_of_[found.items].tolist()


def _leaves(k, **options):
    """The leaf of each item found for the first question, in order; see tests/parts/test_treewalk for the ways."""
    method = tree_of(levels=(), **options)
    return method.tree_.leaf_of_[method.retrieve(QUERIES.take(slice(0, 1)), k).items].tolist()


@pytest.mark.parametrize("search", ["depth", "beam"])
def test_fewer_items_of_a_leaf_are_more_leaves(search):
    few, many = (_leaves(9, search=search, width=9, per_leaf=n) for n in (1, 6))
    assert len(set(few)) > len(set(many))


def test_depth_first_opens_as_many_children_as_it_is_wide_and_then_takes_what_is_left():
    wide, narrow = (_leaves(6, width=n, per_leaf=1) for n in (4, 1))
    assert len(set(wide)) == 6 > len(set(narrow))


def test_in_proportion_the_best_branches_give_more_than_the_others():
    depth, shares = (_leaves(24, search=name, width=3, per_leaf=1)[:8] for name in ("depth", "proportional"))
    assert len(set(depth)) == 8 > len(set(shares))


def test_the_oracle_beats_the_embedding_beats_the_draw():
    def hits(lists):
        return sum(len(set(lists[i].items.tolist()) & set(WORLD.truth[i].items.tolist())) for i in range(len(lists)))

    oracle = hits(tree_of().retrieve_knowing(WORLD.queries, WORLD.truth, 5))
    near = hits(tree_of().retrieve(WORLD.queries, 5))
    drawn = hits(tree_of(choose="random").retrieve(WORLD.queries, 5))
    assert oracle >= near > drawn


def test_a_model_chooses_among_closed_lists_of_bounded_length():
    lm = Listening()
    made = tree_of(lm).retrieve(QUERIES, 6)
    assert made.lengths.tolist() == [6] * len(QUERIES)
    for text in lm.asked:
        options = re.findall(r"^\[(\w+)\] .+$", text, re.MULTILINE)
        assert 2 <= len(options) <= 6
    assert any("Branches of a catalog" in text for text in lm.asked)
    assert any("of one branch" in text for text in lm.asked)


def test_history_and_interests_begin_every_page():
    lm = Listening()
    tree_of(lm, interests=True).retrieve(QUERIES.take(slice(0, 1)), 4)
    first, *pages = lm.asked
    assert "Which interests do these show?" in first
    head = pages[0][: pages[0].index("Branches of a catalog")]
    assert "My interests: Likes" in head and all(text.startswith(head) for text in pages)


@pytest.mark.parametrize("backend", ["list", "constrained", "choice", "pointwise", "pairwise", "likelihood", "pmi"])
def test_every_back_end_chooses(backend):
    made = tree_of(Overlap(), backend=backend).retrieve(QUERIES, 5)
    assert made.lengths.tolist() == [5] * len(QUERIES)


class Inventing(Double):
    """Names branches that do not exist, as the released log shows."""

    name = "fake:inventing"

    @property
    def can(self):
        return frozenset({"text"})

    def answer(self, prompt, within):
        return Completion("1. Subcategories > Nested > Invented\n2. Another one")


def test_invented_branches_open_nothing_and_the_nearest_text_decides():
    told = []
    with run(complain=told.append):
        made = tree_of(Inventing(), backend="list").retrieve(QUERIES, 6)
    assert any("questions" in reason for reason in told)
    assert made.items.tolist() == tree_of().retrieve(QUERIES, 6).items.tolist()


class Broken(Overlap):
    """Never gives a number."""

    def label(self, prompts, labels):
        return np.full((len(prompts), len(labels)), np.nan, np.float32)


def test_a_model_without_numbers_is_told_of_and_the_nearest_text_decides():
    told = []
    with run(complain=told.append):
        made = tree_of(Broken()).retrieve(QUERIES, 6)
    assert any("questions" in reason for reason in told)
    assert made.items.tolist() == tree_of().retrieve(QUERIES, 6).items.tolist()


def test_every_item_has_the_path_to_its_leaf():
    method = tree_of()
    made = method.retrieve(QUERIES, 5)
    for item, why in zip(made.items.tolist(), made.fields["why"].tolist(), strict=True):
        evidence = made.evidence[why]
        assert evidence.kind == "path"
        assert evidence.detail == " > ".join(method.tree_.path(int(method.tree_.leaf_of_[item])))


def test_notes_count_pages_options_and_tokens():
    lm = Listening()
    made = tree_of(lm).retrieve(QUERIES.take(slice(0, 1)), 6)
    note = made.notes[0]
    assert note["opened"] == len(lm.asked)
    assert note["shown"] == sum(len(re.findall(r"^\[\w+\] ", text, re.MULTILINE)) for text in lm.asked)
    assert note["tokens"] > note["shown"] and note["condition"] > 0
    assert tree_of().retrieve(QUERIES.take(slice(0, 1)), 6).notes[0]["condition"] == 0


def test_pages_grow_with_the_depth_of_the_tree_not_with_the_catalog():
    shown = []
    for n in (60, 240, 960):
        items = [Item(f"i{j}", f"word{j % 7} thing{j % 60} number{j}") for j in range(n)]
        catalog = Catalog.of(items)
        log = Interactions.of({"user": np.zeros(3, np.int64), "item": np.arange(3), "time": np.arange(3.0)}, 1)
        data = Dataset(catalog, log, Users(IdTable.of(["u"])))
        made = tree_of(data=data, leaf=12, branch=8).retrieve(data.queries([0]), 6)
        shown.append(made.notes[0]["shown"])
    assert shown[2] < 4 * shown[0] and shown[2] < 960 / 6


def test_exclusions_and_filters_do_not_even_appear_on_a_page():
    lm = Listening()
    banned = np.arange(0, len(DATA.catalog), 2, dtype=np.int32)
    one = QUERIES.take(slice(0, 1)).excluding(banned, np.array([0, len(banned)]))
    made = tree_of(lm, examples=2).retrieve(one, 50)
    assert not set(made.items.tolist()) & set(banned.tolist())
    options = "\n".join(line for text in lm.asked for line in re.findall(r"^\[\w+\] (.+)$", text, re.MULTILINE))
    assert not [t for t in DATA.catalog.titles[banned].tolist() if re.search(rf"{re.escape(t)}(?!\d)", options)]


def test_new_items_are_found_and_withdrawn_ones_leave_the_tree():
    method = tree_of()
    liked = int(QUERIES.history.item[0])
    item = Item("brand-new", str(DATA.catalog.titles[liked]) + " again")
    grown = DATA.catalog.extend([item])
    more = method.extend(grown)
    row = grown.rows(["brand-new"])[0]
    assert more.tree_.leaf_of_[row] >= 0 and len(method.tree_.leaf_of_) == len(DATA.catalog)
    question = Queries.one(grown, history=[grown.items.ids[liked]])
    assert row in more.retrieve(question, 6).items.tolist()
    assert more.extend(grown.remove(["brand-new"])).tree_.leaf_of_[row] == -1


def test_the_model_names_groups_of_texts_and_words_stay_where_it_does_not():
    class Naming(Overlap):
        def answer(self, prompt, within):
            if "What do they have in common" in prompt.text:
                return Completion("Grand things" if "1." in prompt.text else "", "stop")
            return super().answer(prompt, within)

    named = LLMTreeRec(open_encoder("tfidf"), Naming(), naming="model", levels=(), **SMALL).fit(DATA)
    assert set(named.tree_.labels_[1:]) == {"Grand things"}
    silent = type("Silent", (Overlap,), {"answer": lambda self, prompt, within: Completion("", "error", error="x")})
    with pytest.raises(ModelError, match=r"(\d+) of \1 groups got no name .*: x\n  -> .*naming='words'"):
        LLMTreeRec(open_encoder("tfidf"), silent(), naming="model", levels=(), **SMALL).fit(DATA)


def test_chinese_questions_read_chinese():
    lm = Listening()
    one = replace(QUERIES.take(slice(0, 1)), lang=np.array(["zh"]))
    assert len(tree_of(lm, interests=True).retrieve(one, 4).items) == 4
    assert any("最符合我的兴趣" in text for text in lm.asked) and "兴趣" in lm.asked[0]


def test_a_written_request_leads_the_way():
    titles = DATA.catalog.titles
    item = int(WORLD.truth[0].items[0])
    asked = Queries.one(DATA.catalog, text=str(titles[item]))
    assert item in tree_of().retrieve(asked, 4).items.tolist()
    lm = Listening()
    tree_of(lm).retrieve(asked, 2)
    assert all(f"What I ask for: {titles[item]}" in text for text in lm.asked)


def test_a_request_that_cannot_be_encoded_leaves_the_history_and_is_told_of(monkeypatch):
    stage, one = tree_of(), QUERIES.take(slice(0, 1))
    bare = stage.retrieve(one, 6)
    encoder = type(stage.space_.encoder_)
    monkeypatch.setattr(encoder, "encode", lambda self, texts: np.full((len(texts), self.dim), np.nan, np.float32))
    told = []
    with run(complain=told.append):
        made = stage.retrieve(replace(one, text=np.array(["something new"], object)), 6)
    assert made.items.tolist() == bare.items.tolist() and "gave no numbers for 1 of 1 texts" in told[0]


def test_nobody_with_no_history_is_served():
    assert len(tree_of().retrieve(Queries.one(DATA.catalog), 5).items) == 5
    lm = Listening()
    assert len(tree_of(lm).retrieve(Queries.one(DATA.catalog), 5).items) == 5
    assert all("Nothing is known yet" in text for text in lm.asked)


def test_one_item_and_items_without_text():
    catalog = Catalog.of([Item("only", "")])
    log = Interactions.of({"user": np.zeros(0, np.int64), "item": np.zeros(0, np.int64), "time": np.zeros(0)}, 1)
    data = Dataset(catalog, log, Users(IdTable.of(["u"])))
    method = tree_of(data=data)
    assert method.retrieve(data.queries([0]), 3).items.tolist() == [0]


class Topics:
    """The topic of a text beside a large common part, as decoders crowd theirs; an empty text is the common part."""

    name, spec, dim = "test:topics", "test:topics", 27

    def encode(self, texts):
        counts = np.array([[20.0, *(text.casefold().count(chr(97 + n)) for n in range(26))] for text in texts])
        return (counts / np.linalg.norm(counts, axis=1, keepdims=True)).astype(np.float32)


def test_items_without_text_are_not_led_to_by_one_of_their_kind():
    grown = DATA.with_items([Item(f"mute{n}", "") for n in range(6)])
    method = LLMTreeRec(Topics(), **{**SMALL, "fields": ("title", "text")}).fit(grown)
    ocean = next(n for n, title in enumerate(DATA.catalog.titles) if title.startswith("Ocean"))
    asked = Queries.one(grown.catalog, history=[DATA.catalog.items.ids[ocean], "mute0"])
    found = grown.catalog.titles[method.retrieve(asked, 8).items].tolist()
    assert all(title.startswith("Ocean") for title in found[:4]), found


def test_it_comes_back_from_disk_and_still_grows(tmp_path):
    method = tree_of()
    save(method, tmp_path / "tree")
    back = load(tmp_path / "tree", lambda kind, spec, options: open_encoder(spec))
    assert back.retrieve(QUERIES, 6).items.tolist() == method.retrieve(QUERIES, 6).items.tolist()
    grown = DATA.catalog.extend([Item("later", "Castle story 999")])
    assert back.extend(grown).tree_.leaf_of_[-1] == method.extend(grown).tree_.leaf_of_[-1]


def test_answers_are_replayed(tmp_path):
    class Reader(Overlap):  # values all options differently: answers of no use do not enter a tape
        def worth(self, page):
            return [float(sum(map(ord, option))) for option in page.options]

    tape = tmp_path / "tape.jsonl"
    first = tree_of(Cassette(Reader(), tape)).retrieve(QUERIES, 6)
    again = tree_of(Cassette(Reader(), tape, mode="replay")).retrieve(QUERIES, 6)
    assert first.items.tolist() == again.items.tolist()


def test_a_killed_search_starts_anew_and_asks_only_what_is_not_on_the_tape(tmp_path):
    class Reader(Overlap):
        def __init__(self, calls):
            super().__init__()
            self.calls, self.asked = calls, 0

        def worth(self, page):
            return [float(sum(map(ord, option))) for option in page.options]

        def label(self, prompts, labels):
            if not self.calls:
                raise KeyboardInterrupt
            self.calls, self.asked = self.calls - 1, self.asked + len(prompts)
            return super().label(prompts, labels)

    tape = tmp_path / "tape.sqlite"
    whole = Reader(99)
    wanted = tree_of(whole).retrieve(QUERIES, 6)
    killed, later = Reader(2), Reader(99)
    with pytest.raises(KeyboardInterrupt):
        tree_of(Cassette(killed, tape)).retrieve(QUERIES, 6)
    assert tree_of(Cassette(later, tape)).retrieve(QUERIES, 6).items.tolist() == wanted.items.tolist()
    assert 0 < killed.asked and killed.asked + later.asked == whole.asked


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"choose": "model"}, OptionError),
        ({"choose": "best"}, OptionError),
        ({"width": float("nan")}, OptionError),
        ({"width": 2.5}, OptionError),
        ({"per_leaf": "2"}, OptionError),
        ({"search": "breadth"}, OptionError),
        ({"naming": "model"}, CapabilityError),
        ({"naming": "poet"}, OptionError),
        ({"per_leaf": 0}, OptionError),
        ({"width": 0}, OptionError),
        ({"dim": 0}, OptionError),
        ({"leaf": 0}, OptionError),
        ({"domain": "wine"}, OptionError),
        ({"choose": "model", "lm": Overlap(), "leaf": 50}, OptionError),
        ({"choose": "model", "lm": Inventing()}, CapabilityError),
    ],
)
def test_what_cannot_be_built_says_so(options, error):
    with pytest.raises(error):
        LLMTreeRec(open_encoder("tfidf"), **options)


def test_the_wording_is_this():
    words = {"noun": "films", "verb": "watched", "act": "watch"}
    page = PROMPTS.text(
        "en", "choice", condition=PROMPTS.text("en", "history", history="1. A", **words),
        heading=PROMPTS.text("en", "node", **words), options="[A] war (Platoon)", **words,
    )  # fmt: skip
    assert page == (
        "films I have watched, oldest first:\n1. A\nBranches of a catalog of films, with examples:\n[A] war (Platoon)\n"
        "Which one fits my interests best? Answer with its letter only."
    )
    words = {"noun": "电影", "verb": "看过", "act": "看"}
    assert PROMPTS.text("zh", "leaf", **words) == "目录中一个分支的电影："


@pytest.mark.parametrize("options", [{"levels": ["nope"]}, {"fields": ["nope"]}])
def test_fields_nobody_has_are_refused(options):
    with pytest.raises(OptionError, match="names 'nope', which .* lacks\n  -> it has "):
        tree_of(**options)
