"""Lists of names as people have them."""

import pytest

from glint_label.texts import read_names

NAMES = ["anchors/a é.png", "I02", "x y.png"]
ENCODINGS = ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "text",
    [
        "anchors/a é.png\nI02\nx y.png",
        "anchors/a é.png\r\n\r\n I02 \r\nx y.png\r\n",
        "anchors/a é.png\rI02\rx y.png\r",
        "anchors/a é.png,\nI02,\nx y.png\n",
        '"anchors/a é.png",,\nI02,,\nx y.png,,\n',
        ",anchor\n0,anchors/a é.png\n1,I02\n2,x y.png\n",
        "0,anchors/a é.png\n1,I02\n2,x y.png\n",
        '"1"\t"anchors/a é.png"\n"2"\t"I02"\n"3"\t"x y.png"\n',
        '1;"anchors/a é.png";\n2;I02;\n3;"x y.png";\n',
    ],
    ids=["plain", "windows", "old mac", "commas", "quoted", "pandas", "numbered", "R", "semicolons"],
)
def test_a_list_is_read_as_programs_write_it(tmp_path, text, encoding):
    path = tmp_path / "list.txt"
    path.write_bytes(text.encode(encoding))
    assert read_names(path) == NAMES


@pytest.mark.parametrize(
    "names",
    [
        ["a,b.png", "c.png"],
        ["a, b", "c, d"],
        ['6" pipe.png', "x"],
        ["1,5.png", "3,5.png"],
        ["\x85.png", "\u2028", "a\x0cb"],
    ],
)
def test_names_that_hold_what_separates_stay_whole(tmp_path, names):
    path = tmp_path / "list.txt"
    path.write_text("\n".join(names))
    assert read_names(path) == names


@pytest.mark.parametrize("content", [b"\x81\xff", b"PK\3\4\0\0", b"\xff\xfe\0", b"a\0b"])
def test_what_is_no_text_is_an_error(tmp_path, content):
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not"):
        read_names(path)
