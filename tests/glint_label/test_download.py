"""One large file over HTTP, from a server that does all that servers do."""

import random
import socket

import pytest

from glint_label.download import download
from glint_label.errors import DownloadError, OutputError
from tests.http_site import answers, breaks_after, serve

CONTENT = random.Random(0).randbytes(300_000)
OTHER = random.Random(1).randbytes(250_000)
INSTEAD = "open PAGE"
AT_ONCE = (0.0, 0.0, 0.0)  # pauses


@pytest.fixture
def site():
    with serve(CONTENT) as site:
        yield site


def fetch(address, path, **options):
    download(address, path, instead=INSTEAD, **{"pauses": AT_ONCE, **options})
    return path.read_bytes()


def test_a_file_arrives_whole_and_is_not_asked_for_again(site, tmp_path):
    assert fetch(site.address, tmp_path / "file") == CONTENT
    assert fetch(site.address, tmp_path / "file") == CONTENT
    assert site.asked == [""]


@pytest.mark.parametrize("version", ["one", ""], ids=["with an ETag", "without"])
def test_a_broken_connection_goes_on_where_it_was(site, tmp_path, version):
    site.version = version
    site.faults = [breaks_after(50_000)] * 5  # more breaks than pauses: each try got further
    assert fetch(site.address, tmp_path / "file") == CONTENT
    starts = [int(asked.removeprefix("bytes=").removesuffix("-")) for asked in site.asked[1:]]
    assert all(late >= early + 40_000 for early, late in zip([0, *starts], starts, strict=False))


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(site, tmp_path):
    site.faults = [breaks_after(200_000), *[breaks_after(0)] * 3]
    with pytest.raises(
        DownloadError, match=r"broke again and again .*0\.2 of 0\.3 MB have arrived; run the same command"
    ):
        fetch(site.address, tmp_path / "file")
    site.asked.clear()
    assert fetch(site.address, tmp_path / "file") == CONTENT
    assert len(site.asked) == 1
    assert int(site.asked[0][len("bytes=") : -1]) > 190_000


@pytest.mark.parametrize("version", ["two", ""], ids=["with an ETag", "without"])
def test_a_file_that_changed_between_two_tries_is_taken_anew(site, tmp_path, version):
    site.version = version and "one"
    site.faults = [breaks_after(200_000), *[breaks_after(0)] * 3]
    with pytest.raises(DownloadError):
        fetch(site.address, tmp_path / "file")
    site.content, site.version = OTHER, version
    assert fetch(site.address, tmp_path / "file") == OTHER


def test_a_file_that_became_shorter_than_what_is_there_is_taken_anew(site, tmp_path):
    site.faults = [breaks_after(200_000), *[breaks_after(0)] * 3]
    with pytest.raises(DownloadError):
        fetch(site.address, tmp_path / "file")
    site.content, site.version = OTHER[:1000], ""
    assert fetch(site.address, tmp_path / "file") == OTHER[:1000]


def test_another_address_does_not_go_on_with_the_bytes_of_the_first(site, tmp_path):
    site.faults = [breaks_after(200_000), *[breaks_after(0)] * 3]
    with pytest.raises(DownloadError):
        fetch(site.address, tmp_path / "file")
    with serve(OTHER) as mirror:
        assert fetch(mirror.address, tmp_path / "file") == OTHER


def test_a_server_that_always_sends_from_the_beginning_will_do(site, tmp_path):
    site.faults = [breaks_after(100_000), answers(200, CONTENT, Content_Length=len(CONTENT))]
    assert fetch(site.address, tmp_path / "file") == CONTENT


def test_redirects_are_followed_and_loops_are_not(site, tmp_path):
    site.faults = [answers(302, Location="/elsewhere"), answers(301, Location=site.address)]
    assert fetch(site.address, tmp_path / "file") == CONTENT
    site.faults = [answers(302, Location=site.address)] * 40
    with pytest.raises(DownloadError, match=r"redirects.*; open PAGE"):
        fetch(site.address, tmp_path / "loop")
    site.faults = [answers(302, Location="ftp://127.0.0.1/file.zip")]
    with pytest.raises(DownloadError, match=r"leads to no http or https address .*; open PAGE"):
        fetch(site.address, tmp_path / "ftp")


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/zip"])
def test_a_web_page_is_no_file_whatever_it_is_declared_as(site, tmp_path, kind):
    page = b"\xef\xbb\xbf\n <!DOCTYPE html><form>Your name and institution</form>"
    site.faults = [breaks_after(100_000), answers(200, page, Content_Type=kind)]
    with pytest.raises(DownloadError, match="answered with a web page where a file was expected; open PAGE"):
        fetch(site.address, tmp_path / "file")
    assert fetch(site.address, tmp_path / "file") == CONTENT
    assert site.asked[-1].startswith("bytes="), "the page of a hotel's network must not cost what had arrived"


