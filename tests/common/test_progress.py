"""The progress line: its rate leaves the first, compiling step out."""

import time

from speak_jax.common.progress import Progress, clock


def test_rate_is_of_the_steps_after_the_first(monkeypatch, capsys):
  ticks = iter([100.0, 101.0, 102.0, 103.0, 115.0])
  monkeypatch.setattr(time, "monotonic", lambda: next(ticks))
  progress = Progress("toy", "step", 9)
  for step in (1, 2, 3, 4, 5):
    progress.update(step)
  lines = capsys.readouterr().err.splitlines()
  assert lines[0] == "toy 2/9  1.00 steps/s  0:07 left"
  assert lines[1] == "toy 5/9  0.27 steps/s  0:15 left"
  assert len(lines) == 2  # at most one in ten seconds


def test_clock():
  assert clock(65) == "1:05"
  assert clock(3725.4) == "1:02:05"
