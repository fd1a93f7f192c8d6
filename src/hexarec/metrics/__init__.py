"""Metrics: ranked lists, whole runs, labelled pairs, words, prompt order; slices, statistics, experiments."""

from hexarec.metrics.assignment import assign, sample_ratio
from hexarec.metrics.byuser import label_metrics, ratio, weighted_auc, word_metrics
from hexarec.metrics.diversity import calibration, ild, ild_tags, unexpectedness
from hexarec.metrics.fairness import Gap, GroupExposure, dgu, group_exposure, group_shifts, mgu, user_gap
from hexarec.metrics.interleaving import Preference, credit, interleave, preference
from hexarec.metrics.labels import Pairs, accuracy, auc, ece, log_loss, uauc
from hexarec.metrics.lists import Hits, average_precision, hit, hits, mrr, ndcg, precision, recall, recall_capped
from hexarec.metrics.names import TABLE, Measured, Metric, Spec, mean, parse
from hexarec.metrics.offpolicy import Logged, estimate, logged_of
from hexarec.metrics.offpolicy_lists import estimate_lists
from hexarec.metrics.position import (
    Curve,
    kendall,
    mean_kendall,
    popularity_by_rank,
    position_bias,
    prompt_order,
    rank_variance,
)
from hexarec.metrics.reference import Reference, Tags
from hexarec.metrics.runs import (
    avg_popularity,
    coverage,
    div_ratio,
    entropy,
    gini,
    measure,
    novelty,
    or_ratio,
    popularity_lift,
)
from hexarec.metrics.slices import Slice, evaluate, item_classes, pair_mask, slice_of
from hexarec.metrics.stats import (
    Effect,
    Interval,
    bootstrap,
    effect,
    holm,
    interval_of,
    mcnemar,
    paired,
    paired_draws,
    user_draws,
)
from hexarec.metrics.trial import Guardrail, Result, analyse, guardrail
from hexarec.metrics.weighted import Diagnostics, Estimate
from hexarec.metrics.words import validity

__all__ = [
    "Curve", "Diagnostics", "Effect", "Estimate", "Gap", "GroupExposure", "Guardrail", "Hits", "Interval",
    "Logged", "Measured", "Metric", "Pairs", "Preference", "Reference", "Result", "Slice", "Spec", "TABLE", "Tags",
    "accuracy", "analyse", "assign", "auc", "average_precision", "avg_popularity", "bootstrap", "calibration",
    "coverage", "credit", "dgu", "div_ratio", "ece", "effect", "entropy", "estimate", "estimate_lists", "evaluate",
    "gini", "group_exposure", "group_shifts", "guardrail", "hit", "hits", "holm", "ild", "ild_tags", "interleave",
    "interval_of", "item_classes", "kendall", "label_metrics", "log_loss", "logged_of", "mcnemar", "mean",
    "mean_kendall", "measure", "mgu", "mrr", "ndcg", "novelty", "or_ratio", "pair_mask", "paired", "paired_draws",
    "parse", "popularity_by_rank", "popularity_lift", "position_bias", "precision", "preference", "prompt_order",
    "rank_variance", "ratio", "recall", "recall_capped", "sample_ratio", "slice_of", "uauc", "unexpectedness",
    "user_draws", "user_gap", "validity", "weighted_auc", "word_metrics",
]  # fmt: skip
