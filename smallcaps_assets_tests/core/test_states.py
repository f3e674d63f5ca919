from smallcaps_assets.core import states


def test_states_are_those_of_the_design() -> None:
    assert set(states.STATES) == {
        "planned",
        "complete",
        "empty",
        "empty_disputed",
        "disputed",
        "failed",
        "quarantined",
        "empty_unverified",
        "not_entitled",
        "imported_unproven",
        "not_yet_available",
    }
    assert len(states.STATES) == len(set(states.STATES))


def test_green_states_are_those_with_a_receipt() -> None:
    assert {"complete", "empty", "empty_unverified"} == states.GREEN
    assert states.GREEN - {states.COMPLETE} == states.EMPTY_STATES
