"""What holds of every network: examples are apart, programs agree."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.models.vgg import Vgg
from tests.models import tiny


class Case(NamedTuple):
  """A network with variables, and a batch of two."""

  apply: Callable  # of variables and the inputs
  low: Callable  # the same in bfloat16
  variables: Any
  inputs: Any


NETWORKS = ("encoders", "decoder", "speak", "discriminator", "sync", "vgg")
# Of the largest deviation of an output from its bfloat16 twin: its own rms.
TOLERANCE = 0.1


def cases(name: str, world: Any) -> Case:
  """A case of `NETWORKS`."""
  frames = tiny.normal(3, 2, tiny.IMAGE, tiny.IMAGE, 3)
  lips = tiny.normal(4, 2, 5, tiny.IMAGE // 2, tiny.IMAGE, 3)
  sound = 0.1 * tiny.normal(5, 2, 3200)
  pose = tiny.normal(1, 2, tiny.FRAMES, 4)
  inputs = {
    "encoders": (tiny.pair(),),
    "decoder": (world.portrait, world.codes),
    "speak": (world.portrait, pose, world.codes.emotion, tiny.audio(2)),
    "discriminator": (frames, frames[::-1]),
    "sync": (lips, sound),
    "vgg": (frames,),
  }[name]

  def network(dtype: str) -> Any:
    if name == "vgg":
      return Vgg(jnp.dtype(dtype), ((8, 8), (8,), (8,)))
    return getattr(tiny.networks(dtype=dtype), name)

  full = network("float32")
  variables = getattr(world, name, None)
  if variables is None:
    variables = jax.jit(full.init)(jax.random.key(0), *inputs)
  applies = full.apply, network("bfloat16").apply
  if name in ("decoder", "speak"):  # geometry is float32 in both
    applies = [frames_of(apply) for apply in applies]
  return Case(*applies, variables, inputs)


def frames_of(apply: Callable) -> Callable:
  """`apply`, whose outcome is the frames alone."""
  return lambda *inputs: apply(*inputs).frames


@pytest.fixture(scope="module", params=NETWORKS)
def case(request, world) -> Case:
  return cases(request.param, world)


def mixes(function: Callable, inputs: Any) -> float:
  """How far the first example's outputs move when the second one changes."""
  other = jax.tree.map(
    lambda x: jnp.asarray(x).at[1].multiply(-0.7) if is_real(x) else x, inputs
  )
  before, after = function(inputs), function(other)
  moved = [float(jnp.abs(a - b)[1].max()) for a, b in pairs(before, after)]
  assert max(moved) > 1e-3  # the change was one
  return max(float(jnp.abs(a - b)[0].max()) for a, b in pairs(before, after))


def is_real(x: Any) -> bool:
  return jnp.issubdtype(jnp.asarray(x).dtype, jnp.floating)


def pairs(before: Any, after: Any) -> zip:
  return zip(*map(jax.tree.leaves, (before, after)), strict=True)


def test_mixed_examples_are_found():
  assert mixes(lambda x: x - x.mean(0), tiny.normal(0, 2, 5)) > 0.1


def test_no_example_sees_another(case):
  run = jax.jit(lambda inputs: case.apply(case.variables, *inputs))
  assert mixes(run, case.inputs) < 1e-6


# Operation by operation, of which the decoder has most.
@pytest.mark.compiles(450)
@pytest.mark.parametrize(
  "case",
  ["discriminator", pytest.param("decoder", marks=pytest.mark.campaign)],
  indirect=True,
)
def test_jit_equals_eager(case):
  """Bound before the folder's fixture, it runs operation by operation."""
  eager = case.apply(case.variables, *case.inputs)
  compiled = jax.jit(case.apply)(case.variables, *case.inputs)
  for a, b in pairs(eager, compiled):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_bfloat16_is_close(case):
  high = jax.jit(case.apply)(case.variables, *case.inputs)
  low = jax.jit(case.low)(case.variables, *case.inputs)
  apart = [
    float(jnp.abs(a - b.astype(jnp.float32)).max() / jnp.sqrt((a**2).mean()))
    for a, b in pairs(high, low)
  ]
  assert 0 < max(apart) < TOLERANCE, apart
