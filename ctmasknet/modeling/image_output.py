"""What models that classify images take and give.

Shapes: B images, C image classes.
"""

import torch


def image_labels(batched_inputs: list[dict], model: str) -> torch.Tensor:
    """Return the labels (B,) int64 of a training batch.

    Raises:
        ValueError: an image has none; names it and the model.
    """
    missing = [x.get("file_name", "?") for x in batched_inputs if "label" not in x]
    if missing:
        raise ValueError(
            f"{model} trains on images with a label, but {missing[0]} has none; give "
            "DATASETS.TRAIN an image list, not a lesion data set"
        )
    return torch.tensor([x["label"] for x in batched_inputs])


def image_classes(logits: torch.Tensor) -> list[dict]:
    """Return image logits (B, C) with their probabilities and classes, one dict per image."""
    return [
        {"image_logits": own, "image_probs": own.softmax(dim=0), "image_class": image_class}
        for own, image_class in zip(logits, logits.argmax(dim=1).tolist(), strict=True)
    ]
