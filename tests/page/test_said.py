"""Sentences of the package in Chinese: every finding, refusal, note and complaint of its source has one."""

import ast
import re
from pathlib import Path

import pytest

import hexarec
from hexarec.data.health import check
from hexarec.data.worlds import world
from hexarec.serve.page.said import COUNTS, PREFIX, heard, phase, said
from hexarec.serve.page.words import word, words_of

SOURCE = Path(hexarec.__file__).parent
FINDINGS = sorted((SOURCE / "data" / "health").glob("*.py"))
REJECTS = [SOURCE / "data" / name for name in ("checks.py", "times.py", "files.py", "records.py", "importer.py",
                                              "likes.py", "impressions.py")]  # fmt: skip
FORMATS = sorted((SOURCE / "data" / "formats").glob("*.py"))
STAGES = [path for part in ("methods", "parts", "classic") for path in sorted((SOURCE / part).rglob("*.py"))]


def sentences_of(node):
    """The texts that an expression may be, with § for every value."""
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    if isinstance(node, ast.JoinedStr):
        return ["".join(str(one.value) if isinstance(one, ast.Constant) else "§" for one in node.values)]
    if isinstance(node, ast.IfExp):
        return [*sentences_of(node.body), *sentences_of(node.orelse)]
    if isinstance(node, ast.BinOp):
        left = sentences_of(node.left)
        return [*left, *(a + b for a in left for b in sentences_of(node.right) if b)]
    if isinstance(node, ast.List | ast.Tuple):
        return [text for one in node.elts for text in sentences_of(one)]
    return []


def called(paths, name, *places):
    """(file, text) of arguments at these places in every call of a function or method of this name."""
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and name in (getattr(node.func, "id", ""), getattr(node.func, "attr", "")):
                chosen = [one for place, one in enumerate(node.args) if place in places]
                chosen += [one.value for one in node.keywords if one.arg == "notes"] if name == "RawTables" else []
                yield from ((path.name, text) for one in chosen for text in sentences_of(one))


def assigned(paths, *names):
    """(file, text) of what is written into variables, attributes and keywords of these names."""
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Assign | ast.AugAssign | ast.keyword):
                targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
                held = {getattr(one, "id", getattr(one, "attr", "")) for one in targets} | {getattr(node, "arg", "")}
                if held & set(names):
                    yield from ((path.name, text) for text in sentences_of(node.value))


def unsaid(found):
    """Sentences without Chinese; a word alone, and the beginning of a sentence that is joined on, are none."""
    whole = {(file, text.replace("()", "(§)")) for file, text in found if " " in text.strip() and text[-1] != "("}
    return sorted(one for one in whole if not any(said("zh", one[1].replace("§", value)) for value in ("7", "user")))


def test_every_finding_can_be_said():
    made = [*called(FINDINGS, "finding", 2, 3), *called(FINDINGS, "Finding", 3, 4)]
    made += assigned(FINDINGS, "sentence", "mend", "advice", "unit")
    assert len(made) > 50 and unsaid(made) == []


def test_every_refusal_and_note_can_be_said():
    lit = [(file, text) for file, text in called(REJECTS, "lit", 0) if " " in text]
    made = [*lit, *called([*REJECTS, *FORMATS], "Reject", 3), *assigned(REJECTS, "why"), *called(FORMATS, "Fit", 1)]
    made += [*called([*REJECTS, *FORMATS], "append", 0), *called(FORMATS, "RawTables")]
    made += assigned([*REJECTS, *FORMATS], "note", "notes", "NOTE")
    assert len(lit) > 10 and len(made) > 40 and unsaid(made) == []


def test_every_complaint_of_a_stage_can_be_said():
    made = [*called(STAGES, "degrade", 0), *assigned(STAGES, "fault")]
    assert len(made) > 20 and unsaid(made) == []


def test_every_reason_why_an_effect_is_not_read_can_be_said():
    tree = ast.parse((SOURCE / "metrics" / "trial.py").read_text("utf-8"))
    inside = next(one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef) and one.name == "_unreadable")
    made = [
        ("trial.py", text)
        for one in ast.walk(inside)
        if isinstance(one, ast.Return)
        for text in sentences_of(one.value)
    ]
    made += assigned([SOURCE / "metrics" / "trial.py"], "reason")
    assert len(made) >= 4 and unsaid(made) == []


@pytest.mark.parametrize("name", ["checkerboard", "cold"])
def test_a_real_report_has_no_english_sentence_left(name):
    for one in check(world(name).data).findings:
        for text in (one.name, one.sentence, one.mend):
            assert said("en", text) == text
            found = said("zh", text) if text else ""
            assert found is not None and (
                not text or any("\u4e00" <= letter for letter in found) or text == "k-core"
            ), text


def test_values_come_back_as_they_were_said():
    for key, text in words_of("en").items():
        if key.startswith(PREFIX):
            values = {name: "7" if name in COUNTS else f"<{name}>" for name in re.findall(r"\{(\w+)\}", text)}
            assert heard(word("en", key, **values)) == (key, values), key
    assert said("zh", "OptionError: 3 of 60 questions: the model refused") == (
        "OptionError：60 次提问中有 3 次失败：模型拒绝回答"
    )


def test_other_texts_are_nobodys():
    for text in ("", "a title", "<b>x</b>", "7 rows", "x" * 5_000, "ends\nhere"):
        assert said("zh", text) is None
        assert said("en", text) == text
    assert said("zh", "没有这个作品") == "没有这个作品"


def test_what_an_estimate_takes_for_granted_can_be_said():
    place = [SOURCE / "eval" / "estimate.py"]
    made = [*called(place, "append", 0), *assigned(place, "said")]
    made.remove(("estimate.py", "§ §."))  # of a model and its speed
    made += [*assigned(place, "how"), *((file, f"§ {text}.") for file, text in assigned(place, "speed"))]
    assert len(made) > 9 and unsaid(made) == []


def test_phases_are_words_of_phases_alone():
    assert phase("zh", "import") == "导入" and phase("en", "import") == "import"
    assert phase("zh", "items") == "items" and phase("zh", "") == ""  # a finding is called so
    assert said("zh", "import") is None
    assert said("zh", "no method import") == "没有方法 import"
