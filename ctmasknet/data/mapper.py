"""How a slice becomes a model's input: the stock `DatasetMapper`, the papers' squash, resizing."""

import copy
import math
from collections.abc import Sequence

import numpy as np
from detectron2.config import CfgNode, configurable
from detectron2.data import DatasetCatalog, DatasetMapper
from detectron2.data import detection_utils as utils
from detectron2.data import transforms as T

from ..lung import Box, FieldOfView
from .augment import build_intensity_and_shape
from .channels import GREY, check_channels
from .images import check_slice, read_slice
from .mask_layers import transform_masks
from .paste import paste_lesions
from .window import LUNG, Window


class SliceMapper(DatasetMapper):
    """Dataset dict -> model input; image-level keys (label, patient, scan) pass through.

    INPUT.FIELD_OF_VIEW crops slices first; "field" is the box that is left. INPUT.AUGMENT adds
    augmentations to training. With `INPUT.SQUASH`, training resizes to a square
    of side `INPUT.MIN_SIZE_TRAIN[0]` whatever the aspect ratio, as CT-Mask-Net's in the papers.
    """

    @configurable
    def __init__(
        self,
        *args,
        field_of_view: FieldOfView | None = None,
        window: Window = LUNG,
        channels: str = GREY,
        paste: float = 0.0,
        paste_from: Sequence[dict] = (),
        **kwargs,
    ):
        """Build Detectron2's mapper.

        Args:
            args, kwargs: those of DatasetMapper.
            field_of_view: what is left of a slice; None leaves all.
            window: that slices have.
            channels: that slices must have.
            paste: chance that lesions of `paste_from` (dataset dicts) are pasted.
            paste_from: dataset dicts with lesions.
        """
        super().__init__(*args, **kwargs)
        self._field_of_view = field_of_view or FieldOfView()
        self._window, self._channels = window, channels
        self._fields: dict[str, Box | None] = {}
        self._paste, self._paste_from = paste, paste_from

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict:
        ret = super().from_config(cfg, is_train)
        if is_train and cfg.INPUT.SQUASH:
            side = cfg.INPUT.MIN_SIZE_TRAIN[0]
            ret["augmentations"] = [
                T.Resize((side, side)) if isinstance(aug, T.ResizeShortestEdge) else aug
                for aug in ret["augmentations"]
            ]
        more = build_intensity_and_shape(cfg) if is_train else []
        ret["augmentations"] = more + ret["augmentations"]
        ret["field_of_view"] = configured_field_of_view(cfg)
        ret["window"] = Window(*cfg.INPUT.WINDOW)
        ret["channels"] = check_channels(cfg.INPUT.CHANNELS)
        if more or ret["field_of_view"].kind != "image":
            ret["recompute_boxes"] = cfg.MODEL.MASK_ON  # of rotated or cut lesions
        if is_train and cfg.INPUT.AUGMENT.PASTE:
            ret["paste"], ret["paste_from"] = cfg.INPUT.AUGMENT.PASTE, _slices_with_lesions(cfg)
        if cfg.INPUT.FLOAT_RESIZE:
            ret["augmentations"] = with_float_resize(ret["augmentations"])
        if cfg.INPUT.PIL_RESIZE and not is_train:
            ret["augmentations"] = [*map(PilResizeFirst, ret["augmentations"])]
        return ret

    def __call__(self, dataset_dict: dict) -> dict:
        """Do as `DatasetMapper`, but refuse a file that is no intact 8-bit slice, and name it."""
        mapped = self._map(dataset_dict)
        if self._paste_from and np.random.random() < self._paste:
            other = self._paste_from[np.random.randint(len(self._paste_from))]
            mapped = paste_lesions(mapped, self._map(other))
        return mapped

    def _map(self, dataset_dict: dict) -> dict:
        check_slice(
            dataset_dict["file_name"], self._channels
        )  # read_image would turn 16 bits into 8
        try:
            field = self._field(dataset_dict["file_name"])
            if field is None:
                return super().__call__(dataset_dict)
            x0, y0, x1, y1 = field
            cropping = copy.copy(self)
            crop = T.CropTransform(x0, y0, x1 - x0, y1 - y0)
            cropping.augmentations = T.AugmentationList([crop, *self.augmentations.augs])
            return {**super(SliceMapper, cropping).__call__(dataset_dict), "field": field}
        except (OSError, SyntaxError):
            read_slice(dataset_dict["file_name"])  # its error names a damaged file
            raise

    def _transform_annotations(self, dataset_dict: dict, transforms: T.Transform, size: tuple):
        """Do as `DatasetMapper`, but move a slice's masks together."""
        lesions = [x for x in dataset_dict["annotations"] if not x.get("iscrowd")]
        coded = [isinstance(x.get("segmentation"), dict) for x in lesions]
        if lesions and all(coded) and self.use_instance_mask:
            masks = transform_masks([x.pop("segmentation") for x in lesions], transforms)
            if not self.recompute_boxes:
                lesions = [
                    utils.transform_instance_annotations(x, transforms, size) for x in lesions
                ]
            moved = [{**x, "segmentation": m} for x, m in zip(lesions, masks, strict=True)]
            instances = utils.annotations_to_instances(moved, size, "bitmask")
            if self.recompute_boxes:
                instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
            dataset_dict["instances"] = utils.filter_empty_instances(instances)
            return
        mapper = self
        if self.recompute_boxes and not lesions:
            # Of a slice without lesions Detectron2 makes no masks, whose boxes it then wants.
            mapper = copy.copy(self)
            mapper.recompute_boxes = False
        super(SliceMapper, mapper)._transform_annotations(dataset_dict, transforms, size)

    def _field(self, file: str) -> Box | None:
        if self._field_of_view.kind == "image":
            return None
        if file not in self._fields:
            hu = self._window.to_hu(read_slice(file)[..., 1])
            self._fields[file] = self._field_of_view.find(hu[np.newaxis], None)
        return self._fields[file]


