#!/usr/bin/env python
"""The same as the command `ctmasknet-install-detectron2`, from a checkout: see its --help."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also before ctmasknet is there
    from ctmasknet_detectron2.__main__ import main

    sys.exit(main())
