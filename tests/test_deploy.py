"""What the files in deploy/ say of Doppel: names and figures that other software goes by."""

import re
import tomllib

import redis
import yaml

from app.settings import Settings
from tests.processes import ROOT
from worker.inference_queue import rq_queue
from worker.job_records import JOB_TIMEOUT_S

CHART = ROOT / "deploy" / "helm" / "doppel"
MACHINES = ROOT / "deploy" / "machines"


class Compose(yaml.SafeLoader):
    """Reads compose files, whose ``!reset`` and ``!override`` are no YAML of everybody's."""


Compose.add_constructor("!reset", lambda loader, node: None)
Compose.add_constructor("!override", lambda loader, node: loader.construct_sequence(node))


def test_keda_looks_at_the_list_in_which_pictures_wait():
    [name] = re.findall(r"listName: (\S+)", (CHART / "templates" / "keda.yaml").read_text())
    assert name == rq_queue(redis.Redis()).key


def test_the_chart_is_of_this_version():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_what_the_chart_sets_are_settings():
    templates = "".join(path.read_text() for path in (CHART / "templates").iterdir())
    names = set(re.findall(r"name: DOPPEL_(\w+)", templates))
    assert names
    assert {name.lower() for name in names} <= set(Settings.model_fields)


def test_a_worker_in_a_pod_has_the_time_that_its_job_may_take():
    [seconds] = re.findall(r"terminationGracePeriodSeconds: (\d+)", (CHART / "templates" / "worker.yaml").read_text())
    assert int(seconds) >= JOB_TIMEOUT_S


def test_each_service_runs_on_one_of_the_two_kinds_of_machine():
    files = {name: yaml.load((MACHINES / f"{name}.yml").read_text(), Compose)["services"] for name in ("front", "back")}
    elsewhere = {name: {role for role, given in file.items() if "profiles" in given} for name, file in files.items()}
    services = set(yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"])
    assert elsewhere["front"] | elsewhere["back"] == services
    assert not elsewhere["front"] & elsewhere["back"]
