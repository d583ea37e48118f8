"""Annotations are checked while tests run, or a wrong shape would pass."""

import os

import jaxtyping
import numpy as np
import pytest

from data_pipelines.dataset.pictures import resize
from speak_jax import spec


@pytest.mark.skipif(
  "JAXTYPING_DISABLE" in os.environ, reason="type checks are switched off"
)
def test_wrong_rank_is_refused():
  with pytest.raises(jaxtyping.TypeCheckError):
    spec.mouth_opening(np.zeros((3, 68)))


def test_right_shape_and_int_for_float_pass():
  assert spec.mouth_opening(np.ones((3, 68, 2))).shape == (3,)
  assert spec.samples_per_frame(25) == 640
  assert resize(np.zeros((8, 8, 3), np.uint8), 4).shape == (4, 4, 3)
