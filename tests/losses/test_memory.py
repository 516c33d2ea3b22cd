"""The guard against quadratic memory, in a process of its own."""

import pytest

from benchmarks import timing


@pytest.mark.slow
@pytest.mark.parametrize("mode", [pytest.param("graph", marks=pytest.mark.one_stack), "xla"])
def test_memory_of_4096_pairs_is_not_quadratic(mode):
    case = {"form": "blockwise", "pairs": 4096, "mode": mode, "temperature": 0.1, "steps": 1}
    found = timing.run_case("benchmarks.nt_xent", case)
    assert "failed" not in found, found
    assert found["extra_mib"] < 150.0  # one 8192 x 8192 float32 matrix has 256 MiB
