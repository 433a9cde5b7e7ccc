"""Tables as text: what is written fast is what the csv module and Python's formatting write."""

import csv
import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from glint_label.manifest import format_many, quote

HALVES = st.integers(0, 200_000).map(lambda number: number / 20_000)  # next to the middle of two texts


@given(st.lists(st.floats(-1e12, 1e12) | st.floats(0, 10) | HALVES))
def test_many_numbers_are_written_as_python_writes_each(values):
    assert format_many(np.array(values, dtype=np.float64)) == [f"{value:.4f}" for value in values]


@given(st.text() | st.sampled_from(["", " ", "a,b", 'a"b', "a\nb", "a\rb", "'", "\t", "\N{SNOWMAN}"]))
def test_a_quoted_field_is_that_of_the_csv_module(text):
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(["first", text, "last"])
    assert f"first,{quote(text)},last\n" == buffer.getvalue()
