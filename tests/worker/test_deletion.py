"""Deletion jobs from claim to publication, on a real database and real files."""

from models import RegisteredModel
from tests.worker.world import World
from worker.equipment import Equipment
from worker.run import run_next


def test_a_request_becomes_a_version(world: World, equipment: Equipment, model: RegisteredModel) -> None:
    job, request = world.job_with_request(model, instances=["p0", "p1", "p3"])
    assert run_next(equipment)
    print(world.job(job.id).status, world.job(job.id).report, world.job(job.id).error_detail)
    assert world.job(job.id).status == "succeeded"
    print(world.rows("select * from attempts"))
