"""A part of the report: its metric values, paragraphs and pictures."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from speak_jax.evaluation.metric_table import MetricValues


class Section(NamedTuple):
  """What one kind of measurement adds to the report."""

  values: MetricValues
  paragraphs: Sequence[str] = ()  # Markdown
  pictures: Mapping[str, UInt8[np.ndarray, "h w 3"]] = {}  # by file name
