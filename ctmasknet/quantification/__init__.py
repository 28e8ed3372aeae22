"""Predictions -> measures: lung, areas and volumes, label maps, DICOM SEG."""
