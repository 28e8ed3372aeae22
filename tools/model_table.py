#!/usr/bin/env python
"""Print the size and cost of every lesion model and CT-Mask-Net in configs/, as Markdown.

    tools/model_table.py
    tools/model_table.py --csv models.csv
    tools/model_table.py --update docs/models.md

Needs no data and no weights, and takes seconds on a CPU.
"""

import csv
from copy import deepcopy
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import torch
from detectron2.modeling import GeneralizedRCNN, build_model
from detectron2.utils.analysis import FlopCountAnalysis
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ctmasknet.command_line import new_parser, run_script
from ctmasknet.engine import load_config
from ctmasknet.modeling import ImageHead, RankedBoxes

CONFIGS = Path(__file__).resolve().parents[1] / "configs"

# Millions of parameters by the papers: lesion model, CT-Mask-Net.
PAPERS = {
    "R18": (14.52, 14.75),
    "R18_T1": (6.12, 6.35),
    "R18_T2": (4.02, 4.25),
    "R34": (24.63, 24.86),
    "R34_T1": (11.45, 11.74),
    "R34_T2": (4.68, 4.92),
    "R50": (31.78, 34.14),
}
IMAGE_SIZE = 512
# fvcore counts these too, in units of its own: 2 for each number that BatchNorm reads, 1 for each
# that upsampling writes.
NOT_MULTIPLY_ADDS = ("batch_norm", "upsample_nearest2d")

# Layers and input shape -> multiply-adds: the configs share most of their parts.
_COUNTS: dict[str, int] = {}

BEGIN = "<!-- made by: python tools/model_table.py --update docs/models.md -->"
END = "<!-- end of the model table -->"
HEADER = (
    "| config | parameters | trainable | module S | BatchNorm | multiply-adds (G) | papers (M) "
    "| what the papers count on top |\n|---|--:|--:|--:|--:|--:|--:|---|\n"
)
NOTES = """
Multiply-adds: one slice of 512 x 512 at inference, counted by fvcore's FlopCountAnalysis with one
multiply-add as one: the convolutions and linear layers of backbone, FPN and RPN head, of box head
and predictor for 1,000 RoIs, of the mask head for 128 instances, and of module S. Not counted:
BatchNorm (it can be folded into the convolution before it), ReLU, additions, max pooling and
upsampling; RoIAlign, decoding, NMS and pasting.

BatchNorm: its weights and biases. Papers: they count the whole state dict of the author's code.
*background* is outputs for the background, which Detectron2's box and mask predictors lack;
*statistics* is BatchNorm's running means, variances and batch counters; *lateral* is an FPN layer
for 512 channels where a cut model has 256 or 128, so that it could not run; *mask head* is one that
R50's CT-Mask-Net does not use. The sums, cut or rounded to two decimals, are the papers' figures,
but for the lesion model R34_T1: 11.45 is 11,449,215, without *lateral*.
"""
ON_TOP = ("background", "statistics", "lateral", "mask_head")


@dataclass(frozen=True)
class ModelRow:
    """One config's numbers.

    Attributes:
        name: stem of the config file.
        parameters: all of the model.
        trainable: those that training changes.
        image_head: those of module S; 0 in a lesion model.
        batch_norm: weights and biases of BatchNorm.
        multiply_adds: of one image of 512 x 512; see `count_multiply_adds`.
        papers_millions: the papers' figure; 0 for a backbone that they do not have, as is what
            they count on top of `parameters`:
        background: the background's outputs in the author's box and mask predictors.
        statistics: BatchNorm's buffers.
        lateral: weights for the input channels that a cut model's FPN does not get.
        mask_head: left in R50's CT-Mask-Net, unused.
    """

    name: str
    parameters: int
    trainable: int
    image_head: int
    batch_norm: int
    multiply_adds: int
    papers_millions: float = 0.0
    background: int = 0
    statistics: int = 0
    lateral: int = 0
    mask_head: int = 0

    @property
    def papers_count(self) -> int:
        """What the papers should have counted, by the four reasons."""
        return self.parameters + sum(getattr(self, name) for name in ON_TOP)


