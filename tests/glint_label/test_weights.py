"""Files of weights: whatever is in them, tensors come out or one line that names the file; nothing in them is run."""

import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file
from torch import nn

from glint_label.errors import WeightsError
from glint_label.weights import put_tensors, read_tensors

STATE = {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}


class Evil:
    def __init__(self, place: Path) -> None:
        self._place = place

    def __reduce__(self):
        return (Path.touch, (self._place,))


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin"])
@pytest.mark.parametrize("wrap", ["", "state_dict", "model"])
def test_tensors_are_found_below_the_wrappers_of_training_scripts(tmp_path, suffix, wrap):
    path = tmp_path / f"w{suffix}"
    if suffix == ".safetensors":
        save_file(STATE, path)
    else:
        state = {f"module.{name}": tensor for name, tensor in STATE.items()}
        torch.save({wrap: state} if wrap else state, path)
    network = nn.Linear(3, 2)
    put_tensors(network, read_tensors(path, "linear") | {"classifier.weight": torch.zeros(1)}, path, "linear")
    assert (network.weight == 1).all()


def broken(folder: Path) -> dict[str, Path]:
    """Write a file of every kind that is no plain set of tensors."""
    made = {name: folder / f"{name}.pt" for name in ("list", "tensor", "number", "nested", "numbers", "script")}
    torch.save([torch.ones(1)], made["list"])
    torch.save(torch.ones(1), made["tensor"])
    torch.save({"state_dict": 3}, made["number"])
    torch.save({"a": {"b": torch.ones(1)}}, made["nested"])
    torch.save({1: 2}, made["numbers"])
    torch.jit.script(nn.Linear(1, 1)).save(str(made["script"]))
    whole = folder / "whole.pt"
    torch.save(STATE, whole)
    tensors = folder / "whole.safetensors"
    save_file(STATE, tensors)
    contents = {
        "empty.pt": b"",
        "text.pt": b"no weights",
        "cut.pt": whole.read_bytes()[:300],
        "empty.safetensors": b"",
        "cut.safetensors": tensors.read_bytes()[:60],
        "evil_raw.pt": pickle.dumps(Evil(folder / "touched")),
        "evil_in_dict.bin": pickle.dumps({"weight": Evil(folder / "touched")}),
    }
    for name, content in contents.items():
        made[name] = folder / name
        made[name].write_bytes(content)
    made["evil_zip"] = folder / "evil_zip.pt"
    torch.save({"weight": Evil(folder / "touched")}, made["evil_zip"])
    made["evil_legacy"] = folder / "evil_legacy.pt"
    torch.save({"weight": Evil(folder / "touched")}, made["evil_legacy"], _use_new_zipfile_serialization=False)
    made["objects.npz"] = folder / "objects.npz"
    np.savez(made["objects.npz"], a=np.array([Evil(folder / "touched")], dtype=object), allow_pickle=True)
    return made


@pytest.mark.filterwarnings("ignore")  # PyTorch says that its own script format is old
def test_anything_else_is_one_line_with_the_file_and_nothing_is_run(tmp_path):
    for kind, path in broken(tmp_path).items():
        with pytest.raises(WeightsError) as raised:
            read_tensors(path, "linear")
        assert str(path) in str(raised.value), kind
        assert "\n" not in str(raised.value), kind
        assert not (tmp_path / "touched").exists(), kind


def test_tensors_that_are_missing_or_of_another_shape_are_named(tmp_path):
    path = tmp_path / "w.pt"
    with pytest.raises(WeightsError, match=r"w\.pt: cannot be loaded as linear \(1 of 2 tensors are missing"):
        put_tensors(nn.Linear(3, 2), {"weight": torch.ones(2, 3)}, path, "linear")
    with pytest.raises(WeightsError, match="size mismatch for weight"):
        put_tensors(nn.Linear(4, 2), STATE, path, "linear")
    with pytest.raises(WeightsError, match="no such file"):
        read_tensors(tmp_path / "none.pt", "linear")


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="needs a file system that takes any bytes")
@pytest.mark.parametrize("name", [b"\xff.safetensors", b"w\xe9\n/x.safetensors", b"\xfe.pt"])
def test_weights_are_read_under_any_name(tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".pt":
        torch.save({"a": torch.ones(2)}, tmp_path / "plain.pt")
        (tmp_path / "plain.pt").rename(path)
    else:
        path.write_bytes(save({"a": torch.ones(2)}))
    assert read_tensors(path, "x")["a"].tolist() == [1, 1]
