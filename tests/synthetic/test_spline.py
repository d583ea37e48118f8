"""The spline is SciPy's."""

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from data_pipelines.synthetic import spline


@pytest.mark.parametrize("knots", [4, 5, 6, 7, 40])
def test_it_goes_as_scipys(knots):
  rng = np.random.default_rng(knots)
  values = rng.uniform(-1, 1, (knots, 3))
  at = np.concatenate([rng.uniform(0, knots - 1, 200), np.arange(knots)])
  wanted = CubicSpline(np.arange(knots), values)(at)
  np.testing.assert_allclose(spline.through(values, at), wanted, 0, 1e-13)
