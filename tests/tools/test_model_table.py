import csv
import runpy
import sys
from contextlib import redirect_stdout
from dataclasses import fields
from io import StringIO
from pathlib import Path

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.utils.analysis import FlopCountAnalysis
from model_table import (
    BEGIN,
    CONFIGS,
    END,
    ModelRow,
    count_multiply_adds,
    markdown,
    model_rows,
    update_table,
)

from ctmasknet.engine import load_config

pytestmark = pytest.mark.slow  # builds every model

ROOT = Path(__file__).parents[2]
# Measured on the author's code, less the background's outputs, which Detectron2 lacks:
# lesion model, CT-Mask-Net, module S, BatchNorm.
COUNTS = {
    "R18": (14_511_074 - 645, 14_742_499 - 516, 592_387, 9_600),
    "R18_T1": (6_051_810 - 645, 6_283_235 - 516, 592_387, 4_480),
    "R18_T2": (3_919_330 - 645, 4_150_755 - 516, 592_387, 1_920),
    "R34": (24_619_234 - 645, 24_850_659 - 516, 592_387, 17_024),
    "R34_T1": (11_439_330 - 645, 11_670_755 - 516, 592_387, 9_856),
    "R34_T2": (4_584_162 - 645, 4_815_587 - 516, 592_387, 3_200),
    "R50_merge": (31_727_842 - 773, 31_469_027 - 516, 2_364_419, 53_120),
    "R50_ggo": (31_727_842 - 773, 31_469_027 - 516, 2_364_419, 53_120),
    "R50_both": (31_727_842 - 773 + 902, 31_469_027 - 516 + 645, 2_364_419, 53_120),
}
RPN_HEAD = (9 * 256 + 1) * 256 + (256 + 1) * 30 * 5
# Multiply-adds of one RoI (or ranked tensor), by hand.
BOX_HEAD = 7 * 7 * 256 * 128 + 128 * 128 + 128 * (2 + 4)
MASK_HEAD = 14 * 14 * (9 * 256 * 128 + 4 * 128 * 128) + 28 * 28 * 128
MODULE_S = 640 * 512 + 512 * 512 + 512 * 3


@pytest.fixture(scope="module")
def tool(tmp_path_factory):
    """What one run of the tool prints, and the folder with what it writes."""
    folder = tmp_path_factory.mktemp("table")
    (folder / "page.md").write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    options = ["--csv", str(folder / "models.csv"), "--update", str(folder / "page.md")]
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as output:
        patch.setattr(sys, "argv", ["model_table.py", *options])
        runpy.run_path(str(ROOT / "tools" / "model_table.py"), run_name="__main__")
    return output.getvalue(), folder


@pytest.fixture(scope="module")
def rows(tool):
    """The tool's rows by name, read back from its CSV."""
    with (tool[1] / "models.csv").open(newline="") as file:
        read = [
            ModelRow(**{f.name: f.type(record[f.name]) for f in fields(ModelRow)})
            for record in csv.DictReader(file)
        ]
    return {row.name: row for row in read}


def build(config, *opts):
    path = str(CONFIGS / config)
    with torch.device("meta"):
        return build_model(load_config(path, ["MODEL.DEVICE", "meta", *opts], datasets=False))


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_are_the_authors_without_the_background(rows, name):
    lesion, ct_mask_net, module_s, norm = COUNTS[name]
    row = rows[name]
    assert (row.parameters, row.trainable, row.image_head) == (lesion, lesion, 0)
    assert row.batch_norm == norm
    trainable = {
        "heads": module_s,
        "heads_BN": module_s + norm,
        "full": ct_mask_net - RPN_HEAD,
    }
    for ending, count in trainable.items():
        row = rows[f"{name}_{ending}"]
        assert (row.parameters, row.trainable) == (ct_mask_net, count)
        assert (row.image_head, row.batch_norm) == (module_s, norm)


def test_every_config_has_its_row(rows):
    folders = [CONFIGS / name for name in ("lesion", "ctmasknet", "heads", "baseline")]
    stems = [path.stem for folder in folders for path in folder.glob("*.yaml")]
    assert sorted(rows) == sorted(stems)


