"""Tiny networks, initialised once a session."""

from typing import Any, NamedTuple

import jax
import pytest

from speak_jax.nn import conv
from tests.models import tiny


class World(NamedTuple):
  """Networks, their variables, and what the encoders say of two examples."""

  networks: Any
  encoders: Any
  decoder: Any
  speak: Any
  portrait: Any
  codes: Any


@pytest.fixture(scope="session")
def world() -> World:
  networks = tiny.networks()
  key = jax.random.key(0)
  (portrait, codes), encoders = jax.jit(networks.encoders.init_with_output)(
    key, tiny.pair()
  )
  decoder = jax.jit(networks.decoder.init)(key, portrait, codes)
  speak = jax.jit(networks.speak.init)(
    key,
    portrait,
    tiny.normal(1, 2, tiny.FRAMES, 4),
    codes.emotion,
    tiny.audio(2),
  )
  return World(networks, encoders, decoder, speak, portrait, codes)


@pytest.fixture
def unfolded(monkeypatch: pytest.MonkeyPatch) -> None:
  """Convolutions make the products that their definition has.

  Those of few channels make some more, as zeros in a larger kernel.
  """
  monkeypatch.setattr(conv, "FEW", 0)
