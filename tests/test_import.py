import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow  # whole networks, commands or data sets


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_without_detectron2_the_error_names_the_command():
    process = python("import sys; sys.modules['detectron2'] = None; import ctmasknet")
    assert process.returncode == 1
    last = process.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError") and "ctmasknet-install-detectron2" in last


def test_import_registers_everything_and_never_the_model_zoo():
    code = """
import sys, warnings, ctmasknet
from detectron2.data import DatasetCatalog
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY, ROI_HEADS_REGISTRY
assert "build_truncated_resnet_fpn_backbone" in BACKBONE_REGISTRY
assert "CTMaskNet" in META_ARCH_REGISTRY and "RankedROIHeads" in ROI_HEADS_REGISTRY
assert "RankedBoxHead" in ctmasknet.modeling.IMAGE_HEAD_REGISTRY
assert "phantom_train" in DatasetCatalog and "phantom_lesion_merge_test" in DatasetCatalog
assert not [x for x in warnings.filters if x[1] and "meshgrid" in x[1].pattern]  # a tool's affair
assert "detectron2.model_zoo" not in sys.modules and "pkg_resources" not in sys.modules
"""
    process = python(code)
    assert process.returncode == 0, process.stderr
