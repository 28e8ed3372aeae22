from prediction_fixtures import predict, runs, scan, slices  # noqa: F401
