"""What a Job did, read from its objects."""

from __future__ import annotations

from typing import Any

from goldenpipe.model.outcome import objection_to, outcome_of

Object = dict[str, Any]


def job(*conditions: Object) -> Object:
    return {"spec": {"activeDeadlineSeconds": 60}, "status": {"conditions": list(conditions)}}


def condition(kind: str, reason: str = "", message: str = "") -> Object:
    return {"type": kind, "status": "True", "reason": reason, "message": message}


def pod(
    code: int | None = None, message: str = "", *, at: str = "2026-01-01T00:00:00Z", reason: str = "Error"
) -> Object:
    state: Object = {"running": {}}
    if code is not None:
        state = {"terminated": {"exitCode": code, "reason": reason, "message": message}}
    return {
        "metadata": {"name": f"p-{at}", "creationTimestamp": at},
        "status": {"phase": "Running", "containerStatuses": [{"name": "step", "state": state}]},
    }


def test_a_running_container_decides_nothing() -> None:
    assert outcome_of(job(), [pod()]).status == "running"


def test_exit_0_moves_the_build_on_before_the_job_says_complete() -> None:
    outcome = outcome_of(job(), [pod(0, 'done\n{"facts": {"os_id": "debian"}}')])
    assert (outcome.status, outcome.message, outcome.facts) == ("completed", "done", {"os_id": "debian"})


def test_exit_20_fails_at_once_with_the_steps_own_words_and_hint() -> None:
    outcome = outcome_of(job(), [pod(20, 'package helm not found\n{"hint": "use another name"}')])
    assert (outcome.status, outcome.message, outcome.hint) == ("failed", "package helm not found", "use another name")


def test_exit_10_is_tried_again_by_the_job_and_not_judged_before_it_is() -> None:
    assert outcome_of(job(), [pod(10, "the network is down")]).status == "running"
    failed = job(condition("Failed", "BackoffLimitExceeded"))
    assert outcome_of(failed, [pod(10, "the network is down")]).message == "the network is down"


def test_only_the_latest_attempt_speaks() -> None:
    pods = [pod(10, "first", at="2026-01-01T00:00:00Z"), pod(0, "second", at="2026-01-01T00:00:20Z")]
    assert outcome_of(job(), pods).message == "second"


def test_a_deadline_is_told_in_seconds_and_with_what_the_pod_waited_for() -> None:
    waiting = pod()
    waiting["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "ErrImagePull", "message": "no route"}}
    outcome = outcome_of(job(condition("Failed", "DeadlineExceeded")), [waiting])
    assert "60 s" in outcome.message
    assert "ErrImagePull: no route" in outcome.message


def test_a_container_that_ran_out_of_memory_is_named_as_such() -> None:
    outcome = outcome_of(job(condition("Failed", "BackoffLimitExceeded")), [pod(137, reason="OOMKilled")])
    assert "memory" in outcome.message
    assert "limits.memory" in str(outcome.hint)


def test_a_silent_container_still_leaves_its_exit_code() -> None:
    outcome = outcome_of(job(condition("Failed", "BackoffLimitExceeded")), [pod(3)])
    assert "exit code 3" in outcome.message


def test_a_teams_own_container_may_leave_plain_text() -> None:
    assert outcome_of(job(), [pod(20, "scanner found\ntwo things")]).message == "scanner found"


def test_a_job_that_failed_without_a_pod_tells_its_own_reason() -> None:
    outcome = outcome_of(job(condition("Failed", "BackoffLimitExceeded", "Job has reached the limit")), [])
    assert outcome.message == "Job has reached the limit"


def test_a_completed_job_counts_even_if_its_pod_is_gone() -> None:
    assert outcome_of(job(condition("Complete")), []).status == "completed"


def deleting(found: Object) -> Object:
    return {**found, "metadata": {**found["metadata"], "deletionTimestamp": "2026-01-01T00:01:00Z"}}


def test_the_exit_of_a_pod_that_is_being_deleted_waits_for_the_jobs_word() -> None:
    assert outcome_of(job(), [deleting(pod(0, "ended by a signal"))]).status == "running"
    assert outcome_of(job(), [deleting(pod(20, "ended by a signal"))]).status == "running"
    assert outcome_of(job(condition("Complete")), [deleting(pod(0, "done"))]).message == "done"


def test_a_job_that_is_going_to_fail_is_never_called_completed() -> None:
    outcome = outcome_of(job(condition("FailureTarget", "DeadlineExceeded")), [deleting(pod(0))])
    assert (outcome.status, outcome.message) == ("failed", "the step did not end within its deadline of 60 s")


def test_words_and_facts_are_not_lost_when_the_jobs_watch_is_ahead_of_the_pods() -> None:
    assert outcome_of(job(condition("Complete")), [pod()]).status == "running"
    assert outcome_of(job(condition("Failed", "BackoffLimitExceeded")), [pod()]).status == "running"


def test_a_deadline_tells_the_last_word_of_the_step() -> None:
    late = job(condition("Failed", "DeadlineExceeded"))
    assert outcome_of(late, [], last_word="Installing nginx (3 of 7)").message.endswith(
        "60 s: Installing nginx (3 of 7)"
    )


def test_a_pod_without_its_containers_status_is_judged_by_its_phase() -> None:
    bare = pod()
    bare["status"] = {"phase": "Succeeded"}
    assert outcome_of(job(condition("Complete")), [bare]).status == "completed"


def test_a_job_that_has_not_confirmed_an_exit_yet_does_not_object_to_it() -> None:
    done = pod(0)
    for conditions in ([], [condition("SuccessCriteriaMet")], [condition("Complete")]):
        assert objection_to(job(*conditions), [done]) is None
        assert objection_to(job(*conditions), []) is None
    lost = pod(at="2025-12-31T00:00:00Z")
    lost["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert objection_to(job(), [lost, done]) is None


def test_a_job_that_fails_or_starts_over_after_an_exit_with_0_objects_with_its_reason() -> None:
    failed = job(condition("FailureTarget", "DeadlineExceeded"))
    assert "deadline of 60 s" in (objection_to(failed, [pod(0)]) or "")
    assert "another one" in (objection_to(job(), [pod(0), pod(at="2026-01-01T00:00:05Z")]) or "")
