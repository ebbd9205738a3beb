"""The published rearrangement of what a pipeline answers."""

from cuvis_ai_core.utils.graph_helper import restructure_output_to_node_dict


def test_outputs_by_node_and_port() -> None:
    """Of outputs by both; of none there are none."""
    outputs = {("a", "scores"): 1, ("b", "scores"): 2, ("a", "mask"): 3}
    assert restructure_output_to_node_dict(outputs) == {"a": {"scores": 1, "mask": 3}, "b": {"scores": 2}}
    assert restructure_output_to_node_dict({}) == {}
