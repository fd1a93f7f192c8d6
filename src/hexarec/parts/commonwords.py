"""English words that say nothing of whether a title or a name is meant: the most frequent ones, without endings."""

from __future__ import annotations

from hexarec.parts.ground import normal

COMMON = frozenset(
    """
a about above across act action actor adult adventure after again against age ago air all almost alone along already
also although always amazing american among an and another answer any anybody anyone anything appeal are area arm
around art as ask at atmosphere audience away baby back bad ball bank based be beat beautiful because become bed
before begin behind believe best better between big bit black blood blue board boat body book both boy brave break
brilliant bring brother build burn business but buy by call came can car care case cast catch change character charm
child children city class classic close cold come comedy company complete consider could country couple crazy crime
critic cry cut dance dark daughter day days dead deal dear death decide deep did die different dinner direct director
do doctor does dog door down drama dream drink drive during each early earth easy eat edge either else end english
engage enjoy enough entertain epic escape even evening ever every everybody everyone everything excellent except
expect explore eye face fact fall family fan far fast fate father favorite favourite fear feature feel few fight fill
film final find fine fire first five flight fly follow food for force forget four free friend from front full fun
funny further game gave genre get gift girl give given go god going gold gone good got great green ground group grow
gun guy had half hand happen happy hard has have he head hear heart heat heaven hell help her here hero hers herself
high highly hill him himself his history hit hold home hope horror hot hour house how however human hundred husband i
idea if imagine important in incredible indeed inside instead interest into is island it item its itself job join
journey joy judge just justice keep kid kill kind king kiss know lady land large last late laugh law lead learn least
leave led left less let life light like line list listen little live long look lose lost lot love low lucky machine
made magic main make man many mark market marry master matter may maybe me mean meet men message middle might mile
mind minute miss moment money moon more morning most mother move movie much murder music must my mystery name near
need never new next nice night no nobody none nor not note nothing now number of off offer office often oh old on once
one only open or order original other our ours out outside over overall own paper parent part party pass past pay
peace people perfect perhaps person pick picture piece place plan play player please plot point police poor power
present president price prince princess prison product probably promise public pull push put queen question quick
quiet quite race rain ran rate rather reach read ready real realise really reason recommend red release remember rest
return rich ride right ring rise river road rock romance romantic room round rule run sad safe said same save saw say
school science sea season seat second secret see seem seen sell send sense serve service set seven several shall share
she ship shoot short should show side sight sign similar simple simply since sing single sister sit six sky sleep slow
small smart smile snow so soldier some somebody someone something sometimes son song soon sort soul sound south space
speak special spend spirit spring stand star start state stay step still stone stop store story strange street strong
student study stuff style subject such suggest summer sun sure surprise suspense sweet take tale talk taste team tell
ten tense term than thank that the their them theme themselves then there therefore these they thing think third this
those though thought thousand three thrill thriller through thus till time to today together tomorrow tonight too top
total touch tough toward town train travel treat tree trial trip trouble true trust truth try turn twice twist two
type under understand until up upon us use user usual very view viewer village visit visual voice wait walk wall want
war warm was watch water way we wear week well went were west what whatever when where whether which while white who
whole whom whose why wide wife wild will win wind window winter wish with within without woman wonder wonderful word
work world worry worse worth would write wrong year yes yet you young your yours yourself
""".split()
)  # fmt: skip
_ENDINGS = (
    ("ies", "y"), ("ing", ""), ("ing", "e"), ("ed", ""), ("ed", "e"), ("es", ""), ("ly", ""), ("ful", ""), ("er", ""),
    ("ers", ""), ("s", ""), ("y", ""),
)  # fmt: skip
"""What a word may end in, and what then stands in its place in COMMON."""


def common(text: str) -> bool:
    """Whether all words of a text are common ones, in one of their forms; of no words it is not."""
    words = normal(text).split()
    return bool(words) and all(map(_common, words))


def _common(word: str) -> bool:
    if word in COMMON:
        return True
    return any(word.endswith(end) and word.removesuffix(end) + instead in COMMON for end, instead in _ENDINGS)
