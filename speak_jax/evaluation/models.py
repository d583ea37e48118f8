"""Opens the models that are evaluated: what speaks, and a run's earlier stages.

A model is a run, a bundle or the weights of another method. What it makes is
its method's business; SPEAK's runs and bundles also have IRFD and a SyncNet.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from data_pipelines.dataset.reader import Records
from speak_jax.evaluation.disentanglement import swaps
from speak_jax.evaluation.eval_clip import MAX_FRAMES
from speak_jax.evaluation.public_networks import PublicNetworks
from speak_jax.evaluation.readers import syncnet_v2
from speak_jax.evaluation.readers.own_syncnet import OwnSyncNet, SyncScorer
from speak_jax.inference.lowering import settings_of
from speak_jax.inference.settings import Settings
from speak_jax.methods import registry
from speak_jax.methods.base import Entry, Method, Restored
from speak_jax.models.syncnet import window_frames
from speak_jax.nn import precision
from speak_jax.nn.pixels import as_audio, as_frames
from speak_jax.stages.init import networks
from speak_jax.stages.registry import earlier, training
from speak_jax.training import weights


class Parts(NamedTuple):
  """What a run has beside the system that speaks; None where it has not."""

  irfd: swaps.Irfd | None
  settings: Settings | None  # of the pictures for IRFD
  sync: OwnSyncNet | None
  mouth: int  # px, side of the mouth patches
  same_session: bool  # whether IRFD's identity pictures are of the session


NO_PARTS = Parts(
  irfd=None, settings=None, sync=None, mouth=0, same_session=False
)


class Model(NamedTuple):
  """What is measured."""

  method: Method
  restored: Restored  # its weights are None while nothing speaks
  parts: Parts


Models = Mapping[str, Model]  # by name


def load(path: Path, frames: int, mode: str = "") -> Model:
  """Opens a run, a bundle or weights, for clips of up to so many frames.

  Args:
    path: Where it is.
    frames: Of the longest clip.
    mode: How its method is to use it; "": as it mostly does.

  Raises:
    ValueError: it is none of a known method, or damaged; one line with the
      path.
  """
  method = registry.find(registry.Place(path, mode))
  restored = method.restore(path, frames)
  parts = _parts(path)
  if restored.weights is None and not (parts.irfd or parts.sync):
    raise ValueError(f"{path}: no stage has a checkpoint yet")
  return Model(method, restored, parts)


def load_all(
  paths: Mapping[str, Path],
  data: Iterable[Records],
  *,
  swap: bool,
  modes: Mapping[str, str] = {},
) -> Models:
  """Opens every model of a plan.

  Args:
    paths: By name.
    data: Clips that they will make.
    swap: Whether each must have IRFD.
    modes: Of those whose methods are not to be used as they mostly are.

  Raises:
    ValueError: one is of no known method, is damaged, or lacks IRFD; one line.
  """
  longest = max(row.frames for records in data for row in records.index)
  frames = min(longest, MAX_FRAMES)
  models = {
    name: load(path, frames, modes.get(name, ""))
    for name, path in paths.items()
  }
  if swap:
    for name, model in models.items():
      if model.parts.irfd is None:
        raise ValueError(f"--swap: {paths[name]} has no stage irfd")
  return models


def speaking(models: Models) -> list[Entry]:
  """Those that speak, as rows of a table."""
  return [
    Entry(name, model.method, model.restored)
    for name, model in models.items()
    if model.restored.weights is not None
  ]


def single_irfd(models: Models) -> Parts | None:
  """Parts of the only model, whose codes are looked at if it has IRFD.

  None where there are several models, or it has none.
  """
  parts = next(iter(models.values())).parts
  return parts if len(models) == 1 and parts.irfd else None


def sync_judge(models: Models) -> str:
  """The model whose own SyncNet judges lip sync; "": none has one."""
  return next((name for name, x in models.items() if x.parts.sync), "")


def sync_scorer(models: Models, public: PublicNetworks) -> SyncScorer | None:
  """The official SyncNet where there is one, else that of `sync_judge`."""
  if public.syncnet:
    fps = next(iter(models.values())).restored.fps
    variables, sizes = public.syncnet.variables, public.syncnet.sizes
    return syncnet_v2.official_syncnet(variables, sizes, fps)
  judge = sync_judge(models)
  return models[judge].parts.sync if judge else None


def own_syncnet(path: Path) -> OwnSyncNet | None:
  """Opens the SyncNet of a run or bundle; None if it has none.

  Raises:
    ValueError: it is neither, or damaged; one line with the path.
  """
  config, stages = weights.load(path, ["syncnet"])
  sync = stages.get("syncnet")
  if sync is None:
    return None
  return _own_syncnet(precision.for_inference(config), sync["sync"])


def _parts(path: Path) -> Parts:
  """Opens what a run's earlier stages have left, or a bundle brings along."""
  if not (path / "config.json").is_file():
    return NO_PARTS
  own = training(registry.name_of(path)).stages
  wanted = [stage for stage in earlier() if stage in own]
  if not wanted:
    return NO_PARTS
  config, stages = weights.load(path, wanted)
  config = precision.for_inference(config)
  parts = NO_PARTS
  if irfd := stages.get("irfd"):
    parts = parts._replace(
      irfd=swaps.compile_irfd(
        networks(config), irfd["encoders"], irfd["decoder"]
      ),
      settings=settings_of(config),
      mouth=config.model.mouth,
      same_session=config.irfd.same_session,
    )
  if sync := stages.get("syncnet"):
    parts = parts._replace(sync=_own_syncnet(config, sync["sync"]))
  return parts


def _own_syncnet(config: ConfigDict, variables: Any) -> OwnSyncNet:
  """SyncNet's two towers on uint8 and int16."""
  nets, fps = networks(config), float(config.data.fps)

  @jax.jit
  def see(variables, mouth):
    return nets.sync.apply(variables, as_frames(mouth), method="see")

  @jax.jit
  def hear(variables, audio):
    return nets.sync.apply(variables, as_audio(audio), method="hear")

  return OwnSyncNet(
    lip_tower=lambda mouth: (see(variables, mouth),),
    sound_tower=lambda audio: (hear(variables, audio),),
    frames=window_frames(fps),
    fps=fps,
    mouth=config.model.lips,
    square=config.model.lips_square,
    unit=config.model.sync_unit,
  )
