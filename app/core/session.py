"""One database session per HTTP request, committed before the answer leaves."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession


async def _session(request: Request) -> AsyncIterator[AsyncSession]:
    async with request.app.state.sessions.begin() as session:
        yield session


# scope="function": the dependency ends, and so commits, when the endpoint has returned and before the
# response is sent. A client that has its 202 has its row.
Session = Annotated[AsyncSession, Depends(_session, scope="function")]
