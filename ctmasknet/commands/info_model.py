"""What `ctmasknet info MODEL` says of a model that is one file."""

from pathlib import Path

from ..checkpoint.model_file import read_metadata
from ..checkpoint.settings import TRAINING_DATA, WINDOW
from ..inference.model_spec import ModelSpec, find_model
from ..modeling import reads_boxes
from ..provenance import sha256_of
from ..shipped_models import find_weights, is_model_file, names_in_words


def gather_model(name: str) -> dict[str, str]:
    """Return what a model file says of itself, with its path, size and SHA-256 as a file.

    Args:
        name: its path, or the name of a model in the package.

    Raises:
        FileNotFoundError, ValueError: no such model, or one that cannot be used.
    """
    path = find_weights(name)
    if not is_model_file(path):
        raise FileNotFoundError(
            f"{name}: expected a model file (.safetensors; `ctmasknet pack` makes one of a "
            f"training run) or the name of a model in the package ({names_in_words()})"
        )
    kind = kind_in_words(find_model(path))  # which checks every byte
    about = {"file": str(path), "kind": kind, "size": size_in_words(path)}
    return about | {"file_sha256": sha256_of(path)} | read_metadata(path)


def describe_model(found: dict[str, str]) -> str:
    """Lay out what `gather_model` returns as text."""
    lines = {
        "window of its slices": f"{found[WINDOW]} (width,level in HU)",
        "field of view": found["field_of_view"],
        "trained on": found[TRAINING_DATA],
        "licence": found["license"],
        "terms": found["terms"],
        "made by": f"ctmasknet {found['ctmasknet']}",
        "content": "as its SHA-256 says",
        "SHA-256": found["file_sha256"],
    }
    head = f"{found['file']}: {found['kind']} {found['name']}, {found['size']}"
    return "\n".join([head, *(f"  {key}: {value}" for key, value in lines.items())])


def kind_in_words(spec: ModelSpec) -> str:
    """Return "lesion model (GGO, C)", or of a classifier its image classes, too."""
    lesions = ", ".join(spec.lesion_classes)
    if spec.image_classes and not reads_boxes(spec.cfg):
        return f"{spec.cfg.MODEL.META_ARCHITECTURE} ({', '.join(spec.image_classes)})"
    if spec.image_classes:
        return f"CT-Mask-Net ({', '.join(spec.image_classes)}, from the lesions {lesions})"
    return f"lesion model ({lesions})"


def size_in_words(path: Path) -> str:
    """Return a file's size as "12.3 MB"."""
    return f"{path.stat().st_size / 1e6:.1f} MB"
