"""Prepares a data set: raw videos, or synthetic faces, to records on disk.

  python -m data_pipelines.prepare --source folder --input RAW --output DATA
  python -m data_pipelines.prepare --source synthetic --output DATA

Clips are worked on by several processes, a shard of clips at a time. What a
shard holds depends on the list of clips alone, so the bytes are the same for
any number of workers, and a run that was interrupted goes on where it was.
Clips that cannot be used are listed in DATA/rejects.jsonl, odd ones that were
used in DATA/notes.jsonl.

Exit codes: 0 done, 65 too many rejects (the data set is left unfinished; run
again with a larger --max-reject to accept it), 1 anything else.
"""

import contextlib
import fcntl
import hashlib
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any, NamedTuple

import cv2
from absl import app, flags

from data_pipelines import records
from data_pipelines.media.error import MediaError, MediaWarning
from data_pipelines.sources.task import Task
from speak_jax import spec
from speak_jax.progress import Progress

SHARDS = 64  # aimed at, so that many workers share a small set
MAX_CLIPS = 32  # a shard, so that little work is lost with it
TOO_MANY_REJECTS = 65  # exit code: the input data is at fault
PARTS = ".parts"  # unfinished shards, and what is known of finished ones
STATE = "prepare.json"

Tick = Callable[[int, int], None]  # frames of a clip, whether it was rejected


class PrepareError(ValueError):
  """The data set could not be made; one line with the reason."""


class TooManyRejectsError(PrepareError):
  """More clips than allowed could not be used."""


class Summary(NamedTuple):
  """What a data set holds."""

  clips: int
  frames: int
  seconds: float
  rejects: int  # raw clips that gave nothing


class Part(NamedTuple):
  """The raw clips of one shard."""

  key: str  # names the part's files; changes with clips or settings
  split: str
  tasks: tuple[Task, ...]


def prepare(
  tasks: Sequence[Task],
  output: str | os.PathLike,
  *,
  workers: int,
  meta: dict[str, Any],
  max_reject: float = 0.5,
) -> Summary:
  """Makes the data set `output` out of raw clips; only what is missing.

  Args:
    tasks: Raw clips; their order is the order of the records.
    output: Directory, made if need be.
    workers: Processes; 1 works in this one.
    meta: JSON values that say how the data was made. A directory that was
      prepared with other values is refused.
    max_reject: Largest share of raw clips that may be rejected.

  Raises:
    TooManyRejectsError: the share of rejects is larger.
    PrepareError: no clips, other settings, or a clip that broke the code.
  """
  output = Path(output)
  meta = json.loads(json.dumps(meta))  # as it will be read back
  parts = _plan(tasks, meta)
  (output / PARTS).mkdir(parents=True, exist_ok=True)
  with _locked(output / PARTS / "lock"):
    state = _read_state(output)
    if state and state["meta"] != meta:
      old = state["meta"]
      keys = sorted(k for k in old | meta if old.get(k) != meta.get(k))
      raise PrepareError(
        f"{output}: was prepared with another {', '.join(keys)}; "
        "choose another output or remove it"
      )
    keys = [part.key for part in parts]
    complete = (output / "dataset_info.json").exists()
    if not (state and complete and state["parts"] == keys):
      _take_apart(output, state)
      missing = [part for part in parts if not _is_done(output, part)]
      _work_all(missing, output, workers, len(tasks))
      _assemble(output, parts, meta, max_reject)
    return _summary(output)


