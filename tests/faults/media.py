"""Mutated media files through `generate` and `prepare`: what becomes of them.

  python -m tests.faults.campaign media --files 500 --seed 0 --out DIR

Each file is, in turn, the identity, speech, head motion and emotion of
`generate` with each bundle that comes along, whose command runs again and again
in one process; then all of them lie in folders that `prepare` reads. DIR/inputs
keeps the files.
"""

import collections
import contextlib
import hashlib
import itertools
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import av
import soundfile
from PIL import Image

from data_pipelines.dataset.index import read_index
from data_pipelines.sources import video_files
from tests.faults import mutants

ROOT = Path(__file__).parents[2]
ROLES = ("identity", "audio", "pose", "emotion")
MODELS = {"photograph": (), "reference": ("--windows=1",)}  # and their flags
START_S = 1200.0  # that the imports may take on a busy machine
HUNG_S = 600.0  # of a call; a busy machine may do little in that
MOST_CPU_S = 60.0  # of the command in a call, without its decoder
PREPARE_S = 60.0  # of a file at most
MOST_BYTES = 4 << 30  # held by the command with its decoder
MOST_LINES = 8  # on stderr, but for progress
BATCH = 250  # files of a folder that is prepared
SPEECH_S = 0.2
SERVE = "from tests.faults import media; media.serve()"
SAID = re.compile(
  r"(speech|identity|pose|emotion) +\S|\d+ frames at \d|wrote \S"
)
WARNED = re.compile(r"(warning|error): \S|generate \d+/\d+|.*searching on$")
# What may lie in a finished data set.
SET = re.compile(
  r"dataset_info\.json|features\.json|metadata\.json|clips\.jsonl|"
  r"rejects\.jsonl|notes\.jsonl|prepare\.json|.*\.array_record-\d+-of-\d+|"
  r"\.parts(/(lock|format|(meta|[0-9a-f]+)\.json))?"
)


class Answer(NamedTuple):
  """What came of a call."""

  code: int | None  # None: it hung or died
  seconds: float
  cpu: float  # s of the command's own
  peak: int  # bytes
  out: str
  err: str


# --- the process that runs generate ----------------------------------------


def serve() -> None:
  """Runs `generate` for every line of words; models are loaded once."""
  import functools
  import traceback

  from absl import app, flags

  from speak_jax import generate
  from speak_jax.common import command_line
  from speak_jax.inference.motion_model import MotionModel
  from speak_jax.inference.synthesizer import Synthesizer

  generate._define_flags()
  kinds: tuple[Any, ...] = MotionModel, Synthesizer
  for kind in kinds:
    load = functools.cache(kind.from_bundle)
    kind.from_bundle = lambda path, load=load, **rest: load(path)
  replies = os.fdopen(int(sys.argv[1]), "w")
  for line in sys.stdin:
    flags.FLAGS.unparse_flags()
    generate._SHOWN.clear()
    code: Any = 0
    begin, cpu = time.monotonic(), time.process_time()
    try:
      parser = command_line.parser("generate")
      app.run(generate.main, ["generate", *json.loads(line)], parser)
    except SystemExit as end:
      code = end.code or 0
    except BaseException:  # as Python would end
      traceback.print_exc()
      code = 1
    took = time.monotonic() - begin, time.process_time() - cpu
    sys.stdout.flush()
    sys.stderr.flush()
    print(json.dumps([code, *took]), file=replies, flush=True)


