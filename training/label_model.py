"""Fit the label model that ships with the package, from KADID-10k.

    python training/label_model.py --source-dir ./kadid10k --allow-missing-anchors

Writes glint_label/transfer/kadid10k.safetensors: the fitted transfers, the audit of those very models, and the hash of
the ratings. It takes a few minutes on two cores.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from glint_label.audit import leave_one_out, measure
from glint_label.embed import make_embedder
from glint_label.engines import available_cores
from glint_label.files import sha256_of
from glint_label.sources import load_source
from glint_label.transfer import GaussianProcess, RatedAnchors, make_transfer
from glint_label.transfer.packaged import (
    CONTENT_RANK,
    EMBEDDER,
    SOURCE,
    TRANSFERS,
    packaged_path,
    read_model,
    write_model,
)
from glint_label.visibility import features_version

COMPARED = ("top1", "knn", "cell-mean")  # in the audit, with the transfers that the package ships
NEIGHBOURS = 10  # that knn averages there


def main() -> None:
    """Fit, audit, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source-dir", type=Path, required=True)
    parser.add_argument("--allow-missing-anchors", action="store_true")
    parser.add_argument("--out", type=Path, default=packaged_path())
    parser.add_argument("--workers", type=int, default=available_cores())
    options = parser.parse_args()
    source = load_source(SOURCE, options.source_dir, allow_missing_anchors=options.allow_missing_anchors)
    conditions = tuple(source.conditions)
    embedder = make_embedder(EMBEDDER, list(source.anchors.values()))
    measured = measure(source, [embedder], conditions, with_features=True, workers=options.workers)
    ((_, anchors),) = measured.photos
    scores = source.scores(conditions)
    vectors = embedder.normalise(anchors.vectors, anchors.vectors)
    rated = RatedAnchors(vectors, scores, source.variances(conditions), conditions, measured.features)
    models = {}
    for name in TRANSFERS:
        transfer = make_transfer(name, NEIGHBOURS, CONTENT_RANK)
        transfer.fit(rated)
        assert isinstance(transfer, GaussianProcess)  # noqa: S101 (for the type checker: TRANSFERS holds no other)
        models[name] = transfer.model
    audit = leave_one_out(
        source, measured, (*COMPARED, *TRANSFERS), k=NEIGHBOURS, content_rank=CONTENT_RANK, workers=options.workers
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
        "features": features_version(),
        "audit": json.loads(audit.as_json()),
    }
    write_model(options.out, anchors, models, facts)
    written = read_model(options.out)
    print(f"{options.out}: {options.out.stat().st_size:,} bytes, {len(written.anchors.names)} anchors")
    print(
        audit.table[["transfer", "srocc_within", "srocc", "rmse", "srocc_per_anchor", "coverage90"]].to_string(
            index=False
        )
    )


if __name__ == "__main__":
    main()
