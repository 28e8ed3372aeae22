from prediction_fixtures import (  # noqa: F401
    predict,
    predict_and_report,
    predictors,
    runs,
    scan,
    slices,
)
