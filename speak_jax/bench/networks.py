"""The forward pass of every network of a preset."""

import functools
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from speak_jax import spec
from speak_jax.bench.compiling import compiled
from speak_jax.bench.figure import Figure
from speak_jax.bench.inputs import NOISE
from speak_jax.bench.plan import Plan
from speak_jax.configs import speak
from speak_jax.inference import motion_lowering
from speak_jax.inference.lowering import functions_of, settings_of
from speak_jax.models.irfd import Codes, IdentityFeatures
from speak_jax.nn import precision
from speak_jax.stages import batch_shapes
from speak_jax.stages.init import networks
from speak_jax.stages.registry import STAGES
from speak_jax.training.state import init_state

MANY = 8  # examples of a batch, beside one


class Forward(NamedTuple):
  """A network's forward pass: a pure function, and its inputs' shapes."""

  name: str
  function: Callable  # (variables, *inputs)
  inputs: Callable[[int], tuple[Any, ...]]  # of a number of examples


def figures(plan: Plan) -> Iterator[Figure]:
  """Of the preset that the plan names."""
  yield from of_config(speak.get_config(plan.preset), plan)


def of_config(config: ConfigDict, plan: Plan) -> Iterator[Figure]:
  """Fresh weights; compiled for one example cold and warm, then called."""
  config = precision.for_inference(config)
  variables = fresh(config)
  for one in forwards(config, variables):
    trace = jax.jit(one.function).trace
    inputs = jax.device_put(drawn(one.inputs(1)))
    # Weights are an argument: as constants they would be folded.
    made = compiled(functools.partial(trace, variables, *inputs))
    yield Figure(f"{one.name}, compile cold", "s", (made.cold,))
    yield Figure(f"{one.name}, compile warm", "s", (made.warm,))
    seconds = called(made.program, plan.calls, variables, *inputs)
    yield Figure(f"{one.name}, 1 example", "ms", (1000 * seconds,))
    inputs = jax.device_put(drawn(one.inputs(MANY)))
    many = trace(variables, *inputs).lower().compile()
    rate = MANY / called(many, plan.calls, variables, *inputs)
    yield Figure(f"{one.name}, {MANY} examples", "examples/s", (rate,))


def fresh(config: ConfigDict) -> dict[str, Any]:
  """Weights of every group that the preset's stages have."""
  variables = {}
  for name in config.stages:
    state = init_state(STAGES[name].make(config), 0, {})
    for group, params in state.params.items():
      variables[group] = {"params": params, **state.vars.get(group, {})}
  return variables


def forwards(
  config: ConfigDict, variables: dict[str, Any]
) -> Iterator[Forward]:
  """Yields those whose weights there are."""
  nets, settings = networks(config), settings_of(config)
  size, face, codes = settings.image, settings.emotion, config.model.codes
  shape, u8 = jax.ShapeDtypeStruct, batch_shapes.uint8
  float32 = batch_shapes.float32

  def picture(b: int) -> Any:
    return float32(b, size, size, 3)

  def of_outputs(function: Callable, inputs: Callable, b: int) -> Any:
    return jax.eval_shape(function, variables, *inputs(b))

  if "encoders" in variables and "speak" in variables:
    made = functions_of(nets, settings)
    portrait = Forward(
      "identity encoder",
      made.portrait,
      lambda b: (u8(b, size, size, 3), float32(b, 68, 2)),
    )
    speech = Forward(
      f"speech encoder, {settings.heard} frames",
      made.speech,
      lambda b: (
        shape((b, settings.samples), jnp.int16),
        float32(b, spec.LEVEL),
      ),
    )
    yield portrait
    yield Forward("pose encoder", made.pose, lambda b: (u8(b, size, size, 3),))
    yield Forward(
      "emotion encoder", made.emotion, lambda b: (u8(b, face, face, 3),)
    )
    yield speech
    yield Forward(
      f"generator, {settings.frames} frames",
      made.frames,
      lambda b: (
        of_outputs(portrait.function, portrait.inputs, b),
        float32(b, settings.frames, codes.pose),
        float32(b, codes.emotion),
        float32(
          b,
          settings.frames,
          of_outputs(speech.function, speech.inputs, b).shape[-1],
        ),
      ),
    )
    if "decoder" in variables:
      yield Forward(
        "decoder of IRFD",
        lambda variables, portrait, pose, emotion, mouth: nets.decoder.apply(
          variables["decoder"],
          IdentityFeatures(*portrait),
          Codes(pose, emotion, mouth),
        ),
        lambda b: (
          of_outputs(portrait.function, portrait.inputs, b),
          float32(b, codes.pose),
          float32(b, codes.emotion),
          float32(b, codes.mouth),
        ),
      )
  if "sync" in variables:
    window = batch_shapes.window_pictures(config)
    yield Forward(
      "SyncNet",
      lambda variables, *inputs: nets.sync.apply(variables["sync"], *inputs),
      lambda b: (
        float32(b, *window),
        float32(b, batch_shapes.window_samples()),
      ),
    )
  if "discriminator" in variables and variables["discriminator"]["params"]:
    yield Forward(
      "discriminator",
      lambda variables, *inputs: nets.discriminator.apply(
        variables["discriminator"], *inputs
      ),
      lambda b: (picture(b), picture(b)),
    )
  if "motion" in variables:
    heard = motion_lowering.settings_of(config)
    yield Forward(
      f"motion of a photograph, {heard.frames} frames",
      motion_lowering.expression_of(config),
      lambda b: (
        shape((b, heard.samples), jnp.int16),
        float32(b, heard.frames),
        float32(b, len(spec.EMOTIONS)),
      ),
    )


def drawn(shapes: Any) -> Any:
  """Random arrays: pictures, sound, points of a face of the picture's size."""
  rng = np.random.default_rng(0)

  def draw(x: Any) -> np.ndarray:
    if x.dtype == bool:
      return np.ones(x.shape, bool)
    if x.dtype == np.uint8:
      return rng.integers(0, 256, x.shape, np.uint8)
    if x.dtype == np.int16:
      return rng.integers(-NOISE, NOISE, x.shape, np.int16)
    if x.dtype == np.int32:
      return np.arange(x.size, dtype=np.int32).reshape(x.shape)
    return rng.normal(0, 1, x.shape).astype(x.dtype)

  return jax.tree.map(draw, shapes)


def called(program: Callable, times: int, *args: Any) -> float:
  """Median seconds of a call, after one that is not counted."""
  jax.block_until_ready(program(*args))
  taken = []
  for _ in range(times):
    begin = time.perf_counter()
    jax.block_until_ready(program(*args))
    taken.append(time.perf_counter() - begin)
  return float(np.median(taken))
