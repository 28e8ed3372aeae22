"""The stock `DatasetMapper` with the papers' squash, which refuses files that it would misread."""

from detectron2.config import CfgNode
from detectron2.data import DatasetMapper
from detectron2.data import transforms as T

from .images import check_slice, read_slice
from .resize import with_float_resize


class SliceMapper(DatasetMapper):
    """Dataset dict -> model input; image-level keys (label, patient, scan) pass through.

    With `INPUT.SQUASH`, training resizes to a square of side `INPUT.MIN_SIZE_TRAIN[0]` whatever
    the aspect ratio, as CT-Mask-Net's training does in the papers.
    """

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict:
        ret = super().from_config(cfg, is_train)
        if is_train and cfg.INPUT.SQUASH:
            side = cfg.INPUT.MIN_SIZE_TRAIN[0]
            ret["augmentations"] = [
                T.Resize((side, side)) if isinstance(aug, T.ResizeShortestEdge) else aug
                for aug in ret["augmentations"]
            ]
        if cfg.INPUT.FLOAT_RESIZE:
            ret["augmentations"] = with_float_resize(ret["augmentations"])
        return ret

    def __call__(self, dataset_dict: dict) -> dict:
        """As `DatasetMapper`, but refuse a file that is not an intact 8-bit slice, naming it."""
        check_slice(dataset_dict["file_name"])  # read_image would turn 16 bits into 8
        try:
            return super().__call__(dataset_dict)
        except (OSError, SyntaxError):
            read_slice(dataset_dict["file_name"])  # its error names a damaged file
            raise