def model_rows(config_folder: Path) -> list[ModelRow]:
    """Measure the lesion models and CT-Mask-Nets of a folder.

    Args:
        config_folder: the repository's `configs`.

    Returns:
        One row for each config: lesion models first, in the papers' order, then other backbones.

    Raises:
        FileNotFoundError: the folder has no such configs.
    """
    paths = [*config_folder.glob("lesion/*.yaml"), *config_folder.glob("ctmasknet/*.yaml")]
    if not paths:
        raise FileNotFoundError(f"{config_folder}: no configs in its lesion and ctmasknet")
    order = [*PAPERS, ""]
    paths.sort(key=lambda p: (p.parent.name == "ctmasknet", order.index(_backbone(p)), p.stem))
    return [model_row(path) for path in paths]


def model_row(config_file: Path) -> ModelRow:
    """Build the model of one config, without memory for its weights, and measure it."""
    model = _build(config_file)
    image_head = getattr(model, "image_head", None)
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    row = ModelRow(
        name=config_file.stem,
        parameters=_size(model),
        trainable=sum(p.numel() for p in model.parameters() if p.requires_grad),
        image_head=_size(image_head) if image_head else 0,
        batch_norm=sum(map(_size, norms)),
        multiply_adds=count_multiply_adds(model),
    )
    backbone = _backbone(config_file)
    if not backbone:
        return row
    # The papers' R50 still had its mask head.
    counted = _build(config_file, "MODEL.MASK_ON", "True") if backbone == "R50" else model
    return replace(
        row,
        papers_millions=PAPERS[backbone][1 if image_head else 0],
        background=_background_outputs(counted),
        statistics=sum(b.numel() for norm in norms for b in norm.buffers()),
        lateral=_missing_lateral(model),
        mask_head=_size(counted) - _size(model),
    )


