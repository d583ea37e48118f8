"""Writes the checkpoints of the stage that a process trains, and restores them.

Orbax writes the files. The life of a checkpoint is ours, since it hangs on
the manifest: an older one goes when the new one has its manifest, where orbax's
`training.Checkpointer` removes by its policies when the files are there, which
leaves nothing whose bits could be proved if the process is killed between the
two; and a save that fails is told of and tried again.
"""

import errno
import json
import os
import re
import shutil
import threading
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp

from speak_jax.common.progress import say
from speak_jax.training import manifest
from speak_jax.training.checkpoints import (
  CORRUPT,
  odd_array,
  raise_if_none_good,
  statuses,
  steps_in,
)
from speak_jax.training.scaling import LossScale
from speak_jax.training.state import TrainState

REMOVED = ".removed"  # suffix of what is being removed
DISK_MARGIN = 1.2  # free space that a save asks for, relative to the last one
MAX_FAILED_SAVES = 3  # in a row; they end training
# Bytes of its part of a replicated array from which every device writes its
# own: a program is compiled for each shape that is split, and the loop waits.
SPLIT_BYTES = 2**20


class SaveError(OSError):
  """A checkpoint could not be written."""


class _Room(NamedTuple):
  """On the disk of the checkpoints, as the process that sees least of it."""

  need: float  # bytes that a save asks for
  free: float  # bytes
  error: int  # errno of a process that could not look; 0: all could


def _check_room(room: _Room) -> None:
  """Refuses a save that would not fit.

  Raises:
    OSError: it would not.
  """
  if room.error:
    raise OSError(room.error, os.strerror(room.error))
  if room.free < room.need:
    raise OSError(
      errno.ENOSPC,
      f"{room.free / 1e6:.1f} MB free on the disk, {room.need / 1e6:.1f} MB"
      " needed",
    )


def _saving() -> ocp.Context:
  context = ocp.Context()
  context.array.saving.min_slice_bytes_for_replica_parallel = SPLIT_BYTES
  return context


