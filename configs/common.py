"""What the config files share: their sections, and how they are asked for.

`speak.py:small64,seed=3` is parsed by `parse_arg` and `override`; `run`,
`machines`, `data` and `train` are the sections that every method's config has.
"""

import ast
import copy
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict


class Renamed(NamedTuple):
  """What a key is called now, and what makes its old values new ones."""

  key: str
  value: Callable[[Any], Any] = lambda old: old
  switch: bool = False  # whether its old value was True or False


# Old names of keys, understood until the version after the next: in the config
# of a run or bundle, in --config FILE:preset,key=value, and as --config.key.
RENAMED: Mapping[str, Renamed] = {
  "irfd.smoothing": Renamed("irfd.label_smoothing"),
  "irfd.printed_triplet": Renamed(
    "irfd.triplet",
    lambda printed: "printed" if printed else "crossed",
    switch=True,
  ),
  "irfd.hide_maps": Renamed("irfd.drop_maps"),
  "mesh.large": Renamed("mesh.min_shard_size"),
  "model.pose_places": Renamed("model.pose_spatial_channels"),
}
# Switches that are gone, and what they have to be.
SETTLED: Mapping[str, Any] = {
  "model.equalized": False,
  "model.mask_mouth": False,
}


def current(key: str, value: Any) -> tuple[str, Any] | None:
  """Translates a key and its value into those of today.

  Returns:
    Both; None for a switch that is gone and has the value that is left.

  Raises:
    ValueError: a switch that is gone has another value.
  """
  if key in SETTLED:
    if value != SETTLED[key]:
      raise ValueError(
        f"config.{key} = {value!r}: that is no longer supported; leave it out"
      )
    return None
  new = RENAMED.get(key)
  return (key, value) if new is None else (new.key, new.value(value))


def current_flags(words: Sequence[str]) -> list[str]:
  """Translates --config.KEY=VALUE with an old key among a command's words.

  Args:
    words: As the shell gives them. Switches may stand alone, as in
      --config.KEY and --noconfig.KEY; other values may be the next word.

  Raises:
    ValueError: see `current`.
  """
  translated = []
  for word in words:
    match = re.fullmatch(r"--?(no)?config\.([\w.]+)(?:=(.*))?", word, re.S)
    if not match or (match[2] not in RENAMED and match[2] not in SETTLED):
      translated.append(word)
      continue
    no, key, text = match.groups()
    if text is None and not _is_switch(key):
      translated.append(f"--config.{RENAMED[key].key}")  # its value comes next
      continue
    value = text if not _is_switch(key) else _as_bool(text, not no)
    new = current(key, value)
    if new is not None:
      translated.append(f"--config.{new[0]}={new[1]}")
  return translated


def _is_switch(key: str) -> bool:
  return key in SETTLED or RENAMED[key].switch


def _as_bool(text: str | None, otherwise: bool) -> bool:
  return otherwise if text is None else text.lower() in ("true", "1", "yes")


def parse_arg(arg: str, presets: tuple[str, ...]) -> tuple[str, dict]:
  """Splits `preset,key=value,...`; the preset may be left out.

  Args:
    arg: What stands behind the colon of `--config file.py:arg`; "" is fine.
    presets: Known names; the first is the default.

  Returns:
    The preset's name and {dotted key: value}, values as Python literals.

  Raises:
    ValueError: an unknown preset, named together with the known ones.
  """
  outside = r",(?![^{(\[]*[})\]])"  # not the commas of {"a": 1, "b": 2}
  parts = [part.strip() for part in re.split(outside, arg) if part.strip()]
  preset = presets[0]
  if parts and "=" not in parts[0]:
    preset = parts.pop(0)
  if preset not in presets:
    raise ValueError(f"preset {preset!r} is not one of {', '.join(presets)}")
  overrides = {}
  for part in parts:
    key, sign, text = part.partition("=")
    if not sign:
      raise ValueError(f"config argument {part!r} is not key=value")
    try:
      overrides[key] = ast.literal_eval(text)
    except (ValueError, SyntaxError):
      overrides[key] = text  # a bare word is a string
  return preset, overrides


