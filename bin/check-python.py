"""Says in one line what this Python lacks to set up Doppel, before anything is installed. Runs on any Python 3."""

import sys

if sys.version_info < (3, 11):
    version = ".".join(map(str, sys.version_info[:2]))
    sys.exit("Doppel needs Python 3.11 or newer, this is %s. Name another one: make PYTHON=python3.12" % version)
try:
    import ensurepip
    import venv
except ImportError as error:
    sys.exit("This Python has no module %s. On Debian and Ubuntu: apt-get install python3-venv" % error.name)
