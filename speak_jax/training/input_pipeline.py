"""What a run learns from: its data opened, drawn if need be, and batches.

`data_pipelines.sampling` makes the samples; here a config says which.
"""

import functools
import hashlib
import importlib
import inspect
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from data_pipelines.dataset import damage, opening, reader
from data_pipelines.ingest import pool
from data_pipelines.sampling import augment, batched, workers
from data_pipelines.sampling.pairs import robust_mix, weights_of
from data_pipelines.sampling.usable import common_fps
from speak_jax.common.progress import say
from speak_jax.stages.registry import STAGES
from speak_jax.training import distributed

AUTO = -1  # of config.data.workers
MOST_WORKERS = 16  # then, for each device of the process


class DataError(ValueError):
  """Data that cannot be used; one line."""


def open_data(config: ConfigDict, run: Path) -> dict[str, reader.Records]:
  """Both splits of the config's data; synthetic faces are made if need be.

  Raises:
    DataError: one line with the path and the reason.
  """
  path = config.data.path or _prepare_synthetic(config, run)
  cache = int(config.data.cache_gb * (1 << 30))
  try:
    sets = {"train": opening.open_records(path, "train", cache)}
    rate = common_fps(sets["train"])
  except (ValueError, OSError) as error:
    raise DataError(str(error)) from error
  if abs(rate - config.data.fps) > 0.01:
    raise DataError(f"{path}: {rate} frames/s, config.data.fps is not")
  try:
    sets["test"] = opening.open_records(path, "test", cache)
  except ValueError as error:
    _say(f"{error}; samples show training people")
    sets["test"] = sets["train"]
  for name, part in sets.items():
    # Every process tells of what it could not read itself.
    part.damage = damage.Damage(
      _allowed(config, len(part)), lambda line: say(f"train: data: {line}")
    )
    people = len({row.identity for row in part.index})
    frames = sum(row.frames for row in part.index)
    _say(
      f"{name}: {len(part)} clips, {frames} frames, {people} people in {path}"
    )
    if part.out_of_sync:
      _say(f"{name}: without {part.out_of_sync} clips out of sync")
    if moved := sum(map(bool, part.late)):
      _say(f"{name}: the sound of {moved} clips moved")
  return sets


def _allowed(config: ConfigDict, clips: int) -> int:
  """Damaged clips that a split of so many may have; a share is rounded up."""
  limit = config.data.max_bad
  return math.ceil(limit * clips) if limit < 1 else int(limit)


def _prepare_synthetic(config: ConfigDict, run: Path) -> str:
  """Prepares the synthetic faces, or finds them prepared; their path."""
  # Here, for they take a second that other starts need not wait.
  from data_pipelines.ingest.run import prepare
  from data_pipelines.sources import synthetic
  from data_pipelines.synthetic import render

  options = config.data.synthetic.to_dict()
  workers = options.pop("workers")
  options["clips_per_identity"] = options.pop("clips")
  options |= {"seed": config.seed, "fps": config.data.fps}
  meshes = options.pop("meshes")
  path = run / "data"
  if not (path / "dataset_info.json").exists():
    count = (options["identities"] + options["held_out"]) * options[
      "clips_per_identity"
    ]
    _say(
      f"config.data.path is empty: drawing {count} clips of synthetic"
      f" faces once, into {path}"
    )
  try:
    if jax.process_index() == 0:
      prepare(
        synthetic.tasks(render.recipes(**options), meshes=meshes),
        path,
        workers=workers,
        # Sets of before, which have no meshes, do not say so.
        meta={
          "source": "synthetic",
          **options,
          **({"meshes": True} if meshes else {}),
        },
      )
  except ValueError as error:
    raise DataError(str(error)) from error
  distributed.barrier("data: synthetic faces are there")
  return str(path)


