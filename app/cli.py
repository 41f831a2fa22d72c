"""The command ``doppel``."""

import argparse
import importlib
import importlib.util
import io
import locale
import logging
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from models.process import quick_imports

with quick_imports():
    import pydantic
    import redis

    from app import role_commands
    from app.key_options import LIMITS, add_key_options
    from app.settings import LISTENER, PREPARER_JOBS, Settings
    from app.style_options import STYLE_DEFAULT, add_style_options, style_options
    from models import logs
    from models.command_line import Arguments, option, problems
    from models.cores import core_limit
    from models.errors import DoppelError
    from models.installed import require_torch

DEFAULT_MODEL = "style_monet"
OVERRIDES = ("host", "port")  # settings that are options, too
INTERRUPTED = 130  # the exit status that shells use

log = logging.getLogger("doppel")


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand; its exit status. What a person can mend is said in one line, without a traceback."""
    if arguments is None:
        _prepare_process()
        arguments = sys.argv[1:]
    parsed = _parser(arguments).parse_args(arguments)
    overrides = {name: value for name in OVERRIDES if (value := getattr(parsed, name, None)) is not None}
    try:
        settings = Settings(**overrides)
    except pydantic.ValidationError as error:
        for item in error.errors():
            name = str(item["loc"][0])
            where = f"--{name}" if name in overrides else f"DOPPEL_{name.upper()}"
            _complain(f"{where}: {item['msg'].removeprefix('Value error, ')}")
        return 2
    logs.configure(settings.log_format)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        status: int = parsed.run(settings, parsed)
        sys.stdout.flush()
    except DoppelError as error:
        _complain(str(error))
    except redis.RedisError as error:
        _complain(f"Redis: {error}")
    except BrokenPipeError:  # whoever read the output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would fail to flush it at the end
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        _complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except ModuleNotFoundError as error:
        if importlib.util.find_spec("torch") is not None:
            raise
        _complain(f"this command needs the package {error.name}, which is not installed: pip install 'doppel[worker]'")
    except KeyboardInterrupt:
        return INTERRUPTED
    else:
        return status
    log.debug("what went wrong", exc_info=True)
    return 1


def _complain(message: str) -> None:
    print(f"doppel: {message}", file=sys.stderr)


def _prepare_process() -> None:
    """Make this process, and those that it starts, independent of the locale and of files in the current folder."""
    os.environ.setdefault("PYTHONSAFEPATH", "1")  # a queue.py or a folder models/ there must not be imported
    if (cores := core_limit()) is not None:  # torch and NumPy count those of the machine
        os.environ.setdefault("OMP_NUM_THREADS", str(cores))
    if not sys.flags.utf8_mode and locale.getpreferredencoding(False).lower() not in ("utf-8", "utf8"):
        os.environ["PYTHONUTF8"] = "1"  # as from Python 3.15 on; it is read at the start of a process
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name may be no text


def _parser(arguments: list[str]) -> argparse.ArgumentParser:
    """The parser of these arguments. It lacks options of commands that they don't name and that take long to import."""
    parser = argparse.ArgumentParser(prog="doppel", description="Image-to-image translation service.")
    parser.add_argument("--version", action="version", version=f"doppel {version('doppel')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: object, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    for served in (
        command("serve", _serve, "run all roles on this machine, and a Redis if none is named"),
        command("api", _api, "run the HTTP API alone"),
    ):
        served.add_argument("--host", metavar="ADDRESS", help="address to listen on, instead of DOPPEL_HOST")
        served.add_argument("--port", metavar="PORT", help="port to listen on, instead of DOPPEL_PORT; 0: any free one")
        served.add_argument(LISTENER, type=int, help=argparse.SUPPRESS)  # of a process that another one starts
    command("worker", role_commands.worker, "run one inference worker alone")
    command("trainer", role_commands.trainer, "run one trainer alone")
    preparer = command(
        "preparer", _preparer, "run the preparer alone: takes uploads in, fetches weights, sizes training runs"
    )
    preparer.add_argument(
        "jobs", nargs="?", choices=PREPARER_JOBS, help="do only these, in this process; default: all, each in its own"
    )
    pull = command("pull", _pull, "fetch the weights of upstream models")
    pull.add_argument("names", nargs="+", metavar="NAME")
    status = command("status", _status, "say what a server is doing")
    status.add_argument("--url", help="of the server; default: DOPPEL_URL, or this machine's")
    status.add_argument("--json", action="store_true", help="print the answer of GET /status as it is")
    add_key_options(command("key", _key, "make API keys"))
    command("models", _models, "list the models and where their weights stand")
    translate = command(
        "translate", _translate, "translate a picture, a clip, or each picture of a folder, without a server"
    )
    translate.add_argument("source", type=Path, metavar="FILE", help="picture, clip or folder")
    translate.add_argument(
        "-m", "--model", metavar="NAME", help=f"default: {DEFAULT_MODEL}, and with --style {STYLE_DEFAULT}"
    )
    translate.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="picture or folder to write")
    translate.add_argument(
        "--resolution", type=_resolution, metavar="PX", help="short side, or native; default: native, at most 512"
    )
    add_style_options(translate)
    verified = command("verify", _verify, "say whether a picture was made here, by which model and when")
    verified.add_argument("file", type=Path, metavar="FILE", help="picture or MP4 video")
    command("identity", _identity, "print the root certificate by which others recognise what is made here")
    secret = command(
        "webhook-secret", _webhook_secret, "print the secret with which the messages to webhooks are signed"
    )
    secret.add_argument("--key", metavar="NAME", help="of the API key of this name, whose messages have their own")
    trained = command("train", _train, "train a model in this terminal; Ctrl-C saves a checkpoint")
    if "train" in arguments:
        _add_families(trained)
    check = command("check", _check, "say what a weights file is and whether it loads")
    check.add_argument("file", type=Path, metavar="FILE")
    check.add_argument("--network", metavar="NAME", help="one network, of a file that holds several")
    added = command("add", _add, "put a weights file, or a model that was exported, into service")
    added.add_argument("file", type=Path, metavar="FILE")
    if "add" in arguments:
        from models.store.additions import Addition

        added.set_defaults(addition=Arguments(added, Addition), complain=added.error)
    exported = command("export", _export, "write a model into one file, which `doppel add` takes on another machine")
    exported.add_argument("name", metavar="NAME")
    exported.add_argument(
        "--format", choices=("zip", "onnx"), default="zip", help="zip: for `doppel add`; onnx: for other software"
    )
    exported.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="OUT",
        help="default: NAME.zip; onnx: NAME.onnx, and of a StarGAN v2 the folder NAME-onnx",
    )
    return parser


