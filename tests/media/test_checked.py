"""What is read can be given up: between two messages, and while none comes."""

import os

import pytest

from data_pipelines.media import decoder, sandbox
from speak_jax.common import packaged


class Enough(Exception):
  """Of who does not want it any more."""


def after(count):
  """A check that lets so many pass."""
  left = [count]

  def check():
    left[0] -= 1
    if left[0] < 0:
      raise Enough

  return check


def test_reading_ends_where_the_check_says():
  with sandbox.checked(after(0)), pytest.raises(Enough):
    decoder.probe(packaged.PORTRAIT)
  with sandbox.checked(after(100)):
    assert decoder.read_image(packaged.PORTRAIT).any()
  assert decoder.read_image(packaged.PORTRAIT).any()  # outside nobody checks


def test_a_silent_child_is_given_up():
  ours, theirs = os.pipe()
  try:
    with sandbox.checked(after(3)), pytest.raises(Enough):
      sandbox._wait(ours)
    os.write(theirs, b"x")
    with sandbox.checked(after(1)):
      sandbox._wait(ours)
  finally:
    os.close(ours)
    os.close(theirs)
