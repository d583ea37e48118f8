"""The motion stage's network to the pure function that moves a photograph."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import export
from jaxtyping import Array
from ml_collections import ConfigDict

from speak_jax import spec
from speak_jax.inference.functions import PLATFORMS
from speak_jax.inference.motion_model import MotionSettings
from speak_jax.models.motion import spectra_of
from speak_jax.nn.pixels import as_audio
from speak_jax.stages import motion

STRETCH = 50  # frames at once; a few, so that the first come soon


def settings_of(config: ConfigDict) -> MotionSettings:
  """Reads the settings out of a run's config."""
  reach = motion.network(config).reach
  return MotionSettings(STRETCH, reach, float(config.data.fps))


def expression_of(config: ConfigDict) -> Callable:
  """Makes the pure function out of a run's network.

  Returns:
    (variables, audio int16 (b s), lids (b t), emotion (b 8)) -> (b t 468 3).
  """
  net = motion.network(config)

  def expression(variables: Any, audio: Array, lids: Array, emotion: Array):
    spectra = spectra_of(as_audio(audio))
    return net.apply(variables["motion"], spectra, lids, emotion)

  return expression


def serialize(
  expression: Callable, variables: Any, settings: MotionSettings
) -> dict[str, bytes]:
  """Lowers the function to StableHLO, for any batch size and platform.

  Args:
    expression: From `expression_of`.
    variables: Weights; their shapes and types alone are looked at.
    settings: Sizes of its inputs.
  """
  (b,) = export.symbolic_shape("b")
  shape = jax.ShapeDtypeStruct
  weights = jax.tree.map(lambda x: shape(jnp.shape(x), x.dtype), variables)
  lowered = export.export(jax.jit(expression), platforms=PLATFORMS)(
    weights,
    shape((b, settings.samples), jnp.int16),
    shape((b, settings.frames), jnp.float32),
    shape((b, len(spec.EMOTIONS)), jnp.float32),
  )
  return {"expression": bytes(lowered.serialize())}
