"""Kills, stops and freezes the real command, and says what came of it.

  python -m tests.faults.campaign kills --processes 1 --kills 25 --out DIR
  python -m tests.faults.campaign kills --processes 2 --kills 10 --out DIR
  python -m tests.faults.campaign faults --times 5 --out DIR
  python -m tests.faults.campaign cut --heartbeat 30 --out DIR
  python -m tests.faults.campaign disk --processes 2 --out DIR
  python -m tests.faults.campaign vain --out DIR
  python -m tests.faults.campaign damage --out DIR
  python -m tests.faults.campaign diverge --out DIR
  python -m tests.faults.campaign soak --minutes 30 --out DIR
  python -m tests.faults.campaign media --files 500 --out DIR

One JSON line a finding, also in DIR/findings.jsonl; the exit code is 0 if
everything held. tests/faults/test_*.py run small ones of these.
"""

import argparse
import json
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from data_pipelines.dataset import ranges
from data_pipelines.dataset.index import read_index
from speak_jax.common import exit_codes
from tests.faults import lab as labs
from tests.faults import machine, media

HEARTBEAT = 5  # s, config.cluster.heartbeat_timeout where processes fall silent


def kills(
  lab: labs.Lab,
  processes: int,
  wanted: int,
  each: int = 0,
  seed: int = 0,
) -> dict[str, Any]:
  """Kills random processes at random moments until the run ends all the same.

  Runs follow one another until there were enough kills. A start that comes to
  nothing three times in a row ends with 68, as it should; it is started anew.

  Args:
    lab: Where.
    processes: That train together.
    wanted: Kills, at least.
    each: Kills of each process, at least.
    seed: Of the moments and of who is hit.

  Returns:
    Counts, and whether every run ended as one that nobody touched.
  """
  lab.data()
  want, whole = straight(lab, processes)
  seconds = round(0.75 * whole, 1)  # mean time from a start to its kill
  name = f"killed{processes}_{seed}"
  hit, runs, gave_up, endings = [0] * processes, 0, 0, []
  gone: list[float] = []
  while sum(hit) < wanted or min(hit) < each:
    run = lab.folder / f"{name}_{runs}"
    code, text = exit_codes.NO_PROGRESS, ""
    while code == exit_codes.NO_PROGRESS:
      left = max(wanted - sum(hit), each * processes - sum(hit), 1)
      options = (
        *("--chaos-kill-every", str(seconds)),
        *("--chaos-kills", str(left)),
        *("--seed", str(seed)),
      )
      code, output = lab.local(run, processes, *options)
      seed += 1
      gave_up += code == exit_codes.NO_PROGRESS
      text += output
    for rank in re.findall(r"chaos: kill -9 of process (\d+)", text):
      hit[int(rank)] += 1
    gone += map(float, re.findall(r"were gone (\d+\.\d+) s later", text))
    endings.append(code == 0 and labs.digest(text) == want)
    if not endings[-1]:
      (lab.folder / f"{name}_{runs}.log").write_text(text)
    runs += 1
  return {
    "what": "kills",
    "processes": processes,
    "kills": sum(hit),
    "by_process": hit,
    "runs": runs,
    "no_progress": gave_up,
    "others_gone_s": max(gone, default=0.0),
    "sha256": want,
    "held": all(endings),
  }


def straight(lab: labs.Lab, processes: int) -> tuple[str, float]:
  """Digest and seconds of a run that nobody touches; it is made once."""
  kept = lab.folder / f"straight{processes}.json"
  if not kept.exists():
    run, began = lab.folder / f"straight{processes}", time.monotonic()
    code, output = lab.local(run, processes)
    assert code == 0, output
    took = time.monotonic() - began
    kept.write_text(json.dumps([labs.digest(output), took]))
  found, seconds = json.loads(kept.read_text())
  return found, seconds


