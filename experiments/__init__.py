"""Commands: flags and a few lines each. Run them as `python -m experiments.<name>`."""

import os

# TensorFlow reads this once, when it is first imported: without it every start prints a page about missing GPUs.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
