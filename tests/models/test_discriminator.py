import jax
import jax.numpy as jnp

from speak_jax.models.discriminator import Discriminator
from tests import jitted
from tests.models import tiny


def setup():
  net = Discriminator(width=4, scales=2, layers=2)
  frame, condition = tiny.normal(0, 2, 16, 16, 3), tiny.normal(1, 2, 16, 16, 3)
  return net, net.init(jax.random.key(0), frame, condition), frame, condition


def test_every_scale_judges_patches():
  net, variables, frame, condition = setup()
  judgement = net.apply(variables, frame, condition)
  assert [x.shape for x in judgement.logits] == [(2, 4, 4), (2, 2, 2)]
  assert [len(x) for x in judgement.features] == [3, 3]
  assert all(x.dtype == jnp.float32 for x in judgement.logits)


def test_the_condition_matters_as_the_frame_does():
  net, variables, frame, condition = setup()

  def score(frame, condition):
    logits = net.apply(variables, frame, condition).logits
    return sum(x.sum() for x in logits)

  for slope in jitted.grad(score, (0, 1))(frame, condition):
    assert float(jnp.abs(slope).max()) > 0


def test_coarser_scales_see_the_smoothed_picture():
  net, variables, frame, condition = setup()
  judge = lambda frame: net.apply(variables, frame, condition)  # noqa: E731
  # A pattern that [1, 3, 3, 1] does not let through, far from the edge.
  stripes = jnp.zeros(frame.shape).at[:, :, 4:12:2].set(1.0)
  stripes = stripes.at[:, :, 5:12:2].set(-1.0)
  seen = jax.tree.map(
    lambda a, b: float(jnp.abs(a - b).max()),
    judge(frame).logits,
    judge(frame + stripes).logits,
  )
  assert seen[1] < 0.2 * seen[0]
