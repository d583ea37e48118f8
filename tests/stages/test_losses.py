"""A stage's losses alone, as in a notebook, and the weights that they use."""

import json

import jax
import jax.numpy as jnp
import pytest

from speak_jax.stages import base, irfd, speak, syncnet
from tests.stages import small
from tests.training import toy

NO_MAPS = dict(model__maps=(), model__flow=False, model__landmarks=False)


def shapes_of(losses, method, batch):
  """What a method of a stage's losses gives; nothing is run."""
  params, collections = jax.eval_shape(lambda: losses.init(0, {}))
  step = jax.ShapeDtypeStruct((), jnp.int32)
  key = jax.eval_shape(lambda: jax.random.key(0))
  return jax.eval_shape(
    getattr(losses, method), params, collections, batch, step, key
  )


@pytest.mark.parametrize("changes", [{}, NO_MAPS])
def test_irfd_loss_names_the_terms_that_have_a_weight(changes):
  losses = irfd.IrfdLosses.of(small.config(**changes))
  batch = irfd.make(losses.config).batch
  out = shapes_of(losses, "generator_loss", batch)
  used = {term for term, weight in losses.weights.items() if weight}
  assert used == set(out.metrics) & set(losses.weights)
  assert out.loss.shape == () and set(out.collections) == {"encoders"}
  assert ("flow" in used) == (not changes)


def test_speak_and_syncnet_losses_alone():
  config = small.config(speak__weights__gan=0.1)
  losses, batch = speak.SpeakLosses.of(config), speak.make(config).batch
  assert shapes_of(losses, "discriminator_loss", batch).loss.shape == ()
  assert set(shapes_of(losses, "r1_loss", batch).metrics) == {"r1"}
  contrast, batch = (
    syncnet.SyncNetLosses.of(config),
    syncnet.make(config).batch,
  )
  assert "two_way" in shapes_of(contrast, "contrast", batch).metrics


@pytest.mark.parametrize("module", [irfd, speak])
def test_weights_that_count_as_nothing_are_reported(module):
  stage = module.make(small.config(**NO_MAPS))
  assert stage.weights["flow"] == stage.weights["expression"] == 0
  assert stage.weights["pixel"] == 1
  first, *others = stage.notes
  assert first.startswith("loss weights: ")
  assert " pixel 1," in first and "flow" not in first
  assert (
    "flow is off: the generator warps no identity maps; its weight 2 counts"
    " as 0"
  ) in others
  assert "is off" not in "\n".join(module.make(small.config()).notes)


def test_a_term_that_nobody_asked_for_is_not_reported():
  used, notes = base.resolve_weights({"a": 1.0, "b": 0.0}, {"b": "why"})
  assert used == {"a": 1.0, "b": 0.0}
  assert notes == ("loss weights: a 1",)


def test_a_checkpoint_tells_the_weights(tmp_path):
  run = toy.run(tmp_path, 1)
  stage = run.stage._replace(weights={"pixel": 1.0, "flow": 0.0})
  meta = run._replace(stage=stage).origin()
  assert json.loads(meta["loss_weights"]) == {"pixel": 1.0, "flow": 0.0}