def faults(
  lab: labs.Lab, name: str, rank: int = 1, heartbeat: int = HEARTBEAT
) -> dict[str, Any]:
  """Two processes, of which one is stopped, killed and frozen in turn.

  Each fault hits a start of the same run; the last one goes to the end.

  Args:
    lab: Where.
    name: Of the run.
    rank: Who is hit.
    heartbeat: Seconds of silence after which a process counts as lost.

  Returns:
    Seconds and exit codes of each fault, and whether all was as promised.
  """
  lab.data()
  run = lab.folder / name
  found: dict[str, Any] = {"what": "faults", "rank": rank}
  beat = f"--config.cluster.heartbeat_timeout={heartbeat}"

  def hit(step: int, number: int, *flags: str) -> tuple[list[int], float]:
    """Exit codes, and seconds from the signal until the last one was gone."""
    with lab.start(run, 2, beat, *flags) as them:
      them.until_step(step)
      sent = them.all[rank].signal(number)
      others = [one for one in them.all if one is not them.all[rank]]
      waited = them.all if number == signal.SIGTERM else others
      codes = [one.wait(60) for one in waited]
      seconds = max(one.gone_at for one in waited) - sent
      found.setdefault("lines", []).extend(
        line for line in them.output() if "train: process" in line
      )
    return codes, round(seconds, 2)

  rarely = "--config.train.save_every=1000"  # what is saved, the signal did
  found["sigterm"], found["sigterm_s"] = hit(1, signal.SIGTERM, rarely)
  found["sigterm_saved"] = saved = labs.newest(run)
  found["death"], found["death_s"] = hit(saved + 5, signal.SIGKILL)
  found["freeze"], found["freeze_s"] = hit(labs.newest(run) + 5, signal.SIGSTOP)
  code, output = lab.local(run, 2)
  found["equal"] = code == 0 and labs.digest(output) == straight(lab, 2)[0]
  found["held"] = (
    found["sigterm"] == [exit_codes.RESTART] * 2
    and found["sigterm_s"] <= 5
    and saved > 1
    and found["death"] == [exit_codes.PEER_LOST]
    and found["death_s"] <= 2
    and found["freeze"] == [exit_codes.PEER_LOST]
    and found["freeze_s"] <= heartbeat + 5
    and found["equal"]
  )
  return found


def cut(lab: labs.Lab, heartbeat: int = HEARTBEAT) -> dict[str, Any]:
  """Two hosts whose cable is pulled; both must end. Needs root.

  Returns:
    Seconds and exit codes, and whether all was as promised.
  """
  lab.data()
  run = lab.folder / "cut"
  beat = f"--config.cluster.heartbeat_timeout={heartbeat}"
  with machine.hosts() as hosts, lab.start(run, 2, beat, hosts=hosts) as them:
    them.until_step(5)
    hosts.cut()
    began = time.monotonic()
    codes = [one.wait(heartbeat + 60) for one in them.all]
    seconds = max(one.gone_at for one in them.all) - began
    lines = [line for line in them.output() if "train: process" in line]
  code, output = lab.local(run, 2)
  equal = code == 0 and labs.digest(output) == straight(lab, 2)[0]
  return {
    "what": "cut",
    "heartbeat_s": heartbeat,
    "codes": codes,
    "seconds_s": round(seconds, 2),
    "equal": equal,
    "lines": lines,
    "held": codes == [exit_codes.PEER_LOST] * 2
    and seconds <= heartbeat + 5
    and equal,
  }


def disk(lab: labs.Lab, processes: int = 1) -> dict[str, Any]:
  """A disk that fills up while a run saves on it. Needs root.

  Once it is emptied after a save was refused, and the run must go on as if
  nothing had been; once it stays full, and the run must end.

  Args:
    lab: Where.
    processes: That train together.

  Returns:
    What was said, whether the last good checkpoint is still there, and
    whether the runs end as one that nobody touched.
  """
  lab.data()
  folder = lab.folder / f"disk{processes}"
  refused = "MB free on the disk|No space left on device"
  with machine.disk(folder, 64) as small:
    passing, lasting = folder / "passing", folder / "lasting"
    with lab.start(passing, processes) as them:
      them.until_step(10)
      small.fill()
      them.until(lambda: any(re.search(refused, x) for x in them.output()))
      small.free()
      passed = [one.wait(300) for one in them.all]
    told = [x for x in them.output() if re.search(refused, x)]
    equal = [labs.digest("\n".join(them.output()))]
    with lab.start(lasting, processes) as them:
      them.until_step(10)
      small.fill()
      good = labs.newest(lasting)
      codes = [one.wait(300) for one in them.all]
    text = "\n".join(them.output())
    told += [x for x in them.output() if re.search(refused, x)]
    kept = labs.newest(lasting)
    small.free()
    verdict, _ = lab.run(
      [
        sys.executable,
        "-m",
        "speak_jax.tools.verify_checkpoints",
        "verify",
        str(lasting),
      ]
    )
    again, output = lab.local(lasting, processes)
    equal.append(labs.digest(output))
  want, _ = straight(lab, processes)
  return {
    "what": "disk",
    "processes": processes,
    "emptied": passed,
    "filled": codes,
    "told": told,
    "good_before": good,
    "good_after": kept,
    "verified": verdict == 0,
    "equal": [one == want for one in equal],
    "held": passed == [0] * processes
    and codes[0] == 1
    and set(codes) <= {1, exit_codes.PEER_LOST}
    and bool(re.search(refused, text))
    and kept >= good
    and verdict == 0
    and again == 0
    and equal == [want, want],
  }


