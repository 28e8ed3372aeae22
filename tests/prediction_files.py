"""What `ctmasknet predict` has written."""

import json


def result_of(folder):
    return json.loads((folder / "result.json").read_text())


def written(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
