"""A bundle that moves photographs, run with jax and numpy alone.

  python examples/serve_minimal.py BUNDLE VOICE.wav POINTS.npy

VOICE is 16 kHz, 16 bits, mono. POINTS are FaceMesh's 468 points beside a face
at rest, (frames, 468, 3), in distances between the outer corners of the eyes.
"""

import json
import sys
import wave
from pathlib import Path

import numpy as np
from jax import export

bundle, voice, out = map(Path, sys.argv[1:])
settings = json.loads((bundle / "config.json").read_text())["settings"]
blob = (bundle / "stablehlo" / "expression.bin").read_bytes()
expression = export.deserialize(bytearray(blob)).call

raw = (bundle / "model.safetensors").read_bytes()
size = int.from_bytes(raw[:8], "little")
weights = {}
for name, entry in json.loads(raw[8 : 8 + size]).items():
  if name != "__metadata__":
    begin, end = (8 + size + x for x in entry["data_offsets"])
    array = np.frombuffer(raw[begin:end], "<f4").reshape(entry["shape"])
    *path, leaf = name.split("/")
    layer = weights
    for step in path:
      layer = layer.setdefault(step, {})
    layer[leaf] = array

with wave.open(str(voice)) as file:
  sound = np.frombuffer(file.readframes(file.getnframes()), "<i2")
frames, context = settings["frames"], settings["context"]
each = round(16_000 / settings["fps"])
count = round(len(sound) / each)
padded = np.pad(sound, (context * each, (frames + context) * each))
lids, calm = np.zeros((1, frames), np.float32), np.zeros((1, 8), np.float32)
points = []
for start in range(0, count, frames):
  heard = padded[start * each :][: (frames + 2 * context) * each]
  points.extend(np.asarray(expression(weights, heard[None], lids, calm))[0])
np.save(out, np.array(points[:count]))
print(f"{count} frames in {out}")
