"""The queue: a table, and updates that say what must be true for them.

A worker owns a job for a while, its lease, which each step renews. That of a worker that was killed lapses,
and the job is another's. Every update of a worker asks whether the job is still its own: one that was slow,
and so has lost it, changes nothing.
"""

import logging
import time
from typing import Any

from flask import current_app
from sqlalchemy import and_, case, or_, select, update

from demos.portal.extensions import db
from demos.portal.jobs.kinds import KINDS
from demos.portal.models import Job, JobStatus, Member

logger = logging.getLogger(__name__)

MAX_FAILURES = 4


def enqueue(kind: str, arguments: dict[str, Any], owner: Member) -> Job:
    """Put a job in. The caller commits, so that it is there if, and only if, what it is about is."""
    assert kind in KINDS, f"no kind of job is called {kind!r}"
    job = Job(kind=kind, arguments=arguments, owner=owner)
    db.session.add(job)
    return job


def claim(worker: str) -> int | None:
    """Take a job that is due; its id, or None if there is none, or another worker was quicker."""
    now = time.time()
    lapsed = and_(Job.status == JobStatus.RUNNING, Job.lease_until < now)
    due = or_(and_(Job.status == JobStatus.WAITING, Job.not_before <= now), lapsed)
    first = select(Job.id).where(due).order_by(Job.not_before, Job.id).limit(1).correlate(None)
    claimed = (
        update(Job)
        # `due` again: PostgreSQL looks at it once more if another worker has just changed the row.
        .where(Job.id == first.scalar_subquery(), due)
        .values(
            status=JobStatus.RUNNING,
            worker=worker,
            lease_until=now + current_app.config["JOB_LEASE_SECONDS"],
            failures=Job.failures + case((lapsed, 1), else_=0),  # a job that kills workers is given up, too
        )
        .returning(Job.id)
    )
    job_id = db.session.scalar(claimed)
    db.session.commit()
    return job_id


def run_step(job_id: int, worker: str) -> bool:
    """Do the next step; return whether the job is still this worker's, and has more of them."""
    job = db.session.get_one(Job, job_id)
    if job.failures >= MAX_FAILURES:
        _change(job_id, worker, _given_up(f"its worker has died {job.failures} times in the middle of it"))
        return False
    if job.kind not in KINDS:
        raise LookupError(f"no kind of job is called {job.kind!r} in this release")
    step = KINDS[job.kind](job.arguments, job.done)
    is_last = job.done + 1 >= step.total
    progress = {
        "done": min(job.done + 1, step.total),
        "total": step.total,
        "output": Job.output + step.output,
        "lease_until": time.time() + current_app.config["JOB_LEASE_SECONDS"],
    }
    is_ours = _change(job_id, worker, progress | _done() if is_last else progress)
    return is_ours and not is_last


def fail(job_id: int, worker: str, error: Exception) -> None:
    """After a step that failed: have the job tried again, each time later, or give it up."""
    failures = db.session.get_one(Job, job_id).failures + 1
    said = f"{type(error).__name__}: {error}"
    if failures >= MAX_FAILURES:
        logger.error("job %d failed, and is given up after %d tries: %s", job_id, failures, said)
        _change(job_id, worker, {"failures": failures} | _given_up(said))
        return
    delay = current_app.config["JOB_RETRY_SECONDS"] * 2 ** (failures - 1)
    logger.warning("job %d failed, and is tried again in %g s: %s", job_id, delay, said)
    later = {"failures": failures, "error": said[:500], "not_before": time.time() + delay}
    _change(job_id, worker, later | _waiting())


def give_back(job_id: int, worker: str) -> None:
    """Let another worker go on with it at once, as this one ends."""
    _change(job_id, worker, _waiting())


def retry(job: Job) -> None:
    """Begin again with a job that was given up, at the step that failed. The caller commits."""
    job.status, job.failures, job.error, job.not_before = JobStatus.WAITING, 0, "", 0.0
    job.finished_at = None


def _waiting() -> dict[str, Any]:
    return {"status": JobStatus.WAITING, "worker": None}


def _done() -> dict[str, Any]:
    return {"status": JobStatus.DONE, "worker": None, "finished_at": time.time(), "error": ""}


def _given_up(error: str) -> dict[str, Any]:
    return {"status": JobStatus.FAILED, "worker": None, "finished_at": time.time(), "error": error[:500]}


def _change(job_id: int, worker: str, values: dict[str, Any]) -> bool:
    """Change a job that is this worker's; return whether it was."""
    ours = update(Job).where(Job.id == job_id, Job.worker == worker, Job.status == JobStatus.RUNNING)
    changed = db.session.scalar(ours.values(**values).returning(Job.id))
    db.session.commit()
    return changed is not None
