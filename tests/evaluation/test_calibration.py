"""Two cells of the calibration; all of it on real clips in docs/results."""

import pytest

from data_pipelines.faces.tracker import Tracker
from tests import awkward
from tests.evaluation import calibration

# PSNR and SSIM. On real clips those of the reference, six clips: another crop
# and other six clips lie within 3 dB and .02. Drawn faces are smoother.
WANTED = {
  ("H.264 crf18", "real"): (39.8, 0.973),
  ("shifted by 1 px", "real"): (32.0, 0.948),
  ("H.264 crf18", "drawn"): (41.0, 0.979),
  ("shifted by 1 px", "drawn"): (33.6, 0.962),
}
NOISE_PX = 0.6  # of landmarks; below it is the detector's noise


@pytest.mark.parametrize("pair", ["H.264 crf18", "shifted by 1 px"])
def test_two_rows_of_the_reference(recordings, face_models, tmp_path, pair):
  if recordings:
    clips = sorted((recordings / "real" / "clips").glob("*.mp4"))[1:3]
  else:
    clips = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    for path, person in zip(clips, (2, 5), strict=True):
      awkward.film(path, awkward.pictures(40, person))
  psnr, ssim = WANTED[pair, "real" if recordings else "drawn"]
  tracker = Tracker(face_models)
  static, upright = calibration.measure(clips, tracker, only=(pair,))
  assert static[pair, "psnr"].value == pytest.approx(psnr, abs=3)
  assert static[pair, "ssim"].value == pytest.approx(ssim, abs=0.02)
  for table in (static, upright):
    assert 0 < table[pair, "m_lmd"].value < NOISE_PX
    assert 0 < table[pair, "f_lmd"].value < NOISE_PX
  assert static[pair, "missed"].value == 0
  # The aligned crop takes a shift away; the codec's damage stays.
  gain = upright[pair, "psnr"].value - static[pair, "psnr"].value
  assert gain > 5 if pair == "shifted by 1 px" else abs(gain) < 3
