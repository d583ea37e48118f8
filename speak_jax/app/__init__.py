"""The page in a browser: `speak app`."""

import os

# Gradio reads these when it is imported: it shall tell nobody that it was
# started, and look for no newer version of itself.
os.environ.update(
  GRADIO_ANALYTICS_ENABLED="False",
  HF_HUB_DISABLE_TELEMETRY="1",
  HF_HUB_OFFLINE="1",
)