def batches(
  config: ConfigDict,
  name: str,
  clips: reader.Records,
  seed: int,
  training: bool,
  part: tuple[int, int],
  devices: int,
) -> Any:
  """A stage's batches for this process.

  Args:
    config: The run's.
    name: Of the stage.
    clips: One split.
    seed: Of the order and of every draw.
    training: Pictures are treated as config.data.augment says, and batches made
      in processes or threads before they are asked for; False: neither.
    part: Which part of each batch this process reads, and of how many.
    devices: Of this process, which it feeds.

  Raises:
    DataError: the clips cannot serve the stage.
  """
  try:
    make = _sampler(config, name, clips, seed, training)
    dataset = make(clips)
  except ValueError as error:
    raise DataError(f"{clips.name}: {error}") from error
  mine = config[name].batch // part[1], *part
  apart = _workers(config, devices) if training and clips.source else 0
  if apart:
    return workers.Workers(
      workers.Recipe(
        functools.partial(opening.open_records, *clips.source),
        make,
        int(config.data.cache_gb * (1 << 30)),
        *mine,
      ),
      apart,
      clips.damage,
    )
  return batched.batched(dataset, *mine, config.data.threads if training else 0)


class Landmarks(Sequence[np.ndarray]):
  """Landmarks (t, 68, 2) of each clip of a split, in units of its crop.

  A clip that is damaged has none, and counts as such.
  """

  def __init__(self, clips: reader.Records):
    """Reads a clip when it is asked for."""
    self._clips = clips

  def __len__(self) -> int:
    """Returns the number of clips."""
    return len(self._clips)

  def __getitem__(self, i: Any) -> np.ndarray:
    """Landmarks of clip i.

    Raises:
      TooManyDamagedError: one more than are allowed cannot be read.
    """
    if not 0 <= i < len(self):
      raise IndexError(i)
    try:
      return self._clips.landmarks(i, slice(None), 1)
    except damage.DamagedError as error:
      self._clips.damage.add(error)
      return np.zeros((0, 68, 2), np.float32)


def _sampler(
  config: ConfigDict,
  name: str,
  clips: reader.Records,
  seed: int,
  training: bool,
) -> Callable[[reader.Records], Any]:
  """What makes a stage's examples of clips; see `batches`.

  Raises:
    ValueError: config.irfd.pairs cannot be had.
  """
  sampler = STAGES[name].sampler(config)
  make = sampler_named(sampler.name)
  options: dict[str, Any] = {
    **sampler.options,
    "share": config.data.mix.to_dict(),
    "seed": seed,
  }
  if "mix" in options:
    options["mix"] = _mix(options["mix"], clips)
  if "treatment" in inspect.signature(make).parameters:
    options["treatment"] = (
      augment.Treatment(**config.data.augment) if training else augment.PLAIN
    )
  return functools.partial(make, **options)


def sampler_named(name: str) -> Callable[..., Any]:
  """`sample_NAME` of data_pipelines/sampling/NAME.py.

  One that has an argument `treatment` is told how pictures are augmented.
  """
  module = importlib.import_module(f"data_pipelines.sampling.{name}")
  return getattr(module, f"sample_{name}")


def _workers(config: ConfigDict, devices: int) -> int:
  """Processes that make batches, for this one and its devices."""
  count = config.data.workers
  if count != AUTO:
    return count
  # Two cores are for the training process: on fewer than four, threads of its
  # own serve better.
  cores = pool.cores()
  return min(cores - 2, MOST_WORKERS * devices) if cores >= 4 else 0


def _mix(text: str, clips: reader.Records) -> dict[str, float]:
  """Weights of the pair kinds: "auto", "self", or "cross_clip:1,twins:2"."""
  if text == "auto":
    return robust_mix(clips)
  try:
    return dict(weights_of(text))
  except ValueError as error:
    raise ValueError(f"config.irfd.pairs {text!r}: {error}") from None


def fingerprint(clips: reader.Records, share: dict[str, float]) -> str:
  """SHA-256 of what data sets hold, in order, wherever they lie.

  And of their shares: with others a position means another sample.
  """
  sha256 = hashlib.sha256()
  for row in clips.index:
    facts = row._replace(clip=Path(row.clip).name, identity="")
    # Up to `row`, as it was before there were takes.
    sha256.update(json.dumps(facts[: facts._fields.index("take")]).encode())
  if any(clips.late):
    sha256.update(json.dumps(clips.late).encode())
  if share:
    sha256.update(json.dumps(share, sort_keys=True).encode())
  return sha256.hexdigest()


def _say(text: str) -> None:
  distributed.say_once(f"train: data: {text}")
