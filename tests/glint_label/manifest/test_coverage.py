"""Hubs, coverage and support, from the rows of references.csv."""

import json

import pytest

from glint_label.manifest.coverage import describe_references


def row(name, neighbours=(), similarities=(), weights="[1.0]", of=""):
    return {
        "reference": name,
        "neighbours": json.dumps(list(neighbours)),
        "similarities": json.dumps(list(similarities)),
        "weights": weights,
        "near_duplicate_of": of,
    }


@pytest.fixture
def references():
    return [
        row("a.png", ("x", "y"), (0.9, 0.1)),
        row("b.png", ("x", "z"), (0.62, 0.3), of="a.png"),
        row("c.png", ("y", "x"), (0.31, 0.3), of="anchor:held.png"),
        row("d.png", ("z", "x"), (-0.2, -0.3), weights="[]"),
        row("e.png", ("z", "x"), (0.8, 0.3), weights="[]", of="excluded:bench.png"),
    ]


def test_hubs_count_labelled_photos(references):
    figures = describe_references(references, 5, 0.4)
    assert figures["nearest"] == {"x": 2, "y": 1}
    assert figures["hubs"][0] == {"anchor": "x", "references": 2, "share": 0.6667}
    assert (figures["anchors_used"], figures["anchors_never_nearest"]) == (2, 3)
    assert figures["effective_anchors"] == 1.8  # 3^2 / (2^2 + 1^2)


def test_unsupported_photos_are_counted_and_the_worst_named(references):
    figures = describe_references(references, 5, 0.4)
    assert figures["unsupported"] == 2
    assert [entry["reference"] for entry in figures["least_supported"]] == ["d.png", "c.png", "b.png", "a.png"]
    assert figures["abstained"] == ["d.png"]
    assert figures["excluded"] == ["e.png"]
    assert sum(figures["similarity"]["counts"]) == 4
    assert figures["similarity"]["edges"][0] <= -0.2
    assert describe_references(references, 5, None)["unsupported"] == 0


def test_near_duplicates_are_told_apart(references):
    references.append(row("anchor:f.png", ("x",), (0.5,)))
    references.append(row("g.png", ("x",), (0.5,), of="anchor:f.png"))  # a reference of that name
    assert describe_references(references, 5, 0.4)["near_duplicate_counts"] == {
        "references": 2,
        "anchors": 1,
        "excluded": 1,
    }


def test_tables_without_neighbours_or_rows_are_described_too(references):
    assert describe_references([], 5, 0.4)["hubs"] == []
    bare = [dict(row("a.png"), neighbours="", similarities="")]
    figures = describe_references(bare, 5, None)
    assert (figures["references"], figures["anchors_used"], figures["least_supported"]) == (1, 0, [])
