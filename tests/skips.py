"""Continuous integration fails when more tests are skipped than is expected.

Where the environment has CI=true, as GitHub, GitLab and others set it, every
reason of a skip must be in `EXPECTED`, for no more tests than it says there.
pytest itself prints the reasons (`-ra`). A test that nobody can run is thus
noticed when it is written, and so is a machine that has lost a tool.
"""

import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

# How the reason begins: the most tests that it may leave out.
EXPECTED = {
  # What drawings cannot show, and weights that are too large to store.
  "no folder shared/": 4,
  "no browser": 6,
  "no Apache Beam here": 1,
  "no PocketSphinx here": 6,
  "no jax2onnx here": 2,
  "no libtpu here": 1,
  "no PyTorch here": 28,
  "PyTorch is here": 1,
  "Apache Beam is installed": 1,
  "Gradio is installed": 1,
  "root may write everywhere": 1,
  "no zsh": 10,
  "no dash here": 1,
}


class Floor:
  """A plugin; the main process counts what all of them have skipped."""

  def __init__(self, expected: Mapping[str, int] = EXPECTED):
    """Nothing was skipped yet."""
    self.expected = expected
    self.found: Counter[str] = Counter()

  def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
    """Counts a skip by its reason; what is expected to fail is none."""
    if report.skipped and not hasattr(report, "wasxfail"):
      *_, reason = report.longrepr  # type: ignore[misc]  # file, line, reason
      self.found[str(reason).removeprefix("Skipped: ")] += 1

  def beyond(self) -> list[str]:
    """A line for each reason that is not expected, or not so often."""
    counts: Counter[str] = Counter()
    for reason, count in self.found.items():
      begins = [x for x in self.expected if reason.startswith(x)]
      counts[begins[0] if begins else reason] += count
    return [
      f"{count} skipped, {self.expected.get(reason, 0)} expected: {reason}"
      for reason, count in sorted(counts.items())
      if count > self.expected.get(reason, 0)
    ]

  @pytest.hookimpl(tryfirst=True)
  def pytest_sessionfinish(self, session: pytest.Session) -> None:
    """Fails the run of the main process."""
    worker = hasattr(session.config, "workerinput")
    if in_ci() and not worker and self.beyond() and session.exitstatus == 0:
      session.exitstatus = pytest.ExitCode.TESTS_FAILED

  def pytest_terminal_summary(self, terminalreporter: Any) -> None:
    """Says what is beyond."""
    if in_ci() and (lines := self.beyond()):
      terminalreporter.section("more skips than tests/skips.py expects")
      for line in lines:
        terminalreporter.write_line(line)


def in_ci() -> bool:
  """Whether this is a run of continuous integration."""
  return os.environ.get("CI", "").lower() not in ("", "0", "false")
