"""One database session per HTTP request, committed before the answer leaves."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import failpoints


async def _session(request: Request) -> AsyncIterator[AsyncSession]:
    may_fail = failpoints.ARMED and request.method != "GET"
    async with request.app.state.sessions.begin() as session:
        yield session
        if may_fail:
            failpoints.reach("post.before-commit")
    if may_fail:
        failpoints.reach("post.after-commit")


# scope="function": the dependency ends, and so commits, when the endpoint has returned and before the
# response is sent. A client that has its 202 has its row.
Session = Annotated[AsyncSession, Depends(_session, scope="function")]
