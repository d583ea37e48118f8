"""Kills preparation at random moments; compares bytes with a run left alone.

  python -m tests.faults.prepare --input VIDEOS --out DIR --kills 10

Prints a JSON line a finding; the exit code is 0 if all bytes were equal.
tests/ingest/test_run.py has small ones of these, on drawn clips.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path


def start(videos: Path, data: Path, *options: str) -> subprocess.Popen:
  """The real command; what it says goes to a file beside the data."""
  command = [sys.executable, "-m", "data_pipelines.prepare"]
  command += ["--source=folder", f"--input={videos}", f"--output={data}"]
  with data.with_suffix(".log").open("a") as log:
    return subprocess.Popen([*command, *options], stdout=log, stderr=log)


def content(data: Path) -> dict[str, bytes]:
  """Every file of a data set, but those of `.parts`."""
  return {p.name: p.read_bytes() for p in data.iterdir() if p.is_file()}


def finding(name: str, ok: bool, **facts) -> bool:
  print(json.dumps({"finding": name, "ok": ok, **facts}), flush=True)
  return ok


def campaign(videos: Path, out: Path, kills: int, seed: int) -> bool:
  """1, 2 and 4 workers, shards, then kills; whether all bytes were equal."""
  out.mkdir(parents=True)
  took, ok = 0.0, True
  whole: dict[str, bytes] = {}
  for workers in (1, 2, 4):
    data, begin = out / f"workers{workers}", time.monotonic()
    code = start(videos, data, f"--workers={workers}").wait()
    took = max(took, time.monotonic() - begin)
    if code:
      return finding("workers", False, workers=workers, code=code)
    whole = whole or content(data)
    same = content(data) == whole
    ok &= finding("workers", same, workers=workers, seconds=round(took, 1))
  data = out / "shards"
  runs = [
    start(videos, data, "--workers=1", f"--shard={i}/3") for i in (1, 2, 3)
  ]
  codes = [run.wait() for run in [*runs, start(videos, data)]]
  ok &= finding("shards", content(data) == whole, codes=codes)
  rng, data = random.Random(seed), out / "killed"
  done = 0
  while done < kills:
    run = start(videos, data, "--workers=2")
    time.sleep(rng.uniform(0.0, took / 2))
    if run.poll() is not None:  # it was done before: once more from nothing
      ok &= finding("whole", content(data) == whole, code=run.returncode)
      shutil.rmtree(data)
      continue
    run.kill()
    run.wait()
    done += 1
    clips = len(list(data.glob(".parts/*/*.clip")))
    shards = len(list(data.glob(".parts/*.array_record")))
    finding("kill", True, staged_clips=clips, shards=shards)
  code = start(videos, data, "--workers=2").wait()
  same = content(data) == whole
  return ok & finding("kills", same, code=code, kills=kills)


def main() -> int:
  """Runs the command; returns the exit code."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--input", type=Path, required=True)
  parser.add_argument("--out", type=Path, required=True)
  parser.add_argument("--kills", type=int, default=10)
  parser.add_argument("--seed", type=int, default=0)
  flags = parser.parse_args()
  return int(not campaign(flags.input, flags.out, flags.kills, flags.seed))


if __name__ == "__main__":
  sys.exit(main())
