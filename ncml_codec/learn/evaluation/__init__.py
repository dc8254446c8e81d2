"""What a trained network knows: held-out bits, robustness, outliers, quality of samples."""
