"""What the labels of a build rest on: which anchors are used how often, and which references none resembles."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

_SHOWN = 5
_BIN = 0.1  # of similarity


def describe_references(references: Sequence[dict[str, str]], anchors: int, supported: float | None) -> dict[str, Any]:
    """Describe the rows of references.csv.

    Args:
        references: Column -> text of each.
        anchors: How many the source has.
        supported: Similarity that 95 % of the anchors reach among themselves; None where it was not measured.

    Returns:
        Plain figures, ready for JSON: hubs and coverage count labelled photos, similarities all but the excluded.
    """
    names = {row["reference"] for row in references}
    kinds = {row["reference"]: _kind(row["near_duplicate_of"], names) for row in references}
    unlabelled = [row["reference"] for row in references if row["weights"] in ("", "[]")]
    excluded = [name for name in unlabelled if kinds[name] == "excluded"]
    abstained = [name for name in unlabelled if kinds[name] != "excluded"]
    nearest: Counter[str] = Counter()
    similarities: list[tuple[float, str, str]] = []
    without_labels = set(unlabelled)
    for row in references:
        name = row["reference"]
        listed, alike = json.loads(row["neighbours"] or "[]"), json.loads(row["similarities"] or "[]")
        if not listed or not alike or kinds[name] == "excluded":
            continue
        similarities.append((alike[0], name, listed[0]))
        if name not in without_labels:
            nearest[listed[0]] += 1
    counts = Counter(kinds.values())
    return {
        "references": len(references),
        **_hubs(nearest, anchors),
        **_support(similarities, supported),
        "abstained": abstained,
        "excluded": excluded,
        "near_duplicates": [
            {"reference": row["reference"], "of": row["near_duplicate_of"]}
            for row in references
            if row["near_duplicate_of"]
        ],
        "near_duplicate_counts": {kind: counts[kind] for kind in ("references", "anchors", "excluded")},
    }


def _kind(value: str, names: set[str]) -> str:
    """Say what a photo is a near-duplicate of; a reference may be called `anchor:...` too."""
    if not value or value in names:
        return "references" if value else ""
    return "excluded" if value.startswith("excluded:") else "anchors"


def _hubs(nearest: Counter[str], anchors: int) -> dict[str, Any]:
    """Count how often each anchor is the nearest, and how many evenly used ones that would be."""
    total = nearest.total()
    ranked = sorted(nearest.items(), key=lambda item: (-item[1], item[0]))
    return {
        "hubs": [
            {"anchor": anchor, "references": number, "share": round(number / total, 4)}
            for anchor, number in ranked[:_SHOWN]
        ],
        "nearest": dict(ranked),
        "anchors_used": len(nearest),
        "anchors_never_nearest": anchors - len(nearest),
        "effective_anchors": round(total**2 / sum(number**2 for number in nearest.values()), 1) if total else 0.0,
    }


def _support(similarities: list[tuple[float, str, str]], supported: float | None) -> dict[str, Any]:
    """Tabulate the similarity to the nearest anchor, and name the photos that resemble none."""
    best = [similarity for similarity, _, _ in similarities]
    low = np.floor(min(best, default=0) / _BIN)
    edges = (_BIN * np.arange(min(low, 9), 11)).round(4)  # up to 1, at least one bin
    ranked = sorted(similarities)
    return {
        "similarity_quartiles": np.percentile(best, (0, 25, 50, 75, 100)).round(4).tolist() if best else [],
        "similarity": {
            "edges": edges.tolist(),
            "counts": np.histogram(np.clip(best, edges[0], 1), bins=edges)[0].tolist(),
        },
        "supported_from": supported,
        "unsupported": 0 if supported is None else sum(similarity < supported for similarity in best),
        "least_supported": [
            {"reference": name, "similarity": similarity, "anchor": anchor}
            for similarity, name, anchor in ranked[:_SHOWN]
        ],
    }
