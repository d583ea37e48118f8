"""Batches with numbers, of which some are left out."""

from collections.abc import Iterable
from typing import Any


class BatchStream:
  """An endless iterator of batches that knows how many it has read.

  Its position is the same on every process: a batch has one number, whatever
  share of it a process reads.
  """

  def __init__(self, batches: Any):
    """Wraps an iterator with get_state and set_state."""
    self._batches = batches
    self._begin = batches.get_state()
    self._read = 0
    self.number = -1  # of the batch given last
    self.skipped: set[int] = set()  # numbers of batches to leave out
    self.rolled: list[int] = []  # steps at which training was rolled back
    self.bad: list[int] = []  # batches of the last steps, all of them bad

  def __next__(self) -> Any:
    """The next batch that is not left out."""
    while True:
      batch = next(self._batches)
      self.number, self._read = self._read, self._read + 1
      if self.number not in self.skipped:
        return batch

  def skip(self, numbers: Iterable[int]) -> None:
    """Leaves out batches from now on."""
    self.skipped.update(numbers)

  def get_state(self) -> dict[str, Any]:
    """Where it stands, plain data for JSON."""
    return {
      "batches": self._batches.get_state(),
      "read": self._read,
      "skipped": sorted(self.skipped),
      "rolled": self.rolled,
      "bad": self.bad,
    }

  def set_state(self, state: dict[str, Any], step: int) -> None:
    """Goes on from there.

    Args:
      state: From `get_state`, or the bare iterator's, as it was kept before.
      step: Steps done; the bare iterator gave one batch to each.
    """
    if "batches" not in state:
      state = {"batches": state, "read": step}
    self._batches.set_state(state["batches"])
    self._read = state["read"]
    self.skipped = set(state.get("skipped", ()))
    self.rolled = list(state.get("rolled", ()))
    self.bad = list(state.get("bad", ()))

  def forget(self) -> None:
    """The data are others: what is known of batches is of none of these."""
    self.skipped, self.bad = set(), []

  def rewind(self) -> None:
    """Goes on from the beginning."""
    self.set_state({"batches": self._begin, "read": 0}, 0)
