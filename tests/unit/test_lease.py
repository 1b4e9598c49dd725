"""When the Lease may be taken: by what a candidate has seen on its own clock, and by nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from goldenpipe.cluster.lease import (
    Candidate,
    Object,
    Sighting,
    Times,
    free_in,
    given_back,
    holder_of,
    leader_of,
    renewed,
    sighted,
    taken,
    term_of,
)

TIMES = Times()
NOW = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
ME = Candidate(identity="me", predecessor="dead", address="http://192.0.2.1:8080")
OTHER = Candidate(identity="other", predecessor=None, address="http://192.0.2.2:8080")


def held_by(candidate: Candidate, *, at: datetime = NOW) -> Object:
    return taken(None, candidate, at, TIMES)


def test_a_leader_is_out_before_anybody_else_may_be_in() -> None:
    assert TIMES.renew + TIMES.request < TIMES.stop < TIMES.fence < TIMES.lease


def test_there_is_time_for_a_second_try_when_a_renewal_hangs() -> None:
    assert TIMES.renew + 2 * TIMES.request <= TIMES.stop


@pytest.mark.parametrize("off", [timedelta(minutes=-5), timedelta(), timedelta(minutes=5)])
def test_the_clock_of_another_machine_does_not_matter(off: timedelta) -> None:
    first = sighted(None, held_by(OTHER, at=NOW + off), 100.0)
    assert free_in(first, ME, 100.0, TIMES) == TIMES.lease
    assert free_in(first, ME, 109.9, TIMES) == pytest.approx(0.1)
    assert free_in(first, ME, 110.0, TIMES) == 0


def test_each_renewal_starts_the_waiting_anew() -> None:
    lease = held_by(OTHER)
    first = sighted(None, lease, 100.0)
    assert sighted(first, {**lease, "metadata": {"resourceVersion": "7"}}, 105.0).since == 100.0
    again = sighted(first, renewed(lease, NOW + timedelta(seconds=2)), 105.0)
    assert free_in(again, ME, 110.0, TIMES) == 5.0


def test_nobody_waits_for_the_one_that_had_the_same_data_folder() -> None:
    dead = Candidate(identity="dead", predecessor=None, address="")
    assert free_in(sighted(None, held_by(dead), 100.0), ME, 100.0, TIMES) == 0


def test_a_lease_that_was_given_back_is_free_at_once_and_goes_on_counting() -> None:
    lease = given_back(held_by(OTHER), NOW)
    sighting = sighted(None, lease, 100.0)
    assert (holder_of(lease), free_in(sighting, ME, 100.0, TIMES)) == (None, 0)
    assert term_of(taken(lease, ME, NOW, TIMES)) == 1


def test_no_two_holders_have_the_same_term() -> None:
    lease = held_by(OTHER)
    mine = taken(lease, ME, NOW, TIMES)
    assert [term_of(each) for each in (lease, mine, taken(mine, ME, NOW, TIMES), taken(mine, OTHER, NOW, TIMES))] == [
        0,
        1,
        1,
        2,
    ]


def test_taking_and_renewing_keep_the_version_so_that_only_one_can_succeed() -> None:
    lease = held_by(OTHER)
    lease["metadata"]["resourceVersion"] = "7"
    for changed in (taken(lease, ME, NOW, TIMES), renewed(lease, NOW), given_back(lease, NOW)):
        assert changed["metadata"]["resourceVersion"] == "7"


def test_requests_go_to_the_holder_while_its_lease_lasts_and_to_nobody_after_that() -> None:
    sighting = sighted(None, held_by(OTHER), 100.0)
    assert leader_of(sighting, ME, 105.0, TIMES) == OTHER.address
    assert leader_of(sighting, ME, 110.0, TIMES) is None
    assert leader_of(sighted(None, held_by(ME), 100.0), ME, 101.0, TIMES) is None
    assert leader_of(Sighting(None, 100.0), ME, 101.0, TIMES) is None
