"""The lock of a folder in an object store."""

import json
import os
import socket
import subprocess
import sys

import pytest

from glint_label.errors import StateError
from glint_label.folders import lock_folder
from glint_label.storage import lease


def hold(place, **owner):
    place.write_bytes(json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "token": "x"} | owner).encode())


def test_a_second_command_is_refused_and_told_who_is_there(bucket):
    out = bucket / "out"
    with lock_folder(out):
        words = rf"process {os.getpid()} on .* is writing here, .* delete s3://"
        with pytest.raises(StateError, match=words), lock_folder(out):
            pass
        assert (out / ".lock").is_file()
    assert not out.is_dir()


def test_one_on_another_machine_is_waited_for_until_it_has_been_silent_for_long(bucket, monkeypatch):
    hold(bucket / ".lock", host="elsewhere")
    with pytest.raises(StateError, match="on elsewhere is writing here"), lock_folder(bucket):
        pass
    monkeypatch.setattr(lease, "EXPIRES", -1.0)
    with lock_folder(bucket):
        pass


def test_what_a_killed_process_of_this_machine_held_is_taken_at_once(bucket):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    for dead in (process.pid, os.getpid()):  # the first process of a container has the number of the one before it
        hold(bucket / ".lock", pid=dead)
        with lock_folder(bucket):
            assert json.loads((bucket / ".lock").read_bytes())["pid"] == os.getpid()


def test_the_lock_file_of_a_folder_that_was_copied_from_a_disk_is_nobodys(bucket):
    (bucket / ".lock").write_bytes(b"")
    with lock_folder(bucket):
        pass


def test_it_is_renewed_and_not_deleted_where_another_has_taken_it_over(bucket, monkeypatch, caplog):
    monkeypatch.setattr(lease, "RENEWED", 0.02)
    with lock_folder(bucket):
        while not caplog.records:  # a renewal that had looked before it may have overwritten it
            hold(bucket / ".lock", host="elsewhere")
    assert "on elsewhere has taken it over" in caplog.text
    assert json.loads((bucket / ".lock").read_bytes())["host"] == "elsewhere"
