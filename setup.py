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
    package_data={"ctmasknet.audit": ["*.jinja"], "ctmasknet.report": ["*.jinja"]},
    entry_points={"console_scripts": ["ctmasknet = ctmasknet.__main__:main"]},
    python_requires=">=3.11",
    # The tests passed with the lowest of these versions together and with those current in
    # November 2026 (torch 2.15, OpenCV 5.0, Pillow 13); the next major ones are untested.
    install_requires=[
        "torch>=2.11,!=2.13.*,<3",  # a CPU-only 2.13 is in circulation that breaks torchvision
        "torchvision>=0.26,<1",
        "fvcore>=0.1.5.post20221221,<0.1.6",
        "pycocotools>=2.0.8,<3",
        "opencv-python-headless>=4.11,<6",
        "numpy>=2.2,<3",
        "scikit-learn>=1.7,<2",
        "scipy>=1.15,<2",
        "matplotlib>=3.10,<4",
        "tqdm>=4.67,<5",
        "Pillow>=11.1,<14",
        "ImageHash>=4.3.2,<5",
        "Jinja2>=3.1.6,<4",
        "pydicom>=3.0.1,<4",
        "highdicom>=0.28.2,<1",
        "SimpleITK>=2.5,<3",
        "tabulate>=0.10,<1",
        "PyYAML>=6,<7",
    ],
    extras_require={
        "lungmask": ["lungmask>=0.2.20,<0.3"],  # predict --lung lungmask
        "dev": [
            "mypy>=2.4,<3",
            "pytest>=9.2,<10",
            "pytest-xdist>=3.8,<4",
            "ruff>=0.17,<0.18",
            "torchmetrics>=1.6,<2",  # what our calibration error is checked against
        ],
    },
)
