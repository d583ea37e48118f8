"""TH-PAD's stages: who learns from what, and what the prior draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import thpad as presets
from speak_jax.nn.diffusion import Given
from speak_jax.stages import thpad_lip, thpad_prior, thpad_space
from speak_jax.stages.thpad_lip import LIP, SENSES
from speak_jax.stages.thpad_prior import MOVES
from speak_jax.stages.thpad_space import DRAWS, SPACE
from tests.stages import small

SMALL = {
  "thpad_lip.batch": 2,
  "thpad_lip.microbatch": 2,
  "thpad_lip.frames": 3,
  "thpad_space.batch": 2,
  "thpad_space.microbatch": 2,
  "thpad_space.frames": 2,
  "thpad_prior.batch": 2,
  "thpad_prior.microbatch": 2,
  "thpad_prior.count": 3,
  "thpad_prior.told_share": 0.5,
}


def _config(**changes):
  words = ",".join(f"{k}={v}" for k, v in {**SMALL, **changes}.items())
  return presets.get_config(f"demo,{words}")


def _started(make, config):
  """(parameters, collections, batch) of a stage."""
  stage = make(config)
  params, collections = small.parameters(stage)
  batch = small.batch(stage)
  scale = config.model.image / small.IMAGE
  batch = batch._replace(
    landmarks=scale * batch.landmarks,
    other_landmarks=scale * batch.other_landmarks,
  )
  return jax.tree.map(jnp.asarray, (params, collections, batch))


def _slopes(loss, params, collections, batch, seed=0):
  """{group: {module: size of its gradient}}, and what the loss returns."""

  def total(params):
    out = loss(params, collections, batch, jnp.int32(0), jax.random.key(seed))
    return out.loss, out

  slopes, out = jax.jit(jax.grad(total, has_aux=True))(params)
  sizes = {
    group: {
      name: sum(float(np.abs(x).sum()) for x in jax.tree.leaves(tree))
      for name, tree in modules.items()
    }
    for group, modules in slopes.items()
  }
  return sizes, out


def _contrast(sound, lips):
  """L_cl among the codes of each group, less their mean: (g n d), float64."""
  sound, lips = (
    x / np.linalg.norm(x, axis=-1, keepdims=True)
    for x in (
      np.float64(x) - np.float64(x).mean(1, keepdims=True)
      for x in (sound, lips)
    )
  )
  logits = np.einsum("gid,gjd->gij", sound, lips) / 0.07
  own = np.einsum("gii->gi", logits)
  there, back = (np.log(np.exp(logits).sum(i)) for i in (1, 2))
  return (there + back - 2 * own).mean() / 2


def test_the_first_stage_learns_to_match():
  config = _config()
  losses = thpad_lip.LipLosses.of(config)
  params, collections, batch = _started(thpad_lip.make, config)
  moved, out = _slopes(losses.contrast, params, collections, batch)
  assert set(moved) == {SENSES} and all(moved[SENSES].values())
  # One of six frames of two clips, one of three of a clip.
  sensed = jax.jit(
    lambda *x: thpad_lip.sense(config, losses.senses, *x, config[LIP], True)[0]
  )(params, collections, batch)
  sound, lips = sensed.sound, sensed.lips
  np.testing.assert_allclose(
    out.metrics["lip"], _contrast(sound[None], lips[None]), rtol=1e-3
  )
  by_clip = [np.reshape(x, (2, 3, -1)) for x in (sound, lips)]
  np.testing.assert_allclose(
    out.metrics["moment"], _contrast(*by_clip), rtol=1e-3
  )
  assert 0 <= float(out.metrics["found"]) <= 1
  old, new = collections[SENSES], out.collections[SENSES]
  assert jax.tree.structure(dict(old)) == jax.tree.structure(new)
  assert any(
    (np.asarray(a) != np.asarray(b)).any()
    for a, b in zip(jax.tree.leaves(old), jax.tree.leaves(new), strict=True)
  )
  stage = thpad_lip.make(config)
  assert stage.batch.frames.shape[1] == 2 * 3 + 1


@pytest.fixture(scope="module")
def space():
  config = _config()
  losses = thpad_space.SpaceLosses.of(config)
  return losses, *_started(thpad_space.make, config)


def test_the_second_stage_trains_all_that_draws(space):
  losses, *rest = space
  moved, out = _slopes(losses.generator_loss, *rest)
  assert set(moved) == {SENSES, DRAWS}
  still = [name for x in moved.values() for name, size in x.items() if not size]
  assert not still
  assert set(out.collections) == {SENSES}
  weights = {**losses.weights}
  total = sum(
    weights[k] * float(v) for k, v in out.metrics.items() if k in weights
  )
  assert float(out.loss) == pytest.approx(total, rel=1e-4)
  assert "gan" not in out.metrics and weights["gan"] == 0
  # Four frames say nothing of what two codes have in common.
  assert weights["covariance"] == 0
  assert any("4 frames are compared" in x for x in losses.notes)


def test_what_keeps_lips_out_moves_the_visual_side_alone(space):
  losses, params, collections, batch = space

  def total(params):
    made, _ = losses.make(params, collections, batch, True)
    terms = losses._space_terms(made)
    return terms["orthogonal"]().mean() + terms["covariance"]()

  slopes = jax.jit(jax.grad(total))(params)
  moved = {
    name: any(np.asarray(x).any() for x in jax.tree.leaves(tree))
    for modules in slopes.values()
    for name, tree in modules.items()
  }
  assert {name for name, x in moved.items() if x} == {
    "see_net", "other_head", "motion_head"
  }  # fmt: skip


def test_a_discriminator_joins_where_it_is_weighed():
  config = _config(**{"thpad_space.weights.gan": 1.0})
  stage = thpad_space.make(config)
  assert [x.name for x in stage.phases] == ["disc", "disc_r1", "gen"]
  assert stage.optims["disc"].trains == ("discriminator",)
  assert stage.optims["gen"].trains == (SENSES, DRAWS)
  with pytest.raises(ValueError, match=r"features needs weights\.gan"):
    thpad_space.make(_config(**{"thpad_space.weights.features": 1.0}))


@pytest.fixture(scope="module")
def prior():
  config = _config()
  losses = thpad_prior.PriorLosses.of(config)
  return losses, *_started(thpad_prior.make, config)


def test_the_third_stage_trains_the_prior_alone(prior):
  losses, *rest = prior
  # Of whose draws one example hears its sound, and one has frames given.
  moved, out = _slopes(losses.fit, *rest, seed=4)
  assert not any(moved[SENSES].values()) and not any(moved[DRAWS].values())
  assert all(moved[MOVES].values())
  assert set(out.metrics) == {"clean", "velocity", "std/motion"}
  # The statistics are of what the encoders have made of the batch.
  assert set(out.collections) == {MOVES}
  white = out.collections[MOVES]["white"]
  assert float(white["count"]) == pytest.approx(1.995)
  assert np.asarray(white["sum"]).any()
  stage = thpad_prior.make(losses.config)
  assert stage.optims["fit"].trains == (MOVES,)
  assert stage.pretrained_from == {SENSES: SPACE, DRAWS: SPACE}


def test_windows_go_on_from_what_is_given(prior):
  losses, params, collections, _ = prior
  draw = jax.jit(losses.draw)
  shape = 2, losses.settings.frames, losses.width
  rng = np.random.default_rng(0)
  codes, noise, others = jnp.asarray(rng.normal(size=(3, *shape)), "float32")
  sound = jnp.asarray(rng.normal(size=(*shape[:2], 16)), "float32")
  known = jnp.arange(shape[1]) < jnp.array([[5], [0]])
  args = params, collections, sound, Given(codes, known)
  drawn = draw(*args, noise)
  np.testing.assert_allclose(drawn[0, :5], codes[0, :5], atol=1e-4)
  assert (np.abs(drawn - codes)[~np.asarray(known)] > 1e-4).any(-1).all()
  np.testing.assert_array_equal(drawn, draw(*args, noise))
  away = np.abs(drawn - draw(*args, others)).max(-1)
  assert (away[0, 5:] > 1e-4).all() and (away[1] > 1e-4).all()


def test_guidance_of_1_asks_with_the_sound_alone(prior):
  losses, params, collections, _ = prior
  shape = 1, losses.settings.frames, losses.width
  rng = np.random.default_rng(0)
  noise = jnp.asarray(rng.normal(size=shape), "float32")
  sound = jnp.asarray(rng.normal(size=(*shape[:2], 16)), "float32")
  unknown = Given(jnp.zeros(shape), jnp.zeros(shape[:2], bool))
  plain, deaf = (
    jax.jit(
      thpad_prior.PriorLosses.of(_config(**{"thpad_prior.guidance": x})).draw
    )(params, collections, sound, unknown, noise)
    for x in (1.0, 0.0)
  )
  assert (np.abs(plain - deaf) > 1e-5).any()
  silent = jax.jit(
    thpad_prior.PriorLosses.of(_config(**{"thpad_prior.guidance": 0.0})).draw
  )(params, collections, 0 * sound, unknown, noise)
  np.testing.assert_allclose(deaf, silent, atol=1e-5)


def test_windows_that_do_not_fit_the_spectrum_are_refused():
  with pytest.raises(ValueError, match="no multiple of 5"):
    thpad_prior.make(_config(**{"thpad_prior.given": 4}))
  with pytest.raises(ValueError, match="11 of 10 steps"):
    thpad_prior.make(
      _config(**{"thpad_prior.noise_steps": 10, "thpad_prior.count": 11})
    )


def test_nothing_is_released():
  """So that the preset of that name traces as `base` does."""
  one, other = (presets.get_config(x).to_dict() for x in ("base", "released"))
  assert one == {**other, "preset": "base"}


def test_within_a_clip_nothing_but_the_moment_counts():
  """Codes that only say which clip it is are at chance there."""
  clip = jnp.eye(4)[jnp.repeat(jnp.arange(2), 3)]
  sensed = thpad_lip.Sensed(clip, clip, clip)
  settings = _config()[LIP]
  terms = thpad_lip.contrast_terms(sensed, settings)
  assert float(terms["moment"]().mean()) == pytest.approx(np.log(3), rel=1e-4)
  assert float(terms["lip"]().mean()) == pytest.approx(np.log(3), rel=1e-3)


def test_what_all_codes_have_in_common_does_not_count():
  rng = np.random.default_rng(0)
  codes = jnp.asarray(rng.normal(size=(6, 4)), "float32")
  same = jnp.array([9.0, 0, 0, -9.0])
  one, other = (
    thpad_lip.contrast_terms(thpad_lip.Sensed(x, x, x), _config()[LIP])
    for x in (codes, codes + same)
  )
  for name in one:
    np.testing.assert_allclose(one[name](), other[name](), rtol=1e-3, atol=1e-5)
