"""Writes a bundle's functions as ONNX, for runtimes without JAX.

  python -m speak_jax.tools.to_onnx --model photograph --out FOLDER

One file a function, FOLDER/NAME.onnx, with its weights; inputs and outputs are
those of the bundle's StableHLO, of one example. Each is run by ONNX
Runtime beside JAX, and the largest difference is printed; a file that differs
by more than 1e-3 is an error.

What converts is jax2onnx. It asks for an older orbax than training does, which
nothing here needs, so it goes in without what it depends on:

  pip install --no-deps jax2onnx onnx onnx-ir onnxscript onnxruntime \
    equinox wadler-lindig dm-pix chex netron orbax-export sympy mpmath protobuf
"""

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from speak_jax import bundle as bundles
from speak_jax import spec
from speak_jax.common import command_line, files, outputs, packaged
from speak_jax.common.files import FileError
from speak_jax.inference import lowering, motion_lowering
from speak_jax.nn import precision
from speak_jax.stages.init import networks
from speak_jax.training import run_config

FLAGS = flags.FLAGS
CLOSE = 1e-3  # largest difference between the two, of pixels 1 of 255
CONVERTERS = ("jax2onnx", "onnx", "onnxruntime")


class Case(NamedTuple):
  """A function with its weights, and inputs to try it on."""

  name: str
  function: Callable
  inputs: tuple[Any, ...]


def main(argv: list[str]) -> int:
  """Runs the command; 0 if all functions were written and agree."""
  if len(argv) > 1:
    line = f"{argv[1]}: unexpected argument; say --model and --out"
    return command_line.fail("error", line)
  if lacking := missing():
    line = f"{', '.join(lacking)}: not installed; --help says how"
    return command_line.fail("error", line)
  worst = 0.0
  try:
    outputs.check_folder(FLAGS.out, [FLAGS.model])
    for case in cases(bundles.read(FLAGS.model)):
      path, off = written(case, Path(FLAGS.out))
      print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, {off:.1e} from JAX")
      worst = max(worst, off)
  except FileError as error:
    return command_line.fail("error", str(error))
  if worst > CLOSE:
    line = f"{FLAGS.out}: differs from JAX by {worst:.1e}, more than {CLOSE:g}"
    return command_line.fail("error", line)
  return 0


def missing() -> list[str]:
  """Packages that convert and are not installed."""
  return [x for x in CONVERTERS if importlib.util.find_spec(x) is None]


def cases(content: bundles.Bundle) -> Iterator[Case]:
  """Yields a bundle's functions, made anew by its config; one example each."""
  config = precision.for_inference(
    run_config.from_json(content.config["config"])
  )
  variables = jax.tree.map(
    lambda x: jnp.asarray(x, jnp.float32), content.variables
  )
  rng = np.random.default_rng(0)

  def bytes_of(*shape: int) -> np.ndarray:
    return rng.integers(0, 256, (1, *shape), np.uint8)

  def sound(samples: int) -> np.ndarray:
    return rng.integers(-9_000, 9_000, (1, samples), np.int16)

  def case(name: str, function: Callable, *inputs: Any) -> tuple[Case, Any]:
    def closed(*arrays: Any) -> Any:
      return function(variables, *arrays)

    return Case(name, closed, inputs), jax.jit(closed)(*inputs)

  if content.moves_photographs:
    settings = motion_lowering.settings_of(config)
    yield case(
      "expression",
      motion_lowering.expression_of(config),
      sound(settings.samples),
      rng.random((1, settings.frames), np.float32),
      np.eye(len(spec.EMOTIONS), dtype=np.float32)[[5]],
    )[0]
    return
  settings = lowering.settings_of(config)
  made = lowering.functions_of(networks(config), settings)
  size = settings.image
  landmarks = rng.uniform(0, size, (1, 68, 2)).astype(np.float32)
  one, portrait = case(
    "portrait", made.portrait, bytes_of(size, size, 3), landmarks
  )
  yield one
  one, pose = case("pose", made.pose, bytes_of(size, size, 3))
  yield one
  face = settings.emotion
  one, emotion = case("emotion", made.emotion, bytes_of(face, face, 3))
  yield one
  one, speech = case(
    "speech",
    made.speech,
    sound(settings.samples),
    np.zeros((1, spec.LEVEL), np.float32),
  )
  yield one
  poses = np.repeat(np.asarray(pose)[:, None], settings.frames, 1)
  yield case(
    "frames",
    made.frames,
    portrait,
    poses,
    emotion,
    np.asarray(speech)[:, : settings.frames],
  )[0]


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
  """The largest difference of two arrays; of pixels, 1 is 255 levels.

  One level is none: rounding may fall to either side.
  """
  off = float(np.abs(ours.astype(np.float64) - theirs).max())
  return max(off - 1, 0.0) / 255 if ours.dtype == np.uint8 else off


def written(case: Case, folder: Path) -> tuple[Path, float]:
  """Converts a function and writes it.

  Returns:
    The file, and how far what it gives is from JAX's, as `difference` has it.
  """
  jax2onnx, onnx, onnxruntime = map(importlib.import_module, CONVERTERS)
  leaves, tree = jax.tree.flatten(case.inputs)

  def flat(*arrays: Any) -> Any:
    made = jax.tree.leaves(case.function(*jax.tree.unflatten(tree, arrays)))
    return made[0] if len(made) == 1 else tuple(made)

  shapes = [jax.ShapeDtypeStruct(np.shape(x), x.dtype) for x in leaves]
  model = jax2onnx.to_onnx(flat, shapes, model_name=case.name)
  folder.mkdir(exist_ok=True)
  path = folder / f"{case.name}.onnx"
  with files.replacing(path) as partial:
    onnx.save(model, str(partial))
  session = onnxruntime.InferenceSession(str(path))
  given = zip(session.get_inputs(), leaves, strict=True)
  ours = session.run(None, {x.name: np.asarray(value) for x, value in given})
  theirs = jax.tree.leaves(jax.jit(flat)(*leaves))
  return path, max(map(difference, ours, map(np.asarray, theirs)))


if __name__ == "__main__":
  which = "Bundle, or the name of one that comes along (photograph)."
  flags.DEFINE_string("model", str(packaged.PHOTOGRAPH), which)
  flags.DEFINE_string("out", None, "Folder for the files.", required=True)
  app.run(main, flags_parser=command_line.parser("to_onnx"))