def override(config: ConfigDict, values: dict) -> ConfigDict:
  """Sets dotted keys that exist already, each to a value of its own type."""
  for old, given in values.items():
    new = current(old, given)
    if new is None:
      continue
    dotted, value = new
    *path, last = dotted.split(".")
    node = config
    for name in path:
      if name not in node:
        raise ValueError(f"config has no key {dotted!r} (no {name!r})")
      node = node[name]
    if last not in node:
      known = ", ".join(sorted(node))
      raise ValueError(f"config has no key {dotted!r}; beside it: {known}")
    try:
      node[last] = value
    except TypeError:
      kind = type(node[last]).__name__
      raise ValueError(f"config.{dotted} = {value!r} is no {kind}") from None
  return config


def config(
  arg: str,
  presets: tuple[str, ...],
  recipes: Mapping[str, Mapping[str, Any]],
  sections: Callable[[str], dict[str, Any]],
) -> ConfigDict:
  """The locked config of `arg` = "preset,key=value,...".

  Args:
    arg: What stands behind the colon of `--config file.py:arg`.
    presets: See `parse_arg`.
    recipes: {preset: {dotted key: value}}, where it is not the default.
    sections: Makes all keys of a preset.

  Raises:
    ValueError: an unknown preset, key, or a malformed pair.
  """
  preset, values = parse_arg(arg, presets)
  made = ConfigDict(sections(preset))
  override(made, dict(recipes[preset]))
  override(made, values)
  return made.lock()


def sizes(
  known: Mapping[str, Mapping[str, Any]],
  sized_as: Mapping[str, str],
  preset: str,
) -> dict[str, Any]:
  """A copy of a preset's sizes, or of those of the preset it is sized as.

  Channels are by resolution: JSON has no integer keys, and a run's config is
  read back from JSON.
  """
  made = dict(copy.deepcopy(known[sized_as.get(preset, preset)]))
  made["channels"] = {str(k): v for k, v in made["channels"].items()}
  return made


# People that are drawn and learnt from in seconds, for presets "demo" that show
# that all stages run.
TINY = {
  "train.first_save": 1,
  "data.threads": 0,
  "data.synthetic.identities": 3,
  "data.synthetic.held_out": 2,
  "data.synthetic.clips": 2,
  "data.synthetic.seconds": 1.0,
  "data.synthetic.size": 64,
  "data.synthetic.twins_every": 0,
  "data.synthetic.workers": 0,
}


# --- sections that every method's config has ----------------------------------


def run(method: str, preset: str, stages: tuple[str, ...]) -> dict:
  """What a run is: keys of no section.

  Args:
    method: The name of the method, which is that of its files.
    preset: Whose sizes and weights they are.
    stages: What is trained, in this order, in RUN/<stage>.
  """
  return dict(
    method=method,
    preset=preset,
    commit="",  # of the code; train fills it in
    seed=0,
    stages=stages,
    init_from="",  # another RUN: frozen networks of stages not run here
    finetune_from="",  # RUN or bundle, for every stage to go on from
  )


def machines() -> dict:
  """Sections "mesh" and "cluster": what trains."""
  return dict(
    mesh=dict(
      data=-1,  # devices that share a batch; -1 = all that are left
      model=1,  # devices that share the large arrays
      min_shard_size=65_536,  # elements; smaller arrays go to every device
      cpu_devices=0,  # split the CPU into this many devices; 0 = leave it
    ),
    cluster=dict(  # whole seconds, with several processes
      heartbeat_timeout=30,  # without a sign of life; all end
      shutdown_timeout=30,  # for the others, at the end
      initialization_timeout=300,  # for the others, at the start
    ),
  )


