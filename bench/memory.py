"""What each role keeps resident."""

import os
import tempfile
import time
from pathlib import Path

import httpx

from bench.resident import resident_mb
from tests.processes import ROOT, eventually, free_port, process, ready
from worker.embedded_redis import EmbeddedRedis
from worker.supervisor import role_command

MODELS = ("style_monet", "monet2photo")


def residency() -> None:
    """The API and a worker with the two shipped models, after some pictures."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        redis_server = EmbeddedRedis(Path(folder))
        redis_server.start()
        settings = {"PORT": str(port), "REDIS_URL": redis_server.url, "OFFLINE": "1", "DATA_DIR": folder}
        env = os.environ | {f"DOPPEL_{name}": value for name, value in settings.items()}
        photo = (ROOT / "docs/images/sample-photo.jpg").read_bytes()
        with (
            process(*role_command("api"), env=env) as api,
            process(*role_command("worker"), env=env) as worker,
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client,
        ):
            eventually(lambda: ready(client), within_s=60)
            for _ in range(10):
                for model in MODELS:
                    client.post("/translate", files={"image": photo}, data={"model": model}).raise_for_status()
            time.sleep(0.5)
            print(f"Resident: API {resident_mb(api.pid):.0f} MB (target 150), ", end="")
            print(f"worker with both shipped models {resident_mb(worker.pid):.0f} MB (target 1000)")
        redis_server.stop()
