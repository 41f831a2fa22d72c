"""What the web application loads."""

import subprocess
import sys


def test_importing_the_application_loads_no_torch():
    code = "import sys, app.main; print({'torch', 'torchvision', 'safetensors'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"
