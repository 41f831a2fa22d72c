"""torch's counter of arithmetic, imported here and nowhere else, so that it does not load Triton where there is no GPU.

Triton takes 70 MB of memory and half a second to load, and its binding reports objects as leaked when the process ends.
Nothing that runs on a CPU needs it.
"""

import logging
import sys

from models.device import may_have_accelerator

if not may_have_accelerator():
    sys.modules.setdefault("triton", None)  # type: ignore[arg-type]  # makes its import fail, as if not installed
    logging.getLogger("torch.utils.flop_counter").setLevel(logging.ERROR)  # it warns of that

from torch.utils.flop_counter import FlopCounterMode, flop_registry

__all__ = ["FlopCounterMode", "flop_registry"]
