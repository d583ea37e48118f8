"""Counts the programs that XLA compiles for each test, and sets a limit.

Each operation on each shape that runs outside of `jax.jit` is a program of
its own: some 25 ms, whatever it does. In the folders of `LIMITED` a test that
needs more than `LIMIT` is an error; what cannot do with less is marked
`@pytest.mark.compiles(number)`, which holds in every folder.
Programs that come from the cache of an earlier run count as well, so that a
test does not pass the second time. Those of a module's fixtures count for the
test that runs first.
"""

import sys
from typing import Any

import pytest

LIMIT = 100
LIMITED = ("losses", "models", "nn", "stages")  # below tests/
WORST = 10
EVENT = "/jax/core/compile/backend_compile_duration"
NAME = "compiled"  # of the property in a test's report


class Budget:
  """A plugin; one for each process."""

  def __init__(self) -> None:
    """Nothing was compiled; JAX need not be there."""
    self.count, self.seconds = 0, 0.0
    self.listens = False
    self.before = (0, 0.0)
    self.found: dict[str, tuple[int, float]] = {}

  def listen(self) -> None:
    """From now on, if anything has imported JAX."""
    jax = sys.modules.get("jax")
    if jax and not self.listens:
      jax.monitoring.register_event_duration_secs_listener(self.note)
      self.listens = True

  def note(self, event: str, seconds: float, **_: Any) -> None:
    """Of JAX: something took so long."""
    if event == EVENT:
      self.count += 1
      self.seconds += seconds

  @pytest.hookimpl(wrapper=True)
  def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
    """Begins to count for a test."""
    self.listen()
    self.before = (self.count, self.seconds)
    return (yield)

  @pytest.hookimpl(wrapper=True)
  def pytest_runtest_call(self, item: pytest.Item) -> Any:
    """A test that passes and has compiled too much is an error after all."""
    result = yield
    marked = item.get_closest_marker("compiles")
    limit = LIMIT if item.path.parent.name in LIMITED else None
    limit = marked.args[0] if marked else limit
    count = self.count - self.before[0]
    if limit is not None and count > limit:
      pytest.fail(
        f"{count} compiled programs, {limit} are allowed: use tests/jitted.py"
        " or NumPy, or mark it (tests/compiles.py)",
        pytrace=False,
      )
    return result

  @pytest.hookimpl(wrapper=True)
  def pytest_runtest_makereport(self, item: pytest.Item) -> Any:
    """Gives the count to the report, which goes to the main process."""
    report = yield
    if report.when == "call":
      count, seconds = self.count, self.seconds
      found = (count - self.before[0], seconds - self.before[1])
      report.user_properties.append((NAME, found))
    return report

  def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
    """Collects what all processes have found."""
    for name, found in report.user_properties:
      if name == NAME:
        self.found[report.nodeid] = tuple(found)

  def pytest_terminal_summary(self, terminalreporter: Any) -> None:
    """The tests that compile most."""
    worst = sorted(self.found.items(), key=lambda x: x[1], reverse=True)
    total = sum(count for count, _ in self.found.values())
    if not total:
      return
    terminalreporter.section("most compiled programs")
    for name, (count, seconds) in worst[:WORST]:
      if count:
        terminalreporter.write_line(f"{count:5d} {seconds:7.1f}s {name}")
    seconds = sum(seconds for _, seconds in self.found.values())
    terminalreporter.write_line(f"{total:5d} {seconds:7.1f}s all tests")
