"""The range coder: symbols and their counts in, words out, and back.

Only this package imports constriction.
"""
