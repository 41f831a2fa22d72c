"""An official StarGAN v2 for faces on its way: fetched, checked, converted, served; synthetic files of full size."""

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
import torch

from bench.resident import resident_mb
from models.landmarks.network import LandmarkNetwork
from models.stargan_v2.ensemble import Ensemble
from models.stargan_v2.networks import init_he
from tests.pictures import encoded, photo
from tests.processes import ROOT, eventually, file_server, free_port, process, ready
from worker.embedded_redis import EmbeddedRedis
from worker.supervisor import role_command

MODEL = "stargan-celeba-hq"


def faces() -> None:
    """From an empty folder to the first picture, with what it takes."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _write_upstream(folder / "upstream")
        with file_server(folder / "upstream") as mirror:
            settings = {"DATA_DIR": temporary, "WEIGHTS_DIR": str(ROOT / "weights"), "WEIGHTS_URL": mirror}
            env = os.environ | {f"DOPPEL_{name}": value for name, value in settings.items()}
            started = time.perf_counter()
            subprocess.run([*role_command("pull"), MODEL], env=env, check=True)
            print(f"fetched, checked and converted in {time.perf_counter() - started:.1f} s")
        weights = folder / "models" / MODEL / "weights.safetensors"
        print(f"weights: {weights.stat().st_size >> 20} MB")
        subprocess.run([*role_command("check"), str(weights)], check=True)
        _serve(folder, env | {"DOPPEL_OFFLINE": "1"})


def _serve(folder: Path, env: dict[str, str]) -> None:
    redis_server = EmbeddedRedis(folder)
    redis_server.start()
    port = free_port()
    env |= {"DOPPEL_PORT": str(port), "DOPPEL_REDIS_URL": redis_server.url, "DOPPEL_PRELOAD": ""}
    portrait = encoded(photo(640, 480, (180, 80, 320)))
    files = {"image": ("a.png", portrait), "reference": ("b.png", portrait)}
    with (
        process(*role_command("api"), env=env),
        process(*role_command("worker"), env=env) as worker,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300, trust_env=False) as client,
    ):
        eventually(lambda: ready(client), within_s=60)
        for which in ("first", "second"):
            started = time.perf_counter()
            answer = client.post("/stargan/reference", files=files, data={"domain": "male"}).raise_for_status()
            print(f"{which} picture in {time.perf_counter() - started:.1f} s ({answer.headers['Server-Timing']})")
        print(f"by {answer.headers['X-Model']}; worker resident {resident_mb(worker.pid):.0f} MB")
    redis_server.stop()


def _write_upstream(folder: Path) -> None:
    """Files with the keys, shapes and oddities of the authors', and random numbers in them."""
    folder.mkdir()
    torch.manual_seed(0)
    ensemble = Ensemble()
    init_he(ensemble)
    networks: dict[str, dict[str, torch.Tensor]] = {"fan": {}}
    for key, tensor in ensemble.state_dict().items():
        name, _, rest = key.partition(".")
        networks.setdefault(name, {})[f"module.{rest}"] = tensor
    torch.save(networks, folder / f"{MODEL}.ckpt")
    torch.save({"state_dict": LandmarkNetwork().state_dict()}, folder / "wing.ckpt")
    card = json.loads((ROOT / "weights" / MODEL / "model.json").read_text())
    assert {file["name"] for file in card["files"]} >= {f"{MODEL}.ckpt", "wing.ckpt", "celeba_lm_mean.npz"}
    points = np.random.default_rng(0).uniform(64, 192, (98, 2))
    np.savez(folder / "celeba_lm_mean.npz", mean=points)
