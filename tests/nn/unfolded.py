"""Convolutions by their definition, for counts of their products."""

import contextlib
from collections.abc import Iterator
from unittest import mock

from speak_jax.nn import conv


@contextlib.contextmanager
def unfolded() -> Iterator[None]:
  """Convolutions make the products that their definition has.

  Those of few channels make some more, as zeros in a larger kernel, and those
  of a map of 2x2 places fewer, for they leave out the zeros around it.
  """
  with mock.patch.multiple(
    conv,
    _places=lambda x, kernel: 1,
    _four=lambda x, kernel: conv._convolve(x, kernel, 1, 1),
  ):
    yield
