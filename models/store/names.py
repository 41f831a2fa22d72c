"""Names of models and data sets. Each is a folder's name too, so none is a path, and none is hidden."""

import re

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