def configured_field_of_view(cfg: CfgNode) -> FieldOfView:
    """Return what INPUT.FIELD_OF_VIEW and FIELD_MARGIN say; a ValueError if they are wrong."""
    return FieldOfView(cfg.INPUT.FIELD_OF_VIEW, cfg.INPUT.FIELD_MARGIN)


def _slices_with_lesions(cfg: CfgNode) -> list[dict]:
    records = (x for name in cfg.DATASETS.TRAIN for x in DatasetCatalog.get(name))
    return [x for x in records if any(not a.get("iscrowd") for a in x.get("annotations", ()))]


class FloatResizeTransform(T.ResizeTransform):
    """Bilinear on float pixels, neither rounded to 8 bits nor smoothed when an image shrinks.

    8-bit pixels become float64 in 0..255 by way of float32 in 0..1, as in the author's code.
    """

    def apply_image(self, img: np.ndarray, interp: int | None = None) -> np.ndarray:
        if interp is None:
            img = (img.astype(np.float32) / 255).astype(np.float64) * 255
        return super().apply_image(img, interp)


class FloatResizeShortestEdge(T.ResizeShortestEdge):
    """Detectron2's resizing by the short side, on float pixels, with sizes rounded down."""

    def get_transform(self, image: np.ndarray) -> T.Transform:
        height, width = image.shape[:2]
        sides = self.short_edge_length
        side = (
            np.random.randint(sides[0], sides[1] + 1) if self.is_range else np.random.choice(sides)
        )
        if side == 0:  # in Detectron2: the size stays
            return T.NoOpTransform()
        scale = min(side / min(height, width), self.max_size / max(height, width))
        return FloatResizeTransform(
            height, width, math.floor(height * scale), math.floor(width * scale)
        )


def with_float_resize(augmentations: list[T.Augmentation]) -> list[T.Augmentation]:
    """Return Detectron2's augmentations with FloatResizeShortestEdge for ResizeShortestEdge."""
    return [
        FloatResizeShortestEdge(
            aug.short_edge_length, aug.max_size, "range" if aug.is_range else "choice"
        )
        if isinstance(aug, T.ResizeShortestEdge)
        else aug
        for aug in augmentations
    ]


class PilResizeFirst(T.Augmentation):
    """8-bit pixels by Pillow to the short side, the long one rounded down; then another resizing.

    So the author's script that evaluates classifiers makes images ready for his model, which
    resizes again what is longer than INPUT.MAX_SIZE_TEST.
    """

    def __init__(self, then: T.ResizeShortestEdge):
        """Take the resizing that follows, whose short side is also that of the first."""
        super().__init__()
        self.then = then

    def get_transform(self, image: np.ndarray) -> T.Transform:
        height, width = image.shape[:2]
        side, short = self.then.short_edge_length[0], min(height, width)
        if side == 0:
            return self.then.get_transform(image)
        first = T.ResizeTransform(height, width, side * height // short, side * width // short)
        return T.TransformList([first, self.then.get_transform(first.apply_image(image))])


def build_test_resize(cfg: CfgNode) -> T.Augmentation:
    """Build the resizing of inference from MIN_SIZE_TEST, MAX_SIZE_TEST and the two of *_RESIZE."""
    resize = T.ResizeShortestEdge(cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST)
    if cfg.INPUT.FLOAT_RESIZE:
        (resize,) = with_float_resize([resize])
    return PilResizeFirst(resize) if cfg.INPUT.PIL_RESIZE else resize
