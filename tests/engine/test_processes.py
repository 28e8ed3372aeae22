"""Training and evaluation in two processes, of an odd number of slices."""

import itertools
import json
import socket
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.utils import comm
from torch import distributed
from two_processes import run

from ctmasknet.data.phantom import write_phantom
from ctmasknet.engine import load_config, read_results
from ctmasknet.engine.parallel_trainer import check_processes
from ctmasknet.engine.processes import StoppedRun, run_processes, share_cores

TESTS = Path(__file__).parents[1]
DATASETS = {"lesion_R18_T1": "nine_lesions.json", "ctmasknet_R18_T1": "nine_slices.csv"}
SMALL = {
    "INPUT.MIN_SIZE_TRAIN": "(64,)",
    "INPUT.MIN_SIZE_TEST": "64",
    "INPUT.RANDOM_FLIP": "none",
    "DATALOADER.NUM_WORKERS": "0",
    "MODEL.PRECISION": "float32",
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": "60",
    "MODEL.RPN.POST_NMS_TOPK_TEST": "30",
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": "0.0",  # random weights find something at any score
    "MODEL.RANKED_BOXES.NUM": "8",
    "MODEL.IMAGE_HEAD.FC_DIM": "8",
    "SOLVER.IMS_PER_BATCH": "2",
    "SOLVER.LR_SCHEDULER_NAME": "WarmupMultiStepLR",
    "SOLVER.STEPS": "()",
    "TEST.DETECTIONS_PER_IMAGE": "10",
    "TEST.IMS_PER_BATCH": "1",
    "TEST.BOOTSTRAP_RESAMPLES": "20",
}
# A step of SGD is the gradient; ADAM's first would hide its size.
STEP = ["SOLVER.OPTIMIZER", "SGD", "SOLVER.BASE_LR", "0.01", "SOLVER.MOMENTUM", "0.0"]
STEP += ["DATASETS.TEST", "()"]
HEADS = ["MODEL.TRAINABLE", "heads", "TEST.EVAL_PERIOD", "1"]
FULL = ["MODEL.TRAINABLE", "full", "DATASETS.VALIDATION", "()"]


