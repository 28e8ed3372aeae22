from prediction_fixtures import runs, scan  # noqa: F401
