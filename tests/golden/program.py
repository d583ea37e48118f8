"""What the goldens run. All that they import of the packages stands here.

A step: config, stage, state, and the updates of one step as the training loop
makes them. Frames: drawn inputs, the shipped bundle, and the way of the command
`generate` from files to an mp4 and its sheet.
"""

import functools
import wave
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from configs.speak import PRESETS, get_config
from data_pipelines.dataset.pictures import decode_frame
from data_pipelines.faces import tracker
from data_pipelines.faces.align import align_face
from data_pipelines.synthetic.render import Recipe, render_clip
from speak_jax import bundle, spec
from speak_jax.inference.synthesizer import Synthesizer
from speak_jax.stages.registry import STAGES
from speak_jax.training import sharding
from speak_jax.training.state import init_state
from speak_jax.training.step import jit_phases, train_step
from tests import talking
from tests.plain_face import mesh_of, plain_face

IMAGE = 16  # px, side of a picture
MICROBATCH = 64  # of fewer examples none is compared with another
SEED = 0
FRAMES = 8  # of a golden video

# Networks as small as they come, whatever the preset.
_SMALL = {
  "image": IMAGE,
  "face": 12,
  "mouth": 6,
  "encoder": {
    "stages": (1,), "width": 8, "bottleneck": False, "stem": "small"
  },
  "channels": {"8": 8, "16": 6},
  "latent": 8,
  "discriminator": {"width": 4, "scales": 1, "layers": 1},
  "sync": {"width": 4, "out": 8},
  "context": 1,
  "dtype": "float32",
}  # fmt: skip
_HEARS = {
  "front": "mel", "width": 8, "layers": 1, "heads": 2, "out": 8,
  "steps": "frame", "level": "window",
}  # fmt: skip
_OURS = {
  "codes": {"identity": 8, "pose": 4, "emotion": 5, "mouth": 3},
  "maps": (16,),
  "appearance": 8,
  "lips": 8,
}
_PAPER = {"codes": {"identity": 8, "pose": 8, "emotion": 8, "mouth": 0}}
# Ramps that have begun, a penalty in the first step.
_RAMPS = {"gan_ramp": (0, 4), "gan_lead": 1, "r1_every": 2}


class Case(NamedTuple):
  """A golden step: a preset's stage, and what of it is changed."""

  stage: str
  preset: str
  model: Mapping[str, Any]
  settings: Mapping[str, Any]
  weights: Mapping[str, float] = {}


# Together they have every term of every preset. `paper` has the printed form of
# Eq. 1 to 7 and 11, batch statistics, and here a discriminator.
CASES = {
  "syncnet": Case("syncnet", "base256", _OURS, {"windows": 3}),
  "syncnet_paper": Case("syncnet", "paper", _PAPER, {"windows": 3}),
  "irfd": Case("irfd", "base256", _OURS, {}, {"covariance": 0.5}),
  "irfd_paper": Case("irfd", "paper", _PAPER, _RAMPS, {"gan": 0.5}),
  "speak": Case(
    "speak",
    "base256",
    _OURS,
    _RAMPS | {"sync_ramp": (0, 4), "emotion_frames": 1},
    {"covariance": 0.5},
  ),
  "motion": Case(
    "motion",
    "photo",
    {},
    {"frames": 6, "context": 2, "width": 8, "layers": 1},
  ),
}


