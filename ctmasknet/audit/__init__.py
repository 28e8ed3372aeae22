"""Data sets before training: leaks between splits, damaged files, confounders, as a report."""
