"""SimpleITK, imported when a name of it is first used: training and evaluation do without."""

from typing import Any

from ..extras import require


def __getattr__(name: str) -> Any:
    if name.startswith("__"):  # Python's own questions to a module
        raise AttributeError(name)
    require("ct", "SimpleITK")
    import SimpleITK

    # ITK prints its warnings to stderr, with addresses in memory; our errors say what matters.
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    return getattr(SimpleITK, name)