def vain(lab: labs.Lab) -> dict[str, Any]:
  """A process that is killed again and again before it has saved anything.

  Returns:
    The exit code of every start.
  """
  lab.data()
  run, codes = lab.folder / "vain", []
  late = "--config.train.first_save=1000"
  for _ in range(4):
    with lab.start(run, 1, late, "--config.train.save_every=1000") as them:
      (one,) = them.all
      them.until(lambda one=one: any("data: train" in x for x in one.lines))
      one.signal(signal.SIGKILL)
      codes.append(one.wait(60))
  code, output = lab.run(lab.command(run))
  codes.append(code)
  return {
    "what": "vain",
    "codes": codes,
    "lines": output.splitlines()[-1:],
    "held": codes == [137] * 4 + [exit_codes.NO_PROGRESS],
  }


def damage(lab: labs.Lab) -> dict[str, Any]:
  """A data set of which one clip has a flipped bit where every sample reads.

  Pictures that no sample shows are not read, so their bits harm nothing.

  Returns:
    Exit codes without and with a clip allowed, and what was said.
  """
  lab.data()
  data = lab.folder / "damaged"
  shutil.copytree(lab.folder / "data", data, dirs_exist_ok=True)
  shard = sorted(data.glob("*train.array_record*"))[0]
  clips = read_index(data)
  table = next(clip.at for clip in clips if clip.shard == shard.name)
  content = bytearray(shard.read_bytes())
  content[ranges.physical(table)] ^= 1
  shard.write_bytes(content)
  path = f"--config.data.path={data}"
  none, first = lab.run(
    lab.command(lab.folder / "none", path, "--config.data.max_bad=0")
  )
  some, second = lab.run(
    lab.command(lab.folder / "some", path, "--config.data.max_bad=1")
  )
  told = [x for x in second.splitlines() if "replaced (1 of at most 1)" in x]
  return {
    "what": "damage",
    "codes": [none, some],
    "lines": [*first.splitlines()[-1:], *told],
    "held": [none, some] == [exit_codes.BAD_DATA, 0] and bool(told),
  }


def diverge(lab: labs.Lab) -> dict[str, Any]:
  """A learning rate that no number survives.

  Returns:
    The exit code, and what was said.
  """
  lab.data()
  steep = ("--config.syncnet.optim.lr=1e30", "--config.syncnet.optim.clip=0.0")
  code, output = lab.run(lab.command(lab.folder / "diverge", *steep))
  back = output.count("going back, and on without batches")
  return {
    "what": "diverge",
    "exit": code,
    "went_back": back,
    "lines": output.splitlines()[-1:],
    "held": code == exit_codes.DIVERGED and back == 3,
  }


