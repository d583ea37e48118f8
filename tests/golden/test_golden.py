"""One step of each stage and some frames are, number by number, as stored.

What is stored was written before the code was moved, renamed and taken apart;
none of that may move it. It is renewed with `python -m tests.golden`, only when
the numbers are meant to change, in a commit of its own that says why.

Figures of a step agree to 1e-4. Measured: Python 3.11 with jax 0.10.2 on two
devices and 3.12 with jax 0.12.0 on one, where the batch is two microbatches
added up, are 2e-5 apart at most. Frames agree to 0.005 levels of 255 in the
mean and 3 at most; the two were the same to the byte. The folder takes about
two minutes of one core without compiled programs, and one with them.
"""

import jax
import numpy as np
import pytest

from tests.golden import compare, program

pytestmark = pytest.mark.skipif(
  jax.default_backend() != "cpu", reason="the goldens are a CPU's numbers"
)
_steps: dict[str, program.Step] = {}


def step(name: str) -> program.Step:
  """The step of a case, compiled once for all tests."""
  if name not in _steps:
    _steps[name] = program.Step(program.CASES[name])
  return _steps[name]


@pytest.mark.parametrize("name", program.CASES)
def test_a_step_is_the_stored_one(name):
  found = compare.figures(*step(name).run())
  lines = compare.misses(found, compare.read(name))
  assert not lines, "\n".join([f"{name}: {compare.RENEW}", *lines])


@pytest.mark.parametrize("name", program.CASES)
def test_a_step_tells_when_an_array_is_one_percent_larger(name):
  """By the metrics alone, for the largest array of each group."""
  stored = compare.read(name)
  for group in step(name).groups:
    metrics, _ = step(name).run(nudge=group)
    kept = {key: stored[key] for key in metrics}
    assert compare.misses(metrics, kept), group


def test_together_the_steps_have_every_term_of_every_preset():
  for stage, phase in {"irfd": "gen", "speak": "gen", "motion": "fit"}.items():
    terms = {
      figure.removeprefix(f"{phase}/")
      for name, case in program.CASES.items()
      if case.stage == stage
      for figure in compare.read(name)
    }
    # Of E_i's features or of VGG-19's, it is one term.
    wanted = program.preset_weights(stage) - {"perceptual_encoders"}
    assert wanted and wanted <= terms
    if phase == "gen":
      assert {"disc/loss", "disc_r1/r1"} <= terms


def test_frames_of_the_reference_are_the_stored_ones():
  frames, codes = program.video()
  lines = compare.misses(compare.figures({}, codes), compare.read("reference"))
  assert not lines, "\n".join([f"reference: {compare.RENEW}", *lines])
  same_picture("reference", compare.side_by_side(frames))


@pytest.mark.parametrize(
  "weight",
  [
    "encoders/params/identity_head/kernel",
    "encoders/params/identity_net/stage3_block1/conv2/kernel",
  ],
)
def test_codes_tell_when_a_weight_is_one_percent_larger(weight):
  _, codes = program.video(nudge=weight)
  found = compare.figures({}, codes)
  assert compare.misses(found, compare.read("reference"))


@pytest.mark.parametrize(
  "weight",
  [
    "speak/params/generator/base",
    "encoders/params/pose_head/kernel",
  ],
)
def test_frames_tell_when_a_weight_is_one_percent_larger(weight):
  frames, _ = program.video(nudge=weight)
  found = compare.side_by_side(frames)
  mean, _ = compare.levels(found, compare.read_picture("reference"))
  assert mean > compare.MEAN


def test_the_commands_sheet_is_the_stored_one(tmp_path):
  same_picture("sheet", program.sheet(tmp_path))


def same_picture(name, found):
  mean, most = compare.levels(found, compare.read_picture(name))
  assert mean <= compare.MEAN and most <= compare.MOST, (
    f"{name}: {mean:.4f} levels apart in the mean, {most} at most;"
    f" {compare.RENEW}"
  )


def test_what_is_not_a_number_or_not_there_is_told():
  stored = {"gen/loss": 2.0, "params/a/norm": 3.0}
  assert not compare.misses(dict(stored), stored)
  assert compare.misses(stored | {"gen/loss": np.nan}, stored)
  assert compare.misses(stored | {"gen/loss": 2.001}, stored)
  with pytest.raises(ValueError, match="come or gone: gen/pixel"):
    compare.misses(stored | {"gen/pixel": 1.0}, stored)
