"""Opens what is evaluated: what speaks, and what a run has beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

from speak_jax.evaluation.disentanglement import swaps
from speak_jax.evaluation.methods import Entry, Method, Restored, registry
from speak_jax.evaluation.readers import reading
from speak_jax.inference import synthesis
from speak_jax.nn import precision
from speak_jax.stages import base
from speak_jax.stages.syncnet import frames_of
from speak_jax.training import trained, weights


class Parts(NamedTuple):
  """What a run has beside the system that speaks; None where it has not."""

  irfd: swaps.Irfd | None
  settings: synthesis.Settings | None  # of the pictures for IRFD
  sync: reading.OwnSync | None
  mouth: int  # px, side of the mouth patches
  same_session: bool  # whether IRFD's identity pictures are of the session


NO_PARTS = Parts(
  irfd=None, settings=None, sync=None, mouth=0, same_session=False
)


class System(NamedTuple):
  """What is measured."""

  method: Method
  restored: Restored  # its weights are None while nothing speaks
  parts: Parts


def load(path: Path, frames: int) -> System:
  """Opens a run or a bundle, to make clips of up to so many frames.

  Raises:
    ValueError: it is neither, or damaged; one line with the path.
  """
  method = registry.find(path)
  restored = method.restore(path, frames)
  parts = _parts(path)
  if restored.weights is None and not (parts.irfd or parts.sync):
    raise ValueError(f"{path}: no stage has a checkpoint yet")
  return System(method, restored, parts)


def speaking(systems: Mapping[str, System]) -> list[Entry]:
  """Those that speak, as lines of a table."""
  return [
    Entry(name, system.method, system.restored)
    for name, system in systems.items()
    if system.restored.weights is not None
  ]


def _parts(path: Path) -> Parts:
  """Opens what a run's earlier stages have left, or a bundle brings along."""
  if not (path / "config.json").is_file():
    return NO_PARTS
  config, stages = trained.load(path, weights.EARLIER)
  config = precision.for_inference(config)
  parts = NO_PARTS
  if irfd := stages.get("irfd"):
    parts = parts._replace(
      irfd=swaps.irfd(base.networks(config), irfd["encoders"], irfd["decoder"]),
      settings=synthesis.settings_of(config),
      mouth=config.model.mouth,
      same_session=config.irfd.same_session,
    )
  if sync := stages.get("syncnet"):
    fps = float(config.data.fps)
    own = _sync(base.networks(config), sync["sync"], fps)
    own = own._replace(
      mouth=config.model.lips,
      square=config.model.lips_square,
      unit=config.model.sync_unit,
    )
    parts = parts._replace(sync=own)
  return parts


def _sync(nets: Any, variables: Any, fps: float) -> reading.OwnSync:
  """SyncNet's two towers on uint8 and int16."""

  @jax.jit
  def see(variables, mouth):
    return nets.sync.apply(variables, base.as_frames(mouth), method="see")

  @jax.jit
  def hear(variables, audio):
    return nets.sync.apply(variables, base.as_audio(audio), method="hear")

  return reading.OwnSync(
    see=lambda mouth: (see(variables, mouth),),
    hear=lambda audio: (hear(variables, audio),),
    frames=frames_of(fps),
    fps=fps,
  )
