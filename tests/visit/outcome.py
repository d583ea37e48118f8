"""What came of a visit, and the file that keeps it for the next run."""

import dataclasses
import json
from pathlib import Path

WORKS, REFUSED, FAULT = "works", "refused", "fault"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
  """Of one case at one door.

  Attributes:
    file, role, door: Which.
    stamp: `Case.stamp`.
    verdict: WORKS, REFUSED, or FAULT: a traceback, no line or several, noise,
      a hang, something left behind, a video that is none.
    seconds: That the user waited.
    line: Why it was refused, without the file's name, or what the fault is.
    warnings: What was said though it works, without names of files.
    frames, width, height: Of the video.
    digest: SHA-256 of its decoded frames.
  """

  file: str
  role: str
  door: str
  stamp: str
  verdict: str
  seconds: float
  line: str = ""
  warnings: tuple[str, ...] = ()
  frames: int = 0
  width: int = 0
  height: int = 0
  digest: str = ""

  @property
  def key(self) -> tuple[str, str, str]:
    """What a run makes once."""
    return self.file, self.role, self.door


class Log:
  """Outcomes in a file of JSON lines; the last one of a key counts."""

  def __init__(self, path: Path, resume: bool):
    """Opens it.

    Args:
      path: Of the file.
      resume: Whether what an earlier run found counts; else it begins anew.
    """
    self._path = path
    self.outcomes: dict[tuple[str, str, str], Outcome] = {}
    if not resume:
      path.write_text("", encoding="utf-8")
    elif path.exists():
      for line in path.read_text(encoding="utf-8").splitlines():
        try:
          row = json.loads(line)
        except ValueError:
          continue  # the last line of a run that was killed
        found = Outcome(**row | {"warnings": tuple(row["warnings"])})
        self.outcomes[found.key] = found

  def knows(self, key: tuple[str, str, str], stamp: str) -> bool:
    """Whether an earlier run has been there and found no fault."""
    found = self.outcomes.get(key)
    return found is not None and found.stamp == stamp and found.verdict != FAULT

  def add(self, outcome: Outcome) -> None:
    """Keeps one."""
    self.outcomes[outcome.key] = outcome
    with self._path.open("a", encoding="utf-8") as file:
      file.write(json.dumps(dataclasses.asdict(outcome)) + "\n")
