"""The figures of a step, together in one array."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from speak_jax.stages.base import Metrics


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Scalars(Mapping[str, Any]):
  """Named figures in one vector, so that one copy brings them to the host."""

  vector: Any  # Float[Array, "... n"]
  names: tuple[str, ...] = dataclasses.field(metadata={"static": True})

  @classmethod
  def of(cls, figures: Metrics) -> "Scalars":
    """Of named scalars, in the order of their names."""
    names = tuple(sorted(figures))
    values = [jnp.asarray(figures[name], jnp.float32) for name in names]
    return cls(jnp.stack(values), names)

  def __getitem__(self, name: str) -> Any:
    """One figure."""
    try:
      return self.vector[..., self.names.index(name)]
    except ValueError:
      raise KeyError(name) from None

  def __iter__(self) -> Iterator[str]:
    """The names."""
    return iter(self.names)

  def __len__(self) -> int:
    """How many there are."""
    return len(self.names)
