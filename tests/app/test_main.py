"""What the web application loads."""

import subprocess
import sys


def test_importing_the_application_loads_no_torch():
    heavy = {"torch", "torchvision", "safetensors", "opentelemetry.exporter", "opentelemetry.sdk"}
    code = f"import sys, app.main; app.main.tracer_of('doppel-test'); print({heavy} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"
