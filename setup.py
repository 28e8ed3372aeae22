"""Only what pyproject.toml cannot say: the configs, which lie beside the package, go into it."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["ctmasknet*"]), "ctmasknet.configs"],
    py_modules=["ctmasknet_command"],
    package_dir={"ctmasknet.configs": "configs"},
)