def _plan(tasks: Sequence[Task], meta: dict[str, Any]) -> list[Part]:
  """Groups the tasks of each split into shards, in their order."""
  if not tasks:
    raise PrepareError("no clips to prepare")
  names = [task.clip for task in tasks]
  if len(set(names)) < len(names):
    twice = next(name for name in names if names.count(name) > 1)
    raise PrepareError(f"two clips are called {twice}")
  count = min(MAX_CLIPS, -(-len(tasks) // SHARDS))
  parts = []
  for split in records.SPLITS:
    chosen = [task for task in tasks if task.split == split]
    for start in range(0, len(chosen), count):
      group = tuple(chosen[start : start + count])
      facts = [meta, split, [(task.clip, task.identity) for task in group]]
      text = json.dumps(facts, sort_keys=True)
      key = hashlib.sha256(text.encode()).hexdigest()[:16]
      parts.append(Part(key, split, group))
  return parts


# --- work ------------------------------------------------------------------


def _work_all(
  parts: list[Part], output: Path, workers: int, total: int
) -> None:
  """Makes every part, telling of progress, in this or other processes."""
  todo = sum(len(part.tasks) for part in parts)
  if not todo:
    return
  with Progress("prepare", "clip", total, total - todo) as progress:
    count = _Count(total - todo, progress)
    if workers <= 1:
      for part in parts:
        _work(part, output, count.tick)
      return
    context = multiprocessing.get_context("spawn")  # safe beside threads
    ticks = context.SimpleQueue()
    pool = futures.ProcessPoolExecutor(
      min(workers, len(parts)), context, _start_worker, (ticks,)
    )
    try:
      waiting = {pool.submit(_work_remote, part, output) for part in parts}
      while waiting:
        done, waiting = futures.wait(waiting, 0.2, futures.FIRST_COMPLETED)
        while not ticks.empty():
          count.tick(*ticks.get())
        for future in done:
          future.result()
    except futures.process.BrokenProcessPool:
      raise PrepareError(
        "a worker process died (out of memory?); run again to go on"
      ) from None
    finally:
      pool.shutdown(wait=True, cancel_futures=True)


class _Count:
  """What of all clips is done, told as it grows."""

  def __init__(self, done: int, progress: Progress):
    self._done, self._progress = done, progress
    self._frames = self._rejects = 0
    self._start = time.monotonic()

  def tick(self, frames: int, rejected: int) -> None:
    """Counts a clip."""
    self._done += 1
    self._frames += frames
    self._rejects += rejected
    rate = self._frames / max(time.monotonic() - self._start, 1e-3)
    self._progress.update(
      self._done, f"{rate:.0f} frames/s, {self._rejects} rejected"
    )


_ticks: Any = None  # of a worker process


def _start_worker(ticks: Any) -> None:
  """Sets a worker process up: quiet, on one thread, gone with its parent."""
  global _ticks
  _ticks = ticks
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
  cv2.setNumThreads(1)
  os.environ["NUMBA_NUM_THREADS"] = "1"
  threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
  """Ends this process when its parent is killed."""
  parent = multiprocessing.parent_process()
  if parent is not None:
    wait_for([parent.sentinel])
    os._exit(1)


def _work_remote(part: Part, output: Path) -> None:
  _work(part, output, lambda *args: _ticks.put(args))


def _work(part: Part, output: Path, tick: Tick) -> None:
  """Makes the shard of a part, then the JSON that says it is done."""
  shard = output / PARTS / f"{part.key}.array_record"
  rejects: list[dict[str, str]] = []
  notes: list[dict[str, str]] = []
  made = _make_all(part, rejects, notes, tick)
  rows = records.write_shard(shard, made)
  if not rows:
    shard.unlink()
  facts = {
    "rows": [row._asdict() for row in rows],
    "rejects": rejects,
    "notes": notes,
  }
  _write(shard.with_suffix(".json"), json.dumps(facts))


def _make_all(
  part: Part,
  rejects: list[dict[str, str]],
  notes: list[dict[str, str]],
  tick: Tick,
) -> Iterator[spec.Record]:
  for task in part.tasks:
    made: list[spec.Record] = []
    with warnings.catch_warnings(record=True) as caught:
      warnings.simplefilter("always", MediaWarning)
      try:
        made = task.make()
      except MediaError as error:
        rejects.append(
          {"clip": task.clip, "file": error.path, "reason": error.reason}
        )
      except FileNotFoundError as error:  # missing models: no clip's fault
        raise PrepareError(str(error)) from error
      except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise PrepareError(f"{task.clip}: {' '.join(what.split())}") from error
    said = [str(w.message) for w in caught if w.category is MediaWarning]
    notes += [{"clip": task.clip, "note": n} for n in dict.fromkeys(said)]
    yield from made
    tick(sum(len(record.frames) for record in made), int(not made))


# --- the directory ---------------------------------------------------------


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
  """Waits until no other process of this machine works on the directory."""
  with path.open("w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    yield


def _read_state(output: Path) -> dict[str, Any] | None:
  path = output / STATE
  return json.loads(path.read_text()) if path.exists() else None


def _is_done(output: Path, part: Part) -> bool:
  facts = output / PARTS / f"{part.key}.json"
  if not facts.exists():
    return False
  empty = not json.loads(facts.read_text())["rows"]
  return empty or facts.with_suffix(".array_record").exists()


def _take_apart(output: Path, state: dict[str, Any] | None) -> None:
  """Undoes `_assemble`, so that a changed list of clips keeps its shards."""
  (output / "dataset_info.json").unlink(missing_ok=True)
  for name, key in (state or {"shards": {}})["shards"].items():
    if (output / name).exists():
      os.replace(output / name, output / PARTS / f"{key}.array_record")
  (output / STATE).unlink(missing_ok=True)


def _assemble(
  output: Path, parts: list[Part], meta: dict[str, Any], max_reject: float
) -> None:
  """Gives the shards their names and makes the directory a data set."""
  facts = {
    part.key: json.loads((output / PARTS / f"{part.key}.json").read_text())
    for part in parts
  }
  for name in ("rejects", "notes"):
    lines = [json.dumps(x) + "\n" for f in facts.values() for x in f[name]]
    _write(output / f"{name}.jsonl", "".join(lines))
  _judge(output, facts, sum(len(part.tasks) for part in parts), max_reject)

  shards, rows = {}, []
  for split in records.SPLITS:
    full = [p for p in parts if p.split == split and facts[p.key]["rows"]]
    for i, part in enumerate(full):
      name = records.shard_name(split, i, len(full))
      shards[name] = part.key
      rows += [
        records.ClipInfo(**{**row, "shard": name})
        for row in facts[part.key]["rows"]
      ]
  state = {
    "meta": meta,
    "parts": [part.key for part in parts],
    "shards": shards,
    "rejects": sum(len(f["rejects"]) for f in facts.values()),
  }
  # Written before the first shard moves: a kill in between can be undone.
  _write(output / STATE, json.dumps(state, indent=1))
  for name, key in shards.items():
    os.replace(output / PARTS / f"{key}.array_record", output / name)
  for path in (output / PARTS).iterdir():
    if path.name != "lock" and path.stem not in facts:
      path.unlink()  # of an earlier list of clips
  records.write_metadata(output, rows, meta=meta)


def _judge(
  output: Path, facts: dict[str, Any], tasks: int, max_reject: float
) -> None:
  rejects = [x for f in facts.values() for x in f["rejects"]]
  if len(rejects) > max_reject * tasks or len(rejects) == tasks:
    first = f"{rejects[0]['file']}: {rejects[0]['reason']}"
    raise TooManyRejectsError(
      f"{output}: {len(rejects)} of {tasks} clips rejected, such as {first}; "
      "all are in rejects.jsonl"
    )


def _summary(output: Path) -> Summary:
  index = records.read_index(output)
  state = _read_state(output)
  return Summary(
    clips=len(index),
    frames=sum(row.frames for row in index),
    seconds=sum(row.frames / row.fps for row in index),
    rejects=state["rejects"] if state else 0,
  )


def _write(path: Path, text: str) -> None:
  """Writes a text file whole or not at all."""
  partial = path.with_name(f"{path.name}.tmp")
  partial.write_text(text)
  os.replace(partial, path)


# --- the command -----------------------------------------------------------

_SOURCE = flags.DEFINE_enum(
  "source", None, ["synthetic", "folder"], "Where the clips come from."
)
_INPUT = flags.DEFINE_string("input", None, "Folder of raw videos.")
_OUTPUT = flags.DEFINE_string("output", None, "The data set's directory.")
_WORKERS = flags.DEFINE_integer(
  "workers", None, "Processes; default: one a CPU core.", lower_bound=1
)
_SIZE = flags.DEFINE_integer("size", 256, "Side of the crops, px.", 16, 2048)
_FPS = flags.DEFINE_float("fps", spec.FPS, "Frame grid.", 1, 120)
_SEED = flags.DEFINE_integer("seed", 0, "Of the split and of made-up clips.")
_MAX_REJECT = flags.DEFINE_float(
  "max-reject", 0.5, "Largest share of clips that may be rejected.", 0, 1
)
_HELD_OUT = flags.DEFINE_float(
  "held-out",
  0.1,
  "Identities of the test split: a share (below 1) or a number; synthetic "
  "ones come on top of --identities.",
  0,
)
_MAX_FRAMES = flags.DEFINE_integer(
  "max-frames", 1024, "folder: longest clip; longer ones are split.", 1
)
_ALLOW_SILENT = flags.DEFINE_bool(
  "allow-silent", False, "folder: take videos without sound, with silence."
)
_IDENTITIES = flags.DEFINE_integer(
  "identities", 100, "synthetic: people to train on.", 1
)
_CLIPS = flags.DEFINE_integer(
  "clips-per-identity", 5, "synthetic: each with another emotion.", 1
)
_SECONDS = flags.DEFINE_float("seconds", 2.0, "synthetic: of a clip.", 0.2)
_FRAMING = flags.DEFINE_enum(
  "framing",
  "medium",
  ["tight", "medium", "wide"],
  "synthetic: how much face and how much motion.",
)
_EMOTIONS = flags.DEFINE_list(
  "emotions", list(spec.EMOTIONS), "synthetic: names, comma-separated."
)
_LEVELS = flags.DEFINE_list(
  "levels", ["1", "2", "3"], "synthetic: strengths, comma-separated."
)
_TWINS = flags.DEFINE_integer(
  "twins-every", 0, "synthetic: frames between exact swap targets; 0 none.", 0
)


def cores() -> int:
  """CPU cores that this process may use."""
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def main(argv: list[str]) -> int:
  """Runs the command; returns the exit code."""
  if len(argv) > 1:
    return _fail(f"{argv[1]}: what is this? Say --input {argv[1]}")
  output = _OUTPUT.value or "."
  try:
    tasks, meta = _chosen()
    summary = prepare(
      tasks,
      output,
      workers=_WORKERS.value or cores(),
      meta=meta,
      max_reject=_MAX_REJECT.value,
    )
  except TooManyRejectsError as error:
    return _fail(str(error), TOO_MANY_REJECTS)
  except (ValueError, OSError) as error:
    return _fail(str(error))
  except KeyboardInterrupt:
    return _fail("interrupted; run again to go on", 130)
  print(
    f"{output}: {summary.clips} clips, {summary.frames} frames, "
    f"{summary.seconds / 60:.1f} minutes, {summary.rejects} rejected"
  )
  return 0


def _chosen() -> tuple[list[Task], dict[str, Any]]:
  """Tasks and settings of the source that the flags name."""
  settings = {"fps": _FPS.value, "size": _SIZE.value, "seed": _SEED.value}
  # The sources are imported here because each needs much that the other
  # does not: the renderer a compiler, the folder video and networks.
  if _SOURCE.value == "folder":
    from data_pipelines.sources import folder

    if _INPUT.value is None:
      raise PrepareError("--source folder needs --input FOLDER")
    settings |= {
      "held_out": _HELD_OUT.value,
      "max_frames": _MAX_FRAMES.value,
      "allow_silent": _ALLOW_SILENT.value,
    }
    tasks = folder.tasks(_INPUT.value, **settings)
  else:
    from data_pipelines.sources import synthetic
    from data_pipelines.synthetic import render

    settings |= {
      "identities": _IDENTITIES.value,
      "held_out": _held_out_number(),
      "clips_per_identity": _CLIPS.value,
      "seconds": _SECONDS.value,
      "framing": _FRAMING.value,
      "emotions": tuple(_emotion(name) for name in _EMOTIONS.value),
      "levels": tuple(int(level) for level in _LEVELS.value),
      "twins_every": _TWINS.value,
    }
    tasks = synthetic.tasks(render.recipes(**settings))
  return tasks, {"source": _SOURCE.value, **settings}


def _held_out_number() -> int:
  share = _HELD_OUT.value
  return round(share if share >= 1 else share * _IDENTITIES.value)


def _emotion(name: str) -> int:
  if name not in spec.EMOTIONS:
    raise PrepareError(
      f"emotion {name!r} is not one of {', '.join(spec.EMOTIONS)}"
    )
  return spec.EMOTIONS.index(name)


def _fail(line: str, code: int = 1) -> int:
  """One line, and the exit code."""
  print(f"prepare: {' '.join(line.split())}", file=sys.stderr)
  return code


if __name__ == "__main__":
  flags.mark_flags_as_required([_SOURCE.name, _OUTPUT.name])
  app.run(main)
