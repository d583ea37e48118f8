"""The methods that can be trained, and their stages in training order.

A method is its name in METHODS and the files that are called after it:
`stages/NAME.py` with a `TRAINING`, `methods/NAME.py`, and mostly
`models/NAME.py` and `configs/NAME.py`; docs/adding.md builds one. A stage more
of a method is a row of its `TRAINING`, and a section of the config under the
stage's name: steps, batch and microbatch at least. Everything else (the loop,
checkpoints, devices, batches, reports) goes by these tables.

Of a method nothing is imported before it is asked for.
"""

import importlib
from collections.abc import Iterator, Mapping

from speak_jax.stages.base import Row, Training

METHODS: tuple[str, ...] = (
  "speak",
  "atvg",
  "eamm",
  "wav2lip",
  "thpad",
)  # fmt: skip
SPEAKING = "speak"  # the stage whose groups make videos, and bundles hold


def training(method: str) -> Training:
  """How a method is trained.

  Raises:
    ValueError: it is not one of METHODS.
  """
  if method not in METHODS:
    raise ValueError(
      f"config.method {method!r} is not one of {', '.join(METHODS)}"
    )
  return importlib.import_module(f"{__package__}.{method}").TRAINING


class _Stages(Mapping[str, Row]):
  """Every stage of every method, by its name, which is one for all."""

  def __getitem__(self, name: str) -> Row:
    """The row of a stage; looks no further than the method that has it."""
    for method in METHODS:
      stages = training(method).stages
      if name in stages:
        return stages[name]
    raise KeyError(name)

  def __iter__(self) -> Iterator[str]:
    """Names, method by method, in the order in which they train."""
    return (name for method in METHODS for name in training(method).stages)

  def __len__(self) -> int:
    """How many there are."""
    return sum(1 for _ in self)


STAGES = _Stages()


def earlier() -> tuple[str, ...]:
  """Names of the stages before the one that speaks."""
  names = tuple(training("speak").stages)
  return names[: names.index(SPEAKING)]
