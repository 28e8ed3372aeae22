"""The installer of Detectron2: `ctmasknet` itself cannot be imported before Detectron2 is there."""
