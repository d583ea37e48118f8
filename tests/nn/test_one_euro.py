import jax
import jax.numpy as jnp
import numpy as np

from speak_jax.nn import one_euro
from speak_jax.nn.one_euro import OneEuro

HOW = OneEuro(0.05, 8.0, 10.0, 100.0)


def _one_by_one(values, how):
  """The filter as its paper has it: one number at a time, in float64."""

  def alpha(cutoff):
    tau = 1 / (2 * np.pi * cutoff)
    return 1 / (1 + tau * how.rate_hz)

  last = smooth = slope = None
  out = []
  for x in values * how.scale:
    speed = 0.0 if last is None else (x - last) * how.rate_hz
    a = alpha(1.0)
    slope = speed if slope is None else a * speed + (1 - a) * slope
    a = alpha(how.cutoff_hz + how.beta * abs(slope))
    smooth = x if smooth is None else a * x + (1 - a) * smooth
    last = x
    out.append(smooth / how.scale)
  return np.array(out)


def _signal():
  rng = np.random.default_rng(0)
  return np.cumsum(0.02 * rng.normal(size=(40, 2, 3)), 0)


def test_it_is_the_published_filter():
  signal = _signal()
  wanted = np.stack(
    [
      np.stack([_one_by_one(signal[:, i, j], HOW) for j in range(3)], 1)
      for i in range(2)
    ],
    1,
  )
  run = jax.jit(lambda x, state: one_euro.smooth(x, HOW, state))
  got, _ = run(jnp.asarray(signal), one_euro.start((2, 3)))
  np.testing.assert_allclose(got, wanted, atol=1e-5)
  # It smooths: what jumps is nearer to what was before.
  assert (
    np.abs(np.diff(got, axis=0)).sum() < np.abs(np.diff(signal, axis=0)).sum()
  )


def test_a_clip_in_two_parts_is_the_clip():
  signal = jnp.asarray(_signal())
  run = jax.jit(lambda x, state: one_euro.smooth(x, HOW, state))
  whole, _ = run(signal, one_euro.start((2, 3)))
  first, state = run(signal[:20], one_euro.start((2, 3)))
  second, _ = run(signal[20:], state)
  np.testing.assert_allclose(jnp.concatenate([first, second]), whole, atol=1e-6)