class Server:
  """That process; it is started anew when it hangs or dies."""

  def __init__(self, folder: Path):
    """Logs lie in the folder."""
    self._folder = folder
    self._process: subprocess.Popen | None = None
    self._watch: Watch | None = None
    self._stayed: list[str] = []

  def call(self, words: Sequence[str]) -> Answer:
    """Runs generate once."""
    if self._process is None:
      self._start()
    assert self._process and self._process.stdin and self._watch
    sizes = [path.stat().st_size for path in self._logs]
    self._watch.reset()
    begin = time.monotonic()
    with contextlib.suppress(BrokenPipeError):
      self._process.stdin.write(json.dumps(list(words)).encode() + b"\n")
      self._process.stdin.flush()
    limit = HUNG_S if self._warm else START_S
    there = select.select([self._replies], [], [], limit)[0]
    line = self._replies.readline() if there else ""
    took = time.monotonic() - begin
    peak = self._watch.peak
    out, err = (
      path.read_bytes()[size:].decode(errors="replace")
      for path, size in zip(self._logs, sizes, strict=True)
    )
    if not line:
      self._end()
      return Answer(None, took, 0.0, peak, out, err)
    self._warm = True
    code, seconds, cpu = json.loads(line)
    return Answer(code, seconds, cpu, peak, out, err)

  def left(self) -> list[str]:
    """Processes that are there though no call runs, but for the helper."""
    assert self._process
    for _ in range(20):
      found = [x for x in family(self._process.pid) if x != self._process.pid]
      if len(found) <= 1:
        return []
      time.sleep(0.05)
    return [command(x) for x in found[1:]]

  def close(self) -> list[str]:
    """Ends it; processes that do not end with it."""
    if self._process:
      self._end()
    return self._stayed

  def _start(self) -> None:
    ours, theirs = os.pipe()
    self._logs = [self._folder / "stdout", self._folder / "stderr"]
    with self._logs[0].open("ab") as out, self._logs[1].open("ab") as err:
      self._process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(theirs)],
        stdin=subprocess.PIPE,
        stdout=out,
        stderr=err,
        pass_fds=[theirs],
        cwd=ROOT,
        env=environment(self._folder),
      )
    os.close(theirs)
    self._replies = os.fdopen(ours)
    self._watch = Watch(self._process.pid)
    self._warm = False

  def _end(self) -> None:
    assert self._process and self._process.stdin and self._watch
    with contextlib.suppress(BrokenPipeError):
      self._process.stdin.close()
    try:
      self._process.wait(20)
    except subprocess.TimeoutExpired:
      self._process.kill()
      self._process.wait()
    self._process = None
    self._replies.close()
    self._stayed += self._watch.close()


def environment(folder: Path) -> dict[str, str]:
  """Variables of what is started; temporary files have a place to be seen."""
  (folder / "tmp").mkdir(parents=True, exist_ok=True)
  return os.environ | {
    "TMPDIR": str(folder / "tmp"),
    "JAX_PLATFORMS": "cpu",
    "PYTHONPATH": str(ROOT),
  }


# --- processes -------------------------------------------------------------


class Watch:
  """Looks at a process and its descendants ten times a second."""

  def __init__(self, pid: int):
    """Begins at once."""
    self._pid, self.peak = pid, 0
    self.seen: set[tuple[int, str]] = set()
    self._stop = threading.Event()
    self._thread = threading.Thread(target=self._run, daemon=True)
    self._thread.start()

  def reset(self) -> None:
    """Forgets the peak."""
    self.peak = 0

  def close(self, patience_s: float = 10.0) -> list[str]:
    """Ends; those seen that are still there a while later."""
    self._stop.set()
    self._thread.join()
    for _ in range(round(10 * patience_s)):
      left = [x for x in self.seen if born(x[0]) == x[1]]
      if not left:
        break
      time.sleep(0.1)
    return [command(pid) for pid, _ in left]

  def _run(self) -> None:
    while not self._stop.wait(0.1):
      total = 0
      for pid in family(self._pid):
        total += resident(pid)
        if start := born(pid):
          self.seen.add((pid, start))
      self.peak = max(self.peak, total)


