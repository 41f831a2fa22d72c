"""The examples in the documentation run as they are printed, and its lists name what there is."""

import os
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement

from app.settings import Settings
from tests.archives import domains, unpaired, zipped
from tests.clips import tiny_clip
from tests.pictures import decoded
from tests.processes import ROOT

IMAGES = ROOT / "docs" / "images"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OF_A_STACK = [
    "README.md",
    "clients.md",
    "models.md",
    "recipes.md",
    "styles.md",
    "training.md",
]  # whose examples need a running service
DATASETS = {"landscapes": unpaired(), "two-domains": domains("painting", "photo")}


def examples(language):
    """The code blocks in this language of the pages that are run, each with its page's name."""
    for page in PAGES:
        if page.name in OF_A_STACK:
            blocks = re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
            for number, block in enumerate(blocks, start=1):
                yield pytest.param(block, id=f"{page.stem}-{number}")


def run(command, folder, **options):
    answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, **options)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def require(*programs):
    """Skip where a program is missing that an example uses beside Doppel."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


@pytest.fixture
def client(served):
    """A client of the service. Runs that an example started are stopped after it."""
    _, client, _ = served
    yield client
    for started in client.get("/training").json():
        client.post(f"{started['links']['self']}/stop?force=true")


@pytest.fixture
def folder(tmp_path):
    """A folder with the files that the examples name."""
    (tmp_path / "docs" / "images").mkdir(parents=True)
    for sample in ("sample-photo.jpg", "sample-painting.jpg"):  # not all, of which an example makes pictures
        shutil.copy(IMAGES / sample, tmp_path / "docs" / "images")
    (tmp_path / "photos").mkdir()
    for copy in ("photo.jpg", "photos/one.jpg", "photos/two, with a comma.jpg"):
        shutil.copy(IMAGES / "sample-photo.jpg", tmp_path / copy)
    shutil.copy(IMAGES / "sample-painting.jpg", tmp_path / "painting.jpg")
    (tmp_path / "clip.mp4").write_bytes(tiny_clip())
    (tmp_path / "pictures.zip").write_bytes(zipped(unpaired()))
    (tmp_path / "domains.zip").write_bytes(zipped(DATASETS["two-domains"]))
    return tmp_path


def for_port(example, client):
    return example.replace("localhost:8000", f"127.0.0.1:{client.base_url.port}")


def check_files(example, folder):
    """Every picture that the example writes can be read, and every video is there."""
    for name in re.findall(r"-o (\S+\.(?:png|jpg))", example):
        if "$" not in name:
            assert decoded((folder / name).read_bytes()).ndim == 3
    for name in re.findall(r"(\S+\.mp4)$", example, re.MULTILINE):
        assert (folder / name).stat().st_size


@pytest.mark.parametrize("example", list(examples("sh")))
def test_shell_examples(client, folder, example):
    if "ffmpeg" in example:
        require("ffmpeg", "ffprobe")
    for name, files in DATASETS.items():
        if f"name={name}" in example:
            client.delete(f"/datasets/{name}")
        elif name in example:  # the data set of another example
            client.post("/datasets", files={"archive": zipped(files)}, data={"name": name})
    script = "set -eo pipefail\n" + for_port(example, client).replace("curl -f ", "curl -fsS ")
    script = script.replace(".venv/bin/doppel", f"{sys.executable} -m app.cli")
    checkout = {"DOPPEL_WEIGHTS_DIR": str(ROOT / "weights"), "DOPPEL_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    run(["bash", "-c", script], folder, env=os.environ | checkout)
    check_files(example, folder)


@pytest.mark.parametrize("example", list(examples("python")))
def test_python_examples(client, folder, example):
    (folder / "example.py").write_text(for_port(example, client))
    before = set(folder.rglob("*"))
    run([sys.executable, "-W", "error", "example.py"], folder, env=os.environ | {"PYTHONPATH": str(ROOT)})
    made = [path for path in set(folder.rglob("*")) - before if path.suffix in (".png", ".jpg")]
    assert made
    assert all(decoded(path.read_bytes()).ndim == 3 for path in made)


@pytest.mark.parametrize("example", list(examples("js")))
def test_javascript_examples(client, folder, example):
    require("node")
    (folder / "example.mjs").write_text(for_port(example, client))
    events = ["--experimental-eventsource"] if "EventSource" in example else []  # browsers have it
    run(["node", *events, "example.mjs"], folder)
    assert any((folder / name).exists() for name in re.findall(r'writeFile\("([^"]+)"', example))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_curl_example_fails_when_the_service_refuses(page):
    """``-f`` is in every line, and no option is newer than curl 7.81 (Ubuntu 22.04)."""
    text = page.read_text()
    blocks = re.findall(r"^ *```(?:sh|console)\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    for command in re.findall(r"(?:^|[$(;|] ?)(curl .*)", "\n".join(blocks), re.MULTILINE):
        assert re.match(r"curl -f", command), command
        assert "--json" not in command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_between_pages_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([\w-]+))?\)", text):
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{page.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_file_map_names_every_file_and_no_other():
    mapped = re.findall(r"\]\(\.\./([\w/]+\.py)\)", (ROOT / "docs" / "code.md").read_text())
    assert set(mapped) == {
        path.relative_to(ROOT).as_posix()
        for package in ("app", "worker", "models", "doppel", "bench")
        for path in (ROOT / package).rglob("*.py")
        if path.name != "__init__.py"
    }


def test_the_tables_of_models_name_every_model_that_ships():
    listed = re.findall(r"^\| `([\w-]+)`", (ROOT / "docs" / "models.md").read_text(), re.MULTILINE)
    listed += re.findall(r"^\| \d+ \| `([\w-]+)`", (ROOT / "docs" / "styles.md").read_text(), re.MULTILINE)
    assert set(listed) == {path.parent.name for path in (ROOT / "weights").glob("*/model.json")}


def as_in_the_environment(default):
    """A setting's default as its environment variable would give it; a path in the checkout is worked out."""
    if default in (None, "", []) or default == ROOT / "weights":
        return "unset"
    return ",".join(default) if isinstance(default, list) else str(default).lower()


def test_the_tables_of_settings_name_every_setting_with_its_default():
    rows = re.findall(
        r"^\| `DOPPEL_(\w+)` \| (?:`([^`]+)`|(\w+)) \|", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE
    )
    listed = {name.lower(): quoted.lower() or word for name, quoted, word in rows}
    assert listed == {name: as_in_the_environment(field.default) for name, field in Settings.model_fields.items()}


def test_every_requirement_is_pinned_to_a_version_that_it_allows():
    """If this fails after a change of pyproject.toml: ``make lock``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    pins = re.findall(r"^([\w.-]+)==([^ ;\n]+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    for requirement in map(Requirement, requirements):
        name = requirement.name.lower().replace("_", "-")
        versions = [version for pinned, version in pins if pinned == name]
        assert versions, f"{name} is not pinned"
        assert all(requirement.specifier.contains(version) for version in versions), f"{name} is pinned to {versions}"
