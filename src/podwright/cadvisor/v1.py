"""The messages of the questions, as classes; v1.proto says what they are, v1.pyi tells type checkers."""

from pathlib import Path

from podwright.descriptors import load

globals().update(load(Path(__file__).with_suffix(".binpb")))
