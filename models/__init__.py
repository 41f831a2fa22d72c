"""Networks, checkpoints and training. Speaks tensors; knows neither HTTP nor the queue."""

import os

# While torch's OpenMP threads wait for each other they spin, and on a busy machine keep a core from the very thread
# that they wait for. OpenMP reads this variable once, when torch is loaded, so it is set before any module of this
# package can load torch. A value that the operator sets stays.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