def soak(lab: labs.Lab, minutes: float, seed: int = 0) -> dict[str, Any]:
  """Two processes under chaos for long: memory, what is left behind.

  Returns:
    Starts, kills, and how much memory a start's processes gained between the
    first and the last third of its time, at worst.
  """
  lab.data()
  run = lab.folder / "soak"
  before = set(Path("/dev/shm").iterdir())
  words = [sys.executable, "-m", "launch.local", "-n", "2"]
  words += ["--chaos-kill-every", "180", "--seed", str(seed), "--"]
  words += lab.command(run, "--config.syncnet.steps=10000000")
  launcher = labs.Process(words, lab.environment())
  sizes: dict[int, list[int]] = {}
  end = time.monotonic() + 60 * minutes
  try:
    while time.monotonic() < end and not launcher.gone_at:
      for pid in children(launcher.pid):
        sizes.setdefault(pid, []).append(media.resident(pid))
      time.sleep(2)
    seen = set(sizes)
    launcher.signal(signal.SIGTERM)
    code = launcher.wait(60)
  finally:
    launcher.kill()
  text = "\n".join(launcher.lines)
  grown = [growth(one) for one in sizes.values() if len(one) >= 45]
  left = [pid for pid in seen if Path(f"/proc/{pid}").exists()]
  found = {
    "what": "soak",
    "minutes": minutes,
    "starts": text.count("local: start "),
    "kills": text.count("chaos: kill -9"),
    "step": labs.newest(run),
    "growth_percent": round(100 * max(grown, default=0.0), 1),
    "processes_measured": len(grown),
    "left_processes": len(left),
    "left_shm": len(set(Path("/dev/shm").iterdir()) - before),
    "exit": code,
  }
  found["held"] = (
    code == exit_codes.RESTART
    and bool(grown)
    and found["growth_percent"] <= 5
    and not left
    and not found["left_shm"]
  )
  return found


SHORT = {
  "vain": vain,
  "damage": damage,
  "diverge": diverge,
}


def children(pid: int) -> list[int]:
  """Processes that a process has started."""
  try:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
  except OSError:
    return []
  return [int(word) for word in text.split()]


def growth(sizes: Sequence[int]) -> float:
  """What was gained from the middle third to the last, of it."""
  part = len(sizes) // 3
  middle = sorted(sizes[part : 2 * part])[part // 2]
  last = sorted(sizes[-part:-1])[part // 2]  # the very last may be half gone
  return last / middle - 1


def main(argv: Sequence[str] | None = None) -> int:
  """Runs a campaign; 0 if everything held."""
  parser = argparse.ArgumentParser(
    prog="python -m tests.faults.campaign",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument(
    "what", choices=("kills", "faults", "cut", "disk", *SHORT, "soak", "media")
  )
  parser.add_argument("--out", type=Path, required=True)
  parser.add_argument("--processes", type=int, default=1)
  parser.add_argument("--kills", type=int, default=25)
  parser.add_argument("--times", type=int, default=5, help="each process")
  parser.add_argument(
    "--heartbeat", type=int, default=HEARTBEAT, help="s of silence"
  )
  parser.add_argument("--minutes", type=float, default=30.0)
  parser.add_argument("--files", type=int, default=500, help="of media")
  parser.add_argument("--roles", type=int, default=4, help="of each file")
  parser.add_argument("--seed", type=int, default=0)
  given = parser.parse_args(argv)
  lab = labs.Lab(given.out.absolute())
  todo: Iterable[Callable[[], dict[str, Any]]]
  if given.what == "kills":
    each = 3 if given.processes > 1 else 0
    todo = [lambda: kills(lab, given.processes, given.kills, each, given.seed)]
  elif given.what == "faults":
    todo = [
      lambda i=i: faults(lab, f"faults{i}", i % 2, given.heartbeat)
      for i in range(2 * given.times)
    ]
  elif given.what == "cut":
    todo = [lambda: cut(lab, given.heartbeat)]
  elif given.what == "disk":
    todo = [lambda: disk(lab, given.processes)]
  elif given.what in SHORT:
    todo = [lambda: SHORT[given.what](lab)]
  elif given.what == "media":
    found = media.media(
      lab.folder / "media", given.files, given.seed, given.roles
    )
    todo = (lambda one=one: one for one in found)
  else:
    todo = [lambda: soak(lab, given.minutes, given.seed)]
  held = True
  with (lab.folder / "findings.jsonl").open("a") as findings:
    for work in todo:
      began = time.monotonic()
      line = json.dumps(work() | {"seconds": round(time.monotonic() - began)})
      print(line, flush=True)
      print(line, file=findings, flush=True)
      held &= json.loads(line)["held"]
  return 0 if held else 1


if __name__ == "__main__":
  sys.exit(main())
