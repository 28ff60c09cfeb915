"""Lists cut into portions: nothing lost, nothing twice, none empty, none too large."""

from hypothesis import given
from hypothesis import strategies as st

from podwright.server.portions import PORTION_BYTES, portions, portions_of_bytes


@given(st.lists(st.integers(1, PORTION_BYTES // 2 * 3), max_size=12))
def test_portions_of_bytes(sizes: list[int]) -> None:
    items = [bytes([number]) * size for number, size in enumerate(sizes)]
    found = list(portions_of_bytes(items))
    assert b"".join(found) == b"".join(items)
    assert all(found)
    assert all(len(portion) <= max(PORTION_BYTES, *sizes) for portion in found)


@given(st.lists(st.integers(), max_size=1000))
def test_portions(items: list[int]) -> None:
    found = list(portions(items))
    assert [item for portion in found for item in portion] == items
    assert all(found)
