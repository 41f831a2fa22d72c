"""What the web application loads."""

import subprocess
import sys


def test_importing_the_application_loads_no_torch():
    code = (
        "import sys, app.main; print([name for name in sys.modules if name.split('.')[0] in ('torch', 'safetensors')])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"
