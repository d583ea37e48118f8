"""Two devices do what one does; large arrays are split, small ones copied."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from speak_jax.stages import syncnet
from speak_jax.training import loop, sharding
from speak_jax.training.state import create
from tests.stages import small

two = pytest.mark.skipif(jax.device_count() < 2, reason="needs two devices")


def mesh(data: int, model: int):
  return jax.make_mesh(
    (data, model),
    ("data", "model"),
    axis_types=(AxisType.Auto,) * 2,
    devices=jax.devices()[: data * model],
  )


@two
def test_rules_split_the_largest_divisible_axis():
  tree = {
    "large": jnp.zeros((3, 4, 8)),
    "odd": jnp.zeros((3, 33)),
    "small": jnp.zeros(4),
  }
  found = sharding.rules(tree, mesh(1, 2), 50)
  assert found["large"].spec == PartitionSpec(None, None, "model")
  assert found["odd"].spec == found["small"].spec == PartitionSpec()
  for rule in sharding.rules(tree, mesh(2, 1), 50).values():
    assert rule.spec == PartitionSpec()


@two
def test_mesh_and_batch_are_checked():
  assert dict(sharding.make_mesh(-1, 1).shape) == {
    "data": jax.device_count(),
    "model": 1,
  }
  with pytest.raises(ValueError, match=r"config\.mesh"):
    sharding.make_mesh(-1, 7)
  sharding.check_batch(8, 4, mesh(2, 1), "irfd")
  with pytest.raises(ValueError, match=r"irfd\.batch = 3 in 1 parts"):
    sharding.check_batch(3, 1, mesh(2, 1), "irfd")
  with pytest.raises(ValueError, match=r"irfd\.parts = 3"):
    sharding.check_batch(4, 3, mesh(2, 1), "irfd")


def one_step(devices, parts=1):
  """A step of SyncNet: its loss is smooth, so rounding stays rounding."""
  stage = syncnet.make(small.config(syncnet__batch=4, syncnet__parts=parts))
  state = create(stage, 0, {})
  placing = sharding.rules(state, devices, 64)
  if devices.shape["model"] > 1:
    split = [rule.spec for rule in jax.tree.leaves(placing.params)]
    assert any("model" in spec for spec in split)
  state = sharding.place(state, placing)
  ((_, run),) = loop.compiled(stage, placing, devices)
  key = jax.device_put(jax.random.key(0), sharding.replicated(devices))
  batch = sharding.place_batch(small.batch(stage), devices)
  state, metrics = run(state, batch, key)
  # Adam's moments hold the gradient; its step is the gradient's sign alone.
  return jax.device_get((metrics, state.opt))


@two
@pytest.mark.parametrize(
  ("shape", "parts"), [((2, 1), 1), ((1, 2), 1), ((1, 1), 2), ((2, 1), 2)]
)
def test_devices_and_parts_equal_one(shape, parts):
  one, other = one_step(mesh(1, 1)), one_step(mesh(*shape), parts)
  # The spread of codes is taken over a part.
  metrics = [
    {k: v for k, v in x[0].items() if "std/" not in k} for x in (one, other)
  ]
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
    (metrics[0], one[1]),
    (metrics[1], other[1]),
  )
