"""Every configuration key that ctmasknet adds to Detectron2's."""

from collections.abc import Iterable

from detectron2.config import CfgNode
from detectron2.config import get_cfg as get_detectron2_cfg

from .data.classes import MIN_LESION_AREA, WINDOW_LEVEL, WINDOW_WIDTH


def add_ctmasknet_config(cfg: CfgNode) -> None:
    """Add ctmasknet's keys, with their defaults, to a Detectron2 config.

    Detectron2's own keys keep their values: a stock config behaves as before.

    Args:
        cfg: Detectron2's config, changed in place.
    """
    # ---------------------------------------------------------------- data
    # Data sets evaluated while training; the best checkpoint is chosen on them, so that
    # DATASETS.TEST is touched once, after training. The report of a CT-Mask-Net (--eval-only, too)
    # fixes temperature and thresholds on the first of them; () leaves both out. Any name in
    # DATASETS may also be the path of a COCO file (.json) or of an image list (.csv:
    # file,label,patient,scan).
    cfg.DATASETS.VALIDATION = ()
    # Folders below which lists may name files by absolute paths or "..", beside their own folder.
    # It holds for all lists of the process.
    cfg.DATASETS.DATA_ROOT = ()
    # Names of the image classes in the order of their labels. (): the papers' three, or, where
    # image lists have other labels, the names in them, sorted; in the order of the checkpoint if it
    # has them. The saved config and checkpoints have what was found.
    cfg.DATASETS.IMAGE_CLASSES = ()
    # Names of the lesion classes in the order of the model's class indices. (): those that
    # INPUT.MASK_TYPE makes of the data sets, in the order of the checkpoint in MODEL.WEIGHTS if it
    # has the same, else of the mask type or of the first data set; data sets of a run are matched
    # by name. A CT-Mask-Net takes them from its lesion model's checkpoint. The saved config and
    # checkpoints have what was found.
    cfg.DATASETS.LESION_CLASSES = ()
    # How lesion data sets are read, in training and in evaluation alike. "": lesions as the data
    # set has them. "nodule,effusion": these two, others are background. "opacity=GGO+C,effusion":
    # GGO and C become one class, the 8-connected components of their union. "lesion=*": all become
    # one class. The papers' "both", "merge" and "ggo" are names for "GGO,C", "lesion=*" and "GGO";
    # "merge" refuses other classes than GGO, C and lesion. Must agree with
    # MODEL.ROI_HEADS.NUM_CLASSES. A CT-Mask-Net reads no masks.
    cfg.INPUT.MASK_TYPE = ""
    # Lesions of at most so many pixels are background, after merging.
    cfg.INPUT.MIN_LESION_AREA = MIN_LESION_AREA
    # In training, resize to MIN_SIZE_TRAIN[0] x MIN_SIZE_TRAIN[0] and give up the aspect ratio:
    # the papers' protocol for CT-Mask-Net. Evaluation always keeps the ratio.
    cfg.INPUT.SQUASH = False
    # Resize by the short side as the author's code: on float pixels, without smoothing, sizes
    # rounded down. Detectron2, and SQUASH, resize 8-bit images with Pillow.
    cfg.INPUT.FLOAT_RESIZE = False
    # At inference, before that, resize 8-bit images with Pillow to the short side MIN_SIZE_TEST,
    # the long side rounded down: as the author's script that evaluates classifiers.
    cfg.INPUT.PIL_RESIZE = False
    # What the network sees, in training, evaluation and prediction alike: "image", or the box of
    # the "body" or "lung" with a margin in mm, found in the scan or slice. Results are in pixels of
    # the whole image.
    cfg.INPUT.FIELD_OF_VIEW = "image"
    cfg.INPUT.FIELD_MARGIN = 10.0
    # Width and level in HU: the window that 8-bit slices have, and that prediction gives to scans.
    cfg.INPUT.WINDOW = (WINDOW_WIDTH, WINDOW_LEVEL)
    # What the three channels hold. "grey": the slice in that window, three times, as in the papers.
    # "windows": the slice in the windows mediastinum, INPUT.WINDOW and wide (2000,0). "neighbours":
    # the slice below, itself, and the one above; the first and the last slice of a scan stand for
    # the neighbour that they lack. Slices prepared as files must have been made so
    # (`ctmasknet prepare volumes --channels`); others are refused.
    cfg.INPUT.CHANNELS = "grey"

    # Augmentations of training slices beside INPUT.RANDOM_FLIP; 0 leaves one out.
    cfg.INPUT.AUGMENT = CfgNode()
    # Rotation by up to so many degrees either way.
    cfg.INPUT.AUGMENT.ROTATION = 0.0
    # The part of the image that is shown: its sides are 1 - SCALE to 1 + SCALE of the image's, and
    # it is moved by up to SHIFT of them either way; beyond the border it is black.
    cfg.INPUT.AUGMENT.SCALE = 0.0
    cfg.INPUT.AUGMENT.SHIFT = 0.0
    # Grey values times 1 - x to 1 + x, about 0 (BRIGHTNESS) or about their mean (CONTRAST).
    cfg.INPUT.AUGMENT.BRIGHTNESS = 0.0
    cfg.INPUT.AUGMENT.CONTRAST = 0.0
    # Gaussian noise with a standard deviation of 0 to so many grey values (of 255).
    cfg.INPUT.AUGMENT.NOISE = 0.0
    # Chance that lesions of another training slice are pasted into a slice, at the same place of
    # the image; for slices that are cropped to the lungs.
    cfg.INPUT.AUGMENT.PASTE = 0.0

    # ---------------------------------------------------------------- model
    # What the model is called in results and, unless OUTPUT_DIR is given, its output folder.
    # Empty: the stem of the config file.
    cfg.MODEL.NAME = ""
    # Number format of convolutions and matrices: "float32", "bfloat16", or "float16" (GPUs alone);
    # weights, boxes, scores and the image head stay in float32. "auto": Trainer and
    # Predictor choose by hardware and log what; a model that you build by hand computes in float32.
    cfg.MODEL.PRECISION = "auto"
    # Let faster functions of the same results take the place of stock layers (ctmasknet.fast):
    # Trainer and Predictor do it; call `ctmasknet.fast.accelerate` on a model that you build by
    # hand. False leaves stock layers.
    cfg.MODEL.FAST = True
    # Score of a RoI at inference: "softmax", or "sigmoid" of each class's own logit.
    cfg.MODEL.ROI_BOX_HEAD.SCORE = "softmax"
    # Whose code puts masks into the image: "detectron2" or "torchvision" (the author's).
    cfg.MODEL.ROI_MASK_HEAD.PASTE = "detectron2"
    # Weight of a Dice term beside the cross-entropy of masks; 0 leaves it out.
    cfg.MODEL.ROI_MASK_HEAD.DICE_WEIGHT = 0.0

    # ---------------------------------------------------------------- semantic branch
    # Of SemanticLesionRCNN, whose MODEL.SEM_SEG_HEAD.NAME is LesionSemSegHead: weight of the Dice
    # term beside the cross-entropy.
    cfg.MODEL.SEM_SEG_HEAD.DICE_WEIGHT = 1.0
    # TEST.AUG.ENABLED (with TEST.AUG.FLIP) lets the branch see the mirrored image, too.
    # Components of the branch's pixels of at most so many input pixels are no lesions.
    cfg.MODEL.SEM_SEG_HEAD.MIN_AREA = 64
    # A pixel is lesion if the branch's probability of any lesion is above this.
    cfg.MODEL.SEM_SEG_HEAD.LESION_THRESH = 0.5
    # HU between the lesion classes, of which each is denser than the one before: then the smoothed
    # grey value, in INPUT.WINDOW, tells a lesion pixel's class. [] leaves it to the branch.
    cfg.MODEL.SEM_SEG_HEAD.HU_CUTS = []
    # RPN and RoI heads learn in every so many-th iteration, the branch in each. Iterations without
    # them are shorter.
    cfg.MODEL.SEM_SEG_HEAD.DETECTOR_PERIOD = 1

    # ---------------------------------------------------------------- ranked boxes
    # All scored boxes of an image, ranked and cut to a fixed number, are the input of the image
    # head (read by RankedROIHeads).
    cfg.MODEL.RANKED_BOXES = CfgNode()
    # N, the number of rows of the ranked tensor.
    cfg.MODEL.RANKED_BOXES.NUM = 128
    # IoU above which the lower-scored of two boxes of one lesion class is dropped.
    cfg.MODEL.RANKED_BOXES.NMS_THRESH = 0.75
    # What a row says of its box beside the score: "deltas" (the papers: raw regression output) or
    # "image" (decoded box over image size, so that the image head sees where lesions are).
    cfg.MODEL.RANKED_BOXES.ENCODING = "deltas"
    # Append the lesion class to each row, as a one-hot.
    cfg.MODEL.RANKED_BOXES.CLASS_ONE_HOT = False
    # How fewer than N boxes become N rows in training: "even" (deterministic) or "random" (the
    # papers; the numbers of a step follow from SEED). Inference always spreads them evenly.
    cfg.MODEL.RANKED_BOXES.FILL = "even"

    # What a box carries beside its row: "" (nothing, as in the papers), or "box_head", the vector
    # of the box head (MODEL.ROI_BOX_HEAD) for the RoI that the box comes from.
    cfg.MODEL.RANKED_BOXES.FEATURES = ""

    # ---------------------------------------------------------------- image head (module S)
    cfg.MODEL.IMAGE_HEAD = CfgNode()
    # Name in IMAGE_HEAD_REGISTRY: "RankedBoxHead" (module S of the papers) reads all places,
    # repeats included; "PooledBoxHead" (mean and maximum), "AttentionBoxHead" (gated attention)
    # and "SetBoxHead" (self-attention) read each box once.
    cfg.MODEL.IMAGE_HEAD.NAME = "RankedBoxHead"
    # Number of image classes; the three of the papers are Control, Common Pneumonia, COVID-19.
    cfg.MODEL.IMAGE_HEAD.NUM_CLASSES = 3
    # Features of the head's hidden layers.
    cfg.MODEL.IMAGE_HEAD.FC_DIM = 512
    # Whether the head also reads the mean of the backbone's coarsest level over the image: what
    # lies outside every box. Boxes then explain a part of the answer only.
    cfg.MODEL.IMAGE_HEAD.GLOBAL_FEATURES = False
    # Blocks of self-attention (SetBoxHead).
    cfg.MODEL.IMAGE_HEAD.NUM_BLOCKS = 1
    # "binary_cross_entropy" of each class against the rest (the papers), or "cross_entropy".
    cfg.MODEL.IMAGE_HEAD.LOSS = "binary_cross_entropy"

    # Share of slices without lesions in what a lesion model is trained on; 0 draws them as they
    # come. It needs DATALOADER.FILTER_EMPTY_ANNOTATIONS False, as they are left out otherwise.
    # INPUT.AUGMENT.PASTE pastes lesions into them, too.
    cfg.DATALOADER.LESION_FREE_SHARE = 0.0
    # Where MODEL.TRAINABLE "heads" keeps the ranked tensors of its data sets, which never change:
    # computed once, read in every epoch. Runs may share a folder, as files are known by weights,
    # settings, code and images. "": ranked_boxes in OUTPUT_DIR. "none": compute them each time.
    cfg.DATALOADER.RANKED_BOXES_FOLDER = ""

    # ---------------------------------------------------------------- training and evaluation
    # What CTMaskNet trains: "heads" (the image head alone), "heads+bn" (and the affine weights of
    # BatchNorm, whose running statistics stay frozen) "full" (all that the image loss reaches:
    # everything but the RPN and the mask head) or "one-shot" (everything: DATASETS.TRAIN has lesion
    # data sets and image lists, each batch slices of both, with the losses of their kind).
    cfg.MODEL.TRAINABLE = "heads+bn"
    # Whether "heads+bn" includes the BatchNorm of the residual shortcuts (the author's code does
    # not).
    cfg.MODEL.TRAIN_SHORTCUT_NORMS = True
    # SGD (with Detectron2's momentum keys), ADAM or ADAMW.
    cfg.SOLVER.OPTIMIZER = "SGD"
    # Decay of the exponential moving average of weights, such as 0.99; 0 takes none. Checkpoints,
    # validation and results are then of the average.
    cfg.SOLVER.AVERAGE_DECAY = 0.0
    # Images per evaluation batch. With images of one size any value gives the same results. With
    # several sizes and MODEL.FAST False, padding to the largest of a batch changes them: leave 1.
    cfg.TEST.IMS_PER_BATCH = 1
    # Metric whose best value on the first validation set selects model_best.pth, as
    # "task/metric", for example "segm/AP50" or "image/accuracy". Empty: keep no best checkpoint.
    cfg.TEST.BEST_METRIC = ""
    # Lowest score of a detection in the papers' per-image AP. It is not SCORE_THRESH_TEST, because
    # COCO AP wants the low scores too.
    cfg.TEST.PER_IMAGE_AP_SCORE_THRESH = 0.75
    # Lowest score of a detection whose pixels count as lesion (Dice, areas).
    cfg.TEST.PIXEL_SCORE_THRESH = 0.5
    # Resamples of the intervals in results.json; 0 computes none.
    cfg.TEST.BOOTSTRAP_RESAMPLES = 2000
    # How the slices of a scan become one answer: "mean", "max", "top_3_mean",
    # "share_above_0.5", ... Empty: the best on the first validation set, or, without one, "mean".
    cfg.TEST.AGGREGATION = ""
    # Sensitivity at which operating points are fixed on the first validation set.
    cfg.TEST.SENSITIVITY = 0.95


def get_cfg() -> CfgNode:
    """Return Detectron2's default config with ctmasknet's keys added.

    Returns:
        A new, unfrozen config.
    """
    cfg = get_detectron2_cfg()
    add_ctmasknet_config(cfg)
    return cfg


def require_one_of(key: str, value: str, valid: Iterable[str]) -> None:
    """Raise a ValueError that names the config key, its value and the valid ones."""
    valid = tuple(valid)
    if value not in valid:
        raise ValueError(f"{key} is {value!r}; valid are {', '.join(valid)}")
