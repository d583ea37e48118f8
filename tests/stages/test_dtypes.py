"""What stays float32 in a stage that computes in half precision."""

import jax
import jax.numpy as jnp
import pytest

from speak_jax.stages.registry import STAGES
from tests import rounding
from tests.stages import small

# Everything on: discriminators, swaps, every loss.
ALL = dict(
  irfd__weights__gan=0.1,
  irfd__weights__swap_pose=0.1,
  irfd__weights__swap_identity=0.1,
  speak__weights__gan=0.1,
  speak__weights__features=0.1,
  speak__weights__perceptual=0.1,
)
# Functions that lose what they are for in eight bits, or overflow in sixteen.
WIDE = ("rsqrt", "sqrt", "log", "log1p", "logistic", "cumsum", "cos", "sin")


def adds_places(step) -> bool:
  """Whether it adds up the places or examples of pictures."""
  if step.primitive.name != "reduce_sum":
    return False
  rank = step.invars[0].aval.ndim
  return rank > 3 and step.params["axes"] != (rank - 1,)


def traced(stage, phase):
  """(function of params, its arguments): the phase's loss and gradient."""
  params, vars = jax.eval_shape(lambda: stage.init(0, {}))
  trains = stage.optims[phase.optim].trains

  def run(params, vars, batch, step, key):
    def loss(trained):
      out = phase.loss({**params, **trained}, vars, batch, step, key)
      return out.loss, out

    return jax.value_and_grad(loss, has_aux=True)(
      {name: params[name] for name in trains}
    )

  step = jax.ShapeDtypeStruct((), jnp.int32)
  key = jax.eval_shape(lambda: jax.random.key(0))
  return run, (params, vars, stage.batch, step, key)


@pytest.mark.parametrize(
  ("name", "dtype"),
  [("syncnet", "float16"), ("irfd", "bfloat16"), ("speak", "float16")],
)
def test_losses_statistics_and_gradients_are_float32(name, dtype):
  half = jnp.dtype(dtype)
  stage = STAGES[name].make(small.config(model__dtype=dtype, **ALL))
  for phase in stage.phases:
    run, given = traced(stage, phase)
    assert {x.dtype for x in jax.tree.leaves(given[0])} == {jnp.dtype("f4")}
    (loss, out), grads = jax.eval_shape(run, *given)
    for x in jax.tree.leaves((loss, out, grads)):
      assert x.dtype == jnp.float32, (phase.name, x)
    found = list(rounding.steps(run, *given))
    low = [x for x in found if x.outvars[0].aval.dtype == half]
    if phase.name == "disc_r1":
      assert not low  # R1 is float32 as a whole
    else:
      products = [x for x in low if x.primitive.name in rounding.PRODUCTS]
      assert len(products) > 5  # and half precision is at work
    narrow = [x for x in low if x.primitive.name in WIDE or adds_places(x)]
    assert not narrow, (phase.name, list(map(str, narrow)))
