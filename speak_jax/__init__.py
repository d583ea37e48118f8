"""Talking heads that are trained, measured and made with JAX.

  import speak_jax

  model = speak_jax.load()
  video = model.generate("face.jpg", "voice.wav", emotion="happy:0.7")
  video.save("out.mp4")

Importing this imports no JAX; what is asked for is imported then.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from speak_jax.inference.inputs import Rules
  from speak_jax.inference.model import Model, load
  from speak_jax.inference.request import Request, RequestError
  from speak_jax.inference.stream import Frame, Stream
  from speak_jax.inference.video import Video

__version__ = "0.1.0"
__all__ = [
  "Frame",
  "Model",
  "Request",
  "RequestError",
  "Rules",
  "Stream",
  "Video",
  "load",
]

_WHERE = {
  "Frame": "stream",
  "Model": "model",
  "Request": "request",
  "RequestError": "request",
  "Rules": "inputs",
  "Stream": "stream",
  "Video": "video",
  "load": "model",
}


def __getattr__(name: str) -> Any:
  if name not in _WHERE:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
  module = importlib.import_module(f"{__name__}.inference.{_WHERE[name]}")
  return getattr(module, name)


def __dir__() -> list[str]:
  return sorted([*globals(), *__all__])
