"""The model's words for the groups of an item tree that have no value to be called by."""

from __future__ import annotations

from hexarec.core import Catalog, ModelError, degrade
from hexarec.lm.base import LanguageModel, Prompt
from hexarec.parts.domain import domain_words
from hexarec.parts.itemtree import ItemTree, Rows
from hexarec.parts.prompts import Prompts
from hexarec.parts.render import clean, numbered, titles

LABEL = 60  # characters
SPARE = 4  # one name in so many more is counted where the groups are guessed


def name_groups(
    tree: ItemTree, members: Rows, lm: LanguageModel, prompts: Prompts, catalog: Catalog, domain: str
) -> None:
    """Name new groups of texts in the tree, by the piece `name`; where the model says nothing, the words there stay.

    members: (m, ...) rows that speak for each node, -1 for none. Raises ModelError when every request of a tree that is
    all new fails: names were asked for, and there would be none.
    """
    groups = [node for node in tree.new_nodes() if not tree.values_[node]]
    words = domain_words(domain, catalog.lang)
    shown = [numbered(titles(catalog, members[node][members[node] >= 0], catalog.lang)) for node in groups]
    texts = [prompts.text(catalog.lang, "name", members=one, **words) for one in shown]
    asked = [Prompt.user(text, max_tokens=16) for text in texts]
    if hasattr(lm, "count_spare"):  # a dry run, whose vectors, and so whose groups, are not those of the encoder
        lm.count_spare(asked[: -(-len(asked) // SPARE)])
    answers = lm.generate(asked) if texts else []
    names = [clean(answer.text, LABEL) if answer.good else "" for answer in answers]
    for node, name in zip(groups, names, strict=True):
        tree.labels_[node] = name or tree.labels_[node]
    if lost := names.count(""):
        why = next((answer.error for answer in answers if answer.error), None) or "the model said nothing of use"
        reason = f"{lost} of {len(groups)} groups got no name from {lm.name} and keep their words: {why}"
        if not any(answer.good for answer in answers) and len(tree.new_nodes()) == len(tree.labels_) - 1:
            raise ModelError(reason, hint="give a model that answers, or use naming='words'")
        degrade(reason)