def test_a_file_that_is_declared_as_a_web_page_is_taken(site, tmp_path):
    site.faults = [answers(200, CONTENT, Content_Type="text/html", Content_Length=len(CONTENT))]
    assert fetch(site.address, tmp_path / "file") == CONTENT


@pytest.mark.parametrize("status", [401, 403, 404, 410, 451])
def test_a_refusal_is_final_and_says_what_to_do(site, tmp_path, status):
    site.faults = [answers(status, b"<html>no</html>")]
    with pytest.raises(DownloadError, match=f"the server answered {status} .*; open PAGE"):
        fetch(site.address, tmp_path / "file")
    assert len(site.asked) == 1
    assert not (tmp_path / "file").exists()


def test_a_busy_server_is_asked_again(site, tmp_path):
    site.faults = [answers(503), answers(429)]
    assert fetch(site.address, tmp_path / "file") == CONTENT


LIES = {
    "more than there is": answers(200, CONTENT[:20_000], Content_Length=len(CONTENT)),
    "another place": answers(206, CONTENT[5:], Content_Range=f"bytes 5-{len(CONTENT) - 1}/{len(CONTENT)}"),
    "no place": answers(206, CONTENT[5:]),
    "no sense": answers(206, CONTENT, Content_Range="bytes ten to twenty"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_about_length_or_place_is_seen_through(site, tmp_path, lie):
    site.faults = [breaks_after(100_000), LIES[lie]]
    assert fetch(site.address, tmp_path / "file") == CONTENT


def test_a_server_that_always_ends_early_is_given_up(site, tmp_path):
    site.faults = [LIES["more than there is"]] * 9
    with pytest.raises(DownloadError, match=r"broke again and again .*; run the same command again, or open PAGE"):
        fetch(site.address, tmp_path / "file")


def test_a_file_without_a_length_ends_where_the_answer_ends(site, tmp_path):
    site.faults = [answers(200, CONTENT)]
    assert fetch(site.address, tmp_path / "file") == CONTENT


def test_where_the_size_is_known_nothing_else_will_do(site, tmp_path):
    site.faults = [answers(200, CONTENT[:1000], Content_Length=1000)]
    with pytest.raises(DownloadError, match="offers 1,000 bytes where 300,000 were expected; open PAGE"):
        fetch(site.address, tmp_path / "file", size=len(CONTENT))
    site.faults = [answers(200, CONTENT[:200_000])]  # no length: whether it broke off cannot be told otherwise
    assert fetch(site.address, tmp_path / "file", size=len(CONTENT)) == CONTENT


def test_what_cannot_be_reached_is_named(tmp_path):
    with socket.socket() as taken:  # a port where nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}/file.zip"
        with pytest.raises(DownloadError, match=r"nothing arrived \(.*refused\); check the network, or open PAGE"):
            fetch(address, tmp_path / "file")


@pytest.mark.parametrize("address", ["ftp://127.0.0.1/a", "http://", "nonsense"])
def test_what_is_no_address_is_named(tmp_path, address):
    with pytest.raises(DownloadError, match="no http or https address"):
        fetch(address, tmp_path / "file")


def test_a_damaged_note_costs_the_bytes_and_nothing_else(site, tmp_path):
    (tmp_path / "file").write_bytes(b"what is this")
    for note in ("", "[]", "{", '{"address": 3}'):
        (tmp_path / "file.json").write_text(note)
        assert fetch(site.address, tmp_path / "file") == CONTENT


def test_a_file_that_the_disk_has_no_room_for_is_not_begun(site, tmp_path):
    site.faults = [answers(200, CONTENT, Content_Length=10**18)]
    with pytest.raises(OutputError, match=r"GB are needed to download and unpack, .* GB are free; make room"):
        fetch(site.address, tmp_path / "file")


def test_progress_is_told_in_megabytes_and_goes_on(tmp_path):
    told = []

    class Bar:
        def update(self, n):
            told.append(n)

        def close(self):
            told.append("closed")

    def make(what, total, done):
        told.append((total, done))
        return Bar()

    with serve(CONTENT * 10) as site:
        site.faults = [breaks_after(1_500_000)]
        fetch(site.address, tmp_path / "file", progress=make)
    assert told == [(3, 0), 1, 1, 1, "closed"]
