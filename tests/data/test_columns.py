import numpy as np
import polars as pl
import pytest

from hexarec.data.columns import attribute, build_catalog, build_users, guess_lang, script_shares


def test_attribute_types():
    assert attribute("price", pl.Series(["1", None, " 2.5 "])).tolist()[::2] == [1.0, 2.5]
    assert attribute("zip_code", pl.Series(["1", "2"])).tolist() == ["1", "2"]
    assert attribute("code", pl.Series(["01", "12"])).tolist() == ["01", "12"]
    assert attribute("size", pl.Series(["1", "big", ""])).tolist() == ["1", "big", None]
    assert attribute("odd", pl.Series(["1", "nan"])).tolist() == ["1", "nan"]
    assert attribute("genres", pl.Series(["A|B", "C", None])).tolist() == [("A", "B"), ("C",), None]
    assert attribute("tags", pl.Series([["x"], [], None])).tolist() == [("x",), None, None]
    assert attribute("ok", pl.Series([True, None])).tolist() == [True, None]


def test_a_list_of_an_item_names_each_value_once():
    said = (pl.Series([["a", "b", "a"], [], None]), pl.Series(["a| b|a", "", None]))
    assert [attribute("genres", one).tolist() for one in said] == [[("a", "b"), None, None]] * 2


def test_years_split_from_titles_while_titles_keep_them():
    table = pl.DataFrame({"item": ["a", "b", "c"], "title": ["Toys (1995)", "Show (2001–2003)", "None"]})
    made = build_catalog(table)
    assert made["a"].title == "Toys (1995)" and made.attributes["year"][:2].tolist() == [1995, 2001]
    assert np.isnan(made.attributes["year"][2])
    assert "year" not in build_catalog(table.with_columns(pl.lit("x").alias("title"))).attributes


def test_words_in_other_languages_and_columns_that_only_look_like_it():
    table = pl.DataFrame({"item": ["a", "b"], "title": ["A", "B"], "title_zh": ["甲", None], "text_ar": ["نص", ""],
                          "title_tags": ["x", "y"], "empty": [None, None]})  # fmt: skip
    made = build_catalog(table)
    assert made.text["title", "zh"].tolist() == ["甲", None] and made.text["text", "ar"].tolist() == ["نص", None]
    assert set(made.attributes) == {"title_tags"}


@pytest.mark.parametrize(
    ("titles", "lang"),
    [(["流浪地球", "Up"], "zh"), (["ひらがなの本", "東京の猫"], "ja"),
     (["الليل"], "ar"), (["Война"], "ru"), (["Up"], "en"),
     ([], "en"), (["", None], "en"), (["1984", "1917"], "en"), (["기생충"], "ko")],
)  # fmt: skip
def test_language_by_script(titles, lang):
    assert guess_lang(titles) == lang


def test_script_shares_sum_to_at_most_one():
    shares = script_shares(["Up", "上", "12"])
    assert shares == {"zh": pytest.approx(1 / 3), "en": pytest.approx(1 / 3)}


def test_users():
    made = build_users(pl.DataFrame({"user": ["a", "b"], "age": ["3", None], "_file": ["f", "f"], "_line": [1, 2]}))
    assert made.ids.ids.tolist() == ["a", "b"] and list(made.attributes) == ["age"]
