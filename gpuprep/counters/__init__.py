"""Counted work: what a learner's code loads, stores, launches and calls, without a GPU.

Importing this package costs nothing; its modules that touch torch or triton are imported in the worker process only.
"""
