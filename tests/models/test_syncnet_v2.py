import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.models.syncnet_v2 import SyncNetV2
from tests import jitted

SIZES = dict(
  lip_widths=(96, 256, 256, 256, 256, 512),
  lip_last=(6, 6),
  lip_hidden=512,
  sound_widths=(64, 192, 384, 256, 256, 512),
  sound_hidden=512,
  out=1024,
)


def test_layout_is_the_public_one():
  clip = jax.ShapeDtypeStruct((3, 5, 224, 224, 3), jnp.float32)
  mfcc = jax.ShapeDtypeStruct((3, 20, 13), jnp.float32)
  (lips, sound), variables = jax.eval_shape(
    lambda *x: SyncNetV2(**SIZES).init_with_output(jax.random.key(0), *x),
    clip,
    mfcc,
  )
  assert lips.features.shape == sound.features.shape == (3, 512)
  assert lips.code.shape == sound.code.shape == (3, 1024)
  leaves = jax.tree.leaves(variables)
  # 102 keys of the file, less 14 counters.
  assert len(leaves) == 88
  assert sum(x.size for x in leaves) == 13_640_256


@pytest.fixture(scope="module")
def small():
  net = SyncNetV2(
    lip_widths=(4, 4, 4, 4, 4, 6),
    lip_last=(6, 6),
    lip_hidden=5,
    sound_widths=(4, 4, 4, 4, 4, 6),
    sound_hidden=5,
    out=7,
  )
  clip = jax.random.uniform(jax.random.key(1), (2, 5, 224, 224, 3)) * 255
  mfcc = jax.random.normal(jax.random.key(2), (2, 20, 13))
  variables = jax.jit(net.init)(jax.random.key(0), clip, mfcc)
  return net, variables, clip, mfcc


def test_examples_are_independent(small):
  net, variables, clip, mfcc = small
  lips, sound = net.apply(variables, clip, mfcc)
  alone = net.apply(variables, clip[1:], method="see")
  np.testing.assert_allclose(lips.code[1:], alone.code, rtol=1e-4)
  alone = net.apply(variables, mfcc[1:], method="hear")
  np.testing.assert_allclose(sound.code[1:], alone.code, rtol=1e-4, atol=1e-6)


def test_every_frame_and_step_is_seen(small):
  net, variables, clip, mfcc = small

  def total(clip, mfcc):
    lips, sound = net.apply(variables, clip, mfcc)
    return lips.features.sum() + sound.features.sum()

  by_clip, by_mfcc = jitted.grad(total, (0, 1))(clip, mfcc)
  assert (jnp.abs(by_clip).max((0, 2, 3, 4)) > 0).all()
  assert (jnp.abs(by_mfcc).max((0, 2)) > 0).all()
  assert (jnp.abs(by_mfcc).max((0, 1)) > 0).all()