def _add_families(trained: argparse.ArgumentParser) -> None:
    from app.train_options import FAMILIES, options_of

    families = trained.add_subparsers(required=True, metavar="FAMILY", dest="family")
    for family in FAMILIES:
        text = f"train a {family} on the pictures in DIR"
        one = families.add_parser(family, help=text, description=text)
        one.add_argument("dataset", type=Path, metavar="DIR", help="trainA/ and trainB/, or train/<domain>/")
        one.add_argument("-o", "--output", type=_folder, required=True, metavar="RUN", help="folder of the run")
        one.add_argument("--resume", action="store_true", help="resume the run in RUN; a new length trains it further")
        one.set_defaults(options=options_of(family, one))


def _folder(value: str) -> Path:
    if not value:
        raise argparse.ArgumentTypeError("a folder needs a name")
    return Path(value)


def _resolution(value: str) -> int | Literal["native"]:
    if value == "native":
        return "native"
    if not value.isdigit() or not 32 <= int(value[:5]) <= 2048:
        raise argparse.ArgumentTypeError(f"{value} is neither a number of pixels from 32 to 2048 nor native")
    return int(value)


def _serve(settings: Settings, parsed: argparse.Namespace) -> int:
    with quick_imports():
        from app.serve_command import serve

    return serve(settings, main)


def _api(settings: Settings, parsed: argparse.Namespace) -> int:
    from app.server import run, run_several

    if parsed.listener is None and settings.api_process_count > 1:
        return run_several(settings, main)
    return run(settings, parsed.listener)


def _preparer(settings: Settings, parsed: argparse.Namespace) -> int:
    return role_commands.preparer(settings, parsed.jobs, main)


def _pull(settings: Settings, parsed: argparse.Namespace) -> int:
    from models.store.files import require_writable

    if settings.offline:
        _complain("DOPPEL_OFFLINE is set, so nothing is fetched")
        return 1
    require_writable(settings.data_dir, "DOPPEL_DATA_DIR")
    mirror = ["--mirror", settings.weights_url] if settings.weights_url else []
    folders = ["--weights-dir", str(settings.weights_dir), "--data-dir", str(settings.data_dir)]
    return _program("models.weights.fetch", *folders, *mirror, *parsed.names)


