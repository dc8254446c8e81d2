"""The page MLE against NCML."""
