"""What a loss leaves alone where it has too few examples before it."""

import pytest

from speak_jax.losses import disentangle
from speak_jax.stages import base, irfd, speak
from tests.stages import small, traces


def told(module, name, batch):
  """What the generator's phase logs, and the stage's notes; nothing is run."""
  stage = module.make(
    small.config(
      **{
        f"{name}__weights__covariance": 0.1,
        f"{name}__batch": batch,
        f"{name}__microbatch": batch,
      }
    )
  )
  index = [phase.name for phase in stage.phases].index("gen")
  return traces.logged(stage, index), "; ".join(stage.notes)


@pytest.mark.parametrize(("module", "name"), [(irfd, "irfd"), (speak, "speak")])
def test_covariance_is_off_and_says_so_below_its_number(module, name):
  few = disentangle.ENOUGH - 2
  logged, notes = told(module, name, few)
  assert "covariance" not in logged
  assert f"covariance is off: {few} examples" in notes
  logged, notes = told(module, name, disentangle.ENOUGH)
  assert "covariance" in logged
  assert "covariance is off" not in notes


@pytest.mark.parametrize(
  ("module", "name", "code"),
  [(irfd, "irfd", "pose"), (speak, "speak", "speech")],
)
def test_few_examples_cannot_end_a_run(module, name, code):
  """The loop ends on "std/..." alone; frames of one clip are one example."""
  few, _ = told(module, name, 2)
  assert f"spread/{code}" in few
  assert not [metric for metric in few if metric.startswith("std/")]
  enough, _ = told(module, name, base.FEW)
  assert f"std/{code}" in enough
