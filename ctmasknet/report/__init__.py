"""Measures to what a person reads: HTML, figures, tables, files."""
