"""Tiny networks, initialised once a session."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import pytest

from tests.models import tiny
from tests.nn.unfolded import unfolded


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


@pytest.fixture(name="unfolded")
def _unfolded() -> Iterator[None]:
  """Convolutions make the products that their definition has."""
  with unfolded():
    yield