def _status(settings: Settings, parsed: argparse.Namespace) -> int:
    from app.status_command import show_status

    return show_status(settings, parsed.url, as_json=parsed.json)


def _key(settings: Settings, parsed: argparse.Namespace) -> int:
    from app.key_command import new_key

    return new_key(parsed.name, parsed.scope or ["translate"], {limit: getattr(parsed, limit) for limit in LIMITS})


def _models(settings: Settings, parsed: argparse.Namespace) -> int:
    from models.store.catalog import Catalog

    models = Catalog(settings.weights_dir, settings.data_dir).all()
    if not models:
        _complain(f"there are no models in {settings.weights_dir} and {settings.data_dir / 'models'}")
        return 1
    width = max((len(model.name) for model in models), default=0)
    for model in models:
        print(f"{model.name:{width}}  {model.availability:11}  {model.card.description}")
    return 0


def _translate(settings: Settings, parsed: argparse.Namespace) -> int:
    with quick_imports():
        from app.translate_command import translate_files

    style = style_options(parsed)
    model = parsed.model or (STYLE_DEFAULT if style.pictures else DEFAULT_MODEL)
    return translate_files(
        settings, parsed.source, parsed.output, model=model, resolution=parsed.resolution, style=style
    )


def _verify(settings: Settings, parsed: argparse.Namespace) -> int:
    from app.verify_command import verify_file

    return verify_file(settings, parsed.file)


def _identity(settings: Settings, parsed: argparse.Namespace) -> int:
    from app.credentials import Credentials

    print(Credentials(settings).identity.root.decode(), end="")
    return 0


def _webhook_secret(settings: Settings, parsed: argparse.Namespace) -> int:
    from app.webhook_signing import Secrets

    print(Secrets.of_settings(settings.webhook_secret, settings.data_dir).of(parsed.key))
    return 0


def _train(settings: Settings, parsed: argparse.Namespace) -> int:
    from app.train_command import train

    require_torch("Training")
    given = parsed.options.given(parsed)
    return train(parsed.family, parsed.dataset, parsed.output, given, resume=parsed.resume)


def _check(settings: Settings, parsed: argparse.Namespace) -> int:
    require_torch("Reading weights files")
    return _program("models.weights.check", str(parsed.file), *_options({"network": parsed.network}))


def _add(settings: Settings, parsed: argparse.Namespace) -> int:
    from models.store.additions import Addition
    from models.store.model_archives import is_model_archive

    if not is_model_archive(parsed.file):
        require_torch("Adding a weights file")
    given = parsed.addition.given(parsed)
    try:
        Addition.model_validate(given)
    except pydantic.ValidationError as error:
        parsed.complain("; ".join(problems(error)))
    folders = {"weights_dir": settings.weights_dir, "data_dir": settings.data_dir}
    return _program("models.adding", str(parsed.file), *_options(given | folders))


def _export(settings: Settings, parsed: argparse.Namespace) -> int:
    from models.errors import DoppelError
    from models.store.catalog import Catalog
    from models.store.model_archives import export

    try:
        model = Catalog(settings.weights_dir, settings.data_dir).get(parsed.name)
        if parsed.format == "onnx":
            require_torch("Writing ONNX")
            default = f"{parsed.name}.onnx" if model.card.family == "cyclegan" else f"{parsed.name}-onnx"
            folders = {"weights_dir": settings.weights_dir, "data_dir": settings.data_dir}
            options = _options({"output": parsed.output or default} | folders)
            return _program("models.weights.onnx_export", parsed.name, *options)
        target = parsed.output or Path(f"{parsed.name}.zip")
        export(model, target)
    except (DoppelError, OSError) as error:
        print(f"doppel: {error}", file=sys.stderr)
        return 1
    print(f"exported {parsed.name} to {target}; on the other machine: doppel add {target.name}")
    return 0


def _options(values: dict[str, Any]) -> list[str]:
    """Options of another program of ours, as its command line takes them."""
    lines = {name: ",".join(value) if isinstance(value, list) else value for name, value in values.items()}
    return [f"{option(name)}={value}" for name, value in lines.items() if value is not None]


def _program(module: str, *arguments: str) -> int:
    """Run one of our programs that need torch, which is loaded for them alone."""
    with quick_imports():
        program = importlib.import_module(module)
    status: int = program.main([*arguments])
    return status


if __name__ == "__main__":
    sys.exit(main())
