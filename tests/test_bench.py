"""The bench of a GPU, on a CPU: that it goes through to its end. What it measures, no test asserts."""

import re

from bench.__main__ import measure


def test_the_bench_of_a_gpu_measures_the_network_the_training_and_the_queue(capsys):
    measure("gpu", "--device", "cpu", "--quick")
    printed = capsys.readouterr().out
    assert "Traceback" not in printed
    rows = re.findall(r"^\| (plain|bfloat16|Doppel).* \(\d+\.\d\d ×\) \|$", printed, re.MULTILINE)
    assert rows == ["plain", "plain", "bfloat16", "Doppel", "Doppel"]
    assert re.search(r"training step, batch 1: plain float32 [\d.]+/s, Doppel's in fp32 [\d.]+/s", printed)
    assert re.search(r"Through the queue, processes that translate: 1, that submit: 1: \d+ pictures/s", printed)


def test_the_bench_of_a_gpu_says_where_there_is_none(capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    measure("gpu")
    assert capsys.readouterr().out == "bench gpu: this machine has no GPU that torch can use.\n"
