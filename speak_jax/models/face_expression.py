"""Which expression a real face has: a public network that judges.

It shares nothing with what is trained here. See `face_blocks` for its source,
`pretrained.face_api` for its weights.
"""

from collections.abc import Mapping
from typing import Any

import jax
from jaxtyping import Array, Float, UInt8

from speak_jax.common import packaged
from speak_jax.models import face_blocks

WEIGHTS = packaged.FACES / "expression.safetensors"
# In the order of its outputs, by the names of `spec.EMOTIONS`; contempt is none
# of them.
EXPRESSIONS = (
  "neutral",
  "happy",
  "sad",
  "angry",
  "fear",
  "disgusted",
  "surprised",
)


@jax.jit
def probabilities(
  params: Mapping[str, Any], pictures: UInt8[Array, "n 112 112 3"]
) -> Float[Array, "n 7"]:
  """How probable each of EXPRESSIONS is. Compiled anew for each n.

  Args:
    params: `quantized.load(WEIGHTS)`.
    pictures: RGB, cut by `data_pipelines.faces.upright`.
  """
  with jax.default_matmul_precision("highest"):
    return jax.nn.softmax(face_blocks.head(params, pictures))
