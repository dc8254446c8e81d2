"""Records of measurements, their tables, plots and pages."""
