"""The package and what it needs; the tools' settings are in pyproject.toml.

Detectron2 is needed too but cannot be listed, as PyPI does not carry it:
tools/install_detectron2.py (or Detectron2's own guide) installs it.
"""

from setuptools import find_packages, setup

setup(
    name="ctmasknet",
    version="0.1.0",
    description=(
        "CT-Mask-Net as a Detectron2 plugin: lesions segmented in chest CT slices, slices "
        "classified from the ranked boxes. Research use only, not for diagnosis."
    ),
    license="Apache-2.0",
    license_files=["LICENSE"],
    packages=find_packages(include=["ctmasknet*"]),
    python_requires=">=3.11",
    # Each lower bound is the minor version the tests ran with; the next major one is untested.
    install_requires=[
        # 0.29 declares any torch >= 2.14, but its compiled operators ran with 2.15 only.
        "torch>=2.15,<3",
        "torchvision>=0.29,<1",
        "fvcore>=0.1.5.post20221221,<0.1.6",
        "pycocotools>=2.0.11,<3",
        "opencv-python-headless>=5.0,<6",
        "numpy>=2.4,<3",
        "scikit-learn>=1.9,<2",
        "scipy>=1.17,<2",
        "matplotlib>=3.11,<4",
        "tqdm>=4.70,<5",
        "Pillow>=13,<14",
    ],
    extras_require={"dev": ["mypy>=2.4,<3", "pytest>=9.2,<10", "ruff>=0.17,<0.18"]},
)