class Step:
  """The compiled step of a case, and the state that it starts from."""

  def __init__(self, case: Case):
    """Draws the state and the batch; compiles nothing yet."""
    stage = STAGES[case.stage].make(_config(case))
    self._start = init_state(stage, SEED, {})
    mesh = sharding.make_mesh(-1, 1)
    self._sharding = sharding.state_sharding(self._start, mesh, 65_536)
    self._phases = jit_phases(stage, self._sharding, mesh)
    self._batch = sharding.shard_batch(_drawn(stage.batch), mesh)
    key = jax.random.key_data(jax.random.key(SEED))
    key = sharding.shard(key, sharding.replicated(mesh))
    self._key = jax.random.wrap_key_data(key)

  @property
  def groups(self) -> tuple[str, ...]:
    """Names of the groups of parameters."""
    return tuple(self._start.params)

  def run(self, nudge: str = "") -> tuple[dict[str, float], dict[str, Any]]:
    """Makes the step.

    Args:
      nudge: A group; see `nudged`.

    Returns:
      {phase/metric: value}, and the trees of arrays that the step leaves,
      {"params/GROUP", "ema/GROUP", "vars/GROUP" or "opt/OPTIMIZER": tree}.
    """
    state = self._start
    if nudge:
      changed = nudged(state.params[nudge])
      state = state._replace(params={**state.params, nudge: changed})
    state = sharding.shard(state, self._sharding)
    state, told = train_step(self._phases, state, self._batch, self._key, 0)
    told, state = jax.device_get((told, state))
    metrics = {
      f"{phase}/{name}": float(value)
      for phase, scalars in told.items()
      for name, value in scalars.items()
    }
    fields = {
      "params": state.params,
      "ema": state.ema,
      "vars": state.vars,
      "opt": state.opt,
    }
    return metrics, {
      f"{field}/{name}": tree
      for field, trees in fields.items()
      for name, tree in trees.items()
    }


def preset_weights(stage: str) -> set[str]:
  """Terms of a stage's loss that some preset gives a weight."""
  found = set()
  for preset in PRESETS:
    weights = get_config(preset)[stage].get("weights", {})
    found |= {name for name, weight in weights.items() if weight}
  return found


def nudged(tree: Any, name: str = "") -> Any:
  """A tree with every third number of one array times 1.01.

  Not with all of them, or all of a channel: what follows a layer often divides
  by their size.

  Args:
    tree: Arrays.
    name: Of the array, as in "generator/base"; "" = the largest.
  """
  leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
  keys = jax.tree_util.keystr
  names = [keys(path, simple=True, separator="/") for path, _ in leaves]
  arrays = [np.array(x) for _, x in leaves]
  sizes = [x.size for x in arrays]
  which = names.index(name) if name else int(np.argmax(sizes))
  arrays[which].reshape(-1)[::3] *= 1.01
  return jax.tree.unflatten(structure, arrays)


def _config(case: Case) -> ConfigDict:
  config = get_config(case.preset).to_dict()
  config["model"] |= _SMALL | dict(case.model)
  config["model"]["audio"] |= _HEARS
  settings = config[case.stage]
  settings |= case.settings
  settings |= {"batch": 2 * MICROBATCH, "microbatch": MICROBATCH, "steps": 20}
  for optim in settings.keys() & {"optim", "discriminator"}:
    settings[optim]["lr"] = 0.01  # an update is large beside any rounding
  if case.weights:
    settings["weights"] |= case.weights
  return ConfigDict(config).lock()


def _drawn(shapes: Any) -> Any:
  """A batch of these shapes; it hangs on the order of its arrays, no name."""
  rng = np.random.default_rng(SEED)

  def draw(x):
    if x.dtype == bool:
      return rng.random(x.shape) < 0.5
    if x.dtype == np.uint8:
      return rng.integers(0, 256, x.shape, np.uint8)
    if x.dtype == np.int16:
      return rng.integers(-9000, 9000, x.shape, np.int16)
    if x.dtype == np.int32:  # labels, some unknown
      return rng.integers(-1, len(spec.EMOTIONS), x.shape, np.int32)
    noise = rng.normal(size=x.shape)
    if isinstance(shapes, spec.Motion):
      # Offsets in eye distances, less than what is predicted at first.
      scale = 0.01 if x.shape[-2:] == (spec.MESH, 3) else 1.0
      return (scale * noise).astype(np.float32)
    if x.shape[-2:] == (68, 2):
      return (plain_face() * IMAGE + 0.2 * noise).astype(np.float32)
    return (10 * noise).astype(np.float32)

  return jax.tree.map(draw, shapes)