def count_multiply_adds(model: GeneralizedRCNN) -> int:
    """Count the multiply-adds of one image of 512 x 512 at inference.

    The RPN is taken to hand on as many proposals, and the mask head to see as many instances, as
    they may, so that the number does not depend on weights.

    Args:
        model: a LesionRCNN or CTMaskNet, on any device; left as it is.

    Returns:
        Those of convolutions and linear layers.
    """
    # The cost of a convolution is proportional to the area, and that of a head to the number of
    # RoIs: tracing the smallest input that the strides divide is as exact as tracing all of it.
    cell = model.backbone.size_divisibility
    cells = (IMAGE_SIZE // cell) ** 2
    levels = [
        torch.zeros(1, level.channels, cell // level.stride, cell // level.stride)
        for level in model.backbone.output_shape().values()
    ]
    heads = model.roi_heads
    channels = levels[0].shape[1]
    pooled = torch.zeros(1, channels, *heads.box_pooler.output_size)
    box_features = torch.zeros(1, heads.box_head.output_shape.channels)
    rois = model.proposal_generator.post_nms_topk[False]
    count = (
        _traced(model.backbone, torch.zeros(1, 3, cell, cell)) * cells
        + _traced(model.proposal_generator.rpn_head, levels) * cells
        + _traced(heads.box_head, pooled) * rois
        + _traced(heads.box_predictor, box_features) * rois
    )
    if heads.mask_on:
        pooled = torch.zeros(1, channels, *heads.mask_pooler.output_size)
        # The layers without its `forward`, which wants instances.
        layers = nn.Sequential(*heads.mask_head)
        count += _traced(layers, pooled) * heads.box_predictor.test_topk_per_image
    if hasattr(model, "image_head"):
        head = model.image_head
        count += _traced(_OfRows(head), torch.zeros(1, head.num_boxes, head.row_size))
    return count


def markdown(rows: list[ModelRow]) -> str:
    """Write the rows as a Markdown table, with what its numbers mean under it."""
    return HEADER + "".join(map(_markdown_row, rows)) + NOTES


def write_csv(rows: list[ModelRow], path: Path) -> None:
    """Write the rows as CSV, with the attributes of ModelRow as columns."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(ModelRow)])
        writer.writeheader()
        writer.writerows(map(asdict, rows))


def update_table(path: Path, table: str) -> None:
    """Put a table between the two marker comments of a file, in place of what is there.

    Args:
        path: a Markdown file.
        table: as from `markdown`.

    Raises:
        ValueError: the file does not have each marker once, in their order.
    """
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end or BEGIN in rest or END in before + after:
        raise ValueError(f"{path}: expected the lines '{BEGIN}' and '{END}', each once")
    # Without the empty lines GitHub reads no Markdown beside a comment.
    path.write_text(f"{before}{begin}\n\n{table}\n{end}{after}", encoding="utf-8")


def _backbone(config_file: Path) -> str:
    """The papers' name of a config's backbone, which its stem begins with; "" for another one."""
    names = [name for name in PAPERS if f"{config_file.stem}_".startswith(f"{name}_")]
    return max(names, key=len, default="")


def _build(config_file: Path, *opts: str) -> GeneralizedRCNN:
    cfg = load_config(str(config_file), ["MODEL.DEVICE", "meta", *opts], datasets=False)
    with torch.device("meta"):
        return build_model(cfg)


def _size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _background_outputs(model: GeneralizedRCNN) -> int:
    """Parameters that the author's predictors have for the background and ours have not."""
    heads = model.roi_heads
    count = 4 * (heads.box_predictor.bbox_pred.in_features + 1)
    return count + (heads.mask_head.predictor.in_channels + 1 if heads.mask_on else 0)


def _missing_lateral(model: GeneralizedRCNN) -> int:
    lateral, *others = model.backbone.lateral_convs
    return 0 if others else (512 - lateral.in_channels) * lateral.out_channels


class _OfRows(nn.Module):
    """An image head as a module that takes tensors alone, as tracing wants it."""

    def __init__(self, head: ImageHead):
        super().__init__()
        self.head = head

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        images, num, _ = rows.shape
        places = torch.zeros(images, num, dtype=torch.int64)
        boxes, sizes = torch.zeros(images, num, 4), torch.ones(images, 2)
        return self.head(RankedBoxes(rows, boxes, places, places == 0, sizes))


def _traced(part: nn.Module, inputs: torch.Tensor | list[torch.Tensor]) -> int:
    shapes = [tuple(x.shape) for x in inputs] if isinstance(inputs, list) else inputs.shape
    key = f"{part} {shapes}"
    if key not in _COUNTS:
        # PyTorch does not trace convolutions on the meta device.
        part = deepcopy(part).to_empty(device="cpu").eval()
        counts = FlopCountAnalysis(part, (inputs,)).by_operator()
        _COUNTS[key] = sum(n for name, n in counts.items() if name not in NOT_MULTIPLY_ADDS)
    return _COUNTS[key]


def _markdown_row(row: ModelRow) -> str:
    sizes = (row.parameters, row.trainable, row.image_head, row.batch_norm)
    cells = [row.name, *(f"{n:,}" if n else "-" for n in sizes), f"{row.multiply_adds / 1e9:.2f}"]
    if row.papers_millions:
        terms = ((name.replace("_", " "), getattr(row, name)) for name in ON_TOP)
        reasons = " ".join(f"+ {n:,} {name}" for name, n in terms if n)
        count, papers = row.papers_count, round(100 * row.papers_millions)
        explained = papers in (count // 10_000, round(count / 10_000))
        known = "" if explained else ", not the figure: see below"
        cells += [f"{row.papers_millions:.2f}", f"{reasons} = {count:,}{known}"]
    else:
        cells += ["-", "-"]
    return f"| {' | '.join(cells)} |\n"


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--csv", type=Path, metavar="FILE", help="also write the table as CSV")
    parser.add_argument(
        "--update",
        type=Path,
        metavar="FILE",
        help="also put the table between the marker comments of this file",
    )
    args = parser.parse_args()
    rows = model_rows(CONFIGS)
    print(markdown(rows), end="")
    if args.csv:
        write_csv(rows, args.csv)
    if args.update:
        update_table(args.update, markdown(rows))


if __name__ == "__main__":
    run_script(main)
