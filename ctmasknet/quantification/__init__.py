"""Predictions to measures: lung, areas and volumes, label maps, DICOM SEG."""
