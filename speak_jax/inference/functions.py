"""The pure functions of inference, as a bundle has them.

Goes in: uint8 pictures, int16 sound, weights. Comes out: codes and uint8
frames. Pixels and sound reach the device as integers and are scaled there,
once, inside these functions. `lowering` makes them out of networks; nothing
here knows any, so that a bundle is soon running.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from jax import export
from jaxtyping import Array

Variables = Mapping[str, Any]  # {"encoders": ..., "speak": ...} for .apply

PLATFORMS = ("cpu", "cuda", "tpu")


class Functions(NamedTuple):
  """The five pure functions of inference; `variables` come first.

  A portrait is a plain tuple of the fields of `models.irfd.IdentityFeatures`: a
  bundle's functions know no class of ours. In bundles of format 1 the speech of
  a window is its sound, and `frames` encodes it.
  """

  portrait: Callable  # (variables, u8 (b h w 3), landmarks (b 68 2)) -> tuple
  pose: Callable  # (variables, u8 (b h w 3)) -> (b p)
  emotion: Callable  # (variables, u8 (b f f 3)) -> (b e)
  speech: Callable  # (variables, audio int16 (b s), level (b 11)) -> (b n a)
  frames: Callable  # (variables, portrait, pose (b t p), emotion (b e),
  #                    speech (b t a)) -> u8 (b t h w 3)


def deserialize(
  artifacts: Mapping[str, bytes], written_by: str | None = None
) -> Functions:
  """Makes the functions of `lowering.serialize` callable on this machine.

  Args:
    artifacts: {name: serialised function}; "speech" is absent in format 1.
    written_by: See `called`.

  Raises:
    ValueError: This version of jax cannot read them; one line.
  """
  return Functions(**({"speech": _as_sound} | called(artifacts, written_by)))


def called(
  artifacts: Mapping[str, bytes], written_by: str | None = None
) -> dict[str, Callable]:
  """Makes serialised functions callable, by name.

  Args:
    artifacts: {name: serialised function}.
    written_by: Version of jax, if the bundle says it.

  Raises:
    ValueError: This version of jax cannot read them; one line.
  """
  calls: dict[str, Callable] = {}
  for name, blob in artifacts.items():
    try:
      exported = export.deserialize(bytearray(blob))
      exported.mlir_module()  # reads what would else fail at the first call
    except (jax.errors.JaxRuntimeError, ValueError) as error:
      raise ValueError(
        f"{name}: written by {_jax(written_by)}, and jax {jax.__version__}"
        " cannot read it; use that one, or write the bundle anew with this one"
        " (speak export --workdir BUNDLE --out NEW)"
      ) from error
    calls[name] = exported.call
  return calls


def _jax(version: str | None) -> str:
  return "another jax" if version is None else f"jax {version}"


def _as_sound(variables: Any, audio: Array, level: Array) -> Array:
  """Passes the sound of a window on, where `frames` encodes it."""
  del variables, level
  return audio
