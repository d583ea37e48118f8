"""Two cells of the calibration on real clips; all in docs/results."""

import numpy as np
import pytest

from data_pipelines.faces.tracker import Tracker
from tests.evaluation import calibration

# Of the reference, six clips, in PSNR / SSIM: another crop and other six
# clips lie within 3 dB and .02. Landmarks below .6 px are detector noise.
CRF18, SHIFT = (39.8, 0.973), (32.0, 0.948)
NOISE_PX = 0.6


@pytest.mark.parametrize(
  ("pair", "want"), [("H.264 crf18", CRF18), ("shifted by 1 px", SHIFT)]
)
def test_two_rows_of_the_reference(shared, face_models, pair, want):
  clips = sorted((shared / "data" / "real" / "clips").glob("*.mp4"))[1:3]
  tracker = Tracker(face_models)
  static, upright = calibration.measure(clips, tracker, only=(pair,))
  assert static[pair, "psnr"].value == pytest.approx(want[0], abs=3)
  assert static[pair, "ssim"].value == pytest.approx(want[1], abs=0.02)
  for table in (static, upright):
    assert 0 < table[pair, "m_lmd"].value < NOISE_PX
    assert 0 < table[pair, "f_lmd"].value < NOISE_PX
  assert static[pair, "missed"].value == 0
  # The aligned crop takes a shift away; the codec's damage stays.
  gain = upright[pair, "psnr"].value - static[pair, "psnr"].value
  assert gain > 5 if pair == "shifted by 1 px" else abs(gain) < 3


def test_the_old_mistake_flatters():
  rng = np.random.default_rng(0)
  true = rng.integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
  pred = rng.integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
  honest = 10 * np.log10(
    255**2 / ((pred.astype(float) - true) ** 2).mean((1, 2, 3))
  )
  assert np.all(calibration.wrapped_psnr(pred, true) > honest + 8)
