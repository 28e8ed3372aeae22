"""Parts of tools/stop_runs.py."""
