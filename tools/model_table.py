#!/usr/bin/env python
"""Print the size and cost of every lesion model, CT-Mask-Net and baseline in configs/, as Markdown.

    tools/model_table.py
    tools/model_table.py --csv models.csv
    tools/model_table.py --update docs/models.md

Needs no data and no weights, and takes seconds on a CPU.
"""

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import torch
from detectron2.modeling import GeneralizedRCNN, build_model
from multiply_adds import count_multiply_adds  # beside this file
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ctmasknet.command_line import new_parser, run_script
from ctmasknet.csv_cells import write_rows
from ctmasknet.engine import load_config

CONFIGS = Path(__file__).resolve().parents[1] / "configs"

FOLDERS = ("lesion", "ctmasknet", "heads", "baseline")
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
BEGIN = "<!-- made by: python tools/model_table.py --update docs/models.md -->"
END = "<!-- end of the model table -->"
HEADER = (
    "| config | parameters | trainable | image head | BatchNorm | multiply-adds (G) | papers (M) "
    "| what the papers count on top |\n|---|--:|--:|--:|--:|--:|--:|---|\n"
)
NOTES = """
Multiply-adds: one slice of 512 x 512 at inference, counted by fvcore's FlopCountAnalysis with one
multiply-add as one: the convolutions and linear layers of backbone, FPN and RPN head, of box head
and predictor for 1,000 RoIs, of the mask head for 128 instances, and of the image head; of a
baseline all that it has, at this size though it trains at 224. Not counted: BatchNorm (it can be
folded into the convolution before it), ReLU, additions, max pooling, upsampling and the products of
attention; RoIAlign, decoding, NMS and pasting.

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
        image_head: those of the image head (module S); 0 in a lesion model or baseline.
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
    """Measure the models of a folder.

    Args:
        config_folder: the repository's `configs`.

    Returns:
        One row for each config, by FOLDERS; in each the papers' backbones first, in their order.

    Raises:
        FileNotFoundError: the folder has no such configs.
    """
    paths = [path for name in FOLDERS for path in config_folder.glob(f"{name}/*.yaml")]
    if not paths:
        raise FileNotFoundError(f"{config_folder}: no configs in its {', '.join(FOLDERS)}")
    order = [*PAPERS, ""]
    paths.sort(key=lambda p: (FOLDERS.index(p.parent.name), order.index(_backbone(p)), p.stem))
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


def markdown(rows: list[ModelRow]) -> str:
    """Write the rows as a Markdown table, with what its numbers mean under it."""
    return HEADER + "".join(map(_markdown_row, rows)) + NOTES


def write_csv(rows: list[ModelRow], path: Path) -> None:
    """Write the rows as CSV, with the attributes of ModelRow as columns."""
    with path.open("w", newline="", encoding="utf-8") as file:
        head = [field.name for field in fields(ModelRow)]
        write_rows(file, [head, *(asdict(row).values() for row in rows)])


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
    """The papers' name of a config's backbone, which its stem begins with; "" for another one.

    Nor had they other heads or baselines.
    """
    if config_file.parent.name not in FOLDERS[:2]:
        return ""
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