class CheckpointManager:
  """The checkpoints of one stage of a run, for the process that trains it.

  Saves run in the background; the loop asks `check_for_errors` about it.
  """

  def __init__(self, folder: str | Path, keep: int = 2):
    """Opens or creates the folder; the newest `keep` checkpoints stay."""
    self.folder = Path(folder).absolute()
    self.latest: int | None = None  # the newest one that can be restored
    self._keep = keep
    self._first = jax.process_index() == 0
    self._writer: threading.Thread | None = None
    self._error: SaveError | None = None  # of the newest save
    self._reported = False  # whether `check_for_errors` has reported it
    self._failed = 0  # saves in a row
    self.folder.mkdir(parents=True, exist_ok=True)

  def __enter__(self) -> "CheckpointManager":
    """Itself; at the end of the block, what is being written is finished.

    Not after an error among several processes: the others may be gone, and
    would be waited for.
    """
    return self

  def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
    """Waits."""
    if kind is None or jax.process_count() == 1:
      self.wait()

  def recover(
    self, before: int | None = None, verified: int | None = None
  ) -> int | None:
    """Puts aside what cannot be trusted, and finds the step to go on from.

    Sweeps away what a killed run left unfinished. All processes agree.

    Args:
      before: Later checkpoints are removed; None: there are none.
      verified: Step of a checkpoint that this process has just hashed, which
        takes seconds a gigabyte; None: all are hashed.

    Returns:
      The newest step that can be restored, which is `latest` from now on;
      None if there is none.

    Raises:
      NoCheckpointError: there were checkpoints, and none can be trusted.
    """
    self.wait()
    step = self._recovered(before, verified) if self._first else None
    if jax.process_count() > 1:
      agreed = np.int32(-1 if step is None else step)
      agreed = int(multihost_utils.broadcast_one_to_all(agreed))
      step = None if agreed < 0 else agreed
    self.latest = step
    return step

  def _recovered(self, before: int | None, verified: int | None) -> int | None:
    for path in list(self.folder.iterdir()):
      if "orbax-checkpoint-tmp" in path.name or path.suffix == REMOVED:
        shutil.rmtree(path)
    for step in steps_in(self.folder):
      if before is not None and step > before:
        _remove(self.folder / str(step))
    for step, kind, reason in statuses(self.folder, verified):
      path = self.folder / str(step)
      if kind == "good":
        return step
      if kind == "unchecked":
        say(f"{path}: {reason}; taken as it is")
        return step
      if kind == "unfinished":
        say(f"{path}: {reason}; removed")
        _remove(path)
      else:
        aside = _free_name(path)
        os.replace(path, aside)
        say(f"{path}: corrupt, {reason}; now {aside.name}")
    raise_if_none_good(self.folder)
    return None

  def save(self, state: TrainState, position: Any, meta: dict) -> None:
    """Begins to write a checkpoint, unless the newest one is of this step.

    The state is copied before this returns; files follow in the background.
    All processes must call, and either all of them write or none: one that
    stayed away would leave the others at a barrier.

    Args:
      state: The whole state.
      position: The batch iterator's position, plain data for JSON.
      meta: What else to remember, plain data for JSON.

    Raises:
      SaveError: this is the third save in a row that fails.
    """
    step = int(state.step)
    self.wait()
    room = self._agreed(state)
    self.check_for_errors()
    if self.latest == step:
      return
    parts = {
      "model": {"params": state.params, "vars": state.vars, "ema": state.ema},
      "optim": _optimizer_part(state),
      "meta": {**meta, "data": json.dumps(position)},
    }
    path = self.folder / str(step)
    try:
      _check_room(room)
    except OSError as error:
      self._fail(path, error)
      self._reported = not self._first  # it is the same for all
      self.check_for_errors()
      return
    try:
      with _saving():
        response = ocp.save_checkpointables_async(str(path), parts)
    except Exception as error:
      self._fail(path, error)
      self.check_for_errors()
      return
    self._writer = threading.Thread(
      target=self._finish, args=(step, response), name="checkpoint"
    )
    self._writer.start()

  def check_for_errors(self) -> None:
    """Tells of a save that failed since the last call, in one line.

    Raises:
      SaveError: it was the third in a row.
    """
    error = self._error
    if error is None:
      return
    if self._failed >= MAX_FAILED_SAVES:
      raise error
    if self._reported:
      return
    self._reported = True
    last = self.latest
    kept = "there is none yet" if last is None else f"{last} stays"
    say(
      f"{error.filename}: could not be saved ({error.strerror}); {kept}, the"
      f" next save tries again ({self._failed} of {MAX_FAILED_SAVES})"
    )

  def wait(self) -> None:
    """Waits for what is still being written."""
    if self._writer is not None:
      self._writer.join()
      self._writer = None

  def finish(self) -> None:
    """Waits for the newest save, which has to succeed.

    Raises:
      SaveError: it did not.
    """
    self.wait()
    if self._error is not None:
      raise self._error

  def _finish(self, step: int, response: Any) -> None:
    """In the background: files, manifest, and what is no longer needed."""
    path = self.folder / str(step)
    try:
      response.result()
      if self._first:
        manifest.write(path)
        self._prune(step)
    except Exception as error:
      self._fail(path, error)
    else:
      self.latest, self._failed, self._error = step, 0, None

  def _prune(self, step: int) -> None:
    """Removes what is older than the newest `keep`.

    Only now, when the one of `step` is whole: until then the older ones may
    be all there is.
    """
    older = [s for s in steps_in(self.folder) if s < step]
    for old in older[self._keep - 1 :]:
      _remove(self.folder / str(old))

  def _agreed(self, state: TrainState) -> _Room:
    """What a save needs and what there is, the same on every process.

    Also makes process 0's word on the save before this one everybody's: the
    manifest is written by it alone, and may not have found room.
    """
    need, free, number = 0.0, 0.0, 0
    try:
      free = float(shutil.disk_usage(self.folder).free)
      if self._first:
        need = float(sum(x.nbytes for x in jax.tree.leaves(state)))
        if self.latest is not None:
          need = float(manifest.size(self.folder / str(self.latest)))
    except OSError as error:
      number = error.errno or errno.EIO
    if jax.process_count() == 1:
      return _Room(DISK_MARGIN * need, free, number)
    latest = -1 if self.latest is None else self.latest
    counts = np.array([number, self._failed, latest], np.int32)
    sizes = np.array([need, free], np.float32)
    counts, sizes = multihost_utils.process_allgather((counts, sizes))
    self.latest = None if counts[0, 2] < 0 else int(counts[0, 2])
    failed = int(counts[:, 1].max())
    if failed > self._failed:
      self._failed, self._reported = failed, True
      self._error = SaveError(
        errno.EIO, "another process could not", str(self.folder)
      )
    needs, frees = sizes[:, 0], sizes[:, 1]
    return _Room(
      DISK_MARGIN * float(needs.max()),
      float(frees.min()),
      int(counts[:, 0].max()),
    )

  def _fail(self, path: Path, error: Exception) -> None:
    """Remembers a failed save, and clears away what there is of it."""
    reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
    number = re.search(r"os_error_code='(\d+)'", reason)  # tensorstore's
    if number:
      reason = os.strerror(int(number[1]))
    self._error = SaveError(errno.EIO, reason, str(path))
    self._failed += 1
    self._reported = False  # last: `check_for_errors` looks from another thread
    if self._first:
      for part in self.folder.glob(f"{path.name}.orbax-checkpoint-tmp*"):
        shutil.rmtree(part, ignore_errors=True)
      if path.exists():
        _remove(path)

  def restore(
    self, like: TrainState, shardings: Any
  ) -> tuple[TrainState, Any, dict]:
    """The state that `recover` found, placed by `shardings`.

    Args:
      like: A state of the same shapes.
      shardings: A sharding for each of its arrays.

    Returns:
      The state, the data position, and what else was remembered.

    Raises:
      ValueError: the checkpoint holds other arrays than `like`.
    """

    def abstract(x, sharding):
      return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)

    want = jax.tree.map(abstract, like, shardings)
    model = {"params": want.params, "vars": want.vars, "ema": want.ema}
    path = self.folder / str(self.latest)
    stored: Any = ocp.checkpointables_metadata(str(path)).metadata
    if odd := odd_array(stored["model"], model):
      raise ValueError(f"{path}: not a checkpoint of this config, see {odd}")
    restored = ocp.load_checkpointables(
      str(path),
      {
        "model": model,
        "optim": _optimizer_part(want),
        "meta": None,
      },
    )
    state = TrainState(
      step=restored["optim"]["step"],
      params=restored["model"]["params"],
      vars=restored["model"]["vars"],
      opt=restored["optim"]["opt"],
      ema=restored["model"]["ema"],
      scale={
        name: LossScale(**x)
        for name, x in restored["optim"].get("scale", {}).items()
      },
    )
    meta = dict(restored["meta"])
    return state, json.loads(meta.pop("data")), meta


def _optimizer_part(state: TrainState) -> dict[str, Any]:
  """What of a state is the optimizers' own."""
  scale = {name: x._asdict() for name, x in state.scale.items()}
  kept = {"scale": scale} if scale else {}
  return {"step": state.step, "opt": state.opt, **kept}


def _remove(path: Path) -> None:
  """Removes a checkpoint; half of it never goes by its name."""
  doomed = path.with_name(path.name + REMOVED)
  os.replace(path, doomed)
  shutil.rmtree(doomed)


def _free_name(path: Path) -> Path:
  """N.corrupt, or N.corrupt2 and so on where that is taken."""
  aside, count = path.with_name(path.name + CORRUPT), 1
  while aside.exists():
    count += 1
    aside = path.with_name(f"{path.name}{CORRUPT}{count}")
  return aside
