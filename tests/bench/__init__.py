"""Benchmarks: Podwright and Debian's containerd side by side, on the same OCI runtime, with the same client.

`python -m bench` (see __main__.py). A measure is a module of measures/; peers.py makes the two runtimes; results.py
keeps what was found, report.py and plot.py show it.
"""
