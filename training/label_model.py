"""Fit the label model that ships with the package, from KADID-10k.

    python training/label_model.py --source-dir ./kadid10k --allow-missing-anchors

Writes glint_label/transfer/kadid10k.safetensors: the fitted transfers, the audit of those very models, and the hash of
the ratings. A few minutes on two cores.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np

from glint_label.audit import audit_measured, visibility_of
from glint_label.embed import make_embedder
from glint_label.files import sha256_of
from glint_label.progress import no_progress
from glint_label.sources import load_source
from glint_label.transfer import GaussianProcess, RatedAnchors, make_transfer
from glint_label.transfer.packaged import EMBEDDER, SOURCE, TRANSFERS, read_model, shipped_path, write_model
from glint_label.visibility.anchors import embed_anchors, features_code


def main() -> None:
    """Fit, audit, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source-dir", type=Path, required=True)
    parser.add_argument("--allow-missing-anchors", action="store_true")
    parser.add_argument("--out", type=Path, default=shipped_path())
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    source = load_source(SOURCE, options.source_dir, allow_missing_anchors=options.allow_missing_anchors)
    conditions = tuple(source.conditions)
    embedder = make_embedder(EMBEDDER, list(source.anchors.values()))
    anchors = embed_anchors(source, embedder, options.workers)
    visibility = visibility_of(source, conditions, options.workers, no_progress)
    scores = source.scores(conditions)
    vectors = embedder.normalise(anchors.vectors, anchors.vectors)
    rated = RatedAnchors(vectors, scores, source.variances(conditions), conditions, visibility)
    models = {}
    for name in TRANSFERS:
        transfer = make_transfer(name, 1)
        transfer.fit(rated)
        assert isinstance(transfer, GaussianProcess)  # noqa: S101 (for the type checker: TRANSFERS holds no other)
        models[name] = transfer.model
    names = ("top1", "knn", "cell-mean", *TRANSFERS)
    space = [(embedder, anchors)]
    report = audit_measured(
        source, conditions, visibility, space, names, k=10, workers=options.workers, progress=no_progress
    )
    facts = {
        "conditions": [list(condition) for condition in conditions],
        "mos_range": list(source.mos_range),
        "distortions": list(source.distortions),
        "missing_anchors": list(source.missing_anchors),
        "licence": source.licence,
        "citation": source.citation,
        "mean_score": float(np.nanmean(np.nanmean(scores, axis=0))),
        "ratings_sha256": sha256_of(source.label_file),
        "features_sha256": features_code(),
        "audit": json.loads(report.as_json()),
    }
    write_model(options.out, anchors, models, facts)
    shipped = read_model(options.out)
    print(f"{options.out}: {options.out.stat().st_size:,} bytes, {len(shipped.anchors.names)} anchors")
    print(report.table[["transfer", "srocc", "rmse", "srocc_per_anchor", "coverage90"]].to_string(index=False))


if __name__ == "__main__":
    main()
