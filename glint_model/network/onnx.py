"""Export to ONNX, so that a score can be had without torch."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from glint_label.errors import InputError, UsageError
from glint_label.files import write_atomic
from glint_model.network.checkpoint import size_in_words
from glint_model.network.crops import CROP
from glint_model.network.glintiqa import GlintIQA

TOLERANCE = 1e-4
_TOLD = ("labels", "label_mean", "label_std")


def export_onnx(model: GlintIQA, path: Path) -> float:
    """Write the network as ONNX: `crops` (batch, 3, 224, 224) float32 in [0, 1] -> `scores` (batch,).

    The file is run by onnxruntime on random crops before it is written. Its metadata hold the size at which pictures
    are to be scored, and what the checkpoint says of the labels.

    Returns:
        The largest difference to torch that was seen.

    Raises:
        UsageError: The packages of the extra [onnx] are missing.
        InputError: The exported network gives other scores.
        OutputError: The file cannot be written.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401, torch.onnx needs it and would name only itself
    except ImportError as error:
        raise UsageError(f"{error.name} is missing; install glint-label[onnx]") from error
    device, training = next(model.parameters()).device, model.training
    model.cpu().eval()
    try:
        facts = {name: value for name, value in model.facts.items() if name in _TOLD}
        content = _exported(model, {"size": size_in_words(model.size), **facts})
        crops = torch.rand(3, 3, CROP, CROP, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            expected = model(crops).numpy()
    finally:
        model.to(device).train(training)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found: Any = session.run(["scores"], {"crops": crops.numpy()})[0]
    difference = float(np.abs(found - expected).max())
    if not difference <= TOLERANCE * max(1, float(np.abs(expected).max())):
        raise InputError(f"{path}: not written, as the exported network's scores differ by {difference:.2g}")
    write_atomic(path, content)
    return difference


def _exported(model: GlintIQA, facts: Mapping[str, str]) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's exporter, about itself
        program: Any = torch.onnx.export(
            model,
            (torch.zeros(2, 3, CROP, CROP),),
            dynamo=True,
            verbose=False,
            input_names=["crops"],
            output_names=["scores"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
    proto: Any = program.model_proto
    for key, value in facts.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    content: bytes = proto.SerializeToString()
    return content
