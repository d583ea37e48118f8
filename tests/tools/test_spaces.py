"""What is measured of TH-PAD's spaces, on codes whose content is known."""

import numpy as np
import pytest

from speak_jax.tools import spaces

CLIPS, FRAMES = 10, 12


def _windows(tremble=0.0):
  rng = np.random.default_rng(0)
  steps = rng.normal(size=(CLIPS, FRAMES, 3))
  pose = steps.cumsum(1).cumsum(1)
  mouth = rng.uniform(0, 1, (CLIPS, FRAMES, 1))
  # Of other clips, so that keys are apart.
  drawn = np.stack([pose[::-1], np.roll(pose, 3, 0)])
  drawn = drawn + tremble * rng.normal(size=drawn.shape)
  return spaces.Windows(
    {"nl": pose @ rng.normal(size=(3, 3)), "l": mouth, "a": mouth},
    drawn @ np.eye(3),
    {"mouth": mouth, "pose": pose},
    np.arange(CLIPS) // 2,
  )


def test_probes_find_what_is_there_and_nothing_else():
  values = spaces.measure(_windows())
  assert values["probe/pose_from_nl"] > 0.99
  assert values["probe/mouth_from_l"] > 0.99
  for name in ("mouth_from_nl", "pose_from_l"):
    assert values[f"probe/{name}"] < 0.1
  assert values["probe/pose_from_nl/control"] < 0.3
  text = spaces.markdown(values)
  assert text.count("|---") == 3 + 3


def test_codes_that_tremble_are_found_out():
  windows = _windows()
  windows = windows._replace(
    codes={**windows.codes, "nl": windows.truths["pose"]}
  )
  calm = spaces.measure(windows)
  assert calm["prior/speed"] == pytest.approx(1, rel=1e-6)
  assert calm["prior/jitter"] == pytest.approx(1, rel=1e-6)
  assert calm["prior/apart"] > 0.3
  shaken = spaces.measure(windows._replace(drawn=_windows(1.0).drawn))
  assert shaken["prior/jitter"] > 1.5 > shaken["prior/speed"] > 1
