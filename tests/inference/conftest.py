from prediction_fixtures import runs  # noqa: F401