def test_a_backbone_that_the_papers_do_not_have_comes_last(tmp_path):
    (tmp_path / "lesion").mkdir()
    for name in ("A101", "R18_T1"):
        text = f"_BASE_: {CONFIGS / 'lesion' / 'R18_T1.yaml'}\n"
        (tmp_path / "lesion" / f"{name}.yaml").write_text(text)
    known, other = model_rows(tmp_path)
    assert (known.name, other.name) == ("R18_T1", "A101")
    assert other.parameters == known.parameters == other.papers_count
    assert markdown([other]).splitlines()[2].endswith("| 19.32 | - | - |")


def test_reasons_for_the_papers_figures(tool, rows):
    t1 = rows["R18_T1"]
    assert t1.papers_count - t1.lateral == 6_056_305  # the author's state dict
    assert rows["R50_merge_full"].papers_count == 34_145_434
    wrong = [line for line in tool[0].splitlines() if "not the figure" in line]
    assert [line.split()[1] for line in wrong] == ["R34_T1"]
    t1 = rows["R34_T1"]
    assert t1.papers_count - t1.lateral == 11_449_215
    assert "11.45 is 11,449,215, without *lateral*" in tool[0]


def test_one_multiply_add_counts_as_one(rows):
    difference = rows["R18_T1"].multiply_adds - rows["R18_T1_heads"].multiply_adds
    assert difference == 128 * MASK_HEAD - MODULE_S
    fewer = build("ctmasknet/R18_T1_heads.yaml", "MODEL.RPN.POST_NMS_TOPK_TEST", "990")
    count = count_multiply_adds(fewer)
    assert rows["R18_T1_heads"].multiply_adds - count == 10 * BOX_HEAD
    assert fewer.device.type == "meta"


def test_convolutions_are_counted_as_on_the_whole_image(rows):
    model = build("ctmasknet/R18_T2_heads.yaml").to_empty(device="cpu").eval()
    features = [torch.zeros(1, 256, 64, 64)]
    parts = [
        FlopCountAnalysis(model.backbone, (torch.zeros(1, 3, 512, 512),)),
        FlopCountAnalysis(model.proposal_generator.rpn_head, (features,)),
    ]
    convolutions = sum(part.by_operator()["conv"] for part in parts)
    assert rows["R18_T2_heads"].multiply_adds == convolutions + 1000 * BOX_HEAD + MODULE_S


def test_other_heads_and_baselines(tool, rows):
    base = rows["R18_T1_heads_BN"]
    body = base.parameters - base.image_head
    for name in ("R18_T1_pooled", "R18_T1_attention", "R18_T1_set", "R18_T1_quantities"):
        assert rows[name].parameters == body + rows[name].image_head
    vector = 6 + 128  # a row with its class, and the box head's features
    pooled = (2 * vector + 1) * 128 + 129 * 3 + 2 * 128
    assert rows["R18_T1_pooled"].image_head == pooled
    wider = rows["R18_T1_attention_global"].image_head - rows["R18_T1_attention"].image_head
    assert wider == 256 * 3 + 2 * 256  # of the map's mean, and its norm
    assert rows["R18_T1_quantities"].image_head == 9 * 3
    assert rows["ResNet18"].parameters == 11_178_051 and rows["MobileNetV3"].parameters == 1_520_931
    assert rows["IntensityHistogram"].multiply_adds == 32 * 3
    assert rows["ResNet18"].multiply_adds == pytest.approx(1.82e9 * (512 / 224) ** 2, rel=0.02)
    lines = [x for x in tool[0].splitlines() if x.startswith(("| R18_T1_pooled ", "| ResNet18 "))]
    assert len(lines) == 2 and all(x.endswith("| - | - |") for x in lines)


def test_update_replaces_what_is_between_the_markers(tool):
    text = (tool[1] / "page.md").read_text()
    assert text == f"before\n{BEGIN}\n\n{tool[0]}\n{END}\nafter\n"


def test_the_pages_rows_are_the_tools(tool, rows):
    """A config that the page does not have yet is no error."""
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    table = page.partition(BEGIN)[2].partition(END)[0].splitlines()
    written = [line for line in table if line.startswith("| ") and line.split()[1] in rows]
    assert len(written) >= len(COUNTS) and set(written) <= set(tool[0].splitlines())


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_update_wants_each_marker_once(tmp_path, text):
    path = tmp_path / "README.md"
    path.write_text(text)
    with pytest.raises(ValueError, match="each once"):
        update_table(path, "table\n")
    assert path.read_text() == text
