"""The NCML paper's network: PixelCNN++ with axial attention, pixel by pixel."""
