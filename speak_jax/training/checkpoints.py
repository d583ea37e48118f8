"""Checkpoints: the whole state, the data position, and where they come from.

RUN/<stage>/checkpoints/N/   after N steps: model, optim, meta (orbax), and
                             manifest.sha256
RUN/<stage>/checkpoints/N.corrupt   one whose files are not what was written

Orbax writes to a temporary name and renames; our manifest follows, and what is
restored is the newest checkpoint that agrees with its own. Orbax itself does
not see a changed bit.
"""

import errno
import functools
import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp

from speak_jax.common.progress import say
from speak_jax.training import manifest
from speak_jax.training.scaling import LossScale
from speak_jax.training.state import TrainState

CORRUPT = ".corrupt"  # suffix of what was put aside
REMOVED = ".removed"  # suffix of what is being removed
DISK_MARGIN = 1.2  # free space that a save asks for, relative to the last one
MAX_FAILED_SAVES = 3  # failed saves in a row that end training


class NoCheckpointError(ValueError):
  """There were checkpoints, and none of them can be trusted."""


class SaveError(OSError):
  """A checkpoint could not be written."""


class CheckpointStatus(NamedTuple):
  """What is known of a checkpoint."""

  step: int
  kind: str  # "good", "unchecked", "unfinished", "corrupt"
  reason: str  # in words, unless it is good


def statuses(
  folder: Path, fault: Callable[[Path], str | None] = manifest.fault
) -> Iterator[CheckpointStatus]:
  """Looks at the checkpoints of a folder, the newest one first.

  One without manifest is unfinished if an older one has a manifest. Otherwise
  it is of before there were manifests, or the first of a run that was killed
  right after; orbax finished it, and nothing else is known.

  Args:
    folder: RUN/<stage>/checkpoints.
    fault: Reads a checkpoint that has a manifest, and says what is wrong.
  """
  steps = _steps(folder)
  sealed = [s for s in steps if (folder / str(s) / manifest.NAME).exists()]
  for step in steps:
    if step in sealed:
      wrong = fault(folder / str(step))
      yield CheckpointStatus(step, "corrupt" if wrong else "good", wrong or "")
    elif sealed and step > sealed[0]:
      yield CheckpointStatus(step, "unfinished", "its manifest was not written")
    else:
      yield CheckpointStatus(
        step, "unchecked", "it has no manifest to check it by"
      )


def newest_of(folder: Path) -> int | None:
  """Step of the newest checkpoint that can be trusted; changes nothing.

  Says which ones cannot. None if there is no checkpoint at all.

  Raises:
    NoCheckpointError: there are checkpoints, and none can be trusted.
  """
  for status in statuses(folder, _fault):
    if status.kind in ("good", "unchecked"):
      return status.step
    if jax.process_index() == 0:
      say(f"{folder / str(status.step)}: passed over, {status.reason}")
  _raise_if_none_good(folder)
  return None


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


class CheckpointManager:
  """The checkpoints of one stage of a run, for the process that trains it.

  Saves run in the background; the loop asks `check` after every step.
  """

  def __init__(self, folder: str | Path, keep: int = 2):
    """Opens or creates the folder; the newest `keep` checkpoints stay."""
    self.folder = Path(folder).absolute()
    self.latest: int | None = None  # the newest one that can be restored
    self._keep = keep
    self._first = jax.process_index() == 0
    self._writer: threading.Thread | None = None
    self._error: SaveError | None = None  # of the newest save
    self._told = False  # whether `check` has told of it
    self._failed = 0  # saves in a row
    self.folder.mkdir(parents=True, exist_ok=True)

  def __enter__(self) -> "CheckpointManager":
    """Itself; at the end of the block, what is being written is finished.

    Not after an error among several processes: the others may be gone, and
    would be waited for.
    """
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
  ) -> None:
    """Waits."""
    if kind is None or jax.process_count() == 1:
      self.wait()

  def recover(self, before: int | None = None) -> int | None:
    """Puts aside what cannot be trusted, and finds the step to go on from.

    Sweeps away what a killed run left unfinished. All processes agree.

    Args:
      before: Later checkpoints are removed; None: there are none.

    Returns:
      The newest step that can be restored, which is `latest` from now on;
      None if there is none.

    Raises:
      NoCheckpointError: there were checkpoints, and none can be trusted.
    """
    self.wait()
    step = self._recovered(before) if self._first else None
    if jax.process_count() > 1:
      told = np.int32(-1 if step is None else step)
      told = int(multihost_utils.broadcast_one_to_all(told))
      step = None if told < 0 else told
    self.latest = step
    return step

  def _recovered(self, before: int | None) -> int | None:
    for path in list(self.folder.iterdir()):
      if "orbax-checkpoint-tmp" in path.name or path.suffix == REMOVED:
        shutil.rmtree(path)
    for step in _steps(self.folder):
      if before is not None and step > before:
        _remove(self.folder / str(step))
    for step, kind, reason in statuses(self.folder):
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
    _raise_if_none_good(self.folder)
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
    self.check()
    if self.latest == step:
      return
    parts = {
      "model": {"params": state.params, "vars": state.vars, "ema": state.ema},
      "optim": _optim(state),
      "meta": {**meta, "data": json.dumps(position)},
    }
    path = self.folder / str(step)
    try:
      _check_room(room)
    except OSError as error:
      self._fail(path, error)
      self._told = not self._first  # it is the same for all
      self.check()
      return
    try:
      response = ocp.save_checkpointables_async(str(path), parts)
    except Exception as error:
      self._fail(path, error)
      self.check()
      return
    self._writer = threading.Thread(
      target=self._finish, args=(step, response), name="checkpoint"
    )
    self._writer.start()

  def check(self) -> None:
    """Tells of a save that failed since the last call, in one line.

    Raises:
      SaveError: it was the third in a row.
    """
    error = self._error
    if error is None:
      return
    if self._failed >= MAX_FAILED_SAVES:
      raise error
    if self._told:
      return
    self._told = True
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
    older = [s for s in _steps(self.folder) if s < step]
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
      self._failed, self._told = failed, True
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
    self._told = False  # last: `check` looks from another thread
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
    odd = sorted(shapes(stored["model"]) ^ shapes(model))
    if odd:
      raise ValueError(
        f"{path}: not a checkpoint of this config, see {odd[0][0]}"
      )
    found = ocp.load_checkpointables(
      str(path),
      {
        "model": model,
        "optim": _optim(want),
        "meta": None,
      },
    )
    state = TrainState(
      step=found["optim"]["step"],
      params=found["model"]["params"],
      vars=found["model"]["vars"],
      opt=found["optim"]["opt"],
      ema=found["model"]["ema"],
      scale={
        name: LossScale(**x)
        for name, x in found["optim"].get("scale", {}).items()
      },
    )
    meta = dict(found["meta"])
    return state, json.loads(meta.pop("data")), meta


