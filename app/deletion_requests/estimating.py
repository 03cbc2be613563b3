"""What a request would do, told without doing it."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.deletion_requests.acceptance import Checked, Part
from app.deletion_requests.schemas import Estimate, ModelEstimate, ReasonView, TaskEstimate
from app.deletion_requests.shares import measure
from app.deletion_requests.targets import Target

_OPEN_JOB = text(
    "SELECT id FROM jobs WHERE registered_model_id = :model_id AND method = :method AND accepts_requests"
)


async def estimate(session: AsyncSession, checked: Checked) -> Estimate:
    return Estimate(
        instance_count=checked.instances.count,
        due_at=checked.due_at,
        models=[await _estimate(session, checked, part) for part in checked.parts],
    )


async def _estimate(session: AsyncSession, checked: Checked, part: Part) -> ModelEstimate:
    target, counts = part.target, part.counts
    shares = await session.run_sync(measure, target.subject, part.instances)
    return ModelEstimate(
        model=target.name,
        method=target.method,
        guarantee=target.guarantee,
        tasks=list(target.tasks),
        already_forgotten=counts.settled,
        gone=counts.gone,
        never_had=checked.instances.count - part.instances.count,
        joins_open_job=await _has_open_job(session, target),
        visits=target.visits,
        passes=target.visits * (part.instances.count - counts.settled),
        per_task=[
            TaskEstimate(
                task=each.task,
                forgets=fresh,
                share=round(each.since_last_word, 4),
                window_share=round(each.in_window, 4),
            )
            for each, fresh in zip(shares, counts.fresh, strict=True)
        ],
        needs_approval=[ReasonView(**reason.kept()) for reason in part.reasons],
    )


async def _has_open_job(session: AsyncSession, target: Target) -> bool:
    bound = {"model_id": target.model_id, "method": target.method}
    return (await session.execute(_OPEN_JOB, bound)).one_or_none() is not None
