"""Comparisons over HTTP: start several runs, show them side by side, stop and remove them together."""

import contextlib
import itertools
import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from app.addresses import address
from app.callers import Caller
from app.comparison_sheet import ComparisonSheet, encode_films
from app.errors import NotReady, sentence
from app.parameters import refuse_unknown_names
from app.run_requests import REQUESTS, AcceptedRun, RunRequest
from app.run_views import UNREADABLE
from app.training_runs import Runs
from app.training_schemas import (
    MAX_COMPARED,
    ComparedForecast,
    ComparedRun,
    Comparison,
    ComparisonForecast,
    ComparisonState,
    TrainingRun,
)
from models.errors import Conflict, Invalid, NotFound, UnknownRun
from models.store.comparisons import ComparedRunRecord, ComparisonRecord, ComparisonStore
from models.store.film import FILM_FILE
from models.store.run_folder import RunFolder
from models.store.run_status import RunState, now
from models.store.samples import read_rows

log = logging.getLogger("doppel.app")


class Comparisons:
    """Starts, shows, stops and removes comparisons."""

    def __init__(self, data_dir: Path, runs: Runs) -> None:
        self._store = ComparisonStore(data_dir)
        self._runs = runs

    def forecast(self, request: Comparison, caller: Caller) -> ComparisonForecast:
        """Forecast all runs of a caller's comparison.

        Raises:
            Invalid: there are too few or too many variants, or a run can't be accepted.
        """
        variants = _variants(request)
        runs = [
            ComparedForecast(label=label_of(variant), forecast=accepted.forecast)
            for variant, accepted in zip(variants, self._accepted(request, variants, caller), strict=True)
        ]
        return ComparisonForecast(seconds=sum(run.forecast.seconds for run in runs), runs=runs)

    def _accepted(self, request: Comparison, variants: Sequence[dict[str, Any]], caller: Caller) -> list[AcceptedRun]:
        kind = REQUESTS[request.family]
        requests: list[RunRequest] = []
        for variant in variants:
            try:
                refuse_unknown_names("option", request.base | variant, kind.model_fields)
                requests.append(kind.model_validate(request.base | variant))
            except Invalid as error:
                raise Invalid(f"{label_of(variant)}: {error}") from error
            except ValidationError as error:
                raise Invalid(f"{label_of(variant)}: {sentence(error.errors())}") from error
        return self._runs.check(requests, caller)

    def start(self, request: Comparison, caller: Caller, comparison_id: str | None = None) -> str:
        """Queue a run for every variant, if all can be accepted, and return the comparison's id.

        Args:
            comparison_id: a fresh one; None draws it.

        Raises:
            Invalid: there are too few or too many variants, or a run can't be accepted.
            LimitReached: the caller would have more runs in hand than its key allows.
            Unavailable: no trainer is alive, or too many runs are waiting.
        """
        variants = _variants(request)
        accepted = self._accepted(request, variants, caller)
        self._runs.require_trainer()
        self._runs.require_room(len(accepted))
        comparison_id = comparison_id or self._store.new_id()
        record = ComparisonRecord(family=request.family, created_at=now(), owner=caller.name, runs=[])
        pictures = {dataset: self._runs.pictures(dataset) for dataset in {run.dataset for run in accepted}}
        queued = 0
        try:
            for variant, run in zip(variants, accepted, strict=True):
                run_id = self._runs.create(run, pictures=pictures[run.dataset], comparison=comparison_id)
                record.runs.append(ComparedRunRecord(id=run_id, label=label_of(variant), options=variant))
            self._store.write(comparison_id, record)
            self._runs.take_allowance(caller, [compared.id for compared in record.runs])
            for compared, run in zip(record.runs, accepted, strict=True):
                self._runs.submit(compared.id, run)
                queued += 1
        except Exception as error:
            if queued:  # those may be training by now; the status of the others says that they can be resumed
                log.error("only %d runs of comparison %s were queued: %s", queued, comparison_id, error)
                return comparison_id
            for compared in record.runs:
                self._runs.store.remove(compared.id)
            self._store.remove(comparison_id)
            raise
        return comparison_id

    def owner(self, comparison_id: str) -> str | None:
        """The name of the API key that started a comparison; None: none did.

        Raises:
            NotFound: there is no such comparison.
        """
        return self._store.read(comparison_id).owner

    def all(self, caller: Caller) -> list[ComparisonState]:
        """All comparisons of the caller's that have a run left, newest first."""
        found = []
        for comparison_id in self._store.ids():
            try:
                record = self._store.read(comparison_id)
                if caller.sees(record.owner) and self._folders(record):
                    found.append(self.view(comparison_id))
            except (NotFound, *UNREADABLE) as error:
                log.warning("comparison %s is left out of the list: %s", comparison_id, error)
        return sorted(found, key=lambda comparison: comparison.created_at, reverse=True)

    def sweep(self) -> None:
        """Remove comparisons whose runs have all been removed."""
        for comparison_id in self._store.ids() if self._runs.store.root.is_dir() else ():
            with contextlib.suppress(NotFound, ValidationError):  # another process may sweep at the same time
                if not self._folders(self._store.read(comparison_id)):
                    self._store.remove(comparison_id)

    def stop(self, comparison_id: str) -> None:
        """Stop every run of a comparison that has not ended.

        Raises:
            NotFound: there is no such comparison.
        """
        for compared in self._store.read(comparison_id).runs:
            with contextlib.suppress(Conflict, *UNREADABLE):  # ended, removed or damaged
                self._runs.stop(compared.id, force=False)

    def view(self, comparison_id: str) -> ComparisonState:
        """The table of a comparison, without runs that were removed or are damaged.

        Raises:
            NotFound: there is no such comparison, or none of its runs can be read any more.
        """
        record = self._store.read(comparison_id)
        found: list[tuple[ComparedRunRecord, TrainingRun]] = []
        for compared in record.runs:
            with contextlib.suppress(*UNREADABLE):
                found.append((compared, self._runs.view(compared.id)))
        if not found:
            raise NotFound(f"No run of the comparison {comparison_id!r} is left that can be read.")
        rows = [
            ComparedRun(
                id=compared.id,
                label=compared.label,
                options=compared.options,
                status=run.status,
                step=run.step,
                total_steps=run.total_steps,
                smoothed=run.smoothed,
                quality=run.quality[-1].figures if run.quality else {},
                alarms=run.alarms,
                links=run.links,
            )
            for compared, run in found
        ]
        base = address(f"/training/compare/{comparison_id}")
        links = {"self": base, "picture": f"{base}/picture"}
        if record.family == "stargan_v2":
            links["video"] = f"{base}/video"
        return ComparisonState(
            id=comparison_id,
            family=record.family,
            created_at=record.created_at,
            owner=record.owner,
            status=_joint_state({run.status for _, run in found}),
            runs=rows,
            links=links,
        )

    def remove(self, comparison_id: str) -> None:
        """Remove a comparison with all its runs.

        Raises:
            NotFound: there is no such comparison.
            Conflict: a run has not ended; nothing is removed.
        """
        store = self._runs.store
        with contextlib.ExitStack() as changes:
            present = []
            for run_id in sorted(compared.id for compared in self._store.read(comparison_id).runs):
                with contextlib.suppress(UnknownRun):
                    changes.enter_context(store.changing(run_id))
                    present.append(run_id)
            if unfinished := [run_id for run_id in present if not self._runs.can_be_removed(run_id)]:
                raise Conflict(f"These runs have not ended: {', '.join(unfinished)}. Stop them first.")
            for run_id in present:
                store.remove(run_id)
            self._store.remove(comparison_id)

    def _folders(self, record: ComparisonRecord) -> list[tuple[ComparedRunRecord, RunFolder]]:
        """The runs that have not been removed, with their folders."""
        folders = []
        for compared in record.runs:
            with contextlib.suppress(UnknownRun):
                folders.append((compared, self._runs.store.folder(compared.id)))
        return folders

    def picture(self, comparison_id: str, media_type: str) -> bytes:
        """The newest samples of all runs: the inputs on top, and below them what each run makes of them.

        Raises:
            NotFound: there is no such comparison, or all its runs were removed.
            NotReady: no run has a sample picture yet.
        """
        folders = self._folders(self._store.read(comparison_id))
        if not folders:
            raise NotFound(f"All runs of the comparison {comparison_id!r} were removed.")
        sheet = ComparisonSheet(num_runs=len(folders))
        for compared, folder in folders:
            if not (steps := folder.samples()):
                continue
            sample = folder.sample_path(steps[-1])
            try:
                sheet.add(compared.label, sample, read_rows(sample))
            except UNREADABLE as error:
                log.warning(
                    "the samples of run %s are left out of comparison %s: %s", compared.id, comparison_id, error
                )
        picture = sheet.draw(media_type)
        if picture is None:
            raise NotReady("No run of this comparison has a sample picture yet.")
        return picture

    def video(self, comparison_id: str) -> bytes:
        """An MP4 with the films of all runs that are complete, one above the other.

        Raises:
            NotFound: there is no such comparison, or all its runs were removed.
            NotReady: no run is complete yet, or the runs are not StarGAN v2.
        """
        record = self._store.read(comparison_id)
        folders = self._folders(record)
        if not folders:
            raise NotFound(f"All runs of the comparison {comparison_id!r} were removed.")
        films = [folder.path / FILM_FILE for _, folder in folders if (folder.path / FILM_FILE).is_file()]
        if record.family != "stargan_v2" or not films:
            raise NotReady("There is a video once a StarGAN run of the comparison is complete.")
        return encode_films(films)


