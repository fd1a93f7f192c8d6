import shutil

import pytest
from tests.cli.calls import answer, call, fails, written

import hexarec


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    call("fit", "-c", written(folder), "--out", folder / "model")
    return folder / "model"


def titles(made):
    return [one["title"] for one in made["items"]]


def test_a_user_of_the_data_gets_a_list_with_reasons(model):
    made = answer("recommend", model, "--user", "u001", "-k", 4)
    assert made["user"] == "u001" and len(made["items"]) == 4 and made["degraded"] == []
    assert [one["rank"] for one in made["items"]] == [1, 2, 3, 4]
    assert all(one["reason"]["status"] == "template" and one["reason"]["text"] for one in made["items"])
    assert not set(titles(made)) & set(made["liked"])
    text = call("recommend", model, "--user", "u001", "-k", 4).stdout
    assert "for u001 who liked" in text and all(title in text for title in titles(made))


def test_the_same_list_as_from_python(model):
    data = hexarec.open_data("world:cold")
    row = int(data.users.ids.rows(["u004"])[0])
    queries = data.queries([row])
    lists = hexarec.load(model, data).recommend(queries, 5).items
    made = answer("recommend", model, "--user", "u004", "-k", 5)
    assert [one["item_id"] for one in made["items"]] == data.catalog.ids(lists[0].items)


def test_somebody_new_by_titles_in_any_spelling(model):
    made = answer("recommend", model, "--like", "ROBOT story 1", "--like", "i007", "-k", 3)
    assert made["user"] is None and made["liked"] == ["Robot story 1", "Robot story 7"]
    assert all(title.startswith("Robot") for title in titles(made))


def test_unknown_titles_are_said_and_the_rest_is_used(model):
    made = call("recommend", model, "--like", "Robot story 1", "--like", "Robot novel", "-k", 3)
    assert "'Robot novel' is not in the catalog" in made.stderr and "who liked: Robot story 1" in made.stdout
    assert "give titles or ids" in fails("recommend", model, "--like", "Robot novel")


def test_a_history_file(model, tmp_path):
    path = tmp_path / "h.csv"
    path.write_text("title,kind\nJazz story 2,like\nRobot story 1,dislike\nJazz story 8,purchase\n")
    made = answer("recommend", model, "--history", path, "-k", 3)
    assert made["liked"] == ["Jazz story 2", "Jazz story 8"] and "Robot story 1" not in titles(made)
    both = answer("recommend", model, "--history", path, "--like", "Ocean story 0", "-k", 3)
    assert both["liked"] == ["Jazz story 2", "Jazz story 8", "Ocean story 0"]


def test_filters_language_and_trace(model):
    rule = '{"field": "genres", "op": "=", "value": "jazz"}'
    made = answer("recommend", model, "--user", "u001", "--where", rule, "--lang", "zh", "--trace")
    assert made["items"] and all(title.startswith("爵士") for title in titles(made))
    assert [step["stage"] for step in made["trace"]] == ["retrieve", "rank", "explain"]
    assert made["trace"][1]["lm_calls"] == 1
    assert "tokens in (cached)" in call("recommend", model, "--user", "u001", "--trace").stdout
    assert "--where is not JSON" in fails("recommend", model, "--user", "u001", "--where", "{")
    assert "no field 'genre'" in fails("recommend", model, "--user", "u001", "--where", rule.replace("genres", "genre"))


def test_an_empty_list_and_a_language_without_words_are_said(model):
    rule = '{"field": "genres", "op": "=", "value": "none"}'
    assert "the list is empty" in call("recommend", model, "--user", "u001", "--where", rule).stderr
    assert "has no words in 'xx', only in en, zh" in call("recommend", model, "--user", "u001", "--lang", "xx").stderr
    assert call("recommend", model, "--user", "u001", "--lang", "zh").stderr == ""


WISH = "something about the ocean"


def test_a_wish_that_no_stage_reads_is_said_to_be_unread_once(model, tmp_path):
    asked = ("recommend", model, "--user", "u001", "-k", 3, "--text", WISH)
    unread = {"stage": "text", "method": "pipeline", "reason": "no stage of this pipeline reads a wish in words"}
    made = answer(*asked)
    assert made["degraded"] == [unread] and len(made["items"]) == 3
    assert call(*asked).stderr.count("degraded: text pipeline: no stage of this pipeline reads a wish") == 1
    config = written(tmp_path, '[data]\npath = "world:cold"\n\n[[retrieve]]\nuse = "lexical"\n')
    assert answer("recommend", "-c", config, "--user", "u001", "--text", WISH)["degraded"] == []
    assert answer("recommend", model, "--user", "u001", "--text", "")["degraded"] == []


def test_a_stage_without_money_degrades_and_says_so(model):
    made = call("recommend", model, "--user", "u001", "--budget-calls", 0)
    assert "degraded: rank Window(LLMRank): BudgetError" in made.stderr and "u001" in made.stdout


def test_nobody_and_strangers_are_asked_back(model):
    assert "nobody was named" in fails("recommend", model)
    assert "no user 'u1'" in fails("recommend", model, "--user", "u1") and "near: " in fails(
        "recommend", model, "--user", "u1"
    )
    assert "--user has a history already" in fails("recommend", model, "--user", "u001", "--like", "i001")
    assert "not both" in fails("recommend", model, "-c", "x.toml", "--user", "u001")


def test_a_configuration_is_fitted_on_the_spot(tmp_path, model):
    made = answer("recommend", "-c", written(tmp_path), "--user", "u001", "-k", 3)
    assert titles(made) == titles(answer("recommend", model, "--user", "u001", "-k", 3))


def test_a_model_says_which_data_it_serves_or_is_told(tmp_path):
    data = hexarec.open_data("world:cold")
    hexarec.save(hexarec.pipeline(written(tmp_path, SIMPLE)).fit(data), tmp_path / "m")
    assert "give --data" in fails("recommend", tmp_path / "m", "--user", "u001")
    assert len(answer("recommend", tmp_path / "m", "--data", "world:cold", "--user", "u001")["items"]) == 10
    assert "does not exist" in fails("recommend", tmp_path / "nothing", "--user", "u001")


SIMPLE = '[retrieve]\nuse = "itemknn"\n'


@pytest.mark.parametrize("text", ["{", "[]", '{"data": "films"}', '{"data": 5, "config": 7}', "\udcff", "[" * 9999])
def test_a_damaged_note_on_the_data_is_named_and_can_be_done_without(tmp_path, model, text):
    kept = tmp_path / "model"
    shutil.copytree(model, kept)
    (kept / "source.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    said = fails("recommend", kept, "--user", "u001")
    assert "source.json is damaged" in said and "--data" in said
    assert answer("recommend", kept, "--user", "u001", "--data", "world:cold")["items"]


def test_low_ratings_of_a_history_are_not_likes(tmp_path):
    raw = tmp_path / "e.csv"
    raw.write_text(
        "user,item,rating,time\n" + "".join(f"u{n % 9},i{n % 6},{1 + n % 5},{n + 1e9:.0f}\n" for n in range(90))
    )
    call("data", "import", raw, "--out", tmp_path / "d")
    call("fit", "-c", written(tmp_path, f'[data]\npath = "d"\n{SIMPLE}'), "--out", tmp_path / "m")
    history = tmp_path / "h.csv"
    history.write_text("item,rating\ni1,5\ni2,1\n")
    made = answer("recommend", tmp_path / "m", "--history", history)
    assert made["liked"] == ["i1"] and {"i1", "i2"}.isdisjoint(one["item_id"] for one in made["items"])
