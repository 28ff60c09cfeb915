"""Protocols without input or output: bytes in, values out. Standard library only; Hypothesis and full branch coverage
here.
"""
