"""The motion stage: what is heard and felt adds up to how points move."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax import spec
from speak_jax.losses import motion as losses_of
from speak_jax.models.motion import MotionNet, spectra_of
from speak_jax.nn import hearing
from speak_jax.stages import motion
from tests import jitted
from tests.stages import small

QUIET = hearing.Changes(0.0, 0.0, 0.0, 0.0, (-1.0, 0.0))


@pytest.fixture(scope="module")
def trained():
  """(losses, params, collections, batch) of a small stage."""
  config = small.config()
  stage = motion.make(config)
  losses = motion.MotionLosses.of(config)
  return losses, *small.parameters(stage), small.batch(stage)


def predict(trained, **change):
  losses, params, collections, batch = trained
  return np.asarray(
    jax.jit(losses.predict)(params, collections, batch._replace(**change))
  )


def test_loss_is_zero_where_points_are_right(trained):
  losses, params, collections, batch = trained
  heard = predict(trained)
  terms = losses._terms(jnp.asarray(heard), jnp.asarray(heard))
  assert all(float(term().max()) == 0 for term in terms.values())
  out = jax.jit(losses.fit)(
    params, collections, batch, jnp.int32(0), jax.random.key(0)
  )
  assert set(out.metrics) == {*losses.weights, "gap_r"}
  assert float(out.loss) > 0


def test_emotion_and_lids_are_added(trained):
  batch = trained[-1]
  happy = np.zeros_like(batch.emotion)
  happy[:, 5] = 1
  none, calm = np.zeros_like(batch.lids), np.zeros_like(batch.emotion)
  both = predict(trained, emotion=happy, lids=batch.lids)
  parts = (
    predict(trained, emotion=happy, lids=none)
    + predict(trained, emotion=calm, lids=batch.lids)
    - predict(trained, emotion=calm, lids=none)
  )
  np.testing.assert_allclose(both, parts, atol=1e-4)
  assert np.abs(both - predict(trained, emotion=calm)).max() > 1e-3


def test_a_frame_hears_the_sound_about_it(trained):
  losses, *_, batch = trained
  context = losses.config.motion.context
  later = batch.audio.copy()
  later[:, -640 * context :] = 0  # beyond the last frame
  a, b = predict(trained), predict(trained, audio=later)
  assert np.abs(a[:, -1] - b[:, -1]).max() > 1e-5
  other = batch.audio.copy()
  other[:, 640 * (context + 2) : 640 * (context + 4)] = 0
  change = np.abs(predict(trained, audio=other) - a).max((0, 2, 3))
  assert change.argmax() in (1, 2, 3, 4)


def test_a_band_that_is_louder_throughout_changes_nothing():
  net = MotionNet(width=8, layers=1)
  spectra = jax.random.normal(jax.random.key(0), (2, 40, 80))
  inputs = jnp.zeros((2, 5)), jnp.zeros((2, 8))
  variables = jitted.compiled(net.init)(jax.random.key(0), spectra, *inputs)
  louder = spectra + jnp.linspace(-1, 1, 80)
  plain, tilted = (
    jitted.compiled(net.apply)(variables, x, *inputs) for x in (spectra, louder)
  )
  np.testing.assert_allclose(plain, tilted, atol=1e-4)


@pytest.mark.parametrize("fps", [25.0, 30.0])
def test_frames_lie_in_the_middle_of_their_sound(fps):
  """A click moves the frame during which it is heard most."""
  net = MotionNet(width=8, layers=0, fps=fps)
  frames, context = 12, 10
  span = round((frames + 2 * context) * spec.SAMPLE_RATE_HZ / fps)
  inputs = jnp.zeros((1, frames)), jnp.zeros((1, 8))
  quiet = jnp.full((1, span), 1e-4)
  variables = jitted.compiled(net.init)(
    jax.random.key(0), spectra_of(quiet), *inputs
  )
  per_frame = spec.SAMPLE_RATE_HZ / fps
  for frame in (2, 7):
    at = round((context + frame + 0.5) * per_frame)
    click = quiet.at[0, at - 160 : at + 160].set(0.5)
    a, b = (
      jitted.compiled(net.apply)(variables, spectra_of(x), *inputs)
      for x in (quiet, click)
    )
    assert abs(int(jnp.abs(a - b).max((0, 2, 3)).argmax()) - frame) <= 1


def test_hearing_changes_what_it_is_told_to():
  spectra = jax.random.normal(jax.random.key(1), (3, 20, 80))

  def change(how):
    changed = jitted.compiled(hearing.change)
    return np.asarray(changed(spectra, jax.random.key(2), how))

  np.testing.assert_allclose(change(QUIET), spectra, atol=1e-5)
  for one in (
    QUIET._replace(stretch=0.1),
    QUIET._replace(tilt=0.2),
    QUIET._replace(colour=0.2),
    QUIET._replace(noise=1.0),
  ):
    changed = change(one)
    assert np.isfinite(changed).all()
    assert np.abs(changed - spectra).max() > 0.02
  tilted = change(QUIET._replace(tilt=0.2)) - np.asarray(spectra)
  # One draw a clip, straight over the bands.
  np.testing.assert_allclose(tilted, tilted[:, :1].repeat(20, 1), atol=1e-5)
  assert np.ptp(np.diff(tilted[:, 0], axis=1), axis=1).max() < 1e-4


def test_losses_by_hand():
  true = jnp.zeros((1, 3, spec.MESH, 3))
  points = true.at[0, :, 14, 1].set(jnp.array([0.0, 0.1, 0.3]))
  mean = 0.4 / (3 * spec.MESH * 3)
  assert losses_of.points_l1(points, true)[0] == pytest.approx(mean, rel=1e-4)
  speed = 0.3 / (2 * spec.MESH * 3)
  assert losses_of.speed_l1(points, true)[0] == pytest.approx(speed, rel=1e-4)
  np.testing.assert_allclose(losses_of.gap(points)[0], [0, 0.1, 0.3])
  rising = jnp.array([[1.0, 2, 3], [1, 1, 1]])
  r = losses_of.correlation(rising, jnp.array([[2.0, 4, 6], [1, 2, 3]]))
  np.testing.assert_allclose(r, [1, 0], atol=1e-5)
