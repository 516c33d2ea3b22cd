"""What replicas exchange, counted in two ways."""

import pytest

from benchmarks import timing


@pytest.mark.slow
def test_the_graph_of_two_replicas_exchanges_what_is_counted():
    case = {"kind": "graph", "arguments": [10, 32, 16]}
    found = timing.run_case("benchmarks.scaling", case)
    assert found["graph"] == found["counted"] > 10**6, found
