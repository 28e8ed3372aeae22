#!/usr/bin/env python
"""The same as the command `ctmasknet predict`, from a checkout: see its --help."""

import sys

from ctmasknet.__main__ import main

if __name__ == "__main__":
    main(["predict", *sys.argv[1:]])