class Drawn(NamedTuple):
  """A rendered clip."""

  frames: np.ndarray  # uint8 (n, size, size, 3)
  landmarks: np.ndarray  # (n, 68, 2), px
  audio: np.ndarray  # int16, 16 kHz


@functools.cache
def _clip(person: int, emotion: str, size: int) -> Drawn:
  record = render_clip(
    Recipe(
      seed=11,
      split="test",
      identity=person,
      emotion=spec.EMOTIONS.index(emotion),
      level=3,
      seconds=1.0,
      size=size,
    )
  )
  frames = np.stack([decode_frame(jpeg) for jpeg in record.frames])
  return Drawn(frames, record.landmarks, record.audio)


def _voice() -> np.ndarray:
  """Sound of FRAMES frames, out of the middle of a clip."""
  per_frame = round(spec.samples_per_frame(spec.FPS))
  return _clip(1, "happy", 64).audio[8 * per_frame :][: FRAMES * per_frame]


@functools.cache
def reference() -> Synthesizer:
  """The shipped bundle, two windows at a time."""
  return Synthesizer.from_bundle(bundle.REFERENCE, windows=2)


def video(nudge: str = "") -> tuple[np.ndarray, dict[str, Any]]:
  """What the shipped bundle makes; identity, motion, emotion of three people.

  Args:
    nudge: One of its weights, by the name that it has there; see `nudged`.

  Returns:
    Frames, uint8 (FRAMES, 64, 64, 3), and the codes that they are made from,
    {name: tree}.
  """
  synthesizer = reference()
  settings, weights = synthesizer.settings, synthesizer.variables
  person, motion, mood = (
    _clip(0, "neutral", settings.image),
    _clip(1, "happy", settings.image),
    _clip(2, "surprised", settings.image),
  )
  faces = np.stack(
    [
      align_face(mood.frames[i], mood.landmarks[i], settings.emotion)
      for i in (4, 12)
    ]
  )
  who = person.frames[0], person.landmarks[0]
  head = motion.frames[:FRAMES]
  try:
    if nudge:
      synthesizer.variables = nudged(weights, nudge)
    codes = {
      "pose": synthesizer.pose(head),
      "emotion": synthesizer.emotion(faces),
    }
    for i, code in enumerate(synthesizer.portrait(*who)):
      codes[f"portrait/{i}"] = code
    return synthesizer.video(*who, head, faces, _voice()), codes
  finally:
    synthesizer.variables = weights


def sheet(folder: Path) -> np.ndarray:
  """The contact sheet of a video that `generate` writes, a quarter as large.

  From files, with the model's neutral face and a still head. Where the face
  lies is told, so that no face detector is needed.

  Args:
    folder: Takes the files.
  """
  drawn = _clip(3, "sad", 128)
  Image.fromarray(drawn.frames[0]).save(folder / "face.png")
  with wave.open(str(folder / "speech.wav"), "wb") as file:
    file.setparams((1, 2, spec.SAMPLE_RATE_HZ, 0, "NONE", ""))
    file.writeframes(_voice().astype("<i2").tobytes())
  talking.generate(
    reference(),
    identity=folder / "face.png",
    audio=folder / "speech.wav",
    output=folder / "out.mp4",
    sheet=folder / "sheet.png",
    tracker=_Told(drawn.landmarks[0]),
    say=lambda line: None,
  )
  with Image.open(folder / "sheet.png") as picture:
    return np.asarray(picture.reduce(4))


class _Told(tracker.Tracker):
  """Sees the same landmarks in every picture."""

  def __init__(self, landmarks: np.ndarray):
    self._landmarks = landmarks

  def track(self, frames, which="largest"):
    return tracker.gather(self.stream(frames, which))

  def votes(self, frame, which="largest", thorough=True):
    return np.array([2.0, 0, 0, 0])

  def stream(self, frames, which="largest"):
    for _ in frames:
      yield tracker.Step(
        self._landmarks,
        mesh_of(self._landmarks),
        np.zeros(3, np.float32),
        True,
        1,
        False,
      )
