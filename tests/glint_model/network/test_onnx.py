"""ONNX: the same scores without torch."""

import numpy as np
import pytest
import torch

from glint_model import GlintConfig, GlintIQA

onnxruntime = pytest.importorskip("onnxruntime", reason="needs glint-label[onnx]")
pytest.importorskip("onnxscript", reason="needs glint-label[onnx]")


@pytest.fixture(scope="module")
def model() -> GlintIQA:
    torch.manual_seed(0)
    return GlintIQA(GlintConfig.tiny())


@pytest.mark.slow
def test_scores_agree_at_any_batch_size(model, tmp_path):
    from glint_model.network.onnx import export_onnx

    model.train()
    assert export_onnx(model, tmp_path / "glint.onnx") < 1e-4
    assert model.training
    session = onnxruntime.InferenceSession(tmp_path / "glint.onnx", providers=["CPUExecutionProvider"])
    for batch in (1, 2, 5):
        crops = torch.rand(batch, 3, 224, 224)
        with torch.no_grad():
            expected = model.eval()(crops).numpy()
        np.testing.assert_allclose(session.run(None, {"crops": crops.numpy()})[0], expected, atol=1e-4, rtol=0)


@pytest.mark.slow
def test_scores_of_the_full_size_agree(tmp_path):
    from glint_model.network.onnx import export_onnx

    assert export_onnx(GlintIQA(GlintConfig.paper()), tmp_path / "glint.onnx") < 1e-4
