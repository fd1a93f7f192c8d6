"""What a wish or a refusal is about, in its own words, where a catalog has no word for it."""

from __future__ import annotations

import re
from collections.abc import Sequence

LONGEST = 60  # letters of a phrase
_LISTED = re.compile(r"\b(?:or|nor|and)\b|和|或者|或|以及", re.IGNORECASE)
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
# words around the thing itself; a phrase of nothing else is about nothing
_AROUND = frozenset(
    "i i'm i'd i've i'll me my we us our you your it it's its he she they this that these those them there here one "
    "ones of the a an to in for with on at as from about into by am is are was were be been being would could can will "
    "should shall may might do does did have has had let let's get got give show make made take want wants wanted like "
    "love enjoy enjoyed prefer need think say said see watch read play recommend suggest find look looking try care "
    "matter mind feel feeling mood kind sort type set film films movie movies book books game games song songs item "
    "items product products thing things stuff anything something nothing everything any some more most much many too "
    "very really quite rather so just only also even ever all at please thanks thank hi hello hey ok okay yes no not "
    "never again anymore yet now today tonight instead else other another new different similar good great nice best "
    "better bad first second third last next what which who when where why how if but because then than sure well "
    "maybe perhaps surprise choose pick idea know tell up out over start don't didn't doesn't isn't won't".split()
)
_FRONT = re.compile(
    r"^(?:我们|我|你|您|想要|想|要|看|听|读|玩|有(?!趣)|给|来|请|再|就|也|都|还|对|是|太|很|最|一部|一本|一个|一些|一点|"
    r"那种|这种|这个|那个|那些|这些|什么|知道|推荐|喜欢|找|关于|感兴趣|用|谢谢|谢|好意思|关系|事|懂|清楚|确定|换|别的|其他的|"
    r"更多|继续|你好|好的|太|过|\s)+"
)
_BACK = re.compile(
    r"(?:的|了|吗|吧|呢|啊|呀|片|电影|影片|书|游戏|类型|作品|东西|之类|一类|感兴趣|可以|就行|就好|谢谢|\s)+$"
)


def phrases(text: str, named: Sequence[tuple[int, int]] = ()) -> tuple[str, ...]:
    """The things that a clause lists, without the words around them; a thing over a `named` span (start, stop) is out.

    "in the mood for gore or zombies, please" gives gore and zombies.
    """
    made, start = [], 0
    for match in [*_LISTED.finditer(text), None]:
        stop = match.start() if match else len(text)
        if not any(a < stop and start < b for a, b in named):
            made.append(_core(text[start:stop]))
        start = match.end() if match else stop
    return tuple(dict.fromkeys(one for one in made if one))


def _core(part: str) -> str:
    words = [match for match in _WORD.finditer(part) if match[0].lower().replace("’", "'") not in _AROUND]
    if not words:
        return ""
    return _BACK.sub("", _FRONT.sub("", part[words[0].start() : words[-1].end()]))[:LONGEST]
