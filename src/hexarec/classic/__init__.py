"""Honest baselines: the table of contents and the classes. Imports neither torch nor scipy."""

from hexarec.classic.because import Because
from hexarec.classic.bpr import BPR
from hexarec.classic.calibrated import Calibrated
from hexarec.classic.din import DIN
from hexarec.classic.ease import EASE
from hexarec.classic.floor import Popular, Random
from hexarec.classic.ials import IALS
from hexarec.classic.knn import ItemKNN, UserKNN
from hexarec.classic.lexical import Lexical
from hexarec.classic.lightgcn import LightGCN
from hexarec.classic.long_tail import LongTail
from hexarec.classic.markov import Markov
from hexarec.classic.mmr import MMR
from hexarec.classic.plackett_luce import PlackettLuce
from hexarec.classic.sasrec import SASRec
from hexarec.core import Card

_RATINGS = frozenset({"ratings"})
_RANKS = ("retrieve", "rank")
_VECTORS = ("backbone", "retrieve", "rank")


def _card(name: str, where: str, title: str, paper: str, stages: tuple[str, ...], *needs: str) -> Card:
    return Card(
        name=name, where=f"hexarec.classic.{where}", paper=paper, title=title, stages=stages, needs=_RATINGS | {*needs}
    )


CLASSIC: tuple[Card, ...] = (
    _card("random", "floor:Random", "A random order", "none: the floor of every table", _RANKS),
    _card(
        "popular", "floor:Popular", "What is liked most", "Ji et al. 2020, SIGIR, arXiv:2005.13829", _RANKS
    ),
    _card(
        "itemknn", "knn:ItemKNN", "Items like those of the history", "Deshpande and Karypis 2004, TOIS 22(1)", _RANKS
    ),
    _card(
        "userknn", "knn:UserKNN", "Items of users with a like history", "Herlocker et al. 1999, SIGIR", _RANKS
    ),
    _card("ease", "ease:EASE", "Linear item-to-item scores", "Steck 2019, WWW, arXiv:1905.03375", _RANKS),
    _card(
        "ials", "ials:IALS", "Factors for implicit feedback",
        "Hu, Koren and Volinsky 2008, ICDM; Rendle et al. 2021, arXiv:2110.14037", _VECTORS,
    ),
    _card("bpr", "bpr:BPR", "Factors learned from pairs", "Rendle et al. 2009, UAI, arXiv:1205.2618", _VECTORS),
    _card("markov", "markov:Markov", "What follows the last items", "Rendle et al. 2010, WWW", _RANKS),
    _card(
        "sasrec", "sasrec:SASRec", "A transformer over the history",
        "Kang and McAuley 2018, ICDM, arXiv:1808.09781", _VECTORS, "torch",
    ),
    _card(
        "lightgcn", "lightgcn:LightGCN", "Factors smoothed over the graph of likes",
        "He et al. 2020, SIGIR, arXiv:2002.02126", _VECTORS,
    ),
    _card(
        "din", "din:DIN", "A history weighed anew for each candidate",
        "Zhou et al. 2018, KDD, arXiv:1706.06978", ("rank",), "torch",
    ),
    _card("mmr", "mmr:MMR", "Relevant and unlike what is picked", "Carbonell and Goldstein 1998, SIGIR", ("control",)),
    _card(
        "calibrated", "calibrated:Calibrated", "A genre mix like the history's",
        "Steck 2018, RecSys, doi:10.1145/3240323.3240372", ("control",),
    ),
    _card(
        "longtail", "long_tail:LongTail", "Relevance weighed against popularity, either way",
        "Abdollahpouri et al. 2019, FLAIRS, arXiv:1901.07555", ("control",),
    ),
    Card(
        name="plackettluce", where="hexarec.classic.plackett_luce:PlackettLuce",
        title="Lists drawn from a ranking, with propensities",
        paper="Plackett 1975; Oosterhuis 2021, SIGIR, arXiv:2105.00855", stages=("control",), needs=frozenset(),
    ),
    Card(
        name="lexical", where="hexarec.classic.lexical:Lexical", title="Words in common (BM25)",
        paper="Robertson and Zaragoza 2009", stages=_RANKS, needs=frozenset({"text"}),
    ),
    Card(
        name="because", where="hexarec.classic.because:Because", title="Reasons with evidence, wording checked",
        paper="Tintarev and Masthoff 2007", stages=("explain",), needs=frozenset({"ratings"}), fidelity="inferred",
    ),
)  # fmt: skip
"""One row per baseline: the floor first, then retrievers by age of the idea, controllers, and what words do."""

__all__ = [
    "Because",
    "Lexical",
    "BPR", "CLASSIC", "Calibrated", "DIN", "EASE", "IALS", "ItemKNN", "LightGCN", "LongTail", "MMR", "Markov",
    "PlackettLuce", "Popular", "Random", "SASRec", "UserKNN",
]  # fmt: skip
