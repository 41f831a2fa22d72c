"""The server's figures as Prometheus' client library takes them, from what was read at the time of the scrape."""

from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from app.status_schemas import ServerStatus
from models.store.run_status import RunState
from worker.meters import COUNTERS, HISTOGRAMS, SUM, Counter, Histogram, Key
from worker.overview import QueueLoad

PREFIX = "doppel_"
MIB = 1 << 20


@dataclass(frozen=True)
class Training:
    """A run that is under way."""

    run: str
    step: int
    total_steps: int
    steps_per_s: float | None
    gpu_memory_mb: float | None  # peak


@dataclass(frozen=True)
class Figures:
    """All that is shown.

    Attributes:
        totals: what all processes have counted.
        models: those of the catalog. Others that were counted are gone, and left out, so that labels stay few.
        runs: how many runs there are of each state.
        hooks: how many webhooks wait.
    """

    status: ServerStatus
    totals: Mapping[Key, float]
    models: Collection[str]
    runs: Tally[RunState]
    hooks: int = 0
    trainings: list[Training] = field(default_factory=list)


class FiguresCollector(Collector):
    """Yields the figures.

    Args:
        figures: None while Redis can't be reached.
    """

    def __init__(self, figures: Figures | None) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """Every metric, also those that have no value yet."""
        figures = self._figures
        yield _gauge("redis_up", "Whether Redis answers", 0 if figures is None else 1)
        if figures is None:
            return
        yield from _of_server(figures.status)
        yield from _of_queues(figures.status)
        yield from _of_workers(figures.status)
        yield from _of_training(figures)
        yield _gauge("webhooks_waiting", "Webhooks that wait for an end, or to be sent again", figures.hooks)
        for counter in COUNTERS:
            yield _counted(counter, figures)
        for histogram in HISTOGRAMS:
            yield _measured(histogram, figures.totals)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, text, value=value)


def _labelled(name: str, text: str, labels: list[str], values: Mapping[tuple[str, ...], float | None]) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, text, labels=labels)
    for key, value in values.items():
        if value is not None:
            family.add_metric(list(key), value)
    return family


def _of_server(status: ServerStatus) -> Iterator[Metric]:
    yield _labelled("build_info", "The version that runs", ["version"], {(status.version,): 1})
    yield _gauge("ready", "Whether a picture can be translated now", status.ready)
    yield _gauge("disk_free_bytes", "Free space on the disk of the data folder", status.disk.free_mb * MIB)
    yield _gauge("disk_size_bytes", "Size of the disk of the data folder", status.disk.total_mb * MIB)
    yield _gauge("redis_memory_bytes", "Memory that Redis uses", status.queues.redis_used_mb * MIB)
    yield _gauge(
        "redis_memory_limit_bytes", "Memory that Redis may use; 0: no limit", status.queues.redis_limit_mb * MIB
    )


def _of_queues(status: ServerStatus) -> Iterator[Metric]:
    queues = {name: load for name, load in status.queues if isinstance(load, QueueLoad)}
    yield _labelled(
        "queue_waiting_jobs", "Jobs that wait", ["queue"], {(name,): load.waiting for name, load in queues.items()}
    )
    yield _labelled(
        "queue_running_jobs", "Jobs that run", ["queue"], {(name,): load.running for name, load in queues.items()}
    )
    yield _labelled(
        "queue_oldest_seconds",
        "How long the job at the head of the queue has waited; 0: none waits",
        ["queue"],
        {(name,): load.oldest_waiting_s or 0.0 for name, load in queues.items()},
    )
    yield _gauge("queue_limit_jobs", "Most pictures that may wait", status.queue_limit)


def _of_workers(status: ServerStatus) -> Iterator[Metric]:
    yield _gauge("workers", "Workers that are alive", len(status.workers))
    yield _gauge("trainers", "Trainers that are alive", len(status.trainers))
    yield _gauge("preparers", "Preparers that are alive", len(status.preparers))
    # Numbered on each host: a process id would make new series at each restart.
    hosts = Tally[str]()
    memory: dict[tuple[str, ...], float | None] = {}
    gpu_memory: dict[tuple[str, ...], float | None] = {}
    for worker in status.workers:
        hosts[worker.host] += 1
        key = (worker.host, str(hosts[worker.host]), worker.device)
        memory[key] = None if worker.memory_mb is None else worker.memory_mb * MIB
        gpu_memory[key] = None if worker.gpu_memory_mb is None else worker.gpu_memory_mb * MIB
    labels = ["host", "worker", "device"]
    yield _labelled("worker_memory_bytes", "Memory that a worker holds", labels, memory)
    yield _labelled("worker_gpu_memory_bytes", "GPU memory that a worker has reserved", labels, gpu_memory)


def _of_training(figures: Figures) -> Iterator[Metric]:
    states: dict[tuple[str, ...], float | None] = {(state.value,): figures.runs[state] for state in RunState}
    yield _labelled("training_runs", "Training runs by state", ["state"], states)
    trainings = figures.trainings
    yield _labelled(
        "training_step", "Steps that a run under way has made", ["run"], {(one.run,): one.step for one in trainings}
    )
    yield _labelled(
        "training_total_steps",
        "Steps that a run under way is to make",
        ["run"],
        {(one.run,): one.total_steps for one in trainings},
    )
    yield _labelled(
        "training_steps_per_second",
        "Steps a second of a run under way",
        ["run"],
        {(one.run,): one.steps_per_s for one in trainings},
    )
    yield _labelled(
        "training_gpu_memory_bytes",
        "Most GPU memory that a run under way has allocated",
        ["run"],
        {(one.run,): None if one.gpu_memory_mb is None else one.gpu_memory_mb * MIB for one in trainings},
    )


def _counted(counter: Counter, figures: Figures) -> Metric:
    family = CounterMetricFamily(PREFIX + counter.name, counter.help, labels=counter.labels)
    for (name, *labels), total in figures.totals.items():
        if name != counter.name or len(labels) != len(counter.labels):
            continue
        if "model" in counter.labels and labels[counter.labels.index("model")] not in figures.models:
            continue
        family.add_metric(labels, total)
    return family


def _measured(histogram: Histogram, totals: Mapping[Key, float]) -> Metric:
    family = HistogramMetricFamily(PREFIX + histogram.name, histogram.help, labels=histogram.labels)
    series: defaultdict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    for (name, *labels), total in totals.items():
        if name == histogram.name and len(labels) == len(histogram.labels) + 1:
            series[tuple(labels[:-1])][labels[-1]] = total
    bounds = [*(str(float(bound)) for bound in histogram.buckets), "+Inf"]
    for key, parts in series.items():
        counts = accumulate(parts.get(str(number), 0.0) for number in range(len(bounds)))
        buckets = list(zip(bounds, counts, strict=True))
        family.add_metric(list(key), buckets, parts.get(SUM, 0.0))
    return family
