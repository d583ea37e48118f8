"""Subjects of what comes out: marks, exported functions."""

import numpy as np

from speak_jax.bench import changes, subjects
from speak_jax.tools import to_onnx
from tests.bench.tiny import TINY, measured


def test_marking(face_models):
  found = measured("marking")
  assert set(found) >= {f"found after {name}" for name in changes.WAYS}
  assert 0 <= found["found after nothing"] <= 1
  assert found["false alarms"] == 0
  assert 30 < found["PSNR of marked frames"] < 60
  assert abs(found["PSNR cost"]) < 1


def test_frames_come_at_another_rate():
  ramp = np.repeat(np.arange(0, 50, 5, np.uint8), 12).reshape(10, 2, 2, 3)
  found = changes.faster(ramp)
  assert found.shape == (12, 2, 2, 3)
  want = np.rint(np.minimum(np.arange(12) * 25 / 30 * 5, 45))
  np.testing.assert_array_equal(found[:, 0, 0, 0], want)


def test_export():
  figures = {one.name: one for one in subjects.here("export", TINY)}
  for bundle in ("photograph", "reference"):
    onnx = figures[f"ONNX, {bundle}: largest difference"]
    if to_onnx.missing():
      assert "jax2onnx" in onnx.note and not onnx.values
    else:
      assert onnx.median < to_onnx.CLOSE
  for frames in (5, 50):
    name = f"StableHLO, windows of {frames} frames"
    assert figures[f"{name}: largest difference"].median < 1e-4
    assert figures[f"{name}, a frame"].median > 0