def data() -> dict:
  """Section "data": what a run learns from."""
  return dict(
    # Prepared data sets, comma-separated, each DIR or NAME=DIR; "" =
    # synthetic faces.
    path="",
    mix={},  # {name: share of the samples}; {} = as many as it has clips
    max_bad=0.001,  # damaged clips left out: a share; from 1 on a count
    fps=25.0,  # frames/s of the data and of the model (SPEAK's paper: 30)
    # Processes that read, decode and crop, of each training process; -1 =
    # all its cores but two, 16 a device at most; 0 = threads instead.
    workers=-1,
    threads=2,  # where there are no workers
    cache_gb=1.0,  # of memory, a split: what was read and decoded
    allow_change=False,  # True: a checkpoint goes on with other data
    # The pictures that E_p and E_e see in training; targets, evaluation and
    # generation have plain ones. IRFD's pairs "self" are plain too.
    augment=dict(
      pose=True,  # E_p: the mouth of another moment, other colours
      stretch=0.08,  # E_p, E_e: most change of width against height, ours
      emotion=True,  # E_e: other colours, turned, zoomed, mirrored
      emotion_clip=0.5,  # share of E_e's from another clip of the emotion
    ),
    synthetic=dict(
      identities=300,  # to train on
      held_out=20,  # other people, to evaluate on
      clips=5,  # a person, each with another emotion
      seconds=2.0,  # a clip
      size=256,  # px, side of the stored crops
      framing="tight",  # "tight", "medium", "wide": how much face, motion
      twins_every=5,  # frames between exact swap targets; 0 = none
      meshes=False,  # FaceMesh's points of every frame, in the records
      workers=2,  # processes; 0: none but this one
    ),
  )


def train() -> dict:
  """Section "train": the loop."""
  return dict(
    # Of float16 alone: what losses are multiplied by at first, and good
    # updates until it doubles; halved where gradients overflow.
    loss_scale=dict(initial=2.0**15, growth=2_000),
    compilation_cache=True,  # programs in RUN/compiled, for restarts
    remat=False,  # recompute blocks backwards: less memory, more time
    log_every=50,  # steps
    save_every=5_000,  # steps
    save_seconds=600.0,  # s, whichever comes first
    first_save=20,  # step of the first checkpoint: trouble shows early
    first_seconds=60.0,  # s after a start's first step, whichever comes first
    keep=2,  # checkpoints
    sheet_every=2_000,  # steps between sample sheets; 0 = at the end only
    video_every=20_000,  # steps between sample videos; 0 = at the end only
    video_seconds=2.0,
    bad_steps=3,  # non-finite steps in a row that lead back to a checkpoint
    rollbacks=3,  # of these within 1,000 steps; one more ends the run
    collapse=0.02,  # a code's std over a batch below this ends the run
    collapse_after=1_000,  # steps
    heartbeat=10.0,  # s between signs of life
    # Seconds from which work hangs, and the process ends to be restarted.
    limit_compile=1_800.0,  # and start-up and evaluation
    limit_data=120.0,
    limit_step=60.0,  # beyond ten times the usual step
    limit_save=900.0,
  )


def optim(lr: float) -> dict:
  """Adam of a network whose weights are averaged, with its peak rate."""
  return dict(
    **adam(lr),
    ema=0.999,  # of the weights; its warm-up is min(ema, (1+t)/(10+t))
  )


def adam(lr: float) -> dict:
  """Adam of a network whose weights are not averaged, with its peak rate."""
  return dict(
    lr=lr,  # peak; SPEAK's paper has Adam at 1e-4
    warmup=500,  # steps of linear rise, ours
    floor=0.1,  # last learning rate / peak, cosine between; 1 = constant
    b1=0.5,  # ours, as GANs are trained: less momentum against a moving D
    b2=0.99,
    clip=1.0,  # of the gradient's global norm; 0 = off
  )
