#!/usr/bin/env python3
"""The same as the command `ctmasknet prepare covidx`: see its --help."""

import sys

from ctmasknet.__main__ import main

if __name__ == "__main__":
    main(["prepare", "covidx", *sys.argv[1:]])