class Commands:
    """Command lines of tools/train_net.py for one number of processes."""

    def __init__(self, root, count):
        self.root, self.count, self.lines = root, count, []

    def add(self, config, output, *opts, flags=()):
        file = str(TESTS.parent / "configs/quick" / f"{config}.yaml")
        data = f"('{self.root / 'data' / DATASETS[config]}',)"
        line = ["--config-file", file, *flags, *itertools.chain(*SMALL.items())]
        line += ["DATASETS.TRAIN", data, "DATASETS.TEST", data, "DATASETS.VALIDATION"]
        line.append(f"('{self.root / 'data/three_slices.csv'}',)" if "ctmask" in config else data)
        line += ["MODEL.WEIGHTS", str(self.root / f"{config}.pth")]
        self.lines.append([*line, "OUTPUT_DIR", str(self.root / str(self.count) / output), *opts])

    def add_all(self):
        for config in DATASETS:
            self.add(config, config, flags=["--eval-only"])
        lesion = ["MODEL.WEIGHTS", str(self.root / "lesion_R18_T1.pth"), *STEP]
        self.add("ctmasknet_R18_T1", "heads", *lesion, *HEADS, "SOLVER.MAX_ITER", "2")
        for steps in "23":
            opts = [*lesion, *FULL, "SOLVER.MAX_ITER", steps]
            self.add("ctmasknet_R18_T1", "full", *opts, flags=["--resume"])
        return self


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Folder with data, weights of each config, and one output folder per number of processes."""
    root = tmp_path_factory.mktemp("processes")
    data = root / "data"
    write_phantom(data, patients=15, slices=1, size=96, split=(1, 1, 3))
    # Renamed, as a name is taken once in a process.
    for old, new in zip(("lesion_merge_test.json", "test.csv"), DATASETS.values(), strict=True):
        (data / old).rename(data / new)
    (data / "val.csv").rename(data / "three_slices.csv")
    (data / "cut.png").write_bytes(next((data / "image").rglob("*.png")).read_bytes()[:2000])
    (data / "cut.csv").write_text((data / "nine_slices.csv").read_text() + "cut.png,0,P,S\n")

    one, two = (Commands(root, count).add_all() for count in (1, 2))
    for config, line in zip(DATASETS, one.lines, strict=False):
        torch.manual_seed(3)
        model = build_model(load_config(line[1], [*line[3:], "OUTPUT_DIR", str(root)]))
        torch.save({"model": model.state_dict()}, root / f"{config}.pth")
    # Without validation the report is of the models that the processes were left with.
    two.add("lesion_R18_T1", "train", "SOLVER.MAX_ITER", "4", "DATASETS.VALIDATION", "()")
    lesion = ["MODEL.WEIGHTS", str(root / "lesion_R18_T1.pth"), *STEP]
    two.add("ctmasknet_R18_T1", "fail", *lesion, "DATASETS.TRAIN", f"('{data / 'cut.csv'}',)")
    command = [sys.executable, str(TESTS / "two_processes.py"), json.dumps(two.lines)]
    with (root / "two.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        run(Namespace(commands=one.lines))
        process.wait()
    return root


@pytest.mark.slow
def test_a_failing_process_ends_all_with_one_line(root):
    """One process meets half a PNG while the other waits for its gradients."""
    log = (root / "two.log").read_text()
    assert "Traceback" not in log
    reason = f"{root / 'data/cut.png'}: cannot be read as an image"
    assert [x[: len(reason) + 7] for x in log.splitlines() if x.startswith("error")] == [
        f"error: {reason}"
    ]


@pytest.mark.parametrize("config", DATASETS)
@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one(config, root):
    name = Path(DATASETS[config]).stem
    one, two = (root / count / config / "inference" / name for count in "12")
    results, others = (read_results(folder / "results.json") for folder in (one, two))
    assert (results["machine"]["processes"], others["machine"]["processes"]) == (1, 2)
    assert results["dataset"]["images"] == 9  # four in one process, five in the other
    for key in ("dataset", "metrics", "intervals", "weights_sha256", "settings", "warnings"):
        assert results[key] == others[key]
    if config.startswith("ctmasknet"):
        assert results["calibration"]["fitted_on"]["images"] == 3
        for key in ("calibration", "operating_points", "aggregation"):
            assert results[key] == others[key]
    for file in one.iterdir():
        if file.suffix in (".csv", ".json") and file.name != "results.json":
            assert file.read_text() == (two / file.name).read_text()
            assert file.stat().st_size > 100


@pytest.mark.slow
def test_two_machines_give_the_answers_of_one(root):
    """The two machines know each other by address alone; here both have the same one."""
    config = "ctmasknet_R18_T1"
    commands = Commands(root, "machines")
    commands.add(config, config, flags=["--eval-only"])
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    script = [sys.executable, str(TESTS / "two_processes.py"), json.dumps(commands.lines)]
    machines = [subprocess.Popen([*script, rank, url], stdout=subprocess.DEVNULL) for rank in "01"]
    assert [machine.wait(timeout=300) for machine in machines] == [0, 0]
    file = f"{config}/inference/nine_slices/predictions.csv"
    assert (root / "machines" / file).read_bytes() == (root / "1" / file).read_bytes()


@pytest.mark.parametrize("part", ["heads", "full"])
@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(part, root):
    """Batches hold two slices; the second step of "full" comes after --resume."""
    start = torch.load(root / "lesion_R18_T1.pth", weights_only=True)["model"]
    one, two = (
        torch.load(root / count / part / "model_final.pth", weights_only=True) for count in "12"
    )
    assert one["iteration"] == two["iteration"] == {"heads": 1, "full": 2}[part]
    for name, weight in one["model"].items():
        torch.testing.assert_close(two["model"][name], weight, rtol=1e-5, atol=1e-7)
    moved = {k for k in start if k in one["model"] and not start[k].equal(one["model"][k])}
    assert any(k.startswith("backbone") for k in moved) == (part == "full")


@pytest.mark.slow
def test_validation_of_two_processes_chooses_as_one(root):
    one, two = (json.loads((root / n / "heads/model_best.json").read_text()) for n in "12")
    assert one == two and one["metric"] == "image/accuracy"


@pytest.mark.slow
def test_lesion_model_of_two_processes_is_one_model(root):
    """The report of both processes is that of the checkpoint that one of them wrote."""
    trained = root / "2/train"
    again = Commands(root, 1)
    final = ["MODEL.WEIGHTS", str(trained / "model_final.pth")]
    again.add("lesion_R18_T1", "again", *final, flags=["--eval-only"])
    run(Namespace(commands=again.lines))
    file = "inference/nine_lesions/coco_instances_results.json"
    detections = json.loads((trained / file).read_text())
    assert detections
    assert detections == json.loads((root / "1/again" / file).read_text())
    before = torch.load(root / "lesion_R18_T1.pth", weights_only=True)["model"]
    after = torch.load(trained / "model_final.pth", weights_only=True)["model"]
    norms = [k for k in after if k.endswith("running_mean")]
    assert norms and not any(before[k].equal(after[k]) for k in norms)


@pytest.fixture
def two(monkeypatch):
    """Let this process believe that it is one of two on a machine."""
    for name in ("get_world_size", "get_local_size"):
        monkeypatch.setattr(comm, name, lambda: 2)
    monkeypatch.setattr(comm, "synchronize", lambda: None)


def test_processes_share_the_cores_of_a_machine(two, monkeypatch):
    threads = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for cores in (9, 1):
        monkeypatch.setattr(torch, "get_num_threads", lambda cores=cores: cores)
        share_cores()
    assert threads == [4, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "9")
    share_cores()
    assert len(threads) == 2


def test_processes_that_cannot_train_together(two, monkeypatch, tmp_path):
    backends = iter(("gloo", "gloo", "nccl"))
    monkeypatch.setattr(distributed, "get_backend", lambda: next(backends))
    config = str(TESTS.parent / "configs/lesion/R18_T1.yaml")
    opts = ["OUTPUT_DIR", str(tmp_path), "MODEL.DEVICE", "cpu", "SOLVER.IMS_PER_BATCH"]
    with pytest.raises(ValueError, match="IMS_PER_BATCH is 3, which 2 processes cannot share"):
        check_processes(load_config(config, [*opts, "3"], datasets=False))
    with pytest.raises(ValueError, match="one folder that all machines share"):
        check_processes(load_config(config, [*opts, "4"], datasets=False))
    (tmp_path / "config.yaml").touch()
    cfg = load_config(config, [*opts, "4"], datasets=False)
    check_processes(cfg)
    with pytest.raises(ValueError, match="MODEL.DEVICE is cpu.*CUDA_VISIBLE_DEVICES"):
        check_processes(cfg)


def test_commands_that_cannot_start(monkeypatch):
    args = Namespace(num_gpus=1, num_machines=2, machine_rank=0, dist_url="auto")
    with pytest.raises(StoppedRun, match="--num-machines wants --dist-url tcp://HOST:PORT"):
        run_processes(print, args)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(StoppedRun, match="--num-gpus is 2, but GPUs found: 1.*CUDA_VISIBLE"):
        run_processes(print, Namespace(**vars(args) | {"num_machines": 1, "num_gpus": 2}))


def test_what_a_process_says_that_lost_another_one(monkeypatch):
    def lose(args):
        raise RuntimeError("[gloo/transport/tcp/pair.cc:561] Connection closed by peer [::1]:5532.")

    def fail(args):
        raise RuntimeError("shapes do not fit")

    waited = []
    monkeypatch.setattr(time, "sleep", waited.append)
    alone = Namespace(num_gpus=1, num_machines=1, machine_rank=0, dist_url="auto")
    with pytest.raises(StoppedRun, match="another process of this run ended"):
        run_processes(lose, alone)
    assert waited  # so that the process that failed ends first
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        run_processes(fail, alone)
