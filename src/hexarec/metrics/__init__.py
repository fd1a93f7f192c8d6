"""Metrics: ranked lists, whole runs, labelled pairs, words, prompt order; slices and statistics."""

from hexarec.metrics.byuser import label_metrics, ratio, weighted_auc, word_metrics
from hexarec.metrics.diversity import calibration, ild, ild_tags, unexpectedness
from hexarec.metrics.fairness import Gap, GroupExposure, dgu, group_exposure, group_shifts, mgu, user_gap
from hexarec.metrics.labels import Pairs, accuracy, auc, ece, log_loss, uauc
from hexarec.metrics.lists import Hits, average_precision, hit, hits, mrr, ndcg, precision, recall, recall_capped
from hexarec.metrics.names import TABLE, Measured, Metric, Spec, mean, parse
from hexarec.metrics.position import Curve, kendall, popularity_by_rank, position_bias, prompt_order, rank_variance
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
from hexarec.metrics.words import validity

__all__ = [
    "Curve", "Effect", "Gap", "GroupExposure", "Hits", "Interval", "Measured", "Metric", "Pairs", "Reference",
    "Slice", "Spec", "TABLE", "Tags", "accuracy", "auc", "average_precision", "avg_popularity", "bootstrap",
    "calibration", "coverage", "dgu", "div_ratio", "ece", "effect", "entropy", "evaluate", "gini", "group_exposure",
    "group_shifts", "hit", "hits", "holm", "ild", "ild_tags", "interval_of", "item_classes", "kendall",
    "label_metrics", "log_loss", "mcnemar", "mean", "measure", "mgu", "mrr", "ndcg", "novelty", "or_ratio",
    "pair_mask", "paired", "paired_draws", "parse", "popularity_by_rank", "popularity_lift", "position_bias",
    "precision", "prompt_order", "rank_variance", "ratio", "recall", "recall_capped", "slice_of", "uauc",
    "unexpectedness", "user_draws", "user_gap", "validity", "weighted_auc", "word_metrics",
]  # fmt: skip