def _variants(request: Comparison) -> list[dict[str, Any]]:
    if bool(request.variants) == bool(request.grid):
        raise Invalid("Send either variants or a grid" + (", not both." if request.grid else "."))
    count = len(request.variants) or math.prod(map(len, request.grid.values()))
    if not 2 <= count <= MAX_COMPARED:
        raise Invalid(f"These are {count} runs; 2 to {MAX_COMPARED} can be compared.")
    if any("webhook" in options for options in (*request.variants, request.grid)):  # it would show in the label
        raise Invalid("webhook: it is accepted in base alone, for all runs.")
    return request.variants or [
        dict(zip(request.grid, values, strict=True)) for values in itertools.product(*request.grid.values())
    ]


def label_of(variant: dict[str, Any]) -> str:
    """The options of a variant in a few words."""
    label = ", ".join(f"{name} {json.dumps(value)}" for name, value in variant.items()) or "as the base"
    return label.encode(errors="replace").decode()[:500]


def _joint_state(states: set[RunState]) -> RunState:
    """The state of several runs together: running from the first start to the last end, then as bad as the worst."""
    if states == {RunState.QUEUED}:
        return RunState.QUEUED
    for state in (RunState.FAILED, RunState.STOPPED):
        if state in states and all(one.ended for one in states):
            return state
    return RunState.SUCCEEDED if states == {RunState.SUCCEEDED} else RunState.RUNNING
