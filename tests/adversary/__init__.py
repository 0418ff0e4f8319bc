"""Attacks on exports and packages with random inputs, for as long as one likes: `python -m tests.adversary`.

Belongs here: what is tried again and again with new seeds, through the command line and the verifier alone. Does not
belong here: cases with an outcome that is known beforehand, which have tests of their own in the other folders.
"""
