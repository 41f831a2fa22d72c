"""A network whose work is recorded once for each shape of its inputs, and then launched as one."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch

from models.serving.accelerator import Accelerator, Graph

MOST_GRAPHS = 32  # of one network; each holds its inputs and results on the device, and little besides
MOST_SEEN = 1024  # shapes of which one is remembered that it came once

log = logging.getLogger("doppel.models")

Tensors = tuple[torch.Tensor, ...]
Run = Callable[..., Tensors]


@dataclass(frozen=True)
class _Recording:
    graph: Graph
    inputs: Tensors
    outputs: Tensors


class RecordedNetwork:
    """Runs a function of tensors on the accelerator, by a graph from the second time that a shape comes.

    Recording takes as long as several runs, which a shape that comes once would never make up for. Where it fails, the
    function is called each time.

    Args:
        run: a function of tensors whose results depend on nothing else. It waits for nothing.
        most_graphs: the least recently used goes before there are more.
    """

    def __init__(self, run: Run, accelerator: Accelerator, *, most_graphs: int = MOST_GRAPHS) -> None:
        self._run = run
        self._accelerator = accelerator
        self._most_graphs = most_graphs
        self._recordings: OrderedDict[Hashable, _Recording] = OrderedDict()
        self._seen: OrderedDict[Hashable, None] = OrderedDict()
        self._can_record = True

    @torch.inference_mode()
    def __call__(self, *inputs: torch.Tensor) -> Tensors:
        """What the function makes of these. To be read by work that is launched before the next call."""
        shapes = tuple((tuple(x.shape), x.dtype) for x in inputs)
        recording = self._recordings.get(shapes)
        if recording is None:
            outputs = self._run(*inputs)
            if self._comes_again(shapes) and self._can_record:
                self._record(shapes, inputs, outputs)
            return outputs
        self._recordings.move_to_end(shapes)
        for kept, x in zip(recording.inputs, inputs, strict=True):
            kept.copy_(x)
        recording.graph.replay()
        return recording.outputs

    @property
    def recorded(self) -> list[Hashable]:
        """The shapes and types for which there is a graph, least recently used first."""
        return list(self._recordings)

    def _comes_again(self, shapes: Hashable) -> bool:
        if shapes in self._seen:
            return True
        self._seen[shapes] = None
        if len(self._seen) > MOST_SEEN:
            self._seen.popitem(last=False)
        return False

    def _record(self, shapes: Hashable, inputs: Tensors, outputs: Tensors) -> None:
        while len(self._recordings) >= self._most_graphs:
            _, oldest = self._recordings.popitem(last=False)
            oldest.graph.release()
        kept_inputs = tuple(torch.empty_like(x).copy_(x) for x in inputs)
        kept_outputs = tuple(torch.empty_like(x) for x in outputs)

        run = self._run

        def work() -> None:
            for kept, made in zip(kept_outputs, run(*kept_inputs), strict=True):
                kept.copy_(made)

        try:
            work()
            graph = self._accelerator.record(work)
        except torch.OutOfMemoryError:
            return
        except RuntimeError as error:
            self._can_record = False
            log.warning("no graphs are recorded, which costs speed alone: %s", str(error).splitlines()[0])
            return
        self._recordings[shapes] = _Recording(graph, kept_inputs, kept_outputs)