def family(pid: int) -> list[int]:
  """A process and all that it has started, directly or not."""
  found = [pid]
  for one in found:
    with contextlib.suppress(OSError):
      for task in Path(f"/proc/{one}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
  return found


def kill(pid: int) -> None:
  """Kills a process, if it is there."""
  with contextlib.suppress(ProcessLookupError):
    os.kill(pid, signal.SIGKILL)


def born(pid: int) -> str:
  """When a process was started; "" of one that is gone or a zombie."""
  try:
    rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
  except OSError:
    return ""
  return "" if rest[0] in "ZX" else rest[19]


def command(pid: int) -> str:
  """Its words."""
  try:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
  except OSError:
    return f"{pid}"
  return f"{pid} {b' '.join(words).decode(errors='replace')[:200]}"


def resident(pid: int) -> int:
  """Memory of a process in bytes; 0: it is gone."""
  try:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
  except OSError:
    return 0
  return pages * os.sysconf("SC_PAGE_SIZE")


# --- the campaign ----------------------------------------------------------


def media(
  folder: Path,
  files: int,
  seed: int = 0,
  roles: int = len(ROLES),
) -> Iterator[dict[str, Any]]:
  """Makes the files, and gives them to both commands.

  Args:
    folder: Everything lies there.
    files: How many.
    seed: Of the person and of what befalls the files.
    roles: How many of `generate`'s each file has, other ones by turns.

  Yields:
    A finding for each fault, and one for each command with figures by kind:
    "held" says whether there was none.
  """
  shutil.rmtree(folder, ignore_errors=True)
  whole = mutants.seeds(folder / "whole", seed)
  made = mutants.mutants(folder / "inputs", whole, files, seed)
  before = digests(folder / "inputs")
  for stage in (
    through_generate(folder, made, roles),
    through_prepare(folder, made),
  ):
    yield from stage
  changed = sorted(
    name
    for name, now in (before | digests(folder / "inputs")).items()
    if before.get(name) != now
  )
  yield {"what": "media inputs", "changed": changed, "held": not changed}


def digests(folder: Path) -> dict[str, str]:
  """SHA-256 of every file."""
  return {
    path.name: hashlib.sha256(path.read_bytes()).hexdigest()
    for path in folder.iterdir()
  }


def good(folder: Path) -> dict[str, Path]:
  """The other inputs of a call: a face, and a word."""
  place = folder / "good"
  place.mkdir(exist_ok=True)
  with Image.open(folder / "whole" / "whole.png") as picture:
    picture.save(place / "face.png")
  sound, rate = soundfile.read(folder / "whole" / "whole.wav")
  soundfile.write(place / "word.wav", sound[: round(SPEECH_S * rate)], rate)
  return {"identity": place / "face.png", "audio": place / "word.wav"}


class Figures:
  """Counts by kind."""

  def __init__(self):
    """Nothing yet."""
    self._rows: dict[str, dict[str, Any]] = {}

  def add(self, kind: str, answer: Answer) -> None:
    """A file in a role of generate."""
    row = self._row(kind)
    row["refused" if answer.code else "made"] += 1
    for key, value in (
      ("worst_s", round(answer.seconds, 2)),
      ("worst_cpu_s", round(answer.cpu, 2)),
      ("peak_mib", answer.peak >> 20),
    ):
      row[key] = max(row.get(key, 0), value)

  def count(self, kind: str, made: bool) -> None:
    """A file of a folder."""
    self._row(kind)["made" if made else "refused"] += 1

  def _row(self, kind: str) -> dict[str, Any]:
    return self._rows.setdefault(kind, {"made": 0, "refused": 0})

  def rows(self) -> dict[str, dict[str, Any]]:
    """All of them, in the order of the kinds."""
    return {x: self._rows[x] for x in mutants.KINDS if x in self._rows}


def through_generate(
  folder: Path, made: Iterable[mutants.Mutant], roles: int
) -> Iterator[dict[str, Any]]:
  """Each file in some roles, with each model.

  Figures so far lie in generate/figures.json.
  """
  place = folder / "generate"
  (place / "out").mkdir(parents=True)
  fine, figures, server = good(folder), Figures(), Server(place)
  calls, faults = 0, 0
  begin = time.monotonic()
  try:
    # What is compiled once is no fault of the first files.
    for model in MODELS:
      server.call(_words(model, fine, place / "out" / "made.mp4"))
    for i, one in enumerate(made):
      content = hashlib.sha256(one.path.read_bytes()).digest()
      turns = [ROLES[(i + j) % len(ROLES)] for j in range(roles)]
      for role, model in itertools.product(turns, MODELS):
        target = place / "out" / "made.mp4"
        target.unlink(missing_ok=True)
        answer = server.call(_words(model, fine | {role: one.path}, target))
        calls += 1
        figures.add(one.kind, answer)
        wrong = list(_odd(answer, target))
        if answer.code is not None:
          wrong += [f"left running: {x}" for x in server.left()]
        wrong += [f"left: {x.name}" for x in (place / "tmp").rglob("*")]
        if hashlib.sha256(one.path.read_bytes()).digest() != content:
          wrong.append("the input was changed")
        if wrong:
          faults += 1
          yield {
            "what": "media fault",
            "file": one.path.name,
            "role": role,
            "model": model,
            "wrong": wrong,
            "code": answer.code,
            "took_s": round(answer.seconds, 2),
            "stderr": answer.err[-2000:],
            "held": False,
          }
      so_far = {"files": i + 1, "calls": calls, "faults": faults}
      text = json.dumps(so_far | {"kinds": figures.rows()}, indent=1)
      (place / "figures.json").write_text(text)
  finally:
    stayed = server.close()
  yield {
    "what": "media generate",
    "calls": calls,
    "faults": faults,
    "took_s": round(time.monotonic() - begin),
    "left_processes": stayed,
    "kinds": figures.rows(),
    "held": not faults and not stayed,
  }


def _words(model: str, inputs: dict[str, Path], target: Path) -> list[str]:
  words = [f"--{role}={path}" for role, path in inputs.items()]
  return [*words, "-o", str(target), f"--model={model}", *MODELS[model]]


def _odd(answer: Answer, target: Path) -> Iterator[str]:
  """What is wrong with what came of a call."""
  if answer.code is None:
    yield "hung" if answer.seconds >= HUNG_S else "died"
  elif answer.code not in (0, 1):
    yield f"exit code {answer.code}"
  if "Traceback" in answer.out + answer.err:
    yield "a traceback"
  errors = answer.err.splitlines()
  if sum(not line.startswith("generate ") for line in errors) > MOST_LINES:
    yield f"{len(errors)} lines on stderr"
  for line in errors:
    if not WARNED.match(line):
      yield f"on stderr: {line[:200]}"
  for line in answer.out.splitlines():
    if not SAID.match(line):
      yield f"on stdout: {line[:200]}"
  refusals = [line for line in errors if line.startswith("error: ")]
  if answer.code is not None and len(refusals) != int(answer.code != 0):
    yield f"{len(refusals)} refusals and exit code {answer.code}"
  if answer.cpu > MOST_CPU_S:
    yield f"{answer.cpu:.0f} s of CPU time"
  if answer.peak > MOST_BYTES:
    yield f"{answer.peak >> 20} MiB"
  there = sorted(x.name for x in target.parent.iterdir())
  if there != [target.name] * (answer.code == 0):
    yield f"in the output's folder: {there}"
  elif there:
    with av.open(str(target)) as made:
      count = sum(1 for _ in made.decode(video=0))
    if f": {count} frames," not in answer.out:
      yield f"{count} frames in the mp4"


def through_prepare(
  folder: Path, made: Sequence[mutants.Mutant]
) -> Iterator[dict[str, Any]]:
  """All of them in folders, each with a film that nothing has befallen."""
  figures, faults, place = Figures(), 0, folder / "prepare"
  peak, passed = 0, collections.Counter()
  begin = time.monotonic()
  for i in range(0, len(made), BATCH):
    batch = made[i : i + BATCH]
    here = place / f"{i:04d}"
    shutil.rmtree(here, ignore_errors=True)
    (here / "in").mkdir(parents=True)
    for one in batch:
      shutil.copyfile(one.path, here / "in" / one.path.name)
    shutil.copyfile(folder / "whole" / "whole.mp4", here / "in" / "whole.mp4")
    before = digests(here / "in")
    answer, stayed = _prepare(here, PREPARE_S * len(batch) + START_S)
    peak = max(peak, answer.peak)
    wrong = [f"left running: {x}" for x in stayed]
    wrong += [f"left: {x.name}" for x in (here / "tmp").rglob("*")]
    if answer.code != 0:
      wrong.append("hung" if answer.code is None else f"exit {answer.code}")
    if "Traceback" in answer.out + answer.err:
      wrong.append("a traceback")
    wrong += [
      f"on stderr: {x[:200]}"
      for x in answer.err.splitlines()
      if not x.startswith("prepare")
    ]
    if answer.peak > MOST_BYTES:
      wrong.append(f"{answer.peak >> 20} MiB")
    if digests(here / "in") != before:
      wrong.append("inputs were changed")
    if answer.code == 0:
      wrong += [
        f"in the data set: {name}"
        for x in (here / "set").rglob("*")
        if not SET.fullmatch(name := x.relative_to(here / "set").as_posix())
      ]
      taken, rejected, odd = _became(here, batch)
      wrong += odd
      for one in batch:
        name = one.path.name
        if name in taken or name in rejected:
          figures.count(one.kind, name in taken)
        else:
          passed[one.kind] += 1
    if wrong:
      faults += 1
      yield {
        "what": "media fault",
        "folder": here.name,
        "wrong": wrong,
        "code": answer.code,
        "stderr": answer.err[-2000:],
        "held": False,
      }
  yield {
    "what": "media prepare",
    "files": len(made),
    "faults": faults,
    "took_s": round(time.monotonic() - begin),
    "peak_mib": peak >> 20,
    "kinds": figures.rows(),
    "no_videos": dict(passed),
    "held": not faults,
  }


def _prepare(here: Path, limit: float) -> tuple[Answer, list[str]]:
  """Runs the command; and the processes that it leaves."""
  words = [
    *(sys.executable, "-m", "data_pipelines.prepare", "--source=folder"),
    *(f"--input={here / 'in'}", f"--output={here / 'set'}", "--size=32"),
    *("--workers=1", "--max-reject=1", "--held-out=0"),
  ]
  begin = time.monotonic()
  with (here / "out").open("wb") as out, (here / "err").open("wb") as err:
    process = subprocess.Popen(
      words,
      stdin=subprocess.DEVNULL,
      stdout=out,
      stderr=err,
      cwd=ROOT,
      env=environment(here),
    )
  watch = Watch(process.pid)
  code = None
  try:
    code = process.wait(limit)
  except subprocess.TimeoutExpired:
    process.send_signal(signal.SIGKILL)
    process.wait()
  stayed = watch.close()
  said = [
    (here / name).read_bytes().decode(errors="replace")
    for name in ("out", "err")
  ]
  seconds = time.monotonic() - begin
  return Answer(code, seconds, 0.0, watch.peak, *said), stayed


def _became(
  here: Path, batch: Sequence[mutants.Mutant]
) -> tuple[set[str], set[str], list[str]]:
  """Files that gave clips, those that gave none, and what is wrong."""
  clips = {re.sub(r"_\d+$", "", row.clip) for row in read_index(here / "set")}
  rows = [
    json.loads(line)
    for line in (here / "set" / "rejects.jsonl").read_text().splitlines()
  ]
  whole = collections.Counter(
    Path(x["file"]).name for x in rows if x["start"] is None
  )
  there = {one.path.name: one.path.stem for one in batch}
  taken = {name for name, stem in there.items() if {name, stem} & clips}
  rejected = {Path(x["file"]).name for x in rows} - taken
  wrong = [
    f"{name}: {count} lines of rejects.jsonl"
    for name, count in whole.items()
    if count > 1
  ]
  wrong += [
    f"{x['file']}: {x['reason']}"
    for x in rows
    if x["reason"].startswith("unexpected")
  ]
  for one in batch:
    name, path = one.path.name, here / "in" / one.path.name
    video = not video_files.other_kind(name) and video_files.is_video(str(path))
    if video and name not in taken | rejected and not _is_copy(path):
      wrong.append(f"{name}: neither a clip nor in rejects.jsonl")
  if "whole" not in clips and not any("whole.mp4" in x for x in there):
    wrong.append("whole.mp4: gave no clip")
  return taken, rejected, wrong


def _is_copy(path: Path) -> bool:
  """Whether another file has its content: one of them is taken."""
  content = path.read_bytes()
  return any(
    x != path and x.stat().st_size == len(content) and x.read_bytes() == content
    for x in path.parent.iterdir()
  )