def _optim(state: TrainState) -> dict[str, Any]:
  """What of a state is the optimizers' own."""
  scale = {name: x._asdict() for name, x in state.scale.items()}
  kept = {"scale": scale} if scale else {}
  return {"step": state.step, "opt": state.opt, **kept}


def newest_verified_step(run: str | Path, stage: str) -> int | None:
  """Step of a stage's newest good checkpoint; None when there is none.

  Raises:
    NoCheckpointError: see `newest_of`.
  """
  return newest_of(_folder(run, stage))


def origin(run: str | Path, stage: str) -> tuple[Path, dict] | None:
  """What a stage's newest good checkpoint tells of itself, and its folder.

  Returns:
    None when there is none.

  Raises:
    NoCheckpointError: see `newest_of`.
  """
  step = newest_verified_step(run, stage)
  if step is None:
    return None
  path = _folder(run, stage) / str(step)
  meta: Any = ocp.load_checkpointables(str(path), {"meta": None})["meta"]
  return path, {key: value for key, value in meta.items() if key != "data"}


def restore_params(
  run: str | Path, stage: str, groups: Sequence[str], ema: bool = True
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Weights of some groups on the host, without the optimizers.

  Args:
    run: RUN folder.
    stage: Whose newest good checkpoint.
    groups: Names of parameter groups.
    ema: Averaged weights where the group has them.

  Returns:
    {group: params} and {group: {collection: tree}}, NumPy arrays.

  Raises:
    ValueError: no checkpoint, none that is good, or no such group in it.
  """
  folder = _folder(run, stage)
  step = newest_of(folder)
  if step is None:
    raise ValueError(f"{folder}: no checkpoint")
  path = folder / str(step)
  found: Any = ocp.checkpointables_metadata(str(path)).metadata
  like = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), found["model"])
  model = ocp.load_checkpointables(str(path), {"model": like})["model"]
  missing = [g for g in groups if g not in model["params"]]
  if missing:
    raise ValueError(f"{path}: no group {', '.join(missing)}")
  averages = model["ema"] if ema else {}
  params = {g: averages.get(g, model["params"][g]) for g in groups}
  return params, {g: model["vars"].get(g, {}) for g in groups}


def shapes(tree: Any) -> set[tuple[str, tuple[int, ...]]]:
  """Path and shape of every array of a tree."""
  leaves, _ = jax.tree.flatten_with_path(tree)
  return {(jax.tree_util.keystr(p), tuple(x.shape)) for p, x in leaves}


def _fault(path: Path) -> str | None:
  """`manifest.fault`, without reading again what it has just read."""
  stats = [(x.name, x.stat()) for x in sorted(path.rglob("*"))]
  return _read(path, tuple((n, s.st_size, s.st_mtime_ns) for n, s in stats))


@functools.lru_cache(maxsize=64)
def _read(path: Path, stamp: tuple) -> str | None:
  del stamp  # the files, as far as their folder tells
  return manifest.fault(path)


def _folder(run: str | Path, stage: str) -> Path:
  return (Path(run) / stage / "checkpoints").absolute()


def _steps(folder: Path) -> list[int]:
  """Steps of all checkpoints, whatever they are worth, the newest first."""
  if not folder.is_dir():
    return []
  names = [path.name for path in folder.iterdir() if path.is_dir()]
  return sorted((int(name) for name in names if name.isdigit()), reverse=True)


def _raise_if_none_good(folder: Path) -> None:
  """Nothing was found: fine, unless there was something once.

  Raises:
    NoCheckpointError: there was.
  """
  if _steps(folder) or (folder.is_dir() and any(folder.glob(f"*{CORRUPT}*"))):
    raise NoCheckpointError(
      f"{folder}: no good checkpoint; remove the folder to train anew"
    )


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
