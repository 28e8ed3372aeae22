import pytest
from correction_exports import predicted  # noqa: F401
from detectron2.data import DatasetCatalog, MetadataCatalog
from prediction_fixtures import (  # noqa: F401
    predict,
    predict_and_report,
    predictors,
    runs,
    scan,
    slices,
)


@pytest.fixture
def own_data_sets():
    """What a test registers is forgotten: others have files of the same names."""
    before = set(DatasetCatalog)
    yield
    for name in set(DatasetCatalog) - before:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
