import torch
from benchmark import budget
from benchmark.agreement import describe_agreement
from benchmark.budget import Work, copy_rate, describe_budget, matrix_rate
from benchmark.settings import Case
from torch.nn import functional as F
from torch.profiler import record_function


def test_work_is_counted_by_stage():
    x, weight = torch.zeros(1, 3, 8, 8), torch.zeros(5, 3, 3, 3)
    with torch.no_grad(), Work() as work:
        with record_function("ctmasknet/backbone"):
            y = F.conv2d(x, weight, padding=1)
            y.view(5, 64).t()  # views move nothing
        with record_function("ctmasknet/boxes"):
            torch.relu(y)
        y.flatten(2)[0] @ torch.zeros(64, 2)
    assert work.multiply_adds == {"backbone": 5 * 3 * 9 * 64, "other": 5 * 64 * 2}
    assert work.moved["boxes"] == 2 * 4 * 5 * 64  # float32, read and written
    assert work.moved["backbone"] == 0


def test_rates_are_of_this_machine(monkeypatch):
    monkeypatch.setattr(budget, "_SIDE", 256)
    monkeypatch.setattr(budget, "_BYTES", 2**20)
    assert matrix_rate(torch.float32, "cpu") > 1e8 and copy_rate("cpu") > 1e7


def test_a_budget_as_text():
    stages = {
        "backbone": dict.fromkeys(("multiply_adds", "moved_bytes"), 2e9)
        | {"floor_seconds": 0.01, "seconds": 0.02},
        "boxes": dict.fromkeys(("multiply_adds", "moved_bytes"), 1e9)
        | {"floor_seconds": 0.001, "seconds": 0.005},
    }
    found = {
        "case": Case("inference", "configs/ctmasknet/R18_T1_heads_BN.yaml"),
        "precision": "float32",
        "multiply_adds_per_second": 1.4e11,
        "bytes_per_second": 5e10,
        "stages": stages,
    }
    lines = describe_budget(found).splitlines()
    assert lines[1] == "this machine: 140 x 10^9 multiply-adds/s, copies 50 GB/s"
    assert lines[-2].split() == ["boxes", "1.00", "1000.0", "1.0", "5.0"]
    assert lines[-1].split() == ["sum", "3.00", "3000.0", "11.0", "25.0"]


def test_agreement_as_text():
    found = {
        "run": "output/x",
        "dataset": "slices",
        "slices": 200,
        "metrics": {"float32": {"image/accuracy": 0.98}, "bfloat16": {"image/accuracy": 0.975}},
        "same_class": {"float32": 1.0, "bfloat16": 0.995},
    }
    lines = describe_agreement(found).splitlines()
    assert lines[0] == "output/x on slices, 200 slices"
    assert lines[-1].split()[::2] == ["bfloat16", "99.50%"]
